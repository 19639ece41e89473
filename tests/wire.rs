//! The peer wire as BEP 3 has it, byte by byte: what the seeder answers, what it ignores, and what it hangs up on.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::support::files::{KIB, MIB, PIECE};
use crate::support::seed::Seed;
use crate::support::wire::{Peer, cancel, handshake, id, numbers, request};

#[test]
fn answers_a_handshake_that_comes_in_pieces_as_soon_as_the_info_hash_is_there() {
    let seed = Seed::of(PIECE + 1);
    let mut peer = Peer::connect(seed.server.peers());
    let hello = handshake(seed.info_hash);
    for byte in &hello[..48] {
        peer.send(&[*byte]);
    }
    // BEP 3: the recipient should respond as soon as it sees the info hash.
    let answer = peer.read(68);
    assert_eq!(answer[..20], *b"\x13BitTorrent protocol");
    assert_eq!(answer[20..28], [0, 0, 0, 0, 0, 0x10, 0, 0x04], "BEP 6 and BEP 10 are offered and no more");
    assert_eq!(answer[28..48], seed.info_hash);
    assert_ne!(answer[48..], hello[48..], "its peer id is its own");
    assert_eq!(peer.read(6), [0, 0, 0, 2, id::BITFIELD, 0b1100_0000]);
    for byte in &hello[48..] {
        peer.send(&[*byte]);
    }
    peer.send(&[0, 0, 0, 1, id::INTERESTED]);
    assert_eq!(peer.read(5), [0, 0, 0, 1, id::UNCHOKE]);
    let block = peer.fetch(1, 0, 1);
    assert_eq!(block, seed.contents.bytes()[PIECE..]);
}

#[test]
fn its_bitfield_is_exact() {
    for (pieces, bitfield) in
        [(1, &[0x80][..]), (7, &[0xfe]), (8, &[0xff]), (9, &[0xff, 0x80]), (17, &[0xff, 0xff, 0x80])]
    {
        let seed = Seed::of(pieces * PIECE);
        assert_eq!(Peer::join(seed.server.peers(), seed.info_hash).1, bitfield, "{pieces} pieces");
    }
}

#[test]
fn hangs_up_on_an_unknown_info_hash_and_on_what_is_no_handshake() {
    let seed = Seed::of(1);
    let peers = seed.server.peers();
    Peer::connect(peers).send_and_expect_close(&handshake([7; 20]));
    Peer::connect(peers).send_and_expect_close(b"GET / HTTP/1.1\r\nHost: origin\r\n\r\n");
    Peer::connect(peers).send_and_expect_close(b"\x13BitTorrent protocoX");
    Peer::connect(peers).send_and_expect_close(&[0]);
    seed.assert_serves();
}

#[test]
fn refuses_request_while_choked() {
    let seed = Seed::of(PIECE);
    let mut peer = seed.join();
    // Never interested, hence never unchoked: the request must not be answered, nor be kept for later.
    peer.send(&request(0, 0, 100));
    peer.send(&[0, 0, 0, 1, id::INTERESTED]);
    assert_eq!(peer.message(), (id::UNCHOKE, Vec::new()));
    let block = peer.fetch(0, 500, 50);
    assert_eq!(block, seed.contents.bytes()[500..550]);
}

#[test]
fn answers_requests_in_any_order_and_of_any_length_up_to_128_kib() {
    let seed = Seed::of(400 * MIB / 2 + 12345);
    let mut peer = seed.join_unchoked();
    let piece = 128 * KIB;
    for (index, begin, length) in [
        (0, 0, 16 * KIB),
        (0, 0, 128 * KIB),
        (3, 1, 128 * KIB - 1),
        (1000, 77, 3),
        (1600, 12344, 1),
        (1600, 0, 12345),
        (5, 64 * KIB, 64 * KIB),
        (0, 128 * KIB - 1, 1),
    ] {
        let [i, b, l] = [index, begin, length].map(|n| u32::try_from(n).expect("it fits"));
        let start = index * piece + begin;
        assert!(
            peer.fetch(i, b, l) == seed.contents.bytes()[start..start + length],
            "{index} {begin} {length}"
        );
    }
}

#[test]
fn answers_many_requests_sent_at_once_each_once() {
    let seed = Seed::of(4 * PIECE);
    let mut peer = seed.join_unchoked();
    let blocks: Vec<u32> = (0..16).collect();
    let asked: Vec<u8> =
        blocks.iter().flat_map(|block| request(block / 4, block % 4 * 16384, 16384)).collect();
    peer.send(&asked);
    for (block, expected) in blocks.iter().zip(seed.contents.bytes().chunks(16 * KIB)) {
        let (id, body) = peer.message();
        assert_eq!(id, id::PIECE);
        assert_eq!(body[..8], [(block / 4).to_be_bytes(), (block % 4 * 16384).to_be_bytes()].concat());
        assert!(body[8..] == *expected);
    }
    assert_eq!(peer.fetch(0, 0, 1), seed.contents.bytes()[..1], "and nothing came twice");
}

#[test]
fn hangs_up_on_requests_for_what_cannot_be() {
    let seed = Seed::of(PIECE + 1);
    let piece = 64 * 1024;
    for (index, begin, length) in [
        (2, 0, 1),
        (u32::MAX, 0, 1),
        (0, piece, 1),
        (0, piece - 1, 2),
        (1, 1, 1),
        (1, 0, 2),
        (0, 0, 0),
        (0, 0, 128 * 1024 + 1),
        (0, u32::MAX, 2),
        (0, 0, u32::MAX),
    ] {
        seed.join_unchoked().send_and_expect_close(&request(index, begin, length));
    }
    seed.assert_serves();
}

#[test]
fn hangs_up_on_messages_that_break_the_protocol() {
    let seed = Seed::of(PIECE + 1);
    let broken: Vec<Vec<u8>> = vec![
        // BEP 6, which nobody negotiated.
        vec![0, 0, 0, 5, 13, 0, 0, 0, 0],
        vec![0, 0, 0, 1, 14],
        vec![0, 0, 0, 1, 15],
        numbers(16, &[0, 0, 1]),
        numbers(17, &[0]),
        // Lengths that nothing has.
        vec![0xff, 0xff, 0xff, 0xff],
        vec![0xff, 0xff, 0xff, 0xff, id::REQUEST, 0, 0, 0],
        vec![0, 2, 0, 0, id::BITFIELD],
        vec![0, 0, 0, 2, id::INTERESTED, 0],
        vec![0, 0, 0, 1, id::HAVE],
        vec![0, 0, 0, 12, id::REQUEST, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // Bitfields too short, too long, and with spare bits set; pieces that there are not.
        vec![0, 0, 0, 1, id::BITFIELD],
        vec![0, 0, 0, 3, id::BITFIELD, 0, 0],
        vec![0, 0, 0, 2, id::BITFIELD, 0b0010_0000],
        numbers(id::HAVE, &[2]),
        // A block for which a seeder never asked.
        vec![0, 0, 0, 10, id::PIECE, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    ];
    for message in broken {
        seed.join().send_and_expect_close(&message);
    }
    seed.assert_serves();
}

#[test]
fn takes_no_offence_at_what_clients_are_known_to_send() {
    let seed = Seed::of(3 * PIECE);
    let mut peer = seed.join();
    for harmless in [
        &[0, 0, 0, 0][..],
        &[0, 0, 0, 2, id::BITFIELD, 0],
        &[0, 0, 0, 3, 9, 0x1a, 0xe1],
        &[0, 0, 0, 1, id::NOT_INTERESTED],
        &[0, 0, 0, 1, id::CHOKE],
        &[0, 0, 0, 1, id::UNCHOKE],
        &numbers(id::HAVE, &[0]),
        &numbers(id::HAVE, &[0]),
        // aria2 sends a bitfield in mid-stream in place of many haves.
        &[0, 0, 0, 2, id::BITFIELD, 0b1100_0000],
        &cancel(0, 0, 16384),
        &[0, 0, 0, 3, 99, 1, 2],
        &[0, 0, 0, 1, id::INTERESTED],
    ] {
        peer.send(harmless);
    }
    assert_eq!(peer.message(), (id::UNCHOKE, Vec::new()));
    let start = 2 * PIECE + 9;
    assert_eq!(peer.fetch(2, 9, 10), seed.contents.bytes()[start..start + 10]);
}

#[test]
fn a_seed_is_sent_away() {
    let seed = Seed::of(3 * PIECE);
    seed.join().send_and_expect_close(&[0, 0, 0, 2, id::BITFIELD, 0b1110_0000]);
    let mut peer = seed.join();
    peer.send(&[0, 0, 0, 2, id::BITFIELD, 0b1100_0000]);
    peer.send_and_expect_close(&numbers(id::HAVE, &[2]));
    seed.assert_serves();
}

#[test]
fn hangs_up_on_a_peer_that_never_says_who_it_is() {
    let seed = Seed::of(1);
    let started = Instant::now();
    let silent = Peer::connect(seed.server.peers());
    let mut halfway = Peer::connect(seed.server.peers());
    halfway.send(&handshake(seed.info_hash)[..40]);
    silent.expect_close();
    halfway.expect_close();
    assert!(started.elapsed() > Duration::from_secs(3), "slow peers were given no time");
    seed.assert_serves();
}

#[test]
fn a_peer_that_asks_and_never_reads_holds_up_nobody() {
    let seed = Seed::of(8 * MIB);
    let piece = u32::try_from(PIECE).expect("it fits");
    let count = u32::try_from(8 * MIB / PIECE).expect("it fits");
    let greedy: Vec<Peer> = (0..4)
        .map(|_| {
            let mut peer = seed.join_unchoked();
            // More than any socket's buffers hold; it may stop reading requests at any point.
            peer.stream().set_nonblocking(true).expect("a socket takes options");
            for index in (0..count).cycle().take(20_000) {
                if peer.stream().write(&request(index, 0, piece)).is_err() {
                    break;
                }
            }
            peer
        })
        .collect();
    let mut peer = seed.join_unchoked();
    for index in 0..count {
        let start = PIECE * usize::try_from(index).expect("it fits");
        assert!(peer.fetch(index, 0, piece) == seed.contents.bytes()[start..start + PIECE]);
    }
    drop(greedy);
}

#[test]
fn sends_what_it_owes_to_a_peer_that_half_closed() {
    // More than the sockets' buffers hold.
    let seed = Seed::of(256 * PIECE);
    let mut peer = seed.join_unchoked();
    let asked: Vec<u8> = (0..256).flat_map(|index| request(index, 0, 65536)).collect();
    peer.send(&asked);
    peer.stream().shutdown(Shutdown::Write).expect("a socket can be half-closed");
    for expected in seed.contents.bytes().chunks(PIECE) {
        assert!(peer.message().1[8..] == *expected);
    }
    peer.expect_close();
}

#[test]
fn six_hundred_peers_are_served_at_once() {
    let seed = Seed::with(40 * PIECE, |setup| setup.option("--upload-slots", "unlimited"));
    let mut peers: Vec<Peer> = (0..600).map(|_| seed.join()).collect();
    for peer in &mut peers {
        peer.send(&[0, 0, 0, 1, id::INTERESTED]);
    }
    for peer in &mut peers {
        assert_eq!(peer.message(), (id::UNCHOKE, Vec::new()));
        peer.send(&request(39, 0, 16384));
    }
    let start = 39 * PIECE;
    for peer in &mut peers {
        assert!(peer.message().1[8..] == seed.contents.bytes()[start..start + 16 * KIB]);
    }
}

#[test]
fn everyone_gets_a_turn_though_there_is_but_one_upload_slot() {
    let seed = Seed::with(PIECE, |setup| setup.option("--upload-slots", "1"));
    let mut first = seed.join_unchoked();
    first.fetch(0, 0, 100);
    // It keeps its interest, and its slot until its turn is over.
    let mut second = seed.join_unchoked();
    assert!(second.fetch(0, 100, 100) == seed.contents.bytes()[100..200]);
    assert_eq!(first.message(), (id::CHOKE, Vec::new()));
    // A slot is free as soon as its peer has lost its interest, or left.
    second.send(&[0, 0, 0, 1, id::NOT_INTERESTED]);
    assert_eq!(first.message(), (id::UNCHOKE, Vec::new()));
    first.fetch(0, 0, 100);
    drop(first);
    seed.assert_serves();
}

/// Keep-alives, and the looks at the file that each second brings, must not count as progress.
#[test]
fn closes_a_peer_that_asks_and_never_reads() {
    let seed = Seed::of(40 * MIB);
    let mut peer = seed.join_unchoked();
    for index in 0..400 {
        peer.send(&request(index, 0, 65_536));
    }
    let stream = peer.stream();
    let closed = (0..180).any(|_| {
        std::thread::sleep(Duration::from_secs(1));
        stream.write_all(&[0; 4]).is_err()
    });
    assert!(closed, "it is still open after three minutes");
    seed.assert_serves();
}
