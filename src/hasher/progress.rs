//! How far hashing is: files and bytes to go, how fast it goes, and when it will be done. Owns the numbers; whoever
//! shows them asks. Counts only what is wanted still: a file that is called off leaves nothing to wait for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The rate is that of so long a time, unless it was asked for less often.
const RATE_OVER: Duration = Duration::from_secs(10);
/// The least time between two points of it: over less it would jump.
const RATE_STEP: Duration = Duration::from_millis(250);

/// Says how far hashing is, at any time and from any thread.
#[derive(Clone, Debug, Default)]
pub struct HashingProgress(Arc<Progress>);

/// How far hashing was at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HashingStatus {
    /// Files that wait for it or are being hashed.
    pub files_left: u64,
    /// Their bytes that have not been read.
    pub bytes_left: u64,
    /// Bytes read since there was nothing left the last time.
    pub bytes_done: u64,
    /// Bytes a second over the last ten seconds or since it was last asked, whichever is longer; `None` until it is
    /// known.
    pub rate: Option<u64>,
    /// How long what is left takes at this rate; `None` until that is known.
    pub time_left: Option<Duration>,
}

#[derive(Debug, Default)]
struct Progress {
    files_left: AtomicU64,
    bytes_left: AtomicU64,
    bytes_done: AtomicU64,
    pace: Mutex<Pace>,
}

impl HashingProgress {
    /// How far it is now.
    pub fn status(&self) -> HashingStatus {
        self.status_at(Instant::now())
    }

    fn status_at(&self, now: Instant) -> HashingStatus {
        let bytes_left = self.0.bytes_left.load(Ordering::Relaxed);
        let bytes_done = self.0.bytes_done.load(Ordering::Relaxed);
        let rate = self.pace().look(now, bytes_done);
        HashingStatus {
            files_left: self.0.files_left.load(Ordering::Relaxed),
            bytes_left,
            bytes_done,
            rate,
            time_left: rate.and_then(|rate| bytes_left.checked_div(rate)).map(Duration::from_secs),
        }
    }

    /// A file of so many bytes is to be hashed.
    pub(super) fn begin(&self, bytes: u64, now: Instant) -> Share {
        let mut pace = self.pace();
        if self.0.files_left.fetch_add(1, Ordering::Relaxed) == 0 {
            self.0.bytes_done.store(0, Ordering::Relaxed);
            *pace = Pace::default();
            pace.look(now, 0);
        }
        drop(pace);
        self.0.bytes_left.fetch_add(bytes, Ordering::Relaxed);
        Share { whole: Arc::clone(&self.0), bytes_left: AtomicU64::new(bytes) }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.0.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of it that one file has.
#[derive(Debug)]
pub(super) struct Share {
    whole: Arc<Progress>,
    bytes_left: AtomicU64,
}

impl Share {
    /// So many bytes of the file were read.
    pub(super) fn add(&self, bytes: u64) {
        // Where the file was called off meanwhile, nothing is left to be counted.
        let left = self
            .bytes_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(bytes)));
        let counted = bytes.min(left.unwrap_or(0));
        self.whole.bytes_left.fetch_sub(counted, Ordering::Relaxed);
        self.whole.bytes_done.fetch_add(counted, Ordering::Relaxed);
    }

    /// Nothing more comes of the file; said once.
    pub(super) fn end(&self) {
        let left = self.bytes_left.swap(0, Ordering::Relaxed);
        self.whole.bytes_left.fetch_sub(left, Ordering::Relaxed);
        self.whole.files_left.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When how much was done.
#[derive(Debug, Default)]
struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    /// Takes note of how much is done now, and says how fast that was.
    fn look(&mut self, now: Instant, done: u64) -> Option<u64> {
        // The oldest that is kept is the youngest that is old enough.
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= RATE_OVER) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= RATE_STEP) {
            self.0.push_back((now, done));
        }
        let (at, before) = self.0.front()?;
        let time = now.saturating_duration_since(*at);
        let bytes = u128::from(done.saturating_sub(*before));
        let rate = (time >= RATE_STEP).then(|| bytes * 1_000_000_000 / time.as_nanos())?;
        u64::try_from(rate).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn says_how_much_is_left_how_fast_it_goes_and_how_long_it_takes() {
        let progress = HashingProgress::default();
        assert_eq!(progress.status(), HashingStatus::default());
        let start = Instant::now();
        let file = progress.begin(1000, start);
        let other = progress.begin(500, start);
        file.add(300);
        let status = progress.status_at(start + SECOND);
        assert_eq!((status.files_left, status.bytes_left, status.bytes_done), (2, 1200, 300));
        assert_eq!((status.rate, status.time_left), (Some(300), Some(4 * SECOND)));
        file.add(700);
        file.end();
        other.end();
        let status = progress.status_at(start + 2 * SECOND);
        assert_eq!((status.files_left, status.bytes_left, status.bytes_done), (0, 0, 1000));
    }

    #[test]
    fn a_file_that_is_called_off_leaves_nothing_to_wait_for() {
        let progress = HashingProgress::default();
        let file = progress.begin(1000, Instant::now());
        file.add(400);
        file.end();
        // A lane that hadn't noticed.
        file.add(100);
        let status = progress.status();
        assert_eq!((status.files_left, status.bytes_left, status.bytes_done), (0, 0, 400));
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_not_of_the_idle_time_before() {
        let progress = HashingProgress::default();
        let start = Instant::now();
        progress.begin(10, start).end();
        let later = start + 3600 * SECOND;
        let file = progress.begin(100_000, later);
        file.add(1000);
        assert_eq!(progress.status_at(later + SECOND).rate, Some(1000));
        for second in 2..=30 {
            file.add(if second < 15 { 1000 } else { 100 });
            progress.status_at(later + second * SECOND);
        }
        assert_eq!(progress.status_at(later + 30 * SECOND).rate, Some(100));
    }
}
