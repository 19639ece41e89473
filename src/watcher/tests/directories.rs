//! Directories: made, moved, deleted, with whatever is in them.

use super::*;

#[test]
fn misses_nothing_in_a_directory_just_made() {
    let mut field = Field::new();
    for round in 0..30 {
        let path = format!("a{round}/b/c");
        field.mkdir(&path);
        field.write(format!("{path}/file"), "x");
        field.write(format!("a{round}/file"), "x");
    }
    let all: Vec<String> = (0..30).flat_map(|n| [format!("a{n}/b/c/file"), format!("a{n}/file")]).collect();
    field.all_settled(&all);
}

#[test]
fn offers_all_that_is_in_a_tree_moved_in() {
    let mut field = Field::new();
    let deep = "a/".repeat(50);
    fs::create_dir_all(field.outside(&deep)).expect("made");
    fs::write(field.outside(&deep).join("file"), "x").expect("written");
    fs::write(field.outside("a/file"), "x").expect("written");
    fs::rename(field.outside("a"), field.path("b")).expect("renamed");
    let deep = PathBuf::from("b").join(&deep[2..]).join("file");
    field.all_settled(&[deep, "b/file".into()]);
}

#[test]
fn follows_a_directory_renamed_within_and_still_watches_it() {
    let mut field = Field::new();
    field.mkdir("a/sub");
    field.mkdir("other");
    field.write("a/sub/file", "x");
    field.settled("a/sub/file");
    for (from, to) in [("a", "b"), ("b", "other/c"), ("other/c", "a")] {
        field.rename(from, to);
        let file = Path::new(to).join("sub/file");
        let all = field.until_said("settled", &file);
        assert_eq!(of(&all, Path::new(from).join("sub/file")), ["gone"]);
        for name in ["new", "sub/new"] {
            let new = Path::new(to).join(name);
            field.write(&new, "x");
            field.settled(&new);
            field.remove(&new);
            field.gone(&new);
        }
    }
}

#[test]
fn tells_directories_apart_that_swap_their_names() {
    let mut field = Field::new();
    field.mkdir("a");
    field.mkdir("b");
    field.write("a/one", "x");
    field.write("b/two", "x");
    field.all_settled(&["a/one", "b/two"]);
    field.rename("a", ".tmp");
    field.rename("b", "a");
    field.rename(".tmp", "b");
    field.all_settled(&["b/one", "a/two"]);
    field.write("a/three", "x");
    field.settled("a/three");
    field.write("b/four", "x");
    field.settled("b/four");
}

#[test]
fn forgets_all_below_a_directory_that_goes() {
    let mut field = Field::new();
    field.mkdir("a/b");
    field.write("a/one", "x");
    field.write("a/b/two", "x");
    field.settled("a/b/two");
    fs::rename(field.path("a"), field.outside("a")).expect("renamed");
    let mut all = field.until_said("gone", "a/one");
    all.extend(field.meanwhile());
    assert_eq!(of(&all, "a/b/two").last(), Some(&"gone"));
    // What happens there now is nobody's business.
    fs::write(field.outside("a/one"), "y").expect("written");
    fs::write(field.outside("a/b/two"), "y").expect("written");
    assert_eq!(field.meanwhile(), []);
}

#[test]
fn watches_a_directory_that_is_deleted_and_made_again() {
    let mut field = Field::new();
    for _ in 0..3 {
        field.mkdir("a/b");
        field.write("a/b/file", "x");
        field.settled("a/b/file");
        fs::remove_dir_all(field.path("a")).expect("removed");
        // No wait for the end: the next one may well have the same inode number.
    }
    field.gone("a/b/file");
    field.mkdir("a/b");
    field.write("a/b/last", "x");
    field.settled("a/b/last");
}

#[test]
fn outlives_the_watched_directory() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    fs::rename(field.path(""), field.outside("away")).expect("renamed");
    field.gone("a");
    field.check("a");
    assert_eq!(field.sent(), []);
    // Back again, it is the same directory, and served again.
    fs::rename(field.outside("away"), field.path("")).expect("renamed");
    field.settled("a");
    field.write("b", "x");
    field.settled("b");
}

#[test]
fn serves_nothing_out_of_another_directory_in_the_watched_one_s_place() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    fs::rename(field.path(""), field.outside("away")).expect("renamed");
    fs::create_dir(field.path("")).expect("made");
    field.write("b", "x");
    field.gone("a");
    field.check("b");
    assert_eq!(field.sent(), []);
}

#[test]
fn watches_directories_that_lie_in_each_other() {
    let temp = ground();
    fs::create_dir_all(temp.path().join("root/sub/deep")).expect("made");
    let directories = [temp.path().join("root"), temp.path().join("root/sub")];
    let roots = Arc::new(Roots::open(&directories).expect("directories"));
    let (sender, mut events) = mpsc::channel(16);
    let (_handle, _watcher) = start(Arc::clone(&roots), &WatchConfig::default(), sender).expect("inotify");
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut expect = |mut both: Vec<(&'static str, RootId, &Path)>| {
        while !both.is_empty() {
            let next = runtime.block_on(async { tokio::time::timeout(PATIENCE, events.recv()).await });
            let event = next.expect("an event in time").expect("the watcher lives");
            let at = match &event {
                WatchEvent::Settled(file) => &file.at,
                WatchEvent::Gone(at) => at,
                WatchEvent::Found(..)
                | WatchEvent::Pending(_)
                | WatchEvent::Still(_)
                | WatchEvent::Scanned(_) => continue,
            };
            both.retain(|(what, root, path)| {
                *what != said(&event).0 || *root != at.root || **path != *at.path
            });
        }
    };
    let ids: Vec<RootId> = roots.iter().map(|(id, _)| id).collect();
    fs::write(temp.path().join("root/sub/deep/file"), "x").expect("written");
    let (outer, inner) = (Path::new("sub/deep/file"), Path::new("deep/file"));
    expect(vec![("settled", ids[0], outer), ("settled", ids[1], inner)]);
    // Out of the one's sight is not out of the other's.
    fs::rename(temp.path().join("root/sub"), temp.path().join("root/.sub")).expect("renamed");
    expect(vec![("gone", ids[0], outer), ("gone", ids[1], inner)]);
}
