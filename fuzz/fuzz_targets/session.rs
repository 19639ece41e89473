//! A whole connection, accepted or dialled: any bytes in any portions, any decisions, any passage of time, and the
//! invariants of a seeder.
#![no_main]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use distributor_proto::{
    Block, Event, Extensions, Geometry, HANDSHAKE_LEN, Handshake, InfoHash, Input, MAX_CONTROL_LEN,
    MAX_METADATA_COPIES, MAX_REQUEST_LEN, Message, Output, PeerId, Seeding, Session, SessionConfig, Transmit,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Operation {
    /// Bytes as they come.
    Received(Vec<u8>),
    /// A message in a proper frame.
    Message {
        id: u8,
        payload: Vec<u8>,
    },
    /// A request that may well be right.
    Request {
        index: u8,
        begin: u16,
        length: u16,
    },
    Cancel {
        index: u8,
        begin: u16,
        length: u16,
    },
    Interested,
    NotInterested,
    HaveNone,
    ExtendedHandshake {
        ut_metadata: u8,
    },
    Metadata {
        piece: u8,
    },
    Unchoke,
    Choke,
    Suggest {
        index: u8,
    },
    Show {
        index: u8,
    },
    ShowEverything,
    Blocked,
    Writable,
    Wait {
        milliseconds: u32,
    },
    Eof,
}

#[derive(Arbitrary, Debug)]
struct Conversation {
    dialled: bool,
    begins_empty: bool,
    reports_pieces: bool,
    shakes_hands: bool,
    fast: bool,
    extended: bool,
    total_len: u32,
    metadata_len: u16,
    operations: Vec<Operation>,
}

const MAX_QUEUED: usize = 16;

const INFO_HASH: InfoHash = InfoHash::new([1; 20]);

fuzz_target!(|conversation: Conversation| {
    let Ok(geometry) = Geometry::for_len(u64::from(conversation.total_len)) else { return };
    let seeding = Seeding {
        geometry,
        metadata_len: conversation.metadata_len.into(),
        begins_empty: conversation.begins_empty,
    };
    let mut now = Instant::now();
    let mut config = SessionConfig::new(PeerId::new(*b"-Di0100-us us us us "));
    config.max_queued_requests = MAX_QUEUED;
    let peer = [10, 0, 0, 7].into();
    let mut session = if conversation.dialled {
        Session::connect(now, config, peer, INFO_HASH, seeding)
    } else {
        Session::accept(now, config, peer)
    };
    session.report_pieces(conversation.reports_pieces);
    let mut driver = Driver::new(session, seeding);

    if conversation.shakes_hands {
        let offered = Extensions { fast: conversation.fast, extended: conversation.extended };
        let handshake = Handshake {
            reserved: offered.to_reserved(),
            info_hash: INFO_HASH,
            peer_id: PeerId::new([2; 20]),
        };
        driver.receive(now, &handshake.encode());
    }
    for operation in &conversation.operations {
        match operation {
            Operation::Received(bytes) => driver.receive(now, bytes),
            Operation::Message { id, payload } => driver.receive(now, &frame(*id, payload)),
            Operation::Request { index, begin, length } => {
                driver.receive(now, &frame(6, &place(*index, *begin, *length)));
            }
            Operation::Cancel { index, begin, length } => {
                driver.receive(now, &frame(8, &place(*index, *begin, *length)));
            }
            Operation::Interested => driver.receive(now, &frame(2, &[])),
            Operation::NotInterested => driver.receive(now, &frame(3, &[])),
            Operation::HaveNone => driver.receive(now, &frame(15, &[])),
            Operation::ExtendedHandshake { ut_metadata } => {
                let dict = format!("\0d1:md11:ut_metadatai{ut_metadata}eee");
                driver.receive(now, &frame(20, dict.as_bytes()));
            }
            Operation::Metadata { piece } => {
                let dict = format!("\x01d8:msg_typei0e5:piecei{piece}ee");
                driver.receive(now, &frame(20, dict.as_bytes()));
            }
            Operation::Unchoke => driver.give(now, Input::Unchoke),
            Operation::Choke => driver.give(now, Input::Choke),
            Operation::Suggest { index } => {
                if let Some(piece) = geometry.piece(u32::from(*index)) {
                    driver.give(now, Input::Suggest(piece));
                }
            }
            Operation::Show { index } => {
                if let Some(piece) = geometry.piece(u32::from(*index)) {
                    driver.shown.insert(piece.get());
                    driver.give(now, Input::Show(&[piece]));
                }
            }
            Operation::ShowEverything => {
                driver.shown.extend(0..geometry.piece_count());
                driver.give(now, Input::ShowEverything);
            }
            Operation::Blocked => driver.give(now, Input::Blocked),
            Operation::Writable => driver.give(now, Input::Writable),
            Operation::Wait { milliseconds } => {
                now += Duration::from_millis(u64::from(*milliseconds));
                driver.give(now, Input::Timeout);
            }
            Operation::Eof => {
                driver.ended = true;
                driver.give(now, Input::Eof);
            }
        }
    }
    driver.give(now, Input::Writable);
    if !driver.failed && driver.session.negotiated().fast {
        assert_eq!(driver.asked, [], "a request has had no answer");
    }
});

fn frame(id: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len() + 1).expect("fuzz inputs are small");
    [&len.to_be_bytes()[..], &[id], payload].concat()
}

fn place(index: u8, begin: u16, length: u16) -> Vec<u8> {
    [u32::from(index), u32::from(begin), u32::from(length)].into_iter().flat_map(u32::to_be_bytes).collect()
}

/// Index, begin, length.
type Request = (u32, u32, u32);

struct Driver {
    session: Session,
    seeding: Seeding,
    blocked: bool,
    failed: bool,
    ended: bool,
    /// Whether our handshake went out.
    greeted: bool,
    /// What the peer wrote and hasn't been looked at for requests.
    stream: Vec<u8>,
    /// Whether the peer's handshake has gone from the stream.
    opened: bool,
    /// The requests that the peer made and that weren't answered.
    asked: Vec<Request>,
    /// The pieces that the peer was told it might have while choked.
    fast: Vec<u32>,
    /// How many bytes of them may still go out under choke.
    fast_left: u64,
    metadata_sent: u64,
    /// What the peer was shown, where it was told at first that there is nothing.
    shown: BTreeSet<u32>,
    /// What of that it was told of.
    told: BTreeSet<u32>,
    /// The pieces that were reported of the peer, one by one.
    reported: BTreeSet<u32>,
}

impl Driver {
    fn new(session: Session, seeding: Seeding) -> Self {
        let mut driver = Self {
            session,
            seeding,
            blocked: false,
            failed: false,
            ended: false,
            greeted: false,
            stream: Vec::new(),
            opened: false,
            asked: Vec::new(),
            fast: Vec::new(),
            fast_left: 0,
            metadata_sent: 0,
            shown: BTreeSet::new(),
            told: BTreeSet::new(),
            reported: BTreeSet::new(),
        };
        driver.drain(Instant::now());
        driver
    }

    /// Like a socket: only what the session wants to read is read.
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        if self.session.wants_input() {
            self.stream.extend_from_slice(bytes);
            self.look_for_requests();
            self.give(now, Input::Received(bytes));
        }
    }

    /// The framing again, as short as it can be put.
    fn look_for_requests(&mut self) {
        if !self.opened {
            if self.stream.len() < HANDSHAKE_LEN {
                return;
            }
            self.opened = true;
            self.stream.drain(..HANDSHAKE_LEN);
        }
        while let Some(prefix) = self.stream.first_chunk() {
            let len = 4 + u32::from_be_bytes(*prefix) as usize;
            let Some(frame) = self.stream.get(4..len) else { return };
            if let Ok(Message::Request { index, begin, length }) = Message::decode(frame, Extensions::ALL) {
                self.asked.push((index, begin, length));
            }
            self.stream.drain(..len);
        }
    }

    fn give(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Blocked => self.blocked = true,
            Input::Writable => self.blocked = false,
            _ => {}
        }
        let result = self.session.handle_input(now, input);
        assert!(!self.failed || result.is_err(), "a failed session stays failed");
        self.failed |= result.is_err();
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        loop {
            assert!(self.session.queued_requests() <= MAX_QUEUED);
            // Before: once a block makes room, what waited behind a full queue is read.
            let (interested, unchoked) = (self.session.peer_interested(), self.session.is_unchoked());
            match self.session.poll_output() {
                Output::Timeout(_) => return,
                output if self.failed => panic!("output after an error: {output:?}"),
                Output::Event(Event::InfoHash(_)) => {
                    let accept = Input::Accept { seeding: self.seeding };
                    self.failed = self.session.handle_input(now, accept).is_err();
                }
                Output::Event(Event::Have(piece)) => {
                    assert!(self.session.peer_pieces().is_some_and(|pieces| pieces.contains(piece)));
                    assert!(self.reported.insert(piece.get()), "reported twice");
                }
                Output::Event(event) => assert!(event != Event::Finished || self.ended),
                Output::Transmit(transmit) => {
                    assert!(!self.blocked, "sent while there was no room");
                    match transmit {
                        Transmit::Bytes(bytes) => self.sent(&bytes),
                        Transmit::Block { header, block } => {
                            assert_eq!(header[..4], (9 + block.len()).to_be_bytes());
                            assert!(interested);
                            self.sent_block(block, unchoked);
                        }
                        Transmit::Metadata { header, range } => {
                            let len = range.end - range.start;
                            assert!(len > 0 && range.end <= self.seeding.metadata_len);
                            assert_eq!(header[..4], (header.len() as u32 - 4 + len).to_be_bytes());
                            self.metadata_sent += u64::from(len);
                            let limit = u64::from(self.seeding.metadata_len) * u64::from(MAX_METADATA_COPIES);
                            assert!(self.metadata_sent <= limit);
                        }
                    }
                }
            }
        }
    }

    fn sent_block(&mut self, block: Block, unchoked: bool) {
        assert!(block.len() >= 1 && block.len() <= MAX_REQUEST_LEN);
        assert!(block.range().end <= self.seeding.geometry.total_len());
        self.answered((block.piece().get(), block.begin(), block.len()));
        assert!(!self.seeding.begins_empty || self.shown.contains(&block.piece().get()), "it wasn't shown");
        if !unchoked {
            assert!(self.fast.contains(&block.piece().get()), "sent to a choked peer");
            let left = self.fast_left.checked_sub(block.len().into());
            self.fast_left = left.expect("more sent to a choked peer than it may have");
        }
    }

    /// Messages of ours, always whole.
    fn sent(&mut self, mut bytes: &[u8]) {
        // One message may add a reject for each request that waits.
        assert!(bytes.len() <= MAX_CONTROL_LEN + 17 * (MAX_QUEUED + 1) + 4096);
        if !self.greeted {
            self.greeted = true;
            let (handshake, rest) = bytes.split_at(HANDSHAKE_LEN);
            assert!(Handshake::decode(handshake).is_ok());
            bytes = rest;
        }
        let negotiated = self.session.negotiated();
        while let Some((prefix, rest)) = bytes.split_first_chunk() {
            let (frame, rest) = rest.split_at(u32::from_be_bytes(*prefix) as usize);
            bytes = rest;
            let message = Message::decode(frame, negotiated).expect("we say only what was negotiated");
            match message {
                Message::Reject { index, begin, length } => self.answered((index, begin, length)),
                Message::Have { index } => {
                    assert!(self.seeding.begins_empty && self.shown.contains(&index));
                    assert!(self.told.insert(index), "told twice");
                }
                Message::HaveAll | Message::Bitfield(_) => assert!(!self.seeding.begins_empty),
                Message::HaveNone | Message::Suggest { .. } => {
                    assert_eq!(matches!(message, Message::HaveNone), self.seeding.begins_empty);
                }
                Message::AllowedFast { index } => {
                    assert!(!self.seeding.begins_empty);
                    assert!(!self.fast.contains(&index));
                    let piece = self.seeding.geometry.piece(index).expect("the piece exists");
                    let range = self.seeding.geometry.piece_range(piece);
                    self.fast.push(index);
                    self.fast_left += 2 * (range.end - range.start);
                }
                message => assert!(!matches!(message, Message::Unknown { .. }), "{message:?}"),
            }
        }
        assert!(bytes.is_empty());
    }

    fn answered(&mut self, request: Request) {
        let position = self.asked.iter().position(|asked| *asked == request);
        self.asked.swap_remove(position.expect("an answer that nobody asked for, or the second one"));
    }
}
