//! Uploads keep to their rates: who gets what of them, and that they are changed without anybody being closed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::clients::Client;
use crate::support::files::{Contents, KIB, MIB, PIECE};
use crate::support::http::{Request, Response};
use crate::support::seed::Seed;
use crate::support::swarm::{Said, Swarm, Way};
use crate::support::wait_for;
use crate::support::wire::{FAST_AND_EXTENDED, Peer, handshake_of, id, numbers, request};

/// Where rates are seen and set.
const LIMITS: &str = "/api/v1/limits";

/// Asks for as many blocks of one size as it may, and counts what comes.
struct Greedy {
    peer: Peer,
    block: u32,
    pieces: u32,
    asked: u32,
    in_flight: usize,
}

impl Greedy {
    const IN_FLIGHT: usize = 256;

    fn join(seed: &Seed, block: usize, name: u8) -> Self {
        Self::join_from([127, 0, 0, 1], seed, block, name)
    }

    fn join_from(host: [u8; 4], seed: &Seed, block: usize, name: u8) -> Self {
        let mut peer = Peer::connect_from(host.into(), seed.server.peers());
        let hello = handshake_of(FAST_AND_EXTENDED, seed.info_hash, &[name; 20]);
        peer.send(&[hello, numbers(id::INTERESTED, &[])].concat());
        peer.read(68);
        peer.message_with(id::UNCHOKE);
        let pieces = u32::try_from(seed.contents.len() / PIECE).expect("a test's file is small");
        let block = u32::try_from(block).expect("a block is small");
        Self { peer, block, pieces, asked: 0, in_flight: 0 }
    }

    /// Takes one block; how many bytes it has.
    fn take(&mut self) -> usize {
        let blocks = PIECE as u32 / self.block;
        while self.in_flight < Self::IN_FLIGHT {
            let (piece, place) = ((self.asked / blocks) % self.pieces, self.asked % blocks);
            self.peer.send(&request(piece, place * self.block, self.block));
            self.asked += 1;
            self.in_flight += 1;
        }
        self.in_flight -= 1;
        self.peer.message_with(id::PIECE).len() - 8
    }
}

#[test]
fn peers_share_a_rate_by_bytes_whatever_sizes_they_ask_for() {
    // What the one has asked for lasts a second and a half: longer than its thread waits for its turn on a busy
    // machine.
    let seed = Seed::with(4 * MIB, |setup| setup.option("--max-upload-rate", "512KiB").quiet());
    let blocks = [KIB, 16 * KIB, 64 * KIB];
    let got = blocks.map(|_| AtomicUsize::new(0));
    thread::scope(|scope| {
        for (block, n) in blocks.into_iter().zip(0..) {
            let (seed, got) = (&seed, &got);
            let mut peer = Greedy::join(seed, block, b'a' + n as u8);
            scope.spawn(move || {
                // The first that has its share ends it for all.
                while got.iter().all(|got| got.load(Ordering::Relaxed) < MIB) {
                    got[n].fetch_add(peer.take(), Ordering::Relaxed);
                }
            });
        }
    });
    let got = got.map(AtomicUsize::into_inner);
    let [least, most] = [got.iter().min(), got.iter().max()].map(|got| *got.expect("there are three"));
    assert!(least * 10 >= most * 8, "{got:?}");
}

/// The rate is a host's, or making connections would multiply it.
#[test]
fn connections_of_one_host_share_the_rate_of_a_peer() {
    const RATE: usize = MIB;
    const EACH: usize = 2 * MIB;
    let seed =
        Seed::with(4 * MIB, |setup| setup.option("--max-upload-rate-per-peer", &RATE.to_string()).quiet());
    let began = Instant::now();
    thread::scope(|scope| {
        for name in [b'a', b'b'] {
            let mut peer = Greedy::join(&seed, 16 * KIB, name);
            scope.spawn(move || {
                let mut got = 0;
                while got < EACH {
                    got += peer.take();
                }
            });
        }
    });
    let fastest = Duration::from_secs_f64((2 * EACH - RATE / 50) as f64 / RATE as f64 / 1.02);
    assert!(began.elapsed() >= fastest, "both took {:?} for what takes {fastest:?}", began.elapsed());
}

/// By hosts alone the rack of four would have four times as much as that of one, and without limits both far more.
#[test]
fn racks_have_one_rate_each_however_many_hosts_they_have() {
    const RATE: usize = MIB;
    const HOSTS: [[u8; 4]; 5] =
        [[127, 1, 1, 1], [127, 1, 2, 1], [127, 1, 2, 2], [127, 1, 2, 3], [127, 1, 2, 4]];
    let seed = Seed::with(4 * MIB, |setup| {
        let setup = setup.option("--max-upload-rate-per-group", &RATE.to_string());
        setup.option("--rack-prefix-v4", "24").showing_everything().quiet()
    });
    let got = HOSTS.map(|_| AtomicUsize::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        for (n, host) in HOSTS.into_iter().enumerate() {
            let (seed, got) = (&seed, &got);
            let mut peer = Greedy::join_from(host, seed, 16 * KIB, b'a' + n as u8);
            scope.spawn(move || {
                // The first that has so much ends it for all.
                while got.iter().all(|got| got.load(Ordering::Relaxed) < 4 * MIB) {
                    got[n].fetch_add(peer.take(), Ordering::Relaxed);
                }
            });
        }
    });
    // What a bucket holds beside, and a message that is cut for each host.
    let most = began.elapsed().as_secs_f64() * RATE as f64 * 1.02 + (RATE / 50 + 4 * 16 * KIB) as f64;
    let [alone, four @ ..] = got.map(AtomicUsize::into_inner);
    let together: usize = four.iter().sum();
    assert!(alone as f64 <= most && together as f64 <= most, "{alone} and {four:?} of {most}");
    assert!(alone * 2 >= together, "{alone} and {four:?}");
    let [least, most] = [four.iter().min(), four.iter().max()].map(|got| *got.expect("there are four"));
    assert!(least * 10 >= most * 8, "{four:?}");
}

/// A client downloads no faster than it may; how much slower is the machine's business.
fn downloads_at_most_at(client: Client, encrypted: bool) {
    const RATE: usize = MIB;
    const LEN: usize = 4 * MIB;
    let swarm = Swarm::with(1, |setup| {
        let setup = setup.option("--max-upload-rate-per-peer", &RATE.to_string());
        if encrypted { setup.option("--encryption", "require") } else { setup }
    });
    let contents = Contents::new(1, LEN);
    contents.write(swarm.path("file.iso"));
    let began = Instant::now();
    let mut download = swarm.start(client, &swarm.hosts()[0], "file.iso");
    contents.assert_same(download.finish(), &format!("{client:?}"));
    // All but what a bucket holds, and with no more error than the rates may have.
    let fastest = Duration::from_secs_f64((LEN - RATE / 50) as f64 / RATE as f64 / 1.02);
    assert!(began.elapsed() >= fastest, "{client:?} took {:?} for what takes {fastest:?}", began.elapsed());
}

#[test]
fn aria2_keeps_to_the_rate_of_a_peer() {
    downloads_at_most_at(Client::Aria2, false);
}

#[test]
fn libtorrent_keeps_to_the_rate_of_a_peer() {
    downloads_at_most_at(Client::Libtorrent, false);
}

#[test]
fn transmission_keeps_to_the_rate_of_a_peer() {
    downloads_at_most_at(Client::Transmission, false);
}

#[test]
fn an_encrypted_download_keeps_to_the_rate_of_a_peer() {
    downloads_at_most_at(Client::Aria2, true);
}

/// At the first rate the download would take hours; it never reconnects, which the second rate would need otherwise.
#[test]
fn a_rate_is_changed_while_a_download_runs() {
    let swarm = Swarm::with(1, |setup| setup.option("--max-upload-rate", "1k"));
    let contents = Contents::new(2, 8 * MIB);
    contents.write(swarm.path("file.iso"));
    let mut download = swarm.start(Client::Aria2, &swarm.hosts()[0], "file.iso");
    wait_for("the download to begin", || (swarm.uploaded() > 0).then_some(()));
    let opened = || {
        let ways = [Way::Accepted, Way::Dialled].into_iter();
        ways.flat_map(|way| [Said::InTheClear, Said::Encrypted].map(|said| swarm.opened(way, said)))
            .sum::<u64>()
    };
    let connections = opened();
    let here = ([127, 0, 0, 1], swarm.server.http().port()).into();
    let change = || {
        Request::get(LIMITS).method("PUT").body(r#"{"total": "unlimited", "per_peer": "100M"}"#).send(here)
    };
    let limits = read(&swarm.origin().inside(change).expect(200));
    assert_eq!(limits, json!({ "total": null, "per_group": null, "per_peer": 100_000_000 }));
    contents.assert_same(download.finish(), "aria2");
    assert_eq!(opened(), connections, "no connection was made for it");
}

fn read(response: &Response) -> Value {
    serde_json::from_slice(&response.body).expect("it is JSON")
}

#[test]
fn rates_are_changed_by_nobody_elsewhere_and_by_nothing_that_makes_no_sense() {
    let swarm = Swarm::with(1, |setup| setup.option("--max-upload-rate", "5M"));
    let put = |body: &str| Request::get(LIMITS).method("PUT").body(body);
    let port = swarm.server.http().port();
    let origin = (swarm.origin().address(), port).into();
    let host = &swarm.hosts()[0];
    host.inside(|| put(r#"{"total": 1}"#).send(origin)).expect_sentence(403);
    swarm.origin().inside(|| {
        let here = ([127, 0, 0, 1], port).into();
        put(r#"{"total": 1}"#).header("X-Forwarded-For", "10.0.0.9").send(here).expect_sentence(403);
        put(r#"{"total": 1}"#).host("evil.example").send(here).expect_sentence(403);
        for wrong in ["", "5", r#"{"totl": 1}"#, r#"{"total": "fast"}"#] {
            put(wrong).send(here).expect_sentence(400);
        }
        put(&"x".repeat(10_000)).send(here).expect_sentence(400);
    });
    let limits = read(&swarm.get(host, LIMITS).expect(200));
    assert_eq!(limits, json!({ "total": 5_000_000, "per_group": null, "per_peer": null }));
}

/// The first has had its slot for longest: by turns it would have to go.
#[test]
fn the_fastest_keeps_its_slot_when_the_turns_are_over() {
    let seed = Seed::with(4 * MIB, |setup| {
        setup.option("--choking", "fastest").option("--upload-slots", "2").showing_everything().quiet()
    });
    let join = |number: u8| {
        let mut peer = Peer::connect_from([127, 0, 1, number].into(), seed.server.peers());
        let hello = handshake_of(FAST_AND_EXTENDED, seed.info_hash, &[number; 20]);
        peer.send(&[hello, numbers(id::INTERESTED, &[])].concat());
        peer.read(68);
        peer
    };
    let (mut fast, mut slow) = (join(1), join(2));
    fast.message_with(id::UNCHOKE);
    slow.message_with(id::UNCHOKE);
    let mut newcomer = join(3);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let fast = scope.spawn(|| {
            let blocks = (0..).map(|n| request(n % 64, 0, 16_384));
            for block in blocks.take_while(|_| !is_over.load(Ordering::Relaxed)) {
                fast.send(&block);
                while let (found, _) = fast.message()
                    && found != id::PIECE
                {
                    assert_ne!(found, id::CHOKE, "the fastest was choked");
                }
            }
        });
        newcomer.message_with(id::UNCHOKE);
        slow.message_with(id::CHOKE);
        is_over.store(true, Ordering::Relaxed);
        fast.join().expect("it was never choked");
    });
}
