//! Stories of silence, half-closes and errors: how a session ends, and how it doesn't.

use std::time::Duration;

use distributor_proto::{
    BlockError, Event, Input, MAX_MESSAGE_LEN, Message, Output, SessionConfig, SessionError, Violation,
};

use crate::support::{Driver, block, config, frames, queue_of, request};

const SECOND: Duration = Duration::from_secs(1);
const KEEP_ALIVE: &[u8] = &[0, 0, 0, 0];

#[test]
fn sends_a_keep_alive_when_it_had_nothing_to_say() {
    let mut driver = Driver::unchoked(config());
    driver.wait(99 * SECOND).unwrap();
    assert_eq!(driver.bytes, []);
    driver.wait(SECOND).unwrap();
    assert_eq!(driver.bytes, KEEP_ALIVE);
    driver.wait(50 * SECOND).unwrap();
    driver.say(&[request(0, 0)]).unwrap();
    driver.wait(99 * SECOND).unwrap();
    assert_eq!(driver.bytes, KEEP_ALIVE, "a block keeps alive as well");
    driver.wait(SECOND).unwrap();
    assert_eq!(driver.bytes, KEEP_ALIVE.repeat(2));
}

#[test]
fn closes_on_a_peer_that_is_silent_for_four_minutes() {
    let mut driver = Driver::open(config());
    driver.wait(239 * SECOND).unwrap();
    driver.say(&[Message::KeepAlive]).unwrap();
    driver.wait(239 * SECOND).unwrap();
    assert_eq!(driver.wait(SECOND), Err(SessionError::Idle));
}

#[test]
fn does_not_hold_silence_against_a_peer_it_does_not_read() {
    let slow = SessionConfig { stall_timeout: Duration::MAX, ..queue_of(1) };
    let mut driver = Driver::unchoked(slow);
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0)]).unwrap();
    driver.wait(1000 * SECOND).unwrap();
    driver.input(Input::Writable).unwrap();
    driver.wait(239 * SECOND).unwrap();
    assert_eq!(driver.wait(SECOND), Err(SessionError::Idle));
}

#[test]
fn closes_on_a_peer_that_reads_nothing_for_a_minute() {
    let mut driver = Driver::unchoked(config());
    driver.input(Input::Blocked).unwrap();
    driver.wait(59 * SECOND).unwrap();
    driver.input(Input::Blocked).unwrap();
    driver.input(Input::Writable).unwrap();
    driver.input(Input::Blocked).unwrap();
    driver.wait(30 * SECOND).unwrap();
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0)]).unwrap();
    driver.wait(29 * SECOND).unwrap();
    assert_eq!(driver.wait(SECOND), Err(SessionError::Stalled), "its talking doesn't help");
}

#[test]
fn pays_what_it_owes_after_a_half_close() {
    let mut driver = Driver::unchoked(queue_of(2));
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0), request(1, 0), request(2, 0)]).unwrap();
    driver.input(Input::Eof).unwrap();
    assert_eq!(driver.events, []);
    assert!(!driver.session.wants_input());
    driver.input(Input::Writable).unwrap();
    assert_eq!(driver.blocks, [block(0, 0), block(1, 0), block(2, 0)]);
    assert_eq!(driver.events, [Event::Finished]);
    driver.receive(&frames(&[request(3, 0)])).unwrap();
    assert_eq!(driver.blocks.len(), 3, "after the end nothing counts");
    driver.input(Input::Eof).unwrap();
    assert_eq!(driver.events, [Event::Finished], "and it ends once");
    assert_eq!(driver.wait(240 * SECOND), Err(SessionError::Idle), "even where the driver forgets it");
}

#[test]
fn says_nothing_more_after_an_error() {
    let mut driver = Driver::unchoked(config());
    driver.input(Input::Blocked).unwrap();
    let broken = frames(&[Message::Bitfield(&[0xff, 0xc0]), request(0, 0), Message::Have { index: 99 }]);
    let violation = Violation::NoSuchPiece { index: 99, pieces: 10 };
    // The first was the peer's interest.
    let error = Err(SessionError::Message { ordinal: 4, name: "have", violation });
    assert_eq!(driver.receive(&broken), error);
    for input in [Input::Writable, Input::Choke, Input::Received(b"x"), Input::Timeout, Input::Eof] {
        assert_eq!(driver.input(input), error);
    }
    assert!(matches!(driver.session.poll_output(), Output::Timeout(_)));
    assert!(driver.events.is_empty() && driver.bytes.is_empty() && driver.blocks.is_empty());
    assert!(!driver.session.wants_input() && driver.session.queued_requests() == 0);
}

#[test]
fn says_in_one_sentence_which_message_ended_it_and_why() {
    let mut driver = Driver::open(config());
    driver.say(&[Message::KeepAlive, Message::Interested]).unwrap();
    let error = driver.say(&[request(10, 0)]).unwrap_err();
    assert_eq!(error.to_string(), "message 3 (request): piece 10 was asked for and there are 10");
    assert!(matches!(
        &error,
        SessionError::Message { violation: Violation::Request(BlockError::NoSuchPiece { .. }), .. }
    ));

    let mut driver = Driver::open(config());
    let error = driver.receive(&(MAX_MESSAGE_LEN as u32 + 1).to_be_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "message 1 (unread): a message of 32769 bytes is longer than the 32768 allowed"
    );
}

#[test]
fn holds_broken_rules_against_a_peer_and_neither_slowness_nor_leaving() {
    let broken = Driver::open(config()).say(&[Message::Have { index: 99 }]).unwrap_err();
    let garbage = Driver::new(config()).receive(&[0xe5; 96]).unwrap_err();
    assert!(broken.is_violation() && garbage.is_violation());

    let slow = Driver::new(config()).wait(60 * SECOND).unwrap_err();
    let silent = Driver::open(config()).wait(600 * SECOND).unwrap_err();
    let left = Driver::new(config()).input(Input::Eof).unwrap_err();
    for error in [slow, silent, left] {
        assert!(!error.is_violation(), "{error}");
    }
}
