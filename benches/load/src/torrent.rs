//! The file that is downloaded: how it is cut into pieces and blocks.

use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use distributor_proto::{Metainfo, PieceIndex};

use crate::wire::BLOCK_LEN;

/// A .torrent of one file.
#[derive(Debug)]
pub struct Torrent {
    metainfo: Metainfo,
}

/// A range of a piece, at most [`BLOCK_LEN`] bytes where we ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The piece.
    pub piece: u32,
    /// The first byte, counted from the piece's start.
    pub begin: u32,
    /// In bytes.
    pub len: u32,
}

impl Torrent {
    /// Reads a .torrent.
    ///
    /// # Errors
    ///
    /// When it can't be read, or isn't one of a single file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
        Self::decode(&bytes).with_context(|| format!("{}", path.display()))
    }

    /// The same from its bytes.
    ///
    /// # Errors
    ///
    /// When they aren't a .torrent of a single file.
    pub fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { metainfo: Metainfo::decode(bytes)? })
    }

    /// What both handshakes name it by.
    #[must_use]
    pub fn info_hash(&self) -> [u8; 20] {
        *self.metainfo.info_hash().as_bytes()
    }

    /// The file's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.metainfo.info.geometry().total_len()
    }

    /// Whether there is nothing to download; never so, BEP 3 knows no empty torrent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many pieces there are; at least one.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        self.metainfo.info.geometry().piece_count()
    }

    /// The length of a piece; 0 for one that isn't there. All but the last have the same.
    #[must_use]
    pub fn piece_len(&self, piece: u32) -> u32 {
        let range = self.piece(piece).map(|piece| self.metainfo.info.geometry().piece_range(piece));
        range.map_or(0, |range| (range.end - range.start) as u32)
    }

    /// The SHA-1 of a piece.
    #[must_use]
    pub fn piece_hash(&self, piece: u32) -> Option<&[u8; 20]> {
        self.metainfo.info.piece_hash(self.piece(piece)?)
    }

    /// The blocks of a piece, in order.
    pub fn blocks(&self, piece: u32) -> impl Iterator<Item = Block> + use<> {
        let len = self.piece_len(piece);
        (0..len).step_by(BLOCK_LEN as usize).map(move |begin| Block {
            piece,
            begin,
            len: BLOCK_LEN.min(len - begin),
        })
    }

    /// Where a block lies in the file; `None` where it doesn't.
    #[must_use]
    pub fn range(&self, block: Block) -> Option<Range<usize>> {
        let end = block.begin.checked_add(block.len)?;
        if end > self.piece_len(block.piece) {
            return None;
        }
        let piece = self.metainfo.info.geometry().piece_range(self.piece(block.piece)?);
        let start = usize::try_from(piece.start + u64::from(block.begin)).ok()?;
        Some(start..start + block.len as usize)
    }

    fn piece(&self, index: u32) -> Option<PieceIndex> {
        self.metainfo.info.geometry().piece(index)
    }
}
