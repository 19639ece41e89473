//! What a million peers weigh, all that is there for a moment while tables grow included. Each time in a process of its
//! own, since the system counts by processes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use distributor_proto::{AnnounceEvent, AnnounceKey, AnnounceRequest, PeerFormat, PeerId};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::census::MAX_PEERS;
use super::tests::{HASH, RATE};
use super::{Choice, Families, Tracker, Whom};

const MAX_KIB: u64 = 150 * 1024;

#[test]
fn a_million_peers_take_less_than_150_mib() {
    for test in ["of_ipv4", "of_ipv6"] {
        let name = format!("{}::{test}", module_path!().split_once("::").map_or("", |(_, path)| path));
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", &name, "--ignored", "--nocapture"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let peak = said.lines().find_map(|line| line.split_once("peak KiB: ")).map(|(_, peak)| peak.parse());
        let Some(Ok(peak)) = peak else { panic!("{said}\n{}", String::from_utf8_lossy(&output.stderr)) };
        assert!((1..MAX_KIB).contains(&peak), "{test}: {peak} KiB");
    }
}

#[test]
#[ignore = "weighs its process, which must be its own"]
fn of_ipv4() {
    weigh(|n| Ipv4Addr::from(0x0a00_0000 + n).into());
}

#[test]
#[ignore = "weighs its process, which must be its own"]
fn of_ipv6() {
    weigh(|n| Ipv6Addr::from((0xfd69_0000_0000_0000_u128 + u128::from(n)) << 64).into());
}

/// Memory of the process that lies behind no file, in KiB.
fn anonymous() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn weigh(host: impl Fn(u32) -> IpAddr) {
    let (before, now) = (anonymous(), Instant::now());
    let tracker = Tracker::new(RATE, now);
    let (mut rng, mut peers) = (SmallRng::seed_from_u64(1), Vec::new());
    let (mut peak, mut longest) = (0, Duration::ZERO);
    for n in 0..MAX_PEERS as u32 {
        let mut id = [0; 20];
        id[16..].copy_from_slice(&n.to_be_bytes());
        let request = AnnounceRequest {
            info_hash: HASH,
            peer_id: PeerId::new(id),
            port: 6881,
            uploaded: 0,
            downloaded: 0,
            left: Some((n % 10).into()),
            event: AnnounceEvent::Started,
            numwant: Some(1),
            key: AnnounceKey::new(&n.to_be_bytes()),
            format: PeerFormat::Compact,
        };
        peers.clear();
        let began = Instant::now();
        tracker.announce(
            &request,
            host(n),
            Choice { families: Families::Both, whom: Whom::ByChance },
            now,
            &mut rng,
            &mut peers,
        );
        longest = longest.max(began.elapsed());
        if n % 512 == 0 {
            peak = peak.max(anonymous());
        }
    }
    assert_eq!(tracker.size(), (1, MAX_PEERS));
    peak = peak.max(anonymous());
    println!("before: {before} KiB; longest announce: {longest:?}; peak KiB: {peak}");
}
