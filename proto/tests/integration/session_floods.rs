//! Stories of peers that talk and say nothing: how much of it is borne.

use std::time::Duration;

use distributor_proto::{
    Extensions, Geometry, Input, MAX_MESSAGE_LEN, Message, Seeding, SessionConfig, Violation,
};

use crate::support::{
    Driver, OUR_METADATA_ID, cancel, config, frames, handshake_with, queue_of, request, seeding, violation,
};

/// Ten messages a second, so a hundred at once.
fn strict() -> SessionConfig {
    SessionConfig { max_idle_messages: 10, ..config() }
}

const FLOOD: Violation = Violation::Flood { limit: 100 };

/// Every kind of message that changes nothing, or nothing for good.
fn idle_messages() -> Vec<Vec<Message<'static>>> {
    const REJECTED: &[u8] = b"d8:msg_typei0e5:piecei99ee";
    vec![
        vec![Message::KeepAlive],
        vec![Message::Interested],
        vec![Message::Interested, Message::NotInterested],
        vec![Message::Have { index: 0 }],
        vec![Message::Bitfield(&[0x80, 0])],
        vec![Message::Bitfield(&[0, 0])],
        vec![Message::HaveAll],
        vec![cancel(0, 0)],
        vec![Message::Choke],
        vec![Message::Choke, Message::Unchoke],
        vec![Message::Port(1)],
        vec![Message::Unknown { id: 99 }],
        vec![Message::Suggest { index: 0 }],
        vec![Message::AllowedFast { index: 0 }],
        vec![Message::Extended { id: 0, payload: b"de" }],
        vec![Message::Extended { id: 77, payload: b"" }],
        vec![Message::Extended { id: OUR_METADATA_ID, payload: REJECTED }],
    ]
}

#[test]
fn closes_on_a_flood_of_messages_that_change_nothing() {
    for kind in idle_messages() {
        let mut driver = Driver::open_with(Extensions::ALL, strict());
        // What may be news the first time.
        driver.say(&[Message::HaveAll, Message::Extended { id: 0, payload: b"de" }]).unwrap();
        let flood: Vec<_> = kind.iter().cycle().copied().take(100).collect();
        driver.say(&flood).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(violation(driver.say(&kind[..1])), FLOOD, "{kind:?}");
    }
}

#[test]
fn bears_as_many_in_the_long_run_as_it_is_told() {
    let mut driver = Driver::open(strict());
    driver.say(&[Message::KeepAlive; 100]).unwrap();
    for _ in 0..100 {
        driver.wait(Duration::from_secs(1)).unwrap();
        driver.say(&[Message::KeepAlive; 10]).unwrap();
    }
    assert_eq!(violation(driver.say(&[Message::KeepAlive])), FLOOD);
}

#[test]
fn never_counts_pieces_that_are_news_and_requests_that_are_served() {
    let geometry = Geometry::new(5_000 * 65_536, 65_536).unwrap();
    let mut driver = Driver::new(strict());
    driver.receive(&handshake_with(Extensions::ALL)).unwrap();
    driver.input(Input::Accept { seeding: Seeding { geometry, ..seeding() } }).unwrap();
    driver.say(&[Message::HaveNone, Message::Interested]).unwrap();
    driver.input(Input::Unchoke).unwrap();
    for index in 0..5_000 {
        driver.say(&[Message::Have { index }, request(index, 0)]).unwrap();
    }
    assert_eq!(driver.blocks.len(), 5_000);
}

#[test]
fn bears_a_whole_queue_of_cancels_at_once() {
    let queue = config().max_queued_requests as u32;
    let mut driver = Driver::unchoked_with(Extensions::ALL, config());
    driver.input(Input::Blocked).unwrap();
    driver.say(&(0..queue).map(|n| request(0, n)).collect::<Vec<_>>()).unwrap();
    driver.say(&(0..queue).map(|n| cancel(0, n)).collect::<Vec<_>>()).unwrap();
    assert_eq!(driver.session.queued_requests(), 0);
}

#[test]
fn bears_four_queues_of_requests_that_crossed_with_a_choke() {
    let limit = 4 * config().max_queued_requests;
    for extensions in [Extensions::default(), Extensions::ALL] {
        let mut driver = Driver::open_with(extensions, strict());
        driver.say(&vec![request(0, 0); limit]).unwrap();
        let limit = limit as u32;
        assert_eq!(violation(driver.say(&[request(0, 0)])), Violation::RequestFlood { limit });
    }
    let mut driver = Driver::open_with(Extensions::ALL, queue_of(1));
    driver.say(&vec![request(0, 0); 2048]).unwrap();
    assert!(driver.say(&[request(0, 0)]).is_err(), "a short queue doesn't mean short patience");
}

#[test]
fn bears_no_more_of_the_costliest_messages() {
    // The longest dictionary that is looked at, all of it lists: as much work as a message can make.
    let payload = [b"d1:a".to_vec(), b"l".repeat(10), b"le".repeat(4_000), b"e".repeat(11)].concat();
    assert!(payload.len() < MAX_MESSAGE_LEN);
    let mut driver = Driver::open_with(Extensions::ALL, config());
    let flood = frames(&[Message::Extended { id: 0, payload: &payload }]);
    let taken = (0..2_000).take_while(|_| driver.receive(&flood).is_ok()).count();
    assert_eq!(taken, 1001, "the first is news");
}
