//! One file at a time: written, moved, replaced, deleted.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::UNIX_EPOCH;

use super::*;

#[test]
fn offers_old_files_at_once_and_before_it_says_scanned() {
    let temp = ground();
    for name in ["a", "b"] {
        fs::write(temp.path().join("root").join(name), "x").expect("written");
    }
    let_age(&temp.path().join("root/b"));
    let mut field = Field::unread(temp);
    let all = field.until(|event| matches!(event, WatchEvent::Scanned(_)));
    assert_eq!(of(&all, "a"), ["settled"]);
    assert_eq!(of(&all, "b"), ["settled"]);
}

#[test]
fn holds_back_a_file_that_was_just_written_when_it_starts() {
    let temp = ground();
    fs::write(temp.path().join("root/a"), "x").expect("written");
    let mut field = Field::unread(temp);
    let all = field.until(|event| matches!(event, WatchEvent::Scanned(_)));
    assert_eq!(of(&all, "a"), ["found"]);
    field.settled("a");
}

#[test]
fn offers_a_copied_file() {
    let mut field = Field::new();
    fs::write(field.outside("a"), "hello").expect("written");
    for flags in ["-f", "-p", "--reflink=auto"] {
        let status =
            Command::new("cp").arg(flags).arg(field.outside("a")).arg(field.path("a")).status().expect("cp");
        assert!(status.success());
        let file = field.settled("a");
        assert_eq!(*file.target, *Path::new("a"));
        assert_eq!(file.binding.size(), 5);
        field.remove("a");
        field.gone("a");
    }
}

#[test]
fn holds_a_file_back_for_as_long_as_somebody_writes_it() {
    let mut field = Field::new();
    let mut file = field.create("slow");
    put(&mut file, "some");
    field.until_said("pending", "slow");
    assert_eq!(of(&field.long_meanwhile(), "slow"), [""; 0]);
    put(&mut file, "more");
    // Neither somebody's question nor time ends it.
    field.check("slow");
    assert_eq!(of(&field.long_meanwhile(), "slow"), [""; 0]);
    drop(file);
    assert_eq!(field.settled("slow").binding.size(), 8);
}

#[test]
fn offers_a_file_moved_in() {
    let mut field = Field::new();
    fs::write(field.outside("a"), "hello").expect("written");
    fs::rename(field.outside("a"), field.path("a")).expect("renamed");
    field.settled("a");
}

#[test]
fn forgets_a_file_moved_out() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    fs::rename(field.path("a"), field.outside("a")).expect("renamed");
    field.gone("a");
}

#[test]
fn follows_a_rename_within() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    field.rename("a", "b");
    let all = field.until_said("settled", "b");
    assert_eq!(of(&all, "a"), ["gone"]);
}

#[test]
fn sees_a_file_replaced_by_rename() {
    let mut field = Field::new();
    field.write("a", "old");
    let old = field.settled("a");
    field.write(".a.new", "new");
    field.rename(".a.new", "a");
    let new = field.settled("a");
    assert!(!new.binding.same_contents(&old.binding));
    assert_eq!(of(&field.long_meanwhile(), "a"), [""; 0]);
}

#[test]
fn a_file_replaced_by_rename_is_not_gone_in_between() {
    let mut field = Field::new();
    field.write("a", "old");
    field.settled("a");
    field.write(".a.new", "new");
    field.rename(".a.new", "a");
    let all = field.until_said("settled", "a");
    assert!(!of(&all, "a").contains(&"gone"), "{all:?}");
}

#[test]
fn forgets_a_deleted_file() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    field.remove("a");
    field.gone("a");
    field.write("a", "y");
    field.settled("a");
}

#[test]
fn sees_an_append_in_place() {
    let mut field = Field::new();
    field.write("a", "some");
    field.settled("a");
    let mut file = field.append("a");
    put(&mut file, "more");
    field.until_said("pending", "a");
    drop(file);
    assert_eq!(field.settled("a").binding.size(), 8);
}

#[test]
fn sees_a_truncation_in_place() {
    let mut field = Field::new();
    field.write("a", "something");
    field.settled("a");
    let file = field.append("a");
    file.set_len(4).expect("truncated");
    field.until_said("pending", "a");
    drop(file);
    assert_eq!(field.settled("a").binding.size(), 4);
}

#[test]
fn offers_an_empty_file_once_it_has_bytes() {
    let mut field = Field::new();
    field.write("a", "");
    assert_eq!(of(&field.meanwhile(), "a"), [""; 0]);
    field.write("a", "x");
    let all = field.until_said("settled", "a");
    let said = of(&all, "a");
    assert_eq!((said.first(), said.last()), (Some(&"pending"), Some(&"settled")), "{said:?}");
}

#[test]
fn forgets_a_file_that_was_emptied() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    let mut file = field.create("a");
    field.gone("a");
    put(&mut file, "y");
    field.until_said("pending", "a");
    drop(file);
    field.settled("a");
}

#[test]
fn offers_a_hard_link_though_nobody_closes_it() {
    let mut field = Field::new();
    fs::write(field.outside("a"), "x").expect("written");
    fs::hard_link(field.outside("a"), field.path("a")).expect("linked");
    let all = field.until_said("settled", "a");
    assert_eq!(of(&all, "a"), ["found", "settled"]);
}

#[test]
fn says_nothing_of_a_close_that_changed_nothing() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    drop(field.append("a"));
    assert_eq!(of(&field.long_meanwhile(), "a"), [""; 0]);
}

#[test]
fn offers_a_file_anew_when_only_its_metadata_changed() {
    let mut field = Field::new();
    field.write("a", "x");
    let before = field.settled("a");
    fs::set_permissions(field.path("a"), fs::Permissions::from_mode(0o600)).expect("changed");
    let all = field.until_said("settled", "a");
    assert_eq!(of(&all, "a"), ["pending", "settled"], "it isn't known that the old bytes remain true");
    field.check("a");
    assert_eq!(field.sent(), []);
    // The kernel tells the directory nothing of a link made elsewhere.
    fs::hard_link(field.path("a"), field.outside("b")).expect("linked");
    field.check("a");
    let after = field.settled("a");
    assert!(after.binding.same_contents(&before.binding));
}

#[test]
fn settles_a_touched_file_again() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    File::open(field.path("a")).expect("opened").set_modified(UNIX_EPOCH).expect("touched");
    let all = field.until_said("settled", "a");
    assert_eq!(of(&all, "a"), ["pending", "settled"]);
    let status = Command::new("touch").arg(field.path("a")).status().expect("touch");
    assert!(status.success());
    let all = field.until_said("settled", "a");
    assert_eq!(of(&all, "a"), ["pending", "settled"]);
}

#[test]
fn leaves_out_hidden_names_and_odd_files() {
    let mut field = Field::new();
    field.write(".a", "x");
    field.mkdir(".d/e");
    field.write(".d/a", "x");
    field.write(".d/e/a", "x");
    let status = Command::new("mkfifo").arg(field.path("fifo")).status().expect("mkfifo");
    assert!(status.success());
    for path in [".a", ".d/a", ".d/e/a", "fifo"] {
        field.check(path);
    }
    assert_eq!(field.meanwhile(), []);
    field.rename(".a", "a");
    field.settled("a");
    field.rename("a", ".a");
    field.gone("a");
}

#[test]
fn takes_any_bytes_for_a_name() {
    let mut field = Field::new();
    for name in [&b"\xff\xfe"[..], b"a b", b"%41&#'\"", b"\n", b"\xc3\xa4"] {
        let name = OsStr::from_bytes(name);
        field.write(name, "x");
        let file = field.settled(name);
        assert_eq!(file.name(), name.as_bytes());
        field.remove(name);
        field.gone(name);
    }
}

#[test]
fn says_gone_when_a_directory_takes_a_file_s_place() {
    let mut field = Field::new();
    field.write("a", "x");
    field.settled("a");
    field.remove("a");
    field.mkdir("a");
    field.write("a/b", "x");
    let all = field.until_said("settled", "a/b");
    assert_eq!(of(&all, "a"), ["gone"]);
}

#[test]
fn settles_a_file_ever_later_that_is_appended_to_again_and_again() {
    let mut field = Field::new();
    field.write("a", "x");
    for _ in 0..5 {
        field.settled("a");
        put(&mut field.append("a"), "more");
    }
    // The wait is more than a second by now; a file that is new settles at once.
    let all = field.meanwhile();
    assert_eq!(of(&all, "a"), ["pending"]);
    field.settled("a");
}
