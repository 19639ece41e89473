//! Stories of extended messages: what we are, and the metadata for those who come by a magnet link (BEP 9, 10, 21).

use distributor_proto::{
    BencodeError, ExtendedHandshake, Extensions, Input, MAX_METADATA_COPIES, MAX_METADATA_QUEUED, Message,
    MetadataMessage, Seeding, SessionConfig, Violation,
};

use crate::support::{
    Driver, EXTENDED, METADATA_LEN, OUR_METADATA_ID, THEIR_METADATA_ID, config, frames, handshake_with,
    seeding, their_extended_handshake, violation,
};

/// A message of the peer's about metadata.
fn say(driver: &mut Driver, message: MetadataMessage) {
    let payload = &message.encode()[..];
    driver.say(&[Message::Extended { id: OUR_METADATA_ID, payload }]).unwrap();
}

fn rejected(piece: u32) -> Vec<u8> {
    let payload = &MetadataMessage::Reject { piece }.encode()[..];
    frames(&[Message::Extended { id: THEIR_METADATA_ID, payload }])
}

/// Past both handshakes, with a peer that takes metadata.
fn metadata_taker() -> Driver {
    let mut driver = Driver::open_with(EXTENDED, config());
    driver.say(&[Message::Extended { id: 0, payload: &their_extended_handshake() }]).unwrap();
    driver.forget();
    driver
}

#[test]
fn introduces_itself_right_behind_its_pieces() {
    let config = SessionConfig { client: "distributor 9", listen_port: Some(6881), ..config() };
    for (extensions, pieces) in
        [(EXTENDED, Message::Bitfield(&[0xff, 0xc0])), (Extensions::ALL, Message::HaveAll)]
    {
        let mut driver = Driver::new(config);
        driver.receive(&handshake_with(extensions)).unwrap();
        driver.input(Input::Accept { seeding: seeding() }).unwrap();
        let payload = b"d1:md11:ut_metadatai1ee13:metadata_sizei32868e1:pi6881e4:reqqi1024e11:upload_onlyi1e\
            1:v13:distributor 96:yourip4:\x0a\0\0\x07e";
        assert_eq!(driver.bytes[68..], frames(&[pieces, Message::Extended { id: 0, payload }]));
    }
}

#[test]
fn takes_upload_only_for_a_partial_seed_and_not_for_complete() {
    let mut driver = Driver::open_with(EXTENDED, config());
    assert!(!driver.session.peer_upload_only());
    for upload_only in [true, false] {
        let payload = &ExtendedHandshake { upload_only: Some(upload_only), ..ExtendedHandshake::default() }
            .encode()[..];
        driver.say(&[Message::Extended { id: 0, payload }]).unwrap();
        driver.say(&[Message::Extended { id: 0, payload: b"de" }]).unwrap();
        assert_eq!(driver.session.peer_upload_only(), upload_only, "what isn't said hasn't changed");
    }
    assert_eq!(driver.events, []);
}

#[test]
fn sends_the_metadata_part_by_part() {
    let mut driver = metadata_taker();
    for piece in [2, 0, 1] {
        say(&mut driver, MetadataMessage::Request { piece });
    }
    let ranges: Vec<_> = driver.metadata.iter().map(|(_, range)| range.clone()).collect();
    assert_eq!(ranges, [32_768..32_868, 0..16_384, 16_384..32_768]);
    let dict = b"d8:msg_typei1e5:piecei2e10:total_sizei32868ee";
    let len = (2 + dict.len() + 100) as u32;
    let header = [&len.to_be_bytes()[..], &[20, THEIR_METADATA_ID], dict].concat();
    assert_eq!(driver.metadata[0].0, header);
    assert_eq!((driver.bytes.len(), driver.blocks.len()), (0, 0));
}

#[test]
fn rejects_parts_that_the_metadata_does_not_have() {
    let mut driver = metadata_taker();
    for piece in [3, u32::MAX] {
        say(&mut driver, MetadataMessage::Request { piece });
        assert_eq!(driver.bytes, rejected(piece));
        driver.forget();
    }
    assert!(driver.metadata.is_empty());
}

#[test]
fn says_nothing_of_metadata_to_those_who_would_not_hear() {
    let mut driver = Driver::open_with(EXTENDED, config());
    say(&mut driver, MetadataMessage::Request { piece: 0 });
    assert!(driver.metadata.is_empty() && driver.bytes.is_empty(), "no number was given for it");

    let mut driver = metadata_taker();
    driver.input(Input::Blocked).unwrap();
    say(&mut driver, MetadataMessage::Request { piece: 0 });
    let off = ExtendedHandshake { ut_metadata: Some(0), ..ExtendedHandshake::default() }.encode();
    driver.say(&[Message::Extended { id: 0, payload: &off }]).unwrap();
    say(&mut driver, MetadataMessage::Request { piece: 0 });
    driver.input(Input::Writable).unwrap();
    assert!(driver.metadata.is_empty() && driver.bytes.is_empty(), "the number was taken back");
}

#[test]
fn uses_the_number_that_the_peer_gave_last() {
    let mut driver = metadata_taker();
    let other = ExtendedHandshake { ut_metadata: Some(200), ..ExtendedHandshake::default() }.encode();
    driver.say(&[Message::Extended { id: 0, payload: &other }]).unwrap();
    say(&mut driver, MetadataMessage::Request { piece: 0 });
    assert_eq!(driver.metadata[0].0[5], 200);
}

#[test]
fn rejects_metadata_requests_beyond_what_may_wait() {
    let metadata_len = METADATA_LEN * 1000;
    let mut driver = Driver::new(config());
    driver.receive(&handshake_with(EXTENDED)).unwrap();
    driver.input(Input::Accept { seeding: Seeding { metadata_len, ..seeding() } }).unwrap();
    driver.say(&[Message::Extended { id: 0, payload: &their_extended_handshake() }]).unwrap();
    driver.forget();
    driver.input(Input::Blocked).unwrap();
    for piece in 0..=MAX_METADATA_QUEUED as u32 {
        say(&mut driver, MetadataMessage::Request { piece });
    }
    driver.input(Input::Writable).unwrap();
    assert_eq!(driver.metadata.len(), MAX_METADATA_QUEUED);
    assert_eq!(driver.bytes, rejected(MAX_METADATA_QUEUED as u32));
}

#[test]
fn sends_the_metadata_three_times_and_then_no_more() {
    let mut driver = metadata_taker();
    for _ in 0..MAX_METADATA_COPIES {
        for piece in 0..3 {
            say(&mut driver, MetadataMessage::Request { piece });
        }
    }
    assert_eq!((driver.metadata.len() as u32, driver.bytes.len()), (3 * MAX_METADATA_COPIES, 0));
    say(&mut driver, MetadataMessage::Request { piece: 2 });
    assert_eq!((driver.metadata.len() as u32, &driver.bytes), (3 * MAX_METADATA_COPIES, &rejected(2)));
}

#[test]
fn lets_be_what_it_did_not_ask_for_and_what_it_does_not_know() {
    let mut driver = metadata_taker();
    say(&mut driver, MetadataMessage::Data { piece: 0, total_size: 100 });
    say(&mut driver, MetadataMessage::Reject { piece: 0 });
    say(&mut driver, MetadataMessage::Unknown { msg_type: 3 });
    driver.say(&[Message::Extended { id: 77, payload: b"not bencode" }]).unwrap();
    assert!(driver.metadata.is_empty() && driver.bytes.is_empty() && driver.events.is_empty());
}

#[test]
fn refuses_broken_dictionaries_with_the_reason() {
    let said = |id, payload| Driver::open_with(EXTENDED, config()).say(&[Message::Extended { id, payload }]);
    assert_eq!(violation(said(0, b"d1:mi1ee")), Violation::Extended(BencodeError::WrongType("m")));
    assert_eq!(violation(said(0, b"dede")), Violation::Extended(BencodeError::NotOneValue));
    let wrong_type = Violation::Extended(BencodeError::WrongType("msg_type"));
    assert_eq!(violation(said(OUR_METADATA_ID, b"d8:msg_type1:0e")), wrong_type);
    let deep = b"d1:a".repeat(2_000);
    for id in [0, OUR_METADATA_ID] {
        assert!(matches!(violation(said(id, &deep)), Violation::Extended(BencodeError::Malformed(_))));
    }
}

#[test]
fn pays_what_metadata_it_owes_after_a_half_close() {
    let mut driver = metadata_taker();
    driver.input(Input::Blocked).unwrap();
    say(&mut driver, MetadataMessage::Request { piece: 0 });
    driver.input(Input::Eof).unwrap();
    assert_eq!(driver.events, []);
    driver.input(Input::Writable).unwrap();
    assert_eq!((driver.metadata.len(), driver.events.len()), (1, 1));
}
