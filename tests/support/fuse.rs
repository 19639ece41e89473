//! What all file systems have in common that a test serves itself (FUSE): read-only, a root with files in it, and the
//! kernel told to ask again each time. Which files there are, and what becomes of reads, is for each to say.

use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileType, Filesystem, Generation, INodeNo, MountOption,
    ReplyAttr, ReplyDirectory, ReplyEntry, Session,
};
use rustix::mount::{UnmountFlags, unmount};

/// How long the kernel may go by what it was told: what has changed, or died, is seen at once by whoever looks.
const TRUST: Duration = Duration::ZERO;

/// Mounts it on a directory, which it makes.
pub(super) fn mount(mountpoint: &Path, served: impl Filesystem) -> BackgroundSession {
    fs::create_dir(mountpoint).expect("a directory can be made");
    let mut config = Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("distributor-test".into())];
    Session::new(served, mountpoint, &config)
        .and_then(Session::spawn)
        .unwrap_or_else(|error| panic!("FUSE can't be mounted (it takes root and /dev/fuse): {error}"))
}

/// Aborts what is under way, whoever waits for it, and removes the mount though it may be in use.
pub(super) fn take_down(mountpoint: &Path) {
    let _ = unmount(mountpoint, UnmountFlags::FORCE | UnmountFlags::DETACH);
}

/// So old that nobody takes it for a file that is still being written.
pub(super) fn long_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}

/// Of a file of that length, or of the root, which has none.
pub(super) fn attributes(inode: INodeNo, len: Option<usize>, time: SystemTime) -> FileAttr {
    let (kind, perm, nlink) = match len {
        None => (FileType::Directory, 0o755, 2),
        Some(_) => (FileType::RegularFile, 0o644, 1),
    };
    let size = len.unwrap_or_default() as u64;
    FileAttr {
        ino: inode,
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

pub(super) fn reply_entry(attributes: Option<FileAttr>, reply: ReplyEntry) {
    match attributes {
        Some(attributes) => reply.entry(&TRUST, &attributes, Generation(0)),
        None => reply.error(Errno::ENOENT),
    }
}

pub(super) fn reply_attributes(attributes: Option<FileAttr>, reply: ReplyAttr) {
    match attributes {
        Some(attributes) => reply.attr(&TRUST, &attributes),
        None => reply.error(Errno::ENOENT),
    }
}

/// The bytes that a read asks for, as far as a file of that length goes.
pub(super) fn asked(len: usize, offset: u64, size: u32) -> Range<usize> {
    let start = usize::try_from(offset).map_or(len, |offset| offset.min(len));
    start..start.saturating_add(size as usize).min(len)
}

/// Lists the root.
pub(super) fn reply_names(
    files: impl IntoIterator<Item = (INodeNo, String)>,
    offset: u64,
    mut reply: ReplyDirectory,
) {
    let own = [".", ".."].map(|name| (INodeNo::ROOT, FileType::Directory, name.to_owned()));
    let files = files.into_iter().map(|(inode, name)| (inode, FileType::RegularFile, name));
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    for (position, (inode, kind, name)) in own.into_iter().chain(files).enumerate().skip(skip) {
        // The offset is that of the next entry.
        if reply.add(inode, position as u64 + 1, kind, OsStr::new(&name)) {
            break;
        }
    }
    reply.ok();
}
