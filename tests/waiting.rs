//! Requests for files that are not ready: they wait, and are told when that takes too long.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::files::{Contents, KIB, MIB};
use crate::support::http::{Request, Response};
use crate::support::seed::Seed;
use crate::support::server::{Server, serve_target};
use crate::support::torrent::Torrent;
use crate::support::tracker::{Answer, DOWNLOADER, announce_target, encode_all};
use crate::support::wire::{Peer, id, request};
use crate::support::{DEADLINE, wait_for};

#[test]
fn a_request_for_a_file_that_is_being_written_waits_for_its_end() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let server = Server::serving(directory.path()).start();
    server.wait_until_scanned();
    let contents = Contents::new(1, MIB);
    let (head, tail) = contents.bytes().split_at(100 * KIB);
    let mut file = File::create(directory.path().join("file")).expect("a file can be made");
    file.write_all(head).expect("a file can be written");
    let mut stream = BufReader::new(TcpStream::connect(server.http()).expect("it accepts connections"));
    let socket = stream.get_mut();
    socket.write_all(b"GET /serve?file HTTP/1.1\r\nHost: origin\r\n\r\n").expect("it reads");
    // Longer than what a file that was found at rest is given.
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a socket takes a timeout");
    let early = stream.fill_buf().map(|answer| String::from_utf8_lossy(answer).into_owned());
    assert!(early.is_err(), "answered before the file was closed: {early:?}");
    file.write_all(tail).expect("a file can be written");
    drop(file);
    stream.get_mut().set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
    let answer = Response::read(&mut stream, false);
    Torrent::read(&answer.expect(200).body).assert_describes(&contents);
}

#[test]
fn a_request_that_waits_too_long_is_told_when_to_come_back() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let server = Server::serving(directory.path()).option("--wait", "1").start();
    server.wait_until_scanned();
    let mut file = File::create(directory.path().join("file")).expect("a file can be made");
    file.write_all(b"the beginning").expect("a file can be written");
    let started = Instant::now();
    let answer = server.serve("file").expect_sentence(503);
    assert!(started.elapsed() >= Duration::from_secs(1), "it didn't wait");
    let retry: u32 =
        answer.header("retry-after").and_then(|value| value.parse().ok()).expect("a Retry-After");
    assert!(retry > 0);
    drop(file);
    assert_eq!(server.torrent("file").length, "the beginning".len());
}

#[test]
fn a_file_is_not_served_while_its_writer_pauses() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let server = Server::serving(directory.path()).option("--wait", "1").start();
    server.wait_until_scanned();
    let contents = Contents::new(1, MIB);
    let (head, tail) = contents.bytes().split_at(300 * KIB);
    let mut file = File::create(directory.path().join("file")).expect("a file can be made");
    file.write_all(head).expect("a file can be written");
    for _second in 0..4 {
        server.serve("file").expect_sentence(503);
    }
    file.write_all(tail).expect("a file can be written");
    drop(file);
    wait_for("the whole file", || (server.serve("file").status == 200).then_some(()));
    server.torrent("file").assert_describes(&contents);
}

/// The system's table of open files is as full as can be: nothing is lost by that, it takes longer.
#[test]
fn downloads_and_hashing_wait_for_a_descriptor() {
    let seed = Seed::of(100 * KIB);
    let mut peer = seed.join_unchoked();
    seed.server.limit_descriptors(true);
    peer.send(&request(0, 0, 16384));
    wait_for("the download to wait", || {
        seed.server.has_logged("downloads wait for a file to be opened").then_some(())
    });
    let next = Contents::new(2, KIB);
    seed.rename_in(&next, "next");
    wait_for("the hashing to wait", || {
        seed.server.has_logged("can't be hashed and is left out").then_some(())
    });
    seed.server.limit_descriptors(false);
    let (id, body) = peer.message();
    assert_eq!(id, id::PIECE);
    assert!(body[8..] == seed.contents.bytes()[..16384]);
    assert!(peer.fetch(0, 16384, 16384) == seed.contents.bytes()[16384..32768]);
    seed.server.torrent("next").assert_describes(&next);
}

/// Hundreds of downloads wait for a descriptor, of more files than threads may wait for one disk. They hold nothing that
/// others need, and none of them is given up.
#[test]
fn downloads_that_wait_for_a_descriptor_hold_up_nothing_else() {
    const FILES: u64 = 40;
    const PEERS_OF_EACH: usize = 6;
    let seed = Seed::with(100 * KIB, |setup| setup.option("--upload-slots", "1000"));
    let others: Vec<Contents> = (0..FILES).map(|n| Contents::new(n, 20 * KIB)).collect();
    let mut waiting = Vec::new();
    for (n, contents) in others.iter().enumerate() {
        let name = format!("other-{n}");
        seed.rename_in(contents, &name);
        let info_hash = seed.server.torrent(&name).info_hash;
        for _ in 0..PEERS_OF_EACH {
            waiting.push((contents, Peer::join_unchoked(seed.server.peers(), info_hash)));
        }
    }
    let mut open = seed.join_unchoked();
    open.fetch(0, 0, 16384);
    // What can't be accepted any more must be there before.
    let mut http = BufReader::new(TcpStream::connect(seed.server.http()).expect("it accepts connections"));
    Request::get(serve_target("file")).send_on(&mut http).expect(200);

    seed.server.limit_descriptors(true);
    for (_, peer) in &mut waiting {
        peer.send(&request(0, 0, 16384));
    }
    let is_said = "downloads wait for a file to be opened";
    wait_for("the downloads to wait", || seed.server.has_logged(is_said).then_some(()));
    for (n, contents) in others.iter().enumerate() {
        let answer = Request::get(serve_target(format!("other-{n}"))).send_on(&mut http).expect(200);
        let torrent = Torrent::read(&answer.body);
        torrent.assert_describes(contents);
        let announce = announce_target(&encode_all(&torrent.info_hash), 1001, DOWNLOADER);
        Answer::read(Request::get(announce).send_on(&mut http).expect(200).body).peers();
    }
    for begin in [16384, 32768] {
        let block = &seed.contents.bytes()[begin as usize..][..16384];
        assert!(open.fetch(0, begin, 16384) == block);
    }
    seed.server.limit_descriptors(false);
    for (contents, peer) in &mut waiting {
        let (id, body) = peer.message();
        assert_eq!(id, id::PIECE);
        assert!(body[8..] == contents.bytes()[..16384]);
    }
    assert_eq!(seed.server.count_logged(is_said), 1, "it is said once");
    assert!(!seed.server.has_logged("no longer served"), "it is no fault of the files");
}
