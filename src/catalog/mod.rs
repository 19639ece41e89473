//! What is offered: paths and info hashes to torrents, and which file of a directory is the newest. Knows nothing of
//! disks; whoever watches them tells it. This file is what is told; `find` is what is asked by name.

mod entry;
mod find;
mod index;
mod page;
mod request;
#[cfg(test)]
mod tests;
mod torrent;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use distributor_proto::{InfoHash, TorrentDigest};
use tokio_util::sync::CancellationToken;

use self::entry::{Entry, Stage};
pub(crate) use self::find::Lookup;
use self::index::Index;
pub(crate) use self::request::{PathError, RequestedPath};
pub(crate) use self::torrent::Torrent;
use crate::files::{FilePath, RootId, Roots, SettledFile, Timestamp};

/// All files that are offered or about to be.
#[derive(Debug)]
pub(crate) struct Catalog {
    roots: Arc<Roots>,
    /// Of each root: cancelled once everything that was there at start is known.
    scanned: Vec<CancellationToken>,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<FilePath, Entry>,
    /// The entries whose mtime is known, newest last.
    by_mtime: BTreeSet<(Timestamp, FilePath)>,
    offered: Index,
    /// No longer offered, but still served to those who have them.
    leaving: Index,
}

impl Inner {
    /// Puts an entry in the place of what was there, and wakes those who waited for that.
    fn replace(&mut self, at: &FilePath, entry: Option<Entry>) -> Option<Arc<Torrent>> {
        let new_mtime = entry.as_ref().and_then(Entry::mtime);
        if let Some(Entry::Ready(torrent)) = &entry {
            self.offered.add(torrent);
        }
        let old = match entry {
            Some(entry) => self.files.insert(at.clone(), entry),
            None => self.files.remove(at),
        };
        let old_mtime = old.as_ref().and_then(Entry::mtime);
        if old_mtime != new_mtime {
            if let Some(mtime) = old_mtime {
                self.by_mtime.remove(&(mtime, at.clone()));
            }
            if let Some(mtime) = new_mtime {
                self.by_mtime.insert((mtime, at.clone()));
            }
        }
        match old? {
            Entry::Coming(coming) => {
                if let Some(over) = coming.over.get() {
                    over.cancel();
                }
                None
            }
            Entry::Ready(torrent) => {
                self.offered.remove(&torrent);
                Some(torrent)
            }
        }
    }
}

impl Catalog {
    pub(crate) fn new(roots: Arc<Roots>) -> Self {
        let scanned = roots.iter().map(|_| CancellationToken::new()).collect();
        Self { roots, scanned, inner: RwLock::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was there at start in this watched directory is known from now on.
    pub(crate) fn set_scanned(&self, root: RootId) {
        self.scanned(root).cancel();
    }

    pub(crate) fn scanned(&self, root: RootId) -> &CancellationToken {
        &self.scanned[root.index()]
    }

    pub(crate) fn are_all_scanned(&self) -> bool {
        self.scanned.iter().all(CancellationToken::is_cancelled)
    }

    /// The file was come upon, modified at that time. Returns the torrent that is withdrawn by this.
    pub(crate) fn set_found(&self, at: &FilePath, mtime: Timestamp) -> Option<Arc<Torrent>> {
        self.write().replace(at, Some(Entry::coming(Stage::Found, Some(mtime))))
    }

    /// The file is there but can't be offered now. Returns the torrent that is withdrawn by this.
    pub(crate) fn set_unsettled(&self, at: &FilePath) -> Option<Arc<Torrent>> {
        let mut inner = self.write();
        // Those who wait for a file that is still not ready go on waiting for the same thing.
        let before = inner.files.get(at);
        let stage = match before {
            Some(Entry::Coming(coming)) => Some(coming.stage),
            Some(Entry::Ready(_)) | None => None,
        };
        if stage == Some(Stage::Unsettled) {
            return None;
        }
        // It is being written after all.
        let mtime = before.filter(|_| stage != Some(Stage::Found)).and_then(Entry::mtime);
        inner.replace(at, Some(Entry::coming(Stage::Unsettled, mtime)))
    }

    /// The file is about to be hashed. Returns the torrent that is withdrawn by this: even if nothing but the inode's
    /// ctime has moved, it isn't known whether its bytes are what they were.
    pub(crate) fn set_hashing(&self, file: &SettledFile) -> Option<Arc<Torrent>> {
        let hashing = Entry::coming(Stage::Hashing, Some(file.binding.mtime()));
        self.write().replace(&file.at, Some(hashing))
    }

    /// The torrent is offered from now on. Returns the one that was in its place.
    pub(crate) fn insert(&self, torrent: Arc<Torrent>) -> Option<Arc<Torrent>> {
        let at = torrent.file().at.clone();
        self.write().replace(&at, Some(Entry::Ready(torrent)))
    }

    /// The file is not offered any more. Returns the torrent that is withdrawn by this.
    pub(crate) fn remove(&self, at: &FilePath) -> Option<Arc<Torrent>> {
        self.write().replace(at, None)
    }

    /// The torrent that is offered at exactly this place.
    pub(crate) fn at(&self, at: &FilePath) -> Option<Arc<Torrent>> {
        match self.read().files.get(at)? {
            Entry::Ready(torrent) => Some(Arc::clone(torrent)),
            Entry::Coming(_) => None,
        }
    }

    /// A torrent is served on to those who have it, until it is [released](Self::release). One that is to be withdrawn is
    /// so before it is: there is no moment then at which nobody is served.
    pub(crate) fn serve_on(&self, torrent: &Arc<Torrent>) {
        self.write().leaving.add(torrent);
    }

    pub(crate) fn release(&self, torrent: &Arc<Torrent>) {
        self.write().leaving.remove(torrent);
    }

    /// A torrent of this info hash whose file is offered, or else one that is served on.
    pub(crate) fn by_info_hash(&self, info_hash: &InfoHash) -> Option<Arc<Torrent>> {
        let inner = self.read();
        inner.offered.get(info_hash).or_else(|| inner.leaving.get(info_hash)).cloned()
    }

    /// The info hash of this digest, if there is a torrent of it that anybody is served.
    pub(crate) fn by_digest(&self, digest: &TorrentDigest) -> Option<InfoHash> {
        let inner = self.read();
        inner.offered.named_by(digest).or_else(|| inner.leaving.named_by(digest))
    }

    /// Whether there is a torrent of this info hash that anybody is served.
    pub(crate) fn is_served(&self, info_hash: &InfoHash) -> bool {
        let inner = self.read();
        inner.offered.get(info_hash).or_else(|| inner.leaving.get(info_hash)).is_some()
    }
}
