//! The server inside another program: more than one in a process, each ending when it is told to, or left.

use std::future::pending;
use std::net::UdpSocket;

use distributor::{Config, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::support::files::{Contents, KIB};
use crate::support::http;
use crate::support::torrent::Torrent;
use crate::support::udp::Asker;
use crate::support::wait_for;
use crate::support::wire::Peer;

/// Of a directory, on ports of this machine that are free.
fn bind(runtime: &Runtime, directory: &TempDir) -> Server {
    let mut config = Config::new([directory.path()]);
    config.http.listen = "127.0.0.1:0".parse().expect("an address");
    config.seeder.listen = "127.0.0.1:0".parse().expect("an address");
    runtime.block_on(Server::bind(config)).expect("ports are free")
}

#[test]
fn two_servers_live_in_one_process_and_each_ends_when_told() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let contents = Contents::new(1, KIB);
    contents.write(directory.path().join("file"));
    let runtime = Runtime::new().expect("a runtime can be made");
    let start = || {
        let server = bind(&runtime, &directory);
        let (http, peers) = (server.http_addr(), server.peers_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = runtime.spawn(server.run(async {
            let _ = stopped.await;
        }));
        (http, peers, stop, running)
    };
    let servers = [start(), start()];
    for (http, peers, stop, running) in servers {
        let torrent = Torrent::read(&http::get(http, "/serve?file").expect(200).body);
        torrent.assert_describes(&contents);
        let mut peer = Peer::join_unchoked(peers, torrent.info_hash);
        assert!(peer.fetch(0, 0, 1024) == contents.bytes());
        drop(stop);
        runtime.block_on(running).expect("it ends without a panic").expect("it ends as told");
        peer.expect_close();
    }
}

#[test]
fn a_server_that_its_program_no_longer_runs_answers_nobody() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let runtime = Runtime::new().expect("a runtime can be made");
    let server = bind(&runtime, &directory);
    let tracker = server.http_addr();
    let running = runtime.spawn(server.run(pending()));
    Asker::new(tracker.ip(), tracker).id();
    running.abort();
    // Its threads are not waited for, which would take forever if one stayed.
    runtime.shutdown_background();
    wait_for("the port to be free", || UdpSocket::bind(tracker).ok());
}
