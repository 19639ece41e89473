//! Any bytes as what is inside an extended message, any values as what we write there, and any name in a magnet link.
#![no_main]

use std::net::IpAddr;

use arbitrary::Arbitrary;
use distributor_proto::{ExtendedHandshake, InfoHash, MetadataMessage, magnet_link, pairs};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Case<'a> {
    Bytes(&'a [u8]),
    Handshake {
        ut_metadata: Option<u8>,
        metadata_size: Option<u32>,
        port: Option<u16>,
        reqq: Option<u32>,
        upload_only: Option<bool>,
        client: Option<&'a [u8]>,
        yourip: Option<IpAddr>,
    },
    Magnet {
        name: &'a [u8],
        tracker: &'a str,
        len: u64,
    },
}

fuzz_target!(|case: Case<'_>| match case {
    Case::Bytes(bytes) => {
        if let Ok(handshake) = ExtendedHandshake::decode(bytes) {
            same_handshake(handshake);
        }
        if let Ok((message, data)) = MetadataMessage::decode(bytes) {
            assert!(bytes.ends_with(data));
            let encoded = message.encode();
            assert_eq!(MetadataMessage::decode(&encoded), Ok((message, &b""[..])));
        }
    }
    Case::Handshake { ut_metadata, metadata_size, port, reqq, upload_only, client, yourip } => {
        // Longer ones are refused, as they should be.
        let client = client.map(|client| &client[..client.len().min(100)]);
        same_handshake(ExtendedHandshake {
            ut_metadata,
            metadata_size,
            port,
            reqq,
            upload_only,
            client,
            yourip,
        });
    }
    Case::Magnet { name, tracker, len } => {
        let link = magnet_link(InfoHash::new([1; 20]), name, tracker, len);
        let query = link.strip_prefix("magnet:?").expect("it is a magnet link");
        // Longer ones are refused, as they should be.
        let Ok(pairs) = pairs(query.as_bytes()).collect::<Result<Vec<_>, _>>() else { return };
        let find = |key: &[u8]| pairs.iter().find(|(found, _)| **found == *key).map(|(_, value)| &value[..]);
        assert_eq!((pairs.len(), find(b"dn"), find(b"tr")), (4, Some(name), Some(tracker.as_bytes())));
    }
});

fn same_handshake(handshake: ExtendedHandshake<'_>) {
    let encoded = handshake.encode();
    assert_eq!(ExtendedHandshake::decode(&encoded).expect("what we write can be read"), handshake);
}
