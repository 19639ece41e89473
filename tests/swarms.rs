//! Who is in which swarm, and for how long: across restarts, and when peers vanish without a word.

use std::net::{SocketAddr, TcpListener};

use tempfile::TempDir;

use crate::support::files::{Contents, KIB};
use crate::support::http;
use crate::support::seed::Seed;
use crate::support::server::Server;
use crate::support::tracker::{
    Answer, DOWNLOADER, LOCALHOST, SEEDER, Tracker, announce_target, encode_all, v4, v6,
};
use crate::support::wait_for;
use crate::support::wire::{PEER_ID, Peer};

/// A served directory, and the home of the one who serves it, both of which outlive the process.
struct Origin {
    directory: TempDir,
    home: TempDir,
    info_hash: String,
}

impl Origin {
    fn new() -> Self {
        let [directory, home] = [(); 2].map(|()| TempDir::new().expect("a temporary directory can be made"));
        Contents::new(1, KIB).write_aged(directory.path().join("file"), 1000);
        Self { directory, home, info_hash: String::new() }
    }

    /// Starts it, and waits until the file is served.
    fn start(&mut self, options: &[&str]) -> Server {
        let setup = Server::serving(self.directory.path()).home(self.home.path()).flag("--no-dial");
        let server = options.iter().fold(setup, |setup, option| setup.flag(option)).start();
        self.info_hash = encode_all(&server.torrent("file").info_hash);
        server
    }

    fn announce(&self, server: &Server, from: SocketAddr, rest: &str) -> Answer {
        let to = SocketAddr::new(from.ip(), server.http().port());
        let target = announce_target(&self.info_hash, from.port(), rest);
        Answer::read(http::get(to, target).expect(200).body)
    }

    /// Peers of both families, one that has completed, and one that has left.
    fn crowd(&self, server: &Server) {
        for from in [v4(1001), v4(1002), v6(1003), v4(1004)] {
            self.announce(server, from, DOWNLOADER);
        }
        self.announce(server, v4(1002), "downloaded=1024&left=0&event=completed&compact=1");
        self.announce(server, v4(1004), "left=1024&event=stopped&compact=1");
    }

    /// Panics unless the crowd is there, as the first who asks sees it.
    #[track_caller]
    fn assert_crowded(&self, server: &Server) {
        let mut peers = self.announce(server, v4(1009), DOWNLOADER).peers();
        peers.retain(|peer| peer.port() != server.peers().port());
        peers.sort();
        assert_eq!(peers, [v4(1001), v4(1002), v6(1003)]);
        let scrape = server.get(format!("/scrape?info_hash={}", self.info_hash)).expect(200).text();
        // The origin, the one that completed; two of the crowd and the one that asked just now.
        assert!(scrape.contains("8:completei2e10:downloadedi1e10:incompletei3e"), "{scrape:?}");
    }
}

#[test]
fn a_restart_keeps_swarms_and_their_counters() {
    let mut origin = Origin::new();
    let server = origin.start(&[]);
    origin.crowd(&server);
    server.stop();
    for _ in 0..2 {
        let server = origin.start(&[]);
        origin.assert_crowded(&server);
        origin.announce(&server, v4(1009), "left=1024&event=stopped&compact=1");
        server.stop();
    }
}

#[test]
fn a_process_that_is_killed_leaves_what_it_last_wrote_of_swarms() {
    let mut origin = Origin::new();
    let server = origin.start(&[]);
    origin.crowd(&server);
    wait_for("swarms to be written down", || server.has_logged("swarms are remembered").then_some(()));
    server.kill();
    let server = origin.start(&[]);
    origin.assert_crowded(&server);
}

#[test]
fn without_a_state_a_restart_begins_anew() {
    let mut origin = Origin::new();
    let server = origin.start(&["--no-state"]);
    origin.crowd(&server);
    server.stop();
    let server = origin.start(&["--no-state"]);
    assert_eq!(origin.announce(&server, v4(1009), "numwant=9").peers().len(), 1, "the origin alone");
}

/// Who is told of peers by a seed that dials them.
fn told(seed: &Seed) -> Vec<SocketAddr> {
    let target = announce_target(&encode_all(&seed.info_hash), 1009, SEEDER);
    Answer::read(seed.server.get(target).expect(200).body).peers()
}

#[test]
fn a_peer_that_refuses_to_be_dialled_is_told_to_nobody_until_it_announces_again() {
    let seed = Seed::of(KIB);
    let listener = TcpListener::bind((LOCALHOST, 0)).expect("a port is free");
    let listening = listener.local_addr().expect("a listener has an address");
    let announce = |port| {
        let target = announce_target(&encode_all(&seed.info_hash), port, DOWNLOADER);
        Answer::read(seed.server.get(target).expect(200).body).peers()
    };
    // Nobody listens at the first of those.
    announce(1);
    announce(listening.port());
    assert!(told(&seed).contains(&v4(1)));
    wait_for("the refusal to be heard of", || (!told(&seed).contains(&v4(1))).then_some(()));
    assert!(told(&seed).contains(&listening), "one that answers is told of, also while it says nothing");
    announce(1);
    assert!(told(&seed).contains(&v4(1)));
}

/// A peer that has connected, announced where it listens, and reset its connection.
fn reset_itself(seed: &Seed, listening: SocketAddr) {
    let (peer, _) = Peer::join(seed.server.peers(), seed.info_hash);
    let id = String::from_utf8_lossy(PEER_ID).into_owned();
    let (hash, port) = (encode_all(&seed.info_hash), listening.port());
    // After it has connected, or it would be dialled for that.
    seed.server.get(format!("/announce?info_hash={hash}&peer_id={id}&port={port}&left=1024")).expect(200);
    peer.reset();
}

#[test]
fn a_peer_that_resets_its_connection_and_refuses_to_be_dialled_then_is_told_to_nobody() {
    let seed = Seed::of(KIB);
    // Nobody listens there; of a port that was free a moment ago another test might make its own.
    let listening = v4(1);
    reset_itself(&seed, listening);
    wait_for("the refusal to be heard of", || (!told(&seed).contains(&listening)).then_some(()));
}

#[test]
fn a_peer_that_resets_its_connection_and_answers_then_is_told_of() {
    let seed = Seed::of(KIB);
    let listener = TcpListener::bind((LOCALHOST, 0)).expect("a port is free");
    let listening = listener.local_addr().expect("a listener has an address");
    listener.set_nonblocking(true).expect("a socket takes options");
    reset_itself(&seed, listening);
    wait_for("it to be dialled", || listener.accept().ok());
    assert!(told(&seed).contains(&listening));
}

#[test]
fn an_address_has_so_many_places_in_a_swarm_and_no_more() {
    let tracker = Tracker::new();
    for port in 2000..2300 {
        tracker.announce(v4(port), DOWNLOADER);
    }
    let [_, incomplete, _] = tracker.scrape();
    assert_eq!(incomplete, 256);
    // Its own oldest have made room.
    let peers = tracker.announce(v4(2299), "numwant=200").peers();
    assert!(peers.iter().all(|peer| peer.port() >= 2044 || *peer == tracker.origin(LOCALHOST)), "{peers:?}");
}

#[test]
fn all_together_are_asked_for_no_more_announces_than_may_be() {
    let tracker = Tracker::with(|setup| setup.option("--max-announce-rate", "1"));
    let intervals = || {
        let value = tracker.announce(v4(1001), DOWNLOADER).value;
        ["interval", "min interval"].map(|key| value.get(key).integer())
    };
    assert!(intervals()[1] <= 15, "{:?}", intervals());
    for port in 2000..2100 {
        tracker.announce(v4(port), DOWNLOADER);
    }
    assert!(intervals().iter().all(|seconds| *seconds >= 101), "{:?}", intervals());
}
