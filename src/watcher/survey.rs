//! Where to look, and when: on news, on request, at a file's time, and everywhere at the start and after events were
//! lost. Has directories watched. How they are read is in `sweep`; what is found at a path is judged in `look`.

use std::collections::BTreeSet;
use std::fs::ReadDir;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::capacity::Capacity;
use super::disk::Disk;
use super::inbox::News;
use super::look::{Found, is_readable};
use super::mounts::Mounts;
use super::names::LeftOut;
use super::outlet::{Outlet, Stopped};
use super::rounds::POLL;
use super::settle::{Heard, Rules};
use super::sweep::Sweep;
use super::tree::{Directory, Entry, Kind, Tree};
use super::trees::{RootState, Trees};
use super::watches::{Unwatched, Watches};
use crate::files::{FilePath, InodeId, RootId, Roots};

/// What was set, and what all surveys share.
#[derive(Clone)]
pub(super) struct Plan {
    /// Whether to find out which mounts don't tell of all that happens in them, and to poll those.
    pub(super) ask_mounts: bool,
    pub(super) left_out: Arc<LeftOut>,
    pub(super) rules: Rules,
    pub(super) capacity: Arc<Capacity>,
}

/// Of some of the watched directories.
pub(super) struct Survey {
    pub(super) roots: Arc<Roots>,
    pub(super) trees: Trees,
    /// Whatever waits for a disk is asked through this.
    pub(super) disk: Arc<Disk>,
    pub(super) watches: Watches,
    /// None where it is not asked for which mounts don't tell of all.
    mounts: Option<Mounts>,
    pub(super) left_out: Arc<LeftOut>,
    pub(super) rules: Rules,
    pub(super) capacity: Arc<Capacity>,
    pub(super) out: Outlet,
    /// When to look at which file again, each file at most once.
    pub(super) timers: BTreeSet<(Instant, FilePath)>,
    /// Directories that no event, or not every event, is told of.
    pub(super) polled: BTreeSet<FilePath>,
    /// The number of the last scan.
    pub(super) scan: u64,
    /// Said once: too many directories to watch.
    pub(super) said_limit: bool,
}

/// The names in a directory, as far as they weren't read yet.
pub(super) struct Names {
    /// Of the directory; absolute.
    pub(super) path: PathBuf,
    pub(super) entries: ReadDir,
}

impl Survey {
    /// `watched` are those of the roots that it is of, in their order.
    pub(super) fn new(
        roots: Arc<Roots>,
        watched: Vec<RootId>,
        watches: Watches,
        plan: Plan,
        out: Outlet,
    ) -> Self {
        Self {
            roots,
            trees: Trees::new(watched),
            disk: Arc::default(),
            watches,
            mounts: plan.ask_mounts.then(Mounts::default),
            left_out: plan.left_out,
            rules: plan.rules,
            capacity: plan.capacity,
            out,
            timers: BTreeSet::new(),
            polled: BTreeSet::new(),
            scan: 0,
            said_limit: false,
        }
    }

    pub(super) fn out(&self) -> &Outlet {
        &self.out
    }

    /// Looks at everything: at the start, or (with [`Heard::Lost`]) when events were lost.
    pub(super) fn scan_all(&mut self, heard: Heard) -> Result<(), Stopped> {
        for id in self.root_ids() {
            self.scan(FilePath::new(id, ""), heard)?;
        }
        Ok(())
    }

    /// Something happened on the disk. Watched directories may lie in each other: each is concerned by itself.
    pub(super) fn hear(&mut self, news: &News) -> Result<(), Stopped> {
        for id in self.root_ids() {
            let Ok(real) = news.path.strip_prefix(self.roots.get(id).path()) else { continue };
            if real.as_os_str().is_empty() {
                self.check_root(id)?;
                if news.heard == Heard::Touched {
                    self.check_readable(&FilePath::new(id, ""))?;
                }
                continue;
            }
            for asked in self.tree(id).concerned(real) {
                self.hear_at(&FilePath::new(id, asked), news.heard, real)?;
            }
        }
        Ok(())
    }

    fn hear_at(&mut self, at: &FilePath, heard: Heard, named: &Path) -> Result<(), Stopped> {
        if heard == Heard::Written
            && self.tree(at.root).file(&at.path).is_some_and(|file| file.settling.is_writing())
        {
            return Ok(());
        }
        match self.look(at, heard, Some(named))? {
            Found::Directory { new: true } => self.scan(at.clone(), Heard::Looked),
            // Notify drops its watches below a path that is removed, even if something new has come to be there.
            Found::Directory { new: false } if heard == Heard::Removed => {
                self.scan(at.clone(), Heard::Looked)
            }
            Found::Directory { new: false } if heard == Heard::Touched => self.check_readable(at),
            _ => Ok(()),
        }
    }

    /// Looks at a path that somebody asked for, and at the directories above it, which may be as new.
    pub(super) fn check(&mut self, asked: &FilePath) -> Result<(), Stopped> {
        let mut at = FilePath::new(asked.root, "");
        for component in asked.path.components() {
            let Component::Normal(name) = component else { return Ok(()) };
            at.path = at.path.join(name).into();
            match self.look(&at, Heard::Looked, None)? {
                Found::Directory { new: true } => self.scan(at.clone(), Heard::Looked)?,
                Found::Directory { new: false } => {}
                Found::File | Found::Nothing => break,
            }
        }
        Ok(())
    }

    /// See [`Watches::mark`].
    pub(super) fn mark(&mut self) -> Option<PathBuf> {
        self.watches.mark()
    }

    /// The hasher saw it change.
    pub(super) fn unsettle(&mut self, at: &FilePath) -> Result<(), Stopped> {
        self.look(at, Heard::Unsettled, None).map(|_| ())
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    pub(super) fn look_at_due(&mut self, now: Instant) -> Result<(), Stopped> {
        while self.next_due().is_some_and(|due| due <= now)
            && let Some((_, at)) = self.timers.pop_first()
        {
            if let Some(file) = self.tree_mut(at.root).file_mut(&at.path) {
                file.armed = None;
            }
            self.look(&at, Heard::Due, None)?;
        }
        Ok(())
    }

    pub(super) fn check_roots(&mut self) -> Result<(), Stopped> {
        self.root_ids().into_iter().try_for_each(|id| self.check_root(id))
    }

    /// A watched directory that goes away takes its files along, but not the process.
    fn check_root(&mut self, id: RootId) -> Result<(), Stopped> {
        let roots = Arc::clone(&self.roots);
        let root = roots.get(id);
        let path = root.path().display();
        let state = match self.disk.ask(root.path(), || root.in_place()) {
            Ok(true) => RootState::InPlace,
            Ok(false) => RootState::Replaced,
            Err(_) => RootState::Lost,
        };
        let before = std::mem::replace(&mut self.trees[id].state, state);
        if before == state {
            return Ok(());
        }
        match state {
            RootState::InPlace => {
                tracing::info!("{path} is back; its files are served again");
                self.scan(FilePath::new(id, ""), Heard::Lost)
            }
            RootState::Lost => {
                tracing::error!("{path} is gone; none of its files is served until it is back");
                self.forget(&FilePath::new(id, ""))
            }
            RootState::Replaced => {
                tracing::error!("{path} is not the directory that it was at the start; restart to serve it");
                self.forget(&FilePath::new(id, ""))
            }
        }
    }

    /// Reads a directory and all below it. `heard` is what to think of the files that are met.
    fn scan(&mut self, top: FilePath, heard: Heard) -> Result<(), Stopped> {
        let mut sweep = Sweep::through(self, vec![top], heard);
        while self.go_on(&mut sweep)? {}
        Ok(())
    }

    /// The watched directory itself, which no directory lists.
    pub(super) fn meet_root(&mut self, id: RootId) -> Result<bool, Stopped> {
        let path = self.roots.get(id).path();
        let metadata = match self.disk.ask(path, || std::fs::symlink_metadata(path)) {
            Ok(metadata) if self.trees[id].state == RootState::InPlace => metadata,
            _ => return Ok(false),
        };
        if self.tree(id).directory(Path::new("")).is_none() {
            if !self.capacity.take() {
                return Ok(false);
            }
            let directory = Directory {
                real: PathBuf::new(),
                inode: InodeId::of(&metadata),
                unreadable: false,
                silent: false,
            };
            let entry = Entry { kind: Kind::Directory(directory), link: None, scan: self.scan };
            self.tree_mut(id).insert(Path::new("").into(), entry);
        }
        Ok(true)
    }

    /// Watches a directory, and only then reads it: what comes in between is met by one or the other, or both.
    pub(super) fn enter(&mut self, at: &FilePath) -> Result<Option<Names>, Stopped> {
        let Some(directory) = self.tree(at.root).directory(&at.path) else { return Ok(None) };
        let inode = directory.inode;
        let path = self.roots.get(at.root).path().join(&directory.real);
        // No close is heard there.
        let mut unheard = false;
        let watched = match self.disk.ask(&path, || self.watches.add(&path, inode)) {
            Ok(()) => true,
            Err(Unwatched::Unwanted) => {
                unheard = true;
                false
            }
            Err(Unwatched::Limit) => {
                if !std::mem::replace(&mut self.said_limit, true) {
                    tracing::error!(
                        "the system's limit on watched directories is reached at {:?}; there and in further \
                         directories changes are noticed within {} s only; raise the limit: sysctl \
                         fs.inotify.max_user_watches=1000000",
                        path,
                        POLL.as_secs()
                    );
                }
                unheard = true;
                false
            }
            Err(Unwatched::Twice(other)) => {
                if !self.polled.contains(at) {
                    tracing::debug!("{:?} is the same directory as {:?}", path, other);
                }
                false
            }
            Err(Unwatched::Failed(error)) => return self.leave_out(at, &path, &error).map(|()| None),
        };
        let Self { mounts, scan, disk, .. } = self;
        let silent = mounts
            .as_mut()
            .is_some_and(|mounts| disk.ask(&path, || mounts.is_silent(inode.device, &path, *scan)));
        if watched && !silent {
            self.polled.remove(at);
        } else {
            self.polled.insert(at.clone());
        }
        match self.disk.ask(&path, || std::fs::read_dir(&path)) {
            Ok(entries) => {
                if let Some(directory) = self.tree_mut(at.root).directory_mut(&at.path) {
                    directory.unreadable = false;
                    directory.silent = silent || unheard;
                }
                Ok(Some(Names { path, entries }))
            }
            Err(error) => self.leave_out(at, &path, &error).map(|()| None),
        }
    }

    /// A directory that can't be read keeps its entry, so that a change of its rights is understood.
    fn leave_out(&mut self, at: &FilePath, path: &Path, error: &io::Error) -> Result<(), Stopped> {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            return Ok(());
        }
        let Some(directory) = self.tree_mut(at.root).directory_mut(&at.path) else { return Ok(()) };
        if std::mem::replace(&mut directory.unreadable, true) {
            return Ok(());
        }
        tracing::warn!("{:?} can't be read and is left out: {error}", path);
        self.forget_below(at)
    }

    /// The rights of a directory may have changed.
    fn check_readable(&mut self, at: &FilePath) -> Result<(), Stopped> {
        let Some(directory) = self.tree(at.root).directory(&at.path) else { return Ok(()) };
        let path = self.roots.get(at.root).path().join(&directory.real);
        let readable = self.disk.ask(&path, || is_readable(&path));
        if readable == directory.unreadable {
            return self.scan(at.clone(), Heard::Looked);
        }
        Ok(())
    }

    pub(super) fn root_ids(&self) -> Vec<RootId> {
        self.trees.ids().collect()
    }

    pub(super) fn tree(&self, id: RootId) -> &Tree {
        &self.trees[id].tree
    }

    pub(super) fn tree_mut(&mut self, id: RootId) -> &mut Tree {
        &mut self.trees[id].tree
    }
}
