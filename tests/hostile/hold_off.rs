//! An address that breaks the protocol again and again is not heard any more, and nobody else suffers for it.

use super::{assert_unharmed, host};
use crate::support::files::PIECE;
use crate::support::seed::Seed;
use crate::support::wait_for;
use crate::support::wire::{Peer, handshake, id, numbers};

/// Connects, and sends a message that no seed can make sense of.
fn violate(seed: &Seed, number: u8) {
    let mut peer = Peer::connect_from(host(number), seed.server.peers());
    peer.send(&[handshake(seed.info_hash), numbers(id::HAVE, &[u32::MAX])].concat());
    peer.drain_until_close();
}

fn violations(seed: &Seed) -> u64 {
    seed.server.metric("distributor_peers_closed_total{reason=\"violation\"}")
}

/// Whether an honest handshake from there is answered.
fn is_heard(seed: &Seed, number: u8) -> bool {
    let mut answer = [0; 68];
    Peer::try_connect_from(host(number), seed.server.peers())
        .and_then(|mut peer| {
            std::io::Write::write_all(peer.stream(), &handshake(seed.info_hash))?;
            std::io::Read::read_exact(peer.stream(), &mut answer)
        })
        .is_ok()
}

#[test]
fn an_address_is_held_off_after_so_many_violations_and_no_other_is() {
    const BORNE: u64 = 4;
    let seed = Seed::with(PIECE, |setup| setup.option("--max-violations", "4").quiet());
    for count in 1..=BORNE {
        violate(&seed, 1);
        wait_for("the violation to be counted", || (violations(&seed) == count).then_some(()));
        assert!(is_heard(&seed, 1), "after {count} violations");
    }
    violate(&seed, 1);
    wait_for("the address to be held off", || {
        seed.server.has_logged("nothing is accepted from it").then_some(())
    });
    for _ in 0..20 {
        assert!(!is_heard(&seed, 1));
    }
    assert!(is_heard(&seed, 2));
    assert_eq!(seed.server.metric("distributor_peers_held_off_total"), 20);
    assert_eq!(violations(&seed), BORNE + 1, "who isn't heard breaks nothing");
    // One line for the first, one for the last, and none for those between and after.
    let lines = seed.server.log_lines("peer=127.0.77.1:");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("broke the protocol") && lines[0].contains("there is no piece 4294967295"));
    assert!(lines[1].contains("violations=5"), "{}", lines[1]);
    assert_unharmed(&seed);
}

/// What is nobody's fault, or only misfortune, must not be held against an address.
#[test]
fn who_breaks_nothing_is_never_held_off() {
    let seed =
        Seed::with(PIECE, |setup| setup.option("--max-violations", "0").option("--handshake-timeout", "1"));
    for _ in 0..3 {
        let unknown = handshake([7; 20]);
        let whole = handshake(seed.info_hash);
        for hello in [&[][..], &unknown, &whole[..30], &whole[..50]] {
            let mut peer = Peer::connect_from(host(1), seed.server.peers());
            peer.send(hello);
            peer.drain_until_close();
            Peer::connect_from(host(1), seed.server.peers()).send(hello);
            let mut peer = Peer::connect_from(host(1), seed.server.peers());
            peer.send(hello);
            peer.reset();
        }
        let mut seed_of_its_own = Peer::connect_from(host(1), seed.server.peers());
        let full = [handshake(seed.info_hash), vec![0, 0, 0, 2, id::BITFIELD, 0x80]].concat();
        seed_of_its_own.send(&full);
        seed_of_its_own.drain_until_close();
    }
    assert!(is_heard(&seed, 1));
    assert_eq!(violations(&seed), 0);
    // And one is too much here.
    violate(&seed, 1);
    wait_for("the address to be held off", || (!is_heard(&seed, 1)).then_some(()));
    assert_unharmed(&seed);
}
