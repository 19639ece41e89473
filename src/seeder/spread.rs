//! Which pieces of a torrent this process has uploaded to anybody, and which are to be suggested to a peer next: those
//! that it has not. A seed that suggests what it has sent already sends copies; one that suggests something new to each
//! peer gives them something to trade (BEP 6, "suggest piece").

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use distributor_proto::{Geometry, PieceIndex};

/// Shared by the connections of one torrent. Relaxed throughout: two peers that are given the same piece do no harm.
#[derive(Debug)]
pub(super) struct Spread {
    geometry: Geometry,
    /// A bit for each piece that was uploaded or suggested.
    given: Box<[AtomicU64]>,
    /// Where to look next. It goes round once: after that everything was given.
    cursor: AtomicU32,
}

impl Spread {
    pub(super) fn new(geometry: Geometry) -> Self {
        let words = geometry.piece_count().div_ceil(u64::BITS);
        Self { geometry, given: (0..words).map(|_| AtomicU64::new(0)).collect(), cursor: AtomicU32::new(0) }
    }

    /// A block of this piece goes to somebody.
    pub(super) fn upload(&self, piece: PieceIndex) {
        self.give(piece);
    }

    /// Up to `count` pieces that nobody was sent or told of yet; they count as given from now on.
    pub(super) fn suggest(&self, count: usize) -> impl Iterator<Item = PieceIndex> {
        std::iter::from_fn(|| {
            let index = self.cursor.fetch_add(1, Ordering::Relaxed);
            let piece = self.geometry.piece(index);
            if piece.is_none() {
                // It stays at the end.
                self.cursor.store(self.geometry.piece_count(), Ordering::Relaxed);
            }
            piece
        })
        .filter(|piece| self.give(*piece))
        .take(count)
    }

    /// Whether that is new.
    fn give(&self, piece: PieceIndex) -> bool {
        let (word, bit) = (piece.get() / u64::BITS, 1 << (piece.get() % u64::BITS));
        self.given.get(word as usize).is_some_and(|word| {
            // Most blocks are of pieces that were given before: those only read.
            word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(pieces: u32) -> Spread {
        Spread::new(Geometry::new(u64::from(pieces) * 65_536, 65_536).unwrap())
    }

    fn suggested(spread: &Spread, count: usize) -> Vec<u32> {
        spread.suggest(count).map(PieceIndex::get).collect()
    }

    #[test]
    fn suggests_each_piece_once_and_none_that_was_uploaded() {
        let spread = spread(70);
        spread.upload(spread.geometry.piece(1).unwrap());
        spread.upload(spread.geometry.piece(65).unwrap());
        assert_eq!(suggested(&spread, 3), [0, 2, 3]);
        assert_eq!(suggested(&spread, 0), [0; 0]);
        assert_eq!(suggested(&spread, 100).len(), 65);
        assert_eq!(suggested(&spread, 100), [0; 0]);
        assert_eq!(suggested(&spread, 1), [0; 0]);
    }
}
