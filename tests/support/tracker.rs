//! A server that is asked as a tracker. Queries are written out as clients send them, and answers read byte by byte.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tempfile::TempDir;

use super::bencode::Value;
use super::files::{Contents, KIB};
use super::http;
use super::server::{Server, Setup};

pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const LOCALHOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A server on all addresses of this machine, with one file. It dials nobody: made-up peers would refuse, and be told
/// of no more.
pub(crate) struct Tracker {
    pub(crate) server: Server,
    pub(crate) info_hash: [u8; 20],
    _directory: TempDir,
}

/// What a tracker answered.
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) value: Value,
}

impl Tracker {
    pub(crate) fn new() -> Self {
        Self::with(|setup| setup)
    }

    pub(crate) fn with<'a>(options: impl FnOnce(Setup<'a>) -> Setup<'a>) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        Contents::new(1, KIB).write(directory.path().join("file"));
        let server = options(Server::serving(directory.path()).flag("--no-dial")).start();
        let info_hash = server.torrent("file").info_hash;
        Self { server, info_hash, _directory: directory }
    }

    pub(crate) fn origin(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.server.peers().port())
    }

    /// `/announce` by the peer at `from`; `rest` is the query past what every client sends.
    pub(crate) fn announce(&self, from: SocketAddr, rest: &str) -> Answer {
        let target = announce_target(&encode_all(&self.info_hash), from.port(), rest);
        self.get(from.ip(), target)
    }

    pub(crate) fn get(&self, from: IpAddr, target: String) -> Answer {
        // Who asks by a loopback address asks from it.
        let to = SocketAddr::new(from, self.server.http().port());
        Answer::read(http::get(to, target).expect(200).body)
    }

    /// Complete, incomplete and downloaded, as `/scrape` has them.
    pub(crate) fn scrape(&self) -> [i64; 3] {
        let target = format!("/scrape?info_hash={}", encode_all(&self.info_hash));
        let value = self.get(LOCALHOST, target).value;
        let stats = value.get("files").get(self.info_hash);
        ["complete", "incomplete", "downloaded"].map(|key| stats.get(key).integer())
    }
}

impl Answer {
    pub(crate) fn read(body: Vec<u8>) -> Self {
        let value = Value::read(&body);
        Self { body, value }
    }

    /// The peers of a compact answer, v4 then v6.
    #[track_caller]
    pub(crate) fn peers(&self) -> Vec<SocketAddr> {
        assert!(self.value.find("failure reason").is_none(), "{:?}", self.value);
        let [v4, v6] = ["peers", "peers6"].map(|key| self.value.get(key).bytes());
        assert_eq!((v4.len() % 6, v6.len() % 18), (0, 0), "whole addresses");
        let port = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
        let v4 = v4.chunks(6).map(|peer| {
            let ip: [u8; 4] = peer[..4].try_into().expect("four bytes");
            SocketAddr::from((ip, port(&peer[4..])))
        });
        let v6 = v6.chunks(18).map(|peer| {
            let ip: [u8; 16] = peer[..16].try_into().expect("sixteen bytes");
            assert!(Ipv6Addr::from(ip).to_ipv4_mapped().is_none(), "an IPv4-mapped address breaks clients");
            SocketAddr::from((ip, port(&peer[16..])))
        });
        v4.chain(v6).collect()
    }

    #[track_caller]
    pub(crate) fn failure(&self) -> String {
        // Beside it only when to come again (BEP 31).
        let others: Vec<String> =
            self.value.keys().into_iter().filter(|key| key != "failure reason").collect();
        assert!(others.iter().all(|key| key == "retry in"), "{others:?}");
        self.value.get("failure reason").text()
    }
}

pub(crate) fn v4(port: u16) -> SocketAddr {
    SocketAddr::new(LOCALHOST, port)
}

pub(crate) fn v6(port: u16) -> SocketAddr {
    SocketAddr::new(LOCALHOST_V6, port)
}

/// Every byte as `%XX`.
pub(crate) fn encode_all(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02X}");
        text
    })
}

/// As a client sends it: the peer id tells ports apart, the rest of the query is the test's.
pub(crate) fn announce_target(info_hash: &str, port: u16, rest: &str) -> String {
    let peer_id = format!("-XX0001-%00%FF%0001{port:07}");
    let mut target = format!("/announce?info_hash={info_hash}&peer_id={peer_id}&port={port}&uploaded=0");
    for (name, default) in [("downloaded=", "0"), ("left=", "1024")] {
        if !rest.contains(name) {
            target += &format!("&{name}{default}");
        }
    }
    format!("{target}&{rest}")
}

pub(crate) const SEEDER: &str = "downloaded=1024&left=0&compact=1";
pub(crate) const DOWNLOADER: &str = "left=1024&compact=1";
