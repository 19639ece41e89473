//! A directory whose files somebody else writes: a read-only file system that the test itself serves (FUSE), whose
//! changes no event tells of.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen,
    Request, Session,
};
use rustix::mount::{UnmountFlags, unmount};

use super::files::Contents;

/// How long the kernel may go by what it was told: what somebody else does is seen at once by whoever looks.
const TRUST: Duration = Duration::ZERO;
/// So old that nobody takes it for a file that is still being written.
const AGE: Duration = Duration::from_secs(3600);

/// A mounted directory.
pub(crate) struct RemoteFs {
    mountpoint: PathBuf,
    files: Arc<Files>,
    _session: BackgroundSession,
}

/// Each change gives its file a later time.
#[derive(Debug)]
struct Files {
    born: SystemTime,
    inner: Mutex<Vec<File>>,
}

#[derive(Clone, Debug)]
struct File {
    name: String,
    inode: u64,
    bytes: Vec<u8>,
    change: u64,
}

impl RemoteFs {
    /// Mounts it on a directory, which it makes.
    pub(crate) fn mount(mountpoint: PathBuf) -> Self {
        fs::create_dir(&mountpoint).expect("a directory can be made");
        let files = Arc::new(Files { born: SystemTime::now() - AGE, inner: Mutex::default() });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("distributor-test".into())];
        let session = Session::new(Served(Arc::clone(&files)), &mountpoint, &config)
            .and_then(Session::spawn)
            .unwrap_or_else(|error| panic!("FUSE can't be mounted (it takes root and /dev/fuse): {error}"));
        Self { mountpoint, files, _session: session }
    }

    /// Somebody else writes a file, in place if it is there.
    pub(crate) fn write(&self, name: &str, contents: &Contents) {
        let mut files = self.files.lock();
        let change = 1 + files.iter().map(|file| file.change).max().unwrap_or_default();
        let bytes = contents.bytes().to_vec();
        match files.iter_mut().find(|file| file.name == name) {
            Some(file) => (file.bytes, file.change) = (bytes, change),
            None => {
                files.push(File { name: name.to_owned(), inode: INodeNo::ROOT.0 + change, bytes, change })
            }
        }
    }

    /// Somebody else deletes a file.
    pub(crate) fn remove(&self, name: &str) {
        self.files.lock().retain(|file| file.name != name);
    }
}

impl Drop for RemoteFs {
    fn drop(&mut self) {
        let _ = unmount(&self.mountpoint, UnmountFlags::FORCE | UnmountFlags::DETACH);
    }
}

impl Files {
    fn lock(&self) -> MutexGuard<'_, Vec<File>> {
        self.inner.lock().expect("nobody panics here")
    }

    fn find(&self, inode: INodeNo) -> Option<File> {
        self.lock().iter().find(|file| file.inode == inode.0).cloned()
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, perm, nlink, size, change) = if inode == INodeNo::ROOT {
            (FileType::Directory, 0o755, 2, 0, 0)
        } else {
            let file = self.find(inode)?;
            (FileType::RegularFile, 0o644, 1, file.bytes.len() as u64, file.change)
        };
        let time = self.born + Duration::from_secs(change);
        Some(FileAttr {
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
        })
    }
}

/// What the kernel asks for.
struct Served(Arc<Files>);

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inode = self.0.lock().iter().find(|file| name == file.name.as_str()).map(|file| file.inode);
        match inode.and_then(|inode| self.0.attributes(INodeNo(inode))) {
            Some(attributes) => reply.entry(&TRUST, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.attributes(inode) {
            Some(attributes) => reply.attr(&TRUST, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(file) = self.0.find(inode) else { return reply.error(Errno::ENOENT) };
        let len = file.bytes.len();
        let start = usize::try_from(offset).map_or(len, |offset| offset.min(len));
        let end = start.saturating_add(size as usize).min(len);
        reply.data(&file.bytes[start..end]);
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut entries = vec![
            (INodeNo::ROOT, FileType::Directory, ".".to_owned()),
            (INodeNo::ROOT, FileType::Directory, "..".to_owned()),
        ];
        let file = |file: &File| (INodeNo(file.inode), FileType::RegularFile, file.name.clone());
        entries.extend(self.0.lock().iter().map(file));
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (position, (inode, kind, name)) in entries.into_iter().enumerate().skip(skip) {
            // The offset is that of the next entry.
            if reply.add(inode, position as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
