//! Packets of the tracker's UDP protocol: questions as clients send them, and the answers that they get.

use std::net::{IpAddr, SocketAddr};

use distributor_proto::{
    AnnounceEvent, AnnounceKey, AnnounceRequest, AnnounceResponse, ConnectionId, InfoHash, MAX_SCRAPE,
    MAX_UDP_ANSWER_LEN, MAX_UDP_PEERS_V4, MAX_UDP_PEERS_V6, MAX_UDP_REQUEST_LEN, MIN_UDP_REQUEST_LEN,
    PeerAddr, PeerFormat, PeerId, ScrapeStats, TransactionId, UDP_CONNECT_ANSWER_LEN, UdpClaim, UdpError,
    UdpQuestion, UdpRequest, canonical, decode_compact, decode_compact6, encode_udp_announce,
    encode_udp_connect, encode_udp_error, encode_udp_scrape,
};
use proptest::{collection::vec, prelude::*};

const CONNECT: &[u8; 16] = b"\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00TRAN";
const TRANSACTION: TransactionId = TransactionId(u32::from_be_bytes(*b"TRAN"));
const CONNECTION: ConnectionId = ConnectionId(u64::from_be_bytes(*b"CONNECTS"));
const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));
const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

/// An announce without options, as libtorrent lays it out.
const ANNOUNCE: &[u8; 98] = b"CONNECTS\x00\x00\x00\x01TRANhhhhhhhhhhhhhhhhhhhh-DT0100-abcdefghijkl\
    \x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x01\
    \x00\x00\x00\x02\x09\x09\x09\x09key!\x00\x00\x00\xc8\x1a\xe1";

fn claim(packet: &[u8]) -> UdpClaim<'_> {
    match UdpRequest::parse(packet) {
        Ok(UdpRequest::Claim(claim)) => claim,
        other => panic!("{other:?} is no question with an id"),
    }
}

fn announce(packet: &[u8]) -> AnnounceRequest {
    match claim(packet).read() {
        Ok(UdpQuestion::Announce { request, .. }) => request,
        other => panic!("{other:?} is no announce"),
    }
}

/// The announce with other bytes at a place.
fn changed(at: usize, bytes: &[u8]) -> AnnounceRequest {
    let mut packet = *ANNOUNCE;
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    announce(&packet)
}

fn scrape(hashes: usize) -> Vec<u8> {
    [&b"CONNECTS\x00\x00\x00\x02TRAN"[..], &b"hhhhhhhhhhhhhhhhhhhh".repeat(hashes)].concat()
}

fn response(addrs: impl IntoIterator<Item = SocketAddr>) -> AnnounceResponse {
    let peers = addrs.into_iter().map(|addr| PeerAddr { addr, id: None }).collect();
    AnnounceResponse { interval: 120, min_interval: 15, complete: 2, incomplete: 7, peers, external_ip: None }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn reads_who_asks_for_an_id_whatever_comes_behind() {
    assert_eq!(UdpRequest::parse(CONNECT), Ok(UdpRequest::Connect(TRANSACTION)));
    assert_eq!(UdpRequest::parse(&[&CONNECT[..], b"more"].concat()), Ok(UdpRequest::Connect(TRANSACTION)));
}

#[test]
fn takes_no_other_question_for_one_for_an_id() {
    let mut other_protocol = *CONNECT;
    other_protocol[7] ^= 1;
    let claimed = claim(&other_protocol);
    assert_eq!(claimed.connection, ConnectionId(0x0417_2710_1981));
    assert_eq!(claimed.read(), Err(UdpError::Action(0)));
    // Who shows the protocol's own number with another action shows it as an id.
    let mut announces = *ANNOUNCE;
    announces[..8].copy_from_slice(&CONNECT[..8]);
    assert_eq!(claim(&announces).connection, ConnectionId(0x0417_2710_1980));
}

#[test]
fn reads_an_announce_of_libtorrent() {
    let claimed = claim(ANNOUNCE);
    assert_eq!((claimed.connection, claimed.transaction), (CONNECTION, TRANSACTION));
    let Ok(UdpQuestion::Announce { request, url }) = claimed.read() else { panic!("it is an announce") };
    assert_eq!(url.to_vec(), b"");
    let expected = AnnounceRequest {
        info_hash: InfoHash::new([b'h'; 20]),
        peer_id: PeerId::new(*b"-DT0100-abcdefghijkl"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: Some(3),
        event: AnnounceEvent::Started,
        numwant: Some(200),
        key: AnnounceKey::new(b"key!"),
        format: PeerFormat::Compact,
    };
    assert_eq!(request, expected);
}

#[test]
fn reads_the_url_behind_an_announce() {
    let packet = [&ANNOUNCE[..], b"\x01\x02\x09/announce\x02\x06?a=b&c\x00trailing"].concat();
    let Ok(UdpQuestion::Announce { request, url }) = claim(&packet).read() else {
        panic!("it is an announce")
    };
    assert_eq!(request, announce(ANNOUNCE));
    assert_eq!(url.parts().collect::<Vec<_>>(), [&b"/announce"[..], b"?a=b&c"]);
    assert_eq!(url.to_vec(), b"/announce?a=b&c");
}

#[test]
fn does_not_believe_the_address_in_an_announce() {
    assert_eq!(changed(84, &[10, 0, 0, 1]), announce(ANNOUNCE));
}

#[test]
fn takes_what_clients_say_that_do_not_know_for_what_they_do_not_say() {
    assert_eq!(changed(64, &[0xff; 8]).left, None);
    assert_eq!(changed(64, &[0; 8]).left, Some(0));
    assert_eq!(changed(64, &i64::MAX.to_be_bytes()).left, Some(i64::MAX.unsigned_abs()));
    assert_eq!(changed(92, &[0xff; 4]).numwant, None);
    assert_eq!(changed(92, &[0; 4]).numwant, Some(0));
    assert_eq!(changed(96, &[0; 2]).port, 0);
}

#[test]
fn knows_the_events_by_number() {
    let event = |number: u32| changed(80, &number.to_be_bytes()).event;
    assert_eq!(event(0), AnnounceEvent::Periodic);
    assert_eq!(event(1), AnnounceEvent::Completed);
    assert_eq!(event(2), AnnounceEvent::Started);
    assert_eq!(event(3), AnnounceEvent::Stopped);
    assert_eq!(event(4), AnnounceEvent::Periodic, "a sign of life, as over HTTP");
}

#[test]
fn refuses_every_packet_that_ends_too_soon() {
    for len in 0..MIN_UDP_REQUEST_LEN {
        assert_eq!(UdpRequest::parse(&CONNECT[..len]), Err(UdpError::TooShort { len }));
        assert_eq!(UdpRequest::parse(&ANNOUNCE[..len]), Err(UdpError::TooShort { len }));
    }
    for len in MIN_UDP_REQUEST_LEN..ANNOUNCE.len() {
        assert_eq!(claim(&ANNOUNCE[..len]).read(), Err(UdpError::Announce { len }));
    }
}

#[test]
fn takes_as_many_torrents_of_a_scrape_as_are_all_there() {
    let hashes = |packet: &[u8]| match claim(packet).read() {
        Ok(UdpQuestion::Scrape(hashes)) => hashes.iter().collect::<Vec<_>>(),
        other => panic!("{other:?} is no scrape"),
    };
    let whole = scrape(2);
    for len in MIN_UDP_REQUEST_LEN..=whole.len() {
        let expected = vec![InfoHash::new([b'h'; 20]); (len - MIN_UDP_REQUEST_LEN) / 20];
        assert_eq!(hashes(&whole[..len]), expected);
    }
    assert_eq!(hashes(&scrape(MAX_SCRAPE)).len(), MAX_SCRAPE);
    assert_eq!(claim(&scrape(MAX_SCRAPE + 1)).read(), Err(UdpError::TooManyHashes));
}

#[test]
fn caps_the_length_of_packets() {
    let mut packet = ANNOUNCE.to_vec();
    packet.resize(MAX_UDP_REQUEST_LEN, 1);
    assert_eq!(announce(&packet), announce(ANNOUNCE));
    packet.push(1);
    assert_eq!(UdpRequest::parse(&packet), Err(UdpError::TooLong { len: packet.len() }));
}

#[test]
fn gives_an_id_in_no_more_bytes_than_it_was_asked_for() {
    let answer = written(|out| encode_udp_connect(TRANSACTION, CONNECTION, out));
    assert_eq!(answer, b"\x00\x00\x00\x00TRANCONNECTS");
    assert_eq!(answer.len(), UDP_CONNECT_ANSWER_LEN);
    assert_eq!(UDP_CONNECT_ANSWER_LEN, MIN_UDP_REQUEST_LEN);
}

#[test]
fn answers_with_the_peers_of_the_askers_family() {
    let addrs = ["10.1.2.3:6881", "[2001:db8::5]:258", "[::ffff:10.1.2.4]:1"];
    let response = response(addrs.map(|addr| addr.parse().unwrap()));
    let head = b"\x00\x00\x00\x01TRAN\x00\x00\x00\x78\x00\x00\x00\x07\x00\x00\x00\x02";
    let v4 = [&head[..], &[10, 1, 2, 3, 0x1a, 0xe1, 10, 1, 2, 4, 0, 1]].concat();
    let v6 = [&head[..], &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2]].concat();
    let answer = |asker| written(|out| encode_udp_announce(TRANSACTION, &response, asker, out));
    assert_eq!(answer(V4), v4);
    assert_eq!(answer("::ffff:10.0.0.9".parse().unwrap()), v4, "through a socket for both families");
    assert_eq!(answer(V6), v6);
}

#[test]
fn answers_a_scrape_in_its_order() {
    let stats = [
        ScrapeStats { complete: 1, downloaded: 2, incomplete: 3 },
        ScrapeStats { complete: 4, downloaded: 5, incomplete: 6 },
    ];
    let expected = b"\x00\x00\x00\x02TRAN\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05\0\0\0\x06";
    assert_eq!(written(|out| encode_udp_scrape(TRANSACTION, stats, out)), expected);
}

#[test]
fn says_why_not_as_far_as_there_is_room() {
    let error = |reason: &str| written(|out| encode_udp_error(TRANSACTION, reason, out));
    assert_eq!(error("the file is gone"), b"\x00\x00\x00\x03TRANthe file is gone");
    let room = MAX_UDP_ANSWER_LEN - 8;
    assert_eq!(error(&"x".repeat(room)).len(), MAX_UDP_ANSWER_LEN);
    assert_eq!(error(&"x".repeat(room + 1)).len(), MAX_UDP_ANSWER_LEN);
    let cut = error(&format!("{}é", "x".repeat(room - 1)));
    assert_eq!(cut.len(), MAX_UDP_ANSWER_LEN - 1, "not in the middle of a letter");
}

#[test]
fn no_answer_is_longer_than_one_packet() {
    let full = |addr: &str, asker| {
        let response = response(vec![addr.parse().unwrap(); 1000]);
        written(|out| encode_udp_announce(TRANSACTION, &response, asker, out)).len()
    };
    assert_eq!(full("10.0.0.1:1", V4), 20 + 6 * MAX_UDP_PEERS_V4);
    assert_eq!(full("[fd69::1]:1", V6), 20 + 18 * MAX_UDP_PEERS_V6);
    assert!(full("10.0.0.1:1", V4) <= MAX_UDP_ANSWER_LEN && full("[fd69::1]:1", V6) <= MAX_UDP_ANSWER_LEN);
    let stats = vec![ScrapeStats::default(); MAX_SCRAPE + 1];
    assert_eq!(written(|out| encode_udp_scrape(TRANSACTION, stats, out)).len(), 8 + 12 * MAX_SCRAPE);
}

/// Two trackers that were made to write to each other by a forged packet would never end.
#[test]
fn no_answer_is_a_question_for_an_id() {
    let answers = [
        written(|out| encode_udp_connect(TRANSACTION, CONNECTION, out)),
        written(|out| encode_udp_announce(TRANSACTION, &response([]), V4, out)),
        written(|out| encode_udp_scrape(TRANSACTION, vec![ScrapeStats::default(); 9], out)),
        written(|out| encode_udp_error(TRANSACTION, "the file is gone", out)),
    ];
    for answer in answers {
        assert!(matches!(UdpRequest::parse(&answer), Ok(UdpRequest::Claim(_))));
    }
}

proptest! {
    #[test]
    fn gives_every_peer_of_a_family_in_order(peers in vec(any::<(IpAddr, u16)>(), 0..60)) {
        let addrs: Vec<SocketAddr> = peers.into_iter().map(SocketAddr::from).collect();
        let response = response(addrs.iter().copied());
        for asker in [V4, V6] {
            let answer = written(|out| encode_udp_announce(TRANSACTION, &response, asker, out));
            let given = if asker.is_ipv4() { decode_compact(&answer[20..]) } else { decode_compact6(&answer[20..]) };
            let of_family = addrs.iter().copied().map(canonical).filter(|addr| addr.is_ipv4() == asker.is_ipv4());
            prop_assert_eq!(given.unwrap(), of_family.collect::<Vec<_>>());
        }
    }

    #[test]
    fn reads_every_announce_back(
        hash: [u8; 20], id: [u8; 20], counters: [u64; 3], event: u32, address: [u8; 4], key: [u8; 4],
        numwant: i32, port: u16, rest in vec(any::<u8>(), 0..300),
    ) {
        let mut packet = b"CONNECTS\x00\x00\x00\x01TRAN".to_vec();
        packet.extend(hash);
        packet.extend(id);
        packet.extend(counters.iter().flat_map(|number| number.to_be_bytes()));
        packet.extend(event.to_be_bytes());
        packet.extend(address);
        packet.extend(key);
        packet.extend(numwant.to_be_bytes());
        packet.extend(port.to_be_bytes());
        packet.extend(rest);
        let request = announce(&packet);
        prop_assert_eq!((request.info_hash.as_bytes(), request.peer_id.as_bytes()), (&hash, &id));
        prop_assert_eq!((request.downloaded, request.uploaded), (counters[0], counters[2]));
        prop_assert_eq!(request.left, Some(counters[1]).filter(|left| *left <= i64::MAX.unsigned_abs()));
        prop_assert_eq!(request.numwant, u32::try_from(numwant).ok());
        prop_assert_eq!(request.key.as_ref().map(AnnounceKey::as_bytes), Some(&key[..]));
        prop_assert_eq!(request.port, port);
    }
}
