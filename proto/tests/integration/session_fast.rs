//! Stories of the fast extension (BEP 6): every request has an answer, and a choked peer has a beginning.

use distributor_proto::{
    BLOCK_LEN, Event, Extensions, Geometry, Input, MAX_CONTROL_LEN, Message, PieceIndex, Seeding,
    SessionConfig, Violation, allowed_fast_set,
};

use crate::support::{
    Driver, EXTENDED, FAST, INFO_HASH, PEER, block, cancel, config, frames, geometry, handshake_with,
    queue_of, reject, request, seeding, violation,
};

/// The set for the peer of these tests.
fn fast_set(count: u32) -> Vec<PieceIndex> {
    allowed_fast_set(PEER, &INFO_HASH, &geometry(), count)
}

/// A piece of the set that isn't the short last one, and one that is in no set of two.
fn fast_and_slow() -> (u32, u32) {
    let set = fast_set(2);
    let fast = set.iter().find(|piece| piece.get() < 9).unwrap();
    let slow = geometry().pieces().find(|piece| !set.contains(piece) && piece.get() < 9).unwrap();
    (fast.get(), slow.get())
}

/// Past the handshake with a peer that has nothing and was told what it may ask for.
fn newcomer(config: SessionConfig) -> Driver {
    let mut driver = Driver::open_with(FAST, config);
    driver.say(&[Message::HaveNone, Message::Interested]).unwrap();
    driver.forget();
    driver
}

fn whole_block(index: u32, begin: u32) -> Message<'static> {
    Message::Request { index, begin, length: BLOCK_LEN }
}

#[test]
fn says_that_it_has_everything_in_one_byte() {
    let mut driver = Driver::new(config());
    driver.receive(&handshake_with(FAST)).unwrap();
    driver.input(Input::Accept { seeding: seeding() }).unwrap();
    assert_eq!(driver.bytes[68..], frames(&[Message::HaveAll]));
    assert_eq!(driver.session.negotiated(), Extensions { fast: true, extended: false });
}

#[test]
fn takes_have_all_for_complete_and_have_none_for_nothing() {
    let mut driver = Driver::open_with(FAST, config());
    driver.say(&[Message::HaveAll]).unwrap();
    assert_eq!((driver.session.peer_have(), &driver.events[..]), (10, &[Event::Complete][..]));

    let mut driver = Driver::open_with(FAST, config());
    driver.say(&[Message::HaveNone]).unwrap();
    assert_eq!((driver.session.peer_have(), &driver.events[..]), (0, &[][..]));
}

#[test]
fn refuses_have_none_later_than_first() {
    let first =
        [Message::HaveAll, Message::HaveNone, Message::Bitfield(&[0x80, 0]), Message::Have { index: 1 }];
    for first in first {
        let mut driver = Driver::open_with(FAST, config());
        driver.say(&[first]).unwrap();
        assert_eq!(violation(driver.say(&[Message::HaveNone])), Violation::HaveOutOfTurn, "after {first:?}");
    }
}

#[test]
fn takes_have_all_in_mid_stream_as_aria2_sends_it() {
    for before in [Message::HaveNone, Message::Bitfield(&[0x80, 0]), Message::Have { index: 1 }] {
        let mut driver = Driver::open_with(FAST, config());
        driver.say(&[before, Message::HaveAll, Message::HaveAll]).unwrap();
        assert_eq!(
            (driver.session.peer_have(), &driver.events[..]),
            (10, &[Event::Complete][..]),
            "{before:?}"
        );
    }
}

#[test]
fn takes_have_none_after_an_extended_message() {
    let mut driver = Driver::open_with(Extensions::ALL, config());
    driver
        .say(&[Message::Extended { id: 0, payload: b"de" }, Message::KeepAlive, Message::HaveNone])
        .unwrap();
}

#[test]
fn tells_a_newcomer_what_it_may_ask_for_while_choked() {
    let mut driver = Driver::open_with(FAST, config());
    driver.say(&[Message::HaveNone]).unwrap();
    let told: Vec<_> = fast_set(2).iter().map(|piece| Message::AllowedFast { index: piece.get() }).collect();
    assert_eq!((told.len(), &driver.bytes[..]), (2, &frames(&told)[..]));
    driver.forget();
    driver.say(&[Message::Bitfield(&[0, 0]), Message::Have { index: 0 }]).unwrap();
    assert_eq!(driver.bytes, [], "once");
}

#[test]
fn tells_only_those_who_have_fewer_pieces_than_the_set() {
    let told = |pieces: &'static [u8], allowed_fast| {
        let mut driver = Driver::open_with(FAST, SessionConfig { allowed_fast, ..config() });
        driver.say(&[Message::Bitfield(pieces)]).unwrap();
        driver.bytes.len() / frames(&[Message::AllowedFast { index: 0 }]).len()
    };
    assert_eq!(told(&[0x80, 0], 2), 2);
    assert_eq!(told(&[0xc0, 0], 2), 0);
    assert_eq!(told(&[0, 0], 0), 0);
    assert_eq!(told(&[0, 0], 1000), 10, "no more than there are");
    let mut plain = Driver::open(config());
    plain.say(&[Message::Bitfield(&[0, 0])]).unwrap();
    assert_eq!(plain.bytes, []);
}

#[test]
fn serves_a_choked_peer_what_it_was_told_and_rejects_the_rest() {
    let (fast, slow) = fast_and_slow();
    let mut driver = newcomer(config());
    driver.say(&[request(fast, 0), request(slow, 0)]).unwrap();
    assert_eq!(driver.blocks, [block(fast, 0)]);
    assert_eq!(driver.bytes, frames(&[reject(slow, 0)]));
}

#[test]
fn rejects_a_choked_peer_that_is_not_interested() {
    let (fast, _) = fast_and_slow();
    let mut driver = Driver::open_with(FAST, config());
    driver.say(&[Message::HaveNone]).unwrap();
    driver.forget();
    driver.say(&[request(fast, 0)]).unwrap();
    assert_eq!((&driver.blocks[..], &driver.bytes[..]), (&[][..], &frames(&[reject(fast, 0)])[..]));
}

#[test]
fn serves_a_choked_peer_its_set_twice_over() {
    let (fast, slow) = fast_and_slow();
    let mut driver = newcomer(config());
    let set_bytes: u64 = fast_set(2)
        .iter()
        .map(|piece| geometry().piece_range(*piece))
        .map(|range| range.end - range.start)
        .sum();
    let blocks = 2 * set_bytes / u64::from(BLOCK_LEN);
    for n in 0..=blocks {
        driver.say(&[whole_block(fast, (n % 4) as u32 * BLOCK_LEN)]).unwrap();
    }
    assert_eq!(driver.blocks.len() as u64, blocks);
    assert_eq!(driver.bytes.len(), 17, "the one too many is rejected");

    driver.input(Input::Unchoke).unwrap();
    driver.say(&[whole_block(fast, 0), whole_block(slow, 0)]).unwrap();
    assert_eq!(driver.blocks.len() as u64, blocks + 2, "unchoked it may have anything");
    driver.input(Input::Choke).unwrap();
    driver.forget();
    driver.say(&[whole_block(fast, 0)]).unwrap();
    assert_eq!((driver.blocks.len(), driver.bytes.len()), (0, 17), "and choked nothing again");
}

#[test]
fn sends_a_choked_peer_no_more_than_so_much_however_long_the_pieces_are() {
    const MOST: u64 = 64 * 1024 * 1024;
    const PIECE_LEN: u32 = 256 * 1024 * 1024;
    let geometry = Geometry::new(4 * u64::from(PIECE_LEN), PIECE_LEN).unwrap();
    let fast = allowed_fast_set(PEER, &INFO_HASH, &geometry, 1)[0];
    let mut driver = Driver::new(SessionConfig { allowed_fast: 1, ..config() });
    driver.receive(&handshake_with(FAST)).unwrap();
    driver.input(Input::Accept { seeding: Seeding { geometry, ..seeding() } }).unwrap();
    driver.say(&[Message::HaveNone, Message::Interested]).unwrap();
    driver.forget();
    let blocks = MOST / u64::from(BLOCK_LEN);
    for n in 0..blocks {
        driver.say(&[whole_block(fast.get(), n as u32 * BLOCK_LEN)]).unwrap();
    }
    assert_eq!((driver.blocks.len() as u64, driver.bytes.len()), (blocks, 0));
    driver.say(&[whole_block(fast.get(), 0)]).unwrap();
    assert_eq!(
        (driver.blocks.len() as u64, driver.bytes.len()),
        (blocks, 17),
        "the one too many is rejected"
    );
}

#[test]
fn counts_what_waits_against_the_choked_peers_share() {
    let (fast, _) = fast_and_slow();
    let mut driver = newcomer(config());
    driver.input(Input::Blocked).unwrap();
    driver.say(&vec![whole_block(fast, 0); 100]).unwrap();
    let waiting = driver.session.queued_requests();
    assert!(waiting <= 16, "two pieces of four blocks, twice: {waiting}");
    driver.input(Input::Writable).unwrap();
    assert_eq!((driver.blocks.len(), driver.bytes.len()), (waiting, (100 - waiting) * 17));
}

#[test]
fn rejects_what_waits_with_a_choke_but_for_allowed_fast_pieces() {
    let (fast, slow) = fast_and_slow();
    let mut driver = newcomer(config());
    driver.input(Input::Unchoke).unwrap();
    driver.forget();
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(slow, 0), request(fast, 0), request(slow, 100)]).unwrap();
    driver.input(Input::Choke).unwrap();
    assert_eq!(driver.session.queued_requests(), 1);
    driver.input(Input::Writable).unwrap();
    assert_eq!(driver.bytes, frames(&[Message::Choke, reject(slow, 0), reject(slow, 100)]));
    assert_eq!(driver.blocks, [block(fast, 0)]);
}

#[test]
fn rejects_what_waits_for_a_peer_that_lost_interest() {
    let mut driver = Driver::unchoked_with(FAST, config());
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0), request(1, 0), Message::NotInterested]).unwrap();
    driver.input(Input::Writable).unwrap();
    assert_eq!((&driver.bytes[..], driver.blocks.len()), (&frames(&[reject(0, 0), reject(1, 0)])[..], 0));
}

#[test]
fn rejects_a_request_that_is_cancelled_and_none_that_was_answered() {
    let mut driver = Driver::unchoked_with(FAST, config());
    driver.say(&[request(0, 0)]).unwrap();
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(1, 0), cancel(1, 0), cancel(1, 0), cancel(0, 0)]).unwrap();
    driver.input(Input::Writable).unwrap();
    assert_eq!((&driver.blocks[..], &driver.bytes[..]), (&[block(0, 0)][..], &frames(&[reject(1, 0)])[..]));
}

#[test]
fn rejects_requests_for_what_is_not_in_the_torrent() {
    let mut driver = Driver::unchoked_with(FAST, config());
    for (index, begin, length) in [(10, 0, 1), (0, 0, 131_073), (9, 1, 1000), (0, 0, 0), (0, u32::MAX, 2)] {
        driver.say(&[Message::Request { index, begin, length }]).unwrap();
        assert_eq!(driver.bytes, frames(&[Message::Reject { index, begin, length }]));
        driver.forget();
    }
    assert_eq!(driver.blocks, []);
}

#[test]
fn rejects_the_request_that_is_one_too_many_and_reads_on() {
    let mut driver = Driver::unchoked_with(FAST, queue_of(2));
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0), request(1, 0), request(2, 0)]).unwrap();
    assert_eq!((driver.session.queued_requests(), driver.session.wants_input()), (2, true));
    driver.input(Input::Writable).unwrap();
    assert_eq!(driver.blocks, [block(0, 0), block(1, 0)]);
    assert_eq!(driver.bytes, frames(&[reject(2, 0)]));
}

#[test]
fn stops_reading_from_a_peer_that_reads_no_rejects() {
    // A queue so long that the bound on refusals is not what is met first.
    for max_control_len in [MAX_CONTROL_LEN, 1000] {
        let mut driver = Driver::open_with(FAST, SessionConfig { max_control_len, ..queue_of(10_000) });
        driver.input(Input::Blocked).unwrap();
        let fitting = max_control_len / 17;
        driver.say(&vec![request(0, 0); fitting]).unwrap();
        assert!(driver.session.wants_input());
        driver.say(&vec![request(0, 0); 100]).unwrap();
        assert!(!driver.session.wants_input(), "one message beyond the limit");
        driver.input(Input::Writable).unwrap();
        assert!(driver.session.wants_input());
        assert_eq!(driver.bytes.len(), (fitting + 100) * 17, "those that waited are answered too");
    }
}

#[test]
fn suggests_a_piece_to_those_who_lack_it_and_understand() {
    let pieces: Vec<_> = geometry().pieces().collect();
    let mut driver = Driver::open_with(FAST, config());
    driver.say(&[Message::Bitfield(&[0b1100_0000, 0])]).unwrap();
    driver.input(Input::Suggest(pieces[0])).unwrap();
    assert_eq!(driver.bytes, []);
    driver.input(Input::Suggest(pieces[2])).unwrap();
    assert_eq!(driver.bytes, frames(&[Message::Suggest { index: 2 }]));

    let larger = Geometry::new(100 * 65_536, 65_536).unwrap();
    driver.forget();
    driver.input(Input::Suggest(larger.piece(10).unwrap())).unwrap();
    assert_eq!(driver.bytes, [], "of another torrent");

    for mut driver in [Driver::open(config()), Driver::open_with(EXTENDED, config()), Driver::new(config())] {
        driver.input(Input::Suggest(pieces[2])).unwrap();
        assert_eq!(driver.bytes, []);
    }
}

#[test]
fn keeps_no_more_suggestions_than_may_wait() {
    let piece = geometry().piece(0).unwrap();
    let mut driver = Driver::open_with(FAST, config());
    driver.input(Input::Blocked).unwrap();
    for _ in 0..MAX_CONTROL_LEN {
        driver.input(Input::Suggest(piece)).unwrap();
    }
    driver.input(Input::Writable).unwrap();
    assert!((MAX_CONTROL_LEN..MAX_CONTROL_LEN + 9 + 1).contains(&driver.bytes.len()));
}

#[test]
fn checks_suggestions_and_refuses_answers_to_what_it_never_asked() {
    let said = |message| Driver::open_with(FAST, config()).say(&[message]);
    assert_eq!(said(Message::Suggest { index: 9 }), Ok(()));
    assert_eq!(said(Message::AllowedFast { index: 9 }), Ok(()));
    let no_such_piece = Violation::NoSuchPiece { index: 10, pieces: 10 };
    assert_eq!(violation(said(Message::Suggest { index: 10 })), no_such_piece);
    assert_eq!(violation(said(Message::AllowedFast { index: 10 })), no_such_piece);
    assert_eq!(violation(said(reject(0, 0))), Violation::Unrequested);
}

#[test]
fn allows_a_torrent_of_one_piece_to_be_had_without_an_unchoke() {
    let geometry = Geometry::new(1000, 65_536).unwrap();
    let mut driver = Driver::new(config());
    driver.receive(&handshake_with(FAST)).unwrap();
    driver.input(Input::Accept { seeding: Seeding { geometry, ..seeding() } }).unwrap();
    driver.say(&[Message::HaveNone, Message::Interested]).unwrap();
    driver.say(&[Message::Request { index: 0, begin: 0, length: 1000 }]).unwrap();
    assert_eq!(driver.blocks, [geometry.block(0, 0, 1000).unwrap()]);
}
