//! What is left out by patterns: partial downloads unless told otherwise, and whatever else the operator names.

use std::fs;

use tempfile::TempDir;

use crate::support::files::{Contents, KIB};
use crate::support::server::Server;
use crate::support::watched::Watched;

#[test]
fn a_partial_download_appears_when_it_is_renamed_and_goes_when_it_is_renamed_back() {
    let watched = Watched::new();
    let contents = Contents::new(1, KIB);
    for end in [".part", ".tmp", ".aria2", ".crdownload", "~"] {
        let partial = format!("file{end}");
        contents.write(watched.path(&partial));
        watched.server.serve(&partial).expect_sentence(404);
        for _ in 0..2 {
            fs::rename(watched.path(&partial), watched.path("file")).expect("a file can be renamed");
            // At once: what is renamed into place is complete.
            watched.server.torrent("file").assert_describes(&contents);
            fs::rename(watched.path("file"), watched.path(&partial)).expect("a file can be renamed");
            watched.server.serve("file").expect_sentence(404);
            watched.server.serve(&partial).expect_sentence(404);
        }
    }
}

#[test]
fn patterns_leave_out_names_paths_and_all_below_a_directory() {
    let patterns = ["*.log", "/top", "sub/*.iso", "cache"];
    let watched =
        Watched::with(|setup| patterns.iter().fold(setup, |setup, glob| setup.option("--ignore", glob)));
    let contents = Contents::new(1, KIB);
    watched.make_directory("sub/deep/cache/below");
    watched.make_directory("cachet");
    let out =
        ["a.log", "sub/a.log", "top", "sub/a.iso", "sub/deep/cache/a", "sub/deep/cache/below/a", "a.part"];
    for name in out {
        contents.write(watched.path(name));
    }
    for name in ["a.iso", "sub/top", "sub/deep/a.iso", "cachet/a", "log"] {
        contents.write(watched.path(name));
        watched.assert_serves(name, &contents);
    }
    for name in out {
        watched.server.serve(name).expect_sentence(404);
    }
    // A directory that is renamed is there with all that lies in it, or not at all.
    fs::rename(watched.path("sub/deep/cache"), watched.path("sub/deep/kept")).expect("renamed");
    watched.assert_serves("sub/deep/kept/below/a", &contents);
    contents.write(watched.path("sub/deep/kept/below/b"));
    watched.assert_serves("sub/deep/kept/below/b", &contents);
    fs::rename(watched.path("sub/deep/kept"), watched.path("sub/deep/cache")).expect("renamed");
    watched.assert_gone("sub/deep/kept/below/a");
    watched.server.serve("sub/deep/cache/below/a").expect_sentence(404);
}

#[test]
fn links_to_what_is_left_out_lead_nowhere() {
    let watched = Watched::with(|setup| setup.option("--ignore", "/private"));
    let contents = Contents::new(1, KIB);
    watched.make_directory("private");
    watched.make_directory("real");
    for name in ["private/a", "real/b.part", "real/b"] {
        contents.write(watched.path(name));
    }
    for (target, link) in [("private", "dir"), ("private/a", "a"), ("real/b.part", "b"), ("real", "open")] {
        std::os::unix::fs::symlink(target, watched.path(link)).expect("a link can be made");
    }
    watched.assert_serves("open/b", &contents);
    for name in ["dir/a", "a", "b", "open/b.part"] {
        watched.server.serve(name).expect_sentence(404);
    }
}

#[test]
fn partial_downloads_are_offered_when_the_defaults_are_off() {
    let watched = Watched::with(|setup| setup.option("--ignore", "*.iso").flag("--no-default-ignores"));
    let contents = Contents::new(1, KIB);
    for name in ["a.part", "a~"] {
        contents.write(watched.path(name));
        watched.assert_serves(name, &contents);
    }
    contents.write(watched.path("a.iso"));
    watched.server.serve("a.iso").expect_sentence(404);
}

#[test]
fn directories_that_are_left_out_take_no_watch() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    for name in ["left-1/deep", "left-2/deep", "left-3/deep"] {
        fs::create_dir_all(directory.path().join(name)).expect("a directory can be made");
    }
    // One for the directory itself, and one by which the program knows that it has heard all.
    let server = Server::serving(directory.path()).option("--ignore", "left-*").watches(2).start();
    server.wait_until_scanned();
    assert!(!server.has_logged("max_user_watches"), "the limit is not reached");
}
