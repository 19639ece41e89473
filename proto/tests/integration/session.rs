//! Stories of an open session: interest, requests, pieces, and what is refused.

use std::time::Duration;

use distributor_proto::{
    BitfieldError, BlockError, Event, Geometry, Input, MAX_KEPT_LEN, MAX_MESSAGE_LEN, Message, MessageError,
    Seeding, SessionConfig, SessionError, Violation,
};

use crate::support::{
    Driver, block, cancel, config, frames, handshake, queue_of, request, seeding, violation,
};

const UNCHOKE: &[u8] = &[0, 0, 0, 1, 1];
const CHOKE: &[u8] = &[0, 0, 0, 1, 0];
const BITFIELD: Message<'_> = Message::Bitfield(&[0xff, 0xc0]);

#[test]
fn does_not_unchoke_before_interest() {
    let mut driver = Driver::open(config());
    driver.input(Input::Unchoke).unwrap();
    assert!(driver.bytes.is_empty() && !driver.session.is_unchoked());
    driver.say(&[Message::Interested, Message::Interested]).unwrap();
    assert_eq!(driver.events, [Event::Interested]);
    assert!(driver.session.peer_interested());
    driver.input(Input::Unchoke).unwrap();
    driver.input(Input::Unchoke).unwrap();
    assert_eq!(driver.bytes, UNCHOKE);
    assert!(driver.session.is_unchoked());
}

#[test]
fn serves_requests_in_order() {
    let mut driver = Driver::unchoked(config());
    driver.say(&[request(9, 900), request(0, 0), request(0, 0)]).unwrap();
    assert_eq!(driver.blocks, [block(9, 900), block(0, 0), block(0, 0)]);
    assert_eq!(driver.session.queued_requests(), 0);
}

#[test]
fn drops_requests_while_choked() {
    let mut driver = Driver::open(config());
    driver.say(&[request(0, 0), Message::Interested, request(0, 100)]).unwrap();
    driver.input(Input::Unchoke).unwrap();
    assert_eq!(driver.blocks, [], "a request from before the unchoke stays dropped");
    driver.input(Input::Choke).unwrap();
    driver.input(Input::Choke).unwrap();
    driver.say(&[request(0, 200)]).unwrap();
    assert_eq!(driver.blocks, []);
    assert_eq!(driver.bytes, [UNCHOKE, CHOKE].concat());
}

#[test]
fn drops_waiting_requests_with_a_choke() {
    let mut driver = Driver::unchoked(config());
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0), request(0, 100)]).unwrap();
    assert_eq!(driver.session.queued_requests(), 2);
    driver.input(Input::Choke).unwrap();
    assert_eq!(driver.session.queued_requests(), 0);
    driver.input(Input::Writable).unwrap();
    assert_eq!((&driver.blocks[..], &driver.bytes[..]), (&[][..], CHOKE));
}

#[test]
fn holds_blocks_back_for_a_rate_but_neither_messages_nor_what_takes_requests_back() {
    let mut driver = Driver::unchoked(config());
    driver.session.hold_blocks(true);
    driver.say(&[request(0, 0), request(0, 100), request(0, 200), cancel(0, 100)]).unwrap();
    assert_eq!((&driver.blocks[..], driver.session.queued_requests()), (&[][..], 2));
    driver.session.hold_blocks(false);
    driver.input(Input::Timeout).unwrap();
    assert_eq!(driver.blocks, [block(0, 0), block(0, 200)]);
    driver.session.hold_blocks(true);
    driver.say(&[request(1, 0)]).unwrap();
    driver.input(Input::Choke).unwrap();
    assert_eq!((driver.session.queued_requests(), &driver.bytes[..]), (0, CHOKE));
}

#[test]
fn drops_waiting_requests_of_a_peer_that_lost_interest() {
    let mut driver = Driver::unchoked(config());
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0), Message::NotInterested, request(0, 100)]).unwrap();
    assert_eq!(driver.events, [Event::NotInterested]);
    driver.input(Input::Writable).unwrap();
    assert_eq!(driver.blocks, []);
    assert!(driver.session.is_unchoked(), "whom to choke is the driver's choice");
}

#[test]
fn tells_of_interest_once_however_often_the_peer_changes_its_mind() {
    let mut driver = Driver::open(config());
    let toggles = [Message::Interested, Message::NotInterested].repeat(100);
    driver.say(&toggles).unwrap();
    assert_eq!(driver.events, []);
    driver.say(&toggles[1..]).unwrap();
    driver.say(&toggles[..1]).unwrap();
    assert_eq!(driver.events, [Event::Interested]);
}

#[test]
fn cancels_one_request_for_each_cancel() {
    let mut driver = Driver::unchoked(config());
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(1, 0), request(2, 0), request(1, 0), cancel(1, 0), cancel(3, 0)]).unwrap();
    driver.say(&[Message::Cancel { index: 2, begin: 0, length: 99 }, cancel(u32::MAX, 0)]).unwrap();
    driver.input(Input::Writable).unwrap();
    assert_eq!(driver.blocks, [block(2, 0), block(1, 0)]);
}

#[test]
fn refuses_requests_for_what_is_not_in_the_torrent() {
    let refused = |index, begin, length| {
        // Choked or not: such a peer has another torrent in mind.
        let mut driver = Driver::open(config());
        violation(driver.say(&[Message::Request { index, begin, length }]))
    };
    let pieces = 10;
    assert_eq!(refused(10, 0, 1), BlockError::NoSuchPiece { index: 10, pieces }.into());
    assert_eq!(refused(0, 0, 131_073), BlockError::Length { length: 131_073 }.into());
    assert_eq!(refused(9, 1, 1000), BlockError::PastEnd { begin: 1, length: 1000, piece_len: 1000 }.into());
}

#[test]
fn refuses_a_block_that_nobody_asked_for() {
    let refused = Driver::open(config()).say(&[Message::Piece { index: 0, begin: 0, data: b"x" }]);
    assert_eq!(violation(refused), Violation::Unrequested);
}

#[test]
fn refuses_the_fast_extension_without_negotiation() {
    for id in 13..=17 {
        let refused = Driver::open(config()).say(&[Message::Unknown { id }]);
        assert_eq!(violation(refused), MessageError::FastWithoutNegotiation { id }.into());
    }
}

#[test]
fn refuses_a_frame_by_its_length_before_it_comes() {
    let len = MAX_MESSAGE_LEN + 1;
    let mut driver = Driver::open(config());
    let prefix = (len as u32).to_be_bytes();
    driver.receive(&prefix[..3]).unwrap();
    assert_eq!(violation(driver.receive(&prefix[3..])), MessageError::TooLong { len }.into());
}

#[test]
fn ignores_what_means_nothing_to_a_seed() {
    let mut driver = Driver::open(config());
    let messages =
        [Message::KeepAlive, Message::Choke, Message::Unchoke, Message::Port(1), Message::Unknown { id: 20 }];
    driver.say(&messages).unwrap();
    assert_eq!((&driver.events[..], &driver.bytes[..]), (&[][..], &[][..]));
}

#[test]
fn counts_what_the_peer_has_by_haves_and_bitfields_in_any_order() {
    let mut driver = Driver::open(config());
    driver.say(&[Message::Have { index: 3 }, Message::Have { index: 3 }]).unwrap();
    assert_eq!(driver.session.peer_have(), 1);
    driver.say(&[Message::Bitfield(&[0b1110_0000, 0])]).unwrap();
    assert_eq!(driver.session.peer_have(), 4, "aria2 sends bitfields in mid-stream");
    driver.say(&[Message::Bitfield(&[0, 0])]).unwrap();
    assert_eq!(driver.session.peer_have(), 4);
    assert_eq!(driver.events, []);
    for message in [BITFIELD, BITFIELD, Message::Have { index: 0 }] {
        driver.say(&[message]).unwrap();
    }
    assert_eq!((driver.session.peer_have(), &driver.events[..]), (10, &[Event::Complete][..]));
}

#[test]
fn sees_a_peer_complete_by_its_last_have() {
    let mut driver = Driver::open(config());
    for index in 0..9 {
        driver.say(&[Message::Have { index }]).unwrap();
    }
    assert_eq!(driver.events, []);
    driver.say(&[Message::Have { index: 9 }]).unwrap();
    assert_eq!(driver.events, [Event::Complete]);
}

#[test]
fn refuses_pieces_that_do_not_exist() {
    let refused = |message| violation(Driver::open(config()).say(&[message]));
    assert_eq!(refused(Message::Have { index: 10 }), Violation::NoSuchPiece { index: 10, pieces: 10 });
    let length = |len| BitfieldError::Length { len, expected: 2 }.into();
    assert_eq!(refused(Message::Bitfield(&[])), length(0));
    assert_eq!(refused(Message::Bitfield(&[0xff; 3])), length(3));
    assert_eq!(refused(Message::Bitfield(&[0xff, 0xe0])), BitfieldError::SpareBits.into());
}

#[test]
fn takes_the_largest_torrents_bitfield() {
    let geometry = Geometry::new(200_000 * 65_536, 65_536).unwrap();
    let mut driver = Driver::new(config());
    driver.receive(&handshake()).unwrap();
    driver.input(Input::Accept { seeding: Seeding { geometry, ..seeding() } }).unwrap();
    for part in frames(&[Message::Bitfield(&[0xff; 25_000])]).chunks(1000) {
        driver.receive(part).unwrap();
    }
    assert_eq!(driver.session.peer_have(), 200_000);
}

#[test]
fn stops_reading_while_the_queue_is_full() {
    let mut driver = Driver::unchoked(queue_of(2));
    driver.input(Input::Blocked).unwrap();
    let requests: Vec<_> = (0..5).map(|n| request(n, 0)).collect();
    driver.say(&requests).unwrap();
    assert_eq!((driver.session.queued_requests(), driver.session.wants_input()), (2, false));
    driver.input(Input::Writable).unwrap();
    assert_eq!(driver.blocks, (0..5).map(|n| block(n, 0)).collect::<Vec<_>>());
    assert!(driver.session.wants_input());
}

#[test]
fn reads_on_after_a_choke_emptied_the_queue() {
    let mut driver = Driver::unchoked(queue_of(2));
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0), request(1, 0), request(2, 0), Message::NotInterested]).unwrap();
    assert!(driver.session.peer_interested(), "the rest waits");
    driver.input(Input::Choke).unwrap();
    assert!(driver.session.wants_input() && !driver.session.peer_interested());
    assert_eq!(driver.events, [Event::NotInterested]);
}

#[test]
fn tells_at_once_of_an_error_that_had_waited_behind_a_full_queue() {
    let mut driver = Driver::unchoked(queue_of(1));
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0), request(10, 0)]).unwrap();
    driver.input(Input::Writable).unwrap();
    assert_eq!(driver.blocks, [block(0, 0)]);
    assert_eq!(driver.timeout, driver.now, "due now");
    assert!(!driver.session.wants_input());
    let error = BlockError::NoSuchPiece { index: 10, pieces: 10 }.into();
    assert_eq!(violation(driver.wait(Duration::ZERO)), error);
}

#[test]
fn refuses_to_keep_more_than_its_limit() {
    let mut driver = Driver::unchoked(queue_of(1));
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0)]).unwrap();
    driver.receive(&vec![0; MAX_KEPT_LEN]).unwrap();
    assert_eq!(driver.receive(&[0]), Err(SessionError::Overrun));

    let mut driver = Driver::unchoked(SessionConfig { max_kept_len: 1000, ..queue_of(1) });
    driver.input(Input::Blocked).unwrap();
    driver.say(&[request(0, 0)]).unwrap();
    driver.receive(&[0; 1000]).unwrap();
    assert_eq!(driver.receive(&[0]), Err(SessionError::Overrun));
}

#[test]
fn withholds_everything_while_blocked() {
    let mut driver = Driver::open(config());
    driver.input(Input::Blocked).unwrap();
    driver.say(&[Message::Interested]).unwrap();
    assert_eq!(driver.events, [Event::Interested], "events are not withheld");
    driver.input(Input::Unchoke).unwrap();
    driver.say(&[request(0, 0)]).unwrap();
    assert!(driver.bytes.is_empty() && driver.blocks.is_empty());
    driver.input(Input::Writable).unwrap();
    assert_eq!((&driver.bytes[..], &driver.blocks[..]), (UNCHOKE, &[block(0, 0)][..]));
}
