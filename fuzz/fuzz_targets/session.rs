//! A whole connection: any bytes in any portions, any decisions, any passage of time, and the invariants of a seeder.
#![no_main]

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use distributor_proto::{
    Event, Geometry, Handshake, InfoHash, Input, MAX_REQUEST_LEN, Output, PeerId, Session, SessionConfig,
    Transmit,
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
    Unchoke,
    Choke,
    Blocked,
    Writable,
    Wait {
        milliseconds: u32,
    },
    Eof,
}

#[derive(Arbitrary, Debug)]
struct Conversation {
    shakes_hands: bool,
    total_len: u32,
    operations: Vec<Operation>,
}

const MAX_QUEUED: usize = 16;

fuzz_target!(|conversation: Conversation| {
    let Ok(geometry) = Geometry::for_len(u64::from(conversation.total_len)) else { return };
    let mut now = Instant::now();
    let mut config = SessionConfig::new(PeerId::new(*b"-Di0100-us us us us "));
    config.max_queued_requests = MAX_QUEUED;
    let mut driver =
        Driver { session: Session::accept(now, config), geometry, blocked: false, failed: false };

    if conversation.shakes_hands {
        let handshake = Handshake {
            reserved: [0xff; 8],
            info_hash: InfoHash::new([1; 20]),
            peer_id: PeerId::new([2; 20]),
        };
        driver.give(now, Input::Received(&handshake.encode()));
        driver.give(now, Input::Received(&[0, 0, 0, 1, 2]));
        driver.give(now, Input::Unchoke);
    }
    for operation in &conversation.operations {
        match operation {
            Operation::Received(bytes) => driver.receive(now, bytes),
            Operation::Message { id, payload } => driver.receive(now, &frame(*id, payload)),
            Operation::Request { index, begin, length } => {
                let payload: Vec<u8> = [u32::from(*index), u32::from(*begin), u32::from(*length)]
                    .into_iter()
                    .flat_map(u32::to_be_bytes)
                    .collect();
                driver.receive(now, &frame(6, &payload));
            }
            Operation::Unchoke => driver.give(now, Input::Unchoke),
            Operation::Choke => driver.give(now, Input::Choke),
            Operation::Blocked => driver.give(now, Input::Blocked),
            Operation::Writable => driver.give(now, Input::Writable),
            Operation::Wait { milliseconds } => {
                now += Duration::from_millis(u64::from(*milliseconds));
                driver.give(now, Input::Timeout);
            }
            Operation::Eof => driver.give(now, Input::Eof),
        }
    }
});

fn frame(id: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len() + 1).expect("fuzz inputs are small");
    [&len.to_be_bytes()[..], &[id], payload].concat()
}

struct Driver {
    session: Session,
    geometry: Geometry,
    blocked: bool,
    failed: bool,
}

impl Driver {
    /// Like a socket: only what the session wants to read is read.
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        if self.session.wants_input() {
            self.give(now, Input::Received(bytes));
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
            match self.session.poll_output() {
                Output::Timeout(_) => return,
                output if self.failed => panic!("output after an error: {output:?}"),
                Output::Event(Event::InfoHash(_)) => {
                    self.failed =
                        self.session.handle_input(now, Input::Accept { geometry: self.geometry }).is_err();
                }
                Output::Event(_) => {}
                Output::Transmit(transmit) => {
                    assert!(!self.blocked, "sent while there was no room");
                    if let Transmit::Block { header, block } = transmit {
                        assert!(self.session.is_unchoked() && self.session.peer_interested());
                        assert!(block.len() >= 1 && block.len() <= MAX_REQUEST_LEN);
                        assert!(block.range().end <= self.geometry.total_len());
                        assert_eq!(header[..4], (9 + block.len()).to_be_bytes());
                    }
                }
            }
        }
    }
}
