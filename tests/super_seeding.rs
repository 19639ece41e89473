//! The origin shows its pieces one by one: on the wire, and to stock clients, which pass on what they were shown.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::support::clients::{Client, Download};
use crate::support::files::{Contents, KIB, MIB, PIECE};
use crate::support::net::{Families, Net};
use crate::support::seed::Seed;
use crate::support::swarm::Swarm;
use crate::support::wait_for;
use crate::support::wire::{FAST_AND_EXTENDED, HANDSHAKE_LEN, Peer, handshake_of, id, numbers, request};

const BLOCK: u32 = 16 * KIB as u32;
const BLOCKS: u32 = (PIECE / (16 * KIB)) as u32;

fn seed(mode: &str, len: usize) -> Seed {
    Seed::with(len, |setup| setup.option("--super-seeding", mode))
}

/// A peer on a host of its own that has shaken hands.
fn join(seed: &Seed, host: u8, reserved: [u8; 8]) -> Peer {
    let mut peer = Peer::connect_from(IpAddr::from([127, 9, 9, host]), seed.server.peers());
    peer.send(&handshake_of(reserved, seed.info_hash, b"-XX0001-abcdefghijkl"));
    peer.read(HANDSHAKE_LEN);
    peer
}

/// A newcomer that speaks BEP 6 and was told that there is nothing yet.
fn newcomer(seed: &Seed, host: u8) -> Peer {
    let mut peer = join(seed, host, FAST_AND_EXTENDED);
    assert_eq!(peer.message(), (id::HAVE_NONE, Vec::new()));
    peer.send(&[numbers(id::HAVE_NONE, &[]), numbers(id::INTERESTED, &[])].concat());
    peer
}

fn first_number(body: &[u8]) -> u32 {
    u32::from_be_bytes(body[..4].try_into().expect("four bytes"))
}

/// Takes the file as an honest client does: each piece once it is shown, until it has all.
#[track_caller]
fn download(peer: &mut Peer, seed: &Seed) {
    let mut lacking: BTreeSet<(u32, u32)> = (0..(seed.contents.len() / PIECE) as u32)
        .flat_map(|piece| (0..BLOCKS).map(move |block| (piece, block * BLOCK)))
        .collect();
    let (mut shown, mut unchoked) = (Vec::new(), false);
    while !lacking.is_empty() {
        match peer.message() {
            (id::HAVE, body) => shown.push(first_number(&body)),
            (id::UNCHOKE, _) => unchoked = true,
            (id::PIECE, body) => {
                let (piece, begin) = (first_number(&body), first_number(&body[4..]));
                assert!(lacking.remove(&(piece, begin)), "it wasn't asked for");
                let at = piece as usize * PIECE + begin as usize;
                assert!(body[8..] == seed.contents.bytes()[at..at + BLOCK as usize]);
            }
            (other, _) => assert_ne!(other, id::REJECT, "what was shown is refused"),
        }
        if unchoked {
            for piece in shown.drain(..) {
                (0..BLOCKS).for_each(|block| peer.send(&request(piece, block * BLOCK, BLOCK)));
            }
        }
    }
}

#[test]
fn a_peer_is_told_of_pieces_as_they_are_shown_and_refused_all_others() {
    let seed = seed("on", 4 * MIB);
    let mut peer = newcomer(&seed, 1);
    let (mut shown, mut unchoked) = (BTreeSet::new(), false);
    while shown.is_empty() || !unchoked {
        match peer.message() {
            (id::HAVE, body) => drop(shown.insert(first_number(&body))),
            (found, _) => unchoked |= found == id::UNCHOKE,
        }
    }
    // What it was shown meanwhile is not refused: another piece is asked for then, until the last one.
    while let Some(unshown) = (0..64).find(|piece| !shown.contains(piece)) {
        peer.send(&request(unshown, 0, BLOCK));
        let (found, _) = loop {
            match peer.message() {
                (id::HAVE, body) => drop(shown.insert(first_number(&body))),
                answer => break answer,
            }
        };
        if !shown.contains(&unshown) {
            assert_eq!(found, id::REJECT);
            let first = *shown.first().expect("some were shown");
            peer.send(&request(first, 0, BLOCK));
            assert_eq!(first_number(&peer.message_with(id::PIECE)), first);
            return;
        }
    }
    panic!("all was shown to one who took nothing");
}

#[test]
fn a_peer_that_tells_of_nothing_it_has_got_is_shown_everything_in_the_end() {
    let seed = seed("on", 8 * MIB);
    download(&mut newcomer(&seed, 1), &seed);
}

#[test]
fn a_peer_without_bep_6_is_told_nothing_of_pieces_and_then_of_one_after_another() {
    let seed = seed("on", 4 * MIB);
    let mut peer = join(&seed, 1, [0; 8]);
    peer.send(&numbers(id::INTERESTED, &[]));
    download(&mut peer, &seed);
}

#[test]
fn a_host_that_is_alone_sees_everything_and_the_next_one_nothing_at_first() {
    let seed = seed("auto", 4 * MIB);
    let mut alone = join(&seed, 1, FAST_AND_EXTENDED);
    assert_eq!(alone.message(), (id::HAVE_ALL, Vec::new()));
    let mut second = newcomer(&seed, 2);
    download(&mut second, &seed);
    assert_eq!(join(&seed, 1, FAST_AND_EXTENDED).message(), (id::HAVE_NONE, Vec::new()));
}

#[test]
fn what_is_shown_to_whom_can_be_seen() {
    let seed = seed("auto", 4 * MIB);
    let get = |target: &str| -> Value {
        serde_json::from_slice(&seed.server.get(target).expect(200).body).expect("it is JSON")
    };
    let is_showing = || get("/api/v1/torrents")["torrents"][0]["showing"].clone();
    assert_eq!(is_showing(), json!(false));
    let _alone = join(&seed, 1, FAST_AND_EXTENDED);
    assert_eq!(is_showing(), json!(false));
    let mut second = newcomer(&seed, 2);
    assert_eq!(is_showing(), json!(true));
    wait_for("the line that says so", || seed.server.has_logged("pieces are shown one by one").then_some(()));
    download(&mut second, &seed);

    let peers = get("/api/v1/peers")["peers"].clone();
    let shown = |host: u8| {
        let mut peers = peers.as_array().expect("a list").iter();
        let at = |peer: &&Value| {
            peer["address"].as_str().is_some_and(|at| at.starts_with(&format!("127.9.9.{host}:")))
        };
        peers.find(at).expect("it is connected")["shown"].clone()
    };
    assert_eq!((shown(1), shown(2)), (Value::Null, json!(64)), "the one sees everything");
    let sample = |name: &str, expected: u64| {
        wait_for(name, || (seed.server.metric(name) == expected).then_some(()));
    };
    sample("distributor_torrents_shown{manner=\"showing\"}", 1);
    sample("distributor_torrents_shown{manner=\"open\"}", 0);
    sample("distributor_pieces_shown_total", 64);
}

#[test]
fn pieces_that_come_from_others_are_counted() {
    let seed = seed("on", 4 * MIB);
    let mut peer = newcomer(&seed, 1);
    peer.message_with(id::HAVE);
    // Few of them were shown to it.
    let haves: Vec<u8> = (0..63).flat_map(|piece| numbers(id::HAVE, &[piece])).collect();
    peer.send(&haves);
    wait_for("them to be counted", || {
        (seed.server.metric("distributor_pieces_passed_on_total") > 0).then_some(())
    });
}

#[test]
fn off_is_as_it_ever_was() {
    let seed = seed("off", 4 * MIB);
    for host in [1, 2] {
        assert_eq!(join(&seed, host, FAST_AND_EXTENDED).message(), (id::HAVE_ALL, Vec::new()));
    }
}

/// What was promised to it goes to others: at once if it leaves, and after a while if it falls silent.
#[test]
fn a_peer_that_takes_nothing_of_what_it_was_shown_keeps_nothing_from_others() {
    let seed = seed("on", 4 * MIB);
    let mut silent = newcomer(&seed, 1);
    let mut leaving = newcomer(&seed, 2);
    for peer in [&mut silent, &mut leaving] {
        peer.message_with(id::HAVE);
    }
    drop(leaving);
    download(&mut newcomer(&seed, 3), &seed);
}

#[test]
fn who_was_shown_pieces_waits_for_no_slot() {
    let seed =
        Seed::with(4 * MIB, |setup| setup.option("--super-seeding", "auto").option("--upload-slots", "1"));
    let mut first = join(&seed, 1, FAST_AND_EXTENDED);
    first.send(&[numbers(id::HAVE_NONE, &[]), numbers(id::INTERESTED, &[])].concat());
    first.message_with(id::UNCHOKE);
    let mut others = [2, 3].map(|host| newcomer(&seed, host));
    others.iter_mut().for_each(|peer| drop(peer.message_with(id::UNCHOKE)));
    first.send(&request(0, 0, BLOCK));
    while let (found, _) = first.message()
        && found != id::PIECE
    {
        assert_ne!(found, id::CHOKE, "it has lost its slot to them");
    }
}

/// How much these clients download, and how many bytes a second the origin sends: one copy takes longer than aria2 and
/// Transmission do to begin with each other (see CLIENTS), and a copy for each client minutes.
const LEN: usize = 12 * MIB;
const RATE: &str = "1MiB";

/// Each on a host of its own, all in one rack by the operator's word. Gives how many copies the origin sent.
fn distribute(client: Client, hosts: u8) -> f64 {
    let net = Net::of(&vec![Families::V4; usize::from(hosts) + 1]);
    let swarm = Swarm::on_with(net, |setup| {
        let setup = setup.option("--super-seeding", "on").option("--rack-prefix-v4", "24");
        setup.option("--max-upload-rate", RATE)
    });
    let contents = Contents::new(1, LEN);
    contents.write(swarm.path("file.iso"));
    let mut downloads: Vec<Download> =
        swarm.hosts().iter().map(|host| swarm.start(client, host, "file.iso")).collect();
    for download in &mut downloads {
        contents.assert_same(download.finish(), &download.name());
    }
    swarm.copies()
}

/// A module for each client, a test for each number of hosts.
macro_rules! matrix {
    ($($name:ident = $client:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn downloads_alone_what_it_is_shown() {
                let copies = distribute($client, 1);
                assert!(copies < 1.5, "{copies} copies");
            }

            #[test]
            fn two_hosts_finish() {
                let copies = distribute($client, 2);
                assert!(copies < 2.0, "{copies} copies");
            }

            #[test]
            fn six_hosts_pass_on_what_they_were_shown() {
                let copies = distribute($client, 6);
                assert!(copies < 3.0, "{copies} copies");
            }
        }
    )*};
}

matrix! {
    aria2 = Client::Aria2;
    libtorrent = Client::Libtorrent;
    transmission = Client::Transmission;
}

#[test]
fn ctorrent_and_rtorrent_finish_without_bep_6() {
    for client in [Client::Ctorrent, Client::Rtorrent] {
        let copies = distribute(client, 2);
        assert!(copies < 2.5, "{copies} copies for {client:?}");
    }
}
