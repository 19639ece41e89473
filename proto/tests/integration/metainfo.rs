//! Metainfo files: the bytes we write, what we read, what we refuse.

use bytes::Bytes;
use distributor_proto::{
    BencodeError, Geometry, GeometryError, Info, InfoHash, MAX_NAME_LEN, MAX_PIECES, MAX_TORRENT_LEN,
    Metainfo, MetainfoError, encode_torrent,
};
use proptest::prelude::*;

fn hashes() -> Vec<u8> {
    [[1; 20], [255; 20]].concat()
}

fn info(private: bool) -> Info {
    Info::new(b"a.iso", Geometry::new(65_537, 65_536).unwrap(), hashes().into(), private).unwrap()
}

/// An info dictionary with `tail` after its hashes.
fn raw_info(tail: &str) -> Vec<u8> {
    let head = b"d6:lengthi65537e4:name5:a.iso12:piece lengthi65536e6:pieces40:";
    [&head[..], &hashes(), tail.as_bytes(), b"e"].concat()
}

#[test]
fn writes_the_canonical_info_dictionary() {
    assert_eq!(info(true).encode(), raw_info("7:privatei1e"));
    assert_eq!(info(false).encode(), raw_info(""));
    // Computed by Python's hashlib over the same bytes.
    let hash = |private| InfoHash::of_info(&info(private).encode()).to_string();
    assert_eq!(hash(true), "2fdb09224039a40f94951d2cdddde59aab830f9f");
    assert_eq!(hash(false), "70abb802557f313866d2958c2592bd5c89fe0ca6");
}

#[test]
fn writes_the_whole_torrent_around_the_info_dictionary() {
    let version = env!("CARGO_PKG_VERSION");
    let created_by = format!("distributor/{version}");
    let expected = [
        b"d8:announce27:http://origin:6969/announce10:created by",
        format!("{}:{created_by}4:info", created_by.len()).as_bytes(),
        &raw_info("7:privatei1e"),
        b"e",
    ]
    .concat();
    assert_eq!(encode_torrent("http://origin:6969/announce", &info(true).encode()), expected);
}

#[test]
fn hashes_the_info_dictionary_as_it_came() {
    let raw = raw_info("7:privatei1e6:source2:xy");
    let torrent = [b"d4:info", &raw[..], b"8:url-list0:e"].concat();
    let metainfo = Metainfo::decode(&torrent).unwrap();
    assert_eq!(metainfo.announce, None);
    assert_eq!(metainfo.info, info(true), "keys that we don't know change nothing but the hash");
    assert_eq!(metainfo.info_hash(), InfoHash::of_info(&raw));
    assert_ne!(metainfo.info_hash(), InfoHash::of_info(&metainfo.info.encode()));
}

#[test]
fn names_files_by_bytes() {
    let geometry = Geometry::new(1, 65_536).unwrap();
    let named =
        |name: &[u8]| Info::new(name, geometry, vec![0; 20].into(), true).map(|info| info.name().to_vec());
    for name in [&b"\xff\xfe"[..], b"...", b" ", b"a\\b", b"-rf", &[b'a'; MAX_NAME_LEN]] {
        assert_eq!(named(name), Ok(name.to_vec()));
    }
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0", &[b'a'; MAX_NAME_LEN + 1]] {
        assert_eq!(named(name), Err(MetainfoError::Name), "{}", name.escape_ascii());
    }
}

#[test]
fn finds_each_piece_by_its_index() {
    let info = info(true);
    let found: Vec<_> = info.geometry().pieces().map(|piece| info.piece_hash(piece).copied()).collect();
    assert_eq!(found, [Some([1; 20]), Some([255; 20])]);
    let foreign = Geometry::new(1 << 20, 65_536).unwrap().piece(2).unwrap();
    assert_eq!(info.piece_hash(foreign), None);
}

#[test]
fn refuses_hashes_that_do_not_fit_the_length() {
    let geometry = Geometry::new(65_537, 65_536).unwrap();
    for len in [0, 20, 39, 41, 60] {
        let refused = Info::new(b"a", geometry, vec![0; len].into(), true);
        assert_eq!(refused, Err(MetainfoError::Pieces { len, expected: 40 }));
    }
}

#[test]
fn refuses_what_is_no_single_file_torrent() {
    let decode = |info: &str| Info::decode(info.as_bytes()).unwrap_err();
    let hash = "\x01".repeat(20);
    let pieces = format!("6:pieces20:{hash}");
    assert_eq!(
        decode(&format!("d5:filesle4:name1:a12:piece lengthi65536e{pieces}e")),
        MetainfoError::MultiFile
    );
    let missing = MetainfoError::Missing;
    assert_eq!(decode("de"), missing("length"));
    assert_eq!(decode("d6:lengthi1ee"), missing("name"));
    assert_eq!(decode("d6:lengthi1e4:name1:ae"), missing("piece length"));
    assert_eq!(decode("d6:lengthi1e4:name1:a12:piece lengthi65536ee"), missing("pieces"));
    let wrong = |key| MetainfoError::Bencode(BencodeError::WrongType(key));
    assert_eq!(decode("d6:lengthi-1ee"), wrong("length"));
    assert_eq!(decode("d6:length1:1e"), wrong("length"));
    assert_eq!(decode("d4:namei1ee"), wrong("name"));
    assert_eq!(decode("d7:private1:1e"), wrong("private"));
    let piece_len = |len: u64| decode(&format!("d6:lengthi1e4:name1:a12:piece lengthi{len}e{pieces}e"));
    assert_eq!(piece_len(1 << 32), wrong("piece length"));
    assert_eq!(piece_len(65_535), GeometryError::PieceLen { piece_len: 65_535 }.into());
    assert_eq!(Metainfo::decode(b"de"), Err(missing("info")));
    assert_eq!(Metainfo::decode(b"d4:info1:ae"), Err(wrong("info")));
    let torrent = [b"d8:announce1:\xff4:info", &raw_info("")[..], b"e"].concat();
    assert_eq!(Metainfo::decode(&torrent), Err(MetainfoError::Announce));
}

#[test]
fn refuses_every_truncation_and_anything_appended() {
    let torrent = encode_torrent("http://origin:6969/announce", &info(true).encode());
    for len in 0..torrent.len() {
        assert!(Metainfo::decode(&torrent[..len]).is_err(), "cut to {len} bytes");
    }
    for more in [&b"e"[..], b"de", b" ", b"0:"] {
        assert!(Metainfo::decode(&[&torrent, more].concat()).is_err());
    }
}

#[test]
fn keeps_the_largest_torrent_below_the_limit_of_ctorrent() {
    let geometry = Geometry::new(u64::from(MAX_PIECES) * (1 << 29), 1 << 29).unwrap();
    let pieces = vec![7; MAX_PIECES as usize * 20];
    let info = Info::new(&[b'a'; MAX_NAME_LEN], geometry, pieces.into(), true).unwrap();
    let torrent = encode_torrent(&"u".repeat(2048), &info.encode());
    assert!(torrent.len() < MAX_TORRENT_LEN);
    assert_eq!(Metainfo::decode(&torrent).unwrap().info, info);

    let long = vec![b'd'; MAX_TORRENT_LEN + 1];
    let too_long = BencodeError::TooLong { len: long.len(), max: MAX_TORRENT_LEN };
    assert_eq!(Metainfo::decode(&long), Err(too_long.into()));
}

proptest! {
    #[test]
    fn reads_back_what_it_writes(
        name in proptest::collection::vec(1_u8..=255, 1..40),
        len in 1_u64..(1 << 40),
        private: bool,
        announce in "[ -~é]{0,60}",
    ) {
        let geometry = Geometry::for_len(len).unwrap();
        let pieces = Bytes::from(vec![len as u8; geometry.piece_count() as usize * 20]);
        let Ok(info) = Info::new(&name, geometry, pieces, private) else { return Ok(()) };
        let encoded = info.encode();
        prop_assert_eq!(&Info::decode(&encoded).unwrap(), &info);
        let metainfo = Metainfo::decode(&encode_torrent(&announce, &encoded)).unwrap();
        prop_assert_eq!(metainfo.info_hash(), InfoHash::of_info(&encoded));
        prop_assert_eq!(metainfo.announce, Some(announce));
        prop_assert_eq!(metainfo.info, info);
    }
}
