//! Which directories the kernel watches, one watch a directory. Keeps inotify's view, which goes by inode, and
//! notify's, which goes by path, from drifting apart. Reads no directory and knows no files.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use notify::{EventHandler, RecommendedWatcher, RecursiveMode, Watcher as _};
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};

use crate::files::InodeId;

/// Why a directory is not watched.
#[derive(Debug)]
pub(super) enum Unwatched {
    /// Nothing is to be watched.
    Unwanted,
    /// The kernel's limit on watches is reached.
    Limit,
    /// The same directory is there under another path too, by a bind mount; inotify knows one name of it.
    Twice(PathBuf),
    /// It went away, or can't be read.
    Failed(io::Error),
}

/// A file of nobody's that is watched like the rest. What is done to it is told after all that happened before.
struct Buoy {
    file: OwnedFd,
    path: PathBuf,
    up: bool,
}

impl Buoy {
    fn new() -> io::Result<Self> {
        let file = memfd_create("distributor", MemfdFlags::CLOEXEC)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { file, path, up: false })
    }

    fn toggle(&mut self) -> io::Result<()> {
        self.up = !self.up;
        Ok(fchmod(&self.file, if self.up { Mode::RUSR } else { Mode::RUSR | Mode::WUSR })?)
    }
}

/// Both maps hold the same pairs.
pub(super) struct Watches {
    /// None where the system has no such files, or lets nobody watch them.
    buoy: Option<Buoy>,
    /// None where nothing is to be watched.
    notify: Option<RecommendedWatcher>,
    by_path: HashMap<PathBuf, InodeId>,
    by_inode: HashMap<InodeId, PathBuf>,
}

impl Watches {
    pub(super) fn new(handler: impl EventHandler) -> notify::Result<Self> {
        let mut notify = notify::recommended_watcher(handler)?;
        let buoy =
            Buoy::new().ok().filter(|buoy| notify.watch(&buoy.path, RecursiveMode::NonRecursive).is_ok());
        Ok(Self { buoy, notify: Some(notify), by_path: HashMap::new(), by_inode: HashMap::new() })
    }

    /// Has the kernel watch nothing at all.
    pub(super) fn none() -> Self {
        Self { buoy: None, notify: None, by_path: HashMap::new(), by_inode: HashMap::new() }
    }

    /// Has the kernel tell of the returned path, after all that happened on the disk until now.
    pub(super) fn mark(&mut self) -> Option<PathBuf> {
        let buoy = self.buoy.as_mut()?;
        buoy.toggle().ok().map(|()| buoy.path.clone())
    }

    /// Watches a directory, or makes sure that it is watched: a watch that the kernel or notify dropped by itself
    /// is made anew. `path` is absolute and has no links in it.
    pub(super) fn add(&mut self, path: &Path, inode: InodeId) -> Result<(), Unwatched> {
        // Notify must forget a path before that path, or that inode, is watched again: adding an inode twice gives
        // the same descriptor, and removing its old path later would take the new one's watch away.
        if self.by_path.get(path).is_some_and(|old| *old != inode) {
            self.remove(path);
        }
        if let Some(other) = self.by_inode.get(&inode).filter(|other| *other != path).cloned() {
            if inode_at(&other) == Some(inode) {
                return Err(Unwatched::Twice(other));
            }
            self.remove(&other);
        }
        let Some(notify) = &mut self.notify else { return Err(Unwatched::Unwanted) };
        match notify.watch(path, RecursiveMode::NonRecursive) {
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
            if let Some(notify) = &mut self.notify {
                // It fails when the directory is gone, and its watch with it.
                let _ = notify.unwatch(path);
            }
        }
    }
}

fn inode_at(path: &Path) -> Option<InodeId> {
    std::fs::symlink_metadata(path).ok().map(|metadata| InodeId::of(&metadata))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_mark_is_told_of_each_time_and_after_what_was_before() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (sender, events) = mpsc::channel();
        let mut watches = Watches::new(move |event: notify::Result<notify::Event>| {
            let _ = sender.send(event);
        })
        .expect("inotify");
        let inode = inode_at(temp.path()).expect("it is there");
        watches.add(temp.path(), inode).expect("it can be watched");
        for round in 0..100 {
            let file = temp.path().join(round.to_string());
            std::fs::write(&file, "x").expect("written");
            let mark = watches.mark().expect("this system has memory files");
            let mut told = Vec::new();
            while told.last() != Some(&mark) {
                let event = events.recv_timeout(Duration::from_secs(60)).expect("the mark is told of");
                told.extend(event.expect("inotify can be read").paths);
            }
            assert!(told.contains(&file), "{told:?}");
        }
    }
}
