//! Stories of connections that we dialled; some of them with another session at the other end.

use std::time::Duration;

use distributor_proto::{
    Event, Extensions, Handshake, InfoHash, Input, Message, PeerId, Session, SessionConfig, SessionError,
    Violation,
};

use crate::support::{
    Driver, EXTENDED, FAST, INFO_HASH, OUR_ID, PEER, PEER_ID, PLAIN, block, config, frames, handshake,
    handshake_with, request, seeding, violation,
};

const SECOND: Duration = Duration::from_secs(1);

/// A session that dialled and one that was dialled, on one virtual clock.
struct Pair {
    dialling: Driver,
    dialled: Driver,
}

impl Pair {
    fn new() -> Self {
        let dialling = Driver::dialling(config());
        let theirs = SessionConfig { our_id: PEER_ID, ..config() };
        let dialled = Driver::of(Session::accept(dialling.now, theirs, PEER), dialling.now);
        Self { dialling, dialled }
    }

    /// Carries bytes both ways until neither has more to say; what was said.
    fn exchange(&mut self) -> usize {
        let mut carried = 0;
        loop {
            let (there, back) = (take(&mut self.dialling.bytes), take(&mut self.dialled.bytes));
            if there.is_empty() && back.is_empty() {
                return carried;
            }
            carried += there.len() + back.len();
            self.dialled.receive(&there).unwrap();
            self.dialling.receive(&back).unwrap();
            if self.dialled.events.contains(&Event::InfoHash(INFO_HASH)) {
                self.dialled.events.retain(|event| *event != Event::InfoHash(INFO_HASH));
                self.dialled.input(Input::Accept { seeding: seeding() }).unwrap();
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.dialling.wait(time).unwrap();
        self.dialled.wait(time).unwrap();
    }
}

fn take(bytes: &mut Vec<u8>) -> Vec<u8> {
    std::mem::take(bytes)
}

fn our_handshake() -> Vec<u8> {
    let reserved = Extensions::ALL.to_reserved();
    Handshake { reserved, info_hash: INFO_HASH, peer_id: OUR_ID }.encode().to_vec()
}

#[test]
fn two_seeds_find_out_that_they_have_nothing_to_say() {
    let mut pair = Pair::new();
    pair.exchange();
    assert_eq!(pair.dialling.events, [Event::PeerId(PEER_ID), Event::Complete]);
    assert_eq!(pair.dialled.events, [Event::PeerId(OUR_ID), Event::Complete]);
    for session in [&pair.dialling.session, &pair.dialled.session] {
        assert_eq!(session.negotiated(), Extensions::ALL);
        assert_eq!(session.info_hash(), Some(INFO_HASH));
        assert!(session.peer_upload_only());
    }
}

#[test]
fn two_sessions_keep_each_other_alive_for_an_hour() {
    let mut pair = Pair::new();
    pair.exchange();
    let keep_alives: usize = (0..3600)
        .map(|_| {
            pair.wait(SECOND);
            pair.exchange()
        })
        .sum();
    assert_eq!(keep_alives, 2 * 4 * 36, "one each way every hundred seconds");
}

#[test]
fn speaks_first_and_says_what_it_has_when_it_knows_how() {
    for (theirs, pieces) in [
        (PLAIN, Message::Bitfield(&[0xff, 0xc0])),
        (FAST, Message::HaveAll),
        (EXTENDED, Message::Bitfield(&[0xff, 0xc0])),
    ] {
        let mut driver = Driver::dialling(config());
        assert_eq!(take(&mut driver.bytes), our_handshake());
        driver.receive(&handshake_with(theirs)[..47]).unwrap();
        assert_eq!(driver.bytes, [], "not before the peer's reserved bits and torrent are there");
        driver.receive(&handshake_with(theirs)[47..48]).unwrap();
        let pieces = frames(&[pieces]);
        assert_eq!(driver.bytes[..pieces.len()], pieces);
        assert_eq!(driver.bytes.len() > pieces.len(), theirs.extended);
        driver.receive(&handshake_with(theirs)[48..]).unwrap();
        assert_eq!(driver.events, [Event::PeerId(PEER_ID)]);
        assert_eq!(driver.session.negotiated(), theirs);
    }
}

#[test]
fn serves_a_peer_that_it_dialled() {
    let mut driver = Driver::dialling(config());
    driver.receive(&handshake()).unwrap();
    driver.say(&[Message::Interested]).unwrap();
    driver.input(Input::Unchoke).unwrap();
    driver.say(&[request(1, 0)]).unwrap();
    assert_eq!(driver.blocks, [block(1, 0)]);
}

#[test]
fn refuses_a_peer_that_answers_for_another_torrent() {
    let theirs = InfoHash::new([b'x'; 20]);
    let answer = Handshake { reserved: [0; 8], info_hash: theirs, peer_id: PEER_ID }.encode();
    let refused = Driver::dialling(config()).receive(&answer).unwrap_err();
    assert_eq!(refused, SessionError::WrongTorrent { ours: INFO_HASH, theirs });
    assert!(refused.is_violation());
}

#[test]
fn refuses_itself_and_other_protocols_when_it_dialled_them() {
    let refused = Driver::dialling(config()).receive(&our_handshake()).unwrap_err();
    assert_eq!(refused, SessionError::OwnPeerId);
    assert!(!refused.is_violation());
    assert_eq!(Driver::dialling(config()).receive(b"SSH-2.0"), Err(SessionError::Protocol));
}

#[test]
fn takes_no_torrent_where_it_named_one() {
    let accepted = Driver::dialling(config()).input(Input::Accept { seeding: seeding() });
    assert_eq!(accepted, Err(SessionError::AcceptOutOfTurn));
}

#[test]
fn gives_a_dialled_peer_ten_seconds_for_its_handshake() {
    let mut driver = Driver::dialling(config());
    driver.receive(&handshake()[..67]).unwrap();
    assert_eq!(driver.wait(10 * SECOND), Err(SessionError::HandshakeTimedOut));
    let left = Driver::dialling(config()).input(Input::Eof);
    assert_eq!(left, Err(SessionError::Eof));
}

#[test]
fn counts_the_messages_of_a_dialled_peer_from_its_handshake_on() {
    let mut driver = Driver::dialling(config());
    let id = PeerId::new([1; 20]);
    driver.receive(&Handshake { reserved: [0; 8], info_hash: INFO_HASH, peer_id: id }.encode()).unwrap();
    let refused = driver.say(&[Message::Interested, Message::Piece { index: 0, begin: 0, data: b"" }]);
    let expected = SessionError::Message { ordinal: 2, name: "piece", violation: Violation::Unrequested };
    assert_eq!(refused, Err(expected));
    assert_eq!(violation(refused), Violation::Unrequested);
}
