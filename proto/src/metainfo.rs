//! Metainfo (.torrent) files of one file each (BEP 3), private ones included (BEP 27).
//!
//! Owns what such a file may say and the one way we write it: the same content always gives the same bytes,
//! hence the same info hash. Refuses torrents of several files, names that would leave a directory, and sizes
//! beyond its caps.

use std::fmt;

use bytes::Bytes;

use crate::{
    bencode::{self, BencodeError, put_bytes, put_bytes_pair, put_number_pair},
    geometry::{Geometry, GeometryError, MAX_PIECES, PieceIndex},
    id::InfoHash,
};

/// The longest metainfo file that we read or write, in bytes: ctorrent's limit.
pub const MAX_TORRENT_LEN: usize = 4 * 1024 * 1024;

/// The longest file name, in bytes: Linux' `NAME_MAX`.
pub const MAX_NAME_LEN: usize = 255;

/// Bytes in the hash of a piece (BEP 3: SHA-1).
const HASH_LEN: usize = 20;

// The largest torrent must leave room for its name, its keys and an announce URL of any sane length.
const _: () = assert!(MAX_PIECES as usize * HASH_LEN + MAX_NAME_LEN + 16 * 1024 <= MAX_TORRENT_LEN);

/// Why bytes are no metainfo file, or parts make none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// Not bencode, too long, or a known key with a value of another type.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// A key that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// The torrent has a list of files.
    #[error("torrents of several files are not supported")]
    MultiFile,
    /// The length and the piece length don't go together.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The name is empty, too long, `.`, `..`, or has a slash or a NUL in it.
    #[error("the name is not a file name")]
    Name,
    /// `pieces` isn't 20 bytes for each piece.
    #[error("{len} bytes of piece hashes came where {expected} were due")]
    Pieces {
        /// How many bytes there are.
        len: usize,
        /// How many the geometry asks for.
        expected: usize,
    },
    /// The announce URL isn't UTF-8.
    #[error("the announce URL is not UTF-8")]
    Announce,
}

/// What a torrent says about its one file: the info dictionary, validated (BEP 3).
#[derive(Clone, PartialEq, Eq)]
pub struct Info {
    name: Bytes,
    geometry: Geometry,
    pieces: Bytes,
    private: bool,
}

impl Info {
    /// Puts an info dictionary together.
    ///
    /// `name` is bytes, as file names are on Linux; `pieces` the SHA-1 of every piece, one after the other;
    /// `private` keeps clients to this torrent's tracker (BEP 27).
    ///
    /// # Errors
    ///
    /// When the name isn't a plain file name of at most [`MAX_NAME_LEN`] bytes, or there aren't 20 bytes a
    /// piece.
    pub fn new(name: &[u8], geometry: Geometry, pieces: Bytes, private: bool) -> Result<Self, MetainfoError> {
        let special = matches!(name, b"" | b"." | b"..");
        if special || name.len() > MAX_NAME_LEN || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(MetainfoError::Name);
        }
        let expected = geometry.piece_count() as usize * HASH_LEN;
        if pieces.len() != expected {
            return Err(MetainfoError::Pieces { len: pieces.len(), expected });
        }
        Ok(Self { name: Bytes::copy_from_slice(name), geometry, pieces, private })
    }

    /// The file's name: bytes, not necessarily UTF-8.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How the file is cut into pieces.
    #[must_use]
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The SHA-1 of a piece; `None` for a piece of another, larger torrent.
    #[must_use]
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<&[u8; HASH_LEN]> {
        self.pieces.as_chunks().0.get(piece.get() as usize)
    }

    /// The SHA-1 of every piece, one after the other.
    #[must_use]
    pub const fn pieces(&self) -> &Bytes {
        &self.pieces
    }

    /// Whether clients must keep to this torrent's tracker (BEP 27).
    #[must_use]
    pub const fn is_private(&self) -> bool {
        self.private
    }

    /// The bencoded dictionary in canonical form: `length`, `name`, `piece length`, `pieces`, and `private`
    /// only where it is set. [`InfoHash::of_info`] of these bytes is the torrent's info hash.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.pieces.len() + self.name.len() + 128);
        out.push(b'd');
        put_number_pair(&mut out, "length", self.geometry.total_len());
        put_bytes_pair(&mut out, "name", &self.name);
        put_number_pair(&mut out, "piece length", self.geometry.piece_len());
        put_bytes_pair(&mut out, "pieces", &self.pieces);
        if self.private {
            put_number_pair(&mut out, "private", 1_u32);
        }
        out.push(b'e');
        out.into()
    }

    /// Reads an info dictionary. Keys that we don't know are ignored: they belong to the info hash all the
    /// same.
    ///
    /// # Errors
    ///
    /// When it isn't canonical bencode of at most [`MAX_TORRENT_LEN`] bytes, lacks a key, is of several
    /// files, or says something that [`Info::new`] or [`Geometry::new`] refuses.
    pub fn decode(info: &[u8]) -> Result<Self, MetainfoError> {
        let (mut length, mut name, mut piece_len, mut pieces, mut private) = (None, None, None, None, false);
        bencode::read_dict(info, MAX_TORRENT_LEN, |key, value| {
            match key {
                b"files" => return Err(MetainfoError::MultiFile),
                b"length" => length = Some(value.number("length")?),
                b"name" => name = Some(value.bytes("name")?),
                b"piece length" => piece_len = Some(value.number("piece length")?),
                b"pieces" => pieces = Some(value.bytes("pieces")?),
                b"private" => private = value.number("private")? != 0,
                _ => {}
            }
            Ok(())
        })?;
        let length = length.ok_or(MetainfoError::Missing("length"))?;
        let name = name.ok_or(MetainfoError::Missing("name"))?;
        let piece_len = piece_len.ok_or(MetainfoError::Missing("piece length"))?;
        let pieces = pieces.ok_or(MetainfoError::Missing("pieces"))?;
        let piece_len = u32::try_from(piece_len).map_err(|_| BencodeError::WrongType("piece length"))?;
        Self::new(name, Geometry::new(length, piece_len)?, Bytes::copy_from_slice(pieces), private)
    }
}

impl fmt::Debug for Info {
    /// Without the hashes: there may be 4 MB of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("name", &self.name)
            .field("geometry", &self.geometry)
            .field("private", &self.private)
            .finish_non_exhaustive()
    }
}

/// A metainfo file as it was read (BEP 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// The tracker's URL, where the file names one.
    pub announce: Option<String>,
    /// What it says about its file.
    pub info: Info,
    info_hash: InfoHash,
}

impl Metainfo {
    /// Reads a metainfo file. Keys that we don't know are ignored.
    ///
    /// # Errors
    ///
    /// When it isn't canonical bencode of at most [`MAX_TORRENT_LEN`] bytes, has no `info`, an announce URL
    /// that isn't UTF-8, or an info dictionary that [`Info::decode`] refuses.
    pub fn decode(torrent: &[u8]) -> Result<Self, MetainfoError> {
        let (mut announce, mut info) = (None, None);
        bencode::read_dict(torrent, MAX_TORRENT_LEN, |key, value| {
            match key {
                b"announce" => announce = Some(value.bytes("announce")?),
                b"info" => info = Some(value.raw_dict("info")?),
                _ => {}
            }
            Ok::<_, MetainfoError>(())
        })?;
        let announce = match announce.map(str::from_utf8).transpose() {
            Ok(announce) => announce.map(str::to_owned),
            Err(_) => return Err(MetainfoError::Announce),
        };
        let info = info.ok_or(MetainfoError::Missing("info"))?;
        Ok(Self { announce, info: Info::decode(info)?, info_hash: InfoHash::of_info(info) })
    }

    /// The hash of the info dictionary as it stood in the file, keys that we don't know included.
    #[must_use]
    pub const fn info_hash(&self) -> InfoHash {
        self.info_hash
    }
}

/// A metainfo file around an encoded info dictionary, which goes in byte for byte.
///
/// The announce URL and our version are outside `info`, so one info hash serves every host name and every
/// release.
#[must_use]
pub fn encode_torrent(announce: &str, info: &[u8]) -> Vec<u8> {
    const CREATED_BY: &str = concat!("distributor/", env!("CARGO_PKG_VERSION"));

    let mut out = Vec::with_capacity(info.len() + announce.len() + 128);
    out.push(b'd');
    put_bytes_pair(&mut out, "announce", announce.as_bytes());
    put_bytes_pair(&mut out, "created by", CREATED_BY.as_bytes());
    put_bytes(&mut out, b"info");
    out.extend_from_slice(info);
    out.push(b'e');
    out
}
