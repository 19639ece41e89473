//! How changes are noticed that no event tells of: by polling where other hosts write, by looking at everything again
//! from time to time, and by both where the system's limits are reached. Requests look for themselves, so what is
//! waited for here is what happens without one.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use crate::support::files::{Contents, KIB, MIB};
use crate::support::process::{Running, command};
use crate::support::remote_fs::RemoteFs;
use crate::support::server::{Server, Setup};
use crate::support::torrent::Torrent;
use crate::support::wait_for;
use crate::support::watched::{NO_SWARM, Watched};
use crate::support::wire::Peer;

/// Waits until a file is served; asks for no file.
#[track_caller]
fn assert_noticed(server: &Server, name: &str) {
    wait_for(&format!("{name} to be noticed"), || {
        server.has_logged(&format!("serving file={name:?}")).then_some(())
    });
}

/// Waits until no file of this torrent is served; looks at no file.
#[track_caller]
fn assert_missed(watched: &Watched, torrent: &Torrent) {
    wait_for("the file to be missed", || (watched.scrape(torrent) == NO_SWARM).then_some(()));
}

/// A directory on this machine's disk, and in it one that somebody else writes to.
fn with_remote<'a>(options: impl FnOnce(Setup<'a>) -> Setup<'a>) -> (Watched, RemoteFs) {
    let mut remote = None;
    let watched = Watched::on(|directory| {
        remote = Some(RemoteFs::mount(directory.join("remote")));
        options(Server::serving(directory)).start()
    });
    watched.server.wait_until_scanned();
    (watched, remote.expect("it was mounted"))
}

/// Whatever somebody else does is noticed.
fn notices_what_others_do(watched: &Watched, remote: &RemoteFs) {
    let [first, second] = [Contents::new(1, MIB), Contents::new(2, MIB)];
    remote.write("file", &first);
    assert_noticed(&watched.server, "remote/file");
    let torrent = watched.server.torrent("remote/file");
    torrent.assert_describes(&first);
    let (peer, _) = Peer::join(watched.server.peers(), torrent.info_hash);
    remote.write("file", &second);
    peer.expect_close();
    let torrent = watched.assert_serves("remote/file", &second);
    remote.remove("file");
    assert_missed(watched, &torrent);
}

#[test]
fn what_others_do_on_a_shared_file_system_is_noticed() {
    let (watched, remote) = with_remote(|setup| setup.option("--rescan", "0"));
    let said = "which does not tell of changes made by other hosts";
    assert!(watched.server.has_logged(said), "the operator is told");
    notices_what_others_do(&watched, &remote);
    // And what is beside it, as ever.
    let contents = Contents::new(3, KIB);
    contents.write(watched.path("local"));
    assert_noticed(&watched.server, "local");
}

#[test]
fn what_others_do_is_noticed_when_all_files_are_looked_at_again() {
    let (watched, remote) = with_remote(|setup| setup.option("--watch", "inotify").option("--rescan", "1"));
    notices_what_others_do(&watched, &remote);
}

#[test]
fn polling_notices_all_without_inotify() {
    // Not one watch can be had.
    let options = |setup: Setup<'static>| setup.option("--watch", "poll").option("--rescan", "0").watches(0);
    let watched = Watched::with(options);
    watched.server.wait_until_scanned();
    let [first, second] = [Contents::new(1, MIB), Contents::new(2, MIB)];
    watched.make_directory("new/deep");
    first.write(watched.path("new/deep/file"));
    assert_noticed(&watched.server, "new/deep/file");
    let torrent = watched.server.torrent("new/deep/file");
    let (peer, _) = Peer::join(watched.server.peers(), torrent.info_hash);
    second.write(watched.path("new/deep/file"));
    peer.expect_close();
    let torrent = watched.assert_serves("new/deep/file", &second);
    fs::rename(watched.path("new"), watched.outside("away")).expect("a directory can be moved");
    assert_missed(&watched, &torrent);
    // A request need not wait for the next round.
    first.write(watched.path("asked"));
    watched.server.torrent("asked").assert_describes(&first);
}

/// A file with a peer on it, noticed by nothing but a look at everything.
fn rescanned(make: impl FnOnce(&Watched)) -> (Watched, Peer) {
    let watched = Watched::with(|setup| setup.option("--watch", "inotify").option("--rescan", "1"));
    make(&watched);
    let torrent = watched.server.torrent("file");
    let (peer, _) = Peer::join(watched.server.peers(), torrent.info_hash);
    (watched, peer)
}

#[test]
fn a_file_written_through_a_link_outside_is_noticed() {
    let [old, new] = [Contents::new(1, MIB), Contents::new(2, MIB)];
    let (watched, peer) = rescanned(|watched| {
        old.write(watched.outside("link"));
        fs::hard_link(watched.outside("link"), watched.path("file")).expect("a link can be made");
    });
    new.write(watched.outside("link"));
    peer.expect_close();
    watched.assert_serves("file", &new);
}

#[test]
fn a_file_written_through_a_mapping_is_noticed() {
    let old = Contents::new(1, MIB);
    let (watched, peer) = rescanned(|watched| old.write(watched.path("file")));
    let writer = Mapping::write(&watched.path("file"), watched.outside("log"));
    peer.expect_close();
    let written = fs::read(watched.path("file")).expect("it is there");
    let torrent = watched.server.torrent("file");
    assert_eq!((torrent.length, &written[..4]), (MIB, &b"else"[..]));
    assert!(!torrent.is_of(&old));
    drop(writer);
}

/// A program that has written to a file by mmap and neither unmaps nor closes it: no event tells of that.
struct Mapping {
    _process: Running,
}

impl Mapping {
    fn write(path: &Path, log: impl AsRef<Path>) -> Self {
        const SCRIPT: &str = "\
import mmap, sys, signal
with open(sys.argv[1], 'r+b') as file:
    shared = mmap.mmap(file.fileno(), 0)
    shared[:4] = b'else'
    shared.flush()
    print('written', flush=True)
    signal.pause()
";
        fs::create_dir(&log).expect("a directory can be made");
        let mut python = command("/usr/bin/python3", None);
        let mut process = Running::start("mmap", python.args(["-c", SCRIPT]).arg(path), log.as_ref());
        process.wait_until(crate::support::DEADLINE, |process| {
            process.stdout().contains("written").then_some(())
        });
        Self { _process: process }
    }
}

#[test]
fn directories_past_the_limit_on_watches_are_polled() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    for name in ["a", "b", "c", "d", "e"] {
        fs::create_dir(directory.path().join(name)).expect("a directory can be made");
    }
    let server = Server::serving(directory.path()).option("--rescan", "0").watches(3).start();
    server.wait_until_scanned();
    for name in ["a/file", "b/file", "c/file", "d/file", "e/file"] {
        Contents::new(1, KIB).write(directory.path().join(name));
    }
    for name in ["a/file", "b/file", "c/file", "d/file", "e/file"] {
        assert_noticed(&server, name);
    }
    assert!(server.has_logged("sysctl fs.inotify.max_user_watches="), "the operator is told what to do");
}

#[test]
fn nothing_is_missed_when_the_kernel_s_queue_runs_over() {
    let watched = Watched::with(|setup| setup.option("--rescan", "0"));
    let [kept, gone] = [Contents::new(1, KIB), Contents::new(2, KIB)];
    gone.write(watched.path("gone"));
    let torrent = watched.assert_serves("gone", &gone);
    watched.server.freeze();
    overflow(&watched);
    fs::remove_file(watched.path("gone")).expect("a file can be deleted");
    watched.make_directory("new");
    kept.write(watched.path("new/kept"));
    watched.server.thaw();
    assert_noticed(&watched.server, "new/kept");
    assert_missed(&watched, &torrent);
    wait_for("the operator to be told", || {
        watched.server.has_logged("reading all directories again").then_some(())
    });
    // And it hears what happens in the new directory.
    kept.write(watched.path("new/later"));
    assert_noticed(&watched.server, "new/later");
}

/// Makes more events than the kernel keeps.
fn overflow(watched: &Watched) {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("Linux");
    let limit: usize = limit.trim().parse().expect("a number");
    let mut files = [".one", ".two"].map(|name| File::create(watched.path(name)).expect("created"));
    // Two in turn, since the kernel makes one event of equal ones in a row.
    for event in 0..limit + 1000 {
        files[event % 2].write_all(b"x").expect("it can be written");
    }
}
