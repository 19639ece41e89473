//! What is at one path, and what is to be said of it. Events say where to look, never what is there: whatever was
//! heard, in whatever order and however late, the disk is asked, and only what differs from what was said before is
//! told. Opens no file, reads no contents, lists no directory.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::WatchEvent;
use super::outlet::Stopped;
use super::resolve::{Resolved, resolve};
use super::settle::{Heard, Report, Settling};
use super::survey::Survey;
use super::tree::{Directory, Entry, Kind, KnownFile, Link};
use crate::files::{Binding, FilePath, InodeId, SettledFile};

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    File,
    /// `new` is one that was not scanned yet.
    Directory {
        new: bool,
    },
}

/// What the disk has at a path, as far as it can be offered.
struct There {
    what: What,
    link: Option<Box<Link>>,
}

enum What {
    Nothing,
    /// The target is relative to the root, links resolved.
    File {
        target: PathBuf,
        binding: Binding,
    },
    Directory {
        real: PathBuf,
        inode: InodeId,
    },
}

impl What {
    fn of(real: PathBuf, metadata: &Metadata) -> Self {
        if metadata.is_file() {
            Self::File { target: real, binding: Binding::of(metadata) }
        } else if metadata.is_dir() {
            Self::Directory { real, inode: InodeId::of(metadata) }
        } else {
            Self::Nothing
        }
    }

    fn is(&self, known: &Kind) -> bool {
        match (self, known) {
            (Self::Nothing, Kind::Nothing) | (Self::File { .. }, Kind::File(_)) => true,
            (Self::Directory { real, inode }, Kind::Directory(known)) => {
                known.real == *real && known.inode == *inode
            }
            _ => false,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Nothing => Kind::Nothing,
            Self::File { .. } => {
                Kind::File(KnownFile { settling: Settling::new(), armed: None, unreadable: false })
            }
            Self::Directory { real, inode } => Kind::Directory(Directory {
                real: real.clone(),
                inode: *inode,
                unreadable: false,
                silent: false,
            }),
        }
    }
}

/// Whether this process may read a directory and search it.
pub(super) fn is_readable(directory: &Path) -> bool {
    accessat(CWD, directory, Access::READ_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// Whether it is known that this process may not read a file; that it is gone meanwhile is for others to find out.
fn is_forbidden(file: &Path) -> bool {
    matches!(accessat(CWD, file, Access::READ_OK, AtFlags::EACCESS), Err(Errno::ACCESS | Errno::PERM))
}

impl Survey {
    /// Looks at a path and says what follows. `named` is the path on the disk that `heard` was said of; with none it
    /// is meant for this one, wherever its links lead. A new directory is left for the caller to scan.
    pub(super) fn look(
        &mut self,
        at: &FilePath,
        heard: Heard,
        named: Option<&Path>,
    ) -> Result<Found, Stopped> {
        let There { what, link } = self.inspect(at);
        let scan = self.scan;
        let known = match self.tree_mut(at.root).get_mut(&at.path) {
            Some(entry) if what.is(&entry.kind) => {
                entry.scan = scan;
                true
            }
            _ => false,
        };
        if known {
            self.tree_mut(at.root).set_link(&at.path, link);
        } else {
            self.forget(at)?;
            // A link that leads to nothing is kept, to see when it leads to something.
            if (matches!(what, What::Nothing) && link.is_none()) || !self.capacity.take() {
                return Ok(Found::Nothing);
            }
            let entry = Entry { kind: what.kind(), link, scan };
            self.tree_mut(at.root).insert(at.path.clone(), entry);
        }
        match what {
            What::Nothing => Ok(Found::Nothing),
            What::Directory { .. } => Ok(Found::Directory { new: !known }),
            What::File { target, binding } => {
                let heard = match named {
                    // News of the link, or of what lies on its way, is none of the file itself.
                    Some(named) if named != target => Heard::Looked,
                    _ => heard,
                };
                self.judge(at, target, &binding, heard)?;
                Ok(Found::File)
            }
        }
    }

    fn inspect(&self, at: &FilePath) -> There {
        let nothing = There { what: What::Nothing, link: None };
        let (Some(parent), Some(name)) = (at.path.parent(), at.path.file_name()) else { return nothing };
        let tree = self.tree(at.root);
        let Some(directory) = tree.directory(parent) else { return nothing };
        let root = self.roots.get(at.root).path();
        let real = directory.real.join(name);
        // By a link to a directory above, it may have two paths.
        if self.left_out.leaves_out(&at.path) || self.left_out.leaves_out(&real) {
            return nothing;
        }
        let absolute = root.join(&real);
        let metadata = match self.disk.ask(&absolute, || std::fs::symlink_metadata(&absolute)) {
            Ok(metadata) => metadata,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!(?at, %error, "can't be looked at");
                }
                return nothing;
            }
        };
        if !metadata.is_symlink() {
            return There { what: What::of(real, &metadata), link: None };
        }
        let Resolved { through, end } = self.disk.ask(&absolute, || resolve(root, &real, &self.left_out));
        let what = match end {
            Some((target, metadata)) if !metadata.is_dir() || tree.admits_link(parent, &target) => {
                What::of(target, &metadata)
            }
            _ => What::Nothing,
        };
        There { what, link: Some(Box::new(Link { through })) }
    }

    /// Lets a file's state machine hear of it, and says what it says.
    fn judge(
        &mut self,
        at: &FilePath,
        target: PathBuf,
        binding: &Binding,
        mut heard: Heard,
    ) -> Result<(), Stopped> {
        // A link made to a file that is being written knows nothing of the writer; the file's own entry does.
        if heard == Heard::Looked
            && *target != *at.path
            && self.tree(at.root).file(&target).is_some_and(|file| file.settling.is_writing())
        {
            heard = Heard::Written;
        }
        let absolute = self.roots.get(at.root).path().join(&target);
        let directory = at.path.parent().and_then(|parent| self.tree(at.root).directory(parent));
        let silent = directory.is_some_and(|directory| directory.silent);
        let rules = if silent { self.rules.of_silent() } else { self.rules };
        let Some(file) = self.trees[at.root].tree.file_mut(&at.path) else { return Ok(()) };
        let age = binding.age(SystemTime::now());
        let mut report = file.settling.hear(heard, binding, age, Instant::now(), rules);
        if matches!(report, Some(Report::Still | Report::Settled)) {
            let forbidden = self.disk.ask(&absolute, || is_forbidden(&absolute));
            let was_said = std::mem::replace(&mut file.unreadable, forbidden);
            if file.unreadable {
                if !was_said {
                    tracing::warn!("{absolute:?} can't be read and is left out");
                }
                file.settling.hide();
                report = Some(Report::Gone);
            }
        }
        // A time that comes too early does no harm, it is put off then; so a stream of writes moves no timers.
        if let Some(due) = file.settling.due()
            && file.armed.is_none_or(|armed| due < armed)
        {
            if let Some(armed) = file.armed.replace(due) {
                self.timers.remove(&(armed, at.clone()));
            }
            self.timers.insert((due, at.clone()));
        }
        let Some(report) = report else { return Ok(()) };
        tracing::debug!(?at, ?heard, ?report);
        self.out.send(match report {
            Report::Found => WatchEvent::Found(at.clone(), binding.mtime()),
            Report::Pending => WatchEvent::Pending(at.clone()),
            Report::Still => WatchEvent::Still(SettledFile::new(at.clone(), &target, *binding)),
            Report::Settled => WatchEvent::Settled(SettledFile::new(at.clone(), &target, *binding)),
            Report::Gone => WatchEvent::Gone(at.clone()),
        })
    }

    /// Forgets a path and all below it; says so of the files that were shown.
    pub(super) fn forget(&mut self, at: &FilePath) -> Result<(), Stopped> {
        self.forget_below(at)?;
        match self.tree_mut(at.root).take(&at.path) {
            Some(entry) => self.part_with(at.clone(), entry),
            None => Ok(()),
        }
    }

    pub(super) fn forget_below(&mut self, at: &FilePath) -> Result<(), Stopped> {
        while let Some((path, entry)) = self.tree_mut(at.root).take_first_below(&at.path) {
            self.part_with(FilePath::new(at.root, path), entry)?;
        }
        Ok(())
    }

    fn part_with(&mut self, at: FilePath, entry: Entry) -> Result<(), Stopped> {
        self.capacity.give_back();
        match entry.kind {
            Kind::Nothing => Ok(()),
            Kind::Directory(directory) => {
                self.polled.remove(&at);
                self.release(&self.roots.get(at.root).path().join(directory.real));
                Ok(())
            }
            Kind::File(file) => {
                if let Some(armed) = file.armed {
                    self.timers.remove(&(armed, at.clone()));
                }
                if file.settling.is_shown() {
                    tracing::debug!(?at, "gone");
                    self.out.send(WatchEvent::Gone(at))?;
                }
                Ok(())
            }
        }
    }

    /// Ends the watch on a directory, unless it is known by another path, or by that of another watched directory
    /// which it is in.
    fn release(&mut self, absolute: &Path) {
        let known = self.trees.iter().any(|(id, tree)| {
            let real = absolute.strip_prefix(self.roots.get(id).path());
            real.is_ok_and(|real| tree.has_real(real))
        });
        if !known {
            self.watches.remove(absolute);
        }
    }
}
