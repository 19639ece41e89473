//! Requests for files that are not ready: they wait, and are told when that takes too long.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::files::{Contents, KIB, MIB};
use crate::support::http::Response;
use crate::support::seed::Seed;
use crate::support::server::Server;
use crate::support::torrent::Torrent;
use crate::support::wire::{id, request};
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
