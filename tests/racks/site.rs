//! A site of some racks on this machine: hosts are addresses of loopback, 127.1.RACK.N, that announce themselves and
//! accept connections on which nothing is ever said.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufReader;
use std::net::{IpAddr, SocketAddr, TcpListener};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::files::{Contents, KIB};
use crate::support::http::Request;
use crate::support::server::{Server, Setup};
use crate::support::tracker::{Answer, LOCALHOST, announce_target, encode_all};
use crate::support::wire::{FAST_AND_EXTENDED, HANDSHAKE_LEN, Peer, connect_from, handshake_of};

/// A server of one file, with a configuration file that says where hosts are.
pub(super) struct Site {
    pub(super) server: Server,
    info_hash: [u8; 20],
    directory: TempDir,
    settings: TempDir,
}

/// A host that can be dialled, until it is closed.
pub(super) struct Host {
    pub(super) addr: SocketAddr,
    door: Option<TcpListener>,
}

/// Racks 0 and so on, two to a row.
pub(super) fn table(racks: u8) -> String {
    let place = |rack| {
        format!("[[place]]\nat = \"dc1/row{}/rack{rack}\"\nnetworks = [\"127.1.{rack}.0/24\"]\n", rack / 2)
    };
    (0..racks).map(place).collect()
}

/// The rack that a host is in.
pub(super) fn rack(addr: &SocketAddr) -> u8 {
    match addr.ip() {
        IpAddr::V4(ip) => ip.octets()[2],
        IpAddr::V6(_) => panic!("{addr} is in no rack"),
    }
}

impl Host {
    pub(super) fn at(rack: u8, n: u8) -> Self {
        let door = TcpListener::bind((IpAddr::from([127, 1, rack, n]), 0)).expect("a port is free");
        Self { addr: door.local_addr().expect("it is bound"), door: Some(door) }
    }

    /// Whoever dials it is refused.
    pub(super) fn close(&mut self) {
        self.door = None;
    }
}

impl Site {
    pub(super) fn with_places(places: &str) -> Self {
        Self::with(places, |setup| setup)
    }

    pub(super) fn with<'a>(places: &str, options: impl FnOnce(Setup<'a>) -> Setup<'a>) -> Self {
        let [directory, settings] =
            [(); 2].map(|()| TempDir::new().expect("a temporary directory can be made"));
        Contents::new(1, KIB).write(directory.path().join("file"));
        let file = settings.path().join("distributor.toml");
        fs::write(&file, places).expect("a file can be written");
        let setup = Server::serving(directory.path()).option("--config", file.to_str().expect("text"));
        let server = options(setup).start();
        let info_hash = server.torrent("file").info_hash;
        Self { server, info_hash, directory, settings }
    }

    /// Other places, for the next hangup.
    pub(super) fn write_places(&self, places: &str) {
        fs::write(self.settings.path().join("distributor.toml"), places).expect("a file can be written");
        assert!(self.directory.path().exists());
    }

    /// Where hosts of this machine are told that the origin is.
    pub(super) fn origin(&self) -> SocketAddr {
        SocketAddr::new(LOCALHOST, self.server.peers().port())
    }

    /// So many hosts of a rack announce themselves, one after another.
    pub(super) fn join_rack(&self, rack: u8, hosts: u8) -> Vec<Host> {
        let hosts: Vec<Host> = (1..=hosts).map(|n| Host::at(rack, n)).collect();
        hosts.iter().for_each(|host| drop(self.announce(host, "left=1024&event=started")));
        hosts
    }

    /// What a host is told that says so much of itself.
    pub(super) fn announce(&self, host: &Host, rest: &str) -> Vec<SocketAddr> {
        let target =
            announce_target(&encode_all(&self.info_hash), host.addr.port(), &format!("{rest}&compact=1"));
        let stream = connect_from(host.addr.ip(), self.server.http()).expect("it accepts connections");
        let answer = Request::get(target).send_on(&mut BufReader::new(stream)).expect(200);
        Answer::read(answer.body).peers()
    }

    /// A connection of this host to the origin, on which hands are shaken.
    pub(super) fn connect(&self, host: &Host) -> Peer {
        let mut peer = Peer::connect_from(host.addr.ip(), self.server.peers());
        peer.send(&handshake_of(FAST_AND_EXTENDED, self.info_hash, b"-XX0001-abcdefghijkl"));
        peer.read(HANDSHAKE_LEN);
        peer
    }

    pub(super) fn get(&self, target: &str) -> Value {
        serde_json::from_slice(&self.server.get(target).expect(200).body).expect("it is JSON")
    }

    /// The gateways of a rack that has hosts, as the API tells them.
    pub(super) fn gateways(&self, in_rack: u8) -> BTreeSet<SocketAddr> {
        let value = self.get("/api/v1/topology");
        let places = value["places"].as_array().expect("a list");
        let gateways = places.iter().flat_map(|place| place["gateways"].as_array().expect("a list"));
        let gateways = gateways.map(|gateway| gateway.as_str().and_then(|text| text.parse().ok()));
        gateways.map(|addr| addr.expect("an address")).filter(|addr| rack(addr) == in_rack).collect()
    }
}
