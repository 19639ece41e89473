//! Defects that were there once: what was served was not what lay there. Each test is named after its defect and tells
//! its story. Those that came of too much being asked are in `regression_load`.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::support::files::{Contents, KIB, MIB};
use crate::support::http::{Request, Response};
use crate::support::server::{Server, Setup};
use crate::support::torrent::Torrent;
use crate::support::wire::{Peer, request};
use crate::support::{DEADLINE, wait_for};

/// A directory, the program that watches it, and a directory on the same file system that it doesn't watch.
struct Origin {
    server: Server,
    directory: TempDir,
    outside: TempDir,
}

impl Origin {
    fn new() -> Self {
        Self::with(|setup| setup)
    }

    fn with<'a>(options: impl FnOnce(Setup<'a>) -> Setup<'a>) -> Self {
        let [directory, outside] =
            [(); 2].map(|()| TempDir::new().expect("a temporary directory can be made"));
        let server = options(Server::serving(directory.path())).start();
        server.wait_until_scanned();
        Self { server, directory, outside }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file elsewhere, dated so many seconds back, and renames it into the directory.
    fn rename_in(&self, contents: &Contents, name: &str, seconds: u64) {
        let elsewhere = self.outside.path().join("next");
        contents.write_aged(&elsewhere, seconds);
        fs::rename(elsewhere, self.path(name)).expect("a file can be renamed");
    }

    /// `/serve_last_updated` must be this file, and these bytes.
    #[track_caller]
    fn assert_last(&self, name: &str, contents: &Contents) {
        assert_is(&self.server.get("/serve_last_updated").expect(200), name, contents);
    }

    /// Waits until a change of a file moves its ctime: the clock that dates changes goes in steps of milliseconds,
    /// and two changes within one can't be told apart.
    fn wait_for_new_ctime(&self, name: &str) {
        let ctime = |path: &Path| {
            let metadata = path.metadata().expect("the file is there");
            (metadata.ctime(), metadata.ctime_nsec())
        };
        let last = ctime(&self.path(name));
        let probe = self.outside.path().join("probe");
        wait_for("the file system's clock to move on", || {
            fs::write(&probe, b"tick").expect("a file can be written");
            (ctime(&probe) > last).then_some(())
        });
    }
}

#[track_caller]
fn assert_is(answer: &Response, name: &str, contents: &Contents) {
    assert_eq!(answer.header("content-location"), Some(format!("/serve?{name}").as_str()));
    Torrent::read(&answer.body).assert_describes(contents);
}

fn last_modified(answer: &Response) -> String {
    answer.header("last-modified").expect("a Last-Modified").to_owned()
}

fn modified_since(server: &Server, target: &str, date: &str) -> Response {
    server.send(Request::get(target).header("If-Modified-Since", date))
}

/// Opens a file for writing, with what it holds left in it.
fn open_to_write(path: &Path) -> File {
    File::options().write(true).open(path).expect("the file can be opened")
}

/// A host that polled with `If-Modified-Since` was told "not modified" of any file older than the one that it had: a
/// newest file that was taken back stayed on the hosts, and so did one that was replaced by an older build.
#[test]
fn a_host_that_has_something_newer_was_told_that_nothing_changed() {
    let origin = Origin::new();
    let [older, newer, oldest] = [1, 2, 3].map(|seed| Contents::new(seed, KIB));
    origin.rename_in(&older, "older", 1000);
    origin.rename_in(&newer, "newer", 500);
    for (name, contents) in [("older", &older), ("newer", &newer)] {
        origin.server.torrent(name).assert_describes(contents);
    }
    let answer = origin.server.get("/serve_last_updated").expect(200);
    assert_is(&answer, "newer", &newer);
    let date = last_modified(&answer);
    modified_since(&origin.server, "/serve_last_updated", &date).expect(304);
    fs::remove_file(origin.path("newer")).expect("a file can be deleted");
    assert_is(&modified_since(&origin.server, "/serve_last_updated", &date).expect(200), "older", &older);

    let date = last_modified(&origin.server.serve("older").expect(200));
    modified_since(&origin.server, "/serve?older", &date).expect(304);
    origin.rename_in(&oldest, "older", 2000);
    let answer = modified_since(&origin.server, "/serve?older", &date).expect(200);
    assert_is(&answer, "older", &oldest);
    modified_since(&origin.server, "/serve?older", &last_modified(&answer)).expect(304);
}

/// A write whose mtime is set back, as `cp -p` and `rsync --inplace` do, moves nothing but ctime, which was taken for
/// a chmod: the new bytes were uploaded under the old hash.
#[test]
fn a_file_changed_in_place_with_its_mtime_set_back_was_served_on() {
    let origin = Origin::new();
    let mut now = Contents::new(0, 100 * KIB);
    now.write_aged(origin.path("file"), 1000);
    for round in 1..=10 {
        let torrent = origin.server.torrent("file");
        torrent.assert_describes(&now);
        let mut peer = Peer::join_unchoked(origin.server.peers(), torrent.info_hash);
        assert!(peer.fetch(0, 0, 1024) == now.bytes()[..KIB]);

        now = Contents::new(round, 100 * KIB);
        origin.wait_for_new_ctime("file");
        let file = open_to_write(&origin.path("file"));
        let date = file.metadata().and_then(|metadata| metadata.modified()).expect("a file has an mtime");
        file.write_all_at(now.bytes(), 0).expect("a file can be written");
        file.set_times(FileTimes::new().set_modified(date)).expect("the file can be dated");
        drop(file);

        let next = origin.server.torrent("file");
        next.assert_describes(&now);
        assert_ne!(next.info_hash, torrent.info_hash);
        // From here on nobody may be given the new bytes for the old ones.
        peer.send_and_expect_close(&request(0, 0, 16384));
    }
}

/// After a chmod the file got a torrent of its own making, and those who had begun before kept the old one, which no
/// later change of the file could withdraw any more.
#[test]
fn peers_from_before_a_chmod_outlived_the_file_that_they_came_for() {
    let origin = Origin::new();
    let [old, new] = [1, 2].map(|seed| Contents::new(seed, 100 * KIB));
    old.write(origin.path("file"));
    let first = origin.server.torrent("file");
    let join = || Peer::join_unchoked(origin.server.peers(), first.info_hash);
    let (silent, mut busy) = (join(), join());
    assert!(busy.fetch(0, 0, 1024) == old.bytes()[..KIB]);
    origin.wait_for_new_ctime("file");
    fs::set_permissions(origin.path("file"), Permissions::from_mode(0o640)).expect("permissions can be set");
    busy.expect_close();
    silent.expect_close();

    // The bytes are the same, and so is what stands for them.
    assert_eq!(origin.server.torrent("file").info_hash, first.info_hash);
    let mut again = join();
    assert!(again.fetch(0, 1024, 1024) == old.bytes()[KIB..2 * KIB]);
    origin.wait_for_new_ctime("file");
    open_to_write(&origin.path("file")).write_all_at(new.bytes(), 0).expect("a file can be written");
    origin.server.torrent("file").assert_describes(&new);
    again.send_and_expect_close(&request(0, 0, 16384));
}

/// `mv` and `wget` on the next line of a script: inotify is milliseconds behind, and the answer was the file that had
/// been the newest until then.
#[test]
fn the_newest_file_was_the_last_but_one_right_after_it_was_moved_in() {
    let origin = Origin::new();
    for round in 0..50 {
        let contents = Contents::new(round, KIB);
        let name = format!("build-{round}");
        origin.rename_in(&contents, &name, 1000 - round);
        origin.assert_last(&name, &contents);
    }
}

/// An older and the newest file, both known to a server that makes nobody wait for more than `wait` seconds.
fn older_and_newest(wait: &str) -> Origin {
    let origin = Origin::with(|setup| setup.option("--wait", wait));
    for (name, seed, seconds) in [("older", 1, 1000), ("newest", 2, 500)] {
        let contents = Contents::new(seed, 100 * KIB);
        origin.rename_in(&contents, name, seconds);
        origin.server.torrent(name).assert_describes(&contents);
    }
    origin.wait_for_new_ctime("newest");
    origin
}

/// While the newest file was written anew, it didn't count, and hosts went back to the file before it.
#[test]
fn hosts_were_sent_back_to_an_older_file_while_the_newest_was_rewritten() {
    let origin = older_and_newest("300");
    for round in 3..13 {
        let contents = Contents::new(round, 100 * KIB);
        let file = open_to_write(&origin.path("newest"));
        file.write_all_at(&contents.bytes()[..KIB], 0).expect("a file can be written");
        let mut answer = origin.server.begin("/serve_last_updated");
        file.write_all_at(contents.bytes(), 0).expect("a file can be written");
        drop(file);
        assert_is(&Response::read(&mut answer, false).expect(200), "newest", &contents);
        origin.wait_for_new_ctime("newest");
    }
}

/// As above, by those who lose patience: they are told to come back, and not sent to another file.
fn assert_not_sent_back(open: impl FnOnce(&Path) -> File) {
    let origin = older_and_newest("1");
    let contents = Contents::new(3, 100 * KIB);
    let file = open(&origin.path("newest"));
    for end in [KIB, 50 * KIB] {
        file.write_all_at(&contents.bytes()[..end], 0).expect("a file can be written");
        origin.server.get("/serve_last_updated").expect_sentence(503);
    }
    file.write_all_at(contents.bytes(), 0).expect("a file can be written");
    drop(file);
    wait_for("the new contents", || (origin.server.get("/serve_last_updated").status == 200).then_some(()));
    origin.assert_last("newest", &contents);
}

#[test]
fn impatient_hosts_were_sent_back_to_an_older_file_while_the_newest_was_rewritten() {
    assert_not_sent_back(open_to_write);
}

/// What `cp` does when it writes over a file: it is empty for a moment, and what is empty isn't offered.
#[test]
fn impatient_hosts_were_sent_back_to_an_older_file_while_the_newest_was_copied_over() {
    assert_not_sent_back(|path| File::create(path).expect("a file can be emptied"));
}

/// A file that was replaced again and again was taken for one that is being written, and held back for longer each
/// time, up to half a minute. What is renamed into place is complete.
#[test]
fn a_file_replaced_by_rename_time_and_again_was_held_back() {
    let origin = Origin::new();
    let end = Instant::now() + DEADLINE;
    // Waits that double from 50 ms to half a minute come to 51 s in twelve rounds, and to more than `DEADLINE` here.
    for round in 0..18 {
        let contents = Contents::new(round, MIB);
        origin.rename_in(&contents, "file", 0);
        origin.server.torrent("file").assert_describes(&contents);
        assert!(Instant::now() < end, "replacement {round} came after {DEADLINE:?}");
    }
}
