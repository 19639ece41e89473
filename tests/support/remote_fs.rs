//! A directory whose files somebody else writes: a read-only file system that the test itself serves (FUSE), whose
//! changes no event tells of.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};

use super::files::Contents;
use super::fuse;

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
        let files = Arc::new(Files { born: fuse::long_ago(), inner: Mutex::default() });
        let session = fuse::mount(&mountpoint, Served(Arc::clone(&files)));
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
        fuse::take_down(&self.mountpoint);
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
        let (len, change) = match inode {
            INodeNo::ROOT => (None, 0),
            inode => {
                let file = self.find(inode)?;
                (Some(file.bytes.len()), file.change)
            }
        };
        Some(fuse::attributes(inode, len, self.born + Duration::from_secs(change)))
    }
}

/// What the kernel asks for.
struct Served(Arc<Files>);

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inode = self.0.lock().iter().find(|file| name == file.name.as_str()).map(|file| file.inode);
        fuse::reply_entry(inode.and_then(|inode| self.0.attributes(INodeNo(inode))), reply);
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        fuse::reply_attributes(self.0.attributes(inode), reply);
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
        reply.data(&file.bytes[fuse::asked(file.bytes.len(), offset, size)]);
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectory) {
        let files: Vec<_> =
            self.0.lock().iter().map(|file| (INodeNo(file.inode), file.name.clone())).collect();
        fuse::reply_names(files, offset, reply);
    }
}
