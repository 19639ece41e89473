//! A disk that fails and waits when the test says so: a read-only file system that the test itself serves (FUSE). Its
//! kernel side is the real one, so that maps, reads ahead and page faults meet faults as they would on any disk.
//!
//! Faults are of one file's reads, or of all that is asked in one way: what is there, which names there are, opening and
//! closing.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, INodeNo, KernelConfig, LockOwner,
    Notifier, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, Request,
};
use rustix::mount::{UnmountFlags, unmount};

use super::files::Contents;
use super::fuse;
use super::wait_for;

/// Reads that the kernel may have sent without waiting for them; it would hold further ones back itself.
const MAX_BACKGROUND: u16 = 4096;

/// A mounted disk. Reads that it still holds fail when it is dropped.
pub(crate) struct FaultyFs {
    mountpoint: PathBuf,
    disk: Arc<Disk>,
    notifier: Notifier,
    _session: BackgroundSession,
}

/// A way in which the kernel asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// What a name or an inode is.
    Metadata,
    /// Which names there are.
    Names,
    Open,
    /// On each close of a descriptor.
    Flush,
}

/// The files, each of them an inode: the first is the one after the root's.
struct Disk {
    files: Vec<Mutex<File>>,
    modified: SystemTime,
    /// By [`Call`]: answers that wait, while there is to be none.
    held: [Mutex<Option<Vec<Answer>>>; 4],
}

type Answer = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
struct File {
    name: String,
    /// It is to be there only later.
    hidden: bool,
    bytes: Vec<u8>,
    fault: Fault,
    held: Vec<(Range<usize>, ReplyData)>,
    failed: usize,
}

#[derive(Debug)]
enum Fault {
    None,
    /// Reads of any of these bytes give EIO.
    Broken(Range<usize>),
    /// Reads of any of these bytes wait.
    Held(Range<usize>),
}

impl FaultyFs {
    /// Mounts a disk with these files, the newest last, on a directory, which it makes.
    pub(crate) fn mount(mountpoint: PathBuf, files: &[(&str, &Contents)]) -> Self {
        let file = |(name, contents): &(&str, &Contents)| {
            let (name, bytes) = ((*name).to_owned(), contents.bytes().to_vec());
            Mutex::new(File { name, hidden: false, bytes, fault: Fault::None, held: Vec::new(), failed: 0 })
        };
        let files = files.iter().map(file).collect();
        let disk = Arc::new(Disk { files, modified: fuse::long_ago(), held: Default::default() });
        let session = fuse::mount(&mountpoint, Served(Arc::clone(&disk)));
        Self { mountpoint, disk, notifier: session.notifier(), _session: session }
    }

    /// From now on reads of these bytes give EIO.
    pub(crate) fn fail(&self, name: &str, range: Range<usize>) {
        self.set_fault(name, Fault::Broken(range), 0..0);
    }

    /// From now on reads of the file wait.
    pub(crate) fn hold(&self, name: &str) {
        self.set_fault(name, Fault::Held(0..usize::MAX), 0..0);
    }

    /// From now on reads of these bytes wait. What the kernel has read of the others it keeps.
    pub(crate) fn hold_part(&self, name: &str, part: Range<usize>) {
        self.set_fault(name, Fault::Held(part.clone()), part);
    }

    /// All is well again with the file; reads that waited are answered.
    pub(crate) fn heal(&self, name: &str) {
        let mut file = self.file(name);
        file.fault = Fault::None;
        for (range, reply) in std::mem::take(&mut file.held) {
            reply.data(&file.bytes[range]);
        }
    }

    /// Waits until so many reads of the file are held.
    pub(crate) fn wait_until_held(&self, name: &str, reads: usize) {
        let held = || (self.file(name).held.len() >= reads).then_some(());
        wait_for(&format!("{reads} reads of {name} to be held"), held);
    }

    /// Waits until a read is held, whatever it is of.
    pub(crate) fn wait_until_any_held(&self) {
        let holds = |file: &Mutex<File>| !file.lock().expect("nobody panics here").held.is_empty();
        wait_for("a read to be held", || self.disk.files.iter().any(holds).then_some(()));
    }

    /// There is no answer to this as long as what is returned is there. A process that waits for one can't even be
    /// killed, so that must go first.
    #[must_use]
    pub(crate) fn hang(&self, call: Call) -> Hanging {
        self.disk.held(call).get_or_insert_default();
        Hanging { disk: Arc::clone(&self.disk), call }
    }

    /// Waits until somebody waits for the answer to this.
    pub(crate) fn wait_until_hung(&self, call: Call) {
        let hangs = || self.disk.held(call).as_ref().is_some_and(|held| !held.is_empty()).then_some(());
        wait_for(&format!("somebody to be waiting for {call:?}"), hangs);
    }

    /// From now on there is no such file, until there is.
    pub(crate) fn set_hidden(&self, name: &str, hidden: bool) {
        self.file(name).hidden = hidden;
    }

    /// How many reads of the file have failed.
    pub(crate) fn failures(&self, name: &str) -> usize {
        self.file(name).failed
    }

    /// Waits until so many have.
    pub(crate) fn wait_until_failed(&self, name: &str, reads: usize) {
        let failed = || (self.failures(name) >= reads).then_some(());
        wait_for(&format!("{reads} reads of {name} to fail"), failed);
    }

    /// What becomes of a file system whose server dies: it stays mounted, and whatever is asked of it fails.
    pub(crate) fn kill(&self) {
        // To force is to abort the connection; that somebody still uses the mount keeps it from being removed.
        let _ = unmount(&self.mountpoint, UnmountFlags::FORCE);
    }

    /// Sets it, and has the kernel forget what it has read of this part of the file; of all of it, where that is empty.
    fn set_fault(&self, name: &str, fault: Fault, part: Range<usize>) {
        let position = self.position(name);
        self.lock(position).fault = fault;
        let [offset, len] = [part.start, part.len()].map(|number| i64::try_from(number).expect("it fits"));
        self.notifier.inval_inode(inode(position), offset, len).expect("the kernel takes a notice");
    }

    fn position(&self, name: &str) -> usize {
        let named = |position: &usize| self.lock(*position).name == name;
        (0..self.disk.files.len()).find(named).unwrap_or_else(|| panic!("there is no file {name}"))
    }

    fn lock(&self, position: usize) -> MutexGuard<'_, File> {
        self.disk.files[position].lock().expect("nobody panics here")
    }

    fn file(&self, name: &str) -> MutexGuard<'_, File> {
        self.lock(self.position(name))
    }
}

impl Drop for FaultyFs {
    fn drop(&mut self) {
        fuse::take_down(&self.mountpoint);
    }
}

/// Answers all that was asked meanwhile when dropped.
pub(crate) struct Hanging {
    disk: Arc<Disk>,
    call: Call,
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let held = self.disk.held(self.call).take();
        held.into_iter().flatten().for_each(|answer| answer());
    }
}

fn inode(position: usize) -> INodeNo {
    INodeNo(INodeNo::ROOT.0 + 1 + position as u64)
}

/// If it is there.
fn name_of(file: &Mutex<File>) -> Option<String> {
    let file = file.lock().expect("nobody panics here");
    (!file.hidden).then(|| file.name.clone())
}

impl Disk {
    fn held(&self, call: Call) -> MutexGuard<'_, Option<Vec<Answer>>> {
        self.held[call as usize].lock().expect("nobody panics here")
    }

    /// Now, or once there is to be an answer.
    fn reply(self: &Arc<Self>, call: Call, answer: impl FnOnce(&Self) + Send + 'static) {
        let mut held = self.held(call);
        let Some(held) = &mut *held else {
            drop(held);
            return answer(self);
        };
        let disk = Arc::clone(self);
        held.push(Box::new(move || answer(&disk)));
    }

    fn by_inode(&self, inode: INodeNo) -> Option<&Mutex<File>> {
        self.files.get(usize::try_from(inode.0.checked_sub(INodeNo::ROOT.0 + 1)?).ok()?)
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let len = match inode {
            INodeNo::ROOT => None,
            inode => Some(self.by_inode(inode)?.lock().ok()?.bytes.len()),
        };
        Some(fuse::attributes(inode, len, self.modified + Duration::from_secs(inode.0)))
    }
}

/// What the kernel asks for.
struct Served(Arc<Disk>);

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.0.reply(Call::Metadata, move |disk| {
            let has_name = |file| name_of(file).is_some_and(|of| name == of.as_str());
            let position = disk.files.iter().position(has_name);
            fuse::reply_entry(position.and_then(|position| disk.attributes(inode(position))), reply);
        });
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.0.reply(Call::Metadata, move |disk| fuse::reply_attributes(disk.attributes(inode), reply));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.0.reply(Call::Open, |_| reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.0.reply(Call::Flush, |_| reply.ok());
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
        let Some(mut file) = self.0.by_inode(inode).and_then(|file| file.lock().ok()) else {
            return reply.error(Errno::ENOENT);
        };
        let asked = fuse::asked(file.bytes.len(), offset, size);
        match &file.fault {
            Fault::None => reply.data(&file.bytes[asked]),
            Fault::Broken(range) | Fault::Held(range)
                if asked.end <= range.start || range.end <= asked.start =>
            {
                reply.data(&file.bytes[asked])
            }
            Fault::Broken(_) => {
                file.failed += 1;
                reply.error(Errno::EIO);
            }
            Fault::Held(_) => file.held.push((asked, reply)),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.0.reply(Call::Names, move |disk| {
            let file = |(position, file)| Some((inode(position), name_of(file)?));
            fuse::reply_names(disk.files.iter().enumerate().filter_map(file), offset, reply);
        });
    }
}
