//! The tables of attacks, row by row: what comes of each, on the wire and in the log.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::thread;

use super::attacks::{After, Attack, End, LEN, Victim};
use super::{assert_unharmed, host};
use crate::support::seed::Seed;
use crate::support::wire::{Peer, id, request};
use crate::support::{DEADLINE, wait_for};

/// The block by which it is seen whether a connection goes on: no attack asks for it.
const PROBE: (u32, u32, u32) = (1, 12_345, 777);

fn victim(seed: &Seed) -> Victim {
    Victim { peers: seed.server.peers(), info_hash: seed.info_hash }
}

#[test]
fn each_attack_ends_as_it_must() {
    let seed = Seed::of(LEN);
    let victim = victim(&seed);
    // Each from a host of its own: none is held off, and an address in the log is one attack's.
    for (number, attack) in (1..).zip(victim.immediate()) {
        try_out(&seed, victim, host(number), &attack);
    }
    assert_unharmed(&seed);
}

/// All at the same time, for each takes as long as a handshake or a silence may.
#[test]
fn each_attack_that_waits_is_ended_by_a_timeout() {
    let seed =
        Seed::with(LEN, |setup| setup.option("--handshake-timeout", "2").option("--idle-timeout", "2"));
    let victim = victim(&seed);
    thread::scope(|scope| {
        for (number, attack) in (1..).zip(victim.slow()) {
            let seed = &seed;
            scope.spawn(move || try_out(seed, victim, host(number), &attack));
        }
    });
    assert_unharmed(&seed);
}

#[test]
fn there_are_more_than_a_hundred_and_no_two_have_one_name() {
    let victim = Victim { peers: ([127, 0, 0, 1], 0).into(), info_hash: [7; 20] };
    let names: Vec<&str> = victim.attacks().iter().map(|attack| attack.name).collect();
    let different: HashSet<&str> = names.iter().copied().collect();
    assert_eq!(different.len(), names.len());
    assert!(names.len() > 100, "{} attacks", names.len());
}

fn try_out(seed: &Seed, victim: Victim, from: IpAddr, attack: &Attack) {
    let name = attack.name;
    let mut approached = victim
        .approach(attack.after, from, DEADLINE)
        .unwrap_or_else(|error| panic!("{name}: the seeder doesn't get as far as that: {error}"));
    let address = approached.peer.address();
    let sent = approached.send(&attack.sends);
    let peer = &mut approached.peer;
    match attack.end {
        End::Violation(words) | End::Closed(words) => {
            peer.drain_until_close();
            let line = wait_for(&format!("{name}: a line about its end"), || {
                seed.server.log_lines("closed").into_iter().find(|line| is_about(line, address))
            });
            let violation = line.contains("broke the protocol");
            assert!(line.contains(words), "{name}: {line}");
            assert_eq!(violation, matches!(attack.end, End::Violation(_)), "{name}: {line}");
        }
        End::GoesOn { blocks, rejects } => {
            sent.unwrap_or_else(|error| panic!("{name}: the seeder doesn't take it: {error}"));
            assert_eq!(count_answers(peer, attack.after), (blocks, rejects), "{name}: blocks and rejects");
        }
        End::Says(words) => {
            sent.unwrap_or_else(|error| panic!("{name}: the seeder doesn't take it: {error}"));
            assert_eq!(peer.message_with(id::EXTENDED), words, "{name}");
            assert_eq!(count_answers(peer, attack.after), (0, 0), "{name}: blocks and rejects");
        }
    }
}

fn is_about(line: &str, address: SocketAddr) -> bool {
    line.split_whitespace().any(|word| word == format!("peer={address}"))
}

/// Asks for a block as any peer does; how many other blocks and how many rejects come before it.
fn count_answers(peer: &mut Peer, after: After) -> (usize, usize) {
    let (index, begin, length) = PROBE;
    let (mut blocks, mut rejects) = (0, 0);
    peer.send(&[0, 0, 0, 1, id::INTERESTED]);
    if matches!(after, After::Unchoke | After::FastUnchoke) {
        peer.send(&request(index, begin, length));
    }
    loop {
        let (id, body) = peer.message();
        let is_probe = body.starts_with(&[index.to_be_bytes(), begin.to_be_bytes()].concat());
        match id {
            // Whatever was asked for before is forgotten where it was taken back in the meantime.
            id::UNCHOKE => peer.send(&request(index, begin, length)),
            id::PIECE if is_probe => return (blocks, rejects),
            id::PIECE => blocks += 1,
            id::REJECT if !is_probe => rejects += 1,
            _ => {}
        }
    }
}
