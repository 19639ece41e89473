//! Records what stock clients say to this program, for `proto/tests/vectors`, where a session alone is told it again.
//! Nothing is tested here: it is run by hand, when a client or what we say has changed, and what it wrote is committed.
//!
//! ```sh
//! tests/run recorder -- --ignored
//! ```
//!
//! Each client downloads a small file, and reaches the program by way of a relay only.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::support::clients::{Client, Source};
use crate::support::files::{Contents, PIECE};
use crate::support::relay::{self, Conversation};
use crate::support::swarm::Swarm;

/// Where the relay is, on the first host that isn't the origin.
const RELAY: (&str, u16) = ("10.69.69.2:6881", 6881);

/// Three pieces and an odd tail.
const LEN: usize = 3 * PIECE + 1234;

/// What a client begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Torrent,
    Magnet,
}

fn record(client: Client, given: Given) {
    // In the clear: what is encrypted says the same, and can't be read.
    let swarm = Swarm::with(2, |setup| {
        setup.flag("--no-dial").option("--encryption", "off").option("--advertise", RELAY.0)
    });
    let contents = Contents::new(41, LEN);
    contents.write(swarm.path("file.iso"));
    let [relay, host] = swarm.hosts() else { panic!("there are two") };
    let torrent = swarm.torrent(host, "file.iso");
    let magnet = swarm.magnet(host, "file.iso");
    let source = match given {
        Given::Torrent => Source::Torrent(&torrent.bytes),
        Given::Magnet => Source::Url(magnet.trim_end()),
    };
    let origin = SocketAddr::new(swarm.origin().address(), swarm.server.peers().port());
    let conversations = relay::record(relay, RELAY.1, origin, torrent.info_len, || {
        contents.assert_same(client.start(host, source).finish(), "the client");
    });
    let facts = [
        ("info_hash", torrent.info_hash.iter().map(|byte| format!("{byte:02x}")).collect()),
        ("total_len", LEN.to_string()),
        ("metadata_len", torrent.info_len.to_string()),
        ("peer", relay.address().to_string()),
    ];
    let (what, comment) = match given {
        Given::Torrent => ("download", "downloads a file of three pieces and a bit"),
        Given::Magnet => ("magnet", "has a magnet link and fetches the metadata"),
    };
    let said = |conversation: &Conversation| match given {
        Given::Torrent => conversation.blocks,
        Given::Magnet => conversation.metadata,
    };
    let most = conversations.iter().max_by_key(|conversation| said(conversation));
    let conversation = most.filter(|most| said(most) > 0).expect("it went through the relay");
    let name = format!("{}-{what}.txt", format!("{client:?}").to_lowercase());
    let comment = format!("{} {comment}. Written by tests/recorder.rs.", version(client));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/tests/vectors");
    fs::write(folder.join(name), conversation.vector(&comment, &facts)).expect("a vector can be written");
}

/// A client's Debian package.
fn version(client: Client) -> String {
    let package = match client {
        Client::Aria2 => "aria2",
        Client::Ctorrent => "ctorrent",
        Client::Deluge => "deluged",
        Client::Libtorrent => "python3-libtorrent",
        Client::Qbittorrent => "qbittorrent-nox",
        Client::Rtorrent => "rtorrent",
        Client::Transmission => "transmission-cli",
    };
    let query = ["--show", "--showformat=${Package} ${Version}", package];
    let output = Command::new("dpkg-query").args(query).output().expect("this is Debian");
    String::from_utf8(output.stdout).expect("a version is text")
}

#[test]
#[ignore = "writes files that are to be committed"]
fn records_a_download_of_each_client() {
    for client in Client::ALL {
        record(client, Given::Torrent);
    }
}

#[test]
#[ignore = "writes files that are to be committed"]
fn records_clients_that_fetch_the_metadata() {
    for client in [Client::Aria2, Client::Libtorrent, Client::Rtorrent, Client::Transmission] {
        record(client, Given::Magnet);
    }
}
