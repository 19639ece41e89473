//! Any bytes as a header of the PROXY protocol: an error, or one whose every beginning asks for more, and which what
//! follows doesn't change.
#![no_main]

use distributor_proto::{MAX_PROXY_V2_REST, ProxyHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match ProxyHeader::parse(bytes) {
    Ok(Some((header, len))) => {
        assert!(len <= bytes.len());
        assert_eq!(ProxyHeader::parse(&bytes[..len]), Ok(Some((header, len))));
        for cut in 0..len {
            assert_eq!(ProxyHeader::parse(&bytes[..cut]), Ok(None));
        }
    }
    Ok(None) => assert!(bytes.len() < 16 + MAX_PROXY_V2_REST, "it must end some time"),
    Err(error) => {
        assert!(!error.to_string().is_empty());
        // Nothing that follows mends it.
        assert_eq!(ProxyHeader::parse(&[bytes, b"\r\n"].concat()), Err(error));
    }
});
