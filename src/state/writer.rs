//! The thread that writes: takes what waits in the mailbox, sees that the disk has the bytes that a record vouches for,
//! and commits many at a time. Owns every wait for the state's disk that nobody asked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use tracing::{debug, info, warn};

use super::cleaning::{Cleaning, KEEP_DAYS};
use super::database::{Change, Database};
use super::entry::Entry;
use super::mailbox::{Mailbox, Work};
use crate::files::{Binding, Roots, SettledFile, Timestamp};

/// How long records wait for others to be committed with; what is not committed when the program is killed is hashed
/// again.
const PAUSE: Duration = Duration::from_secs(1);
/// How many records one commit takes.
const AT_ONCE: usize = 4096;
/// Up to so many files of one file system are put on the disk one by one, each of which takes some milliseconds. Where
/// there are more, as at a first start, the whole file system is asked for once.
const ONE_BY_ONE: usize = 16;
/// When a commit that failed is tried again: a full disk may have room by then.
const RETRY: Duration = Duration::from_secs(10);
/// When a file that could not be put on the disk is tried again: its mount may be well by then.
const VOUCH_AGAIN: Duration = Duration::from_secs(60);
/// How often that is tried; then its digests stay in memory, and the next start hashes it again.
const MAX_TRIES: u8 = 30;

/// Writes until it is dropped, and then what still waits.
#[derive(Debug)]
pub(crate) struct Writer {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        database: Arc<Database>,
        mailbox: Arc<Mailbox>,
        roots: Arc<Roots>,
    ) -> io::Result<Self> {
        let mut desk = Desk { database, mailbox: Arc::clone(&mailbox), roots, is_failing: false };
        let thread = thread::Builder::new().name("state".into()).spawn(move || desk.work())?;
        Ok(Self { mailbox, thread: Some(thread) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.mailbox.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that remembers files panicked");
        }
    }
}

struct Desk {
    database: Arc<Database>,
    mailbox: Arc<Mailbox>,
    roots: Arc<Roots>,
    /// So that it is said once.
    is_failing: bool,
}

impl Desk {
    fn work(&mut self) {
        loop {
            match self.mailbox.take(PAUSE, AT_ONCE) {
                Work::Write(batch) => {
                    if !self.write(&batch) && !self.mailbox.pause(RETRY) {
                        return;
                    }
                }
                Work::Clean(cleaning) => self.clean(cleaning),
                Work::End => return,
            }
        }
    }

    /// Whether the batch is done with.
    fn write(&mut self, batch: &[Arc<Entry>]) -> bool {
        let mut changes = Vec::with_capacity(batch.len());
        let mut done = Vec::with_capacity(batch.len());
        let synced = self.sync_file_systems(batch);
        for entry in batch {
            match self.change(entry, &synced) {
                Ok(change) => {
                    changes.push(change);
                    done.push(Arc::clone(entry));
                }
                Err(NotVouched::Io(error)) if self.mailbox.put_off(entry, VOUCH_AGAIN, MAX_TRIES) => {
                    debug!(file = ?entry.file.at, %error, "not remembered yet");
                }
                // Its digests stay in memory; the next start hashes it again.
                Err(error) => {
                    self.mailbox.remove(std::slice::from_ref(entry));
                    debug!(file = ?entry.file.at, %error, "not remembered");
                }
            }
        }
        if !changes.is_empty()
            && let Err(trouble) = self.database.write(&changes)
        {
            if !std::mem::replace(&mut self.is_failing, true) {
                warn!(
                    "can't remember files: {trouble}; they are served all the same, and hashed again after a restart \
                     unless this mends itself"
                );
            }
            return false;
        }
        if std::mem::take(&mut self.is_failing) {
            info!("files are remembered again");
        }
        self.mailbox.remove(&done);
        done.iter().for_each(|entry| entry.let_go());
        true
    }

    /// Puts everything on the disk on the file systems of which the batch has many files; says which these were.
    fn sync_file_systems(&self, batch: &[Arc<Entry>]) -> HashSet<u64> {
        let mut files: HashMap<u64, Vec<&SettledFile>> = HashMap::new();
        for entry in batch.iter().filter(|entry| entry.is_to_be_vouched_for()) {
            files.entry(entry.record.binding.id().device).or_default().push(&entry.file);
        }
        files.retain(|_, files| files.len() > ONE_BY_ONE);
        // Any file stands for its file system; the first may be gone.
        let open = |file: &&SettledFile| self.roots.get(file.at.root).open(&file.target).ok();
        files.retain(|_, files| {
            files.iter().find_map(open).is_some_and(|file| rustix::fs::syncfs(file).is_ok())
        });
        files.into_keys().collect()
    }

    fn change(&self, entry: &Entry, synced: &HashSet<u64>) -> Result<Change, NotVouched> {
        let mut record = entry.record.clone();
        let digests = entry.digests();
        if entry.is_to_be_vouched_for() {
            record.birth = self.vouch(entry, synced)?;
        }
        let id = record.binding.id();
        let record = record.encode().ok_or(NotVouched::TooLong)?;
        Ok(Change { id, record, digests })
    }

    /// Sees that the file's bytes are on the disk before its record is: after a power cut there would otherwise be
    /// records of bytes that never got there, under the same times. Nothing happens to the file by this. Gives the
    /// time of the inode's birth.
    fn vouch(&self, entry: &Entry, synced: &HashSet<u64>) -> Result<Option<Timestamp>, NotVouched> {
        let file = self.roots.get(entry.file.at.root).open(&entry.file.target).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound { NotVouched::Gone } else { error.into() }
        })?;
        if !synced.contains(&entry.record.binding.id().device) {
            file.sync_data()?;
        }
        let metadata = file.metadata()?;
        if Binding::of(&metadata) != entry.record.binding {
            return Err(NotVouched::Gone);
        }
        Ok(Timestamp::of_birth(&metadata))
    }

    fn clean(&self, mut cleaning: Cleaning) {
        match cleaning.go_on(&self.database) {
            Ok(None) => self.mailbox.clean_on(cleaning),
            Ok(Some(0)) => {}
            Ok(Some(dropped)) => {
                debug!(dropped, "files that were not seen for {KEEP_DAYS} days are forgotten")
            }
            // The next round begins anew.
            Err(trouble) => debug!(%trouble, "can't drop files that were not seen for long"),
        }
    }
}

/// Why a file can't be remembered.
#[derive(Debug, thiserror::Error)]
enum NotVouched {
    #[error("it has changed since it was hashed, or is gone")]
    Gone,
    #[error("its path or name is longer than any file system's")]
    TooLong,
    /// It may be another time.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use bytes::Bytes;

    use crate::files::FilePath;
    use crate::state::entry::Pieces;
    use crate::state::record::Record;

    /// A writer without its thread, and a file that waits for it.
    fn desk(dir: &Path) -> (Desk, Arc<Pieces>) {
        let path = dir.join("served/sub/file");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"contents").unwrap();
        let roots = Arc::new(Roots::open(&[dir.join("served")]).unwrap());
        let (root, _) = roots.iter().next().unwrap();
        let binding = Binding::of(&fs::metadata(&path).unwrap());
        let record = Record { path, ..Record::for_test(binding) };
        let pieces = Pieces::new(Bytes::from_static(b"digests"));
        let file = SettledFile::new(FilePath::new(root, "sub/file"), Path::new("sub/file"), binding);
        let mailbox = Arc::new(Mailbox::new(10));
        assert!(mailbox.put(Entry::new(file, record, Some(Arc::clone(&pieces)))));
        let database = Arc::new(Database::open(dir).unwrap());
        (Desk { database, mailbox, roots, is_failing: false }, pieces)
    }

    fn batch(desk: &Desk) -> Option<Vec<Arc<Entry>>> {
        match desk.mailbox.take(Duration::ZERO, 10) {
            Work::Write(batch) => Some(batch),
            _ => None,
        }
    }

    fn is_remembered(desk: &Desk, entry: &Entry) -> bool {
        desk.database.records(&[entry.record.binding.id()]).unwrap()[0].is_some()
    }

    #[test]
    fn a_file_that_cannot_be_put_on_the_disk_now_is_remembered_later() {
        let dir = tempfile::tempdir().unwrap();
        let (mut desk, pieces) = desk(dir.path());
        let (sub, aside) = (dir.path().join("served/sub"), dir.path().join("served/aside"));
        // Links are not followed: it can't be opened, and is there all the same.
        fs::rename(&sub, &aside).unwrap();
        symlink(&aside, &sub).unwrap();
        let first = batch(&desk).unwrap();
        assert!(desk.write(&first), "others need not wait for it");
        assert!(!is_remembered(&desk, &first[0]) && pieces.digests().is_some());
        fs::remove_file(&sub).unwrap();
        fs::rename(&aside, &sub).unwrap();
        desk.mailbox.close();
        let again = batch(&desk).expect("it is tried again");
        assert!(desk.write(&again));
        assert!(is_remembered(&desk, &again[0]) && pieces.digests().is_none());
        assert!(batch(&desk).is_none());
    }

    #[test]
    fn a_file_that_is_gone_is_not_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut desk, pieces) = desk(dir.path());
        fs::remove_file(dir.path().join("served/sub/file")).unwrap();
        let first = batch(&desk).unwrap();
        assert!(desk.write(&first));
        assert!(!is_remembered(&desk, &first[0]));
        desk.mailbox.close();
        assert!(batch(&desk).is_none());
        assert!(pieces.digests().is_some(), "whoever has the old torrent still has its digests");
    }
}
