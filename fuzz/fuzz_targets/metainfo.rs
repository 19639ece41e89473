//! Any bytes as a torrent: an error, or a torrent that says the same when it is written and read again.
#![no_main]

use distributor_proto::{Info, Metainfo, encode_torrent};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(metainfo) = Metainfo::decode(bytes) else { return };
    let info = metainfo.info.encode();
    assert_eq!(Info::decode(&info).expect("what we write can be read"), metainfo.info);
    for piece in metainfo.info.geometry().pieces() {
        assert!(metainfo.info.piece_hash(piece).is_some());
    }
    let again = Metainfo::decode(&encode_torrent("http://origin:6969/announce", &info));
    assert_eq!(again.expect("what we write can be read").info, metainfo.info);
});
