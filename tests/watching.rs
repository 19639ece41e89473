//! What happens to files while the program watches: whatever a user does to a directory, what is served is what lies
//! there.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::files::{Contents, KIB, MIB};
use crate::support::process::run;
use crate::support::watched::Watched;
use crate::support::wire::Peer;

#[test]
fn a_copied_file_and_a_moved_file_in_a_directory_made_a_moment_before_are_served() {
    let watched = Watched::new();
    for (seed, program) in [(1, "cp"), (2, "mv")] {
        let contents = Contents::new(seed, 3 * MIB);
        contents.write(watched.outside("source"));
        let name = format!("{program}/a/b/file.iso");
        watched.make_directory(&format!("{program}/a/b"));
        run(program, &watched.outside("source"), &watched.path(&name));
        // At once: a script's next line is this request.
        watched.server.torrent(&name).assert_describes(&contents);
    }
}

#[test]
fn a_tree_moved_in_is_served_with_all_that_lies_in_it() {
    let watched = Watched::new();
    let deep = watched.outside("tree/x/y/z");
    fs::create_dir_all(&deep).expect("a directory can be made");
    let [top, bottom] = [Contents::new(1, KIB), Contents::new(2, KIB)];
    top.write(watched.outside("tree/top"));
    bottom.write(deep.join("bottom"));
    fs::rename(watched.outside("tree"), watched.path("tree")).expect("a tree can be moved");
    watched.assert_serves("tree/x/y/z/bottom", &bottom);
    watched.assert_serves("tree/top", &top);
    fs::rename(watched.path("tree/x"), watched.path("renamed")).expect("a directory can be renamed");
    watched.assert_serves("renamed/y/z/bottom", &bottom);
    watched.assert_gone("tree/x/y/z/bottom");
    watched.assert_serves("tree/top", &top);
    fs::rename(watched.path("renamed"), watched.outside("away")).expect("a tree can be moved");
    watched.assert_gone("renamed/y/z/bottom");
    fs::remove_dir_all(watched.path("tree")).expect("a tree can be deleted");
    watched.assert_gone("tree/top");
}

#[test]
fn many_files_dropped_in_at_once_are_all_served() {
    let watched = Watched::new();
    let files: Vec<Contents> = (0..300).map(|seed| Contents::new(seed, KIB)).collect();
    for (n, contents) in files.iter().enumerate() {
        let directory = format!("many/{}", n % 17);
        watched.make_directory(&directory);
        contents.write(watched.path(format!("{directory}/{n}")));
    }
    for (n, contents) in files.iter().enumerate() {
        watched.server.torrent(format!("many/{}/{n}", n % 17)).assert_describes(contents);
    }
}

#[test]
fn a_file_replaced_by_rename_is_served_with_its_new_contents_under_the_same_name() {
    let watched = Watched::new();
    let [old, new] = [Contents::new(1, MIB), Contents::new(2, MIB)];
    old.write(watched.path("file"));
    let first = watched.assert_serves("file", &old);
    new.write(watched.outside("next"));
    fs::rename(watched.outside("next"), watched.path("file")).expect("a file can be replaced");
    let second = watched.server.torrent("file");
    second.assert_describes(&new);
    assert_ne!(first.info_hash, second.info_hash);
    // And back and forth, as a nightly build would.
    for round in 3..8 {
        let next = Contents::new(round, 100 * KIB);
        next.write(watched.path(".next"));
        fs::rename(watched.path(".next"), watched.path("file")).expect("a file can be replaced");
        watched.server.torrent("file").assert_describes(&next);
    }
}

/// inotify is milliseconds behind; a script's next line is not.
#[test]
fn a_request_right_after_a_change_sees_that_change() {
    let watched = Watched::new();
    let path = watched.path("file");
    for round in 0..30 {
        let [first, second, third] = [1, 2, 3].map(|n| Contents::new(10 * round + n, KIB));
        first.write(&path);
        watched.server.torrent("file").assert_describes(&first);
        second.write(watched.path(".next"));
        fs::rename(watched.path(".next"), &path).expect("a file can be replaced");
        watched.server.torrent("file").assert_describes(&second);
        third.write(&path);
        watched.server.torrent("file").assert_describes(&third);
        fs::remove_file(&path).expect("a file can be deleted");
        watched.server.serve("file").expect_sentence(404);
    }
}

#[test]
fn a_deleted_file_is_gone_and_its_torrent_untracked() {
    let watched = Watched::new();
    for remove in [
        |watched: &Watched| fs::remove_file(watched.path("file")),
        |watched: &Watched| fs::rename(watched.path("file"), watched.outside("away")),
    ] {
        let contents = Contents::new(1, KIB);
        contents.write(watched.path("file"));
        let torrent = watched.assert_serves("file", &contents);
        remove(&watched).expect("a file can be removed");
        watched.server.serve("file").expect_sentence(404);
        watched.assert_untracked(&torrent);
    }
}

#[test]
fn the_same_bytes_under_two_names_are_served_until_the_last_is_deleted() {
    let watched = Watched::new();
    let contents = Contents::new(1, KIB);
    for name in ["one/file", "two/file"] {
        watched.make_directory(name.split_once('/').expect("it has a directory").0);
        contents.write(watched.path(name));
    }
    let torrent = watched.assert_serves("one/file", &contents);
    assert_eq!(watched.assert_serves("two/file", &contents).info_hash, torrent.info_hash);
    for (gone, left) in [("one/file", "two/file"), ("two/file", "one/file")] {
        fs::remove_file(watched.path(gone)).expect("a file can be deleted");
        watched.assert_gone(gone);
        watched.assert_serves(left, &contents);
        let block = Peer::join_unchoked(watched.server.peers(), torrent.info_hash).fetch(0, 0, 1024);
        assert!(block == contents.bytes());
        contents.write(watched.path(gone));
        watched.assert_serves(gone, &contents);
    }
    for name in ["one/file", "two/file"] {
        fs::remove_file(watched.path(name)).expect("a file can be deleted");
        watched.assert_gone(name);
    }
    watched.assert_untracked(&torrent);
}

#[test]
fn names_with_a_dot_and_empty_files_are_not_offered() {
    let watched = Watched::new();
    let contents = Contents::new(1, KIB);
    watched.make_directory(".hidden/sub");
    for name in [".file", ".hidden/file", ".hidden/sub/file"] {
        contents.write(watched.path(name));
        watched.server.serve(name).expect_sentence(404);
    }
    contents.write(watched.path("empty"));
    watched.assert_serves("empty", &contents);
    File::create(watched.path("empty")).expect("a file can be emptied");
    watched.server.serve("empty").expect_sentence(404);
    let again = Contents::new(2, KIB);
    again.write(watched.path("empty"));
    watched.server.torrent("empty").assert_describes(&again);
    fs::rename(watched.path(".file"), watched.path("file")).expect("a file can be renamed");
    watched.server.torrent("file").assert_describes(&contents);
    fs::rename(watched.path("file"), watched.path(".file")).expect("a file can be renamed");
    watched.server.serve("file").expect_sentence(404);
}

#[test]
fn symbolic_links_are_followed_only_while_they_stay_inside() {
    let watched = Watched::new();
    let [inside, secret] = [Contents::new(1, KIB), Contents::new(2, KIB)];
    watched.make_directory("real");
    inside.write(watched.path("real/file"));
    secret.write(watched.outside("secret"));
    let link = |target: &Path, name: &str| symlink(target, watched.path(name)).expect("a link can be made");
    link(Path::new("real/file"), "relative");
    link(&watched.path("real/file"), "absolute");
    link(Path::new("real"), "directory");
    link(&watched.outside("secret"), "leak");
    link(&watched.outside("."), "leaks");
    link(Path::new("/etc"), "etc");
    link(Path::new("."), "loop");
    for name in ["relative", "absolute", "directory/file"] {
        watched.assert_serves(name, &inside);
    }
    for name in ["leak", "leaks/secret", "etc/passwd"] {
        watched.server.serve(name).expect_sentence(404);
    }
    // Retargeted to the outside.
    link(&watched.outside("secret"), ".next");
    fs::rename(watched.path(".next"), watched.path("relative")).expect("a link can be replaced");
    watched.server.serve("relative").expect_sentence(404);
    // Its target replaced.
    let next = Contents::new(3, KIB);
    next.write(watched.path(".next"));
    fs::rename(watched.path(".next"), watched.path("real/file")).expect("a file can be replaced");
    for name in ["real/file", "absolute", "directory/file"] {
        watched.assert_serves(name, &next);
    }
}

#[test]
fn a_file_changed_in_place_is_served_anew() {
    let watched = Watched::new();
    let old = Contents::new(1, MIB);
    old.write(watched.path("file"));
    let first = watched.assert_serves("file", &old);
    let mut peer = Peer::join_unchoked(watched.server.peers(), first.info_hash);
    assert!(peer.fetch(0, 0, 1024) == old.bytes()[..KIB]);
    let new = Contents::new(2, MIB);
    new.write(watched.path("file"));
    let second = watched.server.torrent("file");
    second.assert_describes(&new);
    // Nobody is given bytes that his torrent doesn't stand for.
    peer.expect_close();
    watched.assert_untracked(&first);
    let mut peer = Peer::join_unchoked(watched.server.peers(), second.info_hash);
    assert!(peer.fetch(0, 0, 1024) == new.bytes()[..KIB]);
}
