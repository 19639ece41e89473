//! What is known of one watched directory: every path that can be asked for, links followed, and which of them an
//! event on the disk concerns. A plain table: reads no disk, decides nothing, tells nobody.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::settle::Settling;
use crate::files::InodeId;

/// Links to directories in one path. With no such limit a few directories that link to each other would have more
/// paths than atoms.
const MAX_LINK_DEPTH: usize = 4;

/// Something at a path that can be asked for.
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// It is there by a symbolic link, which was followed.
    pub(super) link: Option<Box<Link>>,
    /// The last scan that there was when it was met.
    pub(super) scan: u64,
}

/// There are as many as files.
const _: () = assert!(size_of::<Entry>() <= 120);

pub(super) enum Kind {
    Directory(Directory),
    File(KnownFile),
    /// A link that leads to nothing that can be offered, yet.
    Nothing,
}

pub(super) struct Directory {
    /// Relative to the root, links resolved.
    pub(super) real: PathBuf,
    pub(super) inode: InodeId,
    /// It can't be read, and that was said.
    pub(super) unreadable: bool,
    /// Other hosts write to it, unheard.
    pub(super) silent: bool,
}

pub(super) struct KnownFile {
    pub(super) settling: Settling,
    /// When it is to be looked at again: the one entry among the timers that counts.
    pub(super) armed: Option<Instant>,
    /// It can't be read, and that was said.
    pub(super) unreadable: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Paths relative to the root: a change at one of them may make the link lead elsewhere.
    pub(super) through: Vec<PathBuf>,
}

/// Which asked-for paths belong to a path on the disk.
type Index = HashMap<PathBuf, BTreeSet<PathBuf>>;

#[derive(Default)]
pub(super) struct Tree {
    /// By the path that is asked for; the watched directory itself is the empty path. A path's order is that of its
    /// components, so what lies below a directory follows it without a gap.
    /// Boxed, since a third of a map's room is empty.
    entries: BTreeMap<Arc<Path>, Box<Entry>>,
    /// The asked-for paths of a directory: its own, and those through links.
    by_real: Index,
    /// The links that a path on the disk is on the way of.
    on_the_way: Index,
}

impl Tree {
    pub(super) fn get_mut(&mut self, asked: &Path) -> Option<&mut Entry> {
        self.entries.get_mut(asked).map(AsMut::as_mut)
    }

    pub(super) fn directory(&self, asked: &Path) -> Option<&Directory> {
        match &self.entries.get(asked)?.kind {
            Kind::Directory(directory) => Some(directory),
            Kind::File(_) | Kind::Nothing => None,
        }
    }

    pub(super) fn directory_mut(&mut self, asked: &Path) -> Option<&mut Directory> {
        match &mut self.entries.get_mut(asked)?.kind {
            Kind::Directory(directory) => Some(directory),
            Kind::File(_) | Kind::Nothing => None,
        }
    }

    pub(super) fn file(&self, asked: &Path) -> Option<&KnownFile> {
        match &self.entries.get(asked)?.kind {
            Kind::File(file) => Some(file),
            Kind::Directory(_) | Kind::Nothing => None,
        }
    }

    pub(super) fn file_mut(&mut self, asked: &Path) -> Option<&mut KnownFile> {
        match &mut self.entries.get_mut(asked)?.kind {
            Kind::File(file) => Some(file),
            Kind::Directory(_) | Kind::Nothing => None,
        }
    }

    /// Whether a directory on the disk, relative to the root, is known under any path.
    pub(super) fn has_real(&self, real: &Path) -> bool {
        self.by_real.contains_key(real)
    }

    /// The path must not be there.
    pub(super) fn insert(&mut self, asked: Arc<Path>, entry: Entry) {
        if let Kind::Directory(directory) = &entry.kind {
            self.by_real.entry(directory.real.clone()).or_default().insert(asked.to_path_buf());
        }
        if let Some(link) = &entry.link {
            attach(&mut self.on_the_way, link, &asked);
        }
        self.entries.insert(asked, Box::new(entry));
    }

    /// What was a link may be none any more, or lead elsewhere.
    pub(super) fn set_link(&mut self, asked: &Path, link: Option<Box<Link>>) {
        let Some(entry) = self.entries.get_mut(asked) else { return };
        if entry.link == link {
            return;
        }
        if let Some(old) = std::mem::replace(&mut entry.link, link) {
            detach(&mut self.on_the_way, &old, asked);
        }
        if let Some(new) = &entry.link {
            attach(&mut self.on_the_way, new, asked);
        }
    }

    /// Takes out the first entry strictly below a path.
    pub(super) fn take_first_below(&mut self, asked: &Path) -> Option<(Arc<Path>, Entry)> {
        let (first, _) = self.from(Bound::Excluded(asked), asked).next()?;
        let first = first.clone();
        let entry = self.take(&first)?;
        Some((first, entry))
    }

    pub(super) fn take(&mut self, asked: &Path) -> Option<Entry> {
        let entry = *self.entries.remove(asked)?;
        if let Kind::Directory(directory) = &entry.kind {
            remove_one(&mut self.by_real, &directory.real, asked);
        }
        if let Some(link) = &entry.link {
            detach(&mut self.on_the_way, link, asked);
        }
        Some(entry)
    }

    /// The first entry of a directory that comes after `last`, which is another of its entries or itself; and the scan
    /// that the entry was met in.
    pub(super) fn child_after(&self, directory: &Path, last: &Path) -> Option<(Arc<Path>, u64)> {
        // No name has a NUL in it, so whatever lies below `last` comes before this.
        let mut past = last.as_os_str().to_owned();
        if last != directory {
            past.push("\0");
        }
        let (path, entry) = self.from(Bound::Excluded(Path::new(&past)), directory).next()?;
        Some((Arc::clone(path), entry.scan))
    }

    /// The asked-for paths that a change at `real` concerns: it is there itself, or on the way of a link.
    pub(super) fn concerned(&self, real: &Path) -> Vec<PathBuf> {
        let mut concerned = Vec::new();
        if let (Some(parent), Some(name)) = (real.parent(), real.file_name())
            && let Some(directories) = self.by_real.get(parent)
        {
            concerned.extend(directories.iter().map(|directory| directory.join(name)));
        }
        if let Some(links) = self.on_the_way.get(real) {
            concerned.extend(links.iter().cloned());
        }
        concerned
    }

    /// Whether a link in the directory `parent` may be followed to the directory `target`: not when that leads back
    /// to a directory which the path came through, nor below too many other links.
    pub(super) fn admits_link(&self, parent: &Path, target: &Path) -> bool {
        let mut links = 0;
        for above in parent.ancestors() {
            let Some(entry) = self.entries.get(above) else { return false };
            let Kind::Directory(directory) = &entry.kind else { return false };
            if directory.real.starts_with(target) {
                return false;
            }
            links += usize::from(entry.link.is_some());
        }
        links < MAX_LINK_DEPTH
    }

    fn from<'a>(
        &'a self,
        start: Bound<&'a Path>,
        below: &'a Path,
    ) -> impl Iterator<Item = (&'a Arc<Path>, &'a Entry)> {
        self.entries
            .range::<Path, _>((start, Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(below))
            .map(|(path, entry)| (path, &**entry))
    }
}

fn attach(on_the_way: &mut Index, link: &Link, asked: &Path) {
    for path in &link.through {
        on_the_way.entry(path.clone()).or_default().insert(asked.to_owned());
    }
}

fn detach(on_the_way: &mut Index, link: &Link, asked: &Path) {
    for path in &link.through {
        remove_one(on_the_way, path, asked);
    }
}

fn remove_one(index: &mut Index, key: &Path, member: &Path) {
    if let Some(members) = index.get_mut(key) {
        members.remove(member);
        if members.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_from_child_to_child_past_what_lies_below() {
        let mut tree = Tree::default();
        let paths = ["", "a", "a/b", "a/b/c", "a/b-", "a/b-/d", "a/b\u{1}", "a/e", "a-", "b"];
        for path in paths {
            let kind = Kind::Directory(Directory {
                real: path.into(),
                inode: InodeId { device: 1, inode: 1 },
                unreadable: false,
                silent: false,
            });
            tree.insert(Path::new(path).into(), Entry { kind, link: None, scan: 0 });
        }
        let children = |directory: &str| {
            let mut last: Arc<Path> = Path::new(directory).into();
            let mut all = Vec::new();
            while let Some((child, _)) = tree.child_after(Path::new(directory), &last) {
                all.push(child.display().to_string());
                last = child;
            }
            all
        };
        assert_eq!(children(""), ["a", "a-", "b"]);
        assert_eq!(children("a"), ["a/b", "a/b\u{1}", "a/b-", "a/e"]);
        assert_eq!(children("a/b"), ["a/b/c"]);
        assert!(children("a-").is_empty());
    }
}
