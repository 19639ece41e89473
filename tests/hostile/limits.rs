//! Many connections: each limit holds, and an honest peer gets through.

use std::net::IpAddr;

use super::{assert_unharmed, host};
use crate::support::files::{Contents, PIECE};
use crate::support::seed::Seed;
use crate::support::wait_for;
use crate::support::wire::{PEER_ID, Peer, handshake, handshake_of, id, numbers};

fn join_from(seed: &Seed, from: IpAddr, peer_id: &[u8; 20]) -> Peer {
    let mut peer = Peer::connect_from(from, seed.server.peers());
    peer.send(&handshake_of([0; 8], seed.info_hash, peer_id));
    peer.read(68);
    peer.message_with(id::BITFIELD);
    peer
}

fn fetch(peer: &mut Peer, contents: &Contents) {
    peer.send(&[0, 0, 0, 1, id::INTERESTED]);
    peer.message_with(id::UNCHOKE);
    assert!(peer.fetch(0, 0, 16384) == contents.bytes()[..16384]);
}

#[test]
fn one_address_has_its_share_of_connections_and_no_more() {
    let seed = Seed::with(PIECE, |setup| setup.option("--max-peers-per-address", "5"));
    let held: Vec<Peer> = (0..5).map(|_| Peer::connect_from(host(1), seed.server.peers())).collect();
    for _ in 0..100 {
        Peer::connect_from(host(1), seed.server.peers()).drain_until_close();
    }
    fetch(&mut join_from(&seed, host(2), PEER_ID), &seed.contents);
    drop(held);
    // Its connections are given back to it.
    wait_for("the address to be let in again", || {
        let mut peer = Peer::connect_from(host(1), seed.server.peers());
        let greeted = std::io::Write::write_all(peer.stream(), &handshake(seed.info_hash));
        let mut answer = [0; 68];
        greeted.and_then(|()| std::io::Read::read_exact(peer.stream(), &mut answer)).ok()
    });
    assert_unharmed(&seed);
}

#[test]
fn silent_connections_give_way_to_an_honest_peer() {
    let seed =
        Seed::with(PIECE, |setup| setup.option("--max-handshakes", "8").option("--handshake-timeout", "600"));
    let mut silent: Vec<Peer> = Vec::new();
    for number in 1..=100 {
        let mut peer = Peer::connect_from(host(number), seed.server.peers());
        peer.send(&handshake(seed.info_hash)[..usize::from(number % 68)]);
        silent.push(peer);
        if number % 5 == 0 {
            fetch(&mut join_from(&seed, host(200), PEER_ID), &seed.contents);
        }
    }
    // The oldest were closed long before their time; as many as may be are waited for still.
    for peer in &mut silent[..90] {
        peer.drain_until_close();
    }
    assert!(!seed.server.log_lines("others came while its handshake took its time").is_empty());
    wait_for("no more half-open connections than may be", || {
        (seed.server.metric("distributor_peers") <= 8).then_some(())
    });
    assert_unharmed(&seed);
}

/// There were descriptors for fewer connections than might be half-open: silent ones took them all, none had to give
/// way, and nobody else was accepted.
#[test]
fn silent_connections_give_way_where_descriptors_are_few() {
    let seed = Seed::with(PIECE, |setup| setup.descriptors(300).option("--handshake-timeout", "600"));
    let _silent: Vec<Peer> = (0..60).map(|_| Peer::connect_from(host(1), seed.server.peers())).collect();
    fetch(&mut join_from(&seed, host(2), PEER_ID), &seed.contents);
    assert_unharmed(&seed);
}

#[test]
fn peers_of_one_torrent_leave_room_for_another() {
    let seed = Seed::with(PIECE, |setup| setup.option("--max-peers-per-torrent", "3"));
    let other = Contents::new(9, PIECE);
    other.write(seed.directory().join("other"));
    let _held: Vec<Peer> = (1..=3).map(|number| join_from(&seed, host(number), PEER_ID)).collect();
    let mut fourth = Peer::connect_from(host(4), seed.server.peers());
    fourth.send(&handshake(seed.info_hash));
    fourth.expect_close();
    wait_for("a line about it", || {
        seed.server.has_logged("as many peers as may be are connected").then_some(())
    });
    let info_hash = seed.server.torrent("other").info_hash;
    let block = Peer::join_unchoked(seed.server.peers(), info_hash).fetch(0, 0, 16384);
    assert!(block == other.bytes()[..16384]);
}

/// They wait in the listener's backlog; those that are served are served on.
#[test]
fn connections_beyond_the_limit_harm_none_within_it() {
    let seed =
        Seed::with(PIECE, |setup| setup.option("--max-peers", "10").option("--handshake-timeout", "1"));
    let mut honest = join_from(&seed, host(200), PEER_ID);
    let flood: Vec<Peer> =
        (1..=100).map(|number| Peer::connect_from(host(number), seed.server.peers())).collect();
    fetch(&mut honest, &seed.contents);
    // The flood's handshakes are over in ten lots of nine.
    fetch(&mut join_from(&seed, host(201), PEER_ID), &seed.contents);
    drop(flood);
    assert_unharmed(&seed);
}

#[test]
fn a_peer_id_taken_from_another_address_harms_nobody() {
    let seed = Seed::of(PIECE);
    let mut honest = join_from(&seed, host(1), b"-XX0001-its own name");
    let mut thief = join_from(&seed, host(2), b"-XX0001-its own name");
    fetch(&mut thief, &seed.contents);
    fetch(&mut honest, &seed.contents);
    assert_unharmed(&seed);
}

#[test]
fn of_two_connections_that_one_peer_began_both_are_served() {
    let seed = Seed::of(PIECE);
    let mut older = join_from(&seed, host(1), b"-XX0001-its own name");
    let mut newer = join_from(&seed, host(1), b"-XX0001-its own name");
    fetch(&mut newer, &seed.contents);
    fetch(&mut older, &seed.contents);
    assert_unharmed(&seed);
}

/// A host made many connections, was interested in all of them and asked for nothing. It had all slots, and who came
/// after it waited for a turn of each: here, for four minutes.
#[test]
fn one_host_with_many_connections_has_not_all_upload_slots() {
    const SLOTS: u8 = 2;
    let seed = Seed::with(PIECE, |setup| setup.option("--upload-slots", &SLOTS.to_string()));
    let interested = [handshake(seed.info_hash), numbers(id::INTERESTED, &[])].concat();
    let many: Vec<Peer> = (0..50)
        .map(|number| {
            let mut peer = Peer::connect_from(host(1), seed.server.peers());
            let peer_id: [u8; 20] = std::array::from_fn(|_| b'0' + number);
            let hello = handshake_of([0; 8], seed.info_hash, &peer_id);
            peer.send(&[hello, numbers(id::INTERESTED, &[])].concat());
            peer.read(68);
            if number < SLOTS {
                peer.message_with(id::UNCHOKE);
            }
            peer
        })
        .collect();
    let mut honest = Peer::connect_from(host(2), seed.server.peers());
    honest.send(&interested);
    honest.read(68);
    honest.message_with(id::UNCHOKE);
    assert!(honest.fetch(0, 0, 16384) == seed.contents.bytes()[..16384]);
    drop(many);
    assert_unharmed(&seed);
}

/// A peer that is displaced by its own doubles, again and again.
#[test]
fn a_thousand_connections_in_a_row_leave_nothing_behind() {
    let seed = Seed::of(PIECE);
    for _ in 0..1000 {
        drop(join_from(&seed, host(1), PEER_ID));
    }
    wait_for("all to be gone", || (seed.server.metric("distributor_peers") == 0).then_some(()));
    assert_unharmed(&seed);
}
