//! What is on its way to the database: for each file the newest, until it is on the disk. Bounded, and putting
//! something in waits for nothing but a short lock. Writes nothing.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::cleaning::Cleaning;
use super::entry::Entry;
use crate::files::{Binding, InodeId};

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
    /// Since when the first of those waits.
    since: Option<Instant>,
    /// Those whose files could not be put on the disk.
    put_off: IndexMap<InodeId, Arc<Entry>>,
    /// When they are tried again.
    again: Option<Instant>,
    cleaning: Option<Cleaning>,
    closing: bool,
}

impl Inner {
    fn len(&self) -> usize {
        self.waiting.len().saturating_add(self.put_off.len())
    }

    fn get(&self, id: &InodeId) -> Option<&Arc<Entry>> {
        self.waiting.get(id).or_else(|| self.put_off.get(id))
    }

    fn insert(&mut self, entry: Arc<Entry>, now: Instant) {
        self.since.get_or_insert(now);
        self.waiting.insert(entry.record.binding.id(), entry);
    }

    fn remove(&mut self, id: &InodeId) {
        self.waiting.swap_remove(id);
        self.put_off.swap_remove(id);
        if self.waiting.is_empty() {
            self.since = None;
        }
    }

    /// Lets those that were put off wait like all others.
    fn try_again(&mut self, now: Instant) {
        self.again = None;
        for (_, entry) in std::mem::take(&mut self.put_off) {
            self.insert(entry, now);
        }
    }
}

/// What the writer is to do.
#[derive(Debug)]
pub(super) enum Work {
    Write(Vec<Arc<Entry>>),
    /// To be gone on with for a slice.
    Clean(Cleaning),
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
        match inner.get(&id) {
            Some(before) if !entry.replace(before) => return true,
            None if inner.len() >= self.max => return false,
            Some(_) | None => {}
        }
        inner.put_off.swap_remove(&id);
        inner.insert(Arc::new(entry), Instant::now());
        drop(inner);
        self.news.notify_one();
        true
    }

    pub(super) fn get(&self, ids: &[InodeId]) -> Vec<Option<Arc<Entry>>> {
        let inner = self.lock();
        ids.iter().map(|id| inner.get(id).cloned()).collect()
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
        inner.since = (!inner.waiting.is_empty()).then(Instant::now);
        // Tens of thousands may have waited at the start, and hardly any will again.
        if inner.waiting.is_empty() {
            inner.waiting.shrink_to_fit();
        }
    }

    /// What waits with the digests in the database for the same state of an inode doesn't wait any more: these are
    /// wrong.
    pub(super) fn forget(&self, binding: &Binding) {
        let mut inner = self.lock();
        let id = binding.id();
        if inner.get(&id).is_some_and(|entry| entry.record.binding == *binding && entry.digests().is_none()) {
            inner.remove(&id);
        }
    }

    /// The file could not be put on the disk: it is tried again after `pause`, together with all others of that kind,
    /// unless that was done `max_tries` times, or something newer has come for the same inode. Says whether it is.
    pub(super) fn put_off(&self, entry: &Arc<Entry>, pause: Duration, max_tries: u8) -> bool {
        let mut inner = self.lock();
        let id = entry.record.binding.id();
        if !inner.waiting.get(&id).is_some_and(|waiting| Arc::ptr_eq(waiting, entry)) {
            return true;
        }
        inner.remove(&id);
        let Some(next) = entry.once_more(max_tries).filter(|_| !inner.closing) else { return false };
        inner.put_off.insert(id, Arc::new(next));
        inner.again.get_or_insert_with(|| Instant::now() + pause);
        true
    }

    /// In the place of a round that is under way.
    pub(super) fn clean(&self, cleaning: Cleaning) {
        self.lock().cleaning = Some(cleaning);
        self.news.notify_one();
    }

    /// A slice of it is done, and there is more, unless a new round has been asked for.
    pub(super) fn clean_on(&self, cleaning: Cleaning) {
        self.lock().cleaning.get_or_insert(cleaning);
    }

    /// What waits is to be written at once, and nothing more will come.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closing = true;
        inner.try_again(Instant::now());
        self.news.notify_one();
    }

    /// Waits for work. What comes within `pause` is written together, as far as `at_once` goes, and before anything is
    /// cleaned.
    pub(super) fn take(&self, pause: Duration, at_once: usize) -> Work {
        let mut inner = self.lock();
        loop {
            let now = Instant::now();
            if inner.again.is_some_and(|again| now >= again) {
                inner.try_again(now);
            }
            let waited = inner.since.map(|since| now.saturating_duration_since(since));
            let is_due = inner.waiting.len() >= at_once || waited.is_some_and(|waited| waited >= pause);
            if !inner.waiting.is_empty() && (is_due || inner.closing) {
                return Work::Write(inner.waiting.values().take(at_once).cloned().collect());
            }
            if inner.closing {
                return Work::End;
            }
            if let Some(cleaning) = inner.cleaning.take() {
                return Work::Clean(cleaning);
            }
            let batch = waited.map(|waited| pause.saturating_sub(waited));
            let again = inner.again.map(|again| again.saturating_duration_since(now));
            inner = match [batch, again].into_iter().flatten().min() {
                Some(left) => self.news.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.news.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
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

    use crate::state::entry::tests::{changed, entry, pieces};
    use crate::state::record::Day;

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
        let pieces = pieces();
        mailbox.put(entry(1, Some(Arc::clone(&pieces))));
        let early = take(&mailbox, 1);
        mailbox.put(entry(1, None));
        mailbox.remove(&early);
        let late = take(&mailbox, 1);
        assert!(late[0].pieces().is_some_and(|waiting| Arc::ptr_eq(waiting, &pieces)));
        mailbox.remove(&late);
        mailbox.close();
        assert!(matches!(mailbox.take(Duration::ZERO, 1), Work::End));
    }

    #[test]
    fn forgets_what_waits_without_digests_of_its_own_and_nothing_newer() {
        let mailbox = Mailbox::new(3);
        mailbox.put(entry(1, None));
        mailbox.put(entry(2, Some(pieces())));
        mailbox.put(changed(entry(3, None)));
        let ids = [1, 2, 3].map(|inode| entry(inode, None).record.binding);
        ids.iter().for_each(|binding| mailbox.forget(binding));
        let left = mailbox.get(&ids.map(|binding| binding.id()));
        assert_eq!(left.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn what_is_put_off_is_found_and_tried_again_a_few_times() {
        let mailbox = Mailbox::new(1);
        mailbox.put(entry(1, Some(pieces())));
        for tried_again in [true, true, false] {
            let batch = take(&mailbox, 1);
            assert_eq!(mailbox.put_off(&batch[0], Duration::ZERO, 3), tried_again);
            assert_eq!(mailbox.get(&[batch[0].record.binding.id()])[0].is_some(), tried_again);
            assert_eq!(mailbox.put(entry(2, None)), !tried_again, "it takes the room that it took");
        }
    }

    #[test]
    fn what_is_put_off_waits_unless_all_is_to_end() {
        let mailbox = Mailbox::new(2);
        mailbox.put(entry(1, Some(pieces())));
        assert!(mailbox.put_off(&take(&mailbox, 1)[0], Duration::from_secs(3600), 3));
        mailbox.put(entry(2, None));
        assert_eq!(take(&mailbox, 2).len(), 1);
        mailbox.close();
        let last = take(&mailbox, 2);
        assert_eq!(last.len(), 2);
        assert!(!mailbox.put_off(&last[1], Duration::ZERO, 3), "there is no other time");
    }

    #[test]
    fn what_came_meanwhile_is_not_put_off_with_what_was_tried() {
        let mailbox = Mailbox::new(2);
        mailbox.put(entry(1, Some(pieces())));
        let tried = take(&mailbox, 1);
        mailbox.put(changed(entry(1, Some(pieces()))));
        mailbox.put_off(&tried[0], Duration::from_secs(3600), 3);
        assert_eq!(take(&mailbox, 1)[0].record, changed(entry(1, None)).record);
    }

    #[test]
    fn cleaning_goes_on_while_nothing_is_due_to_be_written() {
        let mailbox = Mailbox::new(10);
        let cleaning = || Cleaning::new(Vec::new(), Day::of(std::time::UNIX_EPOCH));
        mailbox.clean(cleaning());
        assert!(mailbox.put(entry(1, None)));
        let Work::Clean(begun) = mailbox.take(Duration::MAX, 2) else { panic!("nothing is due yet") };
        mailbox.clean_on(begun);
        assert!(mailbox.put(entry(2, None)));
        let batch = mailbox.take(Duration::MAX, 2);
        let Work::Write(batch) = batch else { panic!("{batch:?}") };
        mailbox.remove(&batch);
        assert!(matches!(mailbox.take(Duration::MAX, 2), Work::Clean(_)));
    }

    #[test]
    fn closing_comes_after_what_waits() {
        let mailbox = Mailbox::new(10);
        (0..3).for_each(|inode| assert!(mailbox.put(entry(inode, None))));
        mailbox.clean(Cleaning::new(Vec::new(), Day::of(std::time::UNIX_EPOCH)));
        mailbox.close();
        for left in [2, 1] {
            let batch = mailbox.take(Duration::MAX, 2);
            let Work::Write(batch) = batch else { panic!("{batch:?}") };
            assert_eq!(batch.len(), left);
            mailbox.remove(&batch);
        }
        assert!(matches!(mailbox.take(Duration::MAX, 2), Work::End));
        assert!(!mailbox.pause(Duration::MAX), "there is nothing to wait for any more");
    }
}
