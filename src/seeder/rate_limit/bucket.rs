//! Token buckets, and those that are kept for a while after the last who drew from them has gone.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A bucket holds the bytes of this part of a second.
const DEPTH: u64 = 50;
/// How many buckets are kept that nobody draws from.
pub(super) const MAX_KEPT: usize = 4096;

/// So many bytes a second. Says when it will be full again, from which all else follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: NonZeroU64,
    depth: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A full one, from which `quantum` can be had at a time.
    pub(super) fn new(rate: NonZeroU64, quantum: u64, now: Instant) -> Self {
        let depth = time_of((rate.get() / DEPTH).max(quantum), rate);
        Self { rate, depth, full_at: now }
    }

    /// When it will have so many bytes; a time that is past if it has them.
    pub(super) fn has_at(&self, bytes: u64) -> Instant {
        let empty_at = self.full_at.checked_sub(self.depth).unwrap_or(self.full_at);
        later(empty_at, time_of(bytes, self.rate))
    }

    pub(super) fn take(&mut self, bytes: u64, now: Instant) {
        self.full_at = later(self.full_at.max(now), time_of(bytes, self.rate));
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        self.full_at = self.full_at.checked_sub(time_of(bytes, self.rate)).unwrap_or(self.full_at);
    }
}

fn time_of(bytes: u64, rate: NonZeroU64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).unwrap_or(at)
}

/// Buckets of those who have gone, until they are full and so as good as new ones: or who reconnects again and again
/// would have a full one each time.
#[derive(Debug)]
pub(super) struct Kept<Key> {
    by_key: HashMap<Key, Bucket>,
    /// Which is full first.
    by_time: BTreeSet<(Instant, Key)>,
}

impl<Key> Default for Kept<Key> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), by_time: BTreeSet::new() }
    }
}

impl<Key: Copy + Ord + Hash> Kept<Key> {
    /// Of more than [`MAX_KEPT`] the one goes that would be full first.
    pub(super) fn put(&mut self, key: Key, bucket: Bucket, now: Instant) {
        self.forget_full(now);
        self.take(&key);
        if bucket.full_at > now {
            self.by_key.insert(key, bucket);
            self.by_time.insert((bucket.full_at, key));
        }
        if self.by_key.len() > MAX_KEPT
            && let Some((_, key)) = self.by_time.pop_first()
        {
            self.by_key.remove(&key);
        }
    }

    pub(super) fn take(&mut self, key: &Key) -> Option<Bucket> {
        let bucket = self.by_key.remove(key)?;
        self.by_time.remove(&(bucket.full_at, *key));
        Some(bucket)
    }

    fn forget_full(&mut self, now: Instant) {
        while let Some((_, key)) = self.by_time.first().filter(|(full_at, _)| *full_at <= now).copied() {
            self.take(&key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.by_key.len(), self.by_time.len());
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(now: Instant) -> Bucket {
        let mut bucket = Bucket::new(NonZeroU64::new(1_000_000).unwrap(), 10_000, now);
        bucket.take(20_000, now);
        bucket
    }

    #[test]
    fn keeps_a_bucket_until_it_is_full_again() {
        let now = Instant::now();
        let mut kept = Kept::default();
        kept.put('a', drained(now), now);
        kept.put('b', Bucket::new(NonZeroU64::MIN, 1, now), now);
        assert_eq!(kept.len(), 1, "a full one is as good as a new one");
        assert!(kept.take(&'a').is_some() && kept.take(&'a').is_none());
        kept.put('a', drained(now), now);
        let later = now + Duration::from_millis(20);
        kept.put('c', drained(later), later);
        assert!(kept.take(&'a').is_none());
        assert_eq!(kept.len(), 1);
    }

    #[test]
    fn keeps_no_more_than_it_may() {
        let now = Instant::now();
        let mut kept = Kept::default();
        for n in 0..=MAX_KEPT {
            let mut bucket = drained(now);
            bucket.take(n as u64, now);
            kept.put(n, bucket, now);
        }
        assert_eq!(kept.len(), MAX_KEPT);
        assert!(kept.take(&0).is_none(), "it would have been full first");
        assert!(kept.take(&MAX_KEPT).is_some());
    }
}
