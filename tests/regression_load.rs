//! Defects that were there once: too many who ask, and what they kept from others. Each test is named after its defect
//! and tells its story.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use crate::support::files::{Contents, KIB, PIECE};
use crate::support::http::Response;
use crate::support::seed::Seed;
use crate::support::server::{Server, refusal};
use crate::support::torrent::Torrent;
use crate::support::tracker::{Answer, DOWNLOADER, announce_target, encode_all};
use crate::support::wire::{Peer, cancel, connect_from, handshake, id};
use crate::support::{DEADLINE, wait_for};

/// Peers that send one message again and again, each as fast as its socket takes it.
struct Flood {
    over: Arc<AtomicBool>,
    peers: Vec<JoinHandle<io::Result<Peer>>>,
}

impl Flood {
    fn start(seed: &Seed, message: &[u8]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let peers = (0..4).map(|_| {
            let (over, messages, mut peer) = (Arc::clone(&over), message.repeat(4096), seed.join());
            peer.stream().set_write_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    peer.stream().write_all(&messages)?;
                }
                Ok(peer)
            })
        });
        Self { peers: peers.collect(), over }
    }

    /// Ends it; panics unless each peer is still connected and is heard.
    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        for peer in self.peers {
            let mut peer =
                peer.join().expect("it doesn't panic").expect("the seeder takes all that it sends");
            peer.send(&[0, 0, 0, 1, id::INTERESTED]);
            assert_eq!(peer.message(), (id::UNCHOKE, Vec::new()));
        }
    }
}

/// The socket of a peer that never pauses is always ready, and whoever served it never gave way: as many such peers as
/// there are cores, and nobody else was answered, over HTTP or otherwise.
#[test]
fn a_few_peers_that_never_paused_kept_the_server_from_all_others() {
    // By default such peers are closed; here they are borne, for what follows holds of all that is.
    let seed = Seed::with(20 * PIECE, |setup| setup.option("--max-idle-messages", "100000000"));
    for message in [&cancel(7, 0, 16384)[..], &[0, 0, 0, 0]] {
        let flood = Flood::start(&seed, message);
        let scrape = format!("/scrape?info_hash={}", encode_all(&seed.info_hash));
        for (index, piece) in (0..20).zip(seed.contents.bytes().chunks(PIECE)) {
            Answer::read(seed.server.get(&scrape).expect(200).body).value.get("files").get(seed.info_hash);
            assert!(seed.join_unchoked().fetch(index, 0, 65536) == piece);
        }
        flood.end();
    }
}

/// Idle peers took all descriptors. A file that came then couldn't be opened, was left out, and nothing ever had it
/// tried again.
#[test]
fn a_file_that_came_while_peers_held_all_descriptors_was_left_out_for_good() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let outside = TempDir::new().expect("a temporary directory can be made");
    let [first, second] = [1, 2].map(|seed| Contents::new(seed, 10 * KIB));
    first.write(directory.path().join("first"));
    let server = Server::serving(directory.path()).descriptors(280).start();
    let info_hash = server.torrent("first").info_hash;
    // More than there are descriptors. Those that aren't let in wait in the listener's backlog.
    let idle: Vec<Peer> = (0..300)
        .map(|number| {
            let mut peer = Peer::connect(server.peers());
            peer.send(&handshake(info_hash));
            // One after the other: of many that come at once the oldest give way.
            if number < 5 {
                peer.read(68);
            }
            peer
        })
        .collect();
    second.write(outside.path().join("second"));
    fs::rename(outside.path().join("second"), directory.path().join("second"))
        .expect("a file can be renamed");
    let torrent = server.torrent("second");
    torrent.assert_describes(&second);
    // And when they have left, others are let in.
    drop(idle);
    let block = Peer::join_unchoked(server.peers(), torrent.info_hash).fetch(0, 0, 10 * 1024);
    assert!(block == second.bytes());
}

/// The end of the process waited for requests that waited for a file, gave up on them after 5 s, and hung up without
/// an answer.
#[test]
fn sigterm_left_a_request_that_waited_without_an_answer() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let server = Server::serving(directory.path()).start();
    server.wait_until_scanned();
    let mut file = File::create(directory.path().join("file")).expect("a file can be made");
    file.write_all(b"the beginning").expect("a file can be written");
    let mut waiting = server.begin("/serve?file");
    wait_for("the request to wait", || server.has_logged("a request waits for a file").then_some(()));
    server.stop();
    Response::read(&mut waiting, false).expect_sentence(503);
}

/// Clients ask for an unfinished file and leave, and 200 of them must not be in the way of anyone.
fn abandon_200_requests_and_ask_for_more(server: &Server, directory: &TempDir) {
    let other = Contents::new(1, KIB);
    other.write(directory.path().join("other"));
    let info_hash = encode_all(&server.torrent("other").info_hash);
    let mut file = File::create(directory.path().join("unfinished")).expect("a file can be made");
    file.write_all(b"the beginning").expect("a file can be written");
    for _ in 0..200 {
        // From an address of their own, of which there may be too many: those are closed unheard.
        let mut client = connect_from([127, 0, 0, 9].into(), server.http()).expect("it accepts connections");
        let _ = client.write_all(b"GET /serve?unfinished HTTP/1.1\r\nHost: origin\r\n\r\n");
    }
    for port in 1001..1021 {
        let answer = server.get(announce_target(&info_hash, port, DOWNLOADER)).expect(200);
        Answer::read(answer.body).peers();
        server.torrent("other").assert_describes(&other);
    }
    drop(file);
    // One who asks while all those still wait is told to come again.
    let answer = wait_for("the finished file", || {
        let answer = server.get("/serve?unfinished");
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(Torrent::read(&answer.expect(200).body).length, "the beginning".len());
}

/// Nobody notices that a client has gone while its request waits for a file, since one that closed its half looks the
/// same. Such requests must not use up what others need.
#[test]
fn abandoned_requests_for_an_unfinished_file_kept_others_from_being_answered() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let server = Server::serving(directory.path()).start();
    abandon_200_requests_and_ask_for_more(&server, &directory);
}

/// As above, where there are descriptors for far fewer connections than are allowed: half of those that can be held
/// may wait, and not half of those that are allowed.
#[test]
fn abandoned_requests_kept_others_from_being_answered_where_descriptors_are_few() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let server = Server::serving(directory.path()).descriptors(300).start();
    abandon_200_requests_and_ask_for_more(&server, &directory);
}

/// Each of these was refused with a sentence about something else, or not at all.
#[test]
fn faults_on_the_command_line_were_not_named() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let directory = directory.path().to_str().expect("its name is text");
    let serve = |arguments: &[&str], code| refusal(&[&["serve", directory], arguments].concat(), code);
    let ports = ["--http", "127.0.0.1:0", "--peers", "127.0.0.1:0"];
    let text = serve(&[&[directory][..], &ports].concat(), 1);
    assert!(text.contains(directory) && text.contains("twice"), "{text}");
    let text = serve(&["--announce-url", "http://origin"], 2);
    assert!(
        text.contains("--announce-url") && text.contains("http://origin.example:6969/announce"),
        "{text}"
    );
    let text = serve(&["--wait", "-1"], 2);
    assert!(text.contains("--wait") && text.contains("-1"), "{text}");
}
