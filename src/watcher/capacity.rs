//! How many paths are kept in mind, by all threads that watch together. Counts, and nothing else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Paths of files, directories and links: at a few hundred bytes each it is memory that sets the limit.
const MAX_ENTRIES: usize = 4_000_000;

#[derive(Debug)]
pub(super) struct Capacity {
    max: usize,
    taken: AtomicUsize,
    said_full: AtomicBool,
}

impl Capacity {
    pub(super) fn new() -> Self {
        Self { max: MAX_ENTRIES, taken: AtomicUsize::new(0), said_full: AtomicBool::new(false) }
    }

    /// Takes the room of one path, if there is any; if there is none, that is said once.
    pub(super) fn take(&self) -> bool {
        let one_more = |taken: usize| (taken < self.max).then(|| taken + 1);
        let took = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if !took && !self.said_full.swap(true, Ordering::Relaxed) {
            tracing::error!("there are more than {} files and directories; the rest is left out", self.max);
        }
        took
    }

    /// Of a path that was taken.
    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_more_than_there_is_and_what_comes_back_again() {
        let capacity = Capacity { max: 2, ..Capacity::new() };
        assert!(capacity.take() && capacity.take());
        assert!(!capacity.take());
        assert!(!capacity.take());
        capacity.give_back();
        assert!(capacity.take());
        assert!(!capacity.take());
    }
}
