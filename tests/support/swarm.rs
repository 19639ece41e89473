//! An origin with an empty directory on host 0 of a network of its own, and hosts for clients beside it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::clients::{Download, Launch, Source};
use super::http::{self, Response};
use super::net::{Host, Net};
use super::server::{Server, Setup, serve_target};
use super::torrent::Torrent;
use super::tracker::{Answer, DOWNLOADER, announce_target, encode_all};

/// Who began a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Accepted,
    Dialled,
}

/// How it went on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    InTheClear,
    Encrypted,
}

fn yes_or_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

pub(crate) struct Swarm {
    // In this order, for the server must end before its network does.
    pub(crate) server: Server,
    net: Net,
    directory: TempDir,
}

impl Swarm {
    /// With so many hosts for clients.
    pub(crate) fn new(clients: u8) -> Self {
        Self::on(Net::new(clients + 1))
    }

    pub(crate) fn on(net: Net) -> Self {
        Self::serving(net, TempDir::new().expect("a temporary directory can be made"))
    }

    /// With so many hosts for clients, and options for the server.
    pub(crate) fn with(clients: u8, options: impl FnOnce(Setup<'_>) -> Setup<'_>) -> Self {
        Self::on_with(Net::new(clients + 1), options)
    }

    /// On a network, with options for the server.
    pub(crate) fn on_with(net: Net, options: impl FnOnce(Setup<'_>) -> Setup<'_>) -> Self {
        Self::build(net, TempDir::new().expect("a temporary directory can be made"), options)
    }

    /// With a directory that has something in it.
    pub(crate) fn serving(net: Net, directory: TempDir) -> Self {
        Self::build(net, directory, |setup| setup)
    }

    fn build(net: Net, directory: TempDir, options: impl FnOnce(Setup<'_>) -> Setup<'_>) -> Self {
        let server = options(Server::serving(directory.path()).on(net.origin())).start();
        Self { server, net, directory }
    }

    /// A path in the watched directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The host that the server runs on.
    pub(crate) fn origin(&self) -> &Host {
        self.net.origin()
    }

    /// The hosts for clients.
    pub(crate) fn hosts(&self) -> &[Host] {
        self.net.others()
    }

    /// What `wget` of a file's torrent by address on that host is answered.
    pub(crate) fn serve(&self, host: &Host, name: impl AsRef<Path>) -> Response {
        self.get(host, serve_target(name))
    }

    /// Ends the server in one way or another, and starts it anew on the same directory and the same ports.
    pub(crate) fn restarted(
        self,
        end: impl FnOnce(Server),
        options: impl FnOnce(Setup<'_>) -> Setup<'_>,
    ) -> Self {
        let Self { server, net, directory } = self;
        end(server);
        Self::build(net, directory, options)
    }

    /// What a host is answered that asks for this.
    pub(crate) fn get(&self, host: &Host, target: impl Into<String> + Send) -> Response {
        let origin = SocketAddr::new(self.net.origin().address_for(host), self.server.http().port());
        host.inside(|| http::get(origin, target))
    }

    /// The torrent of a file that must be there.
    pub(crate) fn torrent(&self, host: &Host, name: impl AsRef<Path>) -> Torrent {
        Torrent::read(&self.serve(host, name).expect(200).body)
    }

    /// The magnet link of a file.
    pub(crate) fn magnet(&self, host: &Host, name: &str) -> String {
        self.get(host, format!("/magnet?{name}")).expect(200).text()
    }

    /// Fetches the torrent and starts a client with it.
    pub(crate) fn start(&self, client: impl Into<Launch>, host: &Host, name: impl AsRef<Path>) -> Download {
        client.into().start(host, Source::Torrent(&self.torrent(host, name).bytes))
    }

    /// A host says that it downloads a torrent and accepts peers on `port`.
    pub(crate) fn announce(&self, host: &Host, info_hash: [u8; 20], port: u16) {
        self.get(host, announce_target(&encode_all(&info_hash), port, DOWNLOADER)).expect(200);
    }

    /// The peers of a torrent that a host is told of which has none to offer itself.
    pub(crate) fn peers_named_to(&self, host: &Host, info_hash: [u8; 20]) -> Vec<SocketAddr> {
        let target = announce_target(&encode_all(&info_hash), 0, &format!("{DOWNLOADER}&numwant=200"));
        Answer::read(self.get(host, target).expect(200).body).peers()
    }

    /// Whether a host is told of another.
    pub(crate) fn names(&self, asker: &Host, info_hash: [u8; 20], other: &Host) -> bool {
        self.peers_named_to(asker, info_hash).iter().any(|peer| peer.ip() == other.address_for(asker))
    }

    /// How many peers have shaken hands so far, as `/metrics` has it.
    pub(crate) fn opened(&self, way: Way, cipher: Said) -> u64 {
        let (dialled, encrypted) = (yes_or_no(way == Way::Dialled), yes_or_no(cipher == Said::Encrypted));
        self.sample(&format!(
            "distributor_peers_opened_total{{dialled=\"{dialled}\",encrypted=\"{encrypted}\"}}"
        ))
    }

    /// How many bytes were sent to peers so far.
    pub(crate) fn uploaded(&self) -> u64 {
        self.sample("distributor_uploaded_bytes_total")
    }

    /// What is told of the one file's torrent.
    pub(crate) fn api(&self) -> Value {
        let body = self.get(self.origin(), "/api/v1/torrents").expect(200).body;
        let value: Value = serde_json::from_slice(&body).expect("it is JSON");
        value["torrents"][0].clone()
    }

    /// How many times the one file's bytes were sent.
    pub(crate) fn copies(&self) -> f64 {
        self.api()["copies"].as_f64().expect("a number")
    }

    /// Who is connected to the origin.
    pub(crate) fn connected(&self) -> BTreeSet<IpAddr> {
        let body = self.get(self.origin(), "/api/v1/peers").expect(200).body;
        let value: Value = serde_json::from_slice(&body).expect("it is JSON");
        let peers = value["peers"].as_array().expect("a list");
        let address = |peer: &Value| peer["address"].as_str()?.parse::<SocketAddr>().ok();
        peers.iter().map(|peer| address(peer).expect("an address").ip()).collect()
    }

    fn sample(&self, name: &str) -> u64 {
        self.get(self.origin(), "/metrics").expect(200).sample(name)
    }

    /// `http://origin:6969/serve?NAME`
    pub(crate) fn url(&self, name: impl AsRef<Path>) -> String {
        format!("http://origin:6969{}", serve_target(name))
    }
}
