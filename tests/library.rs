//! The server inside another program: more than one in a process, each ending when it is told to.

use distributor::{Config, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::support::files::{Contents, KIB};
use crate::support::http;
use crate::support::torrent::Torrent;
use crate::support::wire::Peer;

#[test]
fn two_servers_live_in_one_process_and_each_ends_when_told() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let contents = Contents::new(1, KIB);
    contents.write(directory.path().join("file"));
    let runtime = Runtime::new().expect("a runtime can be made");
    let start = || {
        let mut config = Config::new([directory.path()]);
        config.http.listen = "127.0.0.1:0".parse().expect("an address");
        config.seeder.listen = "127.0.0.1:0".parse().expect("an address");
        let server = runtime.block_on(Server::bind(config)).expect("ports are free");
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
