//! The command line: what it explains, what it refuses and with which exit code, and how it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::files::Contents;
use crate::support::server::{Server, refusal, run};
use crate::support::wire::Peer;

#[test]
fn help_names_every_flag_and_its_default() {
    for arguments in [&["serve", "--help"][..], &["help", "serve"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).expect("help is text");
        let words = [
            "--http",
            "6969",
            "--no-udp",
            "--peers",
            "6881",
            "--announce-url",
            "--wait",
            "300",
            "--upload-slots",
        ];
        let more =
            ["--watch", "auto", "--rescan", "--ignore", "--no-default-ignores", "--settle", "--grace", "600"];
        for word in words.into_iter().chain(more) {
            assert!(text.contains(word), "{word} isn't in the help:\n{text}");
        }
    }
    let text = String::from_utf8(run(&["--help"]).stdout).expect("help is text");
    assert!(text.contains("serve"), "{text}");
}

#[test]
fn version_is_that_of_the_package() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let expected = concat!("distributor ", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);
}

#[test]
fn refuses_what_it_does_not_know() {
    for arguments in [
        &["serve", "--no-such-flag", "/tmp"][..],
        &["serve"],
        &["no-such-command"],
        &["serve", "/tmp", "--http", "nonsense"],
        &["serve", "/tmp", "--http", "1.2.3.4:99999"],
        &["serve", "/tmp", "--wait", "soon"],
        &["serve", "/tmp", "--upload-slots", "0"],
        &["serve", "/tmp", "--upload-slots", "many"],
        &["serve", "/tmp", "--announce-url", "not a url"],
        &["serve", "/tmp", "--watch", "closely"],
        &["serve", "/tmp", "--ignore", "a["],
        &["serve", "/tmp", "--settle", "86401"],
    ] {
        refusal(arguments, 2);
    }
}

#[test]
fn refuses_a_directory_that_is_not_there() {
    let text = refusal(&["serve", "/no/such/directory", "--http", "0", "--peers", "0"], 1);
    assert!(text.contains("/no/such/directory"), "{text}");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let text = refusal(&["serve", file, "--http", "0", "--peers", "0"], 1);
    assert!(text.contains(file), "{text}");
}

#[test]
fn refuses_a_port_that_is_in_use() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let directory = directory.path().to_str().expect("its name is text");
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let taken = held.local_addr().expect("a listener has an address").to_string();
    for [used, free] in [["--http", "--peers"], ["--peers", "--http"]] {
        let text = refusal(&["serve", directory, used, &taken, free, "127.0.0.1:0"], 1);
        assert!(text.contains(&taken), "{text}");
    }
}

#[test]
fn first_line_on_stdout_says_what_was_bound() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let server = Server::serving(directory.path())
        .option("--http", "127.0.0.1:0")
        .option("--peers", "[::1]:0")
        .start();
    let (http, peers) = (server.http(), server.peers());
    assert_eq!(http.ip(), Ipv4Addr::LOCALHOST);
    assert_eq!(peers.ip(), Ipv6Addr::LOCALHOST);
    assert_ne!(http.port(), 0);
    assert_ne!(peers.port(), 0);
    server.stop();
}

#[test]
fn sigint_and_sigterm_end_it_well_while_peers_are_connected() {
    for signal in [Signal::INT, Signal::TERM] {
        let directory = TempDir::new().expect("a temporary directory can be made");
        Contents::new(1, 1000).write(directory.path().join("file"));
        let server = Server::serving(directory.path()).start();
        let torrent = server.torrent("file");
        let peer = Peer::join_unchoked(server.peers(), torrent.info_hash);
        let silent = Peer::connect(server.peers());
        server.stop_by(signal);
        peer.expect_close();
        silent.expect_close();
    }
}

#[test]
fn sigterm_ends_it_while_a_request_waits_and_a_file_is_hashed() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let server = Server::serving(directory.path()).start();
    server.wait_until_scanned();
    let mut written = File::create(directory.path().join("written")).expect("a file can be made");
    written.write_all(b"the beginning").expect("a file can be written");
    Contents::big().write(directory.path().join("hashed"));
    let mut waiting = TcpStream::connect(server.http()).expect("it accepts connections");
    waiting.write_all(b"GET /serve?written HTTP/1.1\r\nHost: origin\r\n\r\n").expect("it reads");
    server.stop();
    let mut answer = Vec::new();
    let _ = waiting.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "a file that is being written is not served");
}

#[test]
fn restarts_on_the_same_ports_at_once() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    Contents::new(1, 1000).write(directory.path().join("file"));
    let server = Server::serving(directory.path()).start();
    let [http, peers] = [server.http(), server.peers()].map(|addr| addr.port().to_string());
    let first = server.torrent("file");
    let peer = Peer::join_unchoked(server.peers(), first.info_hash);
    server.stop();
    let server = Server::serving(directory.path()).option("--http", &http).option("--peers", &peers).start();
    assert_eq!(server.torrent("file").info_hash, first.info_hash, "the same bytes, the same info hash");
    peer.expect_close();
    server.stop();
}
