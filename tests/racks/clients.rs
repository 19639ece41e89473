//! Stock clients in two racks: all finish, whoever is killed, and nobody crosses from one to the other but gateways.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;
use tempfile::TempDir;

use super::wait_within;
use crate::support::clients::{self, Client, Download};
use crate::support::files::{Contents, MIB};
use crate::support::net::{Families, Host, Net};
use crate::support::swarm::Swarm;

const FILE: &str = "file.iso";
const LEN: usize = 12 * MIB;
/// At which one copy takes long enough for connections to be seen.
const RATE: &str = "1MiB";
/// One more than are gateways.
const HOSTS: usize = 9;

/// The hosts of a test network are 10.69.69.2 and so on: the first nine are one rack, the others the other.
const PLACES: &str = r#"
[[place]]
at = "dc1/rack2"
networks = ["10.69.69.11/32", "10.69.69.12/30", "10.69.69.16/30"]

[[place]]
at = "dc1/rack1"
networks = ["10.69.69.0/28"]
"#;

fn rack(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) if ip.octets()[3] <= 10 => 1,
        _ => 2,
    }
}

/// The other ends of a host's connections.
fn connected(host: &Host) -> BTreeSet<IpAddr> {
    let table = host.inside(|| fs::read_to_string("/proc/thread-self/net/tcp").expect("/proc is there"));
    let remote = |line: &str| {
        let mut fields = line.split_whitespace().skip(2);
        let (remote, state) = (fields.next()?, fields.next()?);
        let ip = u32::from_str_radix(remote.split_once(':')?.0, 16).ok()?;
        // As it lies in memory, the first byte lowest.
        (state == "01").then(|| IpAddr::from(Ipv4Addr::from(ip.to_ne_bytes())))
    };
    table.lines().skip(1).filter_map(remote).collect()
}

/// Who is a gateway, or was one that left or was replaced.
fn gateways(swarm: &Swarm) -> BTreeSet<IpAddr> {
    let body = swarm.get(swarm.origin(), "/api/v1/topology").expect(200).body;
    let value: Value = serde_json::from_slice(&body).expect("it is JSON");
    let places = value["places"].as_array().expect("a list");
    let now = places.iter().flat_map(|place| place["gateways"].as_array().expect("a list").clone());
    let now = now.filter_map(|gateway| gateway.as_str()?.parse::<SocketAddr>().ok());
    let lines = swarm.server.log_lines("gateway is");
    let before = lines.iter().filter_map(|line| {
        let old = line.split_once("old=")?.1.split_whitespace().next()?;
        old.parse::<SocketAddr>().ok()
    });
    now.chain(before).map(|addr| addr.ip()).collect()
}

/// So many hosts, and an origin that knows their places and has the file.
fn swarm(hosts: usize) -> (Swarm, Contents, TempDir) {
    let settings = TempDir::new().expect("a temporary directory can be made");
    let file = settings.path().join("distributor.toml");
    fs::write(&file, PLACES).expect("a file can be written");
    let swarm = Swarm::on_with(Net::of(&vec![Families::V4; 1 + hosts]), |setup| {
        setup.option("--config", file.to_str().expect("text")).option("--max-upload-rate", RATE)
    });
    let contents = Contents::new(5, LEN);
    contents.write(swarm.path(FILE));
    (swarm, contents, settings)
}

/// It asks the tracker every five minutes only, and all whom it could get pieces from are gone.
#[test]
fn one_that_is_left_finishes_when_all_gateways_are_killed() {
    let (swarm, contents, _settings) = swarm(HOSTS);
    let (last, others) = swarm.hosts().split_last().expect("there are some");
    let others: Vec<Download> = others.iter().map(|host| swarm.start(Client::Aria2, host, FILE)).collect();
    wait_within(clients::DEADLINE, "the others to be gateways", || {
        (gateways(&swarm).len() == others.len()).then_some(())
    });
    let mut download = swarm.start(Client::Libtorrent, last, FILE);
    download.wait_for_word("received peers");
    assert!(!gateways(&swarm).contains(&last.address()));
    drop(others);
    contents.assert_same(download.finish(), "the one that is left");
}

#[test]
fn clients_of_two_racks_finish_and_only_gateways_cross() {
    let (swarm, contents, _settings) = swarm(2 * HOSTS);
    let kinds = [Client::Aria2, Client::Libtorrent].into_iter().cycle();
    let mut downloads: Vec<Download> =
        swarm.hosts().iter().zip(kinds).map(|(host, client)| swarm.start(client, host, FILE)).collect();

    let (mut seen, mut gateways) = (BTreeSet::new(), BTreeSet::new());
    wait_within(clients::DEADLINE, "the origin to have sent a copy", || {
        for host in swarm.hosts() {
            let own = host.address();
            let others = connected(host).into_iter().filter(|ip| *ip != swarm.origin().address());
            seen.extend(others.map(|other| (own, other)));
        }
        // After that, since who becomes one may be connected at once.
        gateways.extend(self::gateways(&swarm));
        (swarm.copies() >= 1.0).then_some(())
    });
    let (crossing, near): (Vec<_>, Vec<_>) = seen.iter().partition(|(one, other)| rack(*one) != rack(*other));
    assert!(!near.is_empty(), "neighbours are connected");
    for (one, other) in crossing {
        assert!(gateways.contains(&one) && gateways.contains(&other), "{one} and {other}: {gateways:?}");
    }
    for download in &mut downloads {
        let file = download.finish();
        contents.assert_same(file, &download.name());
    }
}
