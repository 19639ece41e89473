//! The opening of a connection: any 68 bytes as a handshake, and any bytes, cut anywhere, as what a peer opens with.
#![no_main]

use std::time::Instant;

use arbitrary::Arbitrary;
use distributor_proto::{
    Event, Extensions, Geometry, Handshake, InfoHash, Input, Output, PeerId, Seeding, Session, SessionConfig,
    SessionError, Transmit,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Opening {
    bytes: Vec<u8>,
    /// Begin with a true handshake up to the info hash.
    true_to_form: bool,
    reserved: [u8; 8],
    dialled: bool,
    cuts: Vec<u8>,
}

/// What came of an opening.
#[derive(Debug, PartialEq)]
struct Outcome {
    result: Result<(), SessionError>,
    negotiated: Extensions,
    peer_id: Option<PeerId>,
    sent: Vec<u8>,
}

const INFO_HASH: InfoHash = InfoHash::new([1; 20]);

fuzz_target!(|opening: Opening| {
    if let Ok(handshake) = Handshake::decode(&opening.bytes) {
        assert_eq!(handshake.encode()[..], opening.bytes[..]);
        let extensions = Extensions::from_reserved(handshake.reserved);
        assert_eq!(Extensions::from_reserved(extensions.to_reserved()), extensions);
    }

    let mut stream = Vec::new();
    if opening.true_to_form {
        let handshake =
            Handshake { reserved: opening.reserved, info_hash: INFO_HASH, peer_id: PeerId::new([2; 20]) };
        stream.extend_from_slice(&handshake.encode()[..48]);
    }
    stream.extend_from_slice(&opening.bytes);
    // What follows is the `messages` target's.
    stream.truncate(68);
    let (cut, whole) = (run(&stream, &opening.cuts, opening.dialled), run(&stream, &[], opening.dialled));
    assert_eq!(cut.result, whole.result);
    // Where it failed it depends on the cuts how far it had come.
    if whole.result.is_ok() {
        assert_eq!(cut, whole);
    }
});

fn run(mut stream: &[u8], cuts: &[u8], dialled: bool) -> Outcome {
    let now = Instant::now();
    let config = SessionConfig::new(PeerId::new(*b"-Di0100-us us us us "));
    let geometry = Geometry::for_len(1_000_000).expect("that length has pieces");
    let seeding = Seeding { geometry, metadata_len: 500, begins_empty: false };
    let peer = [10, 0, 0, 7].into();
    let mut session = if dialled {
        Session::connect(now, config, peer, INFO_HASH, seeding)
    } else {
        Session::accept(now, config, peer)
    };
    let (mut result, mut sent) = (Ok(()), Vec::new());
    let mut cuts = cuts.iter();
    while !stream.is_empty() && result.is_ok() {
        let len = cuts.next().map_or(stream.len(), |cut| usize::from(*cut).clamp(1, stream.len()));
        let (part, rest) = stream.split_at(len);
        stream = rest;
        result = session.handle_input(now, Input::Received(part));
        loop {
            match session.poll_output() {
                Output::Timeout(_) => break,
                Output::Event(Event::InfoHash(info_hash)) => {
                    assert!(!dialled, "we named it");
                    assert_eq!(session.info_hash(), Some(info_hash));
                    result = session.handle_input(now, Input::Accept { seeding });
                }
                Output::Event(_) => {}
                Output::Transmit(Transmit::Bytes(bytes)) => sent.extend_from_slice(&bytes),
                Output::Transmit(transmit) => panic!("nobody asked: {transmit:?}"),
            }
        }
    }
    Outcome { result, negotiated: session.negotiated(), peer_id: session.peer_id(), sent }
}
