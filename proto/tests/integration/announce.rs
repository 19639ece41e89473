//! Announces as clients send them, and the answers they get.

use std::{collections::BTreeMap, net::SocketAddr};

use bendy::decoding::{Decoder, Object};
use distributor_proto::{
    AnnounceError, AnnounceEvent, AnnounceKey, AnnounceRequest, AnnounceResponse, MAX_KEY_LEN, PeerAddr,
    PeerFormat, PeerId, QueryError, decode_compact, decode_compact6, encode_failure, encode_refusal,
    percent_encode,
};
use proptest::prelude::*;

const HASH: &str = "info_hash=%12%34%56%78%9a%bc%de%f1%23%45%67%89%ab%cd%ef%124Vx%9a";
const PEER: &str = "peer_id=-DT0100-abcdefghijkl";

fn parse(rest: &str) -> Result<AnnounceRequest, AnnounceError> {
    AnnounceRequest::parse(format!("{HASH}&{PEER}&port=6881{rest}").as_bytes())
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer(text: &str) -> PeerAddr {
    PeerAddr { addr: addr(text), id: Some(PeerId::new(*b"-DT0100-abcdefghijkl")) }
}

fn answer(peers: Vec<PeerAddr>) -> AnnounceResponse {
    AnnounceResponse { interval: 120, min_interval: 15, complete: 2, incomplete: 7, peers, external_ip: None }
}

#[test]
fn reads_an_announce_of_aria2() {
    let request = parse(
        "&uploaded=1&downloaded=2&left=3&compact=1&key=-DT0100-abcd&numwant=50&no_peer_id=1&event=started\
         &supportcrypto=1",
    )
    .unwrap();
    assert_eq!(request.info_hash.to_string(), "123456789abcdef123456789abcdef123456789a");
    assert_eq!(request.peer_id, PeerId::new(*b"-DT0100-abcdefghijkl"));
    assert_eq!((request.port, request.uploaded, request.downloaded, request.left), (6881, 1, 2, Some(3)));
    assert_eq!((request.event, request.numwant), (AnnounceEvent::Started, Some(50)));
    assert_eq!(request.key.as_ref().map(AnnounceKey::as_bytes), Some(&b"-DT0100-abcd"[..]));
    assert_eq!(request.format, PeerFormat::Compact);
}

#[test]
fn takes_counters_that_are_absent_or_nonsense() {
    for rest in ["", "&uploaded=&downloaded=-1&left=x&numwant=-1", "&numwant=%2B5&left=99999999999999999999"]
    {
        let request = parse(rest).unwrap();
        assert_eq!((request.uploaded, request.downloaded, request.left), (0, 0, None), "{rest}");
        assert_eq!((request.numwant, request.key), (None, None), "{rest}");
    }
    assert_eq!(parse("&left=18446744073709551615").unwrap().left, Some(u64::MAX));
    assert_eq!(parse("&numwant=0").unwrap().numwant, Some(0));
}

#[test]
fn takes_any_event_it_does_not_know_for_a_sign_of_life() {
    let event = |value: &str| parse(&format!("&event={value}")).unwrap().event;
    assert_eq!(event("started"), AnnounceEvent::Started);
    assert_eq!(event("stopped"), AnnounceEvent::Stopped);
    assert_eq!(event("completed"), AnnounceEvent::Completed);
    for other in ["", "empty", "paused", "Started"] {
        assert_eq!(event(other), AnnounceEvent::Periodic, "{other}");
    }
}

#[test]
fn answers_in_dictionaries_only_when_told() {
    let format = |rest| parse(rest).unwrap().format;
    for rest in ["", "&compact=1", "&compact=", "&no_peer_id=1"] {
        assert_eq!(format(rest), PeerFormat::Compact, "{rest}");
    }
    assert_eq!(format("&compact=0"), PeerFormat::Dictionaries { peer_ids: true });
    assert_eq!(format("&no_peer_id=1&compact=0"), PeerFormat::Dictionaries { peer_ids: false });
}

#[test]
fn does_not_believe_addresses_in_the_query() {
    assert_eq!(parse("&ip=10.0.0.1&ipv4=10.0.0.1:1&ipv6=%5B%3A%3A1%5D:1"), parse(""));
}

#[test]
fn refuses_what_does_not_identify_torrent_and_peer() {
    let error = |query: &str| AnnounceRequest::parse(query.as_bytes()).unwrap_err();
    assert_eq!(error(""), AnnounceError::Missing("info_hash"));
    assert_eq!(error(HASH), AnnounceError::Missing("peer_id"));
    assert_eq!(error(&format!("{HASH}&{PEER}")), AnnounceError::Missing("port"));
    assert_eq!(error("info_hash=%00"), AnnounceError::Length { name: "info_hash", len: 1 });
    assert_eq!(error(&format!("{PEER}m")), AnnounceError::Length { name: "peer_id", len: 21 });
    for port in ["", "-1", "65536", "6881x", "%2B1"] {
        assert_eq!(error(&format!("{HASH}&{PEER}&port={port}")), AnnounceError::Port, "{port}");
    }
    assert_eq!(parse(&format!("&{HASH}")), Err(AnnounceError::Repeated("info_hash")));
    assert_eq!(parse(&format!("&{PEER}")), Err(AnnounceError::Repeated("peer_id")));
    assert_eq!(parse("&port=1"), Err(AnnounceError::Repeated("port")));
    assert_eq!(error("info_hash=%zz"), AnnounceError::Query(QueryError::BadEscape { at: 10 }));
    assert_eq!(AnnounceRequest::parse(format!("{HASH}&{PEER}&port=0").as_bytes()).unwrap().port, 0);
}

#[test]
fn caps_the_key() {
    let key = |len: usize| parse(&format!("&key={}", "k".repeat(len)));
    assert!(key(MAX_KEY_LEN).is_ok());
    assert_eq!(key(MAX_KEY_LEN + 1), Err(AnnounceError::KeyTooLong { len: MAX_KEY_LEN + 1 }));
}

/// BEP 24: in network order, before `incomplete`.
#[test]
fn tells_a_client_by_which_address_it_was_seen() {
    for (seen, bytes) in [("10.1.2.3", &[10, 1, 2, 3][..]), ("::ffff:10.1.2.3", &[10, 1, 2, 3])] {
        let external_ip = Some(seen.parse().unwrap());
        let encoded = AnnounceResponse { external_ip, ..answer(Vec::new()) }.encode(PeerFormat::Compact);
        let expected = [b"d8:completei2e11:external ip4:", bytes, b"10:incompletei7e"].concat();
        assert!(encoded.starts_with(&expected), "{encoded:?}");
    }
}

#[test]
fn says_plainly_what_is_wrong() {
    assert_eq!(AnnounceError::Missing("port").to_string(), "the announce has no port");
    let length = AnnounceError::Length { name: "info_hash", len: 40 };
    assert_eq!(length.to_string(), "info_hash has 40 bytes and must have 20");
    assert_eq!(encode_failure("the announce has no port"), b"d14:failure reason24:the announce has no porte");
    assert_eq!(encode_refusal("not yet", 5), b"d14:failure reason7:not yet8:retry ini5ee");
}

#[test]
fn writes_compact_peers_of_both_families() {
    let peers = vec![peer("10.1.2.3:6881"), peer("[2001:db8::5]:258"), peer("[::ffff:10.1.2.4]:1")];
    let expected = [
        &b"d8:completei2e10:incompletei7e8:intervali120e12:min intervali15e5:peers12:"[..],
        &[10, 1, 2, 3, 0x1a, 0xe1, 10, 1, 2, 4, 0, 1],
        b"6:peers618:",
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2],
        b"e",
    ];
    assert_eq!(answer(peers).encode(PeerFormat::Compact), expected.concat());
}

#[test]
fn puts_something_after_an_empty_list_for_dtorrent() {
    let empty = answer(vec![]).encode(PeerFormat::Compact);
    assert!(empty.ends_with(b"5:peers0:6:peers60:e"), "{}", empty.escape_ascii());
}

#[test]
fn writes_dictionaries_with_sorted_keys() {
    let peers = vec![peer("[::ffff:10.1.2.3]:6881"), PeerAddr { id: None, ..peer("[2001:db8::5]:258") }];
    let head = "d8:completei2e10:incompletei7e8:intervali120e12:min intervali15e5:peersl";
    let written = |peer_ids| {
        let bytes = answer(peers.clone()).encode(PeerFormat::Dictionaries { peer_ids });
        String::from_utf8(bytes).unwrap()
    };
    let second = "d2:ip11:2001:db8::54:porti258ee";
    assert_eq!(
        written(true),
        format!("{head}d2:ip8:10.1.2.37:peer id20:-DT0100-abcdefghijkl4:porti6881ee{second}ee")
    );
    assert_eq!(written(false), format!("{head}d2:ip8:10.1.2.34:porti6881ee{second}ee"));
}

/// The byte strings of a dictionary, read by somebody else's decoder, which refuses what isn't canonical.
fn strings(bytes: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut decoder = Decoder::new(bytes);
    let Some(Object::Dict(mut dict)) = decoder.next_object().unwrap() else { panic!("no dictionary") };
    let mut strings = BTreeMap::new();
    while let Some((key, value)) = dict.next_pair().unwrap() {
        if let Object::Bytes(value) = value {
            strings.insert(key.to_vec(), value.to_vec());
        }
    }
    strings
}

proptest! {
    #[test]
    fn gives_every_peer_once_in_its_family(peers: Vec<(std::net::IpAddr, u16)>) {
        let addrs: Vec<_> = peers.into_iter().map(SocketAddr::from).collect();
        let response = answer(addrs.iter().map(|addr| PeerAddr { addr: *addr, id: None }).collect());
        let strings = strings(&response.encode(PeerFormat::Compact));
        let mut given = decode_compact(&strings[&b"peers"[..]]).unwrap();
        given.extend(decode_compact6(&strings[&b"peers6"[..]]).unwrap());
        given.sort();
        let mut expected: Vec<_> = addrs.into_iter().map(distributor_proto::canonical).collect();
        expected.sort();
        prop_assert_eq!(given, expected);
        // The other form is a list: reading it through shows that it is canonical.
        let dictionaries = response.encode(PeerFormat::Dictionaries { peer_ids: true });
        prop_assert!(self::strings(&dictionaries).is_empty());
    }

    #[test]
    fn reads_binary_hashes_through_any_escaping(hash: [u8; 20], id: [u8; 20], escape_all: bool) {
        let escape = |bytes: &[u8]| match escape_all {
            true => bytes.iter().map(|byte| format!("%{byte:02x}")).collect(),
            false => percent_encode(bytes),
        };
        let query = format!("peer_id={}&port=1&info_hash={}", escape(&id), escape(&hash));
        let request = AnnounceRequest::parse(query.as_bytes()).unwrap();
        prop_assert_eq!(request.info_hash.as_bytes(), &hash);
        prop_assert_eq!(request.peer_id.as_bytes(), &id);
    }
}
