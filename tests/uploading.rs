//! Many peers at a time: what they share, what those cost who wait, and that who doesn't read costs nothing.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use socket2::SockRef;
use tempfile::TempDir;

use crate::support::files::{Contents, KIB, MIB};
use crate::support::seed::Seed;
use crate::support::server::Server;
use crate::support::wire::{Peer, id, request};

const BLOCK: usize = 16 * KIB;
/// A block and what goes before it on the wire.
const MESSAGE: usize = 13 + BLOCK;

/// Hosts of their own to the server, which has limits for each.
fn host(n: usize) -> IpAddr {
    let [.., high, low] = u32::try_from(n).expect("it fits").to_be_bytes();
    [127, 1, high, low].into()
}

/// Connected, unchoked and never done: it asks for the same blocks again.
struct Downloader {
    peer: Peer,
    blocks: u32,
    asked: usize,
    received: usize,
}

impl Downloader {
    /// A MiB: what it has asked for lasts for as long as a busy machine may keep it from asking again.
    const IN_FLIGHT: usize = 64;

    fn join(server: &Server, from: usize, info_hash: [u8; 20], len: usize) -> Self {
        let peer = Peer::connect_from(host(from), server.peers());
        let (mut peer, _) = peer.shake_hands(info_hash);
        peer.send(&[0, 0, 0, 1, id::INTERESTED]);
        peer.message_with(id::UNCHOKE);
        // Room for what comes while others are looked after: who has none is passed over, and that says nothing of the
        // seeder.
        SockRef::from(&*peer.stream()).set_recv_buffer_size(MIB).expect("a socket takes options");
        peer.stream().set_nonblocking(true).expect("a socket takes options");
        Self { peer, blocks: u32::try_from(len / BLOCK).expect("it fits"), asked: 0, received: 0 }
    }

    /// Takes what has come, as far as the buffer holds it, and asks for as much again.
    fn go_on(&mut self, buffer: &mut [u8]) {
        match self.peer.stream().read(buffer) {
            Ok(0) => panic!("the seeder has hung up"),
            Ok(read) => self.received += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        // After the unchoke there is nothing but blocks of one length.
        let wanted = self.received / MESSAGE + Self::IN_FLIGHT - self.asked;
        let requests: Vec<u8> = (self.asked..self.asked + wanted)
            .flat_map(|n| {
                // Four blocks are a piece.
                let block = u32::try_from(n).expect("it fits") % self.blocks;
                request(block / 4, block % 4 * BLOCK as u32, BLOCK as u32)
            })
            .collect();
        self.peer.stream().write_all(&requests).expect("a few requests always find room");
        self.asked += wanted;
    }
}

/// Of a rate: what goes out without one is divided by whoever runs the seeder and its peers, on a busy machine the
/// system.
#[test]
fn two_hundred_peers_on_fifty_torrents_share_evenly() {
    const TORRENTS: usize = 50;
    const PEERS: usize = 200;
    const LEN: usize = MIB;
    // A fraction of what a busy machine manages.
    const RATE: usize = 16 * MIB;
    // Which nobody comes near. But it makes the turns short, a hundredth of a second's bytes: each has many.
    const RATE_PER_PEER: usize = MIB;
    const QUANTUM: u64 = (RATE_PER_PEER / 100) as u64;
    const EACH: usize = 5 * MIB / 4;
    let directory = TempDir::new().expect("a temporary directory can be made");
    let names: Vec<String> = (0..TORRENTS).map(|n| n.to_string()).collect();
    for (n, name) in names.iter().enumerate() {
        Contents::new(n as u64, LEN).write(directory.path().join(name));
    }
    let server = Server::serving(directory.path())
        .option("--upload-slots", "unlimited")
        .option("--max-upload-rate", &RATE.to_string())
        .option("--max-upload-rate-per-peer", &RATE_PER_PEER.to_string())
        .quiet()
        .start();
    let torrents: Vec<[u8; 20]> = names.iter().map(|name| server.torrent(name).info_hash).collect();
    let mut downloaders: Vec<Downloader> = (0..PEERS)
        .map(|n| Downloader::join(&server, n, *torrents.iter().cycle().nth(n).expect("endless"), LEN))
        .collect();
    let mut buffer = vec![0; 4 * MESSAGE];
    // What each was sent by the time that all have so much on average. The seeder is asked, and at one moment: what has
    // come out of a socket says when its reader had a processor.
    let mut uploaded_at = |each: usize| {
        while downloaders.iter().map(|one| one.received).sum::<usize>() < PEERS * each {
            downloaders.iter_mut().for_each(|downloader| downloader.go_on(&mut buffer));
        }
        uploaded(&server)
    };
    // Until then some have not begun.
    let mut each = MIB / 2;
    let mut before = uploaded_at(each);
    assert_eq!(before.len(), PEERS);
    loop {
        let began = Instant::now();
        each += EACH;
        let after = uploaded_at(each);
        let shares: Vec<u64> = before.iter().map(|(peer, before)| after[peer] - before).collect();
        let even = shares.iter().sum::<u64>() / PEERS as u64;
        let extremes = *shares.iter().min().expect("some")..=*shares.iter().max().expect("some");
        // It is seen in the midst of a round, and four turns that were missed are made good: those from before now, and
        // those of now later.
        let [least, most] = [even * 9 / 10 - 5 * QUANTUM, even * 11 / 10 + 5 * QUANTUM];
        if *extremes.start() >= least && *extremes.end() <= most {
            return;
        }
        // On a machine too busy for the rate nobody waits in line for it: who has a processor has the bytes.
        let is_rate_kept =
            began.elapsed() < Duration::from_secs_f64(1.05 * (PEERS * EACH) as f64 / RATE as f64);
        assert!(
            !is_rate_kept && each < 5 * EACH,
            "even would be {even} bytes each, and they have {extremes:?}"
        );
        before = after;
    }
}

/// What was sent to each peer so far, by its address.
fn uploaded(server: &Server) -> HashMap<String, u64> {
    let peers: Value =
        serde_json::from_slice(&server.get("/api/v1/peers?limit=500").expect(200).body).expect("it is JSON");
    let peers = peers["peers"].as_array().expect("a list");
    let address = |peer: &Value| peer["address"].as_str().expect("text").to_owned();
    peers.iter().map(|peer| (address(peer), peer["uploaded"].as_u64().expect("a number"))).collect()
}

#[test]
fn five_thousand_peers_that_wait_cost_less_than_eight_kibibytes_each() {
    const PEERS: usize = 5000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("it may be raised that far");
    let seed = Seed::with(MIB, |setup| setup.option("--upload-slots", "unlimited").quiet());
    // What is there once, however many come.
    drop(seed.join_unchoked());
    let before = seed.server.memory();
    let peers: Vec<Peer> = (0..PEERS)
        .map(|n| {
            let peer = Peer::connect_from(host(n), seed.server.peers());
            let (mut peer, _) = peer.shake_hands(seed.info_hash);
            peer.send(&[0, 0, 0, 1, id::INTERESTED]);
            peer.message_with(id::UNCHOKE);
            peer
        })
        .collect();
    let each = seed.server.memory().saturating_sub(before) / PEERS as u64;
    assert!(each < 8 * KIB as u64, "each costs {each} bytes");
    assert_eq!(seed.server.metric("distributor_peers"), PEERS as u64);
    seed.assert_serves();
    drop(peers);
}

/// Turns go round among them all the while.
#[test]
fn five_thousand_peers_that_wait_for_a_slot_take_hardly_any_processor_time() {
    const PEERS: usize = 5000;
    const SLOTS: usize = 4;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("it may be raised that far");
    let seed = Seed::with(MIB, |setup| setup.option("--upload-slots", &SLOTS.to_string()).quiet());
    let mut peers: Vec<Peer> = (0..PEERS)
        .map(|n| {
            let peer = Peer::connect_from(host(n), seed.server.peers());
            let (mut peer, _) = peer.shake_hands(seed.info_hash);
            peer.send(&[0, 0, 0, 1, id::INTERESTED]);
            peer
        })
        .collect();
    let (began, before) = (Instant::now(), seed.server.processor_time());
    // In the order in which they came, as many as there are slots in each turn of ten seconds.
    let mut in_order = peers.iter_mut().step_by(SLOTS);
    while began.elapsed() < Duration::from_secs(10) {
        in_order.next().expect("thousands have had no turn").message_with(id::UNCHOKE);
    }
    let (took, time) = (seed.server.processor_time() - before, began.elapsed());
    // A machine that is busy otherwise makes the time longer, and that which was taken no more.
    assert!(took <= time / 20, "{took:?} of {time:?}");
}

#[test]
fn a_hundred_peers_that_never_read_cost_no_more_than_what_they_asked() {
    const PEERS: usize = 100;
    // All that may wait.
    const REQUESTS: u32 = 1024;
    let seed = Seed::with(MIB, |setup| setup.option("--upload-slots", "unlimited").quiet());
    let mut honest = seed.join_unchoked();
    honest.fetch(0, 0, BLOCK as u32);
    let before = seed.server.memory();
    let greedy: Vec<Peer> = (0..PEERS)
        .map(|n| {
            let (mut peer, _) = Peer::connect_from(host(n), seed.server.peers()).shake_hands(seed.info_hash);
            peer.send(&[0, 0, 0, 1, id::INTERESTED]);
            peer.message_with(id::UNCHOKE);
            let requests: Vec<u8> = (0..REQUESTS)
                .flat_map(|n| request(n % 16, n / 16 % 4 * BLOCK as u32, BLOCK as u32))
                .collect();
            peer.send(&requests);
            // The first has come, so the seeder is at work on the rest.
            peer.read(MESSAGE);
            peer
        })
        .collect();
    for index in 0..16 {
        let at = index as usize * 4 * BLOCK;
        assert!(honest.fetch(index, 0, BLOCK as u32) == seed.contents.bytes()[at..at + BLOCK]);
    }
    // A request and a block that is about to go take some tens of bytes each; blocks take none, they stay in the file.
    let each = seed.server.memory().saturating_sub(before) / PEERS as u64;
    assert!(each < 64 * KIB as u64, "each costs {each} bytes");
    drop(greedy);
}
