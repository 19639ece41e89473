//! A mount that doesn't answer, not even what is there: a dead server's, or that of a program that is stuck. What lies
//! elsewhere is noticed and served as ever, the operator is told, and whoever wants something of the mount is told to
//! come again.

use std::time::Instant;

use tempfile::TempDir;

use crate::support::faulty_fs::{Call, FaultyFs};
use crate::support::files::{Contents, KIB, MIB, PIECE};
use crate::support::server::Server;
use crate::support::torrent::Torrent;
use crate::support::two_disks::TwoDisks;
use crate::support::wire::request;
use crate::support::{DEADLINE, wait_for};

/// Two watched directories, one of which is a disk of its own.
struct TwoRoots {
    // In this order, for the server must end before its disks do.
    server: Server,
    /// Watched as `faulty`.
    faulty: FaultyFs,
    well: TempDir,
    _faulty_place: TempDir,
}

const WELL: &str = "well";

/// How many seconds a request may wait: who has waited for a disk that hangs is told from who was just slow by it.
const WAIT: &str = "200";

impl TwoRoots {
    /// The faulty one has these files; `before` makes what faults there are to be at the start.
    fn new<T>(on_faulty: &[(&str, &Contents)], before: impl FnOnce(&FaultyFs) -> T) -> (Self, T) {
        let [place, well] = [(); 2].map(|()| TempDir::new().expect("a temporary directory can be made"));
        let mountpoint = place.path().join("faulty");
        let faulty = FaultyFs::mount(mountpoint.clone(), on_faulty);
        let faults = before(&faulty);
        Contents::new(0, KIB).write_aged(well.path().join(WELL), 100_000);
        // The one that hangs goes first.
        let server = Server::serving(&mountpoint).and(well.path()).option("--wait", WAIT).start();
        (Self { server, faulty, well, _faulty_place: place }, faults)
    }

    /// A new file of the other directory is noticed: by who asks for it, in whatever way, and without.
    fn assert_noticed(&self, seed: u64) {
        let contents = Contents::new(seed, 100 * KIB);
        let began = Instant::now();
        let exact = self.well.path().file_name().expect("a name").to_string_lossy().into_owned();
        contents.write(self.well.path().join(format!("asked-{seed}")));
        self.server.torrent(format!("{exact}/asked-{seed}")).assert_describes(&contents);
        contents.write(self.well.path().join(format!("unasked-{seed}")));
        wait_for("the file to be noticed", || {
            self.server.has_logged(&format!("unasked-{seed}")).then_some(())
        });
        self.server.serve(format!("{exact}/none-{seed}")).expect_sentence(404);
        assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    }
}

/// Panics unless there is one line of these words, and these are in it.
#[track_caller]
fn assert_told_once(server: &Server, words: &str, parts: &[&str]) {
    wait_for(words, || (!server.told(words).is_empty()).then_some(()));
    let told = server.told(words);
    assert!(told.len() == 1 && parts.iter().all(|part| told[0].contains(part)), "{told:#?}");
}

#[test]
fn a_mount_that_hangs_keeps_nothing_elsewhere_from_being_noticed() {
    let [known, late] = [1, 2].map(|seed| Contents::new(seed, MIB));
    let (mut roots, ()) =
        TwoRoots::new(&[("known", &known), ("late", &late)], |disk| disk.set_hidden("late", true));
    let torrent = roots.server.torrent("faulty/known");
    roots.server.wait_until_scanned();
    let hanging = roots.faulty.hang(Call::Metadata);
    roots.faulty.wait_until_hung(Call::Metadata);
    roots.assert_noticed(10);
    roots.faulty.set_hidden("late", false);
    for name in ["faulty/known", "faulty/late"] {
        let answer = roots.server.serve(name).expect_sentence(503);
        assert!(answer.text().contains("the disk that the file is on doesn't answer"));
    }
    assert_told_once(&roots.server, "has not answered", &["faulty", "isn't noticed"]);
    // Now that it is known, nobody waits for it.
    let began = Instant::now();
    for _ in 0..20 {
        roots.server.serve("faulty/late").expect_sentence(503);
    }
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    roots.assert_noticed(11);
    // What is newest is elsewhere, as far as can be known.
    let newest = Contents::new(12, KIB);
    newest.write(roots.well.path().join("newest"));
    wait_for("the newest file", || {
        let answer = roots.server.get("/serve_last_updated");
        (answer.status == 200 && Torrent::read(&answer.body).name == b"newest").then_some(())
    });
    drop(hanging);
    let again = wait_for("the late file", || {
        let answer = roots.server.serve("faulty/late");
        (answer.status == 200).then(|| Torrent::read(&answer.body))
    });
    again.assert_describes(&late);
    assert_eq!(roots.server.torrent("faulty/known").info_hash, torrent.info_hash);
    assert_told_once(&roots.server, "answers again", &["faulty"]);
    assert_told_once(&roots.server, "has not answered", &[]);
    roots.server.assert_alive();
}

#[test]
fn a_mount_that_hangs_while_it_is_first_read_keeps_nothing_elsewhere_from_being_served() {
    let contents = Contents::new(1, MIB);
    let (roots, hanging) = TwoRoots::new(&[("file", &contents)], |disk| disk.hang(Call::Names));
    roots.faulty.wait_until_hung(Call::Names);
    let began = Instant::now();
    assert_eq!(roots.server.torrent(WELL).name, WELL.as_bytes());
    roots.assert_noticed(10);
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    roots.server.serve("faulty/file").expect_sentence(503);
    // It could be on either.
    roots.server.serve("none").expect_sentence(503);
    assert_told_once(&roots.server, "has not answered", &["faulty"]);
    assert_eq!(roots.server.get("/serve_last_updated").status, 200);
    drop(hanging);
    wait_for("its file", || (roots.server.serve("faulty/file").status == 200).then_some(()));
    roots.server.torrent("faulty/file").assert_describes(&contents);
    assert_told_once(&roots.server, "answers again", &["faulty"]);
    roots.server.serve("none").expect_sentence(404);
    // Once all was seen, what was there at the start is summed up.
    assert_told_once(&roots.server, "serving all files that were there at the start", &[]);
}

/// Both are read by one thread: what was served before goes on, and the operator is told of the rest.
#[test]
fn a_mount_below_a_directory_that_hangs_is_told_of() {
    let contents = Contents::new(1, MIB);
    let mut disks = TwoDisks::new(&[("file", &contents)]);
    disks.server.torrent("faulty/file").assert_describes(&contents);
    let hanging = disks.faulty.hang(Call::Metadata);
    disks.faulty.wait_until_hung(Call::Metadata);
    disks.assert_well();
    let root = disks.path("").display().to_string();
    assert_told_once(&disks.server, "has not answered", &["faulty", root.trim_end_matches('/')]);
    disks.assert_well();
    drop(hanging);
    assert_told_once(&disks.server, "answers again", &["faulty"]);
    disks.assert_takes("new", &Contents::new(2, 3 * MIB));
    disks.server.assert_alive();
}

#[test]
fn files_that_can_be_neither_opened_nor_closed_hold_up_nobody_else() {
    let [opened, other] = [1, 2].map(|seed| Contents::new(seed, 20 * PIECE));
    let mut disks = TwoDisks::new(&[("opened", &opened), ("other", &other)]);
    let torrents = ["opened", "other"].map(|name| disks.server.torrent(format!("faulty/{name}")));
    let [mut peer, mut late] = torrents.each_ref().map(|torrent| disks.join(torrent, 1).remove(0));
    assert!(peer.fetch(0, 0, 1024) == opened.bytes()[..KIB]);
    let hanging = [Call::Open, Call::Flush].map(|call| disks.faulty.hang(call));
    late.send(&request(0, 0, 1024));
    disks.faulty.wait_until_hung(Call::Open);
    drop(peer);
    disks.assert_well();
    for round in 0..4 {
        disks.assert_takes(&format!("new-{round}"), &Contents::new(10 + round, MIB));
    }
    drop(hanging);
    let (_, block) = late.message();
    assert!(block[8..] == other.bytes()[..KIB]);
    disks.server.assert_alive();
}
