//! Any bytes as a packet of the UDP tracker protocol: an error, or a question whose answers fit into one packet, have
//! peers of one family, and are no longer than the question while nobody has shown an id.
#![no_main]

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use distributor_proto::{
    AnnounceResponse, COMPACT_V4_LEN, COMPACT_V6_LEN, ConnectionIds, MAX_SCRAPE, MAX_UDP_ANSWER_LEN,
    MAX_UDP_REQUEST_LEN, PeerAddr, ScrapeStats, TransactionId, UdpQuestion, UdpRequest, encode_udp_announce,
    encode_udp_connect, encode_udp_error, encode_udp_scrape,
};
use libfuzzer_sys::fuzz_target;

const ASKERS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fuzz_target!(|packet: &[u8]| {
    let claim = match UdpRequest::parse(packet) {
        Ok(UdpRequest::Claim(claim)) => claim,
        Ok(UdpRequest::Connect(transaction)) => return connect(packet, transaction),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let now = Instant::now();
    assert!(!ConnectionIds::new(secret(), now).accepts(claim.connection, ASKERS[0], now), "a guess");
    let mut answer = Vec::new();
    match claim.read() {
        Ok(UdpQuestion::Announce { request, url }) => {
            assert_eq!(request.is_seed(), request.left == Some(0));
            assert_eq!(url.parts().map(<[u8]>::len).sum::<usize>(), url.to_vec().len());
            assert!(url.to_vec().len() < MAX_UDP_REQUEST_LEN);
            let response = AnnounceResponse { peers: peers_of(packet), ..AnnounceResponse::default() };
            for (asker, stride) in ASKERS.into_iter().zip([COMPACT_V4_LEN, COMPACT_V6_LEN]) {
                answer.clear();
                encode_udp_announce(claim.transaction, &response, asker, &mut answer);
                assert!(answer.len() <= MAX_UDP_ANSWER_LEN);
                assert_eq!((answer.len() - 20) % stride, 0);
            }
        }
        Ok(UdpQuestion::Scrape(hashes)) => {
            assert!(hashes.iter().len() <= MAX_SCRAPE);
            let stats = hashes.iter().map(|_| ScrapeStats::default());
            encode_udp_scrape(claim.transaction, stats, &mut answer);
        }
        Err(error) => encode_udp_error(claim.transaction, &error.to_string(), &mut answer),
    }
    assert!(answer.len() <= MAX_UDP_ANSWER_LEN);
    assert_eq!(answer[4..8], claim.transaction.0.to_be_bytes());
});

/// Another each time: the fuzzer sees what its bytes are compared with, and would know the ids of one that stays.
fn secret() -> [u8; 16] {
    let half = || RandomState::new().hash_one(0).to_ne_bytes();
    let mut secret = [0; 16];
    secret[..8].copy_from_slice(&half());
    secret[8..].copy_from_slice(&half());
    secret
}

fn connect(packet: &[u8], transaction: TransactionId) {
    let now = Instant::now();
    let ids = ConnectionIds::new(secret(), now);
    for asker in ASKERS {
        let mut answer = Vec::new();
        encode_udp_connect(transaction, ids.issue(asker, now), &mut answer);
        assert!(answer.len() <= packet.len());
    }
}

/// As many peers of both families as the bytes make.
fn peers_of(bytes: &[u8]) -> Vec<PeerAddr> {
    let v4 = bytes.as_chunks::<4>().0.iter().map(|ip| IpAddr::from(*ip));
    let v6 = bytes.as_chunks::<16>().0.iter().map(|ip| IpAddr::from(*ip));
    v4.chain(v6).map(|ip| PeerAddr { addr: SocketAddr::new(ip, 6881), id: None }).collect()
}
