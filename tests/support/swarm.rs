//! An origin with an empty directory on host 0 of a network of its own, and hosts for clients beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::clients::{Client, Download, Source};
use super::http::{self, Response};
use super::net::{Host, Net};
use super::server::{Server, serve_target};
use super::torrent::Torrent;

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

    /// With a directory that has something in it.
    pub(crate) fn serving(net: Net, directory: TempDir) -> Self {
        let server = Server::serving(directory.path()).on(net.origin()).start();
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

    /// What a host is answered that asks for this.
    pub(crate) fn get(&self, host: &Host, target: impl Into<String> + Send) -> Response {
        let origin = SocketAddr::new(self.net.origin().address(), self.server.http().port());
        host.inside(|| http::get(origin, target))
    }

    /// The torrent of a file that must be there.
    pub(crate) fn torrent(&self, host: &Host, name: impl AsRef<Path>) -> Torrent {
        Torrent::read(&self.serve(host, name).expect(200).body)
    }

    /// Fetches the torrent and starts a client with it.
    pub(crate) fn start(&self, client: Client, host: &Host, name: impl AsRef<Path>) -> Download {
        client.start(host, Source::Torrent(&self.torrent(host, name).bytes))
    }

    /// `http://origin:6969/serve?NAME`
    pub(crate) fn url(&self, name: impl AsRef<Path>) -> String {
        format!("http://origin:6969{}", serve_target(name))
    }
}
