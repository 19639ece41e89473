use super::*;

fn topology(networks: &[(&str, &str)]) -> Topology {
    builder(networks).build()
}

fn builder(networks: &[(&str, &str)]) -> TopologyBuilder {
    let mut builder = TopologyBuilder::default();
    for (network, at) in networks {
        builder.add(network.parse().unwrap(), &at.parse().unwrap()).unwrap();
    }
    builder
}

fn located(topology: &Topology, ip: &str) -> (String, String, Basis) {
    let Location { place, network, basis } = topology.locate(ip.parse().unwrap());
    (topology.written(place), network.to_string(), basis)
}

fn place(topology: &Topology, ip: &str) -> Place {
    topology.place_of(ip.parse().unwrap())
}

const SITE: [(&str, &str); 7] = [
    ("10.1.0.0/16", "dc1"),
    ("10.1.7.0/24", "dc1/row3/rack7"),
    ("10.1.8.0/24", "dc1/row3/rack8"),
    ("10.1.9.0/24", "dc1/row4/rack7"),
    ("10.1.9.9/32", "dc2/row3/rack7"),
    ("fd00:1:7::/48", "dc1/row3/rack7"),
    ("fd00:1::/32", "dc1"),
];

#[test]
fn the_longest_prefix_of_the_table_says_where_an_address_is() {
    let site = topology(&SITE);
    for (ip, at, network) in [
        ("10.1.7.1", "dc1/row3/rack7", "10.1.7.0/24"),
        ("::ffff:10.1.7.1", "dc1/row3/rack7", "10.1.7.0/24"),
        ("10.1.200.1", "dc1", "10.1.0.0/16"),
        ("10.1.9.8", "dc1/row4/rack7", "10.1.9.0/24"),
        ("10.1.9.9", "dc2/row3/rack7", "10.1.9.9/32"),
        ("fd00:1:7::1", "dc1/row3/rack7", "fd00:1:7::/48"),
        ("fd00:1:8::1", "dc1", "fd00:1::/32"),
    ] {
        assert_eq!(located(&site, ip), (at.to_owned(), network.to_owned(), Basis::Table), "{ip}");
    }
}

#[test]
fn networks_of_one_name_are_one_place() {
    let site = topology(&SITE);
    assert_eq!(place(&site, "10.1.7.1"), place(&site, "fd00:1:7::1"));
    assert_ne!(place(&site, "10.1.7.1"), place(&site, "10.1.9.1"), "racks of one name in rows of their own");
}

#[test]
fn what_the_table_lacks_is_in_a_network_of_the_size_that_was_said_or_else_guessed() {
    let found = |topology: &Topology, ip| (located(topology, ip).1, located(topology, ip).2);
    let guessed = topology(&SITE);
    assert_eq!(found(&guessed, "10.2.3.4"), ("10.2.3.0/24".to_owned(), Basis::Guess));
    assert_eq!(found(&guessed, "fd00:2::1"), ("fd00:2::/64".to_owned(), Basis::Guess));
    let mut builder = builder(&SITE);
    builder.rack_prefix_v4(26);
    let half = builder.clone().build();
    assert_eq!(found(&half, "10.2.3.70"), ("10.2.3.64/26".to_owned(), Basis::Prefix));
    assert_eq!(
        found(&half, "10.1.7.70"),
        ("10.1.7.0/24".to_owned(), Basis::Table),
        "a prefix divides no table"
    );
    assert_eq!(found(&half, "fd00:2::1").1, Basis::Guess);
    builder.rack_prefix_v6(129);
    assert_eq!(found(&builder.build(), "fd00:2::1"), ("fd00:2::1/128".to_owned(), Basis::Prefix));
    let nothing = Topology::default();
    assert_eq!(found(&nothing, "10.2.3.4"), ("10.2.3.0/24".to_owned(), Basis::Guess));
    assert_eq!(nothing.written(place(&nothing, "10.2.3.4")), "10.2.3.0/24");
}

#[test]
fn a_place_is_asked_for_what_it_lies_in_from_itself_to_the_widest() {
    let site = topology(&SITE);
    let around = |ip| site.ancestors(place(&site, ip)).map(|place| site.written(place)).collect::<Vec<_>>();
    assert_eq!(around("10.1.7.1"), ["dc1/row3/rack7", "dc1/row3", "dc1"]);
    assert_eq!(around("10.1.200.1"), ["dc1"]);
    assert_eq!(around("10.2.3.4"), ["10.2.3.0/24"]);
}

#[test]
fn the_distance_is_how_far_the_deeper_climbs_to_what_both_lie_in() {
    let site = topology(&SITE);
    let distance = |a, b| {
        let (a, b) = (place(&site, a), place(&site, b));
        assert_eq!(site.distance(a, b), site.distance(b, a));
        site.distance(a, b)
    };
    let rack = "10.1.7.1";
    assert_eq!(distance(rack, "10.1.7.2"), 0);
    assert_eq!(distance(rack, "10.1.8.1"), 1, "racks of one row");
    assert_eq!(distance(rack, "10.1.9.1"), 2, "rows of one centre");
    assert_eq!(distance(rack, "10.1.9.9"), 3, "centres");
    assert_eq!(distance(rack, "10.1.200.1"), 2, "the centre, and nothing closer is known");
    assert_eq!(distance(rack, "10.2.3.4"), 3, "somewhere else");
    assert_eq!(distance("10.2.3.4", "10.2.3.5"), 0);
    assert_eq!(distance("10.2.3.4", "10.2.4.4"), 1);
}

#[test]
fn a_network_is_at_one_place() {
    let mut builder = builder(&SITE);
    for network in ["10.1.7.0/24", "::ffff:10.1.7.0/120"] {
        let refused = builder.add(network.parse().unwrap(), &"dc9".parse().unwrap()).unwrap_err();
        assert_eq!(
            refused,
            TopologyError::Duplicate {
                network: "10.1.7.0/24".parse().unwrap(),
                at: "dc1/row3/rack7".to_owned()
            }
        );
    }
    assert_eq!(builder.build(), topology(&SITE), "what was refused left nothing behind");
}

#[test]
fn a_table_is_bounded_and_a_full_one_finds_every_address() {
    let mut builder = TopologyBuilder::default();
    let network = |n: u32| Network::around(std::net::Ipv4Addr::from_bits(n << 12).into(), 20);
    let name = |n: u32| format!("dc{}/row{}/rack{n}", n >> 15, n >> 6).parse::<PlaceName>().unwrap();
    let count = u32::try_from(MAX_NETWORKS).unwrap();
    for n in 0..count {
        builder.add(network(n), &name(n)).unwrap();
    }
    assert_eq!(builder.add(network(count), &name(count)), Err(TopologyError::TooManyNetworks));
    assert!(matches!(builder.add(network(1), &name(1)), Err(TopologyError::Duplicate { .. })));
    let full = builder.build();
    for n in (0..count).step_by(97) {
        let place = full.place_of(network(n).first());
        assert!(full.written(place).ends_with(&format!("/rack{n}")));
        assert_eq!(full.ancestors(place).count(), 3);
    }
    assert_eq!(full.locate(network(count).first()).basis, Basis::Guess);
}
