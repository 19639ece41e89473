//! Which pieces of a torrent this process has uploaded to anybody, and which are to be suggested to a peer next: those
//! that it has not. A seed that suggests what it has sent already sends copies; one that suggests something new to each
//! peer gives them something to trade (BEP 6, "suggest piece").

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::SystemTime;

use distributor_proto::{Geometry, PieceIndex};

use crate::traffic::{FirstSent, Tally};

/// Shared by the connections of one torrent. Relaxed throughout: two peers that are given the same piece do no harm.
#[derive(Debug)]
pub(super) struct Spread {
    geometry: Geometry,
    /// A bit for each piece that was uploaded or suggested.
    given: Box<[AtomicU64]>,
    first_sent: Arc<FirstSent>,
    tally: Arc<Tally>,
    /// Where to look next. It goes round once: after that everything was given.
    cursor: AtomicU32,
}

impl Spread {
    /// Of a swarm that begins now, in whose tally it is counted how far the pieces have gone out.
    pub(super) fn new(geometry: Geometry, tally: Arc<Tally>) -> Self {
        let first_sent = Arc::new(FirstSent::none_of(geometry.piece_count()));
        tally.begin(&first_sent);
        let words = geometry.piece_count().div_ceil(u64::BITS);
        let given = (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { geometry, given, first_sent, tally, cursor: AtomicU32::new(0) }
    }

    /// A block of this piece goes to somebody. The time is asked for if it is the first.
    pub(super) fn upload(&self, piece: PieceIndex, now: impl FnOnce() -> SystemTime) {
        if let Some(millis) = self.first_sent.send(piece, now) {
            mark(&self.given, piece);
            self.tally.add_piece(millis);
        }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
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
        .filter(|piece| mark(&self.given, *piece))
        .take(count)
    }
}

/// Whether that is new.
fn mark(pieces: &[AtomicU64], piece: PieceIndex) -> bool {
    let (word, bit) = (piece.get() / u64::BITS, 1 << (piece.get() % u64::BITS));
    pieces.get(word as usize).is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn spread(pieces: u32) -> Spread {
        Spread::new(Geometry::new(u64::from(pieces) * 65_536, 65_536).unwrap(), Arc::default())
    }

    fn suggested(spread: &Spread, count: usize) -> Vec<u32> {
        spread.suggest(count).map(PieceIndex::get).collect()
    }

    #[test]
    fn suggests_each_piece_once_and_none_that_was_uploaded() {
        let spread = spread(70);
        spread.upload(spread.geometry.piece(1).unwrap(), SystemTime::now);
        spread.upload(spread.geometry.piece(65).unwrap(), SystemTime::now);
        assert_eq!(suggested(&spread, 3), [0, 2, 3]);
        assert_eq!(suggested(&spread, 0), [0; 0]);
        assert_eq!(suggested(&spread, 100).len(), 65);
        assert_eq!(suggested(&spread, 100), [0; 0]);
        assert_eq!(suggested(&spread, 1), [0; 0]);
    }

    #[test]
    fn counts_each_piece_that_goes_out_once_and_none_that_is_only_suggested() {
        let spread = spread(70);
        let at = |millis| move || UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(suggested(&spread, 2), [0, 1]);
        assert_eq!((spread.tally().pieces_sent(), spread.tally().last_first_sent()), (0, None));
        for (piece, millis) in [(0, 10), (69, 20), (0, 30)] {
            spread.upload(spread.geometry.piece(piece).unwrap(), at(millis));
        }
        assert_eq!((spread.tally().pieces_sent(), spread.tally().last_first_sent()), (2, Some(20)));
    }
}
