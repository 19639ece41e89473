//! When a file is finished: with `--settle`, once nothing has changed it for so long; renamed into place, at once.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, SystemTime};

use crate::support::files::{Contents, KIB};
use crate::support::wait_for;
use crate::support::watched::Watched;

/// Longer than any test waits.
const NEVER: &str = "86400";

#[test]
fn a_closed_file_waits_and_one_renamed_into_place_does_not() {
    let watched = Watched::with(|setup| setup.option("--settle", NEVER).option("--wait", "0"));
    watched.server.wait_until_scanned();
    let contents = Contents::new(1, KIB);
    contents.write(watched.path("closed"));
    contents.write(watched.path(".next"));
    fs::rename(watched.path(".next"), watched.path("renamed")).expect("a file can be renamed");
    // Requests don't wait for it to be hashed here.
    wait_for("the file that was renamed", || (watched.server.serve("renamed").status == 200).then_some(()));
    watched.server.torrent("renamed").assert_describes(&contents);
    watched.server.serve("closed").expect_sentence(503);
    // A link of it was made now: that is a change of the file, too.
    contents.write(watched.outside("old"));
    let old = File::options().write(true).open(watched.outside("old")).expect("it is there");
    old.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).expect("times can be set");
    fs::hard_link(watched.outside("old"), watched.path("linked")).expect("a link can be made");
    watched.server.serve("linked").expect_sentence(503);
}

#[test]
fn a_writer_that_closes_and_opens_again_is_waited_for() {
    let watched = Watched::with(|setup| setup.option("--settle", "3"));
    watched.server.wait_until_scanned();
    let contents = Contents::new(1, 8 * KIB);
    let path = watched.path("file");
    for burst in contents.bytes().chunks(KIB) {
        let mut file = File::options().create(true).append(true).open(&path).expect("it can be opened");
        file.write_all(burst).expect("it can be written");
    }
    let torrent = watched.server.torrent("file");
    torrent.assert_describes(&contents);
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("it is there");
    let age = SystemTime::now().duration_since(modified).expect("it was in the past");
    assert!(age >= Duration::from_secs(3), "{age:?}");
}

#[test]
fn a_writer_that_never_closes_is_not_waited_for() {
    let watched = Watched::with(|setup| setup.option("--settle", "1"));
    watched.server.wait_until_scanned();
    let contents = Contents::new(1, 8 * KIB);
    let mut open = File::create(watched.path("file")).expect("a file can be made");
    open.write_all(contents.bytes()).expect("it can be written");
    watched.assert_serves("file", &contents);
    // And its next burst withdraws it until that is over, too.
    open.write_all(b"more").expect("it can be written");
    let more = wait_for("the longer file", || {
        let torrent = watched.server.torrent("file");
        (torrent.length == contents.len() + 4).then_some(torrent)
    });
    assert_eq!(more.name, b"file");
}
