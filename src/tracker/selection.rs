//! Which peers an asker is given: a pure function of the swarm, the asker, the time and chance.

use std::net::SocketAddr;
use std::time::Instant;

use distributor_proto::PeerAddr;
use rand::Rng;

use super::swarm::{Peers, Swarm};

/// Draws at most `want` peers at random, never the asker itself nor one that expired. Peers of the asker's own address
/// family come first, since it is known to have that. One that has no use for seeds is given downloaders only: two seeds
/// have nothing to say to each other. Nobody but a peer on the tracker's own host is given loopback addresses, which
/// mean another host to everyone else.
pub(super) fn choose(
    swarm: &Swarm,
    asker: SocketAddr,
    wants_seeds: bool,
    want: usize,
    now: Instant,
    rng: &mut impl Rng,
) -> Vec<PeerAddr> {
    let mut chosen = Vec::with_capacity(want.min(swarm.len()));
    for family in swarm.families(asker) {
        let seeders = wants_seeds.then_some(&family.seeders);
        let pools = Pools { first: &family.downloaders, second: seeders };
        let fits =
            |addr: &SocketAddr| *addr != asker && (asker.ip().is_loopback() || !addr.ip().is_loopback());
        pools.draw(want - chosen.len(), now, fits, rng, &mut chosen);
    }
    chosen
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

    fn draw(
        &self,
        want: usize,
        now: Instant,
        fits: impl Fn(&SocketAddr) -> bool,
        rng: &mut impl Rng,
        chosen: &mut Vec<PeerAddr>,
    ) {
        let enough = chosen.len() + want;
        // Some of those drawn may not fit. Twice as many are enough unless most have expired; then all are looked at.
        let mut amount = want.saturating_mul(2).saturating_add(1).min(self.len());
        let start = chosen.len();
        loop {
            for index in rand::seq::index::sample(rng, self.len(), amount) {
                if chosen.len() == enough {
                    return;
                }
                let entry = self
                    .first
                    .get_index(index)
                    .or_else(|| self.second.and_then(|second| second.get_index(index - self.first.len())));
                if let Some((addr, peer)) = entry.filter(|(addr, peer)| peer.expires > now && fits(addr)) {
                    chosen.push(PeerAddr { addr: *addr, id: Some(peer.id) });
                }
            }
            if chosen.len() == enough || amount == self.len() {
                return;
            }
            chosen.truncate(start);
            amount = self.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::swarm::Peer;
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

    #[test]
    fn draws_every_peer_sooner_or_later_and_none_twice() {
        let now = Instant::now();
        let all: Vec<SocketAddr> = (0..100).map(|n| SocketAddr::from(([10, 0, 0, n], 6881))).collect();
        let swarm = swarm(now, all.iter().map(|addr| (*addr, addr.ip().to_string().ends_with('5'))));
        let mut rng = SmallRng::seed_from_u64(1);
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let drawn: Vec<_> =
                choose(&swarm, all[0], true, 10, now, &mut rng).iter().map(|p| p.addr).collect();
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
        let drawn = choose(&swarm, addr("10.0.1.1:6881"), true, 5, later, &mut rng);
        assert_eq!(drawn.len(), 1);
        assert_eq!(drawn[0].addr, addr("10.0.0.77:6881"));
    }

    #[test]
    fn prefers_the_family_of_the_asker_and_fills_up_with_the_other() {
        let now = Instant::now();
        let swarm = swarm(
            now,
            [(addr("10.0.0.1:1"), false), (addr("[2001:db8::1]:1"), false), (addr("[2001:db8::2]:1"), false)],
        );
        let mut rng = SmallRng::seed_from_u64(1);
        let drawn = choose(&swarm, addr("10.0.0.9:1"), true, 1, now, &mut rng);
        assert!(drawn[0].addr.is_ipv4());
        assert_eq!(choose(&swarm, addr("10.0.0.9:1"), true, 9, now, &mut rng).len(), 3);
        let drawn = choose(&swarm, addr("[2001:db8::9]:1"), true, 2, now, &mut rng);
        assert!(drawn.iter().all(|peer| peer.addr.is_ipv6()));
    }

    #[test]
    fn gives_loopback_peers_to_loopback_askers_only() {
        let now = Instant::now();
        let swarm = swarm(now, [(addr("127.0.0.1:1"), false)]);
        let mut rng = SmallRng::seed_from_u64(1);
        assert!(choose(&swarm, addr("10.0.0.1:1"), true, 9, now, &mut rng).is_empty());
        assert_eq!(choose(&swarm, addr("127.0.0.1:2"), true, 9, now, &mut rng).len(), 1);
    }
}
