//! A session, a peer that writes bytes to it, and a driver on virtual time.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use distributor_proto::{
    Block, Event, Geometry, Handshake, InfoHash, Input, Message, Output, PeerId, Session, SessionConfig,
    SessionError, Transmit, block_header,
};

pub(crate) const OUR_ID: PeerId = PeerId::new(*b"-DT0100-seedseedseed");
pub(crate) const PEER_ID: PeerId = PeerId::new(*b"-XX0001-peerpeerpeer");
pub(crate) const INFO_HASH: InfoHash = InfoHash::new([b'h'; 20]);

/// Ten pieces of 64 KiB, the last one 1,000 bytes long.
pub(crate) fn geometry() -> Geometry {
    Geometry::new(9 * 65_536 + 1_000, 65_536).unwrap()
}

pub(crate) fn handshake() -> [u8; 68] {
    Handshake { reserved: [0; 8], info_hash: INFO_HASH, peer_id: PEER_ID }.encode()
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
    pub(crate) timeout: Instant,
}

impl Driver {
    pub(crate) fn new(config: SessionConfig) -> Self {
        let now = Instant::now();
        let session = Session::accept(now, config);
        let mut driver =
            Self { session, now, events: Vec::new(), bytes: Vec::new(), blocks: Vec::new(), timeout: now };
        driver.drain();
        driver
    }

    /// Past the handshake, with what it made us say and know taken away.
    pub(crate) fn open(config: SessionConfig) -> Self {
        let mut driver = Self::new(config);
        driver.receive(&handshake()).unwrap();
        driver.input(Input::Accept { geometry: geometry() }).unwrap();
        driver.forget();
        driver
    }

    /// As [`open`](Self::open), with the peer interested and unchoked.
    pub(crate) fn unchoked(config: SessionConfig) -> Self {
        let mut driver = Self::open(config);
        driver.say(&[Message::Interested]).unwrap();
        driver.input(Input::Unchoke).unwrap();
        driver.forget();
        driver
    }

    pub(crate) fn forget(&mut self) {
        self.events.clear();
        self.bytes.clear();
        self.blocks.clear();
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
