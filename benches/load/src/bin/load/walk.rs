//! Which blocks a connection asks for: a run of pieces in order, either once or round and round through the file.
//!
//! Connections begin at different pieces, evenly spread, so that no two of them ask for the same at the same time. Who
//! has come to the end of its part takes half of what another has before it.

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

    /// How many pieces it has not begun; without end, more than any torrent has.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Leaves the second half of what it has not begun to another.
    pub(crate) fn halve(&mut self) -> Self {
        let given = self.left.div_ceil(2);
        self.left -= given;
        Self::new(self.next + self.left as u32, given)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::tests::torrent;

    fn pieces(walk: &mut Walk, torrent: &Torrent) -> Vec<u32> {
        let mut pieces: Vec<_> =
            std::iter::from_fn(|| walk.next(torrent)).take(64).map(|block| block.piece).collect();
        pieces.dedup();
        pieces
    }

    #[test]
    fn parts_are_the_whole_file() {
        let (torrent, _) = torrent(7);
        let mut parts: Vec<_> = (0..3).map(|at| Walk::once(&torrent, at, 3)).collect();
        let all: Vec<_> = parts.iter_mut().flat_map(|walk| pieces(walk, &torrent)).collect();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
        assert!(parts.iter().all(Walk::is_over));
    }

    #[test]
    fn half_of_a_part_is_left_to_another() {
        let (torrent, _) = torrent(7);
        let mut walk = Walk::once(&torrent, 0, 1);
        walk.next(&torrent);
        let mut other = walk.halve();
        assert_eq!(pieces(&mut walk, &torrent), [0, 1, 2, 3]);
        assert_eq!(pieces(&mut other, &torrent), [4, 5, 6]);
    }

    #[test]
    fn more_connections_than_pieces_have_nothing_or_one() {
        let (torrent, _) = torrent(2);
        let parts = (0..5).map(|at| pieces(&mut Walk::once(&torrent, at, 5), &torrent).len());
        assert_eq!(parts.sum::<usize>(), 2);
    }

    #[test]
    fn goes_round_and_round() {
        let (torrent, _) = torrent(3);
        let mut walk = Walk::endless(&torrent, 1, 2);
        assert_eq!(pieces(&mut walk, &torrent)[..4], [1, 2, 0, 1]);
    }
}
