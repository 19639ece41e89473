//! Which blocks a connection asks for: a run of pieces in order, either once or round and round through the file.
//!
//! Connections begin at different pieces, evenly spread, so that no two of them ask for the same at the same time.

use std::collections::VecDeque;

use distributor_load::{Block, Torrent};

#[derive(Debug)]
pub(crate) struct Walk {
    next: u32,
    /// How many pieces are still to come.
    left: u64,
    /// Of the piece that is being asked for.
    blocks: VecDeque<Block>,
    /// What was asked for and refused.
    again: VecDeque<Block>,
}

impl Walk {
    /// Without end, from connection `at` of `of`'s place on.
    pub(crate) fn endless(torrent: &Torrent, at: u32, of: u32) -> Self {
        Self::new(first_piece(torrent, at, of), u64::MAX)
    }

    /// Connection `at` of `of`'s part of the file; together they are the whole file.
    pub(crate) fn once(torrent: &Torrent, at: u32, of: u32) -> Self {
        let first = first_piece(torrent, at, of);
        Self::new(first, u64::from(first_piece(torrent, at + 1, of) - first))
    }

    fn new(next: u32, left: u64) -> Self {
        Self { next, left, blocks: VecDeque::new(), again: VecDeque::new() }
    }

    pub(crate) fn next(&mut self, torrent: &Torrent) -> Option<Block> {
        if let Some(block) = self.again.pop_front() {
            return Some(block);
        }
        if self.blocks.is_empty() && self.left > 0 {
            self.left -= 1;
            self.blocks.extend(torrent.blocks(self.next % torrent.pieces()));
            self.next = (self.next + 1) % torrent.pieces();
        }
        self.blocks.pop_front()
    }

    /// A block that won't come, to be asked for once more.
    pub(crate) fn put_back(&mut self, block: Block) {
        self.again.push_back(block);
    }

    /// Whether everything was asked for.
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0 && self.blocks.is_empty() && self.again.is_empty()
    }
}

/// Where connection `at` of `of` begins; the piece after the last where there are no more.
pub(crate) fn first_piece(torrent: &Torrent, at: u32, of: u32) -> u32 {
    (u64::from(torrent.pieces()) * u64::from(at) / u64::from(of.max(1))) as u32
}
