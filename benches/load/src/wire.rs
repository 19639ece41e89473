//! The bytes of the peer protocol: ids, lengths and the few messages that either program sends.

use crate::torrent::Block;

/// The block that everybody asks for, in bytes.
pub const BLOCK_LEN: u32 = 16 * 1024;
/// A handshake, in bytes (BEP 3).
pub const HANDSHAKE_LEN: usize = 68;
/// What comes before the data in a `piece` message: its length, id, index and begin.
pub const PIECE_HEADER_LEN: usize = 13;
/// A `request` (and a `reject`) with its length.
pub const REQUEST_LEN: usize = 17;

/// Message ids (BEP 3, 6, 10).
pub mod id {
    #![allow(missing_docs)]
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const HAVE_NONE: u8 = 15;
    pub const REJECT: u8 = 16;
    pub const EXTENDED: u8 = 20;
}

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// The bit of BEP 6, in the last reserved byte.
const FAST: u8 = 0x04;
/// The bit of BEP 10, in the sixth.
const EXTENDED: u8 = 0x10;

/// What a handshake says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The torrent it is about.
    pub info_hash: [u8; 20],
    /// Who says it.
    pub peer_id: [u8; 20],
    /// The fast extension (BEP 6).
    pub fast: bool,
    /// The extension protocol (BEP 10).
    pub extended: bool,
}

impl Handshake {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[25] = if self.extended { EXTENDED } else { 0 };
        bytes[27] = if self.fast { FAST } else { 0 };
        bytes[28..48].copy_from_slice(&self.info_hash);
        bytes[48..].copy_from_slice(&self.peer_id);
        bytes
    }

    /// `None` for bytes that begin another protocol.
    #[must_use]
    pub fn decode(bytes: &[u8; HANDSHAKE_LEN]) -> Option<Self> {
        let (mut info_hash, mut peer_id) = ([0; 20], [0; 20]);
        info_hash.copy_from_slice(&bytes[28..48]);
        peer_id.copy_from_slice(&bytes[48..]);
        let (fast, extended) = (bytes[27] & FAST != 0, bytes[25] & EXTENDED != 0);
        bytes.starts_with(PROTOCOL).then_some(Self { info_hash, peer_id, fast, extended })
    }
}

/// A message that is a length and an id.
#[must_use]
pub fn bare(id: u8) -> [u8; 5] {
    [0, 0, 0, 1, id]
}

/// Asks for a block.
#[must_use]
pub fn request(block: Block) -> [u8; REQUEST_LEN] {
    let mut bytes = [0; REQUEST_LEN];
    bytes[3] = REQUEST_LEN as u8 - 4;
    bytes[4] = id::REQUEST;
    bytes[5..9].copy_from_slice(&block.piece.to_be_bytes());
    bytes[9..13].copy_from_slice(&block.begin.to_be_bytes());
    bytes[13..].copy_from_slice(&block.len.to_be_bytes());
    bytes
}

/// What precedes the block's data.
#[must_use]
pub fn piece_header(block: Block) -> [u8; PIECE_HEADER_LEN] {
    let mut bytes = [0; PIECE_HEADER_LEN];
    bytes[..4].copy_from_slice(&(block.len + PIECE_HEADER_LEN as u32 - 4).to_be_bytes());
    bytes[4] = id::PIECE;
    bytes[5..9].copy_from_slice(&block.piece.to_be_bytes());
    bytes[9..].copy_from_slice(&block.begin.to_be_bytes());
    bytes
}

/// The big-endian number at `at`; `None` past the end.
#[must_use]
pub fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The block that the body of a `request` or `reject` names (index, begin, length).
#[must_use]
pub fn block(body: &[u8]) -> Option<Block> {
    Some(Block { piece: number(body, 0)?, begin: number(body, 4)?, len: number(body, 8)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let handshake = Handshake { info_hash: [1; 20], peer_id: [2; 20], fast: true, extended: false };
        assert_eq!(Handshake::decode(&handshake.encode()), Some(handshake));
        let wanted = Block { piece: 7, begin: 0x1_4000, len: BLOCK_LEN };
        assert_eq!(block(&request(wanted)[5..]), Some(wanted));
        assert_eq!(piece_header(wanted), [0, 0, 0x40, 9, 7, 0, 0, 0, 7, 0, 1, 0x40, 0]);
    }
}
