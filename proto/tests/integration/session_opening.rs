//! Stories of a session's first 68 bytes.

use std::time::Duration;

use distributor_proto::{Event, Handshake, Input, Message, SessionError};

use crate::support::{Driver, INFO_HASH, OUR_ID, PEER_ID, config, frames, handshake, seeding};

const SECOND: Duration = Duration::from_secs(1);

/// BEP 6 and BEP 10: what we can do, whether the peer can or not.
const RESERVED: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0x04];

/// What we say to a peer whose torrent we have: our handshake and ten pieces.
fn greeting() -> Vec<u8> {
    let ours = Handshake { reserved: RESERVED, info_hash: INFO_HASH, peer_id: OUR_ID };
    [&ours.encode()[..], &frames(&[Message::Bitfield(&[0xff, 0xc0])])].concat()
}

#[test]
fn answers_as_soon_as_the_info_hash_is_there() {
    let mut driver = Driver::new(config());
    driver.receive(&handshake()[..47]).unwrap();
    assert_eq!(driver.events, []);
    driver.receive(&handshake()[47..48]).unwrap();
    assert_eq!(driver.events, [Event::InfoHash(INFO_HASH)]);
    assert_eq!(driver.bytes, [], "nothing before the driver knows the torrent");
    assert!(!driver.session.wants_input());

    driver.input(Input::Accept { seeding: seeding() }).unwrap();
    assert_eq!(driver.bytes, greeting());
    assert_eq!(driver.session.peer_id(), None);
    driver.receive(&handshake()[48..]).unwrap();
    assert_eq!(driver.events[1..], [Event::PeerId(PEER_ID)]);
    assert_eq!(driver.session.peer_id(), Some(PEER_ID));
}

#[test]
fn keeps_what_comes_before_the_torrent_is_accepted() {
    let mut driver = Driver::new(config());
    let all = [&handshake()[..], &frames(&[Message::Interested])].concat();
    driver.receive(&all).unwrap();
    assert_eq!(driver.events, [Event::InfoHash(INFO_HASH)]);
    driver.input(Input::Accept { seeding: seeding() }).unwrap();
    assert_eq!(driver.events[1..], [Event::PeerId(PEER_ID), Event::Interested]);
}

#[test]
fn refuses_another_protocol_at_its_first_wrong_byte() {
    for position in 0..20 {
        let mut bytes = handshake();
        bytes[position] ^= 0x20;
        let mut driver = Driver::new(config());
        driver.receive(&bytes[..position]).unwrap();
        assert_eq!(driver.receive(&bytes[position..=position]), Err(SessionError::Protocol));
    }
    assert_eq!(Driver::new(config()).receive(b"GET / HTTP/1.1\r\n"), Err(SessionError::Protocol));
}

#[test]
fn refuses_to_talk_to_itself() {
    let mut driver = Driver::new(config());
    driver.receive(&handshake()[..48]).unwrap();
    driver.input(Input::Accept { seeding: seeding() }).unwrap();
    assert_eq!(driver.receive(OUR_ID.as_bytes()), Err(SessionError::OwnPeerId));
}

#[test]
fn refuses_a_torrent_that_nobody_asked_for() {
    let accept = Input::Accept { seeding: seeding() };
    assert_eq!(Driver::new(config()).input(accept), Err(SessionError::AcceptOutOfTurn));
    assert_eq!(Driver::open(config()).input(accept), Err(SessionError::AcceptOutOfTurn));
}

#[test]
fn gives_a_peer_ten_seconds_for_its_whole_handshake() {
    let mut driver = Driver::new(config());
    for byte in &handshake()[..9] {
        driver.wait(SECOND).unwrap();
        driver.receive(&[*byte]).unwrap();
    }
    assert_eq!(driver.wait(SECOND), Err(SessionError::HandshakeTimedOut));

    let mut driver = Driver::new(config());
    driver.receive(&handshake()[..48]).unwrap();
    driver.input(Input::Accept { seeding: seeding() }).unwrap();
    assert_eq!(driver.wait(10 * SECOND), Err(SessionError::HandshakeTimedOut), "a NAT check says no more");
}

#[test]
fn does_not_need_a_timeout_to_see_that_time_is_up() {
    let mut driver = Driver::new(config());
    driver.now += 10 * SECOND;
    assert_eq!(driver.receive(&handshake()[..1]), Err(SessionError::HandshakeTimedOut));
}

#[test]
fn answers_a_peer_that_half_closed_after_naming_its_torrent() {
    let mut driver = Driver::new(config());
    driver.receive(&handshake()[..48]).unwrap();
    driver.input(Input::Eof).unwrap();
    assert_eq!(driver.events, [Event::InfoHash(INFO_HASH)]);
    driver.input(Input::Accept { seeding: seeding() }).unwrap();
    assert_eq!((&driver.bytes[..], &driver.events[1..]), (&greeting()[..], &[Event::Finished][..]));
}

#[test]
fn refuses_a_stream_that_ends_before_it_names_a_torrent() {
    for len in 0..48 {
        let mut driver = Driver::new(config());
        driver.receive(&handshake()[..len]).unwrap();
        assert_eq!(driver.input(Input::Eof), Err(SessionError::Eof));
    }
}
