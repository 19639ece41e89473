//! The piece store: files opened and mapped for upload, and the one call that sends from the maps.
//!
//! A watched directory belongs to its users, who may truncate a mapped file at any time. A page past the new end kills
//! a process that touches it (SIGBUS) but only fails a system call that does (EFAULT). So nothing here, and nothing
//! outside, ever makes a reference into a map: addresses go to the kernel, which reads for us. Beside the hasher's
//! kernels and a few system calls of others, what `file` and `send` do is the only `unsafe` code.
//!
//! A file is mapped when somebody first asks for a block of it and unmapped when the last such connection is gone. This
//! file finds and opens them; `file` is one of them, `record` and `proof` what is known of it, `send` what is sent.

mod closer;
mod file;
mod proof;
mod record;
mod send;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tracing::warn;

use self::closer::Closer;
pub(crate) use self::file::{OpenFile, Ready};
use self::record::seconds_since;
pub(crate) use self::send::{MAX_SEGMENTS, Segment, send};
use crate::files::{Binding, Roots, SettledFile};

/// Why a file's blocks can't be had (any more).
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the file is not the one that its torrent was made from")]
    Changed,
    #[error("the file can't be read: {0}")]
    Io(#[from] io::Error),
    /// No fault of the file's: it may be known another time.
    #[error("the file was moved or touched, and what it is to hold can't be read now")]
    Unproven,
    /// No fault of the file's: there may be one a moment later.
    #[error("the system has no descriptor left to open the file with; raise the limit: ulimit -n")]
    NoDescriptor,
}

/// Finds the open file for a torrent, or opens it.
#[derive(Debug)]
pub(crate) struct Store {
    roots: Arc<Roots>,
    open: Mutex<HashMap<Key, Weak<OpenFile>>>,
    /// When there was no descriptor for a file the last time, in seconds since `epoch`, plus one; 0 is never.
    lacked: AtomicU32,
    closer: Closer,
    epoch: Instant,
}

/// What an open file is found by. It is compared with the digests of one torrent: another state of the inode may have
/// others, and what was sent of a file that was hashed proves nothing of one that was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    binding: Binding,
    moved: bool,
}

/// A lack of descriptors is over when nothing was short of one for so long. Until then it isn't said again: some of
/// those who wait get one now and then.
const LACK_IS_OVER: Duration = Duration::from_secs(60);

impl Store {
    pub(crate) fn new(roots: Arc<Roots>) -> Self {
        Self {
            roots,
            open: Mutex::default(),
            lacked: AtomicU32::new(0),
            closer: Closer::start(),
            epoch: Instant::now(),
        }
    }

    /// Opens and maps a file, or shares it with those who have it open. One that was `moved` since it was hashed is
    /// taken for nothing: see [`OpenFile::prepare`]. Waits for the disk, but not for a descriptor where all are taken:
    /// whoever asked has a turn of the disk, which others wait for.
    pub(crate) fn open(&self, file: &SettledFile, moved: bool) -> Result<Arc<OpenFile>, StoreError> {
        let key = Key { binding: file.binding, moved };
        if let Some(open) = self.find(&key) {
            return Ok(open);
        }
        let opened = self.open_file(file)?;
        let opened = OpenFile::map(opened, key, self.epoch, self.closer.clone())?;

        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Two connections may have opened it at the same time; one map serves both.
        if let Some(other) = open.get(&key).and_then(Weak::upgrade) {
            return Ok(other);
        }
        let opened = Arc::new(opened);
        open.retain(|_, other| other.strong_count() > 0);
        open.insert(key, Arc::downgrade(&opened));
        Ok(opened)
    }

    fn open_file(&self, file: &SettledFile) -> Result<File, StoreError> {
        match self.roots.get(file.at.root).open(&file.target) {
            Err(error) if is_lack_of_descriptors(&error) => {
                self.say_lack(&error);
                Err(StoreError::NoDescriptor)
            }
            opened => Ok(opened?),
        }
    }

    fn say_lack(&self, error: &io::Error) {
        let now = seconds_since(self.epoch);
        let before = self.lacked.swap(now, Ordering::Relaxed);
        if before == 0 || u64::from(now.saturating_sub(before)) >= LACK_IS_OVER.as_secs() {
            warn!(%error, "downloads wait for a file to be opened; raise the limit: ulimit -n");
        }
    }

    /// The open file of an inode, hashed or moved to where it is, if a connection holds one.
    pub(crate) fn find_open(&self, binding: &Binding) -> Option<Arc<OpenFile>> {
        [true, false].into_iter().find_map(|moved| self.find(&Key { binding: *binding, moved }))
    }

    fn find(&self, key: &Key) -> Option<Arc<OpenFile>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(key).and_then(Weak::upgrade)
    }
}

/// Whether the process or the system has too many open files.
fn is_lack_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
