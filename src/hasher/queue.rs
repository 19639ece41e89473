//! What is hashed next: a piece of the newest file that is wanted, the likeliest to be asked for, even while an older
//! one of 100 GB is under way. Owns the order of the files of one device and the bound on open ones; opens and reads
//! nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::job::{Job, OpenFile, Piece};
use super::kernel::MAX_LANES;
use super::lanes::MAX_PARKED;
use crate::files::Timestamp;

/// Files are held open beyond those in lanes only where newer ones came in between; so many for each thread in all.
const MAX_OPEN_PER_THREAD: usize = 4 * MAX_LANES;
const _: () =
    assert!(MAX_OPEN_PER_THREAD > MAX_LANES + MAX_PARKED + 1, "where all are open, some have pieces to give");

/// A job's place in the order: by the file's mtime, then by when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(Timestamp, u64);

/// What a thread is to do next.
#[derive(Debug)]
pub(super) enum Task {
    /// Open the file, then say so to [`Queue::opened`].
    Open(Place, Arc<Job>, Arc<()>),
    Hash(Place, Piece),
    /// Close the file, which may take its time as a read may.
    Close(Arc<OpenFile>),
}

#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
    max_open: usize,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: BTreeMap<Place, Arc<Job>>,
    /// Files with pieces that no lane has taken, and the next of these.
    open: BTreeMap<Place, (Arc<OpenFile>, u32)>,
    /// Open files that nobody wants any more; to be closed by those who may wait for the disk, and under no lock.
    unwanted: Vec<Arc<OpenFile>>,
    /// Held by every open file.
    opened: Arc<()>,
    arrived: u64,
    closed: bool,
}

impl Queue {
    pub(super) fn new(threads: usize) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), max_open: threads * MAX_OPEN_PER_THREAD }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, job: Arc<Job>) -> Place {
        let mut inner = self.lock();
        inner.arrived += 1;
        let place = Place(job.file.binding.mtime(), inner.arrived);
        inner.waiting.insert(place, job);
        drop(inner);
        self.changed.notify_one();
        place
    }

    /// The file of a job that was [to be opened](Task::Open) is open: its pieces can be taken.
    pub(super) fn opened(&self, place: Place, file: Arc<OpenFile>) {
        let mut inner = self.lock();
        // Called off meanwhile, perhaps after its removal from here.
        if !file.job.is_over() {
            let for_others = file.piece_count() > 1;
            inner.open.insert(place, (file, 0));
            drop(inner);
            if for_others {
                self.changed.notify_all();
            }
        }
    }

    /// Nobody wants it any more, or it has failed; the caller has ended the job before.
    pub(super) fn remove(&self, place: Place) {
        let mut inner = self.lock();
        inner.waiting.remove(&place);
        if let Some((file, _)) = inner.open.remove(&place) {
            inner.unwanted.push(file);
            drop(inner);
            self.changed.notify_one();
        }
    }

    /// Files that are to be closed even while there is something else to do.
    pub(super) fn unwanted(&self) -> Vec<Arc<OpenFile>> {
        std::mem::take(&mut self.lock().unwanted)
    }

    /// There is nothing more to do from now on, and nobody waits.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.clear();
        let open = std::mem::take(&mut inner.open);
        inner.unwanted.extend(open.into_values().map(|(file, _)| file));
        drop(inner);
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The place of what would be taken next: the newest file's.
    pub(super) fn newest(&self) -> Option<Place> {
        let inner = self.lock();
        let waiting = inner.waiting.last_key_value().map(|(place, _)| *place);
        waiting.max(inner.open.last_key_value().map(|(place, _)| *place))
    }

    /// What is to be done next, if anything is.
    pub(super) fn take(&self) -> Option<Task> {
        self.lock().take(self.max_open)
    }

    /// The same, but waits for it; `None` once the queue is closed.
    pub(super) fn wait(&self) -> Option<Task> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(task) = inner.take(self.max_open) {
                return Some(task);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Inner {
    fn take(&mut self, max_open: usize) -> Option<Task> {
        if let Some(file) = self.unwanted.pop() {
            return Some(Task::Close(file));
        }
        loop {
            // Failed, or called off.
            if let Some(entry) = self.open.last_entry()
                && entry.get().0.job.is_over()
            {
                return Some(Task::Close(entry.remove().0));
            }
            let newest_open = self.open.last_key_value().map(|(place, _)| *place);
            // This handle is one of the count.
            if Arc::strong_count(&self.opened) <= max_open
                && let Some(entry) = self.waiting.last_entry()
                && newest_open.is_none_or(|open| open < *entry.key())
            {
                let (place, job) = entry.remove_entry();
                return Some(Task::Open(place, job, Arc::clone(&self.opened)));
            }
            let mut entry = self.open.last_entry()?;
            let place = *entry.key();
            let (file, next) = entry.get_mut();
            let piece = Piece::new(Arc::clone(file), *next);
            *next += 1;
            if *next >= file.piece_count() {
                entry.remove();
            }
            if let Some(piece) = piece {
                return Some(Task::Hash(place, piece));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::files::{Binding, FilePath, Roots, SettledFile};
    use crate::hasher::HashingProgress;

    fn job(roots: &Roots, dir: &Path, name: &str, mtime: i64, len: usize) -> Arc<Job> {
        std::fs::write(dir.join(name), vec![0; len]).unwrap();
        let file = std::fs::File::options().write(true).open(dir.join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(mtime.cast_unsigned()))
            .unwrap();
        let binding = Binding::of(&file.metadata().unwrap());
        let at = FilePath::new(roots.iter().next().unwrap().0, name);
        let share = HashingProgress::default().begin(binding.size(), std::time::Instant::now());
        let file = SettledFile { at, target: Path::new(name).into(), binding };
        Arc::new(Job::new(file, true, share, Arc::default()))
    }

    /// Takes the next task and does it as far as the queue is concerned; says which file it was of, and which piece.
    fn step(roots: &Roots, queue: &Queue) -> Option<(String, Option<Piece>)> {
        let name = |job: &Job| String::from_utf8(job.file.name().to_vec()).unwrap();
        Some(match queue.take()? {
            Task::Open(place, job, counted) => {
                let name = name(&job);
                queue.opened(place, Arc::new(OpenFile::open(roots, job, counted).unwrap()));
                (name, None)
            }
            Task::Hash(_, piece) => (name(piece.job()), Some(piece)),
            Task::Close(_) => return step(roots, queue),
        })
    }

    const PIECE: usize = 64 * 1024;

    #[test]
    fn the_newest_file_comes_first_even_when_an_older_one_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::open(&[dir.path().to_owned()]).unwrap();
        let queue = Queue::new(1);
        queue.push(job(&roots, dir.path(), "old", 1, 3 * PIECE));
        queue.push(job(&roots, dir.path(), "older", 0, PIECE));
        let next = || step(&roots, &queue).map(|(name, piece)| (name, piece.is_some()));
        let (opened, hashed) =
            (|name: &str| Some((name.into(), false)), |name: &str| Some((name.into(), true)));
        assert_eq!(next(), opened("old"));
        assert_eq!(next(), hashed("old"));
        queue.push(job(&roots, dir.path(), "new", 2, PIECE));
        assert_eq!(next(), opened("new"));
        assert_eq!(next(), hashed("new"));
        assert_eq!(next(), hashed("old"));
        assert_eq!(next(), hashed("old"));
        assert_eq!(next(), opened("older"));
        assert_eq!(next(), hashed("older"));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_removed_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::open(&[dir.path().to_owned()]).unwrap();
        let queue = Queue::new(1);
        let waiting = queue.push(job(&roots, dir.path(), "waiting", 1, PIECE));
        queue.remove(waiting);
        assert!(step(&roots, &queue).is_none());
        let open = queue.push(job(&roots, dir.path(), "open", 1, 3 * PIECE));
        step(&roots, &queue).unwrap();
        queue.remove(open);
        assert!(step(&roots, &queue).is_none());
        let over = job(&roots, dir.path(), "over", 1, PIECE);
        queue.push(Arc::clone(&over));
        let Some(Task::Open(place, taken, counted)) = queue.take() else { panic!("there is a file to open") };
        assert!(over.end());
        queue.opened(place, Arc::new(OpenFile::open(&roots, taken, counted).unwrap()));
        assert!(step(&roots, &queue).is_none());
    }

    #[test]
    fn who_calls_a_file_off_leaves_it_to_the_threads_to_close_it() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::open(&[dir.path().to_owned()]).unwrap();
        let queue = Queue::new(1);
        let closes = |task| matches!(task, Some(Task::Close(file)) if Arc::strong_count(&file) == 1);
        let removed = queue.push(job(&roots, dir.path(), "removed", 1, 3 * PIECE));
        step(&roots, &queue).unwrap();
        queue.remove(removed);
        assert!(closes(queue.take()));
        assert!(queue.take().is_none());

        let failed = job(&roots, dir.path(), "failed", 1, 3 * PIECE);
        queue.push(Arc::clone(&failed));
        step(&roots, &queue).unwrap();
        assert!(failed.end());
        assert!(closes(queue.take()));
        assert!(queue.take().is_none());

        queue.push(job(&roots, dir.path(), "left", 1, 3 * PIECE));
        step(&roots, &queue).unwrap();
        queue.close();
        assert_eq!(queue.unwanted().len(), 1);
    }

    #[test]
    fn only_so_many_files_are_open_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::open(&[dir.path().to_owned()]).unwrap();
        let queue = Queue::new(1);
        let mut pieces = Vec::new();
        for n in 0..2 * MAX_OPEN_PER_THREAD {
            queue.push(job(&roots, dir.path(), &n.to_string(), i64::try_from(n).unwrap(), 2 * PIECE));
            pieces.push(step(&roots, &queue).unwrap());
        }
        let opened = pieces.iter().filter(|(_, piece)| piece.is_none()).count();
        assert_eq!(opened, MAX_OPEN_PER_THREAD);
        // Where no more may be opened, those that are open give theirs.
        drop(pieces);
        let (mut opened, mut hashed) = (opened, MAX_OPEN_PER_THREAD);
        while let Some((_, piece)) = step(&roots, &queue) {
            match piece {
                None => opened += 1,
                Some(_) => hashed += 1,
            }
        }
        assert_eq!((opened, hashed), (2 * MAX_OPEN_PER_THREAD, 4 * MAX_OPEN_PER_THREAD));
    }

    #[test]
    fn closing_ends_every_wait() {
        let queue = Queue::new(1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.wait().is_none());
            queue.close();
            assert!(waiting.join().unwrap());
        });
        assert!(queue.is_closed());
    }
}
