//! When each piece of a torrent went out for the first time in a swarm: by whoever sends, once a piece and without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use distributor_proto::PieceIndex;

/// Relaxed throughout: who reads while pieces go out may miss the last ones.
#[derive(Debug)]
pub(crate) struct FirstSent {
    /// Milliseconds of Unix time for each piece; 0 is never.
    millis: Box<[AtomicU64]>,
}

impl FirstSent {
    /// None of so many pieces has gone out.
    pub(crate) fn none_of(pieces: u32) -> Self {
        Self { millis: (0..pieces).map(|_| AtomicU64::new(0)).collect() }
    }

    /// A block of a piece goes out. The time is asked for, and given back, if it is the first of that piece.
    pub(crate) fn send(&self, piece: PieceIndex, now: impl FnOnce() -> SystemTime) -> Option<u64> {
        let first = self.millis.get(piece.get() as usize)?;
        // Most blocks are of pieces that others went before: those only read.
        if first.load(Relaxed) != 0 {
            return None;
        }
        let since = now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let millis = u64::try_from(since).unwrap_or(u64::MAX).max(1);
        first.compare_exchange(0, millis, Relaxed, Relaxed).is_ok().then_some(millis)
    }

    /// Up to `max` pieces from one on, and when each went out, in milliseconds of Unix time.
    pub(crate) fn page(&self, from: usize, max: usize) -> impl Iterator<Item = (usize, Option<u64>)> {
        let times = self.millis.iter().map(|millis| Some(millis.load(Relaxed)).filter(|millis| *millis != 0));
        times.enumerate().skip(from).take(max)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use distributor_proto::Geometry;

    use super::*;

    #[test]
    fn knows_of_each_piece_when_it_went_out_first() {
        let geometry = Geometry::new(3 * 65_536, 65_536).unwrap();
        let first_sent = FirstSent::none_of(geometry.piece_count());
        let send = |piece, millis| {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            first_sent.send(geometry.piece(piece).unwrap(), || at)
        };
        assert_eq!([send(2, 20), send(0, 30), send(2, 40)], [Some(20), Some(30), None]);
        assert_eq!(first_sent.page(0, 9).collect::<Vec<_>>(), [(0, Some(30)), (1, None), (2, Some(20))]);
        assert_eq!(first_sent.page(1, 1).collect::<Vec<_>>(), [(1, None)]);
        assert_eq!(first_sent.page(3, 9).next(), None);
    }
}
