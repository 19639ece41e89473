//! What survives a restart: no file is hashed twice, none is taken for what it was when it isn't, and nothing that can
//! happen to what is remembered keeps the program from serving.

use std::fs::{self, FileTimes, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::files::{Contents, KIB};
use crate::support::server::{Server, Setup, refusal};
use crate::support::torrent::Torrent;
use crate::support::wait_for;
use crate::support::wire::{Peer, request};

/// A directory to serve, and the home of the one who does.
struct Origin {
    directory: TempDir,
    home: TempDir,
}

impl Origin {
    fn new() -> Self {
        let [directory, home] = [(); 2].map(|()| TempDir::new().expect("a temporary directory can be made"));
        Self { directory, home }
    }

    /// With files of these names, each of its own contents.
    fn with(names: &[&str]) -> Self {
        let origin = Self::new();
        for (name, seed) in names.iter().zip(0..) {
            origin.write(name, seed);
        }
        origin
    }

    fn write(&self, name: &str, seed: u64) -> Contents {
        let contents = Contents::new(seed, 100 * KIB);
        contents.write_aged(self.path(name), 1000);
        contents
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.home.path().join(".local/state/distributor")
    }

    fn database(&self) -> PathBuf {
        self.state().join("hashes.redb")
    }

    fn setup<'a>(&self) -> Setup<'a> {
        Server::serving(self.directory.path()).home(self.home.path())
    }

    /// Starts it and waits until so many files are served; says how many were remembered, and how many hashed.
    #[track_caller]
    fn start(&self, files: usize) -> (Server, (usize, usize)) {
        let server = self.setup().start();
        let learned = server.learned(files);
        (server, learned)
    }

    /// Starts it for the first time with so many files, and stops it.
    #[track_caller]
    fn learn(&self, files: usize) {
        let (server, learned) = self.start(files);
        assert_eq!(learned, (0, files));
        server.stop();
    }

    /// The names in the state directory that aren't the database's.
    fn set_aside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state()).expect("it is a directory");
        let names =
            entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("text"));
        names.filter(|name| name != "hashes.redb").collect()
    }
}

#[test]
fn a_restart_hashes_nothing_again_and_serves_the_same_torrents() {
    let origin = Origin::with(&["a", "b", "c"]);
    let (server, learned) = origin.start(3);
    assert_eq!(learned, (0, 3));
    let before: Vec<Torrent> = ["a", "b", "c"].map(|name| server.torrent(name)).into();
    server.stop();
    let (server, learned) = origin.start(3);
    assert_eq!(learned, (3, 0));
    for (before, (name, seed)) in before.iter().zip([("a", 0), ("b", 1), ("c", 2)]) {
        let after = server.torrent(name);
        assert_eq!(after.info_hash, before.info_hash);
        after.assert_describes(&Contents::new(seed, 100 * KIB));
    }
}

#[test]
fn a_file_that_was_moved_or_renamed_meanwhile_is_known_by_its_inode() {
    let origin = Origin::with(&["old-name", "stays"]);
    fs::create_dir(origin.path("sub")).expect("a directory can be made");
    let inside = origin.write("sub/inside", 9);
    origin.learn(3);
    fs::rename(origin.path("old-name"), origin.path("sub/new-name")).expect("a file can be moved");
    fs::rename(origin.path("sub"), origin.path("renamed")).expect("a directory can be renamed");
    let (server, learned) = origin.start(3);
    assert_eq!(learned, (3, 0));
    let moved = server.torrent("renamed/new-name");
    assert_eq!(moved.name, b"new-name");
    moved.assert_describes(&Contents::new(0, 100 * KIB));
    server.torrent("renamed/inside").assert_describes(&inside);
    server.stop();
    // And that is remembered in its turn.
    assert_eq!(origin.start(3).1, (3, 0));
}

#[test]
fn a_file_that_is_renamed_while_it_is_served_is_known_by_its_inode() {
    let origin = Origin::with(&["old-name"]);
    origin.learn(1);
    let (server, learned) = origin.start(1);
    assert_eq!(learned, (1, 0));
    fs::rename(origin.path("old-name"), origin.path("new-name")).expect("a file can be renamed");
    server.torrent("new-name").assert_describes(&Contents::new(0, 100 * KIB));
    assert!(server.has_logged("serving, as remembered"));
}

#[test]
fn other_links_to_a_file_are_known_by_its_inode() {
    let origin = Origin::with(&["file"]);
    fs::hard_link(origin.path("file"), origin.path("link")).expect("a link can be made");
    let (server, _) = origin.start(2);
    server.stop();
    let (server, learned) = origin.start(2);
    assert_eq!(learned, (2, 0));
    for name in ["file", "link"] {
        let torrent = server.torrent(name);
        assert_eq!(torrent.name, name.as_bytes());
        torrent.assert_describes(&Contents::new(0, 100 * KIB));
    }
}

#[test]
fn after_a_chmod_a_file_is_hashed_anew() {
    let origin = Origin::with(&["a", "b"]);
    origin.learn(2);
    fs::set_permissions(origin.path("a"), Permissions::from_mode(0o640)).expect("permissions can be set");
    assert_eq!(origin.start(2).1, (1, 1));
}

/// Writes other bytes of the same length over a file, and dates it back.
fn write_secretly(path: &Path, contents: &Contents) {
    let file = OpenOptions::new().write(true).open(path).expect("the file can be opened");
    let date = file.metadata().and_then(|metadata| metadata.modified()).expect("a file has an mtime");
    file.write_all_at(contents.bytes(), 0).expect("a file can be written");
    file.set_times(FileTimes::new().set_modified(date)).expect("the file can be dated");
}

#[test]
fn a_file_written_to_meanwhile_with_its_mtime_set_back_is_hashed_anew() {
    let origin = Origin::with(&["a", "b"]);
    fs::hard_link(origin.path("b"), origin.path("c")).expect("a link can be made");
    let (server, _) = origin.start(3);
    server.stop();
    let [a, b] = [7, 8].map(|seed| Contents::new(seed, 100 * KIB));
    write_secretly(&origin.path("a"), &a);
    write_secretly(&origin.path("c"), &b);
    let (server, (remembered, _)) = origin.start(3);
    assert!(
        remembered <= 1,
        "one of the names of the file that has two may come after it was hashed by the other"
    );
    for (name, contents) in [("a", &a), ("b", &b), ("c", &b)] {
        server.torrent(name).assert_describes(contents);
    }
}

/// A rename hides what the write did to ctime: only the bytes tell.
#[test]
fn no_byte_is_sent_of_a_moved_file_that_was_written_to_before() {
    let origin = Origin::with(&["moved", "stays"]);
    origin.learn(2);
    let mut contents = Contents::new(0, 100 * KIB).bytes().to_vec();
    contents[99 * KIB] ^= 1;
    let contents = Contents::from(contents);
    write_secretly(&origin.path("moved"), &contents);
    fs::rename(origin.path("moved"), origin.path("renamed")).expect("a file can be renamed");
    let (server, learned) = origin.start(2);
    assert_eq!(learned, (2, 0), "it can't be told from one that was moved and nothing else");
    let before = server.torrent("renamed");
    before.assert_describes(&Contents::new(0, 100 * KIB));
    let peer = Peer::join_unchoked(server.peers(), before.info_hash);
    peer.send_and_expect_close(&request(1, 0, 1024));
    let after = wait_for("the file to be hashed", || {
        let answer = server.serve("renamed");
        let torrent = (answer.status == 200).then(|| Torrent::read(&answer.body))?;
        (torrent.info_hash != before.info_hash).then_some(torrent)
    });
    after.assert_describes(&contents);
    let block = Peer::join_unchoked(server.peers(), after.info_hash).fetch(1, 0, 1024);
    assert!(block == contents.bytes()[64 * KIB..65 * KIB]);
    server.stop();
    assert_eq!(origin.start(2).1, (2, 0), "and that is remembered");
}

#[test]
fn no_other_byte_is_sent_of_a_file_that_is_written_to_and_moved_while_it_is_served() {
    const LEN: usize = 3 * 1024 * KIB;
    let origin = Origin::new();
    let elsewhere = TempDir::new().expect("a temporary directory can be made");
    let contents = Contents::new(0, LEN);
    contents.write_aged(origin.path("file"), 1000);
    let (server, _) = origin.start(1);
    let torrent = server.torrent("file");
    let mut peer = Peer::join_unchoked(server.peers(), torrent.info_hash);
    assert!(peer.fetch(0, 0, 1024) == contents.bytes()[..1024]);
    // It hears of all of it at once.
    server.freeze();
    let mut other = contents.bytes().to_vec();
    other[LEN - 1] ^= 1;
    write_secretly(&origin.path("file"), &Contents::from(other));
    fs::rename(origin.path("file"), elsewhere.path().join("file")).expect("a file can be moved");
    server.thaw();
    wait_for("the file to be gone", || (server.serve("file").status == 404).then_some(()));
    assert!(peer.fetch(0, 0, 1024) == contents.bytes()[..1024], "there it is what it was");
    let last = torrent.piece_count() - 1;
    peer.send_and_expect_close(&request(u32::try_from(last).expect("a piece's number"), 0, 1024));
}

#[test]
fn a_moved_file_is_sent_as_it_was() {
    let origin = Origin::with(&["old-name"]);
    origin.learn(1);
    fs::rename(origin.path("old-name"), origin.path("new-name")).expect("a file can be renamed");
    let (server, learned) = origin.start(1);
    assert_eq!(learned, (1, 0));
    let contents = Contents::new(0, 100 * KIB);
    let mut peer = Peer::join_unchoked(server.peers(), server.torrent("new-name").info_hash);
    for (index, piece) in (0..).zip(contents.bytes().chunks(64 * KIB)) {
        let len = u32::try_from(piece.len()).expect("a length fits");
        assert!(peer.fetch(index, 0, len) == piece);
    }
    assert!(!server.has_logged("no longer served"));
}

#[test]
fn what_was_private_is_public_without_being_hashed_again() {
    let origin = Origin::with(&["file"]);
    origin.learn(1);
    for _ in 0..2 {
        let server = origin.setup().flag("--public").start();
        assert_eq!(server.learned(1), (1, 0));
        let torrent = server.torrent("file");
        assert!(!torrent.private);
        torrent.assert_describes(&Contents::new(0, 100 * KIB));
        server.stop();
    }
}

#[test]
fn a_damaged_database_is_set_aside_and_begun_anew() {
    let origin = Origin::with(&["a", "b"]);
    origin.learn(2);
    let whole = fs::read(origin.database()).expect("there is a database");
    let garbage = Contents::new(3, whole.len());
    for (round, damaged) in
        [&b"no database"[..], &whole[..whole.len() / 2], garbage.bytes()].iter().enumerate()
    {
        fs::write(origin.database(), damaged).expect("a file can be written");
        let (server, learned) = origin.start(2);
        assert_eq!(learned, (0, 2), "round {round}");
        server.torrent("a").assert_describes(&Contents::new(0, 100 * KIB));
        let said = server.log().lines().filter(|line| line.contains("it is set aside")).count();
        assert_eq!(said, 1);
        server.stop();
        let aside = origin.set_aside();
        assert!(aside.len() == 1 && aside[0].starts_with("hashes.redb.corrupt-"), "{aside:?}");
        fs::remove_file(origin.state().join(&aside[0])).expect("a file can be deleted");
        let (server, learned) = origin.start(2);
        assert_eq!(learned, (2, 0), "what is begun anew remembers");
        server.stop();
    }
}

/// Whatever page is damaged, in whatever way: what is served is what lies there.
#[test]
fn no_damage_inside_the_database_makes_a_wrong_torrent() {
    let names: Vec<String> = (0..60).map(|n| format!("file-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let origin = Origin::with(&names);
    origin.learn(60);
    let whole = fs::read(origin.database()).expect("there is a database");
    for round in 0..8 {
        let mut damaged = whole.clone();
        // From one bit to many in every page. The first page is the header, whose damage is found at once.
        let flips = 4_usize.pow(round);
        for dice in Contents::new(round.into(), 4 * flips).bytes().as_chunks().0 {
            let at = usize::try_from(u32::from_le_bytes(*dice)).expect("it fits") % (whole.len() - 4096);
            damaged[4096 + at] ^= 1 << (dice[0] % 8);
        }
        fs::write(origin.database(), damaged).expect("a file can be written");
        let mut server = origin.setup().start();
        for (name, seed) in names.iter().zip(0..) {
            let torrent = wait_for("a file whose record was lost", || {
                let answer = server.serve(name);
                if answer.status == 503 {
                    assert!(answer.header("retry-after").is_some());
                    return None;
                }
                Some(Torrent::read(&answer.expect(200).body))
            });
            torrent.assert_describes(&Contents::new(seed, 100 * KIB));
        }
        server.assert_alive();
        server.stop();
        for aside in origin.set_aside() {
            fs::remove_file(origin.state().join(aside)).expect("a file can be deleted");
        }
    }
}

#[test]
fn two_processes_do_not_share_a_state() {
    let origin = Origin::with(&["file"]);
    origin.learn(1);
    let (first, learned) = origin.start(1);
    assert_eq!(learned, (1, 0));
    let (second, learned) = origin.start(1);
    assert_eq!(learned, (0, 1));
    assert!(second.has_logged("each process needs its own: name another one with --state DIR"));
    for server in [&first, &second] {
        server.torrent("file").assert_describes(&Contents::new(0, 100 * KIB));
    }
    let own = origin.home.path().join("own");
    let third = origin.setup().option("--state", own.to_str().expect("text")).start();
    assert_eq!(third.learned(1), (0, 1));
    assert!(!third.has_logged("can't remember"));
}

#[test]
fn a_state_directory_that_cannot_be_made_is_done_without() {
    let origin = Origin::with(&["file"]);
    fs::write(origin.home.path().join("file"), b"in the way").expect("a file can be written");
    for _ in 0..2 {
        let below = origin.home.path().join("file/state");
        let server = origin.setup().option("--state", below.to_str().expect("text")).start();
        assert_eq!(server.learned(1), (0, 1));
        assert!(server.has_logged("can't remember files in"));
        server.torrent("file").assert_describes(&Contents::new(0, 100 * KIB));
        server.stop();
    }
}

/// A file system of its own, as large as a test wants it.
struct Disk(TempDir);

impl Disk {
    fn new(kib: usize) -> Self {
        let disk = Self(TempDir::new().expect("a temporary directory can be made"));
        disk.mount(&format!("size={kib}k"));
        disk
    }

    fn resize(&self, kib: usize) {
        self.mount(&format!("remount,size={kib}k"));
    }

    fn mount(&self, options: &str) {
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0.path()).status();
        assert!(mount.expect("there is mount(8)").success(), "mounting takes root");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_keeps_nothing_from_being_served_and_is_tried_again() {
    let disk = Disk::new(64);
    let origin = Origin::new();
    // More digests than there is room for, in holes that take none.
    for n in 0..4 {
        let file = fs::File::create(origin.path(&format!("file-{n}"))).expect("a file can be made");
        file.set_len(2000 * 64 * KIB as u64).expect("it can grow");
    }
    let state = disk.0.path().join("state");
    let start = || {
        let server = origin.setup().option("--state", state.to_str().expect("text")).start();
        let learned = server.learned(4);
        (server, learned)
    };
    let (server, learned) = start();
    assert_eq!(learned, (0, 4));
    wait_for("the disk to be full", || server.has_logged("can't remember files").then_some(()));
    for n in 0..4 {
        assert_eq!(server.torrent(format!("file-{n}")).piece_count(), 2000);
    }
    disk.resize(64 * KIB);
    wait_for("the next try", || server.has_logged("files are remembered again").then_some(()));
    assert_eq!(server.torrent("file-1").piece_count(), 2000);
    server.stop();
    assert_eq!(start().1, (4, 0));
}

#[test]
fn without_a_state_nothing_is_remembered_and_nothing_written() {
    let origin = Origin::with(&["file"]);
    for _ in 0..2 {
        let server = origin.setup().flag("--no-state").start();
        assert_eq!(server.learned(1), (0, 1));
        server.torrent("file").assert_describes(&Contents::new(0, 100 * KIB));
        server.stop();
    }
    assert_eq!(fs::read_dir(origin.home.path()).expect("it is a directory").count(), 0);
}

#[test]
fn a_state_directory_that_is_served_is_refused() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let served = directory.path().to_str().expect("text");
    let name = directory.path().file_name().and_then(|name| name.to_str()).expect("text");
    let beside = directory.path().with_file_name("not-there").join("..").join(name).join("state");
    for state in [served.to_owned(), format!("{served}/state"), beside.display().to_string()] {
        let said = refusal(&["serve", served, "--http", "0", "--peers", "0", "--state", &state], 1);
        assert!(said.contains("which is served and never written to"), "{said}");
    }
    assert_eq!(fs::read_dir(directory.path()).expect("it is a directory").count(), 0);
}

#[test]
fn the_served_directory_is_never_written_to() {
    let origin = Origin::with(&["a", "b"]);
    let all = || {
        let names = fs::read_dir(origin.directory.path()).expect("it is a directory");
        let mut all: Vec<_> = names
            .map(|entry| {
                let entry = entry.expect("it can be read");
                let metadata = entry.metadata().expect("it is there");
                (entry.file_name(), metadata.modified().expect("an mtime"), metadata.len())
            })
            .collect();
        all.sort();
        (all, origin.directory.path().metadata().and_then(|metadata| metadata.modified()).expect("an mtime"))
    };
    let before = all();
    origin.learn(2);
    assert_eq!(origin.start(2).1, (2, 0));
    assert_eq!(all(), before);
}
