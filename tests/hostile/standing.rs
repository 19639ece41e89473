//! Peers that harm by how and when they say it: slowly, by halves, without ever reading, or under a false name.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::attacks::opening::client_hello;
use super::{assert_unharmed, host};
use crate::support::files::{Contents, MIB, PIECE};
use crate::support::seed::Seed;
use crate::support::wait_for;
use crate::support::wire::{
    FAST_AND_EXTENDED, PEER_ID, Peer, handshake, handshake_of, id, message, numbers, request,
};

/// Each byte is a sign of life, and none of them buys time.
#[test]
fn a_handshake_byte_by_byte_is_ended_when_its_time_is_over() {
    let seed = Seed::with(PIECE, |setup| setup.option("--handshake-timeout", "1"));
    for encrypted in [false, true] {
        let mut peer = Peer::connect(seed.server.peers());
        let hello = if encrypted { vec![0xa5; 600] } else { handshake(seed.info_hash) };
        peer.stream().set_nonblocking(true).expect("a socket takes options");
        let closed = hello.iter().any(|byte| {
            thread::sleep(Duration::from_millis(100));
            peer.stream().write_all(&[*byte]).is_err()
                || matches!(peer.stream().read(&mut [0; 200]), Ok(0))
                || matches!(peer.stream().read(&mut [0; 200]), Err(error) if error.kind() != ErrorKind::WouldBlock)
        });
        assert!(closed, "it had the time for all of its handshake, encrypted: {encrypted}");
    }
    assert_unharmed(&seed);
}

#[test]
fn a_half_close_at_any_stage_ends_the_connection() {
    let seed = Seed::of(PIECE);
    let hello = handshake(seed.info_hash);
    let interested = numbers(id::INTERESTED, &[]);
    let whole = [&hello[..], &interested].concat();
    let with_request = [&whole[..], &request(0, 0, 16384)].concat();
    let in_mid_message = [&whole[..], &[0, 0, 0, 13, id::REQUEST, 0]].concat();
    let encrypted = [0xa5; 96];
    for said in [
        &[][..],
        &hello[..1],
        &hello[..20],
        &hello[..47],
        &hello[..48],
        &hello[..67],
        &hello,
        &whole,
        &with_request,
        &in_mid_message,
        &encrypted[..50],
        &encrypted,
    ] {
        let mut peer = Peer::connect(seed.server.peers());
        peer.send(said);
        peer.stream().shutdown(Shutdown::Write).expect("a socket can be half-closed");
        peer.drain_until_close();
    }
    assert_unharmed(&seed);
}

#[test]
fn resets_in_mid_block_leave_nothing_behind() {
    let seed = Seed::of(40 * MIB);
    for round in 0..100 {
        let mut peer = seed.join_unchoked();
        for index in 0..300 {
            peer.send(&request(index, 0, 65_536));
        }
        peer.read(100 * (round + 1));
        peer.reset();
    }
    wait_for("all to be gone", || (seed.server.metric("distributor_peers") == 0).then_some(()));
    assert_unharmed(&seed);
}

#[test]
fn a_peer_with_the_origins_own_name_is_sent_away() {
    let seed = Seed::of(PIECE);
    let mut peer = Peer::connect(seed.server.peers());
    peer.send(&handshake(seed.info_hash));
    let own_id = peer.read(68)[48..].try_into().expect("a peer id has 20 bytes");
    for reserved in [[0; 8], FAST_AND_EXTENDED] {
        let mut peer = Peer::connect(seed.server.peers());
        peer.send(&handshake_of(reserved, seed.info_hash, &own_id));
        peer.drain_until_close();
    }
    wait_for("a line about it", || seed.server.has_logged("the peer is this program itself").then_some(()));
    assert_unharmed(&seed);
}

#[test]
fn a_withdrawn_file_is_asked_for_in_vain() {
    let seed = Seed::with(PIECE, |setup| setup.option("--grace", "0"));
    let mut peer = seed.join_unchoked();
    peer.fetch(0, 0, 100);
    let new = Contents::new(77, PIECE + 1);
    // In place: the inode is the same.
    new.write(seed.directory().join("file"));
    peer.drain_until_close();
    for reserved in [[0; 8], FAST_AND_EXTENDED] {
        let mut peer = Peer::connect(seed.server.peers());
        peer.send(&handshake_of(reserved, seed.info_hash, PEER_ID));
        peer.expect_close();
    }
    let torrent =
        wait_for("the new contents", || Some(seed.server.torrent("file")).filter(|it| it.is_of(&new)));
    let block = Peer::join_unchoked(seed.server.peers(), torrent.info_hash).fetch(1, 0, 1);
    assert_eq!(block, new.bytes()[PIECE..]);
    fs::remove_file(seed.directory().join("file")).expect("a file can be removed");
    wait_for("the removed file to be forgotten", || {
        let mut peer = Peer::connect(seed.server.peers());
        peer.send(&handshake(torrent.info_hash));
        matches!(peer.stream().read(&mut [0]), Ok(0) | Err(_)).then_some(())
    });
    assert!(seed.server.log_lines("panic").is_empty());
}

#[test]
fn what_is_not_encrypted_as_the_operator_wants_it_is_closed_at_once() {
    let seed = Seed::with(PIECE, |setup| setup.option("--encryption", "off"));
    for foreign in [&b"GET / HTTP/1.1\r\n\r\n"[..], &client_hello(), &[0xa5; 96], &[0]] {
        let mut peer = Peer::connect(seed.server.peers());
        peer.send(foreign);
        peer.expect_close();
    }
    assert_unharmed(&seed);
    let seed = Seed::with(PIECE, |setup| setup.option("--encryption", "require"));
    let mut peer = Peer::connect(seed.server.peers());
    peer.send(&handshake(seed.info_hash));
    peer.expect_close();
}

#[test]
fn http_is_answered_whatever_else_is_said_to_its_port() {
    let seed = Seed::of(PIECE);
    let long_line = [b"GET /".to_vec(), vec![b'a'; 1 << 20]].concat();
    for foreign in [
        handshake(seed.info_hash),
        [handshake(seed.info_hash), message(99, &vec![0; 100_000])].concat(),
        client_hello(),
        vec![0; 100_000],
        vec![0xff; 100_000],
        long_line,
    ] {
        let mut stream = TcpStream::connect(seed.server.http()).expect("it accepts connections");
        let _ = stream.write_all(&foreign);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
        seed.server.torrent("file").assert_describes(&seed.contents);
    }
    assert_unharmed(&seed);
}

/// One has a slot and takes all it can get, a byte now and then; the other waits for its turn.
#[test]
fn a_peer_that_reads_a_byte_at_a_time_loses_its_only_slot() {
    let seed = Seed::with(40 * MIB, |setup| setup.option("--upload-slots", "1").showing_everything());
    let mut greedy = Peer::connect_from(host(1), seed.server.peers());
    greedy.send(&[handshake(seed.info_hash), numbers(id::INTERESTED, &[])].concat());
    greedy.read(68);
    greedy.message_with(id::UNCHOKE);
    for index in 0..300 {
        greedy.send(&request(index, 0, 65_536));
    }
    /// Ends the other thread, also where this one fails.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                greedy.read(1);
                thread::sleep(Duration::from_millis(200));
            }
        });
        let _over = Over(&over);
        let mut honest = Peer::connect_from(host(2), seed.server.peers());
        honest.send(&[handshake(seed.info_hash), numbers(id::INTERESTED, &[])].concat());
        honest.read(68);
        honest.message_with(id::UNCHOKE);
        let block = honest.fetch(3, 0, 65_536);
        assert!(block == seed.contents.bytes()[3 * PIECE..4 * PIECE]);
    });
    assert_unharmed(&seed);
}

/// 100,000 requests each, with BEP 6 and without, and not a byte is read of what comes of them.
#[test]
fn peers_that_ask_without_end_and_never_read_take_little_memory() {
    const PEERS: u64 = 40;
    /// The outgoing queue, requests that wait, rejects up to their bound, what was read and not looked at: each is
    /// far below this.
    const EACH: u64 = 256 * 1024;
    // With BEP 6 so many requests end in a violation.
    let seed = Seed::with(40 * MIB, |setup| setup.option("--max-violations", "1000000").quiet());
    seed.assert_serves();
    let before = seed.server.memory();
    let requests: Vec<u8> = (0..100_000).flat_map(|n| request(n % 640, 0, 65_536)).collect();
    let greedy: Vec<Peer> = (0..PEERS)
        .map(|number| {
            let reserved = if number % 2 == 0 { [0; 8] } else { FAST_AND_EXTENDED };
            let mut peer = Peer::connect(seed.server.peers());
            let peer_id: [u8; 20] = std::array::from_fn(|_| b'a' + number as u8);
            peer.send(&handshake_of(reserved, seed.info_hash, &peer_id));
            peer.send(&numbers(id::INTERESTED, &[]));
            peer.read(68);
            peer.message_with(id::UNCHOKE);
            let pause = Some(Duration::from_millis(100));
            peer.stream().set_write_timeout(pause).expect("a socket takes a timeout");
            let _ = peer.stream().write_all(&requests);
            peer
        })
        .collect();
    assert_unharmed(&seed);
    let grown = seed.server.memory().saturating_sub(before);
    assert!(grown < PEERS * EACH, "{PEERS} peers that don't read take {grown} bytes");
    drop(greedy);
}
