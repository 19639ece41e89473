//! The tracker's dialects: compact answers and dictionaries, every percent-encoding, HTTP/1.0 with a half-close,
//! refusals in words that a client shows, and scrapes.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::support::bencode::Value;
use crate::support::http::Request;
use crate::support::tracker::{
    Answer, DOWNLOADER, LOCALHOST, SEEDER, Tracker, announce_target, encode_all, v4, v6,
};

#[test]
fn a_compact_answer_has_its_keys_in_order_and_something_after_the_peers() {
    let tracker = Tracker::new();
    for query in [DOWNLOADER, SEEDER, "left=1024", "left=0&numwant=0&compact=1"] {
        let answer = tracker.announce(v4(1001), query);
        let keys = answer.value.keys();
        assert!(keys.ends_with(&["peers".into(), "peers6".into()]), "{keys:?}");
        for key in ["interval", "min interval"] {
            assert!((1..=3600).contains(&answer.value.get(key).integer()), "{key}: {:?}", answer.value);
        }
        answer.peers();
        // dtorrent refuses an answer with fewer than four bytes after `5:peers0:`.
        assert!(!answer.body.ends_with(b"5:peers0:e"), "{:?}", answer.value);
    }
}

#[test]
fn dictionaries_are_given_to_who_asks_for_them() {
    let tracker = Tracker::new();
    tracker.announce(v6(1001), DOWNLOADER);
    let answer = tracker.announce(v4(1002), "compact=0");
    let peers = answer.value.get("peers").list();
    let find = |addr: SocketAddr| {
        let same = |peer: &&Value| {
            peer.get("ip").text() == addr.ip().to_string()
                && peer.get("port").integer() == i64::from(addr.port())
        };
        peers.iter().find(same).unwrap_or_else(|| panic!("no {addr} in {peers:?}"))
    };
    assert_eq!(find(v6(1001)).get("peer id").bytes(), b"-XX0001-\0\xff\x0001\x30\x30\x301001");
    assert_eq!(find(tracker.origin(LOCALHOST)).get("peer id").bytes().len(), 20);
    let answer = tracker.announce(v4(1002), "compact=0&no_peer_id=1");
    let peers = answer.value.get("peers").list();
    assert_eq!(peers.len(), 2);
    assert!(peers.iter().all(|peer| peer.keys() == ["ip", "port"]), "{peers:?}");
}

#[test]
fn info_hashes_survive_any_percent_encoding() {
    let tracker = Tracker::new();
    let hash = tracker.info_hash;
    let lower = encode_all(&hash).to_ascii_lowercase();
    let minimal = hash.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'-' | b'_' | b'~' => {
                text.push(char::from(*byte))
            }
            // Allowed as they are in a query (RFC 3986), and sent so by some.
            b'!' | b'*' | b'(' | b')' | b'@' | b'/' | b':' | b'$' | b',' | b';' => {
                text.push(char::from(*byte))
            }
            _ => {
                let _ = write!(text, "%{byte:02x}");
            }
        }
        text
    });
    for encoded in [encode_all(&hash), lower, minimal] {
        let peers = tracker.get(LOCALHOST, announce_target(&encoded, 1001, DOWNLOADER)).peers();
        assert_eq!(peers, [tracker.origin(LOCALHOST)], "{encoded}");
    }
}

#[test]
fn every_byte_of_a_peer_id_survives() {
    let tracker = Tracker::new();
    let mut all: Vec<u8> = (0..=255).collect();
    all.extend_from_slice(b"filler--");
    for (n, id) in all.chunks(20).enumerate().filter(|(_, id)| id.len() == 20) {
        let target = |id: &[u8], port: u16, event: &str| {
            let (hash, id) = (encode_all(&tracker.info_hash), encode_all(id));
            format!("/announce?peer_id={id}&port={port}&left=9&event={event}&compact=0&info_hash={hash}")
        };
        tracker.get(LOCALHOST, target(id, 1001, "started"));
        let answer = tracker.get(LOCALHOST, target(b"abcdefghijklmnopqrst", 1002, ""));
        let peers = answer.value.get("peers").list();
        assert!(
            peers.iter().any(|peer| peer.find("peer id").is_some_and(|found| found.bytes() == id)),
            "chunk {n}: {peers:?}"
        );
    }
}

#[test]
fn refuses_what_it_does_not_serve_in_words_a_client_shows() {
    let tracker = Tracker::new();
    let hash = encode_all(&tracker.info_hash);
    let unknown = encode_all(&[7; 20]);
    for target in [
        announce_target(&unknown, 1001, DOWNLOADER),
        announce_target("", 1001, DOWNLOADER),
        announce_target(&hash[..57], 1001, DOWNLOADER),
        announce_target(&format!("{hash}%00"), 1001, DOWNLOADER),
        announce_target(&format!("{}%zz", &hash[..57]), 1001, DOWNLOADER),
        format!("/announce?info_hash={hash}&port=1001&left=0"),
        format!("/announce?info_hash={hash}&peer_id=short&port=1001&left=0"),
        format!("/announce?info_hash={hash}&peer_id=-XX0001-000000001001&left=0"),
        format!("/announce?info_hash={hash}&peer_id=-XX0001-000000001001&port=65536&left=0"),
        format!("/announce?info_hash={hash}&peer_id=-XX0001-000000001001&port=x&left=0"),
        "/announce".into(),
        "/announce?".into(),
    ] {
        let reason = tracker.get(LOCALHOST, target.clone()).failure();
        assert!(reason.len() > 10, "{target}: {reason:?}");
    }
    assert_eq!(tracker.announce(v4(1002), DOWNLOADER).peers(), [tracker.origin(LOCALHOST)]);
    // BEP 31: in minutes; what there is not may be there then.
    let refused = tracker.get(LOCALHOST, announce_target(&unknown, 1001, DOWNLOADER));
    assert_eq!(refused.value.get("retry in").integer(), 1);
}

/// BEP 24.
#[test]
fn tells_who_asks_by_which_address_it_is_seen() {
    let tracker = Tracker::new();
    let seen = |from| tracker.announce(from, DOWNLOADER).value.get("external ip").bytes().to_vec();
    assert_eq!(seen(v4(1001)), [127, 0, 0, 1]);
    assert_eq!(seen(v6(1001)), std::net::Ipv6Addr::LOCALHOST.octets());
}

#[test]
fn http_1_0_with_a_half_close_and_no_host_is_answered_whole() {
    let tracker = Tracker::new();
    let hash = encode_all(&tracker.info_hash);
    let scrape = format!("/scrape?info_hash={hash}");
    for target in
        [announce_target(&hash, 1001, DOWNLOADER), scrape, "/serve?file".into(), "/serve_last_updated".into()]
    {
        let answer = tracker.server.send(Request::get(target).http_1_0().half_close()).expect(200);
        assert_eq!(answer.header("transfer-encoding"), None, "HTTP/1.0 knows no chunks");
        Value::read(&answer.body);
    }
    // HTTP/1.1 likewise.
    let request = Request::get(announce_target(&hash, 1001, DOWNLOADER)).half_close();
    assert_eq!(Answer::read(tracker.server.send(request).expect(200).body).peers().len(), 1);
}

#[test]
fn scrape_counts_whom_the_tracker_knows() {
    let tracker = Tracker::new();
    let [complete, incomplete, downloaded] = tracker.scrape();
    assert_eq!((incomplete, downloaded), (0, 0));
    tracker.announce(v4(1001), DOWNLOADER);
    tracker.announce(v4(1002), DOWNLOADER);
    tracker.announce(v4(1003), SEEDER);
    assert_eq!(tracker.scrape(), [complete + 1, 2, 0]);
    tracker.announce(v4(1001), "left=0&event=completed");
    assert_eq!(tracker.scrape(), [complete + 2, 1, 1]);
    tracker.announce(v4(1001), "left=0&event=stopped");
    tracker.announce(v4(1002), "left=1&event=stopped");
    assert_eq!(tracker.scrape(), [complete + 1, 0, 1]);
    let answer = tracker.announce(v4(1004), DOWNLOADER);
    let counts = ["complete", "incomplete"].map(|key| answer.value.get(key).integer());
    assert_eq!(counts, [complete + 1, 1], "an announce counts as a scrape does");
}

#[test]
fn scrape_leaves_out_what_is_not_served() {
    let tracker = Tracker::new();
    let hash = encode_all(&tracker.info_hash);
    let unknown = encode_all(&[7; 20]);
    let value = tracker.get(LOCALHOST, format!("/scrape?info_hash={unknown}&info_hash={hash}")).value;
    let Value::Dictionary(files) = value.get("files") else { panic!("files are a dictionary") };
    assert_eq!(files.iter().map(|(hash, ..)| hash.as_slice()).collect::<Vec<_>>(), [tracker.info_hash]);
}
