//! Watched directories on several disks: each has a thread of its own, as far as the system gives what that takes.
//! What hangs is in the integration tests, which have disks that do.

use super::*;

/// Two directories, on devices that differ: `/dev/shm` is a file system of its own on any Linux.
pub(super) fn two_disks() -> ([TempDir; 2], Arc<Roots>) {
    let directories = [std::env::temp_dir(), "/dev/shm".into()]
        .map(|disk: PathBuf| TempDir::new_in(disk).expect("a temporary directory"));
    let roots = Roots::open(&directories.each_ref().map(|directory| directory.path().to_owned()));
    let roots = Arc::new(roots.expect("two directories"));
    let devices: Vec<u64> = roots.iter().map(|(_, root)| root.device()).collect();
    assert_ne!(devices[0], devices[1], "two disks");
    (directories, roots)
}

/// Waits until what is said has each of these roots in turn; gives what was said of scans.
pub(super) fn scans(events: &mut mpsc::Receiver<WatchEvent>, roots: usize) -> Vec<Vec<RootId>> {
    let mut scans: Vec<Vec<RootId>> = Vec::new();
    while scans.iter().map(Vec::len).sum::<usize>() < roots {
        match next(events) {
            WatchEvent::Scanned(read) => scans.push(read),
            event => panic!("{event:?}"),
        }
    }
    scans.sort();
    scans
}

pub(super) fn next(events: &mut mpsc::Receiver<WatchEvent>) -> WatchEvent {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let event = runtime.block_on(async { tokio::time::timeout(PATIENCE, events.recv()).await });
    event.expect("in time").expect("the watcher lives")
}

/// Panics unless files in both are noticed.
pub(super) fn assert_noticed(
    directories: &[TempDir],
    roots: &Roots,
    events: &mut mpsc::Receiver<WatchEvent>,
) {
    for (directory, (id, _)) in directories.iter().zip(roots.iter()) {
        fs::write(directory.path().join("file"), "x").expect("written");
        loop {
            if let WatchEvent::Settled(file) = next(events) {
                assert_eq!(file.at, FilePath::new(id, "file"));
                break;
            }
        }
    }
}

#[test]
fn directories_of_two_disks_are_watched_apart() {
    let (directories, roots) = two_disks();
    let (sender, mut events) = mpsc::channel(16);
    let (handle, _watcher) = start(Arc::clone(&roots), &WatchConfig::default(), sender).expect("inotify");
    let each: Vec<RootId> = roots.iter().map(|(id, _)| id).collect();
    assert_eq!(scans(&mut events, 2), [[each[0]], [each[1]]]);
    assert_eq!(handle.one_of_each_thread().collect::<Vec<_>>(), each);
    assert_noticed(&directories, &roots, &mut events);
    // A question goes to whom it concerns.
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    for (directory, id) in directories.iter().zip(each) {
        fs::remove_file(directory.path().join("file")).expect("removed");
        runtime.block_on(handle.check(FilePath::new(id, "file"))).expect("it answers");
        assert_eq!(events.try_recv(), Ok(WatchEvent::Gone(FilePath::new(id, "file"))));
    }
}

#[test]
fn directories_that_lie_in_each_other_on_one_disk_are_watched_together() {
    let temp = ground();
    fs::create_dir(temp.path().join("root/inner")).expect("made");
    let roots = ["root", "root/inner"].map(|path| temp.path().join(path));
    let roots = Arc::new(Roots::open(&roots).expect("two directories"));
    let (sender, mut events) = mpsc::channel(16);
    let (handle, _watcher) = start(Arc::clone(&roots), &WatchConfig::default(), sender).expect("inotify");
    assert_eq!(scans(&mut events, 2), [roots.iter().map(|(id, _)| id).collect::<Vec<_>>()]);
    assert_eq!(handle.one_of_each_thread().count(), 1);
}

#[test]
fn when_one_thread_ends_all_do() {
    let (_directories, roots) = two_disks();
    let (sender, mut events) = mpsc::channel(16);
    let (handle, watcher) = start(Arc::clone(&roots), &WatchConfig::default(), sender).expect("inotify");
    scans(&mut events, 2);
    drop(handle);
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let end = runtime.block_on(async { tokio::time::timeout(PATIENCE, events.recv()).await });
    assert_eq!(end.expect("in time"), None);
    drop(watcher);
}
