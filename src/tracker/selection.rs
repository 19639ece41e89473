//! Which peers an asker is given: a pure function of the swarm, the asker, the time and chance.

use std::net::SocketAddr;
use std::time::Instant;

use distributor_proto::PeerAddr;
use rand::{Rng, RngExt};

use super::Families;
use super::swarm::{Peer, Peers, Swarm};

/// Who is to be told of others.
pub(super) struct Asker {
    pub(super) addr: SocketAddr,
    pub(super) wants_seeds: bool,
    /// Which peers it can be told of.
    pub(super) families: Families,
}

/// Adds peers drawn at random to `chosen`, until it holds `enough` or there are no more: never the asker itself nor one
/// that expired. Peers of the asker's own address family come first, since it is known to have that. One that has no
/// use for seeds is given downloaders only: two seeds have nothing to say to each other. Nobody but a peer on the
/// tracker's own host is given loopback addresses, which mean another host to everyone else.
pub(super) fn choose(
    swarm: &Swarm,
    asker: &Asker,
    enough: usize,
    now: Instant,
    rng: &mut impl Rng,
    chosen: &mut Vec<PeerAddr>,
) {
    let own = asker.addr;
    let fits = |addr: &SocketAddr| *addr != own && (own.ip().is_loopback() || !addr.ip().is_loopback());
    let families = match asker.families {
        Families::Own => 1,
        Families::Both => 2,
    };
    for family in swarm.families(own).into_iter().take(families) {
        let seeders = asker.wants_seeds.then_some(&family.seeders);
        let pools = Pools { first: &family.downloaders, second: seeders };
        let places = Walk::new(pools.len(), rng);
        let alive = places.filter_map(|place| pools.get(place)).filter(|(_, peer)| peer.expires > now);
        let fitting = alive.filter(|(addr, _)| fits(addr));
        let wanted = enough.saturating_sub(chosen.len());
        chosen.reserve(wanted.min(pools.len()));
        chosen.extend(fitting.take(wanted).map(|(addr, peer)| PeerAddr { addr: *addr, id: Some(peer.id) }));
    }
}

/// Two tables drawn from as if they were one.
struct Pools<'a> {
    first: &'a Peers,
    second: Option<&'a Peers>,
}

impl Pools<'_> {
    fn len(&self) -> usize {
        self.first.len() + self.second.map_or(0, Peers::len)
    }

    fn get(&self, place: usize) -> Option<(&SocketAddr, &Peer)> {
        match place.checked_sub(self.first.len()) {
            None => self.first.get_index(place),
            Some(place) => self.second?.get_index(place),
        }
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
    use distributor_proto::PeerId;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use std::collections::HashSet;
    use std::time::Duration;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn swarm(now: Instant, peers: impl IntoIterator<Item = (SocketAddr, bool)>) -> Swarm {
        let mut swarm = Swarm::new(now);
        for (addr, seeder) in peers {
            let peer = Peer { id: PeerId::new([1; 20]), expires: now + Duration::from_secs(1) };
            swarm.insert(addr, peer, seeder);
        }
        swarm
    }

    fn choose(
        swarm: &Swarm,
        asker: &str,
        families: Families,
        want: usize,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Vec<SocketAddr> {
        let asker = Asker { addr: addr(asker), wants_seeds: true, families };
        let mut chosen = Vec::new();
        super::choose(swarm, &asker, want, now, rng, &mut chosen);
        chosen.into_iter().map(|peer| peer.addr).collect()
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
        let now = Instant::now();
        let all: Vec<SocketAddr> = (0..100).map(|n| SocketAddr::from(([10, 0, 0, n], 6881))).collect();
        let swarm = swarm(now, all.iter().map(|addr| (*addr, addr.ip().to_string().ends_with('5'))));
        let mut rng = SmallRng::seed_from_u64(1);
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let drawn = choose(&swarm, "10.0.0.0:6881", Families::Both, 10, now, &mut rng);
            assert_eq!(drawn.len(), 10);
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 10);
            seen.extend(drawn);
        }
        assert_eq!(seen.len(), 99);
        assert!(!seen.contains(&all[0]));
    }

    #[test]
    fn finds_the_last_peer_that_has_not_expired() {
        let now = Instant::now();
        let mut swarm = swarm(now, (0..200).map(|n| (SocketAddr::from(([10, 0, 0, n], 6881)), false)));
        let later = now + Duration::from_secs(5);
        let alive = Peer { id: PeerId::new([2; 20]), expires: later + Duration::from_secs(1) };
        swarm.insert(addr("10.0.0.77:6881"), alive, false);
        let mut rng = SmallRng::seed_from_u64(1);
        let drawn = choose(&swarm, "10.0.1.1:6881", Families::Both, 5, later, &mut rng);
        assert_eq!(drawn, [addr("10.0.0.77:6881")]);
    }

    #[test]
    fn prefers_the_family_of_the_asker_and_fills_up_with_the_other() {
        let now = Instant::now();
        let swarm = swarm(
            now,
            [(addr("10.0.0.1:1"), false), (addr("[2001:db8::1]:1"), false), (addr("[2001:db8::2]:1"), false)],
        );
        let mut rng = SmallRng::seed_from_u64(1);
        let mut draw = |asker, want| choose(&swarm, asker, Families::Both, want, now, &mut rng);
        assert_eq!(draw("10.0.0.9:1", 1), [addr("10.0.0.1:1")]);
        assert_eq!(draw("10.0.0.9:1", 9).len(), 3);
        let drawn = draw("[2001:db8::9]:1", 2);
        assert_eq!(drawn.len(), 2);
        assert!(drawn.iter().all(SocketAddr::is_ipv6));
    }

    #[test]
    fn names_no_peer_of_a_family_that_the_answer_has_no_place_for() {
        let now = Instant::now();
        let swarm = swarm(now, [(addr("10.0.0.1:1"), false), (addr("[2001:db8::1]:1"), true)]);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut draw = |asker| choose(&swarm, asker, Families::Own, 9, now, &mut rng);
        assert_eq!(draw("10.0.0.9:1"), [addr("10.0.0.1:1")]);
        assert_eq!(draw("[2001:db8::9]:1"), [addr("[2001:db8::1]:1")]);
    }

    #[test]
    fn gives_loopback_peers_to_loopback_askers_only() {
        let now = Instant::now();
        let swarm = swarm(now, [(addr("127.0.0.1:1"), false)]);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut draw = |asker| choose(&swarm, asker, Families::Both, 9, now, &mut rng);
        assert!(draw("10.0.0.1:1").is_empty());
        assert_eq!(draw("127.0.0.1:2").len(), 1);
    }
}
