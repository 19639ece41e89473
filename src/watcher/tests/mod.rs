//! The watcher over real directories. A test says what somebody does to files and waits for what the watcher says;
//! that something is *not* said is shown by waiting for what must come after it.

mod directories;
mod disks;
mod files;
mod limits;
mod links;
mod losses;
mod requests;
mod turmoil;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::settle::SCAN_QUIET;
use super::*;
use crate::files::{Binding, RootId};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of event and the path it is of, as text.
type Said = (&'static str, PathBuf);

/// A watched directory `root` in a temporary one, and its watcher.
struct Field {
    temp: TempDir,
    roots: Arc<Roots>,
    root: RootId,
    events: mpsc::Receiver<WatchEvent>,
    handle: WatcherHandle,
    _watcher: Watcher,
    runtime: Runtime,
}

/// A temporary directory with an empty `root` in it.
pub(super) fn ground() -> TempDir {
    let temp = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(temp.path().join("root")).expect("made");
    temp
}

impl Field {
    fn new() -> Self {
        Self::on(ground())
    }

    /// Watches what is there already, and waits until it has been read.
    fn on(temp: TempDir) -> Self {
        let mut field = Self::unread(temp);
        field.until(|event| matches!(event, WatchEvent::Scanned(_)));
        field
    }

    fn unread(temp: TempDir) -> Self {
        Self::with(temp, &WatchConfig::default())
    }

    fn with(temp: TempDir, config: &WatchConfig) -> Self {
        let roots = Arc::new(Roots::open(&[temp.path().join("root")]).expect("a directory"));
        let root = roots.iter().next().expect("one").0;
        let (sender, events) = mpsc::channel(16);
        let (handle, watcher) = start(Arc::clone(&roots), config, sender).expect("inotify");
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { temp, roots, root, events, handle, _watcher: watcher, runtime }
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.temp.path().join("root").join(path)
    }

    /// A path beside the watched directory.
    fn outside(&self, path: impl AsRef<Path>) -> PathBuf {
        self.temp.path().join(path)
    }

    /// Makes a file as most programs do: open, write, close.
    fn write(&self, path: impl AsRef<Path>, contents: &str) {
        fs::write(self.path(path), contents).expect("written");
    }

    fn mkdir(&self, path: impl AsRef<Path>) {
        fs::create_dir_all(self.path(path)).expect("made");
    }

    fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    fn remove(&self, path: impl AsRef<Path>) {
        fs::remove_file(self.path(path)).expect("removed");
    }

    fn symlink(&self, target: impl AsRef<Path>, link: impl AsRef<Path>) {
        std::os::unix::fs::symlink(target, self.path(link)).expect("linked");
    }

    fn create(&self, path: impl AsRef<Path>) -> File {
        File::create(self.path(path)).expect("created")
    }

    fn append(&self, path: impl AsRef<Path>) -> File {
        File::options().append(true).open(self.path(path)).expect("opened")
    }

    fn at(&self, path: impl AsRef<Path>) -> FilePath {
        FilePath::new(self.root, path.as_ref())
    }

    fn check(&self, path: impl AsRef<Path>) {
        self.runtime.block_on(async {
            let check = self.handle.check(self.at(path));
            tokio::time::timeout(PATIENCE, check).await.expect("checked in time").expect("it answers");
        });
    }

    /// What was sent and not read yet; of little use but after a check.
    fn sent(&mut self) -> Vec<Said> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|event| said(&event)).collect()
    }

    fn next(&mut self) -> WatchEvent {
        let next = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.events.recv()).await });
        next.expect("an event in time").expect("the watcher lives")
    }

    fn next_within(&mut self, time: Duration) -> Option<WatchEvent> {
        let next = self.runtime.block_on(async { tokio::time::timeout(time, self.events.recv()).await });
        next.ok().map(|event| event.expect("the watcher lives"))
    }

    /// All that is said until then, and that too.
    fn until(&mut self, last: impl Fn(&WatchEvent) -> bool) -> Vec<Said> {
        let mut all = Vec::new();
        loop {
            let event = self.next();
            all.push(said(&event));
            if last(&event) {
                return all;
            }
        }
    }

    /// All that is said until this is said of that path.
    fn until_said(&mut self, what: &'static str, path: impl AsRef<Path>) -> Vec<Said> {
        let last = (what, path.as_ref().to_owned());
        self.until(|event| said(event) == last)
    }

    fn settled(&mut self, path: impl AsRef<Path>) -> SettledFile {
        let path = path.as_ref();
        loop {
            if let WatchEvent::Settled(file) = self.next()
                && *file.at.path == *path
            {
                let target = fs::symlink_metadata(self.path(&file.target)).expect("it is there");
                assert_eq!(file.binding, Binding::of(&target), "the binding of {path:?}");
                return file;
            }
        }
    }

    fn all_settled(&mut self, paths: &[impl AsRef<Path>]) {
        let mut missing: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
        while !missing.is_empty() {
            let (what, path) = said(&self.next());
            missing.retain(|missing| what != "settled" || *missing != path);
        }
    }

    fn gone(&mut self, path: impl AsRef<Path>) {
        self.until_said("gone", path);
    }

    /// All that is said until a file that is written now has settled.
    fn meanwhile(&mut self) -> Vec<Said> {
        fs::write(self.path("meanwhile"), "x").expect("written");
        let mut all = self.until_said("settled", "meanwhile");
        self.remove("meanwhile");
        all.extend(self.until_said("gone", "meanwhile"));
        all.retain(|(_, path)| path != OsStr::new("meanwhile"));
        all
    }

    /// All that is said for as long as a file must hold still that no close was heard of.
    fn long_meanwhile(&mut self) -> Vec<Said> {
        let elsewhere = self.outside("elsewhere");
        fs::write(&elsewhere, "x").expect("written");
        fs::hard_link(&elsewhere, self.path("long")).expect("linked");
        let mut all = self.until_said("settled", "long");
        self.remove("long");
        all.extend(self.until_said("gone", "long"));
        all.retain(|(_, path)| path != OsStr::new("long"));
        all
    }
}

/// Inotify alone, and nothing set.
pub(super) fn plan() -> Plan {
    Plan {
        ask_mounts: false,
        left_out: Arc::new(LeftOut::new(&[]).expect("a set")),
        rules: Rules::new(Duration::ZERO),
        capacity: Arc::new(Capacity::new()),
    }
}

fn said(event: &WatchEvent) -> Said {
    match event {
        WatchEvent::Found(at, _) => ("found", at.path.to_path_buf()),
        WatchEvent::Pending(at) => ("pending", at.path.to_path_buf()),
        WatchEvent::Still(file) => ("still", file.at.path.to_path_buf()),
        WatchEvent::Settled(file) => ("settled", file.at.path.to_path_buf()),
        WatchEvent::Gone(at) => ("gone", at.path.to_path_buf()),
        WatchEvent::Scanned(_) => ("scanned", PathBuf::new()),
    }
}

/// What was said of one path.
fn of(all: &[Said], path: impl AsRef<Path>) -> Vec<&'static str> {
    all.iter().filter(|(_, said)| said == path.as_ref()).map(|(what, _)| *what).collect()
}

fn put(file: &mut File, contents: &str) {
    file.write_all(contents.as_bytes()).expect("written");
}

/// Waits until a file is so old that a scan need not wait for it.
fn let_age(path: &Path) {
    let binding = Binding::of(&fs::symlink_metadata(path).expect("it is there"));
    while binding.age(SystemTime::now()) < SCAN_QUIET {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("it is there").ino()
}
