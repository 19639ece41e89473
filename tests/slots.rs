//! Who has the upload slots, and how many there are: as peers see it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::files::{Contents, KIB, MIB, PIECE};
use crate::support::http::Response;
use crate::support::process::command;
use crate::support::seed::Seed;
use crate::support::swarm::Swarm;
use crate::support::wait_for;
use crate::support::wire::{
    FAST_AND_EXTENDED, HANDSHAKE_LEN, Peer, connect_from, handshake_of, id, message, numbers, request,
};

const BLOCK: u32 = 16 * KIB as u32;
/// The number of slots follows what is measured, over steps of eight seconds of which some may show nothing.
const PATIENCE: Duration = Duration::from_secs(240);

/// Takes as much as it may, for as long as the connection lasts.
struct Hungry(TcpStream);

impl Hungry {
    const IN_FLIGHT: u32 = 16;

    fn join(from: IpAddr, to: SocketAddr, info_hash: [u8; 20]) -> Self {
        let mut stream = connect_from(from, to).expect("the peer address accepts connections");
        let hello = handshake_of(FAST_AND_EXTENDED, info_hash, b"-XX0001-abcdefghijkl");
        stream.write_all(&[hello, numbers(id::INTERESTED, &[])].concat()).expect("the seeder takes bytes");
        Self(stream)
    }

    /// The other end of the same connection, to end it by.
    fn handle(&self) -> TcpStream {
        self.0.try_clone().expect("a socket can be duplicated")
    }

    /// Until the connection is shut down.
    fn eat(mut self, pieces: u32) {
        let _ = self.eat_until_error(pieces);
    }

    fn eat_until_error(&mut self, pieces: u32) -> io::Result<()> {
        self.0.read_exact(&mut [0; HANDSHAKE_LEN])?;
        let mut blocks = (0..).map(|n: u32| request(n / 4 % pieces, n % 4 * BLOCK, BLOCK));
        let mut body = Vec::new();
        loop {
            let mut len = [0; 4];
            self.0.read_exact(&mut len)?;
            body.resize(u32::from_be_bytes(len) as usize, 0);
            self.0.read_exact(&mut body)?;
            let wanted = match body.first() {
                Some(&id::UNCHOKE) => Self::IN_FLIGHT,
                Some(&id::PIECE) => 1,
                _ => 0,
            };
            for block in blocks.by_ref().take(wanted as usize) {
                self.0.write_all(&block)?;
            }
        }
    }
}

/// Has all of them eat while `work` goes on.
fn feed(hungry: Vec<Hungry>, pieces: u32, work: impl FnOnce()) {
    let handles: Vec<TcpStream> = hungry.iter().map(Hungry::handle).collect();
    thread::scope(|scope| {
        for one in hungry {
            scope.spawn(move || one.eat(pieces));
        }
        work();
        handles.iter().for_each(|handle| drop(handle.shutdown(Shutdown::Both)));
    });
}

/// How many peers are `interested`, or have a slot and are `unchoked`.
fn count(peers: &Response, standing: &str) -> usize {
    let peers: Value = serde_json::from_slice(&peers.body).expect("it is JSON");
    let peers = peers["peers"].as_array().expect("a list");
    peers.iter().filter(|peer| peer[standing] == true).count()
}

#[track_caller]
fn wait_until_unchoked(get: impl Fn() -> Response, wanted: impl Fn(usize) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let unchoked = count(&get().expect(200), "unchoked");
        if wanted(unchoked) {
            return;
        }
        assert!(Instant::now() < end, "{unchoked} peers have a slot");
        thread::sleep(Duration::from_millis(200));
    }
}

const PEERS: &str = "/api/v1/peers?limit=500";

/// 24 Mbit/s are enough for eleven slots of 256 KiB a second.
#[test]
fn a_slow_uplink_has_fewer_slots() {
    let swarm = Swarm::with(1, |setup| setup.quiet());
    let contents = Contents::new(1, 4 * MIB);
    contents.write(swarm.path("file"));
    let (origin, host) = (swarm.origin(), &swarm.hosts()[0]);
    let info_hash = swarm.torrent(host, "file").info_hash;
    let shape =
        ["qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "24mbit", "burst", "64k", "limit", "512k"];
    let status = command("tc", Some(origin)).args(shape).status().expect("tc can be run");
    assert!(status.success(), "the uplink can't be made slow");
    let peers = SocketAddr::new(origin.address(), swarm.server.peers().port());
    let hungry = host.inside(|| (0..40).map(|_| Hungry::join(host.address(), peers, info_hash)).collect());
    feed(hungry, (contents.len() / PIECE) as u32, || {
        wait_until_unchoked(|| swarm.get(origin, PEERS), |unchoked| unchoked == 40);
        wait_until_unchoked(|| swarm.get(origin, PEERS), |unchoked| (4..=13).contains(&unchoked));
    });
}

/// A limit for each host is what makes them slow; without one for all of them nothing is known of the uplink.
#[test]
fn slow_peers_have_more_slots() {
    let seed = Seed::with(4 * MIB, |setup| {
        setup.option("--max-upload-rate-per-peer", "24k").showing_everything().quiet()
    });
    let join = |n| Hungry::join([127, 1, 1, n].into(), seed.server.peers(), seed.info_hash);
    let hungry = (1..=90).map(join).collect();
    feed(hungry, (seed.contents.len() / PIECE) as u32, || {
        wait_until_unchoked(|| seed.server.get(PEERS), |unchoked| unchoked == 90);
    });
}

/// Each has far more than a useful rate on any machine: there is no reason for anybody to wait for a turn.
#[test]
fn all_who_wait_have_slots_where_there_is_more_than_enough_for_each() {
    let seed = Seed::with(4 * MIB, |setup| setup.showing_everything().quiet());
    let join = |n| Hungry::join([127, 1, 1, n].into(), seed.server.peers(), seed.info_hash);
    let hungry = (1..=150).map(join).collect();
    feed(hungry, (seed.contents.len() / PIECE) as u32, || {
        wait_until_unchoked(|| seed.server.get(PEERS), |unchoked| unchoked == 150);
    });
}

fn join(seed: &Seed, ip: [u8; 4], pieces: Option<&[u8]>) -> Peer {
    let mut peer = Peer::connect_from(ip.into(), seed.server.peers());
    let hello = handshake_of(FAST_AND_EXTENDED, seed.info_hash, b"-XX0001-abcdefghijkl");
    let has = pieces.map_or_else(|| numbers(id::HAVE_NONE, &[]), |pieces| message(id::BITFIELD, pieces));
    peer.send(&[hello, has, numbers(id::INTERESTED, &[])].concat());
    peer.read(HANDSHAKE_LEN);
    peer
}

/// Two peers have both slots, a third waits, and then comes one that is to have a slot for good.
#[track_caller]
fn assert_keeps_its_slot(first: &mut Peer, second: &mut Peer, mut favourite: Peer) {
    favourite.message_with(id::UNCHOKE);
    for other in [first, second] {
        other.message_with(id::CHOKE);
        other.message_with(id::UNCHOKE);
    }
    // Turns have gone round: by waiting time it would have lost its own before they had theirs again.
    favourite.send(&request(0, 0, BLOCK));
    while let (found, _) = favourite.message()
        && found != id::PIECE
    {
        assert_ne!(found, id::CHOKE, "it was choked");
    }
}

#[test]
fn a_group_keeps_the_slot_that_is_reserved_for_it() {
    let seed = Seed::with(4 * MIB, |setup| {
        setup.option("--upload-slots", "2").option("--reserved-slots", "1").showing_everything().quiet()
    });
    let mut near = [1, 2].map(|host| {
        let mut peer = join(&seed, [127, 1, 1, host], None);
        peer.message_with(id::UNCHOKE);
        peer
    });
    let _waiting = join(&seed, [127, 1, 1, 3], None);
    let far = join(&seed, [127, 1, 2, 1], None);
    let [first, second] = &mut near;
    assert_keeps_its_slot(first, second, far);
}

/// By waiting time it would have its turn after all of them.
#[test]
fn the_one_host_of_a_rack_has_a_slot_before_fifty_of_another_have_had_one_each() {
    let seed = Seed::with(4 * MIB, |setup| {
        let setup = setup.option("--upload-slots", "10").option("--reserved-slots", "1");
        setup.option("--rack-prefix-v4", "24").showing_everything().quiet()
    });
    let mut near: Vec<Peer> = (1..=50).map(|host| join(&seed, [127, 1, 1, host], None)).collect();
    let interested = || count(&seed.server.get(PEERS).expect(200), "interested");
    wait_for("fifty to be in line", || (interested() == near.len()).then_some(()));
    let mut far = join(&seed, [127, 1, 2, 1], None);
    far.message_with(id::UNCHOKE);
    assert!(!near.iter_mut().all(has_had_a_turn), "all of the other rack had theirs first");
}

/// Whether it has been told so by now.
fn has_had_a_turn(peer: &mut Peer) -> bool {
    let mut said = Vec::new();
    peer.stream().set_nonblocking(true).expect("a socket takes options");
    let error = peer.stream().read_to_end(&mut said).expect_err("the seeder stays");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let unchoke = numbers(id::UNCHOKE, &[]);
    said.windows(unchoke.len()).any(|bytes| bytes == unchoke)
}

/// A seed by the newcomers' strategy whose two slots two have with half of the file, and a third of their kind that
/// waits.
fn taken_by_halves() -> (Seed, [Peer; 2], Peer) {
    let seed = Seed::with(4 * MIB, |setup| {
        setup.option("--upload-slots", "2").option("--choking", "newcomers").showing_everything().quiet()
    });
    // 32 of 64 pieces.
    let half = [[0xff; 4], [0; 4]].concat();
    let halves = [1, 2].map(|host| {
        let mut peer = join(&seed, [127, 1, 1, host], Some(&half));
        peer.message_with(id::UNCHOKE);
        peer
    });
    let waiting = join(&seed, [127, 1, 1, 3], Some(&half));
    (seed, halves, waiting)
}

#[test]
fn one_that_lacks_little_goes_before_those_who_have_half_of_the_file() {
    let (seed, mut halves, _waiting) = taken_by_halves();
    // But for the last eight of 64 pieces.
    let nearly_finished = join(&seed, [127, 1, 1, 4], Some(&[[0xff; 7].as_slice(), &[0]].concat()));
    let [first, second] = &mut halves;
    assert_keeps_its_slot(first, second, nearly_finished);
}

#[test]
fn a_newcomer_goes_before_those_who_have_half_of_the_file() {
    let (seed, mut halves, _waiting) = taken_by_halves();
    let newcomer = join(&seed, [127, 1, 1, 4], None);
    let [first, second] = &mut halves;
    assert_keeps_its_slot(first, second, newcomer);
}

#[test]
fn optimistic_slots_go_to_those_who_have_waited_however_fast_the_others_are() {
    let seed = Seed::with(4 * MIB, |setup| {
        let setup = setup.option("--upload-slots", "2").option("--choking", "fastest");
        setup.option("--optimistic-slots", "2").showing_everything().quiet()
    });
    let fast = [1, 2].map(|host| {
        let mut peer = join(&seed, [127, 1, 1, host], None);
        peer.message_with(id::UNCHOKE);
        peer
    });
    let mut slow = [3, 4].map(|host| join(&seed, [127, 1, 1, host], None));
    let served = AtomicBool::new(false);
    thread::scope(|scope| {
        for mut peer in fast {
            let served = &served;
            scope.spawn(move || {
                for n in 0.. {
                    peer.send(&request(n % 64, 0, BLOCK));
                    loop {
                        match peer.message() {
                            (id::PIECE, _) => break served.store(true, Ordering::Relaxed),
                            (id::CHOKE, _) => return,
                            _ => {}
                        }
                    }
                }
            });
        }
        // Each of the fast ones ends when it is choked.
        slow.iter_mut().for_each(|peer| drop(peer.message_with(id::UNCHOKE)));
    });
    assert!(served.into_inner(), "the fast ones were not served at all");
}
