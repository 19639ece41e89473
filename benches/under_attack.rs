//! What honest peers lose while the origin is attacked in every way that `tests/hostile` knows: their rate with and
//! without, in turns, in one run.
//!
//! ```text
//! cargo bench --bench under_attack [-- SECONDS]        # for each turn; 5 unless said otherwise
//! ```
//!
//! Attackers and honest peers have the same processors as the origin, so that part of what is lost goes to the work of
//! attacking. Two honest peers download again and again, once as fast as they can and once at a gigabit a second in
//! all, which is what there is to lose on such a link. Attackers have either more addresses than the origin remembers,
//! and are always heard, or few, and are soon held off.

// By path: the tests' own, and not all of it is used here.
#[allow(dead_code)]
#[path = "../tests/hostile/attacks/mod.rs"]
mod attacks;
#[allow(dead_code)]
#[path = "../tests/support/mod.rs"]
mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use attacks::storm::{Storm, Strength};
use attacks::{LEN, Victim};
use support::files::{Contents, MIB};
use support::seed::Seed;
use support::wire::{PEER_ID, Peer, handshake_of};

const FILE: usize = 256 * MIB;
const HONEST: u64 = 2;
/// Without and with an attack, so many times.
const ROUNDS: usize = 4;
/// Bytes a second of all honest peers.
const GIGABIT: f64 = 125_000_000.0;

fn main() {
    // Tests of all targets run this too; they have no time for it.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("to measure: cargo bench --bench under_attack");
        return;
    }
    let turn = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let turn = Duration::from_secs(turn);
    let contents = Contents::new(5, FILE);
    println!("attackers         honest peers   without MB/s   with MB/s   kept   attacks/s   memory MB");
    for (attackers, addresses) in [("always heard", 60_000), ("held off", 4)] {
        for (honest, limit) in [("at full speed", f64::INFINITY), ("at 1 Gbit/s", GIGABIT)] {
            for pace in [250, 1000] {
                let strength = Strength { threads: 2, left_open: 40, addresses, pace };
                let measured = measure(&contents, strength, limit, turn);
                let Measured { quiet, stormy, attacks, memory } = measured;
                println!(
                    "{attackers:<17} {honest:<14} {:>12.1} {:>11.1} {:>5.0}% {attacks:>11.0} {:>11.1}",
                    quiet / 1e6,
                    stormy / 1e6,
                    100.0 * stormy / quiet,
                    memory as f64 / 1e6
                );
            }
        }
    }
}

struct Measured {
    /// Bytes a second, without and with attacks.
    quiet: f64,
    stormy: f64,
    /// A second, while there were any.
    attacks: f64,
    /// The most bytes that the origin took.
    memory: u64,
}

fn measure(contents: &Contents, strength: Strength, limit: f64, turn: Duration) -> Measured {
    let seed = Seed::with(LEN, |setup| {
        // The honest ones ask for all of it from the first byte on.
        setup.option("--handshake-timeout", "2").option("--super-seeding", "off").quiet()
    });
    contents.write(seed.directory().join("big"));
    let torrent = seed.server.torrent("big");
    let victim = |info_hash| Victim { peers: seed.server.peers(), info_hash };
    let victims = [victim(seed.info_hash), victim(torrent.info_hash)];
    let (over, received) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
    thread::scope(|scope| {
        for number in 1..=HONEST {
            let (over, received, torrent, peers) = (&over, &received, &torrent, seed.server.peers());
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    download(
                        number,
                        peers,
                        torrent.info_hash,
                        contents,
                        torrent.piece_length,
                        limit,
                        |bytes| {
                            received.fetch_add(bytes as u64, Ordering::Relaxed);
                        },
                    );
                }
            });
        }
        let rate = || {
            let (began, before) = (Instant::now(), received.load(Ordering::Relaxed));
            thread::sleep(turn);
            (received.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
        };
        // The page cache and the connections get warm.
        rate();
        let mut measured = Measured { quiet: 0.0, stormy: 0.0, attacks: 0.0, memory: 0 };
        for _ in 0..ROUNDS {
            measured.quiet += rate() / ROUNDS as f64;
            let storm = Storm::start(&victims, strength);
            measured.stormy += rate() / ROUNDS as f64;
            measured.memory = measured.memory.max(seed.server.memory());
            measured.attacks += storm.end() as f64 / turn.as_secs_f64() / ROUNDS as f64;
        }
        over.store(true, Ordering::Relaxed);
        measured
    })
}

/// The whole file, by a peer that takes its share of `limit` bytes a second.
fn download(
    number: u64,
    peers: SocketAddr,
    info_hash: [u8; 20],
    contents: &Contents,
    piece_len: usize,
    limit: f64,
    took: impl Fn(usize),
) {
    let address = Ipv4Addr::new(127, 0, 0, 100 + number as u8);
    let mut peer = Peer::connect_from(address.into(), peers);
    peer.send(&handshake_of([0; 8], info_hash, PEER_ID));
    peer.read(68);
    let (began, mut bytes) = (Instant::now(), 0);
    peer.download(contents.bytes(), piece_len, |more| {
        bytes += more;
        took(more);
        let due = Duration::from_secs_f64(bytes as f64 * HONEST as f64 / limit);
        thread::sleep(due.saturating_sub(began.elapsed()));
    });
}
