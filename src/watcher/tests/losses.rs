//! Events that are lost, by the kernel or on the way: a look at everything finds out what they would have said.

use std::sync::Mutex;

use notify::EventHandler as _;

use super::*;
use crate::watcher::inbox::News;
use crate::watcher::settle::Heard;
use crate::watcher::watches::Watches;

#[test]
fn reading_all_again_says_nothing_of_what_is_known() {
    let mut field = Field::new();
    field.mkdir("d");
    field.write("d/a", "x");
    field.symlink("d", "link");
    field.all_settled(&["d/a", "link/a"]);
    field.handle.lose_events(field.root);
    field.check("none");
    assert_eq!(field.meanwhile(), []);
    // And goes on watching.
    field.write("d/b", "x");
    field.settled("link/b");
}

/// A survey whose news nobody hands to it: all events are lost.
struct Deaf {
    temp: TempDir,
    survey: Survey,
    events: mpsc::Receiver<WatchEvent>,
    news: mpsc::Receiver<News>,
    /// While this is held, nothing is read from the kernel.
    gate: Arc<Mutex<()>>,
}

impl Deaf {
    fn new() -> Self {
        let temp = ground();
        let roots = Arc::new(Roots::open(&[temp.path().join("root")]).expect("a directory"));
        let watched = roots.iter().map(|(id, _)| id).collect();
        let (mut handler, news) = inbox(Arc::default());
        let gate = Arc::new(Mutex::new(()));
        let behind = Arc::clone(&gate);
        let handler = move |event| {
            let _open = behind.lock();
            handler.handle_event(event);
        };
        let (sender, events) = mpsc::channel(1000);
        let out = Outlet::new(sender, CancellationToken::new()).expect("a runtime");
        let mut survey = Survey::new(roots, watched, Watches::new(handler).expect("inotify"), plan(), out);
        survey.scan_all(Heard::Looked).expect("goes on");
        Self { temp, survey, events, news, gate }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.temp.path().join("root").join(path)
    }

    /// Does it after the kernel's queue has run over, so that not even notify hears of it.
    fn unheard(&self, what: impl FnOnce()) {
        let closed = self.gate.lock();
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("Linux");
        let limit: usize = limit.trim().parse().expect("a number");
        let mut files = [".one", ".two"].map(|name| File::create(self.path(name)).expect("created"));
        // Two in turn, since the kernel makes one event of equal ones in a row. What was read at once is no more
        // than a buffer full.
        for event in 0..limit + 1000 {
            put(&mut files[event % 2], "x");
        }
        what();
        drop(closed);
    }

    /// Whether it is told of a change to this file.
    fn hears_of(&mut self, path: &str) -> bool {
        while self.news.try_recv().is_ok() {}
        let path = self.path(path).parent().expect("a directory").canonicalize().expect("there").join("file");
        fs::write(&path, "y").expect("written");
        let Self { news, survey, .. } = self;
        let heard = survey.out().wait(async {
            let heard = async {
                while let Some(news) = news.recv().await {
                    if news.path == path {
                        return;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, heard).await.is_ok()
        });
        heard.expect("goes on")
    }

    fn catch_up(&mut self) -> Vec<Said> {
        self.survey.scan_all(Heard::Lost).expect("goes on");
        let mut all: Vec<Said> =
            std::iter::from_fn(|| self.events.try_recv().ok()).map(|event| said(&event)).collect();
        all.sort();
        all
    }
}

#[test]
fn finds_out_all_that_happened_while_events_were_lost() {
    let mut deaf = Deaf::new();
    fs::create_dir_all(deaf.path("d/e")).expect("made");
    for path in ["a", "b", "d/c", "d/e/f"] {
        fs::write(deaf.path(path), "x").expect("written");
    }
    let_age(&deaf.path("d/e/f"));
    let settled = |path: &str| ("settled", PathBuf::from(path));
    assert_eq!(deaf.catch_up(), ["a", "b", "d/c", "d/e/f"].map(settled));
    assert_eq!(deaf.catch_up(), []);

    fs::remove_file(deaf.path("a")).expect("removed");
    fs::write(deaf.path("b"), "changed").expect("written");
    fs::rename(deaf.path("d"), deaf.path("0")).expect("renamed");
    fs::create_dir(deaf.path("d")).expect("made");
    fs::write(deaf.path("new"), "x").expect("written");
    let said = deaf.catch_up();
    assert_eq!(of(&said, "a"), ["gone"]);
    assert_eq!(of(&said, "b"), ["pending"]);
    assert_eq!(of(&said, "new"), ["found"]);
    assert_eq!((of(&said, "d/c"), of(&said, "d/e/f")), (vec!["gone"], vec!["gone"]));
    assert_eq!((of(&said, "0/c"), of(&said, "0/e/f")), (vec!["settled"], vec!["settled"]));
    assert_eq!(said.len(), 7);
}

#[test]
fn a_directory_moved_while_events_were_lost_is_still_watched() {
    let mut field = Field::new();
    field.mkdir("b/sub");
    field.write("b/sub/file", "x");
    field.settled("b/sub/file");
    // The check comes before the news of the rename, or after: either way the new place must be watched.
    for (from, to) in [("b", "a"), ("a", "c"), ("c", "b")] {
        field.rename(from, to);
        field.check(Path::new(to).join("sub/file"));
        field.handle.lose_events(field.root);
        let new = Path::new(to).join("sub/new");
        field.meanwhile();
        field.write(&new, "x");
        field.settled(&new);
        field.remove(&new);
        field.gone(&new);
    }
    assert_ne!(inode(&field.path("b")), inode(&field.path("b/sub")));
}

#[test]
fn watches_directories_that_were_moved_when_the_kernel_s_queue_ran_over() {
    let mut deaf = Deaf::new();
    for name in ["a", "m", "z"] {
        fs::create_dir_all(deaf.path(name).join("sub")).expect("made");
        std::os::unix::fs::symlink(name, deaf.path(&format!("to-{name}"))).expect("linked");
    }
    deaf.catch_up();
    // Whichever of the names is read first, old or new.
    deaf.unheard(|| {
        for (from, to) in [("m", "tmp"), ("a", "m"), ("z", "b"), ("tmp", "y")] {
            fs::rename(deaf.path(from), deaf.path(to)).expect("renamed");
        }
        fs::create_dir_all(deaf.path("z/sub")).expect("made");
    });
    deaf.catch_up();
    for path in
        ["b/file", "b/sub/file", "m/file", "m/sub/file", "y/file", "y/sub/file", "z/file", "z/sub/file"]
    {
        assert!(deaf.hears_of(path), "{path}");
    }
}

#[test]
fn watches_directories_made_again_when_the_kernel_s_queue_ran_over() {
    let mut deaf = Deaf::new();
    fs::create_dir_all(deaf.path("a/sub")).expect("made");
    deaf.catch_up();
    deaf.unheard(|| {
        fs::remove_dir_all(deaf.path("a")).expect("removed");
        fs::create_dir_all(deaf.path("a/sub")).expect("made");
    });
    deaf.catch_up();
    for path in ["a/file", "a/sub/file"] {
        assert!(deaf.hears_of(path), "{path}");
    }
}
