//! Scrapes: which torrents are asked for, and the dictionary that answers.

use distributor_proto::{AnnounceError, InfoHash, MAX_SCRAPE, ScrapeStats, encode_scrape, parse_scrape};

#[test]
fn asks_for_none_one_or_many() {
    let hashes = |query: &str| parse_scrape(query.as_bytes());
    assert_eq!(hashes(""), Ok(vec![]));
    assert_eq!(hashes("key=1&x"), Ok(vec![]));
    let two = "info_hash=aaaaaaaaaaaaaaaaaaaa&x=y&info_hash=%62bbbbbbbbbbbbbbbbbbb";
    assert_eq!(hashes(two), Ok(vec![InfoHash::new([b'a'; 20]), InfoHash::new([b'b'; 20])]));
    assert_eq!(hashes("info_hash=a"), Err(AnnounceError::Length { name: "info_hash", len: 1 }));
}

#[test]
fn caps_the_torrents_of_one_scrape() {
    let escaped = format!("info_hash={}&", "%61".repeat(20));
    let most = escaped.repeat(MAX_SCRAPE);
    assert_eq!(parse_scrape(most.as_bytes()).map(|hashes| hashes.len()), Ok(MAX_SCRAPE));
    assert_eq!(parse_scrape((most + &escaped).as_bytes()), Err(AnnounceError::TooManyHashes));
}

#[test]
fn answers_by_raw_hash_in_order_and_once() {
    let stats = |complete| ScrapeStats { complete, downloaded: 20, incomplete: 3 };
    let (low, high) = (InfoHash::new([b'a'; 20]), InfoHash::new([0xff; 20]));
    let expected = [
        &b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi20e10:incompletei3ee20:"[..],
        &[0xff; 20],
        b"d8:completei2e10:downloadedi20e10:incompletei3eeee",
    ];
    assert_eq!(encode_scrape(&[(high, stats(2)), (low, stats(1)), (high, stats(9))]), expected.concat());
    assert_eq!(encode_scrape(&[]), b"d5:filesdee");
}
