//! A torrent as a client reads it, checked against BEP 3 on the way.

use sha1::{Digest, Sha1};

use super::bencode::Value;
use super::files::Contents;

/// A single-file torrent.
pub(crate) struct Torrent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) announce: String,
    pub(crate) name: Vec<u8>,
    pub(crate) length: usize,
    pub(crate) piece_length: usize,
    pub(crate) private: bool,
    /// SHA-1 of the info dictionary as it stands in the file.
    pub(crate) info_hash: [u8; 20],
    /// Bytes of it.
    pub(crate) info_len: usize,
    pieces: Vec<u8>,
}

impl Torrent {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let torrent = Value::read(bytes);
        let info = torrent.get("info");
        let number = |key: &str| usize::try_from(info.get(key).integer()).expect("it isn't negative");
        let (length, piece_length) = (number("length"), number("piece length"));
        let pieces = info.get("pieces").bytes().to_vec();
        assert_eq!(pieces.len(), 20 * length.div_ceil(piece_length), "one hash for each piece");
        Self {
            bytes: bytes.to_vec(),
            announce: torrent.get("announce").text(),
            name: info.get("name").bytes().to_vec(),
            length,
            piece_length,
            private: info.find("private").is_some_and(|private| private.integer() == 1),
            info_hash: Sha1::digest(&bytes[torrent.range("info")]).into(),
            info_len: torrent.range("info").len(),
            pieces,
        }
    }

    pub(crate) fn piece_count(&self) -> usize {
        self.pieces.len() / 20
    }

    /// Whether it is a torrent of just these bytes.
    pub(crate) fn is_of(&self, contents: &Contents) -> bool {
        self.is_of_bytes(contents.bytes())
    }

    pub(crate) fn is_of_bytes(&self, bytes: &[u8]) -> bool {
        let hashes: Vec<u8> = bytes.chunks(self.piece_length).flat_map(Sha1::digest).collect();
        self.length == bytes.len() && self.pieces == hashes
    }

    #[track_caller]
    pub(crate) fn assert_describes(&self, contents: &Contents) {
        assert_eq!(self.length, contents.len(), "the torrent's length is the file's");
        assert!(self.is_of(contents), "the torrent's hashes are of other bytes than the file's");
    }
}
