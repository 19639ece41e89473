//! Who is told of whom: the tracker's answers to announces, whatever the asker claims of itself.

use std::net::SocketAddr;

use crate::support::files::{Contents, KIB};
use crate::support::http::{self, Request};
use crate::support::net::Net;
use crate::support::swarm::Swarm;
use crate::support::tracker::{
    Answer, DOWNLOADER, LOCALHOST, LOCALHOST_V6, SEEDER, Tracker, announce_target, encode_all, v4, v6,
};

#[test]
fn a_downloader_is_told_of_the_origin_and_of_others_but_not_of_itself() {
    let tracker = Tracker::new();
    let origin = tracker.origin(LOCALHOST);
    assert_eq!(tracker.announce(v4(1001), DOWNLOADER).peers(), [origin]);
    let mut second = tracker.announce(v4(1002), DOWNLOADER).peers();
    second.sort();
    let mut expected = vec![origin, v4(1001)];
    expected.sort();
    assert_eq!(second, expected);
    let mut again = tracker.announce(v4(1001), DOWNLOADER).peers();
    again.sort();
    let mut expected = vec![origin, v4(1002)];
    expected.sort();
    assert_eq!(again, expected);
}

#[test]
fn a_seeder_is_told_of_downloaders_only() {
    let tracker = Tracker::new();
    tracker.announce(v4(1001), SEEDER);
    tracker.announce(v4(1002), DOWNLOADER);
    assert_eq!(tracker.announce(v4(1003), SEEDER).peers(), [v4(1002)]);
    // One that completes becomes a seeder.
    tracker.announce(v4(1002), "downloaded=1024&left=0&event=completed&compact=1");
    assert_eq!(tracker.announce(v4(1003), SEEDER).peers(), []);
    let peers = tracker.announce(v4(1004), DOWNLOADER).peers();
    assert_eq!(peers.len(), 4, "{peers:?}");
}

/// aria2, which has to fetch the metadata before it can say what it lacks.
#[test]
fn one_that_has_a_magnet_link_only_is_told_of_seeds_though_it_says_that_it_lacks_nothing() {
    let tracker = Tracker::new();
    let origin = tracker.origin(LOCALHOST);
    tracker.announce(v4(1001), SEEDER);
    let mut peers = tracker.announce(v4(1002), "left=0&event=started&compact=1").peers();
    peers.sort();
    let mut expected = vec![origin, v4(1001)];
    expected.sort();
    assert_eq!(peers, expected);
}

#[test]
fn one_that_stopped_is_told_to_nobody() {
    let tracker = Tracker::new();
    tracker.announce(v4(1001), "left=1024&event=started&compact=1");
    tracker.announce(v4(1001), "left=1024&event=stopped&compact=1");
    assert_eq!(tracker.announce(v4(1002), DOWNLOADER).peers(), [tracker.origin(LOCALHOST)]);
    // Nor does a stop by one that was never there do any harm.
    tracker.announce(v4(1003), "left=1024&event=stopped&compact=1");
    assert_eq!(tracker.announce(v4(1002), DOWNLOADER).peers(), [tracker.origin(LOCALHOST)]);
}

#[test]
fn nobody_gets_more_peers_than_asked_for() {
    let tracker = Tracker::new();
    let origin = tracker.origin(LOCALHOST);
    for port in 2000..2300 {
        tracker.announce(v4(port), DOWNLOADER);
    }
    assert_eq!(tracker.announce(v4(1001), "numwant=1").peers(), [origin], "the origin above all");
    for wanted in [2, 5, 50] {
        let peers = tracker.announce(v4(1001), &format!("numwant={wanted}")).peers();
        assert_eq!(peers.len(), wanted);
        assert!(peers.contains(&origin));
    }
    for query in ["", "numwant=-1", "numwant=nonsense", "numwant=4294967295", "numwant=99999999999999999999"]
    {
        let peers = tracker.announce(v4(1001), query).peers();
        assert!((20..=200).contains(&peers.len()), "{query}: {}", peers.len());
        assert!(peers.contains(&origin));
    }
}

#[test]
fn an_address_in_the_query_is_not_believed() {
    let tracker = Tracker::new();
    for (port, claim) in [(1001, "ip=9.9.9.9"), (1002, "ipv4=9.9.9.9:9"), (1003, "ipv6=[2001:db8::9]:9")] {
        tracker.announce(v4(port), claim);
    }
    let request = Request::get(announce_target(&encode_all(&tracker.info_hash), 1004, DOWNLOADER));
    tracker.server.send(request.header("X-Forwarded-For", "9.9.9.9").header("Forwarded", "for=9.9.9.9"));
    let mut peers = tracker.announce(v4(1005), DOWNLOADER).peers();
    peers.retain(|peer| *peer != tracker.origin(LOCALHOST));
    peers.sort();
    assert_eq!(peers, [v4(1001), v4(1002), v4(1003), v4(1004)]);
}

#[test]
fn both_families_are_told_of_each_other_and_the_origin_is_where_the_asker_reached_it() {
    let tracker = Tracker::new();
    assert_eq!(tracker.announce(v4(1001), DOWNLOADER).peers(), [tracker.origin(LOCALHOST)]);
    let peers = tracker.announce(v6(1002), DOWNLOADER).peers();
    assert!(peers.contains(&tracker.origin(LOCALHOST_V6)), "{peers:?}");
    assert!(peers.contains(&v4(1001)), "{peers:?}");
    let peers = tracker.announce(v4(1003), DOWNLOADER).peers();
    assert!(peers.contains(&v6(1002)), "{peers:?}");
}

#[test]
fn the_origin_on_a_network_is_at_the_address_that_was_asked() {
    let swarm = Swarm::on(Net::new(2));
    Contents::new(1, KIB).write(swarm.path("file"));
    let host = &swarm.hosts()[0];
    let hash = encode_all(&swarm.torrent(host, "file").info_hash);
    let origin = swarm.origin();
    for ip in [origin.address(), origin.v6().into()] {
        let target = announce_target(&hash, 1001, DOWNLOADER);
        let answer = host.inside(|| http::get(SocketAddr::new(ip, 6969), target)).expect(200);
        let peers = Answer::read(answer.body).peers();
        assert!(peers.contains(&SocketAddr::new(ip, 6881)), "{ip}: {peers:?}");
    }
    // A peer's address is the one that its connection came from.
    let target = announce_target(&hash, 1002, DOWNLOADER);
    let peers =
        Answer::read(origin.inside(|| http::get("127.0.0.1:6969".parse().expect("an address"), target)).body)
            .peers();
    assert!(peers.contains(&SocketAddr::new(host.address(), 1001)), "{peers:?}");
    assert!(peers.contains(&SocketAddr::new(host.v6().into(), 1001)), "{peers:?}");
}

#[test]
fn the_operator_may_name_the_address_where_peers_reach_it() {
    let tracker = Tracker::with(|setup| setup.option("--advertise", "192.0.2.9:7777"));
    let peers = tracker.announce(v4(1001), DOWNLOADER).peers();
    assert_eq!(peers, ["192.0.2.9:7777".parse().expect("an address")]);
}
