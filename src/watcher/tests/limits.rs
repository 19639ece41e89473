//! What the system refuses. A test has more rights and higher limits than that takes, so each runs itself once more in
//! a user namespace of its own: `ignored` there, and started by the test of the same name.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

/// Runs an ignored test of this file where `prepare`, a line of shell, has run before. Without `map_root` it has no
/// more rights than the owner of its files.
fn passes_in_a_namespace(test: &str, map_root: bool, prepare: &str) {
    let binary = std::env::current_exe().expect("this test binary");
    let name = format!("watcher::tests::limits::{test}");
    let output = Command::new("unshare")
        .arg(if map_root { "--map-root-user" } else { "--user" })
        .args(["sh", "-c", &format!("{prepare}; exec \"$0\" --ignored --exact \"$1\"")])
        .arg(binary)
        .arg(name)
        .output()
        .expect("unshare, from Debian's util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

#[test]
fn leaves_out_what_it_may_not_read() {
    passes_in_a_namespace("without_rights", false, ":");
}

#[test]
#[ignore = "is run by leaves_out_what_it_may_not_read"]
fn without_rights() {
    let mut field = Field::new();
    field.mkdir("d/e");
    field.write("d/e/b", "x");
    field.write("a", "x");
    field.all_settled(&["a", "d/e/b"]);
    allow(&field.path("a"), 0o000);
    field.gone("a");
    allow(&field.path("d"), 0o000);
    field.gone("d/e/b");
    allow(&field.path("a"), 0o400);
    field.settled("a");
    allow(&field.path("d"), 0o700);
    field.settled("d/e/b");
    field.write("d/e/c", "x");
    field.settled("d/e/c");
}

#[test]
fn reads_directories_that_it_may_not_watch() {
    passes_in_a_namespace("with_three_watches", true, "echo 3 > /proc/sys/user/max_inotify_watches");
}

#[test]
#[ignore = "is run by reads_directories_that_it_may_not_watch"]
fn with_three_watches() {
    let temp = ground();
    for name in ["a", "b", "c", "d", "e"] {
        fs::create_dir(temp.path().join("root").join(name)).expect("made");
        fs::write(temp.path().join("root").join(name).join("file"), "x").expect("written");
    }
    let mut field = Field::on(temp);
    field.all_settled(&["a/file", "b/file", "c/file", "d/file", "e/file"]);
    for name in ["a", "b", "c", "d", "e"] {
        field.write(format!("{name}/new"), "x");
    }
    field.all_settled(&["a/new", "b/new", "c/new", "d/new", "e/new"]);
}

#[test]
fn watches_disks_together_where_there_is_but_one_instance() {
    passes_in_a_namespace("with_one_instance", true, "echo 1 > /proc/sys/user/max_inotify_instances");
}

#[test]
#[ignore = "is run by watches_disks_together_where_there_is_but_one_instance"]
fn with_one_instance() {
    let (directories, roots) = disks::two_disks();
    let (sender, mut events) = mpsc::channel(16);
    let (handle, _watcher) = start(Arc::clone(&roots), &WatchConfig::default(), sender).expect("inotify");
    assert_eq!(disks::scans(&mut events, 2).len(), 1, "both at once");
    assert_eq!(handle.one_of_each_thread().count(), 1);
    disks::assert_noticed(&directories, &roots, &mut events);
}

#[test]
fn says_what_to_do_when_it_may_not_watch_at_all() {
    passes_in_a_namespace("without_instances", true, "echo 0 > /proc/sys/user/max_inotify_instances");
}

#[test]
#[ignore = "is run by says_what_to_do_when_it_may_not_watch_at_all"]
fn without_instances() {
    let temp = ground();
    let roots = Arc::new(Roots::open(&[temp.path().join("root")]).expect("a directory"));
    let (sender, _events) = mpsc::channel(1);
    let error = start(roots, &WatchConfig::default(), sender).expect_err("refused").to_string();
    assert!(error.contains("fs.inotify.max_user_instances"), "{error}");
}
