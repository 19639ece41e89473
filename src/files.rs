//! What a file is to this program: where it lies below a watched directory, and the state of the inode it was
//! hashed in. Opens files so that no link leads outside. Reads no contents and remembers nothing.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// Which of the watched directories; an index into [`Roots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RootId(u16);

impl RootId {
    /// Its place in the order of [`Roots::iter`].
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How often an open is tried again that the kernel says could succeed then.
const OPEN_TRIES: u32 = 100;

/// One watched directory.
#[derive(Debug)]
pub(crate) struct Root {
    /// The last component of its path: the DIRNAME of `/serve?DIRNAME/path`.
    name: OsString,
    /// Absolute, links resolved.
    path: PathBuf,
    dir: OwnedFd,
    device: u64,
}

impl Root {
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Which file system it lay on when it was opened (`st_dev`); what lies below it may be on others.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// Whether its path still leads to the directory that was opened: not once it was moved away, deleted, or
    /// covered by a mount. An error says that the path leads to nothing at all.
    pub(crate) fn in_place(&self) -> io::Result<bool> {
        let at_path = std::fs::symlink_metadata(&self.path)?;
        let opened = rustix::fs::fstat(&self.dir)?;
        Ok((at_path.dev(), at_path.ino()) == (opened.st_dev, opened.st_ino))
    }

    /// Whether the file is still there by the path that it is asked for, and holds what it did. Waits for the disk.
    pub(crate) fn is_as_bound(&self, file: &SettledFile) -> bool {
        self.path
            .join(&file.at.path)
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && file.binding.compare(&metadata) == Sameness::Same)
    }

    /// Opens a regular file for reading. `target` is relative to this directory and holds no links: one that was
    /// put there since it was resolved is refused (ELOOP), as is any way out of the directory (EXDEV).
    pub(crate) fn open(&self, target: &Path) -> io::Result<File> {
        // NONBLOCK, lest a FIFO put in the file's place hold the caller for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        // The kernel asks to try again when a rename crossed the walk. It says the same of a file that somebody
        // holds a lease on, so there is an end to it.
        let mut tries = 0..OPEN_TRIES;
        let file = loop {
            match openat2(&self.dir, target, flags, Mode::empty(), beneath) {
                Err(rustix::io::Errno::AGAIN) if tries.next().is_some() => {}
                opened => break File::from(opened?),
            }
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }
}

/// The watched directories, in the order in which they were named.
#[derive(Debug)]
pub(crate) struct Roots(Vec<Root>);

/// Why a directory can't be watched.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// No directory was named at all.
    #[error("no directory to serve was named; name at least one")]
    None,
    /// More directories than an index can name.
    #[error("{count} directories are too many; at most {} can be served at once", u16::MAX)]
    TooMany {
        /// How many were named.
        count: usize,
    },
    /// It doesn't exist, can't be read, or isn't a directory.
    #[error("can't serve {}: {source}; name a directory that exists and can be read", path.display())]
    Unusable {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One directory was named twice.
    #[error("{} is named twice; name it once", path.display())]
    Twice {
        /// As it was named the second time.
        path: PathBuf,
    },
    /// Two directories whose last components are the same could not be told apart in a request.
    #[error(
        "{} and {} have the same name, and requests could not tell them apart; rename one or serve it through a \
         symbolic link of another name", first.display(), second.display()
    )]
    SameName {
        /// The one named first.
        first: PathBuf,
        /// The one named later.
        second: PathBuf,
    },
}

impl Roots {
    /// Opens each directory. A directory named through a symbolic link keeps the link's name.
    pub(crate) fn open(directories: &[PathBuf]) -> Result<Self, RootError> {
        if directories.is_empty() {
            return Err(RootError::None);
        }
        if directories.len() > usize::from(u16::MAX) {
            return Err(RootError::TooMany { count: directories.len() });
        }
        let mut roots: Vec<Root> = Vec::with_capacity(directories.len());
        for (index, given) in directories.iter().enumerate() {
            let root =
                open_root(given).map_err(|source| RootError::Unusable { path: given.clone(), source })?;
            if roots.iter().any(|other| other.path == root.path) {
                return Err(RootError::Twice { path: given.clone() });
            }
            if let Some(first) = roots.iter().position(|other| other.name == root.name) {
                return Err(RootError::SameName {
                    first: directories[first].clone(),
                    second: directories[index].clone(),
                });
            }
            roots.push(root);
        }
        Ok(Self(roots))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RootId, &Root)> {
        (0..=u16::MAX).map(RootId).zip(&self.0)
    }

    /// The root of an id that these roots gave out.
    pub(crate) fn get(&self, id: RootId) -> &Root {
        &self.0[usize::from(id.0)]
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn open_root(given: &Path) -> io::Result<Root> {
    let path = given.canonicalize()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(&path, flags, Mode::empty())?;
    let named = given.components().next_back();
    let name = match named {
        Some(Component::Normal(name)) => name,
        _ => path.file_name().unwrap_or_default(),
    };
    let device = rustix::fs::fstat(&dir)?.st_dev;
    Ok(Root { name: name.to_owned(), path, dir, device })
}

/// Where a file lies: a watched directory and a path below it, as it is asked for (links not resolved).
///
/// Every room keeps some; with a hundred thousand files it counts that they share the path's bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FilePath {
    pub(crate) root: RootId,
    pub(crate) path: Arc<Path>,
}

impl FilePath {
    pub(crate) fn new(root: RootId, path: impl AsRef<Path>) -> Self {
        Self { root, path: path.as_ref().into() }
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.root.0, self.path.display())
    }
}

/// Seconds and nanoseconds since 1970, as a file's metadata has them.
///
/// Packed, since each file has several: else a quarter would be padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(4))]
pub(crate) struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    pub(crate) const fn from_parts(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds }
    }

    fn new(seconds: i64, nanoseconds: i64) -> Self {
        // A file system that reports nonsense gets a stable nonsense.
        Self::from_parts(seconds, u32::try_from(nanoseconds).unwrap_or(0))
    }

    /// When the inode was made, where the file system knows.
    pub(crate) fn of_birth(metadata: &Metadata) -> Option<Self> {
        let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self::from_parts(i64::try_from(since.as_secs()).ok()?, since.subsec_nanos()))
    }

    /// Seconds, and the nanoseconds to be added to them.
    pub(crate) const fn parts(self) -> (i64, u32) {
        (self.seconds, self.nanoseconds)
    }

    /// Times that the clock can't hold (before 1970, or far in the future) become its start.
    pub(crate) fn to_system_time(self) -> SystemTime {
        u64::try_from(self.seconds)
            .ok()
            .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::new(seconds, self.nanoseconds)))
            .unwrap_or(UNIX_EPOCH)
    }
}

/// The state of the inode that a torrent stands for. While all of it is the same, so are the bytes, unless somebody
/// writes through a mapping of his own or sets the clock back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    // Flat, for a struct within would be padded by itself.
    id: InodeId,
    size: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

/// What an inode is known by while it exists; a later one may get the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InodeId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl InodeId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Binding {
    pub(crate) const fn new(id: InodeId, size: u64, mtime: Timestamp, ctime: Timestamp) -> Self {
        Self { id, size, mtime, ctime }
    }

    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            id: InodeId::of(metadata),
            size: metadata.size(),
            mtime: Timestamp::new(metadata.mtime(), metadata.mtime_nsec()),
            ctime: Timestamp::new(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(crate) fn id(&self) -> InodeId {
        self.id
    }

    /// Which file system it lies on (`st_dev`).
    pub(crate) fn device(&self) -> u64 {
        self.id.device
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn mtime(&self) -> Timestamp {
        self.mtime
    }

    pub(crate) fn ctime(&self) -> Timestamp {
        self.ctime
    }

    /// How long ago anything about the inode last changed; nothing, if by the clock that is yet to come.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        let changed = self.mtime.max(self.ctime).to_system_time();
        now.duration_since(changed).unwrap_or_default()
    }

    /// Whether the last that happened to the inode was a write: that moves both times to the same moment. Setting
    /// times, chmod, links and renames leave them apart.
    pub(crate) fn was_written_last(&self) -> bool {
        self.mtime == self.ctime
    }

    /// How the inode of this binding stands by now, by its metadata of this moment.
    pub(crate) fn compare(&self, metadata: &Metadata) -> Sameness {
        let now = Self::of(metadata);
        match metadata.nlink() {
            _ if !now.same_contents(self) => Sameness::Other,
            _ if now == *self => Sameness::Same,
            0 => Sameness::Unlinked,
            _ => Sameness::Touched,
        }
    }

    /// Whether the contents may be the same: all but ctime is, which links, renames, an unlink and chmod also move.
    pub(crate) fn same_contents(&self, other: &Self) -> bool {
        (self.id, self.size, self.mtime) == (other.id, other.size, other.mtime)
    }
}

/// What has become of an inode since it was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// Nothing.
    Same,
    /// It was deleted, or replaced by rename: the usual end of a file, though somebody may have written to it before.
    Unlinked,
    /// Its ctime moved though it still has a name: it was renamed, or its rights changed, or somebody wrote to it and
    /// set its mtime back. The bytes are not known to be the same.
    Touched,
    /// It is another one, or was written to.
    Other,
}

/// A file that held still: what the watcher hands to the hasher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettledFile {
    pub(crate) at: FilePath,
    /// Relative to the root, links resolved: what [`Root::open`] takes.
    pub(crate) target: Arc<Path>,
    pub(crate) binding: Binding,
}

impl SettledFile {
    pub(crate) fn new(at: FilePath, target: &Path, binding: Binding) -> Self {
        let target = if *at.path == *target { Arc::clone(&at.path) } else { target.into() };
        Self { at, target, binding }
    }

    /// The name that a torrent gives the file: the last component of the path that it is asked for by.
    pub(crate) fn name(&self) -> &[u8] {
        self.at.path.file_name().unwrap_or_default().as_bytes()
    }
}

#[cfg(test)]
impl Binding {
    /// A binding with no file behind it; times are seconds since 1970.
    pub(crate) fn for_test(inode: u64, size: u64, mtime: i64, ctime: i64) -> Self {
        let (mtime, ctime) = (Timestamp::new(mtime, 0), Timestamp::new(ctime, 0));
        Self::new(InodeId { device: 1, inode }, size, mtime, ctime)
    }
}
