//! Which directories the kernel watches, one watch a directory. Keeps inotify's view, which goes by inode, and
//! notify's, which goes by path, from drifting apart. Reads no directory and knows no files.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::{EventHandler, RecommendedWatcher, RecursiveMode, Watcher as _};

/// A directory, wherever it is moved: device and inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), number: metadata.ino() }
    }

    fn at(path: &Path) -> Option<Self> {
        std::fs::symlink_metadata(path).ok().map(|metadata| Self::of(&metadata))
    }
}

/// Why a directory is not watched.
#[derive(Debug)]
pub(super) enum Unwatched {
    /// The kernel's limit on watches is reached.
    Limit,
    /// The same directory is there under another path too, by a bind mount; inotify knows one name of it.
    Twice(PathBuf),
    /// It went away, or can't be read.
    Failed(io::Error),
}

/// Both maps hold the same pairs.
pub(super) struct Watches {
    notify: RecommendedWatcher,
    by_path: HashMap<PathBuf, Inode>,
    by_inode: HashMap<Inode, PathBuf>,
}

impl Watches {
    pub(super) fn new(handler: impl EventHandler) -> notify::Result<Self> {
        let notify = notify::recommended_watcher(handler)?;
        Ok(Self { notify, by_path: HashMap::new(), by_inode: HashMap::new() })
    }

    /// Watches a directory, or makes sure that it is watched: a watch that the kernel or notify dropped by itself
    /// is made anew. `path` is absolute and has no links in it.
    pub(super) fn add(&mut self, path: &Path, inode: Inode) -> Result<(), Unwatched> {
        // Notify must forget a path before that path, or that inode, is watched again: adding an inode twice gives
        // the same descriptor, and removing its old path later would take the new one's watch away.
        if self.by_path.get(path).is_some_and(|old| *old != inode) {
            self.remove(path);
        }
        if let Some(other) = self.by_inode.get(&inode).filter(|other| *other != path).cloned() {
            if Inode::at(&other) == Some(inode) {
                return Err(Unwatched::Twice(other));
            }
            self.remove(&other);
        }
        match self.notify.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.by_path.insert(path.to_owned(), inode);
                self.by_inode.insert(inode, path.to_owned());
                Ok(())
            }
            Err(error) => Err(match error.kind {
                notify::ErrorKind::MaxFilesWatch => Unwatched::Limit,
                notify::ErrorKind::PathNotFound => Unwatched::Failed(io::ErrorKind::NotFound.into()),
                notify::ErrorKind::Io(error) => Unwatched::Failed(error),
                other => Unwatched::Failed(io::Error::other(format!("{other:?}"))),
            }),
        }
    }

    pub(super) fn remove(&mut self, path: &Path) {
        if let Some(inode) = self.by_path.remove(path) {
            self.by_inode.remove(&inode);
            // It fails when the directory is gone, and its watch with it.
            let _ = self.notify.unwatch(path);
        }
    }
}
