//! What was done for a file lately: the cheap record that spares system calls for each block.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Plus one, so that 0 can be never.
pub(super) fn seconds_since(epoch: Instant) -> u32 {
    u32::try_from(epoch.elapsed().as_secs()).unwrap_or(u32::MAX - 1).saturating_add(1)
}

/// Of one file.
///
/// For residency `mincore` would be exact, but it says "resident" of everything to a process that may not write to the
/// file. A part that the kernel drops within [`Record::WARM`] of its use makes a worker wait for the disk; that takes
/// a machine so short of memory that it evicts pages which were just used.
#[derive(Debug)]
pub(super) struct Record {
    size: u64,
    epoch: Instant,
    // Times are seconds since `epoch`, plus one; 0 is never.
    /// When the inode was last looked at, and nothing had happened to it that isn't taken into account.
    verified: AtomicU32,
    /// How often all that was done before has come to count for nothing.
    age: AtomicU32,
    /// When each part was last used while it was in memory; above that, in the upper half, of which age that is. They only
    /// grow, so that what counts as done goes on to for whoever has seen it do so.
    used: Box<[AtomicU64]>,
}

impl Record {
    /// What is read ahead at once: large enough that a disk is asked seldom, small enough that one block doesn't
    /// wait long. A multiple of the page size.
    const PART: u64 = 1024 * 1024;
    const WARM: Duration = Duration::from_secs(10);

    pub(super) fn new(size: u64, epoch: Instant) -> Self {
        let parts = usize::try_from(size.div_ceil(Self::PART)).unwrap_or(usize::MAX);
        let used = (0..parts).map(|_| AtomicU64::new(0)).collect();
        Self { size, epoch, verified: AtomicU32::new(0), age: AtomicU32::new(0), used }
    }

    pub(super) fn now(&self) -> u32 {
        seconds_since(self.epoch)
    }

    pub(super) fn is_fresh(&self, now: u32) -> bool {
        self.verified.load(Ordering::Acquire) == now
    }

    pub(super) fn mark_fresh(&self, now: u32) {
        self.verified.store(now, Ordering::Release);
    }

    pub(super) fn mark_stale(&self) {
        self.mark_fresh(0);
    }

    pub(super) fn age(&self) -> u32 {
        self.age.load(Ordering::Acquire)
    }

    /// What is warm, and what those make so who are at it, counts for nothing from now on.
    pub(super) fn begin_age(&self) -> u32 {
        self.age.fetch_add(1, Ordering::AcqRel).wrapping_add(1)
    }

    fn parts(&self, range: &Range<u64>) -> &[AtomicU64] {
        let first = usize::try_from(range.start / Self::PART).unwrap_or(usize::MAX);
        let end = usize::try_from(range.end.div_ceil(Self::PART)).unwrap_or(usize::MAX);
        self.used.get(first..end).unwrap_or_default()
    }

    pub(super) fn is_warm(&self, range: &Range<u64>, now: u32, age: u32) -> bool {
        self.parts(range).iter().all(|part| {
            let stamp = part.load(Ordering::Relaxed);
            // The lower half.
            #[expect(clippy::cast_possible_truncation)]
            let used = stamp as u32;
            let counts = used != 0 && stamp >= stamp_of(age, 0);
            let warm = counts && u64::from(now.saturating_sub(used)) < Self::WARM.as_secs();
            if warm && used != now {
                part.fetch_max(stamp_of(age, now), Ordering::Relaxed);
            }
            warm
        })
    }

    pub(super) fn mark_warm(&self, range: &Range<u64>, now: u32, age: u32) {
        let stamp = stamp_of(age, now);
        for part in self.parts(range) {
            part.fetch_max(stamp, Ordering::Relaxed);
        }
    }

    /// The whole parts that the range touches, as far as the file goes.
    pub(super) fn widen(&self, range: &Range<u64>) -> Range<u64> {
        let start = range.start / Self::PART * Self::PART;
        let end = range.end.div_ceil(Self::PART).saturating_mul(Self::PART).min(self.size);
        start..end
    }
}

fn stamp_of(age: u32, now: u32) -> u64 {
    u64::from(age) << 32 | u64::from(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_whole_parts_and_no_more() {
        let size = 2 * Record::PART + 10;
        let record = Record::new(size, Instant::now());
        let block = Record::PART + 5..Record::PART + 6;
        assert!(!record.is_warm(&block, 1, 0));
        let whole = record.widen(&block);
        assert_eq!(whole, Record::PART..2 * Record::PART);
        record.mark_warm(&whole, 1, 0);
        assert!(record.is_warm(&block, 1, 0));
        assert!(!record.is_warm(&(0..1), 1, 0));
        assert!(!record.is_warm(&(2 * Record::PART - 1..2 * Record::PART + 1), 1, 0));
        assert_eq!(record.widen(&(size - 1..size)), 2 * Record::PART..size);
    }

    #[test]
    fn takes_a_part_for_cold_that_was_not_used_for_a_while() {
        let record = Record::new(Record::PART, Instant::now());
        let lasts = u32::try_from(Record::WARM.as_secs()).unwrap();
        let block = 0..1;
        record.mark_warm(&block, 1, 0);
        assert!(record.is_warm(&block, lasts, 0));
        assert!(record.is_warm(&block, 2 * lasts - 1, 0), "it was used in between");
        assert!(!record.is_warm(&block, 3 * lasts - 1, 0));
    }

    #[test]
    fn what_was_warm_before_counts_no_more_in_another_age() {
        let record = Record::new(Record::PART, Instant::now());
        let block = 0..1;
        record.mark_warm(&block, 5, 0);
        let age = record.begin_age();
        assert!(!record.is_warm(&block, 5, age));
        record.mark_warm(&block, 6, 0);
        assert!(!record.is_warm(&block, 6, age), "that was begun before");
        record.mark_warm(&block, 6, age);
        record.mark_warm(&block, 7, 0);
        assert!(record.is_warm(&block, 6, age));
        assert!(record.is_warm(&block, 6, 0), "what was seen last is good for those who began before");
    }
}
