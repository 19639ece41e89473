//! Whether what came are the file's pieces: blocks are put together as they come and hashed when a piece is whole.

use std::collections::HashMap;

use distributor_load::{Block, Torrent};
use sha1::{Digest, Sha1};

#[derive(Debug, Default)]
pub(crate) struct Check {
    /// What has begun to come, by piece.
    pieces: HashMap<u32, Piece>,
    pub(crate) right: u64,
    pub(crate) wrong: u64,
}

#[derive(Debug)]
struct Piece {
    data: Vec<u8>,
    missing: usize,
}

impl Check {
    /// Some bytes of a block that is inside the torrent, `at` bytes after its begin.
    pub(crate) fn take(&mut self, torrent: &Torrent, block: Block, at: u32, bytes: &[u8]) {
        let piece = self.pieces.entry(block.piece).or_insert_with(|| {
            let len = torrent.piece_len(block.piece) as usize;
            Piece { data: vec![0; len], missing: len }
        });
        let start = (block.begin + at) as usize;
        piece.data[start..start + bytes.len()].copy_from_slice(bytes);
        piece.missing = piece.missing.saturating_sub(bytes.len());
        if piece.missing == 0 {
            let right = torrent.piece_hash(block.piece) == Some(&Sha1::digest(&piece.data).into());
            *(if right { &mut self.right } else { &mut self.wrong }) += 1;
            self.pieces.remove(&block.piece);
        }
    }
}
