//! Stories of a seed that shows its pieces one by one (super-seeding), and of one that hears what its peers have.

use distributor_proto::{
    Event, ExtendedHandshake, Extensions, Geometry, Input, Message, PieceIndex, Seeding, SessionConfig,
    Violation, allowed_fast_set,
};

use crate::support::{
    Driver, FAST, INFO_HASH, PEER, PLAIN, block, config, frames, geometry, handshake_with, queue_of, reject,
    request, seeding, violation,
};

fn piece(index: u32) -> PieceIndex {
    geometry().piece(index).unwrap()
}

fn have(index: u32) -> Message<'static> {
    Message::Have { index }
}

/// After our greeting, which is still there to be looked at.
fn greeted(extensions: Extensions, config: SessionConfig, geometry: Geometry) -> Driver {
    let mut driver = Driver::new(config);
    driver.receive(&handshake_with(extensions)).unwrap();
    let seeding = Seeding { geometry, begins_empty: true, ..seeding() };
    driver.input(Input::Accept { seeding }).unwrap();
    driver
}

/// Past the greeting, with a peer that is interested and has been unchoked.
fn unchoked(extensions: Extensions, config: SessionConfig) -> Driver {
    let mut driver = greeted(extensions, config, geometry());
    driver.say(&[Message::Interested]).unwrap();
    driver.input(Input::Unchoke).unwrap();
    driver.forget();
    driver
}

#[test]
fn begins_with_nothing_in_the_peers_own_dialect() {
    assert_eq!(greeted(FAST, config(), geometry()).bytes[68..], frames(&[Message::HaveNone]));
    assert_eq!(greeted(PLAIN, config(), geometry()).bytes[68..], [], "BEP 3: who has none need not say so");
}

#[test]
fn says_nothing_of_only_uploading_where_it_begins_with_nothing() {
    let driver = greeted(Extensions::ALL, config(), geometry());
    let greeting = &driver.bytes[68 + frames(&[Message::HaveNone]).len()..];
    let Message::Extended { payload, .. } = Message::decode(&greeting[4..], Extensions::ALL).unwrap() else {
        panic!("{greeting:?}")
    };
    let ours = ExtendedHandshake::decode(payload).unwrap();
    assert_eq!((ours.upload_only, ours.metadata_size), (None, Some(seeding().metadata_len)));
}

#[test]
fn the_side_that_dialled_begins_with_nothing_too() {
    let now = std::time::Instant::now();
    let seeding = Seeding { begins_empty: true, ..seeding() };
    let session = distributor_proto::Session::connect(now, config(), PEER, INFO_HASH, seeding);
    let mut driver = Driver::of(session, now);
    driver.receive(&handshake_with(FAST)).unwrap();
    assert_eq!(driver.bytes[68..], frames(&[Message::HaveNone]));
    driver.forget();
    driver.input(Input::Show(&[piece(3)])).unwrap();
    assert_eq!(driver.bytes, frames(&[have(3)]));
}

#[test]
fn tells_of_pieces_as_they_are_shown_each_once() {
    for extensions in [FAST, PLAIN] {
        let mut driver = unchoked(extensions, config());
        driver.input(Input::Show(&[piece(3), piece(9), piece(3)])).unwrap();
        driver.input(Input::Show(&[piece(9), piece(0)])).unwrap();
        assert_eq!(driver.bytes, frames(&[have(3), have(9), have(0)]));
    }
}

#[test]
fn serves_what_it_has_shown_and_rejects_the_rest() {
    let mut driver = unchoked(FAST, config());
    driver.input(Input::Show(&[piece(3)])).unwrap();
    driver.forget();
    driver.say(&[request(3, 0), request(4, 0)]).unwrap();
    assert_eq!((&driver.blocks[..], &driver.bytes[..]), (&[block(3, 0)][..], &frames(&[reject(4, 0)])[..]));
    driver.input(Input::Show(&[piece(4)])).unwrap();
    driver.say(&[request(4, 0)]).unwrap();
    assert_eq!(driver.blocks, [block(3, 0), block(4, 0)]);
}

#[test]
fn drops_requests_for_what_it_has_not_shown_where_they_cannot_be_rejected() {
    let mut driver = unchoked(PLAIN, config());
    driver.say(&[request(4, 0)]).unwrap();
    assert_eq!((&driver.blocks[..], &driver.bytes[..]), (&[][..], &[][..]));
}

#[test]
fn bears_so_many_requests_for_what_it_has_not_shown_and_no_more() {
    for extensions in [FAST, PLAIN] {
        let mut driver = unchoked(extensions, queue_of(1));
        for _ in 0..2048 {
            driver.say(&[request(4, 0)]).unwrap();
        }
        let one_more = driver.say(&[request(4, 0)]);
        assert_eq!(violation(one_more), Violation::RequestFlood { limit: 2048 });
    }
}

#[test]
fn shows_everything_that_is_left() {
    let mut driver = unchoked(FAST, config());
    driver.say(&[Message::Bitfield(&[0x80, 0])]).unwrap();
    driver.input(Input::Show(&[piece(3)])).unwrap();
    driver.forget();
    driver.input(Input::ShowEverything).unwrap();
    let left: Vec<_> = [1, 2, 4, 5, 6, 7, 8, 9].map(have).into();
    assert_eq!(driver.bytes, frames(&left), "but for what the peer has, and for what it was told");
    driver.forget();
    driver.input(Input::ShowEverything).unwrap();
    driver.say(&[request(0, 0), request(8, 0)]).unwrap();
    assert_eq!((&driver.bytes[..], &driver.blocks[..]), (&[][..], &[block(0, 0), block(8, 0)][..]));
}

#[test]
fn tells_of_many_pieces_in_steps_that_wait_for_room() {
    let pieces = 100_u32;
    let many = Geometry::new(u64::from(pieces) * 16_384, 16_384).unwrap();
    let control = SessionConfig { max_control_len: 20 * 9, ..config() };
    let mut driver = greeted(FAST, control, many);
    driver.input(Input::Blocked).unwrap();
    driver.forget();
    driver.input(Input::ShowEverything).unwrap();
    assert_eq!(driver.bytes, [], "the socket is full");
    assert!(driver.session.wants_input(), "what isn't told yet takes no room");
    driver.session.handle_input(driver.now, Input::Writable).unwrap();
    let mut steps = Vec::new();
    let mut before = 0;
    while driver.poll() {
        steps.push(driver.bytes.len() - before);
        before = driver.bytes.len();
    }
    assert_eq!(steps, [20 * 9; 5]);
    let told: Vec<_> = (0..pieces).map(have).collect();
    assert_eq!(driver.bytes, frames(&told));
}

#[test]
fn a_choke_goes_before_what_is_still_to_be_told() {
    let mut driver = unchoked(FAST, config());
    driver.input(Input::Blocked).unwrap();
    driver.input(Input::Show(&[piece(3)])).unwrap();
    driver.input(Input::Choke).unwrap();
    driver.input(Input::Writable).unwrap();
    assert_eq!(driver.bytes, frames(&[Message::Choke, have(3)]));
}

#[test]
fn offers_and_suggests_nothing_where_it_shows_pieces() {
    let mut driver = greeted(FAST, config(), geometry());
    driver.forget();
    driver.say(&[Message::HaveNone, Message::Interested]).unwrap();
    driver.input(Input::Suggest(piece(1))).unwrap();
    driver.input(Input::Show(&[piece(1)])).unwrap();
    assert_eq!(driver.bytes, frames(&[have(1)]));
    let fast = allowed_fast_set(PEER, &INFO_HASH, &geometry(), 2)[0].get();
    driver.forget();
    driver.say(&[request(fast, 0)]).unwrap();
    assert_eq!((&driver.blocks[..], &driver.bytes[..]), (&[][..], &frames(&[reject(fast, 0)])[..]));
}

#[test]
fn ignores_what_is_shown_where_it_has_said_to_have_everything() {
    let mut driver = Driver::unchoked_with(FAST, config());
    driver.input(Input::Show(&[piece(1)])).unwrap();
    driver.input(Input::ShowEverything).unwrap();
    driver.say(&[request(2, 0)]).unwrap();
    assert_eq!((&driver.blocks[..], &driver.bytes[..]), (&[block(2, 0)][..], &[][..]));
}

#[test]
fn shows_nothing_before_its_greeting() {
    let mut driver = Driver::new(config());
    driver.input(Input::Show(&[piece(1)])).unwrap();
    driver.input(Input::ShowEverything).unwrap();
    assert_eq!(driver.bytes, []);
}

/// A session that reports, past its greeting.
fn reporting() -> Driver {
    let mut driver = Driver::open_with(FAST, config());
    driver.session.report_pieces(true);
    driver
}

#[test]
fn reports_what_the_peer_has_first_and_what_it_gets() {
    for (first, count) in [
        (Message::HaveNone, 0),
        (Message::Bitfield(&[0, 0]), 0),
        (Message::Bitfield(&[0x80, 0]), 1),
        (Message::Have { index: 0 }, 1),
    ] {
        let mut driver = reporting();
        driver.say(&[first]).unwrap();
        assert_eq!(driver.events, [Event::Pieces], "{first:?}");
        assert_eq!(driver.session.peer_pieces().map_or(0, |pieces| pieces.count()), count);
        driver.forget();
        driver.say(&[have(4), have(4), have(5)]).unwrap();
        assert_eq!(driver.events, [Event::Have(piece(4)), Event::Have(piece(5))]);
    }
}

#[test]
fn reports_a_bitfield_in_mid_stream_in_place_of_the_haves_before_it() {
    let mut driver = reporting();
    driver.say(&[Message::HaveNone]).unwrap();
    driver.forget();
    driver.say(&[have(4), Message::Bitfield(&[0x0f, 0]), have(9), Message::Bitfield(&[0x0f, 0])]).unwrap();
    assert_eq!(driver.events, [Event::Pieces, Event::Have(piece(9))]);
    driver.forget();
    driver.say(&[Message::HaveAll]).unwrap();
    assert_eq!(driver.events, [Event::Pieces, Event::Complete]);
}

#[test]
fn reports_nothing_to_those_who_have_not_asked() {
    let mut driver = Driver::open_with(FAST, config());
    driver.say(&[Message::HaveNone, have(1), Message::Bitfield(&[0x0f, 0])]).unwrap();
    assert_eq!(driver.events, []);
}
