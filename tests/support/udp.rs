//! Who asks the tracker over UDP: packets written out as clients send them (BEP 15), and answers read byte by byte.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use super::DEADLINE;

/// What answers say that they are.
pub(crate) mod action {
    pub(crate) const CONNECT: u32 = 0;
    pub(crate) const ANNOUNCE: u32 = 1;
    pub(crate) const SCRAPE: u32 = 2;
    pub(crate) const ERROR: u32 = 3;
}

/// Why a client announces.
pub(crate) mod event {
    pub(crate) const NONE: u32 = 0;
    pub(crate) const COMPLETED: u32 = 1;
    pub(crate) const STARTED: u32 = 2;
    pub(crate) const STOPPED: u32 = 3;
}

/// A socket that hears nobody but the address that it asks.
pub(crate) struct Asker {
    socket: UdpSocket,
}

/// What is said in an announce.
#[derive(Clone, Copy)]
pub(crate) struct Announce {
    pub(crate) info_hash: [u8; 20],
    pub(crate) port: u16,
    pub(crate) left: i64,
    pub(crate) event: u32,
    pub(crate) numwant: i32,
}

/// What an announce is answered.
pub(crate) struct Answer {
    pub(crate) interval: u32,
    pub(crate) leechers: u32,
    pub(crate) seeders: u32,
    pub(crate) peers: Vec<SocketAddr>,
}

impl Announce {
    /// By a downloader that has just started.
    pub(crate) fn of(info_hash: [u8; 20], port: u16) -> Self {
        Self { info_hash, port, left: 1024, event: event::STARTED, numwant: -1 }
    }

    /// As it is sent. The address in it is somebody else's.
    pub(crate) fn packet(&self, id: [u8; 8], transaction: u32) -> Vec<u8> {
        let mut packet = packet(id, action::ANNOUNCE, transaction);
        packet.extend(self.info_hash);
        packet.extend(format!("-XX0001-{:012}", self.port).into_bytes());
        let downloaded = u64::from(self.left == 0);
        packet.extend([downloaded.to_be_bytes(), self.left.to_be_bytes(), [0; 8]].concat());
        packet.extend(self.event.to_be_bytes());
        packet.extend([9, 9, 9, 9]);
        packet.extend(b"key!");
        packet.extend(self.numwant.to_be_bytes());
        packet.extend(self.port.to_be_bytes());
        packet
    }
}

impl Answer {
    /// What an announce is answered, behind the head; which family it was asked over says how long an address is.
    #[track_caller]
    pub(crate) fn read(body: &[u8], is_v4: bool) -> Self {
        let (head, peers) = body.split_at(12);
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let stride = if is_v4 { 6 } else { 18 };
        assert_eq!(peers.len() % stride, 0, "whole addresses");
        let peers = peers.chunks(stride).map(|peer| {
            let (ip, port) = peer.split_at(stride - 2);
            let port = u16::from_be_bytes(port.try_into().expect("two bytes"));
            let ip: IpAddr = match <[u8; 4]>::try_from(ip) {
                Ok(ip) => ip.into(),
                Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(ip).expect("sixteen bytes")).into(),
            };
            SocketAddr::new(ip, port)
        });
        Self { interval: number(0), leechers: number(4), seeders: number(8), peers: peers.collect() }
    }
}

/// The head that every packet has.
pub(crate) fn packet(id: [u8; 8], action: u32, transaction: u32) -> Vec<u8> {
    [&id[..], &action.to_be_bytes(), &transaction.to_be_bytes()].concat()
}

/// Whether a packet is the answer to this question, and says so.
pub(crate) fn packet_is_answer(answer: &[u8], question: &[u8], action: u32) -> bool {
    answer.get(..4) == Some(&action.to_be_bytes()[..]) && answer.get(4..8) == question.get(12..16)
}

/// The question for a connection id.
pub(crate) fn connect(transaction: u32) -> Vec<u8> {
    packet(0x0417_2710_1980_u64.to_be_bytes(), action::CONNECT, transaction)
}

impl Asker {
    /// At an address of the network that the caller is in.
    pub(crate) fn new(from: IpAddr, tracker: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).expect("a port is free");
        socket.connect(tracker).expect("a socket can be told whom to hear");
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
        Self { socket }
    }

    pub(crate) fn send(&self, packet: &[u8]) {
        self.socket.send(packet).expect("a packet can be sent");
    }

    /// The next packet.
    #[track_caller]
    pub(crate) fn receive(&self) -> Vec<u8> {
        let mut packet = vec![0; 65_536];
        let len = self.socket.recv(&mut packet).unwrap_or_else(|error| panic!("no answer: {error}"));
        packet.truncate(len);
        packet
    }

    /// What a packet is answered behind the head that its answer must have.
    #[track_caller]
    pub(crate) fn ask(&self, packet: &[u8], action: u32) -> Vec<u8> {
        self.send(packet);
        let answer = self.receive();
        let (head, body) = answer.split_at(8);
        assert_eq!(head[..4], action.to_be_bytes(), "{}", body.escape_ascii());
        assert_eq!(head[4..], packet[12..16], "the transaction is that of the question");
        body.to_vec()
    }

    /// Asks for a connection id.
    #[track_caller]
    pub(crate) fn id(&self) -> [u8; 8] {
        self.ask(&connect(1), action::CONNECT).try_into().expect("an id has eight bytes")
    }

    /// Announces, with an id of its own.
    #[track_caller]
    pub(crate) fn announce(&self, announce: Announce) -> Answer {
        let body = self.ask(&announce.packet(self.id(), 2), action::ANNOUNCE);
        Answer::read(&body, self.socket.local_addr().expect("a socket has an address").is_ipv4())
    }

    /// Seeders, downloads and leechers of each torrent.
    #[track_caller]
    pub(crate) fn scrape(&self, info_hashes: &[[u8; 20]]) -> Vec<[u32; 3]> {
        let question = [packet(self.id(), action::SCRAPE, 3), info_hashes.concat()].concat();
        let numbers = self.ask(&question, action::SCRAPE);
        let number = |at: &[u8]| u32::from_be_bytes(at.try_into().expect("four bytes"));
        assert_eq!(numbers.len(), 12 * info_hashes.len());
        numbers.chunks(12).map(|all| [number(&all[..4]), number(&all[4..8]), number(&all[8..])]).collect()
    }

    /// What it is told that it can't be served.
    #[track_caller]
    pub(crate) fn refusal(&self, packet: &[u8]) -> String {
        String::from_utf8(self.ask(packet, action::ERROR)).expect("a message is text")
    }

    /// Panics if any of these gets an answer: packets are taken in their order, and one that gets one goes last.
    #[track_caller]
    pub(crate) fn assert_ignored(&self, packets: &[Vec<u8>]) {
        for packet in packets {
            self.send(packet);
            self.ask(&connect(u32::MAX), action::CONNECT);
        }
    }
}
