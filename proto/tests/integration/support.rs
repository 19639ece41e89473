//! A session, a peer that writes bytes to it, and a driver on virtual time.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use distributor_proto::{
    Block, Event, ExtendedHandshake, Extensions, Geometry, Handshake, InfoHash, Input, Message, Output,
    PeerId, Seeding, Session, SessionConfig, SessionError, Transmit, Violation, block_header,
};

pub(crate) const OUR_ID: PeerId = PeerId::new(*b"-DT0100-seedseedseed");
pub(crate) const PEER_ID: PeerId = PeerId::new(*b"-XX0001-peerpeerpeer");
pub(crate) const INFO_HASH: InfoHash = InfoHash::new([b'h'; 20]);
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

/// The bytes of the info dictionary: three parts of it, the last one 100 bytes long.
pub(crate) const METADATA_LEN: u32 = 2 * 16_384 + 100;

/// The numbers under which we and the peer take `ut_metadata`.
pub(crate) const OUR_METADATA_ID: u8 = 1;
pub(crate) const THEIR_METADATA_ID: u8 = 3;

pub(crate) const PLAIN: Extensions = Extensions { fast: false, extended: false };
pub(crate) const FAST: Extensions = Extensions { fast: true, extended: false };
pub(crate) const EXTENDED: Extensions = Extensions { fast: false, extended: true };

/// Ten pieces of 64 KiB, the last one 1,000 bytes long.
pub(crate) fn geometry() -> Geometry {
    Geometry::new(9 * 65_536 + 1_000, 65_536).unwrap()
}

pub(crate) fn seeding() -> Seeding {
    Seeding { geometry: geometry(), metadata_len: METADATA_LEN, begins_empty: false }
}

pub(crate) fn handshake() -> [u8; 68] {
    handshake_with(PLAIN)
}

/// The handshake of a peer that has these.
pub(crate) fn handshake_with(extensions: Extensions) -> [u8; 68] {
    Handshake { reserved: extensions.to_reserved(), info_hash: INFO_HASH, peer_id: PEER_ID }.encode()
}

/// The extended handshake of a peer that takes metadata.
pub(crate) fn their_extended_handshake() -> Vec<u8> {
    ExtendedHandshake { ut_metadata: Some(THEIR_METADATA_ID), ..ExtendedHandshake::default() }.encode()
}

/// The messages as the peer writes them.
pub(crate) fn frames(messages: &[Message<'_>]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    messages.iter().for_each(|message| message.encode(&mut bytes));
    bytes.to_vec()
}

pub(crate) fn request(index: u32, begin: u32) -> Message<'static> {
    Message::Request { index, begin, length: 100 }
}

pub(crate) fn cancel(index: u32, begin: u32) -> Message<'static> {
    Message::Cancel { index, begin, length: 100 }
}

pub(crate) fn reject(index: u32, begin: u32) -> Message<'static> {
    Message::Reject { index, begin, length: 100 }
}

/// What is wrong with the message that ended the session.
#[track_caller]
pub(crate) fn violation<T: std::fmt::Debug>(result: Result<T, SessionError>) -> Violation {
    match result {
        Err(SessionError::Message { violation, .. }) => violation,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn block(index: u32, begin: u32) -> Block {
    geometry().block(index, begin, 100).unwrap()
}

/// Drives one session and notes what it says. After each input the outputs are drained, as the contract has
/// it.
pub(crate) struct Driver {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) events: Vec<Event>,
    /// All control bytes, in order.
    pub(crate) bytes: Vec<u8>,
    /// All blocks, in order.
    pub(crate) blocks: Vec<Block>,
    /// All parts of the info dictionary, in order: what went before them, and which bytes they are.
    pub(crate) metadata: Vec<(Vec<u8>, Range<u32>)>,
    pub(crate) timeout: Instant,
}

impl Driver {
    pub(crate) fn new(config: SessionConfig) -> Self {
        let now = Instant::now();
        Self::of(Session::accept(now, config, PEER), now)
    }

    /// The side that dialled.
    pub(crate) fn dialling(config: SessionConfig) -> Self {
        let now = Instant::now();
        Self::of(Session::connect(now, config, PEER, INFO_HASH, seeding()), now)
    }

    pub(crate) fn of(session: Session, now: Instant) -> Self {
        let mut driver = Self {
            session,
            now,
            events: Vec::new(),
            bytes: Vec::new(),
            blocks: Vec::new(),
            metadata: Vec::new(),
            timeout: now,
        };
        driver.drain();
        driver
    }

    /// Past the handshake, with what it made us say and know taken away.
    pub(crate) fn open(config: SessionConfig) -> Self {
        Self::open_with(PLAIN, config)
    }

    /// As [`open`](Self::open), with a peer that has these.
    pub(crate) fn open_with(extensions: Extensions, config: SessionConfig) -> Self {
        let mut driver = Self::new(config);
        driver.receive(&handshake_with(extensions)).unwrap();
        driver.input(Input::Accept { seeding: seeding() }).unwrap();
        driver.forget();
        driver
    }

    /// As [`open`](Self::open), with the peer interested and unchoked.
    pub(crate) fn unchoked(config: SessionConfig) -> Self {
        Self::unchoked_with(PLAIN, config)
    }

    /// As [`open_with`](Self::open_with), with the peer interested and unchoked.
    pub(crate) fn unchoked_with(extensions: Extensions, config: SessionConfig) -> Self {
        let mut driver = Self::open_with(extensions, config);
        driver.say(&[Message::Interested]).unwrap();
        driver.input(Input::Unchoke).unwrap();
        driver.forget();
        driver
    }

    pub(crate) fn forget(&mut self) {
        self.events.clear();
        self.bytes.clear();
        self.blocks.clear();
        self.metadata.clear();
    }

    pub(crate) fn input(&mut self, input: Input<'_>) -> Result<(), SessionError> {
        let result = self.session.handle_input(self.now, input);
        self.drain();
        result
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.input(Input::Received(bytes))
    }

    /// The peer writes messages, all at once.
    pub(crate) fn say(&mut self, messages: &[Message<'_>]) -> Result<(), SessionError> {
        self.receive(&frames(messages))
    }

    /// Lets time pass, timeout by timeout.
    pub(crate) fn wait(&mut self, time: Duration) -> Result<(), SessionError> {
        let end = self.now + time;
        while self.timeout <= end {
            self.now = self.now.max(self.timeout);
            self.input(Input::Timeout)?;
            assert!(self.timeout > self.now, "a timeout that was dealt with is over");
        }
        self.now = end;
        Ok(())
    }

    /// Polls once and notes it; whether there may be more.
    pub(crate) fn poll(&mut self) -> bool {
        match self.session.poll_output() {
            Output::Event(event) => self.events.push(event),
            Output::Transmit(Transmit::Bytes(bytes)) => {
                assert!(!bytes.is_empty());
                self.bytes.extend_from_slice(&bytes);
            }
            Output::Transmit(Transmit::Block { header, block }) => {
                assert_eq!(header, block_header(block));
                self.blocks.push(block);
            }
            Output::Transmit(Transmit::Metadata { header, range }) => {
                self.metadata.push((header.to_vec(), range));
            }
            Output::Timeout(timeout) => {
                self.timeout = timeout;
                return false;
            }
        }
        true
    }

    fn drain(&mut self) {
        while self.poll() {}
        // Once it has nothing to do it goes on having nothing to do.
        assert_eq!(self.session.poll_output(), Output::Timeout(self.timeout));
    }
}

pub(crate) fn config() -> SessionConfig {
    SessionConfig::new(OUR_ID)
}

pub(crate) fn queue_of(max_queued_requests: usize) -> SessionConfig {
    SessionConfig { max_queued_requests, ..config() }
}
