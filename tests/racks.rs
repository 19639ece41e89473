//! Racks that the tracker knows: who is told of whom, which hosts are gateways, who follows one that does nothing, and
//! that all of it can be seen.

mod clients;
mod site;

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::{Value, json};

use self::site::{Host, Site, rack, table};
use crate::support::{wait_for, wait_within};

/// How many hosts of a large rack are gateways; in smaller ones all are.
const GATEWAYS: usize = 8;

#[track_caller]
fn assert_told(told: &[std::net::SocketAddr], expected: &[&Host]) {
    let told: BTreeSet<_> = told.iter().copied().collect();
    assert_eq!(told, expected.iter().map(|host| host.addr).collect());
}

#[test]
fn an_answer_to_a_gateway_names_its_rack_one_gateway_far_away_and_the_origin() {
    let site = Site::with_places(&table(3));
    let racks: Vec<Vec<Host>> = (0..3).map(|rack| site.join_rack(rack, 6)).collect();
    let told = site.announce(&racks[1][2], "left=1024");
    let (near, far): (Vec<_>, Vec<_>) =
        told.iter().filter(|peer| **peer != site.origin()).partition(|peer| rack(peer) == 1);
    assert!(told.contains(&site.origin()));
    assert_eq!((near.len(), far.len()), (5, 1), "{told:?}");
    // aria2 asks again every few seconds: it must not come to know everybody.
    for _ in 0..20 {
        assert!(site.announce(&racks[1][2], "left=1024").contains(far[0]));
    }
}

#[test]
fn others_of_a_large_rack_are_told_of_their_rack_alone() {
    let site = Site::with_places(&table(2));
    site.join_rack(0, 6);
    let hosts = site.join_rack(1, 12);
    let told = site.announce(&hosts[11], "left=1024");
    assert!(told.contains(&site.origin()), "before the origin has come to it");
    let _peer = site.connect(&hosts[11]);
    let told = wait_for("their connection to be seen", || {
        let told = site.announce(&hosts[11], "left=1024");
        (!told.contains(&site.origin())).then_some(told)
    });
    assert_told(&told, &hosts.iter().take(11).collect::<Vec<_>>());
    assert_eq!(site.gateways(1), hosts.iter().take(GATEWAYS).map(|host| host.addr).collect());
}

#[test]
fn a_rack_whose_gateways_get_nothing_is_told_of_the_origin() {
    let site = Site::with_places(&table(1));
    let hosts = site.join_rack(0, 10);
    let newcomer = Host::at(0, 99);
    let _peer = site.connect(&newcomer);
    let mut left = 1_000_000;
    wait_for("their connection to be seen", || {
        left -= 1;
        let told = site.announce(&newcomer, &format!("left={left}"));
        (!told.contains(&site.origin())).then_some(())
    });
    wait_for("it to be said that they get nothing", || {
        hosts.iter().for_each(|host| drop(site.announce(host, "left=1024")));
        // It has got something each time, and so is in no need itself.
        left -= 1;
        site.announce(&newcomer, &format!("left={left}")).contains(&site.origin()).then_some(())
    });
    wait_for("all to be gateways", || (site.gateways(0).len() >= hosts.len()).then_some(()));
}

#[test]
fn everybody_is_told_of_an_origin_that_dials_nobody() {
    let site = Site::with(&table(1), |setup| setup.flag("--no-dial"));
    let hosts = site.join_rack(0, 12);
    assert!(site.announce(&hosts[11], "left=1024").contains(&site.origin()));
}

/// The line that says that another has taken the place of a gateway for this reason, and that the API shows it.
#[track_caller]
fn assert_replaced(site: &Site, old: &Host, new: &Host, reason: &str) {
    let words = [format!("reason=\"{reason}\""), format!("old={}", old.addr), format!("new={}", new.addr)];
    let line = wait_for("the line that tells of it", || {
        let lines = site.server.told("a gateway is replaced");
        lines.into_iter().find(|line| words.iter().all(|word| line.contains(word)))
    });
    assert!(line.contains("place=dc1/row0/rack1"), "{line}");
    assert!(site.gateways(1).contains(&new.addr), "{:?}", site.gateways(1));
    let count = format!("distributor_gateways_replaced_total{{reason=\"{reason}\"}}");
    assert_eq!(site.server.metric(&count), 1);
}

#[test]
fn a_gateway_that_says_that_it_stops_is_replaced() {
    let site = Site::with_places(&table(2));
    let hosts = site.join_rack(1, 10);
    site.announce(&hosts[2], "left=1024&event=stopped");
    assert_replaced(&site, &hosts[2], &hosts[GATEWAYS], "stopped");
    assert!(!site.gateways(1).contains(&hosts[2].addr));
}

#[test]
fn a_gateway_that_refuses_to_be_dialled_is_replaced() {
    let site = Site::with_places(&table(2));
    let mut hosts = site.join_rack(1, 10);
    hosts[3].close();
    assert_replaced(&site, &hosts[3], &hosts[GATEWAYS], "vanished");
    assert!(!site.gateways(1).contains(&hosts[3].addr));
}

#[test]
fn a_gateway_that_gets_nothing_is_replaced_and_helped() {
    let site = Site::with_places(&table(2));
    let hosts = site.join_rack(1, 10);
    wait_for("it to have said so long enough", || {
        site.announce(&hosts[4], "left=1024");
        site.server.has_logged("a gateway is replaced").then_some(())
    });
    wait_for("it to be one again beside the other", || (site.gateways(1).len() > GATEWAYS).then_some(()));
    assert!(site.gateways(1).contains(&hosts[4].addr));
    assert_replaced(&site, &hosts[4], &hosts[GATEWAYS], "stalled");
}

#[test]
fn far_ones_are_named_too_where_nobody_said_where_hosts_are() {
    const ANNOUNCES: usize = 20;
    let site = Site::with_places("");
    let [hosts, _far] = [0, 1].map(|rack| site.join_rack(rack, 110));
    let near: usize = (0..ANNOUNCES)
        .map(|_| {
            let told = site.announce(&hosts[0], "left=1024&numwant=50");
            let peers: Vec<_> = told.iter().filter(|peer| **peer != site.origin()).collect();
            assert_eq!(peers.len(), 49, "the origin goes first");
            peers.iter().filter(|peer| rack(peer) == 0).count()
        })
        .sum();
    // By chance alone 24 or 25 would be; of twice as many for half of the places, 35 or so are.
    assert!((30 * ANNOUNCES..40 * ANNOUNCES).contains(&near), "{near} of {ANNOUNCES} times 49 are near");
    assert!(site.gateways(0).is_empty(), "nothing is kept from anybody");
}

#[test]
fn a_hangup_moves_hosts_to_where_the_file_says_they_are() {
    let site = Site::with_places("");
    let hosts = site.join_rack(0, 12);
    let others = site.join_rack(1, 12);
    let told = site.announce(&hosts[11], "left=1024");
    assert!(others.iter().all(|other| told.contains(&other.addr)), "{told:?}");

    site.write_places(&table(2));
    site.server.signal(Signal::HUP);
    // None of them has to announce itself for it.
    wait_for("the file to be read", || {
        [0, 1].iter().all(|rack| site.gateways(*rack).len() == GATEWAYS).then_some(())
    });
    let gateways = site.gateways(0);
    let asker = hosts.iter().find(|host| !gateways.contains(&host.addr)).expect("there are more hosts");
    let neighbours: Vec<&Host> = hosts.iter().filter(|host| host.addr != asker.addr).collect();
    let mut told = site.announce(asker, "left=1024");
    told.retain(|peer| *peer != site.origin());
    assert_told(&told, &neighbours);
}

#[test]
fn places_are_told_page_by_page_with_what_their_hosts_say() {
    let site = Site::with_places(&table(3));
    for rack in 0..3 {
        let hosts = site.join_rack(rack, 2);
        site.announce(&hosts[0], "left=512&downloaded=512&uploaded=256");
        site.announce(&hosts[1], "left=0&downloaded=1024&uploaded=0");
    }
    let mut places = Vec::new();
    let mut target = Some("/api/v1/topology?limit=2".to_owned());
    while let Some(page) = target.map(|target| site.get(&target)) {
        let page_of = page["places"].as_array().expect("a list");
        assert!(page_of.len() <= 2);
        places.extend(page_of.iter().cloned());
        target = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(places.len(), 3);
    for (rack, place) in places.iter().enumerate() {
        let expected = [
            ("place", json!(format!("dc1/row{}/rack{rack}", rack / 2))),
            ("name", json!("file")),
            ("basis", json!("table")),
            ("hosts", json!(2)),
            ("downloaders", json!(1)),
            ("seeds", json!(1)),
            ("progress", json!(0.75)),
            ("downloaded", json!(1536)),
            ("uploaded", json!(256)),
            ("copies_entered_at_least", json!(1.25)),
            ("copies_from_origin", json!(0.0)),
            ("origin_copies", json!(0.0)),
        ];
        for (key, value) in expected {
            assert_eq!(place[key], value, "{key} of {place}");
        }
        assert_eq!(place["gateways"].as_array().map(Vec::len), Some(2));
    }
    assert_eq!(site.get(&format!("/api/v1/topology?info_hash={}", "00".repeat(20)))["places"], json!([]));
    site.server.get("/api/v1/topology?after=rack7").expect_sentence(400);

    let sample = |name: &str, expected: u64| {
        wait_for(name, || (site.server.metric(name) == expected).then_some(()));
    };
    sample("distributor_steered_hosts", 6);
    sample("distributor_places", 3);
    sample("distributor_gateways", 6);
}

/// Who is connected to the origin is told with its place.
#[test]
fn peers_are_told_with_their_places() {
    let site = Site::with_places(&table(1));
    let _peer = site.connect(&Host::at(0, 1));
    let peers = wait_for("it to be there", || {
        let peers: Value = site.get("/api/v1/peers")["peers"].clone();
        (peers.as_array()?.len() == 1).then_some(peers)
    });
    assert_eq!(peers[0]["place"], json!("dc1/row0/rack0"));
    assert_eq!(peers[0]["gateway"], json!(false), "it has not announced itself");
}
