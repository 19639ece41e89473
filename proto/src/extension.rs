//! What is inside extended messages: the extended handshake and `ut_metadata` (BEP 9, 10, 21).
//!
//! Owns their layouts. Refuses dictionaries that aren't bencode and the values that something depends on where they
//! are of a wrong type; keys that we don't know, and strange values of those that only inform, are no reason to part.

use std::net::IpAddr;

use bytes::Bytes;

use crate::{
    bencode::{self, BencodeError, put_bytes, put_bytes_pair, put_number_pair, read_dict, split_dict},
    message::{MAX_MESSAGE_LEN, extended_header},
};

/// The longest extended handshake that is read, in bytes. Clients send 100 to 300.
pub const MAX_EXTENDED_LEN: usize = 8 * 1024;

/// Bytes of the info dictionary that one `data` message carries, the last one's less (BEP 9).
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;

const UT_METADATA: &str = "ut_metadata";

/// What a side says of itself after the handshake (BEP 10). A key that is absent says nothing: in a later
/// handshake, that nothing has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake<'a> {
    /// The number under which it takes `ut_metadata` messages (BEP 9); 0 where it no longer does.
    pub ut_metadata: Option<u8>,
    /// Bytes in the info dictionary (BEP 9).
    pub metadata_size: Option<u32>,
    /// Where it takes connections.
    pub port: Option<u16>,
    /// How many requests it lets wait.
    pub reqq: Option<u32>,
    /// Whether it asks for nothing, be it a seed or not (BEP 21).
    pub upload_only: Option<bool>,
    /// Its name and version.
    pub client: Option<&'a [u8]>,
    /// The address at which it sees its receiver.
    pub yourip: Option<IpAddr>,
}

impl<'a> ExtendedHandshake<'a> {
    /// The bencoded dictionary.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.push(b'd');
        put_bytes(&mut out, b"m");
        out.push(b'd');
        put_number(&mut out, UT_METADATA, self.ut_metadata);
        out.push(b'e');
        put_number(&mut out, "metadata_size", self.metadata_size);
        put_number(&mut out, "p", self.port);
        put_number(&mut out, "reqq", self.reqq);
        put_number(&mut out, "upload_only", self.upload_only);
        if let Some(client) = self.client {
            put_bytes_pair(&mut out, "v", client);
        }
        match self.yourip {
            Some(IpAddr::V4(addr)) => put_bytes_pair(&mut out, "yourip", &addr.octets()),
            Some(IpAddr::V6(addr)) => put_bytes_pair(&mut out, "yourip", &addr.octets()),
            None => {}
        }
        out.push(b'e');
        out
    }

    /// Reads an extended handshake.
    ///
    /// # Errors
    ///
    /// When it is longer than [`MAX_EXTENDED_LEN`], isn't one dictionary in canonical form, or `m`,
    /// `ut_metadata` or `upload_only` isn't what it must be.
    pub fn decode(payload: &'a [u8]) -> Result<Self, BencodeError> {
        let mut read = Self::default();
        read_dict(payload, MAX_EXTENDED_LEN, |key, value| {
            match key {
                b"m" => read.ut_metadata = decode_ids(value.raw_dict("m")?)?,
                b"metadata_size" => read.metadata_size = small(value.number("metadata_size")),
                b"p" => read.port = small(value.number("p")),
                b"reqq" => read.reqq = small(value.number("reqq")),
                b"upload_only" => read.upload_only = Some(value.number("upload_only")? != 0),
                b"v" => read.client = value.bytes("v").ok(),
                b"yourip" => read.yourip = value.bytes("yourip").ok().and_then(decode_ip),
                _ => {}
            }
            Ok::<_, BencodeError>(())
        })?;
        Ok(read)
    }
}

/// The number of `ut_metadata` in the dictionary `m`.
fn decode_ids(ids: &[u8]) -> Result<Option<u8>, BencodeError> {
    let mut ut_metadata = None;
    read_dict(ids, MAX_EXTENDED_LEN, |key, value| {
        if key == UT_METADATA.as_bytes() {
            let id = value.number(UT_METADATA)?;
            ut_metadata = Some(u8::try_from(id).map_err(|_| BencodeError::WrongType(UT_METADATA))?);
        }
        Ok(())
    })
    .map(|()| ut_metadata)
}

fn decode_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A number that only informs: one that makes no sense is none.
fn small<T: TryFrom<u64>>(number: Result<u64, BencodeError>) -> Option<T> {
    T::try_from(number.ok()?).ok()
}

fn put_number(out: &mut Vec<u8>, key: &str, number: Option<impl Into<u64>>) {
    if let Some(number) = number {
        put_number_pair(out, key, number);
    }
}

/// A `ut_metadata` message (BEP 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMessage {
    /// The sender wants a part of the info dictionary.
    Request {
        /// Which one, of [`METADATA_PIECE_LEN`] bytes each.
        piece: u32,
    },
    /// A part of the info dictionary, whose bytes follow the message's own dictionary.
    Data {
        /// Which one.
        piece: u32,
        /// Bytes in the whole info dictionary.
        total_size: u32,
    },
    /// The sender won't send that part.
    Reject {
        /// Which one.
        piece: u32,
    },
    /// BEP 9: messages of other types "MUST be ignored".
    Unknown {
        /// The type: 3 or more.
        msg_type: u64,
    },
}

impl MetadataMessage {
    /// The bencoded dictionary.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (msg_type, piece, total_size) = match *self {
            Self::Request { piece } => (0, Some(piece), None),
            Self::Data { piece, total_size } => (1, Some(piece), Some(total_size)),
            Self::Reject { piece } => (2, Some(piece), None),
            Self::Unknown { msg_type } => (msg_type, None, None),
        };
        let mut out = Vec::with_capacity(48);
        out.push(b'd');
        put_number_pair(&mut out, "msg_type", msg_type);
        put_number(&mut out, "piece", piece);
        put_number(&mut out, "total_size", total_size);
        out.push(b'e');
        out
    }

    /// Reads the message and what follows its dictionary, which only `Data` and unknown ones may have.
    ///
    /// # Errors
    ///
    /// When it doesn't begin with a dictionary in canonical form, a number isn't one or isn't there, or something
    /// follows that may not.
    pub fn decode(payload: &[u8]) -> Result<(Self, &[u8]), BencodeError> {
        let (dict, data) = split_dict(payload)?;
        let (mut msg_type, mut piece, mut total_size) = (None, None, None);
        read_dict(dict, MAX_MESSAGE_LEN, |key, value| {
            match key {
                b"msg_type" => msg_type = Some(value.number("msg_type")?),
                b"piece" => piece = Some(narrow("piece", value)?),
                b"total_size" => total_size = Some(narrow("total_size", value)?),
                _ => {}
            }
            Ok::<_, BencodeError>(())
        })?;
        let piece = piece.ok_or(BencodeError::WrongType("piece"));
        let message = match msg_type.ok_or(BencodeError::WrongType("msg_type"))? {
            0 => Self::Request { piece: piece? },
            1 => {
                let total_size = total_size.ok_or(BencodeError::WrongType("total_size"))?;
                Self::Data { piece: piece?, total_size }
            }
            2 => Self::Reject { piece: piece? },
            msg_type => Self::Unknown { msg_type },
        };
        match message {
            Self::Request { .. } | Self::Reject { .. } if !data.is_empty() => Err(BencodeError::NotOneValue),
            _ => Ok((message, data)),
        }
    }

    /// Everything of the extended message but the `data_len` bytes that follow it, to a peer that takes
    /// `ut_metadata` under the number `id`.
    pub(crate) fn header(&self, id: u8, data_len: u32) -> Bytes {
        extended_header(id, &self.encode(), data_len)
    }
}

fn narrow(key: &'static str, value: bencode::Value<'_, '_>) -> Result<u32, BencodeError> {
    value.number(key)?.try_into().map_err(|_| BencodeError::WrongType(key))
}
