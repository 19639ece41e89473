//! What a thread asks of the disks and has no answer to yet, for others to see: it may be long before the thread itself
//! can say anything again. Asks nothing of its own accord.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The questions of one thread, one at a time.
#[derive(Debug, Default)]
pub(super) struct Disk {
    asked: Mutex<Question>,
    /// Changed with `asked` locked.
    hangs: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Question {
    /// What the last one was about; kept, so that the next one finds the room.
    path: OsString,
    /// None once it was answered.
    since: Option<Instant>,
}

impl Disk {
    /// Waits for the answer. `path` is what is asked about.
    pub(super) fn ask<T>(&self, path: &Path, question: impl FnOnce() -> T) -> T {
        {
            let mut asked = self.lock();
            asked.path.clear();
            asked.path.push(path);
            asked.since = Some(Instant::now());
        }
        let answer = question();
        let mut asked = self.lock();
        asked.since = None;
        self.hangs.send_if_modified(std::mem::take);
        answer
    }

    /// What is being asked, and for how long. If that is longer than `patience`, the disk is said to hang, until it
    /// answers.
    pub(super) fn unanswered(&self, patience: Duration) -> Option<(PathBuf, Duration)> {
        let asked = self.lock();
        let waited = asked.since?.elapsed();
        if waited >= patience {
            self.hangs.send_if_modified(|hangs| !std::mem::replace(hangs, true));
        }
        Some((PathBuf::from(&asked.path), waited))
    }

    /// Tells whether it is said to hang.
    pub(super) fn hangs(&self) -> watch::Receiver<bool> {
        self.hangs.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Question> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_question_until_it_is_answered() {
        let disk = Disk::default();
        for path in ["/first", "/2"] {
            let seen = disk.ask(Path::new(path), || disk.unanswered(Duration::MAX));
            assert_eq!(seen.map(|(path, _)| path), Some(path.into()));
            assert_eq!(disk.unanswered(Duration::MAX), None);
        }
    }

    #[test]
    fn hangs_from_when_patience_is_over_until_it_answers() {
        let disk = Disk::default();
        let told = disk.hangs();
        let hangs = || *told.borrow();
        disk.ask(Path::new("/a"), || {
            disk.unanswered(Duration::MAX);
            assert!(!hangs());
            disk.unanswered(Duration::ZERO);
            assert!(hangs());
            disk.unanswered(Duration::ZERO);
            assert!(hangs());
        });
        assert!(!hangs());
        disk.unanswered(Duration::ZERO);
        assert!(!hangs(), "nothing is asked");
    }
}
