//! The tables all at once, while honest peers download: those get every byte, and the program's memory stays within a
//! bound. What it costs them in speed is measured by `benches/under_attack.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::attacks::storm::{Storm, Strength};
use super::attacks::{LEN, Victim};
use super::{assert_unharmed, host};
use crate::support::files::{Contents, MIB};
use crate::support::seed::Seed;
use crate::support::wait_for;
use crate::support::wire::{PEER_ID, Peer, handshake_of};

/// How much more the program may take than before, however many are connected: the buffers that connections give back
/// (4 MiB), the tables of the hold-off and the tracker, and what allocators keep for each thread.
const ITSELF: u64 = 16 * 1024 * 1024;
/// How much one of these connections may take: a message that isn't complete (32 KiB), and its own state. Not all that
/// one could have: answers that wait (64 KiB) and what is encrypted and not taken (64 KiB) come on top at worst.
const CONNECTION: u64 = 64 * 1024;

/// Each honest peer fetches it.
const FILE: usize = 48 * MIB;
const HONEST: u8 = 3;
/// At least so many attacks, however fast honest peers are.
const ATTACKS: u64 = 3000;

#[test]
fn honest_peers_get_every_byte_while_it_storms() {
    storm(Strength { threads: 4, left_open: 40, addresses: 60_000, pace: 1000 });
}

/// Most of what they send isn't heard.
#[test]
fn honest_peers_get_every_byte_while_addresses_are_held_off() {
    storm(Strength { threads: 4, left_open: 40, addresses: 4, pace: 1000 });
}

fn storm(strength: Strength) {
    let mut seed = Seed::with(LEN, |setup| {
        // The honest ones ask for all of it from the first byte on.
        setup.option("--handshake-timeout", "2").option("--super-seeding", "off").quiet()
    });
    let big = Contents::new(5, FILE);
    big.write(seed.directory().join("big"));
    let torrent = seed.server.torrent("big");
    let victim = |info_hash| Victim { peers: seed.server.peers(), info_hash };
    seed.assert_serves();
    let bound = seed.server.memory() + ITSELF + strength.connections() * CONNECTION;
    let storm = Storm::start(&[victim(seed.info_hash), victim(torrent.info_hash)], strength);
    let downloads = AtomicUsize::new(0);
    let most = thread::scope(|scope| {
        for number in 1..=HONEST {
            let (big, torrent, downloads, peers) = (&big, &torrent, &downloads, seed.server.peers());
            scope.spawn(move || {
                let mut peer = Peer::connect_from(host(number), peers);
                peer.send(&handshake_of([0; 8], torrent.info_hash, PEER_ID));
                peer.read(68);
                peer.download(big.bytes(), torrent.piece_length, |_| {});
                downloads.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut most = 0;
        wait_for("the downloads and the attacks", || {
            most = most.max(seed.server.memory());
            let done = downloads.load(Ordering::Relaxed) == usize::from(HONEST) && storm.tried() >= ATTACKS;
            done.then_some(())
        });
        most
    });
    storm.end();
    assert!(most < bound, "it took {most} bytes of memory, and {bound} are the bound");
    wait_for("all to be gone", || (seed.server.metric("distributor_peers") == 0).then_some(()));
    seed.server.assert_alive();
    assert_unharmed(&seed);
}
