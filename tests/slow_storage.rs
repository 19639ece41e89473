//! A disk that makes its readers wait: those who want something of it wait, and nobody else does. No clock decides
//! here: the test holds the disk's reads until all others have had what they came for.

use std::net::SocketAddr;
use std::thread::available_parallelism;

use crate::support::files::{Contents, KIB, MIB, PIECE};
use crate::support::http::Response;
use crate::support::torrent::Torrent;
use crate::support::two_disks::TwoDisks;
use crate::support::wait_for;
use crate::support::wire::{Peer, id, request};

/// How many threads may wait for the disk on behalf of one torrent (`MAX_DISK_WAITS`).
const WAITS_PER_TORRENT: usize = 4;

/// How many threads run tasks, and how many hash unless the test says so; at least two.
fn workers() -> usize {
    available_parallelism().map_or(1, usize::from).max(2)
}

/// Asks for the first block of each MiB, one of each peer.
fn ask(peers: &mut [Peer], torrent: &Torrent) {
    for (megabyte, peer) in peers.iter_mut().enumerate() {
        let index = megabyte * MIB / torrent.piece_length;
        peer.send(&request(u32::try_from(index).expect("an index fits"), 0, 16384));
    }
}

/// Panics unless each peer gets what it asked for by [`ask`].
fn take(peers: Vec<Peer>, contents: &Contents) {
    for (megabyte, mut peer) in peers.into_iter().enumerate() {
        let (id, body) = peer.message();
        assert_eq!(id, id::PIECE);
        let block = &contents.bytes()[megabyte * MIB..megabyte * MIB + 16 * KIB];
        assert!(body[8..] == *block, "the block of the MiB {megabyte}");
    }
}

#[test]
fn more_peers_than_may_wait_for_a_disk_hold_up_nobody_else() {
    let peers = WAITS_PER_TORRENT + 8;
    let contents = Contents::new(1, peers * MIB);
    let mut disks = TwoDisks::new(&[("slow", &contents)]);
    let torrent = disks.server.torrent("faulty/slow");
    let mut slow = disks.join(&torrent, peers);
    let mut before: Vec<_> = (0..4).map(|_| disks.join_well()).collect();
    disks.faulty.hold("slow");
    ask(&mut slow, &torrent);
    disks.faulty.wait_until_held("slow", WAITS_PER_TORRENT);
    for _ in 0..20 {
        before.iter_mut().for_each(|peer| peer.goes_on());
    }
    disks.assert_well();
    disks.assert_takes("new", &Contents::new(2, 3 * MIB));
    disks.faulty.heal("slow");
    take(slow, &contents);
    disks.server.assert_alive();
}

/// A cold block, and then others that are in memory, are asked for on a connection that was joined like this. Answers
/// need not come in the order of the requests (BEP 3).
fn what_is_there_passes_what_the_disk_has_yet_to_give(join: fn(SocketAddr, [u8; 20]) -> Peer) {
    let contents = Contents::new(1, 4 * MIB);
    let mut disks = TwoDisks::new(&[("slow", &contents)]);
    let torrent = disks.server.torrent("faulty/slow");
    let [mut peer, mut other] = [(); 2].map(|()| join(disks.server.peers(), torrent.info_hash));
    peer.fetch(0, 0, 16384);
    disks.faulty.hold_part("slow", 3 * MIB..4 * MIB);
    let cold = u32::try_from(3 * MIB / torrent.piece_length).expect("an index fits");
    peer.send(&request(cold, 0, 16384));
    disks.faulty.wait_until_held("slow", 1);
    // A file is looked at once a second, by who wants something of it and doesn't wait for its disk.
    wait_for("a block of those that are there", || {
        other.fetch(0, 0, 16384);
        peer.send(&request(0, 0, 16384));
        peer.has_come().then_some(())
    });
    let body = peer.message_with(id::PIECE);
    assert_eq!(body[..8], [0; 8]);
    assert!(body[8..] == contents.bytes()[..16 * KIB]);
    disks.faulty.heal("slow");
    let body = loop {
        let body = peer.message_with(id::PIECE);
        if body[..4] == cold.to_be_bytes() {
            break body;
        }
    };
    assert!(body[8..] == contents.bytes()[3 * MIB..3 * MIB + 16 * KIB]);
    disks.server.assert_alive();
}

#[test]
fn a_block_that_the_disk_has_yet_to_give_holds_up_none_that_are_there() {
    what_is_there_passes_what_the_disk_has_yet_to_give(Peer::join_unchoked);
}

#[test]
fn a_block_that_the_disk_has_yet_to_give_holds_up_none_that_are_there_on_an_encrypted_connection() {
    what_is_there_passes_what_the_disk_has_yet_to_give(Peer::join_unchoked_encrypted);
}

/// A torrent's share of threads is its own: many slow ones take many threads, and still none of those that run tasks.
#[test]
fn more_held_reads_than_there_are_workers_hold_up_nobody_else() {
    let files: Vec<(String, Contents)> = (0..workers())
        .map(|n| (format!("slow-{n}"), Contents::new(n as u64, WAITS_PER_TORRENT * MIB)))
        .collect();
    let on_disk: Vec<(&str, &Contents)> =
        files.iter().map(|(name, contents)| (name.as_str(), contents)).collect();
    let mut disks = TwoDisks::new(&on_disk);
    let mut before = disks.join_well();
    let mut slow = Vec::new();
    for (name, contents) in &files {
        let torrent = disks.server.torrent(format!("faulty/{name}"));
        let mut peers = disks.join(&torrent, WAITS_PER_TORRENT);
        disks.faulty.hold(name);
        ask(&mut peers, &torrent);
        disks.faulty.wait_until_held(name, WAITS_PER_TORRENT);
        slow.push((name, peers, contents));
        before.goes_on();
        disks.assert_well();
    }
    disks.assert_takes("new", &Contents::new(100, 3 * MIB));
    for (name, peers, contents) in slow {
        disks.faulty.heal(name);
        take(peers, contents);
    }
    disks.server.assert_alive();
}

/// Such requests must not pile up until there is no connection left for others.
#[test]
fn a_request_for_a_file_whose_disk_hangs_is_told_to_come_again() {
    let contents = Contents::new(1, WAITS_PER_TORRENT * MIB);
    let mut disks = TwoDisks::new(&[("slow", &contents)]);
    let torrent = disks.server.torrent("faulty/slow");
    let mut slow = disks.join(&torrent, WAITS_PER_TORRENT);
    disks.faulty.hold("slow");
    ask(&mut slow, &torrent);
    disks.faulty.wait_until_held("slow", WAITS_PER_TORRENT);
    let answer = disks.server.serve("faulty/slow").expect_sentence(503);
    assert!(answer.header("retry-after").is_some());
    disks.assert_well();
    disks.faulty.heal("slow");
    take(slow, &contents);
    assert_eq!(disks.server.torrent("faulty/slow").info_hash, torrent.info_hash);
    disks.server.assert_alive();
}

/// What hashes and what uploads may both be in a read that doesn't come back.
#[test]
fn sigterm_ends_it_though_the_disk_hangs() {
    let contents = Contents::new(1, WAITS_PER_TORRENT * MIB);
    let other = Contents::new(2, MIB);
    // Were it held from the start nothing of its disk would be hashed: it is tried again and again until it is held.
    let disks = TwoDisks::with(
        &[("slow", &contents), ("other", &other)],
        |disk| disk.fail("other", 0..other.len()),
        |setup| setup,
    );
    let torrent = disks.server.torrent("faulty/slow");
    let mut slow = disks.join(&torrent, WAITS_PER_TORRENT);
    for name in ["slow", "other"] {
        disks.faulty.hold(name);
    }
    ask(&mut slow, &torrent);
    disks.faulty.wait_until_held("slow", WAITS_PER_TORRENT);
    disks.faulty.wait_until_held("other", 1);
    disks.stop();
}

#[test]
fn a_file_that_hangs_while_it_is_hashed_holds_up_no_file_of_another_disk() {
    for threads in [None, Some("1")] {
        let (disks, slow) = hang(1, threads);
        assert_hashes_others(disks, &slow);
    }
}

#[test]
fn many_files_that_hang_while_they_are_hashed_hold_up_no_file_of_another_disk() {
    for threads in [None, Some("1")] {
        let (disks, slow) = hang(2 * workers(), threads);
        assert_hashes_others(disks, &slow);
    }
}

#[test]
fn sigterm_ends_it_though_all_threads_of_a_disk_hang() {
    let (disks, _) = hang(workers(), None);
    disks.stop();
}

/// Two disks, one of which hangs from the start with so many files that are newer than those of the other, each of them
/// of more pieces than there are lanes.
fn hang(files: usize, hash_threads: Option<&str>) -> (TwoDisks, Vec<(String, Contents)>) {
    let slow: Vec<_> =
        (0..files).map(|n| (format!("slow-{n}"), Contents::new(n as u64, 20 * PIECE))).collect();
    let on_disk: Vec<_> = slow.iter().map(|(name, contents)| (name.as_str(), contents)).collect();
    let disks = TwoDisks::with(
        &on_disk,
        |disk| on_disk.iter().for_each(|(name, _)| disk.hold(name)),
        |setup| match hash_threads {
            Some(threads) => setup.option("--hash-threads", threads),
            None => setup,
        },
    );
    // Of the newest of those that were known when the first thread took one.
    disks.faulty.wait_until_any_held();
    (disks, slow)
}

/// Panics unless files of the disk that is well are hashed and served, and once the other is, too, its own.
fn assert_hashes_others(mut disks: TwoDisks, slow: &[(String, Contents)]) {
    let mut waiting = disks.server.begin("/serve?faulty/slow-0");
    for round in 0..20 {
        disks.assert_takes(&format!("new-{round}"), &Contents::new(100 + round, 3 * MIB));
    }
    disks.assert_well();
    for (name, _) in slow {
        disks.faulty.heal(name);
    }
    Torrent::read(&Response::read(&mut waiting, false).expect(200).body).assert_describes(&slow[0].1);
    for (name, contents) in slow {
        disks.server.torrent(format!("faulty/{name}")).assert_describes(contents);
    }
    disks.server.assert_alive();
}
