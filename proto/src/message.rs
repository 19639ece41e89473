//! The messages that follow the handshake: one frame in, one message out (BEP 3, 6, 10; `port` from BEP 5).
//!
//! Owns ids, layouts and exact lengths. Refuses frames with anything missing or left over, and the messages
//! of BEP 6 from those who didn't negotiate them. Splitting a stream into frames is the session's, and what is
//! inside an extended message is `extension`'s.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    geometry::{Block, MAX_PIECES},
    handshake::Extensions,
};

/// The longest message that is read, in bytes after the length prefix.
pub const MAX_MESSAGE_LEN: usize = 32 * 1024;

// The largest message that a seeder has a use for is the largest torrent's bitfield, behind its id.
const _: () = assert!((MAX_PIECES.div_ceil(8) as usize) < MAX_MESSAGE_LEN);

/// Bytes before the data of a `piece` message: length prefix, id, index, begin.
pub const BLOCK_HEADER_LEN: usize = 13;

mod id {
    pub(super) const CHOKE: u8 = 0;
    pub(super) const UNCHOKE: u8 = 1;
    pub(super) const INTERESTED: u8 = 2;
    pub(super) const NOT_INTERESTED: u8 = 3;
    pub(super) const HAVE: u8 = 4;
    pub(super) const BITFIELD: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const PIECE: u8 = 7;
    pub(super) const CANCEL: u8 = 8;
    pub(super) const PORT: u8 = 9;
    // BEP 6.
    pub(super) const SUGGEST: u8 = 13;
    pub(super) const HAVE_ALL: u8 = 14;
    pub(super) const HAVE_NONE: u8 = 15;
    pub(super) const REJECT: u8 = 16;
    pub(super) const ALLOWED_FAST: u8 = 17;
    // BEP 10.
    pub(super) const EXTENDED: u8 = 20;
}

/// Why a frame is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than [`MAX_MESSAGE_LEN`].
    #[error("a message of {len} bytes is longer than the {MAX_MESSAGE_LEN} allowed")]
    TooLong {
        /// Bytes after the length prefix.
        len: usize,
    },
    /// Not the length that messages of this id have.
    #[error("a message with id {id} has a wrong length of {len} bytes")]
    Length {
        /// The message's id.
        id: u8,
        /// Bytes after the length prefix, the id included.
        len: usize,
    },
    /// BEP 6: these "may only be sent … after both sides have indicated support".
    #[error("a message with id {id} of the fast extension came without its negotiation")]
    FastWithoutNegotiation {
        /// The message's id.
        id: u8,
    },
}

/// One message of the peer wire protocol. Numbers are as the peer sent them: nothing here has been checked
/// against a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Nothing, so that the connection isn't taken for dead.
    KeepAlive,
    /// The sender won't answer requests.
    Choke,
    /// The sender will answer requests.
    Unchoke,
    /// The sender would send requests.
    Interested,
    /// The sender has no requests to make.
    NotInterested,
    /// The sender has got a piece.
    Have {
        /// Which one.
        index: u32,
    },
    /// The pieces that the sender has, one bit each.
    Bitfield(&'a [u8]),
    /// The sender wants a block.
    Request {
        /// The piece.
        index: u32,
        /// Where in the piece the block starts, in bytes.
        begin: u32,
        /// How many bytes it has.
        length: u32,
    },
    /// A block that was asked for.
    Piece {
        /// The piece.
        index: u32,
        /// Where in the piece the block starts, in bytes.
        begin: u32,
        /// The block's bytes.
        data: &'a [u8],
    },
    /// The sender no longer wants a block.
    Cancel {
        /// The piece.
        index: u32,
        /// Where in the piece the block starts, in bytes.
        begin: u32,
        /// How many bytes it has.
        length: u32,
    },
    /// The sender's DHT port (BEP 5).
    Port(u16),
    /// The sender advises to ask for a piece (BEP 6).
    Suggest {
        /// Which one.
        index: u32,
    },
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// The sender won't answer a request (BEP 6).
    Reject {
        /// The piece.
        index: u32,
        /// Where in the piece the block starts, in bytes.
        begin: u32,
        /// How many bytes it has.
        length: u32,
    },
    /// The sender answers requests for a piece even while it chokes (BEP 6).
    AllowedFast {
        /// Which one.
        index: u32,
    },
    /// A message of an extension (BEP 10).
    Extended {
        /// Which one, by the number that its receiver gave it; 0 is the extended handshake.
        id: u8,
        /// The rest of the message.
        payload: &'a [u8],
    },
    /// A message that we don't know, to be ignored. Its payload is dropped.
    Unknown {
        /// Its id.
        id: u8,
    },
}

impl<'a> Message<'a> {
    /// Reads one frame: the bytes after the length prefix, all of them and no others. An empty one is a
    /// keep-alive. An extended message is unknown where `negotiated` doesn't have it: BEP 3 lets ids be.
    ///
    /// # Errors
    ///
    /// When it is longer than [`MAX_MESSAGE_LEN`], hasn't exactly the length that its id asks for, or belongs
    /// to BEP 6 and `negotiated` doesn't.
    pub fn decode(frame: &'a [u8], negotiated: Extensions) -> Result<Self, MessageError> {
        if frame.len() > MAX_MESSAGE_LEN {
            return Err(MessageError::TooLong { len: frame.len() });
        }
        let Some((&id, payload)) = frame.split_first() else { return Ok(Self::KeepAlive) };
        let length = MessageError::Length { id, len: frame.len() };
        let exactly =
            |payload: &[u8], message: Self| if payload.is_empty() { Ok(message) } else { Err(length) };
        match id {
            id::CHOKE => exactly(payload, Self::Choke),
            id::UNCHOKE => exactly(payload, Self::Unchoke),
            id::INTERESTED => exactly(payload, Self::Interested),
            id::NOT_INTERESTED => exactly(payload, Self::NotInterested),
            id::HAVE => {
                let ([index], rest) = integers(payload).ok_or(length)?;
                exactly(rest, Self::Have { index })
            }
            id::BITFIELD => Ok(Self::Bitfield(payload)),
            id::REQUEST => {
                let ([index, begin, asked], rest) = integers(payload).ok_or(length)?;
                exactly(rest, Self::Request { index, begin, length: asked })
            }
            id::PIECE => {
                let ([index, begin], data) = integers(payload).ok_or(length)?;
                Ok(Self::Piece { index, begin, data })
            }
            id::CANCEL => {
                let ([index, begin, asked], rest) = integers(payload).ok_or(length)?;
                exactly(rest, Self::Cancel { index, begin, length: asked })
            }
            id::PORT => {
                let (port, rest) = payload.split_first_chunk().ok_or(length)?;
                exactly(rest, Self::Port(u16::from_be_bytes(*port)))
            }
            id::SUGGEST..=id::ALLOWED_FAST if !negotiated.fast => {
                Err(MessageError::FastWithoutNegotiation { id })
            }
            id::SUGGEST => {
                let ([index], rest) = integers(payload).ok_or(length)?;
                exactly(rest, Self::Suggest { index })
            }
            id::HAVE_ALL => exactly(payload, Self::HaveAll),
            id::HAVE_NONE => exactly(payload, Self::HaveNone),
            id::REJECT => {
                let ([index, begin, asked], rest) = integers(payload).ok_or(length)?;
                exactly(rest, Self::Reject { index, begin, length: asked })
            }
            id::ALLOWED_FAST => {
                let ([index], rest) = integers(payload).ok_or(length)?;
                exactly(rest, Self::AllowedFast { index })
            }
            id::EXTENDED if negotiated.extended => {
                let (id, payload) = payload.split_first().ok_or(length)?;
                Ok(Self::Extended { id: *id, payload })
            }
            id => Ok(Self::Unknown { id }),
        }
    }

    /// What BEPs call the message of a frame, for those who read about it.
    pub(crate) fn name_of(frame: &[u8]) -> &'static str {
        match frame.first() {
            None => "keep-alive",
            Some(&id::CHOKE) => "choke",
            Some(&id::UNCHOKE) => "unchoke",
            Some(&id::INTERESTED) => "interested",
            Some(&id::NOT_INTERESTED) => "not interested",
            Some(&id::HAVE) => "have",
            Some(&id::BITFIELD) => "bitfield",
            Some(&id::REQUEST) => "request",
            Some(&id::PIECE) => "piece",
            Some(&id::CANCEL) => "cancel",
            Some(&id::PORT) => "port",
            Some(&id::SUGGEST) => "suggest piece",
            Some(&id::HAVE_ALL) => "have all",
            Some(&id::HAVE_NONE) => "have none",
            Some(&id::REJECT) => "reject request",
            Some(&id::ALLOWED_FAST) => "allowed fast",
            Some(&id::EXTENDED) => "extended",
            Some(_) => "unknown",
        }
    }

    /// Appends the message with its length prefix. `Unknown` is written without a payload.
    pub fn encode(&self, out: &mut BytesMut) {
        match *self {
            Self::KeepAlive => out.put_u32(0),
            Self::Choke => put(out, id::CHOKE, &[], &[]),
            Self::Unchoke => put(out, id::UNCHOKE, &[], &[]),
            Self::Interested => put(out, id::INTERESTED, &[], &[]),
            Self::NotInterested => put(out, id::NOT_INTERESTED, &[], &[]),
            Self::Have { index } => put(out, id::HAVE, &[index], &[]),
            Self::Bitfield(bits) => put(out, id::BITFIELD, &[], bits),
            Self::Request { index, begin, length } => put(out, id::REQUEST, &[index, begin, length], &[]),
            Self::Piece { index, begin, data } => put(out, id::PIECE, &[index, begin], data),
            Self::Cancel { index, begin, length } => put(out, id::CANCEL, &[index, begin, length], &[]),
            Self::Port(port) => put(out, id::PORT, &[], &port.to_be_bytes()),
            Self::Suggest { index } => put(out, id::SUGGEST, &[index], &[]),
            Self::HaveAll => put(out, id::HAVE_ALL, &[], &[]),
            Self::HaveNone => put(out, id::HAVE_NONE, &[], &[]),
            Self::Reject { index, begin, length } => put(out, id::REJECT, &[index, begin, length], &[]),
            Self::AllowedFast { index } => put(out, id::ALLOWED_FAST, &[index], &[]),
            Self::Extended { id, payload } => {
                put_len(out, 2 + payload.len());
                out.put_slice(&[id::EXTENDED, id]);
                out.put_slice(payload);
            }
            Self::Unknown { id } => put(out, id, &[], &[]),
        }
    }
}

/// The first `N` big-endian integers of a payload and what follows them; `None` when it is too short.
fn integers<const N: usize>(mut payload: &[u8]) -> Option<([u32; N], &[u8])> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (bytes, rest) = payload.split_first_chunk()?;
        *number = u32::from_be_bytes(*bytes);
        payload = rest;
    }
    Some((numbers, payload))
}

fn put(out: &mut BytesMut, id: u8, integers: &[u32], data: &[u8]) {
    put_len(out, 1 + integers.len() * 4 + data.len());
    out.put_u8(id);
    integers.iter().for_each(|integer| out.put_u32(*integer));
    out.put_slice(data);
}

fn put_len(out: &mut BytesMut, len: usize) {
    // What we write is bounded by MAX_PIECES and MAX_REQUEST_LEN, far below the prefix's range.
    out.put_u32(len as u32);
}

/// What goes before a part of the info dictionary of `data_len` bytes to make an extended message: length
/// prefix, id 20, the receiver's number of the extension, and the bencoded `dict` (BEP 9, 10).
pub(crate) fn extended_header(id: u8, dict: &[u8], data_len: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(6 + dict.len());
    put_len(&mut out, 2 + dict.len() + data_len as usize);
    out.put_slice(&[id::EXTENDED, id]);
    out.put_slice(dict);
    out.freeze()
}

/// What goes before a block's data to make a `piece` message: length prefix, id 7, index, begin (BEP 3).
#[must_use]
pub fn block_header(block: Block) -> [u8; BLOCK_HEADER_LEN] {
    // A block has at most MAX_REQUEST_LEN bytes.
    let [l0, l1, l2, l3] = (9 + block.len()).to_be_bytes();
    let [i0, i1, i2, i3] = block.piece().get().to_be_bytes();
    let [b0, b1, b2, b3] = block.begin().to_be_bytes();
    [l0, l1, l2, l3, id::PIECE, i0, i1, i2, i3, b0, b1, b2, b3]
}
