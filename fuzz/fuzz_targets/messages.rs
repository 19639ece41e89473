//! A stream of messages: it comes to the same however it is cut. And one frame: what is read is written back.
#![no_main]

use std::time::Instant;

use arbitrary::Arbitrary;
use distributor_proto::{
    Event, Extensions, Geometry, Handshake, InfoHash, Input, Message, Output, PeerId, Seeding, Session,
    SessionConfig, SessionError, Transmit,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Stream {
    fast: bool,
    extended: bool,
    messages: Vec<Part>,
    cuts: Vec<u16>,
}

#[derive(Arbitrary, Debug)]
enum Part {
    Frame { id: u8, payload: Vec<u8> },
    Request { index: u8, begin: u16, length: u16 },
    Cancel { index: u8, begin: u16, length: u16 },
    Metadata { piece: u8 },
    Interested,
    NotInterested,
    HaveNone,
    Raw(Vec<u8>),
}

/// What came of a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    result: Result<(), SessionError>,
    have: u32,
    interested: bool,
    upload_only: bool,
    queued: usize,
    control: Vec<u8>,
    rest: Vec<Transmit>,
}

fuzz_target!(|stream: Stream| {
    let extensions = Extensions { fast: stream.fast, extended: stream.extended };
    let mut bytes = Vec::new();
    for part in &stream.messages {
        match part {
            Part::Frame { id, payload } => {
                let frame = [&[*id][..], payload].concat();
                writes_back(&frame, extensions);
                put(&mut bytes, &frame);
            }
            Part::Request { index, begin, length } => put(&mut bytes, &place(6, *index, *begin, *length)),
            Part::Cancel { index, begin, length } => put(&mut bytes, &place(8, *index, *begin, *length)),
            Part::Metadata { piece } => {
                put(&mut bytes, b"\x14\0d1:md11:ut_metadatai3eee");
                put(
                    &mut bytes,
                    &[&b"\x14\x01"[..], format!("d8:msg_typei0e5:piecei{piece}ee").as_bytes()].concat(),
                );
            }
            Part::Interested => put(&mut bytes, &[2]),
            Part::NotInterested => put(&mut bytes, &[3]),
            Part::HaveNone => put(&mut bytes, &[15]),
            Part::Raw(raw) => bytes.extend_from_slice(raw),
        }
    }
    let (cut, whole) = (run(&bytes, &stream.cuts, extensions), run(&bytes, &[], extensions));
    assert_eq!(cut, whole);
});

fn writes_back(frame: &[u8], extensions: Extensions) {
    match Message::decode(frame, extensions) {
        Ok(Message::Unknown { .. }) | Err(_) => {}
        Ok(message) => {
            let mut out = bytes::BytesMut::new();
            message.encode(&mut out);
            assert_eq!(&out[4..], frame);
        }
    }
}

fn put(bytes: &mut Vec<u8>, frame: &(impl AsRef<[u8]> + ?Sized)) {
    let frame = frame.as_ref();
    bytes.extend_from_slice(&u32::try_from(frame.len()).expect("fuzz inputs are small").to_be_bytes());
    bytes.extend_from_slice(frame);
}

fn place(id: u8, index: u8, begin: u16, length: u16) -> Vec<u8> {
    let numbers = [u32::from(index), u32::from(begin), u32::from(length)];
    [id].into_iter().chain(numbers.into_iter().flat_map(u32::to_be_bytes)).collect()
}

fn run(mut stream: &[u8], cuts: &[u16], extensions: Extensions) -> Outcome {
    let now = Instant::now();
    let mut config = SessionConfig::new(PeerId::new(*b"-Di0100-us us us us "));
    // Long enough that no queue fills up: when that happens is a question of cuts.
    config.max_queued_requests = 1 << 20;
    config.max_idle_messages = 5;
    let geometry = Geometry::for_len(1_000_000).expect("that length has pieces");
    let seeding = Seeding { geometry, metadata_len: 40_000, begins_empty: false };
    let mut session = Session::accept(now, config, [10, 0, 0, 7].into());
    let handshake = Handshake {
        reserved: extensions.to_reserved(),
        info_hash: InfoHash::new([1; 20]),
        peer_id: PeerId::new([2; 20]),
    };
    let opened = session
        .handle_input(now, Input::Received(&handshake.encode()))
        .and_then(|()| session.handle_input(now, Input::Accept { seeding }));
    assert_eq!(opened, Ok(()));
    // The peer was unchoked once, so that its requests wait where interest remains.
    for message in [2, 3] {
        session.handle_input(now, Input::Received(&[0, 0, 0, 1, message])).expect("interest is no error");
        session.handle_input(now, Input::Unchoke).expect("nor is an unchoke");
    }
    while !matches!(session.poll_output(), Output::Timeout(_)) {}
    session.handle_input(now, Input::Blocked).expect("nothing has waited yet");

    let (mut result, mut cuts) = (Ok(()), cuts.iter());
    while !stream.is_empty() && result.is_ok() {
        let len = cuts.next().map_or(stream.len(), |cut| usize::from(*cut).clamp(1, stream.len()));
        let (part, rest) = stream.split_at(len);
        stream = rest;
        result = session.handle_input(now, Input::Received(part));
        while !matches!(session.poll_output(), Output::Timeout(_)) {}
    }
    let queued = session.queued_requests();
    let _ = session.handle_input(now, Input::Writable);
    let (mut control, mut rest) = (Vec::new(), Vec::new());
    loop {
        match session.poll_output() {
            Output::Timeout(_) => break,
            Output::Event(Event::Finished) => panic!("it hasn't ended"),
            Output::Event(_) => {}
            Output::Transmit(Transmit::Bytes(bytes)) => control.extend_from_slice(&bytes),
            Output::Transmit(transmit) => rest.push(transmit),
        }
    }
    Outcome {
        result,
        have: session.peer_have(),
        interested: session.peer_interested(),
        upload_only: session.peer_upload_only(),
        queued,
        control,
        rest,
    }
}
