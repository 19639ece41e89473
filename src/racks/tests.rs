//! Racks as those meet them who announce, and whoever looks at them every second.

use std::collections::HashSet;
use std::time::Duration;

use distributor_proto::PeerFormat;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::swarm::{MAX_AT_ADDRESS, MAX_GATEWAYS_LOOKED_AT};
use super::*;
use crate::steering::STALL;
use crate::topology::TopologyBuilder;

const TORRENT: InfoHash = InfoHash::new([7; 20]);
const LEN: u64 = 1000;

/// 10.1.R.0/24 is rack R of one of two rows, for R up to 9.
fn table() -> Arc<Topology> {
    let mut table = TopologyBuilder::default();
    for rack in 0..10 {
        let (network, row) = (format!("10.1.{rack}.0/24"), rack / 5);
        table.add(network.parse().unwrap(), &format!("dc1/row{row}/rack{rack}").parse().unwrap()).unwrap();
    }
    Arc::new(table.build())
}

fn host(rack: u8, n: u8) -> SocketAddr {
    ([10, 1, rack, n], 6881).into()
}

fn id(addr: SocketAddr) -> PeerId {
    let mut id = [0; 20];
    let text = addr.to_string();
    id[..text.len().min(20)].copy_from_slice(&text.as_bytes()[..text.len().min(20)]);
    PeerId::new(id)
}

fn rack_of(addr: &SocketAddr) -> u8 {
    match addr.ip() {
        IpAddr::V4(ip) => ip.octets()[2],
        IpAddr::V6(_) => panic!("a v6 host in a v4 swarm"),
    }
}

struct Room {
    racks: Racks,
    now: Instant,
    rng: SmallRng,
    /// Whom the tracker knows no more.
    lost: HashSet<SocketAddr>,
}

impl Room {
    fn new(topology: &Arc<Topology>) -> Self {
        let rng = SmallRng::seed_from_u64(1);
        Self {
            racks: Racks::new(SuperSeeding::Off, topology),
            now: Instant::now(),
            rng,
            lost: HashSet::new(),
        }
    }

    /// With so many hosts in each of some racks.
    fn filled(racks: u8, hosts: u8) -> Self {
        let mut room = Self::new(&table());
        for rack in 0..racks {
            (1..=hosts).for_each(|n| drop(room.announce(host(rack, n), LEN)));
        }
        room
    }

    fn announce(&mut self, addr: SocketAddr, left: u64) -> Advice {
        self.announce_as(addr, left, AnnounceEvent::Periodic, 50)
    }

    fn announce_as(&mut self, addr: SocketAddr, left: u64, event: AnnounceEvent, enough: usize) -> Advice {
        let request = AnnounceRequest {
            info_hash: TORRENT,
            peer_id: id(addr),
            port: addr.port(),
            uploaded: 0,
            downloaded: LEN - left,
            left: Some(left),
            event,
            numwant: None,
            key: None,
            format: PeerFormat::Compact,
        };
        self.racks.announced(&request, addr, enough, |_| true, self.now, &mut self.rng)
    }

    fn stop(&mut self, addr: SocketAddr) {
        self.announce_as(addr, LEN, AnnounceEvent::Stopped, 0);
    }

    fn review(&mut self) -> Reviewed {
        self.review_with(&[])
    }

    fn review_with(&mut self, sights: &[Sight]) -> Reviewed {
        let sights = HashMap::from([(TORRENT, sights.to_vec())]);
        self.racks.review(&sights, true, |_, addr| !self.lost.contains(&addr), self.now)
    }

    /// The origin is connected to this host alone.
    fn connect(&mut self, addr: SocketAddr) -> Reviewed {
        self.review_with(&[Sight { ip: addr.ip(), id: id(addr), seen: Seen::default() }])
    }

    fn gateways(&self, rack: u8) -> Vec<SocketAddr> {
        let places = self.racks.places(None, None, 100);
        let of_rack = |place: &&PlaceReport| place.hosts.iter().any(|host| rack_of(&host.addr) == rack);
        let place = places.iter().find(of_rack);
        let hosts = place.into_iter().flat_map(|place| &place.hosts);
        hosts.filter(|host| host.is_gateway).map(|host| host.addr).collect()
    }
}

/// The hosts that one is told of whose place is known.
#[track_caller]
fn told(advice: &Advice) -> &[SocketAddr] {
    advice.peers.as_deref().expect("its place is known")
}

fn replacement(reviewed: &Reviewed) -> Vec<(SocketAddr, Option<SocketAddr>, Why)> {
    reviewed.replaced.iter().map(|replaced| (replaced.old, replaced.new, replaced.why)).collect()
}

#[test]
fn tells_a_gateway_of_its_rack_a_far_gateway_and_the_origin() {
    let mut room = Room::filled(4, 6);
    let advice = room.announce(host(1, 2), LEN);
    let peers = told(&advice);
    assert_eq!((peers.iter().filter(|addr| rack_of(addr) != 1).count(), peers.len()), (1, 6));
    assert!(advice.origin);
}

#[test]
fn tells_others_of_their_rack_alone_while_a_gateway_makes_progress() {
    let mut room = Room::filled(4, 20);
    room.connect(host(1, 15));
    let advice = room.announce(host(1, 15), LEN);
    assert_eq!(told(&advice).len(), 19);
    assert!(told(&advice).iter().all(|addr| rack_of(addr) == 1));
    assert!(!advice.origin);

    // All of its gateways say that they get nothing, and so does nobody else.
    room.now += STALL;
    room.gateways(1).iter().for_each(|gateway| drop(room.announce(*gateway, LEN)));
    assert!(room.announce(host(1, 15), LEN / 2).origin);
    room.announce(host(1, 3), LEN / 2);
    assert!(!room.announce(host(1, 15), LEN / 3).origin, "one of them goes on");
    room.now += STALL;
    assert!(room.announce(host(1, 15), LEN / 3).origin, "it gets nothing from it");
}

#[test]
fn tells_of_the_origin_whomever_it_could_not_help() {
    let mut room = Room::filled(1, 20);
    assert!(room.announce(host(0, 15), LEN).origin, "it may not ask again for minutes");
    room.connect(host(0, 15));
    assert!(!room.announce(host(0, 15), LEN).origin);
    room.review();
    assert!(room.announce(host(0, 15), LEN).origin, "it is connected no more, and may not be dialled");

    let dialled = Seen { dialled: true, ..Seen::default() };
    room.review_with(&[Sight { ip: host(0, 15).ip(), id: id(host(0, 15)), seen: dialled }]);
    room.review();
    assert!(!room.announce(host(0, 15), LEN).origin, "it is dialled when it needs that");
}

#[test]
fn tells_one_that_cannot_be_dialled_of_the_origin_and_nobody_of_it() {
    let mut room = Room::filled(1, 20);
    let asker = SocketAddr::new(host(0, 99).ip(), 0);
    let advice = room.announce(asker, LEN);
    assert!(advice.origin && told(&advice).len() == 20);
    assert!(!told(&room.announce(host(0, 20), LEN)).contains(&asker));
}

#[test]
fn keeps_nothing_of_those_whose_place_is_a_guess_and_nothing_from_them() {
    let mut room = Room::new(&Arc::default());
    (1..=60).for_each(|n| drop(room.announce(host(1, n), LEN)));
    let advice = room.announce(host(1, 1), LEN);
    assert!(advice.peers.is_none() && advice.origin);
    assert_eq!(room.racks.hosts.load(Ordering::Relaxed), 0);
}

#[test]
fn tells_seeds_of_downloaders_alone() {
    let mut room = Room::filled(1, 4);
    room.announce(host(0, 1), 0);
    let advice = room.announce(host(0, 2), 0);
    assert_eq!(told(&advice).iter().copied().collect::<HashSet<_>>(), [3, 4].map(|n| host(0, n)).into());
}

#[test]
fn a_gateway_that_leaves_is_named_to_nobody_and_another_follows_it() {
    let mut room = Room::filled(2, 12);
    assert_eq!(room.gateways(0), (1..=8).map(|n| host(0, n)).collect::<Vec<_>>());
    room.stop(host(0, 3));
    assert!(!told(&room.announce(host(0, 1), LEN)).contains(&host(0, 3)));
    room.now += Duration::from_secs(1);
    room.lost.insert(host(0, 5));
    let reviewed = room.review();
    let expected =
        [(host(0, 3), Some(host(0, 9)), Why::Stopped), (host(0, 5), Some(host(0, 10)), Why::Vanished)];
    assert_eq!(replacement(&reviewed), expected);
    assert!(reviewed.replaced.iter().all(|replaced| replaced.place == "dc1/row0/rack0"));
    assert_eq!(reviewed.appointed, [(TORRENT, host(0, 9)), (TORRENT, host(0, 10))]);
    assert_eq!(reviewed.totals, Totals { hosts: 22, places: 2, gateways: 16 });
    assert!(room.review().replaced.is_empty());
}

#[test]
fn a_gateway_that_stalls_is_followed_by_one_that_does_not() {
    let mut room = Room::filled(1, 9);
    let sight = |n: u8, pieces| {
        let seen = Seen { pieces, ..Seen::default() };
        Sight { ip: host(0, n).ip(), id: id(host(0, n)), seen }
    };
    assert!(room.review_with(&[sight(2, 0), sight(3, 0)]).replaced.is_empty());
    room.now += STALL;
    let reviewed = room.review_with(&[sight(2, 0), sight(3, 1)]);
    assert_eq!(replacement(&reviewed), [(host(0, 2), Some(host(0, 9)), Why::Stalled)]);
    // Then it gets pieces, as it was shown some meanwhile; it is no gateway again for it.
    room.now += STALL;
    assert!(room.review_with(&[sight(2, 1), sight(3, 2)]).replaced.is_empty());
}

#[test]
fn whoever_gets_nothing_becomes_a_gateway_and_is_dialled() {
    let mut room = Room::filled(1, 9);
    room.now += STALL;
    room.announce(host(0, 9), LEN);
    let reviewed = room.review();
    assert_eq!(reviewed.appointed, [(TORRENT, host(0, 9))]);
    assert_eq!(room.gateways(0).len(), 9);
}

#[test]
fn a_connection_is_that_of_who_announced_by_its_id_or_else_of_the_only_one_there() {
    let mut room = Room::new(&table());
    let at = |port| SocketAddr::new(host(0, 1).ip(), port);
    room.announce(at(1), LEN);
    let gateway = |room: &Room, id| room.racks.standing_of(&TORRENT, host(0, 1).ip(), &id).1;
    let stranger = PeerId::new([9; 20]);
    assert!(gateway(&room, stranger));
    (2..=9).for_each(|port| drop(room.announce(at(port), LEN)));
    assert!(gateway(&room, id(at(8))) && !gateway(&room, id(at(9))) && !gateway(&room, stranger));
    assert_eq!(room.racks.standing_of(&TORRENT, host(3, 1).ip(), &stranger).0, "dc1/row0/rack3");
}

#[test]
fn another_topology_moves_those_who_are_there() {
    let mut rows = TopologyBuilder::default();
    rows.add("10.1.0.0/16".parse().unwrap(), &"dc1/row0".parse().unwrap()).unwrap();
    let mut room = Room::new(&Arc::new(rows.build()));
    for rack in 0..2 {
        (1..=12).for_each(|n| drop(room.announce(host(rack, n), LEN)));
    }
    room.racks.move_to(&table());
    // Eight of the one rack are gateways already, and only those.
    assert_eq!(room.connect(host(1, 12)).appointed.len(), 8);
    let advice = room.announce(host(1, 12), LEN);
    assert_eq!(told(&advice).len(), 11);
    assert!(!advice.origin && told(&advice).iter().all(|addr| rack_of(addr) == 1));

    // All in one rack, which has no more gateways than others.
    let mut one = TopologyBuilder::default();
    one.add("10.1.0.0/16".parse().unwrap(), &"dc1".parse().unwrap()).unwrap();
    room.racks.move_to(&Arc::new(one.build()));
    assert!(room.review().appointed.is_empty());
    assert_eq!((room.gateways(0).len(), room.racks.places(None, None, 9).len()), (8, 1));
    let advice = room.announce(host(1, 12), LEN);
    assert!(told(&advice).iter().any(|addr| rack_of(addr) == 0), "they are neighbours now");

    room.racks.move_to(&Arc::default());
    assert!(room.announce(host(1, 12), LEN).peers.is_none() && room.gateways(0).is_empty());
}

#[test]
fn those_from_before_a_restart_are_known_and_the_word_of_who_has_come_since_counts() {
    let mut room = Room::new(&table());
    room.announce(host(0, 1), LEN);
    for n in 1..=12 {
        room.racks.found(TORRENT, host(0, n), id(host(0, n)), true, room.now);
    }
    let places = room.racks.places(None, None, 9);
    let seeds = places[0].hosts.iter().filter(|host| host.is_seed).count();
    assert_eq!((places[0].hosts.len(), seeds), (12, 11));
}

#[test]
fn who_comes_when_there_are_as_many_as_may_be_is_told_of_others_by_chance() {
    let mut room = Room::new(&table());
    room.racks.max_hosts = 2;
    room.announce(host(0, 1), LEN);
    room.announce(host(0, 2), LEN);
    let advice = room.announce(host(0, 3), LEN);
    assert!(advice.peers.is_none() && advice.origin);
    assert_eq!(told(&room.announce(host(0, 1), LEN)), [host(0, 2)]);

    room.stop(host(0, 2));
    room.now += Duration::from_secs(1);
    room.lost.insert(host(0, 1));
    room.review();
    for n in [3, 4] {
        assert!(room.announce(host(0, n), LEN).peers.is_some(), "there is room again");
    }
    assert!(room.announce(host(0, 5), LEN).peers.is_none());
}

#[test]
fn nothing_is_left_of_those_who_are_gone() {
    let mut room = Room::filled(3, 12);
    for rack in 0..3 {
        (1..=12).for_each(|n| room.stop(host(rack, n)));
    }
    assert_eq!(room.review().totals, Totals::default());
    assert_eq!(room.racks.hosts.load(Ordering::Relaxed), 0);
    assert!(room.racks.shards.iter().all(|shard| lock(shard).swarms.is_empty()));
}

#[test]
fn places_come_page_by_page() {
    let room = Room::filled(5, 2);
    let mut seen = Vec::new();
    let mut after: Option<(InfoHash, String)> = None;
    loop {
        let page =
            room.racks.places(None, after.as_ref().map(|(info_hash, place)| (*info_hash, place.as_str())), 2);
        let Some(last) = page.last() else { break };
        after = Some((last.info_hash, last.place.clone()));
        seen.extend(page.into_iter().map(|report| report.place));
    }
    assert_eq!(seen, (0..5).map(|rack| format!("dc1/row0/rack{rack}")).collect::<Vec<_>>());
}

#[test]
fn no_address_takes_the_places_of_others() {
    let mut room = Room::new(&table());
    let at = |port| SocketAddr::new(host(0, 1).ip(), port);
    let last = MAX_AT_ADDRESS as u16;
    for port in 1..=last {
        assert!(room.announce(at(port), LEN).peers.is_some());
    }
    assert!(room.announce(at(last + 1), LEN).peers.is_none(), "it is told of others by chance");
    assert!(room.announce(at(last), LEN).peers.is_some() && room.announce(host(0, 2), LEN).peers.is_some());
    // The last is no gateway, whose place would be kept until another has taken it.
    room.stop(at(last));
    assert!(room.announce(at(last + 1), LEN).peers.is_some());
}

#[test]
fn those_who_go_together_are_forgotten_together() {
    let mut room = Room::filled(2, 200);
    room.announce_as(host(0, 100), LEN / 2, AnnounceEvent::Periodic, 0);
    room.now += Duration::from_secs(1);
    room.lost.extend((9..=200).map(|n| host(0, n)));
    assert_eq!(room.review().totals, Totals { hosts: 208, places: 2, gateways: 16 });
    let places = room.racks.places(None, None, 2);
    let left = places.iter().find(|place| place.hosts.len() == 8).expect("the gateways");
    assert_eq!(left.gone.downloaded, LEN / 2);
}

#[test]
fn where_all_are_gateways_few_of_them_are_looked_at() {
    let mut room = Room::filled(2, 200);
    room.now += STALL;
    (1..=200).for_each(|n| drop(room.announce(host(0, n), LEN)));
    room.review();
    assert_eq!(room.gateways(0).len(), 200);
    let shard = room.racks.shard(&TORRENT);
    let swarm = &shard.swarms[&TORRENT];
    let view = View { swarm, topology: &shard.topology };
    let gateways = |rack: &Rack| crate::steering::Racks::gateways(&view, *rack).len();
    assert!(swarm.racks.keys().all(|rack| gateways(rack) <= MAX_GATEWAYS_LOOKED_AT));
}
