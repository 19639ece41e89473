//! Handshakes and messages: golden bytes, every truncation, round trips.

use bytes::BytesMut;
use distributor_proto::{
    BLOCK_HEADER_LEN, Extensions, Geometry, HANDSHAKE_LEN, Handshake, HandshakeError, InfoHash,
    MAX_MESSAGE_LEN, Message, MessageError, PeerId, block_header,
};
use proptest::prelude::*;

const HANDSHAKE: &[u8; 68] =
    b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05aaaaaaaaaaaaaaaaaaaa-DT0100-abcdefghijkl";

fn handshake() -> Handshake {
    Handshake {
        reserved: [0, 0, 0, 0, 0, 0x10, 0, 5],
        info_hash: InfoHash::new([b'a'; 20]),
        peer_id: PeerId::new(*b"-DT0100-abcdefghijkl"),
    }
}

/// Every message with the bytes that stand for it.
const GOLDEN: &[(&[u8], Message<'_>)] = &[
    (b"\0\0\0\0", Message::KeepAlive),
    (b"\0\0\0\x01\0", Message::Choke),
    (b"\0\0\0\x01\x01", Message::Unchoke),
    (b"\0\0\0\x01\x02", Message::Interested),
    (b"\0\0\0\x01\x03", Message::NotInterested),
    (b"\0\0\0\x05\x04\0\0\x01\x02", Message::Have { index: 0x102 }),
    (b"\0\0\0\x03\x05\xff\x80", Message::Bitfield(&[0xff, 0x80])),
    (
        b"\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x40\0",
        Message::Request { index: 1, begin: 16_384, length: 16_384 },
    ),
    (b"\0\0\0\x0b\x07\0\0\0\x01\0\0\x40\0xy", Message::Piece { index: 1, begin: 16_384, data: b"xy" }),
    (
        b"\0\0\0\x0d\x08\0\0\0\x01\0\0\x40\0\0\0\x40\0",
        Message::Cancel { index: 1, begin: 16_384, length: 16_384 },
    ),
    (b"\0\0\0\x03\x09\x1a\xe1", Message::Port(6881)),
    (b"\0\0\0\x05\x0d\0\0\x01\x02", Message::Suggest { index: 0x102 }),
    (b"\0\0\0\x01\x0e", Message::HaveAll),
    (b"\0\0\0\x01\x0f", Message::HaveNone),
    (
        b"\0\0\0\x0d\x10\0\0\0\x01\0\0\x40\0\0\0\x40\0",
        Message::Reject { index: 1, begin: 16_384, length: 16_384 },
    ),
    (b"\0\0\0\x05\x11\0\0\x01\x02", Message::AllowedFast { index: 0x102 }),
    (b"\0\0\0\x04\x14\0de", Message::Extended { id: 0, payload: b"de" }),
    (b"\0\0\0\x02\x14\x03", Message::Extended { id: 3, payload: b"" }),
    (b"\0\0\0\x01\x15", Message::Unknown { id: 21 }),
];

#[test]
fn writes_and_reads_the_golden_handshake() {
    assert_eq!(&handshake().encode(), HANDSHAKE);
    assert_eq!(Handshake::decode(HANDSHAKE), Ok(handshake()));
}

#[test]
fn refuses_every_truncation_of_a_handshake_and_another_protocol() {
    for len in 0..HANDSHAKE_LEN {
        assert_eq!(Handshake::decode(&HANDSHAKE[..len]), Err(HandshakeError::Length { len }));
    }
    let len = HANDSHAKE_LEN + 1;
    assert_eq!(Handshake::decode(&[&HANDSHAKE[..], b"x"].concat()), Err(HandshakeError::Length { len }));
    for position in 0..20 {
        let mut other = *HANDSHAKE;
        other[position] ^= 1;
        assert_eq!(Handshake::decode(&other), Err(HandshakeError::Protocol));
    }
}

#[test]
fn writes_and_reads_the_golden_messages() {
    for (bytes, message) in GOLDEN {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        assert_eq!(&out[..], *bytes, "{message:?}");
        assert_eq!(Message::decode(&bytes[4..], Extensions::ALL), Ok(*message));
    }
}

#[test]
fn demands_exact_lengths() {
    for (bytes, message) in GOLDEN {
        let (frame, open_ended) =
            (&bytes[4..], matches!(message, Message::Bitfield(_) | Message::Unknown { .. }));
        let Some(id) = frame.first().copied() else { continue };
        let shortest = match message {
            Message::Piece { .. } => 9,
            Message::Extended { .. } => 2,
            _ => frame.len(),
        };
        for len in 1..shortest {
            let refused = Err(MessageError::Length { id, len });
            assert!(
                open_ended || Message::decode(&frame[..len], Extensions::ALL) == refused,
                "{message:?} cut to {len}"
            );
        }
        let longer = [frame, b"x"].concat();
        let refused = Err(MessageError::Length { id, len: longer.len() });
        let open_ended = open_ended || matches!(message, Message::Piece { .. } | Message::Extended { .. });
        assert!(open_ended || Message::decode(&longer, Extensions::ALL) == refused, "{message:?} and a byte");
    }
}

#[test]
fn refuses_the_fast_extension_without_its_negotiation_and_tolerates_the_unknown() {
    for id in 10..=255 {
        let expected = match id {
            13..=17 => Err(MessageError::FastWithoutNegotiation { id }),
            _ => Ok(Message::Unknown { id }),
        };
        assert_eq!(Message::decode(&[id, 1, 2, 3], Extensions::default()), expected);
    }
}

#[test]
fn caps_the_length_of_a_message() {
    let mut frame = vec![5; MAX_MESSAGE_LEN + 1];
    assert_eq!(
        Message::decode(&frame, Extensions::ALL),
        Err(MessageError::TooLong { len: MAX_MESSAGE_LEN + 1 })
    );
    frame.pop();
    assert!(matches!(Message::decode(&frame, Extensions::ALL), Ok(Message::Bitfield(_))));
}

#[test]
fn heads_a_block_like_a_piece_message() {
    let block = Geometry::new(1 << 20, 65_536).unwrap().block(3, 16_384, 100).unwrap();
    let mut message = BytesMut::new();
    Message::Piece { index: 3, begin: 16_384, data: &[0; 100] }.encode(&mut message);
    assert_eq!(block_header(block), message[..BLOCK_HEADER_LEN]);
}

proptest! {
    #[test]
    fn reads_back_any_handshake(reserved: [u8; 8], info_hash: [u8; 20], peer_id: [u8; 20]) {
        let handshake =
            Handshake { reserved, info_hash: InfoHash::new(info_hash), peer_id: PeerId::new(peer_id) };
        prop_assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
    }

    #[test]
    fn writes_back_any_frame_it_reads(frame in proptest::collection::vec(any::<u8>(), 0..20)) {
        let Ok(message) = Message::decode(&frame, Extensions::ALL) else { return Ok(()) };
        let mut out = BytesMut::new();
        message.encode(&mut out);
        if !matches!(message, Message::Unknown { .. }) {
            prop_assert_eq!(&out[4..], &frame[..]);
        }
    }
}
