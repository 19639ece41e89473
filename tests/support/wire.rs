//! A peer that is nothing but a socket: what it sends is written out in the test.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::mse::{self, Cipher, Offer};
use super::net::Host;
use super::{DEADLINE, wait_for};

/// Longer than any deadline of the program that a test waits for.
const PATIENCE: Duration = DEADLINE;

/// What clients ask for at a time, in bytes.
const BLOCK: usize = 16 * 1024;

/// What the peers of these tests call themselves.
pub(crate) const PEER_ID: &[u8; 20] = b"-XX0001-abcdefghijkl";

/// Reserved bytes of a handshake by a peer that speaks BEP 6 and 10.
pub(crate) const FAST_AND_EXTENDED: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0x04];

/// Message ids of BEP 3, 6 and 10.
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
    pub(crate) const PORT: u8 = 9;
    pub(crate) const SUGGEST: u8 = 13;
    pub(crate) const HAVE_ALL: u8 = 14;
    pub(crate) const HAVE_NONE: u8 = 15;
    pub(crate) const REJECT: u8 = 16;
    pub(crate) const ALLOWED_FAST: u8 = 17;
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
        Peer::on(wait_for("the seeder's call", || self.knock())).expect("a socket takes options")
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
    ciphers: Option<Ciphers>,
}

/// Of an encrypted connection.
struct Ciphers {
    incoming: Cipher,
    outgoing: Cipher,
}

impl Peer {
    #[track_caller]
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, PATIENCE);
        stream.and_then(Self::on).expect("the peer address accepts connections")
    }

    fn on(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, ciphers: None })
    }

    /// As [`Self::connect`], from an address of this machine's own choosing; all of 127.0.0.0/8 is.
    #[track_caller]
    pub(crate) fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        Self::try_connect_from(from, to).expect("the peer address accepts connections")
    }

    /// As [`Self::connect_from`], where that may fail: the seeder hangs up on some while they connect.
    pub(crate) fn try_connect_from(from: IpAddr, to: SocketAddr) -> io::Result<Self> {
        connect_from(from, to).and_then(Self::on)
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
        Self::connect(to).shake_hands_and_be_unchoked(info_hash)
    }

    /// As [`Self::join_unchoked`], over an encrypted connection.
    #[track_caller]
    pub(crate) fn join_unchoked_encrypted(to: SocketAddr, info_hash: [u8; 20]) -> Self {
        let mut peer = Self::connect(to);
        peer.encrypt(info_hash).expect("the seeder agrees on keys");
        peer.shake_hands_and_be_unchoked(info_hash)
    }

    fn encrypt(&mut self, info_hash: [u8; 20]) -> io::Result<()> {
        let secret = mse::exchange_keys(&mut self.stream)?;
        let (offer, outgoing) = Offer::honest(info_hash, &[]).encode(&secret);
        self.stream.write_all(&offer)?;
        let incoming = mse::take_answer(&mut self.stream, info_hash, &secret)?;
        self.ciphers = Some(Ciphers { incoming, outgoing });
        Ok(())
    }

    #[track_caller]
    fn shake_hands_and_be_unchoked(self, info_hash: [u8; 20]) -> Self {
        let (mut peer, _) = self.shake_hands(info_hash);
        peer.send(&[0, 0, 0, 1, id::INTERESTED]);
        assert_eq!(peer.message(), (id::UNCHOKE, Vec::new()));
        peer
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let mut bytes = Cow::Borrowed(bytes);
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.outgoing.apply(bytes.to_mut());
        }
        self.stream.write_all(&bytes).expect("the seeder takes bytes");
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
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.incoming.apply(&mut bytes);
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

    /// Reads messages until one has this id; what follows the id.
    #[track_caller]
    pub(crate) fn message_with(&mut self, id: u8) -> Vec<u8> {
        loop {
            let (found, body) = self.message();
            if found == id {
                return body;
            }
        }
    }

    /// Whether there is something to be read.
    pub(crate) fn has_come(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket takes options");
        let has_come = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_nonblocking(false).expect("a socket takes options");
        has_come
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

    /// Fetches all of a file as an honest client does, with requests in flight and through any number of turns of the
    /// choker; panics at the first wrong byte. It has shaken hands and not said that it is interested.
    #[track_caller]
    pub(crate) fn download(&mut self, file: &[u8], piece_len: usize, mut took: impl FnMut(usize)) {
        const IN_FLIGHT: usize = 64;
        let to_u32 = |number: usize| u32::try_from(number).expect("a test's file is small");
        let mut wanted: VecDeque<(u32, u32, u32)> = file
            .chunks(piece_len)
            .zip(0..)
            .flat_map(|(piece, index)| {
                let begins = (0..piece.len()).step_by(BLOCK);
                begins.map(move |begin| (index, to_u32(begin), to_u32(BLOCK.min(piece.len() - begin))))
            })
            .collect();
        let mut asked: VecDeque<(u32, u32, u32)> = VecDeque::new();
        let mut unchoked = false;
        self.send(&numbers(id::INTERESTED, &[]));
        while !wanted.is_empty() || !asked.is_empty() {
            if unchoked && asked.len() < IN_FLIGHT / 2 {
                let more = wanted.len().min(IN_FLIGHT - asked.len());
                let more: Vec<(u32, u32, u32)> = wanted.drain(..more).collect();
                let requests: Vec<u8> =
                    more.iter().flat_map(|(index, begin, len)| request(*index, *begin, *len)).collect();
                self.send(&requests);
                asked.extend(more);
            }
            let (id, body) = self.message();
            match id {
                id::UNCHOKE => unchoked = true,
                id::CHOKE => {
                    unchoked = false;
                    wanted.extend(asked.drain(..));
                }
                id::PIECE => {
                    let [index, begin] =
                        [0, 4].map(|at| u32::from_be_bytes(body[at..at + 4].try_into().expect("four bytes")));
                    let at = asked.iter().position(|(i, b, _)| (*i, *b) == (index, begin));
                    asked.remove(at.expect("only what was asked for comes"));
                    let start = index as usize * piece_len + begin as usize;
                    assert!(body[8..] == file[start..start + body.len() - 8], "wrong bytes at {start}");
                    took(body.len() - 8);
                }
                _ => {}
            }
        }
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

    /// Waits until the seeder has hung up, whatever it says before; panics when it stays.
    #[track_caller]
    pub(crate) fn drain_until_close(&mut self) {
        let mut scratch = vec![0; 64 * 1024];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("it didn't hang up: {error}"),
            }
        }
    }

    /// How long it waits for anything from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&self.stream, Some(patience)).expect("a socket takes a timeout");
        }
    }

    /// Hangs up by a reset, as a process does that is killed with data unread.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket takes options");
    }

    /// Where it connects from.
    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    /// The socket itself, whose bytes are encrypted where the connection is.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// A connection from one of this machine's addresses.
pub(crate) fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    Ok(socket.into())
}

/// The 68 bytes of BEP 3, by a peer of no particular make.
pub(crate) fn handshake(info_hash: [u8; 20]) -> Vec<u8> {
    handshake_of([0; 8], info_hash, PEER_ID)
}

/// The 68 bytes by a peer that has these extensions and this name.
pub(crate) fn handshake_of(reserved: [u8; 8], info_hash: [u8; 20], peer_id: &[u8; 20]) -> Vec<u8> {
    [&b"\x13BitTorrent protocol"[..], &reserved, &info_hash, peer_id].concat()
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
    message(id, &body)
}

/// A message of an id and what follows it.
pub(crate) fn message(id: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 1).expect("a length fits");
    [&len.to_be_bytes()[..], &[id], body].concat()
}

/// An extended message (BEP 10): 0 is the extended handshake.
pub(crate) fn extended(extension: u8, payload: &[u8]) -> Vec<u8> {
    message(id::EXTENDED, &[&[extension][..], payload].concat())
}
