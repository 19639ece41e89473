//! Any bytes as the query of an announce, a scrape or a path: an error, or values that survive being encoded.
#![no_main]

use distributor_proto::{
    AnnounceRequest, MAX_PAIRS, MAX_SCRAPE, encode_failure, pairs, parse_scrape, percent_decode,
    percent_encode,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|query: &[u8]| {
    match AnnounceRequest::parse(query) {
        Ok(request) => assert_eq!(request.is_seed(), request.left == Some(0)),
        Err(error) => assert!(!encode_failure(&error.to_string()).is_empty()),
    }
    if let Ok(info_hashes) = parse_scrape(query) {
        assert!(info_hashes.len() <= MAX_SCRAPE);
    }
    assert!(pairs(query).filter(Result::is_ok).count() <= MAX_PAIRS);
    if let Ok(decoded) = percent_decode(query) {
        let encoded = percent_encode(&decoded);
        assert_eq!(percent_decode(encoded.as_bytes()).expect("what we encode can be decoded"), decoded);
    }
});
