//! Bytes that mean harm: nothing panics, nothing grows without bound.

use std::time::Instant;

use bytes::BytesMut;
use distributor_proto::{
    AnnounceRequest, Bitfield, Event, ExtendedHandshake, Extensions, Handshake, Info, Input, MAX_KEPT_LEN,
    Message, MetadataMessage, Metainfo, Output, Session, UdpRequest, decode_compact, decode_compact6,
    encode_torrent, pairs, parse_scrape, percent_decode,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::support::{
    INFO_HASH, PEER, config, frames, geometry, handshake, handshake_with, queue_of, request, seeding,
};

/// Bytes that look like bencode for a while.
fn almost_bencode() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(&b"d"[..]),
        Just(&b"l"[..]),
        Just(&b"e"[..]),
        Just(&b"i1e"[..]),
        Just(&b"i-5e"[..]),
        Just(&b"4:info"[..]),
        Just(&b"6:length"[..]),
        Just(&b"4:name"[..]),
        Just(&b"12:piece length"[..]),
        Just(&b"i65536e"[..]),
        Just(&b"6:pieces"[..]),
        Just(&b"20:aaaaaaaaaaaaaaaaaaaa"[..]),
        Just(&b"8:announce"[..]),
        Just(&b"1:m"[..]),
        Just(&b"11:ut_metadata"[..]),
        Just(&b"8:msg_type"[..]),
        Just(&b"5:piece"[..]),
        Just(&b"99999999:"[..]),
    ];
    vec(token, 0..30).prop_map(|tokens| tokens.concat())
}

/// Drives a session on `parts` in the way that does it least good, to its end.
fn torment(mut session: Session, now: Instant, parts: &[&[u8]], polls: usize) {
    for part in parts {
        let mut result = session.handle_input(now, Input::Received(part));
        for _ in 0..polls {
            if let Output::Event(Event::InfoHash(_)) = session.poll_output() {
                result = session.handle_input(now, Input::Accept { seeding: seeding() });
            }
        }
        assert!(session.queued_requests() <= 2);
        if result.and_then(|()| session.handle_input(now, Input::Unchoke)).is_err() {
            break;
        }
    }
    let _ = session.handle_input(now, Input::Eof);
    for _ in 0..10_000 {
        if let Output::Timeout(_) = session.poll_output() {
            return;
        }
    }
    panic!("a session must come to rest");
}

proptest! {
    #[test]
    fn decoders_survive_any_bytes(bytes in vec(any::<u8>(), 0..200), pieces in 0_u32..2000) {
        let _ = Metainfo::decode(&bytes);
        let _ = Info::decode(&bytes);
        let _ = AnnounceRequest::parse(&bytes);
        let _ = parse_scrape(&bytes);
        let _ = percent_decode(&bytes);
        let _ = pairs(&bytes).count();
        let _ = Message::decode(&bytes, Extensions::default());
        let _ = Message::decode(&bytes, Extensions::ALL);
        let _ = ExtendedHandshake::decode(&bytes);
        let _ = MetadataMessage::decode(&bytes);
        let _ = Handshake::decode(&bytes);
        let _ = Bitfield::from_wire(&bytes, pieces);
        let _ = decode_compact(&bytes);
        let _ = decode_compact6(&bytes);
        if let Ok(UdpRequest::Claim(claim)) = UdpRequest::parse(&bytes) {
            let _ = claim.read();
        }
    }

    #[test]
    fn dictionaries_survive_almost_bencode(bytes in almost_bencode()) {
        let _ = Metainfo::decode(&bytes);
        let _ = Info::decode(&bytes);
        let _ = ExtendedHandshake::decode(&bytes);
        let _ = MetadataMessage::decode(&bytes);
    }

    #[test]
    fn metainfo_survives_a_changed_byte(place: Index, byte: u8) {
        let info = Info::new(b"a", geometry(), vec![1; 200].into(), true).unwrap();
        let mut torrent = encode_torrent("http://origin/announce", &info.encode());
        let place = place.index(torrent.len());
        torrent[place] = byte;
        let _ = Metainfo::decode(&torrent);
    }

    #[test]
    fn blocks_are_inside_the_file(
        total in 1_u64..(1 << 40), index: u32, begin: u32, length in 0_u32..200_000,
    ) {
        let geometry = distributor_proto::Geometry::for_len(total).unwrap();
        let likely = (index % geometry.piece_count(), begin % geometry.piece_len());
        for (index, begin) in [(index, begin), likely] {
            let Ok(block) = geometry.block(index, begin, length) else { continue };
            let piece = geometry.piece_range(block.piece());
            let range = block.range();
            prop_assert!(piece.start <= range.start && range.end <= piece.end && piece.end <= total);
            prop_assert_eq!(range.end - range.start, u64::from(length));
        }
    }

    #[test]
    fn sessions_survive_any_bytes(
        messages in vec(any::<(u8, Vec<u8>)>(), 0..30), cut in 1_usize..50, polls in 0_usize..4,
        honest: bool, fast: bool, extended: bool, dialled: bool,
    ) {
        let opening = handshake_with(Extensions { fast, extended });
        let mut bytes = if honest { opening.to_vec() } else { Vec::new() };
        for (id, payload) in &messages {
            let mut frame = BytesMut::new();
            Message::Unknown { id: id % 24 }.encode(&mut frame);
            frame[3] = frame[3].wrapping_add(payload.len() as u8);
            bytes.extend_from_slice(&frame);
            bytes.extend_from_slice(payload);
        }
        let now = Instant::now();
        let session = if dialled {
            Session::connect(now, queue_of(2), PEER, INFO_HASH, seeding())
        } else {
            Session::accept(now, queue_of(2), PEER)
        };
        torment(session, now, &bytes.chunks(cut).collect::<Vec<_>>(), polls);
    }
}

#[test]
fn an_endless_stream_is_refused_at_the_limit() {
    let now = Instant::now();
    let mut session = Session::accept(now, config(), PEER);
    session.handle_input(now, Input::Received(&handshake())).unwrap();
    let flood = frames(&[request(0, 0); 1000]);
    let taken = (0..1000).take_while(|_| session.handle_input(now, Input::Received(&flood)).is_ok()).count();
    assert!(taken <= MAX_KEPT_LEN / flood.len(), "{taken} times {} bytes", flood.len());
}
