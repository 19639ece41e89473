//! A hostile disk: files that are truncated, deleted or forbidden while many download them, sectors that can't be read,
//! mounts that vanish. That one file is left out, in one line of the log, until it is well; all others are served as if
//! nothing had happened. What befalls a file that is changed is in `in_flight`, too.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use tempfile::TempDir;

use crate::support::clients::{Client, Source};
use crate::support::faulty_fs::FaultyFs;
use crate::support::files::{Contents, KIB, MIB, PIECE};
use crate::support::net::Net;
use crate::support::seed::Seed;
use crate::support::server::Server;
use crate::support::swarm::Swarm;
use crate::support::torrent::Torrent;
use crate::support::two_disks::TwoDisks;
use crate::support::wait_for;
use crate::support::wire::{Peer, request};

/// More than may wait for the disk on behalf of one torrent at a time.
const PEERS: usize = 8;

fn hex(torrent: &Torrent) -> String {
    torrent.info_hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Panics unless there are as many lines as words, which must be in them.
#[track_caller]
fn assert_told(lines: &[String], words: &[&str]) {
    assert_eq!(lines.len(), words.len(), "{lines:#?}");
    for (line, words) in lines.iter().zip(words) {
        assert!(line.contains(words), "{words:?} is not in {line:?}");
    }
}

#[test]
fn a_file_with_a_bad_sector_is_left_out_in_one_line_and_served_again_when_that_can_be_read() {
    let contents = Contents::new(1, 3 * MIB);
    let mut disks = TwoDisks::new(&[("file", &contents)]);
    let torrent = disks.server.torrent("faulty/file");
    let mut peers = disks.join(&torrent, PEERS);
    for peer in &mut peers {
        assert!(peer.fetch(0, 0, 1024) == contents.bytes()[..KIB]);
    }
    let mut well = disks.join_well();
    well.goes_on();
    disks.faulty.fail("file", 2 * MIB..2 * MIB + 1);
    let index = u32::try_from(2 * MIB / torrent.piece_length).expect("an index fits");
    for peer in peers {
        peer.send_and_expect_close(&request(index, 0, 16384));
        well.goes_on();
    }
    assert!(disks.server.has_logged("the file can't be read: Input/output error"));
    wait_for("the file to be reported", || (disks.server.told("can't be hashed").len() == 1).then_some(()));
    // It is tried again and again.
    let failures = disks.faulty.failures("file");
    disks.faulty.wait_until_failed("file", failures + 2);
    disks.assert_well();
    disks.faulty.heal("file");
    assert_eq!(disks.server.torrent("faulty/file").info_hash, torrent.info_hash);
    let block = disks.join(&torrent, 1).remove(0).fetch(index, 0, 1024);
    assert!(block == contents.bytes()[2 * MIB..2 * MIB + KIB]);
    // What was there at the start is told of in one line for all.
    assert_told(&disks.server.told(&hex(&torrent)), &["no longer served", "serving"]);
    assert_told(&disks.server.told("can't be"), &["Input/output error"]);
    disks.server.assert_alive();
}

#[test]
fn a_file_that_can_not_be_read_at_the_start_is_left_out_in_one_line_until_it_can() {
    let [bad, next] = [1, 2].map(|seed| Contents::new(seed, MIB));
    let disks = TwoDisks::with(
        &[("next", &next), ("bad", &bad)],
        |disk| disk.fail("bad", 0..MIB),
        |setup| setup.option("--wait", "1"),
    );
    disks.faulty.wait_until_failed("bad", 1);
    disks.server.torrent("faulty/next").assert_describes(&next);
    disks.assert_well();
    disks.server.serve("faulty/bad").expect_sentence(503);
    let failures = disks.faulty.failures("bad");
    disks.faulty.wait_until_failed("bad", failures + 2);
    assert_told(&disks.server.told("faulty/bad"), &["can't be hashed"]);
    disks.faulty.heal("bad");
    wait_for("the file", || (disks.server.serve("faulty/bad").status == 200).then_some(()));
    disks.server.torrent("faulty/bad").assert_describes(&bad);
    assert_told(&disks.server.told("faulty/bad"), &["can't be hashed", "serving"]);
}

#[test]
fn the_newest_file_that_can_be_read_is_the_last_updated_one() {
    let [bad, next] = [1, 2].map(|seed| Contents::new(seed, MIB));
    let disks = TwoDisks::with(
        &[("next", &next), ("bad", &bad)],
        |disk| disk.fail("bad", 0..MIB),
        |setup| setup.option("--wait", "1"),
    );
    disks.faulty.wait_until_failed("bad", 3);
    Torrent::read(&disks.server.get("/serve_last_updated").expect(200).body).assert_describes(&next);
}

#[test]
fn a_disk_that_dies_takes_its_files_along_and_no_others() {
    let [first, second] = [1, 2].map(|seed| Contents::new(seed, 3 * MIB));
    let mut disks = TwoDisks::new(&[("first", &first), ("second", &second)]);
    let torrent = disks.server.torrent("faulty/first");
    disks.server.torrent("faulty/second");
    let mut peers = disks.join(&torrent, PEERS);
    let mut well = disks.join_well();
    disks.faulty.hold("first");
    for peer in &mut peers {
        peer.send(&request(0, 0, 16384));
        well.goes_on();
    }
    disks.faulty.wait_until_held("first", 1);
    disks.faulty.kill();
    for peer in peers {
        peer.expect_close();
        well.goes_on();
    }
    for name in ["faulty/first", "faulty/second"] {
        disks.server.serve(name).expect_sentence(404);
    }
    disks.assert_well();
    disks.assert_takes("new", &Contents::new(3, 100 * KIB));
    assert_told(&disks.server.told(&hex(&torrent)), &["no longer served"]);
    disks.server.assert_alive();
}

/// Unmounts it, whoever uses it, when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: PathBuf) -> Self {
        mount("distributor-test", &at, "tmpfs", MountFlags::empty(), None)
            .expect("tmpfs can be mounted, by root");
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_mount_that_is_pulled_away_takes_its_files_along_and_brings_others_back() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let at = |name: &str| directory.path().join(name);
    let [old, new, well] =
        [(1, 3 * MIB), (2, MIB), (3, 20 * PIECE)].map(|(seed, len)| Contents::new(seed, len));
    fs::create_dir(at("mount")).expect("a directory can be made");
    well.write(at("well"));
    let mounted = Mounted::tmpfs(at("mount"));
    old.write(at("mount/file"));
    let mut server = Server::serving(directory.path()).start();
    let torrent = server.torrent("mount/file");
    let mut peers: Vec<Peer> =
        (0..PEERS).map(|_| Peer::join_unchoked(server.peers(), torrent.info_hash)).collect();
    let mut other = Peer::join_unchoked(server.peers(), server.torrent("well").info_hash);
    for peer in &mut peers {
        peer.fetch(0, 0, 1024);
    }
    drop(mounted);
    server.serve("mount/file").expect_sentence(404);
    for (index, piece) in (0..).zip(well.bytes().chunks(PIECE)) {
        assert!(other.fetch(index, 0, 65536) == piece);
    }
    // Those who have begun hold it, and with it the file system, until they are done.
    for peer in &mut peers {
        assert!(peer.fetch(40, 0, 1024) == old.bytes()[40 * PIECE..40 * PIECE + KIB]);
    }
    let _mounted = Mounted::tmpfs(at("mount"));
    new.write(at("mount/file"));
    server.torrent("mount/file").assert_describes(&new);
    assert_told(&server.told("mount/file"), &["serving", "no longer served", "serving"]);
    server.assert_alive();
}

#[test]
fn a_watched_directory_whose_mount_vanishes_is_reported_once_and_served_again_when_it_is_back() {
    let [store, at, other] = [(); 3].map(|()| TempDir::new().expect("a temporary directory can be made"));
    let [contents, well] = [1, 2].map(|seed| Contents::new(seed, MIB));
    contents.write(store.path().join("file"));
    well.write(other.path().join("well"));
    let bind = || {
        mount_bind(store.path(), at.path()).expect("a directory can be mounted, by root");
        Mounted(at.path().to_owned())
    };
    let mounted = bind();
    let server = Server::serving(at.path()).and(other.path()).start();
    let torrent = server.torrent("file");
    let mut peer = Peer::join_unchoked(server.peers(), server.torrent("well").info_hash);
    drop(mounted);
    wait_for("the loss to be reported", || (!server.told("ERROR").is_empty()).then_some(()));
    server.serve("file").expect_sentence(404);
    assert!(peer.fetch(0, 0, 1024) == well.bytes()[..KIB]);
    let _mounted = bind();
    wait_for("the return to be reported", || (!server.told("is back").is_empty()).then_some(()));
    assert_eq!(server.torrent("file").info_hash, torrent.info_hash);
    assert_told(&server.told(&at.path().display().to_string()), &["", "is back"]);
}

#[test]
fn a_file_that_is_forbidden_is_left_out_in_one_line_and_served_once_it_may_be_read() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let [secret, well] = [1, 2].map(|seed| Contents::new(seed, MIB));
    let path = directory.path().join("secret");
    secret.write(&path);
    well.write(directory.path().join("well"));
    let server = Server::serving(directory.path()).unprivileged().start();
    let torrent = server.torrent("secret");
    let peers: Vec<Peer> =
        (0..PEERS).map(|_| Peer::join_unchoked(server.peers(), torrent.info_hash)).collect();
    let mut other = Peer::join_unchoked(server.peers(), server.torrent("well").info_hash);
    let allow =
        |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).expect("permissions can be set");
    allow(0);
    for peer in peers {
        peer.expect_close();
        assert!(other.fetch(0, 0, 1024) == well.bytes()[..KIB]);
    }
    server.serve("secret").expect_sentence(404);
    assert_told(&server.told("secret"), &["serving", "no longer served", "can't be read and is left out"]);
    allow(0o644);
    assert_eq!(server.torrent("secret").info_hash, torrent.info_hash);
    Peer::join_unchoked(server.peers(), torrent.info_hash).fetch(0, 0, 1024);
}

/// What many peers meet with at once is not told once for each.
#[test]
fn a_file_that_is_truncated_under_many_peers_is_withdrawn_in_one_line() {
    let seed = Seed::of(3 * MIB);
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| seed.join_unchoked()).collect();
    for peer in &mut peers {
        peer.fetch(0, 0, 1024);
    }
    let file = File::options().write(true).open(seed.path()).expect("the file can be opened");
    file.set_len(100).expect("a file can be truncated");
    for peer in peers {
        peer.send_and_expect_close(&request(40, 0, 16384));
    }
    assert_eq!(seed.server.torrent("file").length, 100);
    assert_told(&seed.server.told("file="), &["serving", "no longer served", "serving"]);
}

#[test]
fn downloads_end_though_their_file_is_deleted() {
    let seed = Seed::of(20 * PIECE);
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| seed.join_unchoked()).collect();
    for peer in &mut peers {
        peer.fetch(0, 0, 1024);
    }
    fs::remove_file(seed.path()).expect("a file can be deleted");
    seed.server.serve("file").expect_sentence(404);
    for peer in &mut peers {
        for (index, piece) in (0..).zip(seed.contents.bytes().chunks(PIECE)) {
            assert!(peer.fetch(index, 0, 65536) == piece);
        }
    }
    assert_told(&seed.server.told("file="), &["serving", "no longer served"]);
}

/// Clients of one file go on at the rate that they are given while the disk of another fails, and is well again.
#[test]
fn a_client_downloads_while_the_disk_of_another_file_fails() {
    let net = Net::new(3);
    let directory = TempDir::new().expect("a temporary directory can be made");
    let [bad, well] = [1, 2].map(|seed| Contents::new(seed, 40 * MIB));
    well.write_aged(directory.path().join("well"), 1000);
    let faulty = FaultyFs::mount(directory.path().join("faulty"), &[("bad", &bad)]);
    let swarm = Swarm::serving(net, directory);
    let [first, second] = [0, 1].map(|n| &swarm.hosts()[n]);
    let rate = 8 * 1024 * 1024;
    let start = |host, name: &str| {
        Client::Libtorrent.slowed_to(rate).start(host, Source::Torrent(&swarm.torrent(host, name).bytes))
    };
    let (mut of_bad, mut of_well) = (start(first, "faulty/bad"), start(second, "well"));
    of_bad.wait_for_word("piece");
    of_well.wait_for_word("piece");
    faulty.fail("bad", 0..bad.len());
    wait_for("the file to be reported", || (swarm.server.told("can't be hashed").len() == 1).then_some(()));
    well.assert_same(of_well.finish(), "libtorrent");
    faulty.heal("bad");
    let mut again = swarm.start(Client::Aria2, second, "faulty/bad");
    bad.assert_same(again.finish(), "aria2");
    assert!(!of_bad.has_said("hash failed"), "{}", of_bad.story());
}
