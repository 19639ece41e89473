//! The 68 bytes that open a connection (BEP 3).
//!
//! Owns their layout and the reserved bits that announce extensions. Refuses any other protocol string. What is
//! done with the extensions is for those who negotiate them.

use crate::id::{InfoHash, PeerId};

/// Bytes in a handshake.
pub const HANDSHAKE_LEN: usize = 68;

/// The length byte and the protocol string that every handshake begins with.
pub(crate) const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// Bytes up to and including the info hash: what the side that was dialled needs to answer.
pub(crate) const INFO_HASH_END: usize = 48;

/// Why bytes are no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not [`HANDSHAKE_LEN`] bytes.
    #[error("a handshake has {HANDSHAKE_LEN} bytes and this has {len}")]
    Length {
        /// How many bytes there are.
        len: usize,
    },
    /// It begins in another way than BitTorrent's.
    #[error("this is not BitTorrent's handshake")]
    Protocol,
}

/// What a side can do beyond BEP 3, or, where both have said it, what is negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extensions {
    /// The fast extension: have-all, rejects, allowed-fast pieces (BEP 6).
    pub fast: bool,
    /// Extended messages (BEP 10).
    pub extended: bool,
}

impl Extensions {
    /// All that this crate knows.
    pub const ALL: Self = Self { fast: true, extended: true };

    /// BEP 6: "the third least significant bit of the last reserved byte".
    const FAST_BIT: u64 = 0x04;
    /// BEP 10: "bit 20 from the right (counting starts at 0)".
    const EXTENDED_BIT: u64 = 0x10_0000;

    /// The reserved bytes of a handshake that announces these and nothing else.
    #[must_use]
    pub const fn to_reserved(self) -> [u8; 8] {
        let fast = if self.fast { Self::FAST_BIT } else { 0 };
        let extended = if self.extended { Self::EXTENDED_BIT } else { 0 };
        (fast | extended).to_be_bytes()
    }

    /// What the reserved bytes of a handshake announce; bits that we don't know mean nothing.
    #[must_use]
    pub const fn from_reserved(reserved: [u8; 8]) -> Self {
        let bits = u64::from_be_bytes(reserved);
        Self { fast: bits & Self::FAST_BIT != 0, extended: bits & Self::EXTENDED_BIT != 0 }
    }
}

/// One side's handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Bits that announce extensions, see [`Extensions`]; all zero for plain BEP 3.
    pub reserved: [u8; 8],
    /// The torrent that the connection is about.
    pub info_hash: InfoHash,
    /// What this side calls itself.
    pub peer_id: PeerId,
}

impl Handshake {
    /// The bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        let parts = [&PROTOCOL[..], &self.reserved, self.info_hash.as_bytes(), self.peer_id.as_bytes()];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Reads exactly one handshake.
    ///
    /// # Errors
    ///
    /// When there aren't [`HANDSHAKE_LEN`] bytes, or they begin with another protocol string.
    pub fn decode(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let length = HandshakeError::Length { len: bytes.len() };
        let (protocol, rest) = bytes.split_first_chunk().ok_or(length)?;
        let (reserved, rest) = rest.split_first_chunk().ok_or(length)?;
        let (info_hash, rest) = rest.split_first_chunk().ok_or(length)?;
        let peer_id = rest.try_into().map_err(|_| length)?;
        if protocol != PROTOCOL {
            return Err(HandshakeError::Protocol);
        }
        Ok(Self { reserved: *reserved, info_hash: InfoHash::new(*info_hash), peer_id: PeerId::new(peer_id) })
    }
}
