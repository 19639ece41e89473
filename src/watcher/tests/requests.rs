//! What is asked of the watcher, and how it ends.

use std::sync::mpsc as sync;

use super::*;

#[test]
fn a_check_sees_what_was_made_just_now() {
    let mut field = Field::new();
    for round in 0..50 {
        let path = format!("new{round}/deep/file");
        field.mkdir(format!("new{round}/deep"));
        field.write(&path, "x");
        field.check(&path);
        let sent = field.sent();
        // The writer himself may have been heard, if the directory was watched before the file was in it.
        let said = of(&sent, &path);
        assert!(said.contains(&"found") || said.contains(&"pending"), "{path}: {sent:?}");
    }
}

#[test]
fn a_check_sees_what_was_deleted_or_replaced_just_now() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    field.remove("a");
    field.check("a");
    assert_eq!(of(&field.sent(), "a"), ["gone"]);
    field.write("a", "x");
    field.settled("a");
    field.write("b", "other");
    field.rename("b", "a");
    field.check("a");
    let said = of(&field.sent(), "a")[0];
    assert!(["still", "settled"].contains(&said), "{said}");
}

#[test]
fn a_check_through_a_link_to_a_directory_sees_where_it_leads_now() {
    let mut field = Field::new();
    field.mkdir("one");
    field.mkdir("two");
    field.write("one/a", "x");
    field.symlink("one", "link");
    field.settled("link/a");
    field.symlink("two", ".tmp");
    field.rename(".tmp", "link");
    field.check("link/a");
    assert_eq!(of(&field.sent(), "link/a"), ["gone"]);
}

#[test]
fn a_check_of_what_can_t_be_offered_says_nothing() {
    let mut field = Field::new();
    field.mkdir("d");
    let long = "a/".repeat(3000) + &"b".repeat(300);
    for path in
        ["", "none", "none/none", "d", "d/", ".", "..", "../root/a", "/etc/passwd", "a\0b", ".d/a", &long]
    {
        field.check(path);
        assert_eq!(field.sent(), [], "{path}");
    }
    field.write("d/a", "x");
    assert_eq!(field.settled("d/a").at, field.at("d//./a"));
}

#[test]
fn many_checks_at_once_all_end() {
    let mut field = Field::new();
    field.write("a", "x");
    let spawn = |_| {
        let (handle, at) = (field.handle.clone(), field.at("a"));
        field.runtime.spawn(async move { handle.check(at).await })
    };
    let checks: Vec<_> = (0..2 * CHECK_QUEUE).map(spawn).collect();
    field.runtime.block_on(async {
        for check in checks {
            let checked = tokio::time::timeout(PATIENCE, check).await.expect("in time").expect("no panic");
            assert_eq!(checked, Ok(()));
        }
    });
    field.settled("a");
}

#[test]
fn a_file_that_changed_under_the_hasher_settles_again() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    field.handle.unsettled(field.at("a"));
    let all = field.until_said("settled", "a");
    assert_eq!(of(&all, "a"), ["pending", "settled"], "though on the disk nothing moved");
    field.remove("a");
    field.gone("a");
    field.handle.unsettled(field.at("a"));
    assert_eq!(field.meanwhile(), []);
}

/// Runs it in another thread and waits for its end.
fn in_time(what: impl FnOnce() + Send + 'static) {
    let (done, ended) = sync::channel();
    std::thread::spawn(move || {
        what();
        let _ = done.send(());
    });
    ended.recv_timeout(PATIENCE).expect("it ends");
}

/// A watcher with more to say than anybody reads.
fn choked() -> (TempDir, WatcherHandle, Watcher, mpsc::Receiver<WatchEvent>) {
    let temp = ground();
    for name in 0..100 {
        fs::write(temp.path().join(format!("root/{name}")), "x").expect("written");
    }
    let roots = Arc::new(Roots::open(&[temp.path().join("root")]).expect("a directory"));
    let (sender, events) = mpsc::channel(1);
    let (handle, watcher) = start(roots, &WatchConfig::default(), sender).expect("inotify");
    (temp, handle, watcher, events)
}

#[test]
fn stops_though_nobody_reads() {
    let (_temp, _handle, watcher, events) = choked();
    in_time(move || drop(watcher));
    drop(events);
}

#[test]
fn stops_when_the_reader_is_gone() {
    let (_temp, handle, watcher, events) = choked();
    let root = Field::new().at("a");
    drop(events);
    in_time(move || {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(handle.check(root)).expect("it is at an end, and hangs nowhere");
        drop(watcher);
    });
}

#[test]
fn ends_when_no_handle_is_left() {
    let Field { temp: _temp, mut events, handle, _watcher, runtime, .. } = Field::new();
    drop(handle);
    let end = runtime.block_on(async { tokio::time::timeout(PATIENCE, events.recv()).await });
    assert_eq!(end.expect("in time"), None);
}
