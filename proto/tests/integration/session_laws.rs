//! What holds for a session whatever the peer and the driver do.

use std::{collections::VecDeque, time::Duration};

use distributor_proto::{Block, Event, Extensions, Input, Message, Output, SessionError, Transmit};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::support::{
    Driver, FAST, block, cancel, config, frames, handshake_with, queue_of, request, seeding,
};

/// One thing that happens to a session.
#[derive(Clone, Debug)]
enum Op {
    Request(u32, u32),
    Cancel(u32, u32),
    Interested,
    NotInterested,
    Have(u32),
    KeepAlive,
    Unknown,
    Unchoke,
    Choke,
    Blocked,
    Writable,
    Poll(u8),
    Wait(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let place = (0_u32..3, (0_u32..3).prop_map(|n| n * 100));
    prop_oneof![
        6 => place.clone().prop_map(|(index, begin)| Op::Request(index, begin)),
        2 => place.prop_map(|(index, begin)| Op::Cancel(index, begin)),
        2 => Just(Op::Interested),
        1 => Just(Op::NotInterested),
        1 => (0_u32..10).prop_map(Op::Have),
        1 => Just(Op::KeepAlive),
        1 => Just(Op::Unknown),
        2 => Just(Op::Unchoke),
        1 => Just(Op::Choke),
        1 => Just(Op::Blocked),
        1 => Just(Op::Writable),
        3 => (0_u8..4).prop_map(Op::Poll),
        1 => (0_u8..60).prop_map(Op::Wait),
    ]
}

/// What the peer writes, for the operations that are the peer's.
fn said(op: &Op) -> Option<Message<'static>> {
    Some(match *op {
        Op::Request(index, begin) => request(index, begin),
        Op::Cancel(index, begin) => cancel(index, begin),
        Op::Interested => Message::Interested,
        Op::NotInterested => Message::NotInterested,
        Op::Have(index) => Message::Have { index },
        Op::KeepAlive => Message::KeepAlive,
        Op::Unknown => Message::Unknown { id: 21 },
        _ => return None,
    })
}

/// The rules again, as short as they can be put.
#[derive(Default)]
struct Model {
    interested: bool,
    unchoked: bool,
    blocked: bool,
    queue: VecDeque<Block>,
}

const MAX_QUEUED: usize = 3;

impl Model {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Request(index, begin) if self.unchoked && self.interested => {
                self.queue.push_back(block(index, begin));
            }
            Op::Cancel(index, begin) => {
                if let Some(at) = self.queue.iter().position(|queued| *queued == block(index, begin)) {
                    self.queue.remove(at);
                }
            }
            Op::Interested => self.interested = true,
            Op::NotInterested => {
                self.interested = false;
                self.queue.clear();
            }
            Op::Unchoke => self.unchoked |= self.interested,
            Op::Choke => {
                self.unchoked = false;
                self.queue.clear();
            }
            Op::Blocked => self.blocked = true,
            Op::Writable => self.blocked = false,
            _ => {}
        }
    }
}

/// Cuts `bytes` at some places.
fn split<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.dedup();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Hands over the parts as a driver does: none while the session doesn't want it.
fn receive_all(driver: &mut Driver, parts: &[&[u8]]) {
    for part in parts {
        assert!(driver.session.wants_input());
        driver.receive(part).unwrap();
    }
}

fn place_of_request(message: Message<'_>) -> Option<(u32, u32)> {
    match message {
        Message::Request { index, begin, .. } => Some((index, begin)),
        _ => None,
    }
}

/// The places that are rejected in what we said.
fn rejects(mut bytes: &[u8]) -> Vec<(u32, u32)> {
    let mut places = Vec::new();
    while let Some((prefix, rest)) = bytes.split_first_chunk() {
        let (frame, rest) = rest.split_at(u32::from_be_bytes(*prefix) as usize);
        if let Ok(Message::Reject { index, begin, .. }) = Message::decode(frame, FAST) {
            places.push((index, begin));
        }
        bytes = rest;
    }
    places
}

fn messages(ops: &[Op]) -> Vec<u8> {
    frames(&ops.iter().filter_map(said).collect::<Vec<_>>())
}

proptest! {
    /// Every accepted request is answered once, in order, or dropped by a choke, a cancel or lost interest;
    /// never are more queued than the limit, never does a block go out to a choked peer or into a full
    /// buffer.
    #[test]
    fn answers_as_the_rules_say(ops in vec(op(), 0..120)) {
        let mut driver = Driver::open(queue_of(MAX_QUEUED));
        let mut model = Model::default();
        for op in &ops {
            let input = match op {
                Op::Unchoke => Some(Input::Unchoke),
                Op::Choke => Some(Input::Choke),
                Op::Blocked => Some(Input::Blocked),
                Op::Writable => Some(Input::Writable),
                Op::Wait(seconds) => {
                    // Short enough never to run into a deadline: the peer and the writer are heard of below.
                    driver.now += Duration::from_secs((*seconds).into());
                    let writable = if model.blocked { Input::Blocked } else { Input::Writable };
                    driver.session.handle_input(driver.now, Input::Writable).unwrap();
                    Some(writable)
                }
                _ => None,
            };
            if let Some(message) = said(op) {
                if !driver.session.wants_input() {
                    continue;
                }
                driver.session.handle_input(driver.now, Input::Received(&frames(&[message]))).unwrap();
            } else if let Some(input) = input {
                match driver.session.handle_input(driver.now, input) {
                    Ok(()) => {}
                    Err(SessionError::Idle) => return Ok(()),
                    Err(error) => panic!("{error}"),
                }
            }
            model.apply(op);
            if let Op::Poll(times) = op {
                for _ in 0..*times {
                    match driver.session.poll_output() {
                        Output::Transmit(transmit) => {
                            prop_assert!(!model.blocked);
                            if let Transmit::Block { block, .. } = transmit {
                                prop_assert!(model.unchoked && model.interested);
                                prop_assert_eq!(Some(block), model.queue.pop_front());
                            }
                        }
                        Output::Event(event) => prop_assert!(event != Event::Finished),
                        Output::Timeout(_) => prop_assert!(model.blocked || model.queue.is_empty()),
                    }
                }
            }
            prop_assert_eq!(driver.session.queued_requests(), model.queue.len());
            prop_assert!(driver.session.queued_requests() <= MAX_QUEUED);
            prop_assert_eq!(driver.session.is_unchoked(), model.unchoked);
            prop_assert_eq!(driver.session.peer_interested(), model.interested);
            prop_assert_eq!(driver.session.wants_input(), model.queue.len() < MAX_QUEUED);
        }
    }

    /// With BEP 6 every request has one answer, its block or a reject, whatever happens in between.
    #[test]
    fn answers_every_request_once_with_the_fast_extension(
        ops in vec(op(), 0..120), newcomer: bool, queue in 1_usize..5,
    ) {
        let mut driver = Driver::open_with(FAST, queue_of(queue));
        // One that has next to nothing may ask for two pieces while choked.
        let has = if newcomer { Message::HaveNone } else { Message::Bitfield(&[0xff, 0]) };
        driver.say(&[has]).unwrap();
        driver.forget();
        let mut asked = Vec::new();
        for op in &ops {
            let said = said(op);
            let bytes = frames(said.as_slice());
            let input = match op {
                Op::Unchoke => Input::Unchoke,
                Op::Choke => Input::Choke,
                Op::Blocked => Input::Blocked,
                Op::Writable => Input::Writable,
                _ => Input::Received(&bytes),
            };
            prop_assert!(driver.session.wants_input());
            driver.session.handle_input(driver.now, input).unwrap();
            asked.extend(said.and_then(place_of_request));
            if let Op::Poll(times) = op {
                (0..*times).for_each(|_| { driver.poll(); });
            }
            prop_assert!(driver.session.queued_requests() <= queue);
        }
        driver.input(Input::Writable).unwrap();
        let blocks = driver.blocks.iter().map(|block| (block.piece().get(), block.begin()));
        let mut answered: Vec<_> = blocks.chain(rejects(&driver.bytes)).collect();
        answered.sort_unstable();
        asked.sort_unstable();
        prop_assert_eq!(answered, asked);
    }

    /// Where a stream is cut means nothing: not to the handshake, not to what the requests come to.
    #[test]
    fn gives_the_same_answers_however_the_stream_is_cut(
        ops in vec(op(), 0..40), opening in vec(any::<Index>(), 0..6), cuts in vec(any::<Index>(), 0..40),
        fast: bool, extended: bool,
    ) {
        let run = |opening: &[Index], cuts: &[Index]| {
            let mut driver = Driver::new(config());
            let opening_bytes = handshake_with(Extensions { fast, extended });
            let (hash, id) = opening_bytes.split_at(48);
            let interested = [id, &frames(&[Message::Interested])].concat();
            receive_all(&mut driver, &split(hash, opening));
            driver.input(Input::Accept { seeding: seeding() }).unwrap();
            receive_all(&mut driver, &split(&interested, opening));
            driver.input(Input::Unchoke).unwrap();
            driver.input(Input::Blocked).unwrap();
            receive_all(&mut driver, &split(&messages(&ops), cuts));
            driver.input(Input::Writable).unwrap();
            driver.input(Input::Eof).unwrap();
            // How often interest came and went between two polls does depend on the polls.
            driver.events.retain(|event| !matches!(event, Event::Interested | Event::NotInterested));
            let session = &driver.session;
            (driver.bytes, driver.blocks, driver.events, session.peer_interested(), session.peer_have())
        };
        prop_assert_eq!(run(&opening, &cuts), run(&[], &[]));
    }

    /// A small queue slows a stream of requests down and changes nothing else.
    #[test]
    fn serves_the_same_blocks_through_a_small_queue(
        places in vec((0_u32..10, 0_u32..9), 0..60), cuts in vec(any::<Index>(), 0..20), queue in 1_usize..5,
    ) {
        let requests: Vec<_> = places.iter().map(|&(index, begin)| request(index, begin * 100)).collect();
        let mut driver = Driver::unchoked(queue_of(queue));
        receive_all(&mut driver, &split(&frames(&requests), &cuts));
        let expected: Vec<_> = places.iter().map(|&(index, begin)| block(index, begin * 100)).collect();
        prop_assert_eq!(driver.blocks, expected);
    }
}
