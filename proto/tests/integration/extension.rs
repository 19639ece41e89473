//! What is inside extended messages: golden bytes, every truncation, round trips.

use std::net::IpAddr;

use distributor_proto::{BencodeError, ExtendedHandshake, MAX_EXTENDED_LEN, MetadataMessage};
use proptest::{option, prelude::*};

const HANDSHAKE: &[u8] =
    b"d1:md11:ut_metadatai3ee13:metadata_sizei31235e1:pi6881e4:reqqi512e11:upload_onlyi1e\
    1:v5:X 1.26:yourip4:\x0a\0\0\x07e";

fn handshake() -> ExtendedHandshake<'static> {
    ExtendedHandshake {
        ut_metadata: Some(3),
        metadata_size: Some(31_235),
        port: Some(6881),
        reqq: Some(512),
        upload_only: Some(true),
        client: Some(b"X 1.2"),
        yourip: Some([10, 0, 0, 7].into()),
    }
}

/// Every `ut_metadata` message with the bytes that stand for it; the first two are BEP 9's examples.
const GOLDEN: [(&[u8], MetadataMessage); 4] = [
    (b"d8:msg_typei0e5:piecei0ee", MetadataMessage::Request { piece: 0 }),
    (
        b"d8:msg_typei1e5:piecei0e10:total_sizei34256ee",
        MetadataMessage::Data { piece: 0, total_size: 34_256 },
    ),
    (b"d8:msg_typei2e5:piecei7ee", MetadataMessage::Reject { piece: 7 }),
    (b"d8:msg_typei3ee", MetadataMessage::Unknown { msg_type: 3 }),
];

#[test]
fn writes_and_reads_the_golden_handshake() {
    assert_eq!(handshake().encode(), HANDSHAKE);
    assert_eq!(ExtendedHandshake::decode(HANDSHAKE), Ok(handshake()));
    let silent = ExtendedHandshake::default();
    assert_eq!(silent.encode(), b"d1:mdee");
    assert_eq!(ExtendedHandshake::decode(b"de"), Ok(silent), "no key must be there");
}

#[test]
fn writes_and_reads_the_golden_metadata_messages() {
    for (bytes, message) in GOLDEN {
        assert_eq!(message.encode(), bytes);
        assert_eq!(MetadataMessage::decode(bytes), Ok((message, &b""[..])));
    }
}

#[test]
fn refuses_every_truncation() {
    for len in 0..HANDSHAKE.len() {
        assert!(ExtendedHandshake::decode(&HANDSHAKE[..len]).is_err(), "cut to {len}");
    }
    for (bytes, _) in GOLDEN {
        for len in 0..bytes.len() {
            assert!(MetadataMessage::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
    }
}

#[test]
fn takes_data_behind_messages_that_may_have_it() {
    let with = |dict: &[u8]| [dict, b"data"].concat();
    let (request, data, reject) = (with(GOLDEN[0].0), with(GOLDEN[1].0), with(GOLDEN[2].0));
    assert_eq!(MetadataMessage::decode(&request), Err(BencodeError::NotOneValue));
    assert_eq!(MetadataMessage::decode(&data), Ok((GOLDEN[1].1, &b"data"[..])));
    assert_eq!(MetadataMessage::decode(&reject), Err(BencodeError::NotOneValue));
    assert_eq!(MetadataMessage::decode(&with(GOLDEN[3].0)), Ok((GOLDEN[3].1, &b"data"[..])));
}

#[test]
fn says_which_value_is_not_what_it_should_be() {
    let refused = |bytes: &[u8]| ExtendedHandshake::decode(bytes).unwrap_err();
    assert_eq!(refused(b"d1:mi1ee"), BencodeError::WrongType("m"));
    assert_eq!(refused(b"d1:md11:ut_metadatai256eee"), BencodeError::WrongType("ut_metadata"));
    assert_eq!(refused(b"d1:md11:ut_metadata1:3ee"), BencodeError::WrongType("ut_metadata"));
    assert_eq!(refused(b"d11:upload_only1:1e"), BencodeError::WrongType("upload_only"));
    assert_eq!(refused(b"i1e"), BencodeError::NotADictionary);

    let refused = |bytes: &[u8]| MetadataMessage::decode(bytes).unwrap_err();
    assert_eq!(refused(b"d5:piecei0ee"), BencodeError::WrongType("msg_type"));
    assert_eq!(refused(b"d8:msg_typei0ee"), BencodeError::WrongType("piece"));
    assert_eq!(refused(b"d8:msg_typei0e5:piecei4294967296ee"), BencodeError::WrongType("piece"));
    assert_eq!(refused(b"d8:msg_typei1e5:piecei0ee"), BencodeError::WrongType("total_size"));
}

#[test]
fn lets_be_what_it_does_not_know_and_what_only_informs() {
    let strange = b"d1:eli1ee1:md6:ut_pexi1ee13:metadata_sizei-1e1:pi65536e4:reqq1:x1:vi1e6:yourip3:abce";
    assert_eq!(ExtendedHandshake::decode(strange), Ok(ExtendedHandshake::default()));
}

#[test]
fn refuses_dictionaries_that_are_too_long_or_too_deep() {
    let of_len = |len: usize| {
        let filler = vec![b'x'; len - b"d1:v8183:e".len()];
        let (front, back) = (format!("d1:v{}:", filler.len()).into_bytes(), b"e");
        [&front[..], &filler, back].concat()
    };
    let most = of_len(MAX_EXTENDED_LEN);
    assert_eq!(most.len(), MAX_EXTENDED_LEN);
    assert!(ExtendedHandshake::decode(&most).is_ok());
    let (len, max) = (MAX_EXTENDED_LEN + 1, MAX_EXTENDED_LEN);
    assert_eq!(ExtendedHandshake::decode(&of_len(len)), Err(BencodeError::TooLong { len, max }));

    let deep = [b"d1:a".repeat(1_000), b"de".to_vec(), b"e".repeat(1_000)].concat();
    assert!(matches!(ExtendedHandshake::decode(&deep), Err(BencodeError::Malformed(_))));
    let deep = b"d1:a".repeat(10_000);
    assert!(matches!(MetadataMessage::decode(&deep), Err(BencodeError::Malformed(_))));
}

proptest! {
    #[test]
    fn reads_back_any_handshake(
        ut_metadata in option::of(any::<u8>()), metadata_size in option::of(any::<u32>()),
        port in option::of(any::<u16>()), reqq in option::of(any::<u32>()),
        upload_only in option::of(any::<bool>()), client in option::of("[ -~]{0,40}"),
        yourip in option::of(any::<IpAddr>()),
    ) {
        let client = client.as_ref().map(String::as_bytes);
        let handshake =
            ExtendedHandshake { ut_metadata, metadata_size, port, reqq, upload_only, client, yourip };
        let bytes = handshake.encode();
        prop_assert_eq!(ExtendedHandshake::decode(&bytes), Ok(handshake));
    }

    #[test]
    fn reads_back_any_metadata_message(kind in 0..3, piece: u32, total_size: u32) {
        let message = match kind {
            0 => MetadataMessage::Request { piece },
            1 => MetadataMessage::Data { piece, total_size },
            _ => MetadataMessage::Reject { piece },
        };
        let bytes = message.encode();
        prop_assert_eq!(MetadataMessage::decode(&bytes), Ok((message, &b""[..])));
    }
}
