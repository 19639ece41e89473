//! Where hosts are: what the configuration file says of it, who asks, and that it is changed while peers download.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::files::{Contents, MIB};
use crate::support::seed::Seed;
use crate::support::server::{Server, refusal, run};
use crate::support::wait_for;
use crate::support::wire::{FAST_AND_EXTENDED, HANDSHAKE_LEN, Peer, handshake_of, id, numbers, request};

/// A configuration file, in a directory that goes with it.
struct Written {
    directory: TempDir,
}

impl Written {
    fn new(text: &str) -> Self {
        let written = Self { directory: TempDir::new().expect("a temporary directory can be made") };
        written.write(text);
        written
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("distributor.toml")
    }

    fn name(&self) -> String {
        self.path().to_str().expect("its name is text").to_owned()
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("a file can be written");
    }
}

/// A table of places, each with one network.
fn places(places: &[(&str, &str)]) -> String {
    places
        .iter()
        .map(|(at, network)| format!("[[place]]\nat = \"{at}\"\nnetworks = [\"{network}\"]\n"))
        .collect()
}

#[test]
fn where_says_the_place_of_an_address_and_why() {
    let table = places(&[("dc1", "10.1.0.0/16"), ("dc1/row3/rack7", "10.1.7.0/24"), ("dc1", "fd00:1::/32")]);
    let file = Written::new(&format!("rack-prefix-v4 = 26\nwait = 5\n{table}"));
    let name = file.name();
    let told = |arguments: &[&str]| {
        let output = run(&[&["where"], arguments].concat());
        let text = String::from_utf8(output.stdout).expect("it is text");
        assert!(output.stderr.is_empty(), "{arguments:?}");
        (text.trim_end().to_owned(), output.status.code())
    };
    for (address, said, code) in [
        ("10.1.7.20", "dc1/row3/rack7 by 10.1.7.0/24", 0),
        ("::ffff:10.1.7.20", "dc1/row3/rack7 by 10.1.7.0/24", 0),
        ("10.1.8.20", "dc1 by 10.1.0.0/16", 0),
        ("fd00:1::20", "dc1 by fd00:1::/32", 0),
        ("10.2.0.70", "10.2.0.64/26 by its first 26 bits", 0),
        ("fd00:2::1", "fd00:2::/64 by a guess: nobody said where fd00:2::1 is", 1),
    ] {
        assert_eq!(told(&[address, "--config", &name]), (said.to_owned(), Some(code)));
    }
    let typed = told(&["10.2.0.70", "--config", &name, "--rack-prefix-v4", "16"]);
    assert_eq!(typed, ("10.2.0.0/16 by its first 16 bits".to_owned(), Some(0)));
    assert_eq!(told(&["10.1.7.20"]).1, Some(1), "without a file it is a guess");
}

#[test]
fn a_file_with_a_mistake_is_refused_with_its_line() {
    let file = Written::new("wait = 5\ncolour = 1\n");
    let name = file.name();
    for command in [&["serve", "/tmp"][..], &["serve"], &["where", "10.0.0.1"]] {
        let text = refusal(&[command, &["--config", &name]].concat(), 2);
        assert!(text.contains(&format!("{name}, line 2: there is no setting \"colour\"")), "{text}");
    }
    file.write(&places(&[("dc1", "10.1.0.0/16"), ("dc2", "10.1.0.0/16")]));
    let text = refusal(&["serve", "/tmp", "--config", &name], 2);
    assert!(text.contains(&format!("{name}, line 6: 10.1.0.0/16 is at dc1 already")), "{text}");
    refusal(&["where", "rack7"], 2);
    refusal(&["where", "10.0.0.1", "--config", "/no/such/file"], 2);
}

#[test]
fn serves_as_the_file_says() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let contents = Contents::new(1, 1000);
    contents.write(directory.path().join("file"));
    let text = |directory: &Path| {
        let settings = "http = \"127.0.0.1:0\"\npeers = \"127.0.0.1:0\"\nno-udp = true\nignore = [\"*.log\"]";
        format!("directories = [{directory:?}]\n{settings}\n")
    };
    let file = Written::new(&text(directory.path()));
    contents.write(directory.path().join("kept.log"));
    let server = Server::configured_by(&file.path()).start();
    server.torrent("file").assert_describes(&contents);
    assert_ne!(server.http().port(), 6969, "the system chose one");
    server.serve("kept.log").expect(404);
    server.stop();
}

#[test]
fn a_hangup_without_a_file_ends_it() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    Server::serving(directory.path()).ended_by_hangups().start().end_by(Signal::HUP);
}

/// So little that a byte a second allows one.
const BLOCK: u32 = 1024;

/// Asks for more blocks than that: at a byte a second the second one would take a quarter of an hour.
fn ask(seed: &Seed, from: IpAddr, name: u8) -> Peer {
    let mut peer = Peer::connect_from(from, seed.server.peers());
    let hello = handshake_of(FAST_AND_EXTENDED, seed.info_hash, &[name; 20]);
    peer.send(&[hello, numbers(id::INTERESTED, &[])].concat());
    peer.read(HANDSHAKE_LEN);
    peer.message_with(id::UNCHOKE);
    (0..8).for_each(|n| peer.send(&request(0, n * BLOCK, BLOCK)));
    peer
}

/// Waits until a peer has asked and was sent no block, by what the server says of it.
fn wait_until_held_back(seed: &Seed, peer: &Peer) {
    let address = peer.address().to_string();
    wait_for("requests to wait", || {
        let peers: Value =
            serde_json::from_slice(&seed.server.get("/api/v1/peers").expect(200).body).expect("JSON");
        let peers = peers["peers"].as_array().expect("a list").clone();
        let peer = peers.into_iter().find(|peer| peer["address"] == address)?;
        (peer["requests"].as_u64()? > 0 && peer["uploaded"].as_u64()? < BLOCK.into()).then_some(())
    });
}

#[test]
fn a_hangup_has_peers_draw_from_the_rates_of_where_they_are_now() {
    let one = places(&[("dc1", "127.0.0.0/8")]);
    let rate = "max-upload-rate-per-group = 1\n";
    let file = Written::new(&format!("{rate}{one}"));
    let seed = Seed::with(MIB, |setup| setup.option("--config", &file.name()));
    let host = |rack| IpAddr::from([127, 0, rack, 1]);
    let mut first = ask(&seed, host(1), b'a');
    first.message_with(id::PIECE);
    let mut others = [(2, b'b'), (3, b'c')].map(|(rack, name)| ask(&seed, host(rack), name));
    others.iter().for_each(|peer| wait_until_held_back(&seed, peer));

    // What one group has for the first block is enough for one of them alone.
    file.write(&format!(
        "{rate}{one}{}",
        places(&[("dc1/rack2", "127.0.2.0/24"), ("dc1/rack3", "127.0.3.0/24")])
    ));
    seed.server.signal(Signal::HUP);
    for peer in &mut others {
        peer.message_with(id::PIECE);
    }
}

#[test]
fn a_hangup_changes_what_can_be_changed_and_says_what_can_not() {
    let file = Written::new("max-upload-rate = \"1M\"\nwait = 5");
    let directory = TempDir::new().expect("a temporary directory can be made");
    let server = Server::serving(directory.path()).option("--config", &file.name()).start();
    let total = || {
        let limits: Value =
            serde_json::from_slice(&server.get("/api/v1/limits").expect(200).body).expect("JSON");
        limits["total"].as_u64()
    };
    assert_eq!(total(), Some(1_000_000));

    file.write("max-upload-rate = \"2M\"\nrack-prefix-v4 = 33");
    server.signal(Signal::HUP);
    wait_for("the mistake to be told", || server.told("line 2: rack-prefix-v4 can't be \"33\"").pop());
    assert_eq!(total(), Some(1_000_000));

    file.write("max-upload-rate = \"2M\"\nwait = 6");
    server.signal(Signal::HUP);
    let told = wait_for("the rest to be told", || server.told("take a restart").pop());
    assert!(told.contains("settings=wait"), "{told}");
    assert_eq!(total(), Some(2_000_000));
    server.stop();
}
