//! Downloaders that announce an address to be dialled at, where something else waits for the origin than a peer.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;

use super::{assert_unharmed, host};
use crate::support::files::PIECE;
use crate::support::http::Request;
use crate::support::seed::Seed;
use crate::support::tracker::{DOWNLOADER, announce_target, encode_all};
use crate::support::wire::{connect_from, handshake, id, numbers};
use crate::support::{DEADLINE, wait_for};

/// Announces a downloader at that address, from there.
fn announce(seed: &Seed, address: SocketAddr) {
    let target = announce_target(&encode_all(&seed.info_hash), address.port(), DOWNLOADER);
    let stream =
        connect_from(address.ip(), seed.server.http()).expect("the HTTP address accepts connections");
    Request::get(target).send_on(&mut BufReader::new(stream)).expect(200);
}

/// An address where each connection is answered like that. The origin dials no two ports of one host.
fn answering(number: u8, answer: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((host(number), 0)).expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || answer(stream));
        }
    });
    address
}

/// Says this, and then nothing until the origin has hung up.
fn saying(number: u8, words: Vec<u8>) -> SocketAddr {
    answering(number, move |mut stream| {
        let _ = stream.write_all(&words);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

/// Says again what it hears.
fn echo(mut stream: TcpStream) {
    let mut heard = [0; 1024];
    while let Ok(len @ 1..) = stream.read(&mut heard) {
        if stream.write_all(&heard[..len]).is_err() {
            return;
        }
    }
}

#[test]
fn whatever_waits_where_the_origin_dials_it_is_unharmed() {
    let seed = Seed::with(PIECE, |setup| {
        setup.option("--handshake-timeout", "2").option("--max-violations", "1000000")
    });
    let then = |more: &[u8]| [&handshake(seed.info_hash)[..], more].concat();
    let have_none = numbers(id::HAVE, &[9]);
    let block = numbers(id::PIECE, &[0, 0, 0]);
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let dialled = [
        ("garbage", saying(1, vec![0xa5; 2000]), "doesn't speak BitTorrent"),
        ("HTTP", saying(2, http), "doesn't speak BitTorrent"),
        ("silence", saying(3, Vec::new()), "the peer took too long to agree on keys"),
        (
            "half a handshake",
            saying(4, handshake(seed.info_hash)[..30].to_vec()),
            "didn't finish its handshake",
        ),
        ("nobody", SocketAddr::new(host(5), unused_port()), "refused"),
        ("an end", answering(6, hear_and_leave), "closed the connection before"),
        ("another torrent", saying(7, handshake([7; 20])), "answered with the info hash 0707"),
        ("our own words", answering(8, echo), "the peer is this program itself"),
        ("a length of 4 GiB", saying(9, then(&[0xff; 4])), "a message of 4294967295 bytes"),
        ("have of a piece that isn't", saying(10, then(&have_none)), "there is no piece 9 of 1"),
        ("a block that nobody asked for", saying(11, then(&block)), "that nobody made"),
        ("no end of bytes", answering(12, endless), "doesn't speak BitTorrent"),
    ];
    for (_, address, _) in &dialled {
        announce(&seed, *address);
    }
    for (what, address, words) in &dialled {
        wait_for(&format!("the end of what was dialled at {what}: {words}"), || {
            let lines = seed.server.log_lines(&format!("peer={address} "));
            lines.iter().any(|line| line.contains("closed") && line.contains(words)).then_some(())
        });
    }
    assert_unharmed(&seed);
}

/// Any number of ports can be announced. Those where nobody answered took all dials that may be under way, and who had
/// announced himself after them wasn't dialled.
#[test]
fn a_host_that_announces_many_silent_ports_keeps_no_other_from_being_dialled() {
    let seed = Seed::with(PIECE, |setup| {
        setup.option("--encryption", "prefer").option("--handshake-timeout", "600")
    });
    for _ in 0..100 {
        announce(&seed, saying(1, Vec::new()));
    }
    let (dialled, was_dialled) = mpsc::channel();
    announce(
        &seed,
        answering(2, move |_| {
            let _ = dialled.send(());
        }),
    );
    was_dialled.recv_timeout(DEADLINE).expect("the honest host is dialled");
    assert_unharmed(&seed);
}

/// It would be a peer that is always there and has everything.
#[test]
fn the_origin_knows_itself_when_it_is_made_to_dial_itself() {
    for encryption in ["allow", "require"] {
        let seed = Seed::with(PIECE, |setup| {
            setup.option("--encryption", encryption).option("--max-violations", "0")
        });
        announce(&seed, seed.server.peers());
        wait_for("the origin to know itself", || {
            seed.server.has_logged("the peer is this program itself").then_some(())
        });
        wait_for("both ends to be gone", || (seed.server.metric("distributor_peers") == 0).then_some(()));
        let violations = seed.server.metric("distributor_peers_closed_total{reason=\"violation\"}");
        assert_eq!(violations, 0, "it broke nothing");
        assert!(seed.server.log_lines("panic").is_empty());
    }
}

/// One that was free a moment ago.
fn unused_port() -> u16 {
    let listener = TcpListener::bind((host(5), 0)).expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// Leaves without a word. What it has not heard by then would make it a reset.
fn hear_and_leave(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
}

/// Sends bytes until nobody takes them.
fn endless(mut stream: TcpStream) {
    while stream.write_all(&[0xa5; 65_536]).is_ok() {}
}
