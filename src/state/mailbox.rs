//! What is on its way to the database: for each file the newest, until it is on the disk. Bounded, and putting
//! something in waits for nothing but a short lock. Writes nothing.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use indexmap::IndexMap;

use super::record::Record;
use crate::files::{InodeId, SettledFile};

/// The digests of a torrent's pieces while no disk has them: 20 bytes a piece that every file would otherwise take.
#[derive(Debug)]
pub(crate) struct Pieces(Mutex<Option<Bytes>>);

impl Pieces {
    pub(crate) fn new(digests: Bytes) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(digests))))
    }

    /// None once they are remembered.
    pub(crate) fn digests(&self) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// They can be had from the database from now on.
    pub(super) fn let_go(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What is to be remembered of one file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) file: SettledFile,
    pub(super) record: Record,
    /// None where the database has them already.
    pub(super) pieces: Option<Arc<Pieces>>,
}

impl Entry {
    /// Whether the disk is not known to have the bytes that the record stands for.
    pub(super) fn is_to_be_vouched_for(&self) -> bool {
        self.record.birth.is_none() || self.pieces.as_ref().is_some_and(|pieces| pieces.digests().is_some())
    }
}

/// Records on their way.
#[derive(Debug)]
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    news: Condvar,
    max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: IndexMap<InodeId, Arc<Entry>>,
    cleaning_is_due: bool,
    closing: bool,
}

/// What the writer is to do.
#[derive(Debug)]
pub(super) enum Work {
    Write(Vec<Arc<Entry>>),
    /// Drop the files that were not seen for long; whatever waited before is written.
    Clean,
    End,
}

impl Mailbox {
    pub(super) fn new(max: usize) -> Self {
        Self { inner: Mutex::default(), news: Condvar::new(), max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In the place of what waited for the same inode; `false` if too many others wait.
    pub(super) fn put(&self, mut entry: Entry) -> bool {
        let mut inner = self.lock();
        let id = entry.record.binding.id();
        match inner.waiting.get(&id) {
            // Only the record is new: the digests that wait are still the file's.
            Some(before) if entry.pieces.is_none() => entry.pieces.clone_from(&before.pieces),
            Some(_) => {}
            None if inner.waiting.len() >= self.max => return false,
            None => {}
        }
        inner.waiting.insert(id, Arc::new(entry));
        drop(inner);
        self.news.notify_one();
        true
    }

    pub(super) fn get(&self, ids: &[InodeId]) -> Vec<Option<Arc<Entry>>> {
        let inner = self.lock();
        ids.iter().map(|id| inner.waiting.get(id).cloned()).collect()
    }

    /// They are done with, unless something newer has come for the same inode.
    pub(super) fn remove(&self, done: &[Arc<Entry>]) {
        let mut inner = self.lock();
        for entry in done {
            let id = entry.record.binding.id();
            if inner.waiting.get(&id).is_some_and(|waiting| Arc::ptr_eq(waiting, entry)) {
                inner.waiting.swap_remove(&id);
            }
        }
        // Tens of thousands may have waited at the start, and hardly any will again.
        if inner.waiting.is_empty() {
            inner.waiting.shrink_to_fit();
        }
    }

    pub(super) fn clean(&self) {
        self.lock().cleaning_is_due = true;
        self.news.notify_one();
    }

    /// What waits is to be written at once, and nothing more will come.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.news.notify_one();
    }

    /// Waits for work. What comes within `pause` is written together, as far as `at_once` goes.
    pub(super) fn take(&self, pause: Duration, at_once: usize) -> Work {
        let mut inner = self.lock();
        let mut end = None;
        loop {
            let left = end.map(|end: Instant| end.saturating_duration_since(Instant::now()));
            let batch_is_due = inner.waiting.len() >= at_once || left.is_some_and(|left| left.is_zero());
            if !inner.waiting.is_empty() && (batch_is_due || inner.closing || inner.cleaning_is_due) {
                return Work::Write(inner.waiting.values().take(at_once).cloned().collect());
            }
            if inner.closing {
                return Work::End;
            }
            if std::mem::take(&mut inner.cleaning_is_due) {
                return Work::Clean;
            }
            if inner.waiting.is_empty() {
                inner = self.news.wait(inner).unwrap_or_else(PoisonError::into_inner);
            } else {
                end = end.or_else(|| Some(Instant::now() + pause));
                let left = left.unwrap_or(pause);
                inner = self.news.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Waits this long; `false` at once when it is closed.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let inner = self.lock();
        let waited = self.news.wait_timeout_while(inner, pause, |inner| !inner.closing);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use distributor_proto::InfoHash;

    use crate::files::{Binding, FilePath, Roots};
    use crate::state::record::Day;

    fn entry(inode: u64, pieces: Option<Arc<Pieces>>) -> Entry {
        let roots = Roots::open(&[std::env::temp_dir()]).unwrap();
        let (root, _) = roots.iter().next().unwrap();
        let binding = Binding::for_test(inode, 1, 1, 1);
        let record = Record {
            binding,
            birth: None,
            path: "/file".into(),
            name: b"file".to_vec(),
            private: true,
            piece_len: 1,
            metadata_len: 1,
            info_hash: InfoHash::of_info(b"de"),
            day: Day::of(std::time::UNIX_EPOCH),
        };
        Entry {
            file: SettledFile::new(FilePath::new(root, "file"), Path::new("file"), binding),
            record,
            pieces,
        }
    }

    fn take(mailbox: &Mailbox, at_once: usize) -> Vec<Arc<Entry>> {
        match mailbox.take(Duration::ZERO, at_once) {
            Work::Write(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn takes_no_more_inodes_than_its_maximum_but_always_news_of_those_it_has() {
        let mailbox = Mailbox::new(2);
        assert!(mailbox.put(entry(1, None)));
        assert!(mailbox.put(entry(2, None)));
        assert!(!mailbox.put(entry(3, None)));
        assert!(mailbox.put(entry(2, None)));
        mailbox.remove(&take(&mailbox, 1));
        assert!(mailbox.put(entry(3, None)));
    }

    #[test]
    fn a_record_that_comes_later_keeps_the_digests_that_wait() {
        let mailbox = Mailbox::new(2);
        let pieces = Pieces::new(Bytes::from_static(b"digests"));
        mailbox.put(entry(1, Some(Arc::clone(&pieces))));
        let early = take(&mailbox, 1);
        mailbox.put(entry(1, None));
        mailbox.remove(&early);
        let late = take(&mailbox, 1);
        assert!(late[0].pieces.as_ref().is_some_and(|waiting| Arc::ptr_eq(waiting, &pieces)));
        mailbox.remove(&late);
        mailbox.close();
        assert!(matches!(mailbox.take(Duration::ZERO, 1), Work::End));
    }

    #[test]
    fn cleaning_and_closing_come_after_what_waits() {
        let mailbox = Mailbox::new(10);
        (0..3).for_each(|inode| assert!(mailbox.put(entry(inode, None))));
        mailbox.clean();
        mailbox.close();
        for left in [2, 1] {
            let batch = mailbox.take(Duration::MAX, 2);
            let Work::Write(batch) = batch else { panic!("{batch:?}") };
            assert_eq!(batch.len(), left);
            mailbox.remove(&batch);
        }
        assert!(matches!(mailbox.take(Duration::MAX, 2), Work::End | Work::Clean));
        assert!(!mailbox.pause(Duration::MAX), "there is nothing to wait for any more");
    }
}
