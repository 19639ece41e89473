//! A peer that is nothing but a socket: what it sends is written out in the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::net::Host;
use super::wait_for;

/// Longer than any deadline of the program that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Message ids of BEP 3.
pub(crate) mod id {
    pub(crate) const CHOKE: u8 = 0;
    pub(crate) const UNCHOKE: u8 = 1;
    pub(crate) const INTERESTED: u8 = 2;
    pub(crate) const NOT_INTERESTED: u8 = 3;
    pub(crate) const HAVE: u8 = 4;
    pub(crate) const BITFIELD: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const PIECE: u8 = 7;
    pub(crate) const CANCEL: u8 = 8;
    /// BEP 10.
    pub(crate) const EXTENDED: u8 = 20;
}

/// Bytes of a handshake.
pub(crate) const HANDSHAKE_LEN: usize = 68;

/// Where a peer waits to be dialled.
pub(crate) struct Door {
    listener: TcpListener,
}

impl Door {
    /// On a port of the system's choosing.
    pub(crate) fn open(host: &Host) -> Self {
        let listener = host.inside(|| TcpListener::bind((host.address(), 0)).expect("a host can listen"));
        listener.set_nonblocking(true).expect("a socket takes options");
        Self { listener }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("a listener has an address").port()
    }

    /// The next connection, which has to come.
    #[track_caller]
    pub(crate) fn accept(&self) -> Peer {
        Peer::on(wait_for("the seeder's call", || self.knock()))
    }

    /// Whether a connection has come that was not accepted.
    pub(crate) fn is_knocked_at(&self) -> bool {
        self.knock().is_some()
    }

    fn knock(&self) -> Option<TcpStream> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("a socket takes options");
                Some(stream)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("nothing can be accepted: {error}"),
        }
    }
}

/// One connection to the seeder.
pub(crate) struct Peer {
    stream: TcpStream,
}

impl Peer {
    #[track_caller]
    pub(crate) fn connect(to: SocketAddr) -> Self {
        Self::on(TcpStream::connect_timeout(&to, PATIENCE).expect("the peer address accepts connections"))
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        stream.set_nodelay(true).expect("a socket takes options");
        Self { stream }
    }

    /// Connects, shakes hands and takes the bitfield, which it returns.
    #[track_caller]
    pub(crate) fn join(to: SocketAddr, info_hash: [u8; 20]) -> (Self, Vec<u8>) {
        Self::connect(to).shake_hands(info_hash)
    }

    /// Shakes hands on a connection that it has made, and takes the bitfield, which it returns.
    #[track_caller]
    pub(crate) fn shake_hands(mut self, info_hash: [u8; 20]) -> (Self, Vec<u8>) {
        self.send(&handshake(info_hash));
        self.read(HANDSHAKE_LEN);
        let (id, bitfield) = self.message();
        assert_eq!(id, id::BITFIELD, "the bitfield comes right after the handshake");
        (self, bitfield)
    }

    /// As [`Self::join`], then says that it is interested, and waits for the unchoke.
    #[track_caller]
    pub(crate) fn join_unchoked(to: SocketAddr, info_hash: [u8; 20]) -> Self {
        let (mut peer, _) = Self::join(to, info_hash);
        peer.send(&[0, 0, 0, 1, id::INTERESTED]);
        assert_eq!(peer.message(), (id::UNCHOKE, Vec::new()));
        peer
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the seeder takes bytes");
    }

    /// As [`Self::send`], for bytes at which the seeder may hang up while they are on their way.
    #[track_caller]
    pub(crate) fn send_and_expect_close(mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
        self.expect_close();
    }

    /// Shakes hands, and then waits until the seeder has hung up, whatever it says before.
    #[track_caller]
    pub(crate) fn shake_hands_in_vain(mut self, info_hash: [u8; 20]) {
        self.send(&handshake(info_hash));
        match self.stream.read_to_end(&mut Vec::new()) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it didn't hang up: {error}"),
            _ => {}
        }
    }

    #[track_caller]
    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        if let Err(error) = self.stream.read_exact(&mut bytes) {
            panic!("{len} bytes don't come: {error}");
        }
        bytes
    }

    /// The next message but keep-alives: its id and what follows.
    #[track_caller]
    pub(crate) fn message(&mut self) -> (u8, Vec<u8>) {
        loop {
            let len = u32::from_be_bytes(self.read(4).try_into().expect("four bytes"));
            if len > 0 {
                let body = self.read(usize::try_from(len).expect("a length fits"));
                return (body[0], body[1..].to_vec());
            }
        }
    }

    /// Asks for a block and takes it, and nothing else, in answer.
    #[track_caller]
    pub(crate) fn fetch(&mut self, index: u32, begin: u32, length: u32) -> Vec<u8> {
        self.send(&request(index, begin, length));
        let (id, body) = self.message();
        assert_eq!(id, id::PIECE);
        assert_eq!(body[..8], [index.to_be_bytes(), begin.to_be_bytes()].concat());
        assert_eq!(body.len() - 8, usize::try_from(length).expect("a length fits"));
        body[8..].to_vec()
    }

    /// Waits until the seeder has hung up; panics when it says anything before, or stays.
    #[track_caller]
    pub(crate) fn expect_close(mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Ok(_) => panic!("it sent {byte:?} where it should have hung up"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("it didn't hang up: {error}"),
        }
    }

    /// The socket itself.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// The 68 bytes of BEP 3, by a peer of no particular make.
pub(crate) fn handshake(info_hash: [u8; 20]) -> Vec<u8> {
    [&b"\x13BitTorrent protocol"[..], &[0; 8], &info_hash, b"-XX0001-abcdefghijkl"].concat()
}

/// `<0013><6><index><begin><length>`
pub(crate) fn request(index: u32, begin: u32, length: u32) -> Vec<u8> {
    numbers(id::REQUEST, &[index, begin, length])
}

/// `<0013><8><index><begin><length>`
pub(crate) fn cancel(index: u32, begin: u32, length: u32) -> Vec<u8> {
    numbers(id::CANCEL, &[index, begin, length])
}

/// A message of an id and numbers.
pub(crate) fn numbers(id: u8, numbers: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    let len = u32::try_from(body.len() + 1).expect("a length fits");
    [&len.to_be_bytes()[..], &[id], &body].concat()
}
