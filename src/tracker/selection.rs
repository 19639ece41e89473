//! Which peers an asker is given: a pure function of the swarm, the asker, the time and chance. Whom it is better told
//! of, others may know; who may be told of at all is judged here.

use std::net::{IpAddr, SocketAddr};

use distributor_proto::{PeerAddr, PeerId};
use rand::{Rng, RngExt};

use super::address::Address;
use super::clock::Seconds;
use super::swarm::Swarm;
use super::table::{Entries, Face, Peer, Pool, Table};
use super::{Choice, Families, MAX_NUMWANT, Whom};
use crate::topology::{GUESSED_RACK_PREFIX_V4, GUESSED_RACK_PREFIX_V6, Network};

/// How many peers are passed over that can't be given before a search ends: those that expired, until the next sweep,
/// and the asker itself. So an answer takes as long as it is, however large the swarm.
const MAX_PASSED_OVER: usize = 4096;

/// In a swarm of so many peers or fewer an answer holds a good part of them, near ones and others, as chance has it.
const FEW: usize = MAX_NUMWANT;

/// Who is to be told of others.
pub(super) struct Asker<'a> {
    pub(super) addr: SocketAddr,
    pub(super) id: PeerId,
    /// The digest of its key; 0 for one that has none.
    pub(super) key: u32,
    pub(super) wants_seeds: bool,
    /// Whether it is told under which ids they are.
    pub(super) wants_ids: bool,
    /// Of whom it is to be told.
    pub(super) choice: Choice<'a>,
}

impl Asker<'_> {
    /// Whether a peer that is known may be given to it.
    fn may_be_given(&self, peer: &Peer, now: Seconds) -> bool {
        let (ip, own) = (peer.addr.ip(), self.addr.ip());
        let is_asker = peer.addr == self.addr || peer.is(&self.id, self.key);
        !is_asker
            && !peer.is_expired(now)
            && self.choice.families.introduce(ip, own)
            && (self.wants_seeds || !peer.is_seed)
    }

    fn is_told(&self, addr: SocketAddr, id: impl FnOnce() -> PeerId) -> PeerAddr {
        PeerAddr { addr, id: self.wants_ids.then(id) }
    }
}

/// Adds those of whom the asker is to be told, or else peers drawn at random, to `chosen`, until it holds `enough` or
/// there are no more: never the asker itself, be it at another of its addresses, nor one that expired. Of those that are
/// drawn, peers of the asker's own address family come first, since it is known to have that. One that has no use for
/// seeds is given downloaders only: two seeds have nothing to say to each other.
pub(super) fn choose(
    swarm: &Swarm,
    asker: &Asker<'_>,
    enough: usize,
    now: Seconds,
    rng: &mut impl Rng,
    chosen: &mut Vec<PeerAddr>,
) {
    if let Whom::These(addrs) = asker.choice.whom {
        for addr in addrs {
            if chosen.len() >= enough {
                return;
            }
            let peer = swarm.get(*addr).filter(|peer| asker.may_be_given(peer, now));
            if let Some(peer) = peer.filter(|peer| chosen.iter().all(|other| other.addr != peer.addr)) {
                chosen.push(asker.is_told(peer.addr, || peer.id));
            }
        }
        return;
    }
    let is_both = asker.choice.families == Families::Both;
    if asker.addr.is_ipv4() {
        draw(&swarm.v4, asker, enough, now, rng, chosen);
        if is_both {
            draw(&swarm.v6, asker, enough, now, rng, chosen);
        }
    } else {
        draw(&swarm.v6, asker, enough, now, rng, chosen);
        if is_both {
            draw(&swarm.v4, asker, enough, now, rng, chosen);
        }
    }
}

/// Nobody of the table is among `chosen` yet.
fn draw<A: Address>(
    table: &Table<A>,
    asker: &Asker<'_>,
    enough: usize,
    now: Seconds,
    rng: &mut impl Rng,
    chosen: &mut Vec<PeerAddr>,
) {
    let pools = Pools::of(table, asker);
    let wanted = enough.saturating_sub(chosen.len()).min(pools.len());
    if wanted == 0 {
        return;
    }
    chosen.reserve(wanted);
    let own = A::of(asker.addr);
    let is_asker = |peer: &Drawn<'_, A>| {
        own == Some(peer.face.place()) || peer.face.may_be(asker.key) && peer.id() == asker.id
    };
    let begin = chosen.len();
    // In a large swarm half an answer is those who seem nearest among twice as many: networks are often racks. No more,
    // for often they are not, and all hosts of one would know nobody else.
    let spare = if pools.len() > FEW { wanted / 2 } else { 0 };
    let drawn = Walk::new(pools.len(), rng)
        .take(wanted + spare + MAX_PASSED_OVER)
        .filter_map(|place| pools.get(place));
    let enough = begin + wanted + spare;
    for peer in drawn.filter(|peer| !peer.face.is_expired(now) && !is_asker(peer)) {
        chosen.push(asker.is_told(peer.face.addr(), || peer.id()));
        if chosen.len() >= enough {
            break;
        }
    }
    if spare > 0 {
        let by_chance = begin + wanted - spare;
        if let Some(others) = chosen.get_mut(by_chance..) {
            others.sort_unstable_by_key(|peer| !seems_near(peer.addr.ip(), asker.addr.ip()));
        }
        chosen.truncate(begin + wanted);
    }
}

/// Whether two addresses are in one network of the size that racks are taken to have where nobody said where hosts are.
fn seems_near(one: IpAddr, other: IpAddr) -> bool {
    let network = |ip: IpAddr| {
        let bits = if ip.is_ipv4() { GUESSED_RACK_PREFIX_V4 } else { GUESSED_RACK_PREFIX_V6 };
        Network::around(ip, bits)
    };
    one.is_ipv4() == other.is_ipv4() && network(one) == network(other)
}

/// The pools of a table that an asker is given peers of, drawn from as if they were one.
struct Pools<'a, A> {
    /// Each with its length; those that it isn't given any of have none.
    pools: [(&'a Entries<A>, usize); Pool::ALL.len()],
}

impl<'a, A: Address> Pools<'a, A> {
    fn of(table: &'a Table<A>, asker: &Asker<'_>) -> Self {
        let is_asked = |pool: Pool| {
            (asker.wants_seeds || !pool.seeds) && (asker.addr.ip().is_loopback() || !pool.loopback)
        };
        let pools = Pool::ALL.map(|pool| {
            let entries = table.pool(pool);
            (entries, if is_asked(pool) { entries.len() } else { 0 })
        });
        Self { pools }
    }

    fn len(&self) -> usize {
        self.pools.iter().map(|(_, len)| len).sum()
    }

    fn get(&self, mut place: usize) -> Option<Drawn<'a, A>> {
        for &(entries, len) in &self.pools {
            match place.checked_sub(len) {
                None => return Some(Drawn { face: entries.get(place)?, entries, index: place }),
                Some(beyond) => place = beyond,
            }
        }
        None
    }
}

/// One of a pool.
struct Drawn<'a, A> {
    face: &'a Face<A>,
    entries: &'a Entries<A>,
    index: usize,
}

impl<A: Address> Drawn<'_, A> {
    /// Looked up where it is wanted: it lies elsewhere.
    fn id(&self) -> PeerId {
        self.entries.rest(self.index).id
    }
}

/// Every place of a table once, in strides of a length that chance sets. All places are as likely to come early as any
/// other. Not so all sets of places; but no two are together more often than others, as neighbours are where one walks
/// step by step. A sample that is fair to sets would have to remember where it was.
struct Walk {
    place: usize,
    stride: usize,
    len: usize,
    left: usize,
}

impl Walk {
    fn new(len: usize, rng: &mut impl Rng) -> Self {
        if len < 2 {
            return Self { place: 0, stride: 0, len, left: len };
        }
        let place = rng.random_range(0..len);
        // With a common divisor it would come back to its start too soon. Six in ten are without one, and 1 always is.
        let stride = loop {
            let stride = rng.random_range(1..len);
            if gcd(stride, len) == 1 {
                break stride;
            }
        };
        Self { place, stride, len, left: len }
    }
}

impl Iterator for Walk {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.place;
        // Both are less than the length, and a division would take longer than all else here.
        let next = place + self.stride;
        self.place = if next < self.len { next } else { next - self.len };
        Some(place)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::census::Census;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use std::collections::HashSet;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const NOW: Seconds = Seconds::new(100);

    fn peer(addr: SocketAddr, is_seed: bool) -> Peer {
        let id = PeerId::new([1; 20]);
        Peer { addr, id, key: 1, announced: NOW, patience: 1, is_seed }
    }

    fn swarm(peers: impl IntoIterator<Item = (SocketAddr, bool)>) -> Swarm {
        let (mut swarm, census) = (Swarm::new(NOW), Census::default());
        for ((addr, is_seed), n) in peers.into_iter().zip(2..) {
            let peer = Peer { key: n, ..peer(addr, is_seed) };
            swarm.announced(&peer, false, &census);
        }
        swarm
    }

    fn choose(
        swarm: &Swarm,
        asker: &str,
        families: Families,
        want: usize,
        now: Seconds,
        rng: &mut impl Rng,
    ) -> Vec<SocketAddr> {
        choose_of(swarm, asker, Choice { families, whom: Whom::ByChance }, want, now, rng)
    }

    fn choose_of(
        swarm: &Swarm,
        asker: &str,
        choice: Choice<'_>,
        want: usize,
        now: Seconds,
        rng: &mut impl Rng,
    ) -> Vec<SocketAddr> {
        let asker = Asker {
            addr: addr(asker),
            id: PeerId::new([1; 20]),
            key: 1,
            wants_seeds: true,
            wants_ids: true,
            choice,
        };
        let mut chosen = Vec::new();
        super::choose(swarm, &asker, want, now, rng, &mut chosen);
        chosen.into_iter().map(|peer| peer.addr).collect()
    }

    #[test]
    fn gives_those_of_whom_the_asker_is_to_be_told_and_nobody_else() {
        let swarm = swarm((1..=9).map(|n| (SocketAddr::from(([10, 0, 0, n], 1)), false)));
        let mut rng = SmallRng::seed_from_u64(1);
        let these = ["10.0.0.7:1", "10.0.0.3:1", "10.0.0.7:1", "10.0.0.8:2", "10.0.0.9:1"].map(addr);
        let choice = Choice { families: Families::Both, whom: Whom::These(&these) };
        let mut given = |want| choose_of(&swarm, "10.0.0.9:1", choice, want, NOW, &mut rng);
        let they = ["10.0.0.7:1", "10.0.0.3:1"].map(addr);
        assert_eq!(given(5), they, "nobody twice, nobody who isn't there, and not the asker");
        assert_eq!(given(1), they[..1]);
    }

    #[test]
    fn walks_every_place_once_whatever_the_length() {
        let mut rng = SmallRng::seed_from_u64(1);
        for len in (0..200).chain([1 << 10, 2 * 3 * 5 * 7 * 11 * 13]) {
            let mut places: Vec<usize> = Walk::new(len, &mut rng).collect();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..len), "{len}");
        }
    }

    #[test]
    fn is_as_likely_to_draw_one_peer_as_another() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut drawn = [0_u32; 60];
        for _ in 0..60_000 {
            Walk::new(60, &mut rng).take(6).for_each(|place| drawn[place] += 1);
        }
        // 6,000 each, give or take; the deviation to be expected is 73.
        assert!(drawn.iter().all(|count| (5_600..6_400).contains(count)), "{drawn:?}");
    }

    #[test]
    fn draws_every_peer_sooner_or_later_and_none_twice() {
        let all: Vec<SocketAddr> = (0..100).map(|n| SocketAddr::from(([10, 0, 0, n], 6881))).collect();
        let swarm = swarm(all.iter().map(|addr| (*addr, addr.ip().to_string().ends_with('5'))));
        let mut rng = SmallRng::seed_from_u64(1);
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let drawn = choose(&swarm, "10.0.0.0:6881", Families::Both, 10, NOW, &mut rng);
            assert_eq!(drawn.len(), 10);
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 10);
            seen.extend(drawn);
        }
        assert_eq!(seen.len(), 99);
        assert!(!seen.contains(&all[0]));
    }

    #[test]
    fn finds_the_last_peer_that_has_not_expired() {
        let mut swarm = swarm((0..200).map(|n| (SocketAddr::from(([10, 0, 0, n], 6881)), false)));
        let later = Seconds::new(105);
        let alive = Peer { announced: later, key: 9, ..peer(addr("10.0.0.77:6881"), false) };
        swarm.announced(&alive, false, &Census::default());
        let mut rng = SmallRng::seed_from_u64(1);
        let drawn = choose(&swarm, "10.0.1.1:6881", Families::Both, 5, later, &mut rng);
        assert_eq!(drawn, [addr("10.0.0.77:6881")]);
    }

    #[test]
    fn looks_at_no_more_peers_than_it_may() {
        let hosts = (0..2 * MAX_PASSED_OVER as u32).map(|n| std::net::Ipv4Addr::from(0x0a01_0000 + n));
        let mut swarm = swarm(hosts.map(|ip| (SocketAddr::from((ip, 1)), false)));
        let later = Seconds::new(105);
        let mut rng = SmallRng::seed_from_u64(1);
        let alive = Peer { announced: later, key: 9, ..peer(addr("10.0.0.77:1"), false) };
        swarm.announced(&alive, false, &Census::default());
        let found =
            (0..200).filter(|_| !choose(&swarm, "10.0.0.1:1", Families::Both, 1, later, &mut rng).is_empty());
        assert!((50..150).contains(&found.count()), "it gets about half way through");
    }

    #[test]
    fn prefers_those_who_seem_near_in_a_large_swarm_and_keeps_nobody_from_the_others() {
        let in_networks = |networks: u32, hosts: u32| {
            let hosts =
                (0..networks * hosts).map(move |n| [10, 0, (n % networks) as u8, (n / networks) as u8]);
            swarm(hosts.map(|ip| (SocketAddr::from((ip, 6881)), false)))
        };
        let mut rng = SmallRng::seed_from_u64(1);
        let mut near = |swarm: &Swarm| {
            let drawn = choose(swarm, "10.0.0.255:6881", Families::Both, 50, NOW, &mut rng);
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 50);
            drawn.iter().filter(|peer| seems_near(peer.ip(), [10, 0, 0, 255].into())).count()
        };
        // By chance a tenth of each half, and a tenth of as many again.
        let (many, few) = (in_networks(10, 100), in_networks(10, 20));
        let in_many: usize = (0..1000).map(|_| near(&many)).sum();
        assert!((7_000..8_000).contains(&in_many), "about 7.5 each, not {in_many} in all");
        let in_few: usize = (0..1000).map(|_| near(&few)).sum();
        assert!((4_500..5_500).contains(&in_few), "about 5 each, not {in_few} in all");
        let two = in_networks(2, 200);
        assert!((0..1000).all(|_| near(&two) < 50), "never nobody but those");
    }

    #[test]
    fn tells_nobody_of_itself_at_another_of_its_addresses() {
        let swarm = swarm([(addr("[2001:db8::1]:1"), false)]);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut draw = |key| {
            let id = PeerId::new([1; 20]);
            let choice = Choice { families: Families::Both, whom: Whom::ByChance };
            let asker =
                Asker { addr: addr("10.0.0.9:1"), id, key, wants_seeds: true, wants_ids: true, choice };
            let mut chosen = Vec::new();
            super::choose(&swarm, &asker, 9, NOW, &mut rng, &mut chosen);
            chosen.len()
        };
        assert_eq!([draw(2), draw(3)], [0, 1]);
    }

    #[test]
    fn prefers_the_family_of_the_asker_and_fills_up_with_the_other() {
        let swarm = swarm([
            (addr("10.0.0.1:1"), false),
            (addr("[2001:db8::1]:1"), false),
            (addr("[2001:db8::2]:1"), false),
        ]);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut draw = |asker, want| choose(&swarm, asker, Families::Both, want, NOW, &mut rng);
        assert_eq!(draw("10.0.0.9:1", 1), [addr("10.0.0.1:1")]);
        assert_eq!(draw("10.0.0.9:1", 9).len(), 3);
        let drawn = draw("[2001:db8::9]:1", 2);
        assert_eq!(drawn.len(), 2);
        assert!(drawn.iter().all(SocketAddr::is_ipv6));
    }

    #[test]
    fn names_no_peer_of_a_family_that_the_answer_has_no_place_for() {
        let swarm = swarm([(addr("10.0.0.1:1"), false), (addr("[2001:db8::1]:1"), true)]);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut draw = |asker| choose(&swarm, asker, Families::Own, 9, NOW, &mut rng);
        assert_eq!(draw("10.0.0.9:1"), [addr("10.0.0.1:1")]);
        assert_eq!(draw("[2001:db8::9]:1"), [addr("[2001:db8::1]:1")]);
    }

    #[test]
    fn gives_loopback_peers_to_loopback_askers_only() {
        let swarm = swarm([(addr("127.0.0.1:1"), false)]);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut draw = |asker| choose(&swarm, asker, Families::Both, 9, NOW, &mut rng);
        assert!(draw("10.0.0.1:1").is_empty());
        assert_eq!(draw("127.0.0.1:2").len(), 1);
    }
}
