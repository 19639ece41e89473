//! What holds of every answer, whatever has happened before: thousands of made-up stories, each held against a plain
//! list of who should be there.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use distributor_proto::{
    AnnounceEvent, AnnounceKey, AnnounceRequest, InfoHash, PeerAddr, PeerFormat, PeerId, canonical,
};
use proptest::collection::vec;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::tests::RATE;
use super::{Choice, DEFAULT_NUMWANT, Families, MAX_NUMWANT, Tracker, Whom};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Announce(Announce),
    Wait(u64),
    Sweep,
    /// A peer is dialled, and refuses.
    Refuse(u8, u16),
}

#[derive(Clone, Debug)]
struct Announce {
    swarm: u8,
    host: u8,
    client: u8,
    port: u16,
    left: u64,
    downloaded: u64,
    event: AnnounceEvent,
    numwant: Option<u32>,
    key: Option<u8>,
    is_both: bool,
    /// Of whom alone it is to be told, by host and port, where anybody said so.
    these: Option<Vec<(u8, u16)>>,
}

/// Few hosts of all kinds, so that they meet: two of IPv4, one of them on an IPv4 address in the clothes of IPv6; two
/// of one /64, and the loopback addresses of both families.
fn ip(host: u8) -> IpAddr {
    match host {
        0 => Ipv4Addr::new(10, 0, 0, 1).into(),
        1 => Ipv4Addr::new(10, 0, 0, 2).to_ipv6_mapped().into(),
        2 => Ipv6Addr::new(0xfd69, 0, 0, 0, 0, 0, 0, 1).into(),
        3 => Ipv6Addr::new(0xfd69, 0, 0, 0, 0, 0, 0, 2).into(),
        4 => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv6Addr::LOCALHOST.into(),
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let event = prop_oneof![
        3 => Just(AnnounceEvent::Started),
        3 => Just(AnnounceEvent::Periodic),
        1 => Just(AnnounceEvent::Stopped),
        1 => Just(AnnounceEvent::Completed),
    ];
    let numwant = prop_oneof![Just(None), (0_u32..4).prop_map(Some), Just(Some(u32::MAX))];
    let who = (0_u8..2, 0_u8..6, 0_u8..4, 0_u16..4);
    let these = prop::option::of(vec((0_u8..6, 0_u16..4), 0..8));
    let what = (0_u64..2, 0_u64..2, event, numwant, prop::option::of(0_u8..2), any::<bool>(), these);
    let announce = (who, what).prop_map(|((swarm, host, client, port), what)| {
        let (left, downloaded, event, numwant, key, is_both, these) = what;
        Announce { swarm, host, client, port, left, downloaded, event, numwant, key, is_both, these }
    });
    prop_oneof![
        12 => announce.prop_map(Step::Announce),
        1 => prop_oneof![0_u64..30, 100_u64..2000].prop_map(Step::Wait),
        1 => Just(Step::Sweep),
        1 => (0_u8..6, 1_u16..4).prop_map(|(host, port)| Step::Refuse(host, port)),
    ]
}

/// Who should be there.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: PeerId,
    key: Option<u8>,
    is_seed: bool,
    /// Surely until then, and surely not from this on.
    until: [Instant; 2],
}

struct Story {
    tracker: Tracker,
    now: Instant,
    rng: SmallRng,
    known: HashMap<(u8, SocketAddr), Known>,
}

const SWARMS: [InfoHash; 2] = [InfoHash::new([1; 20]), InfoHash::new([2; 20])];

impl Story {
    fn new() -> Self {
        let now = Instant::now();
        Self { tracker: Tracker::new(RATE, now), now, rng: SmallRng::seed_from_u64(1), known: HashMap::new() }
    }

    fn tell(&mut self, step: &Step) {
        match step {
            Step::Announce(announce) => self.announce(announce),
            Step::Wait(seconds) => self.now += Duration::from_secs(*seconds),
            Step::Sweep => self.tracker.sweep(self.now, |_| true),
            Step::Refuse(host, port) => {
                let addr = SocketAddr::new(ip(*host), *port);
                self.tracker.unreachable(&SWARMS[0], addr, self.now);
                self.known.remove(&(0, canonical(addr)));
            }
        }
    }

    fn announce(&mut self, announce: &Announce) {
        let mut id = [announce.client; 20];
        id[..8].copy_from_slice(b"-TR3000-");
        let request = AnnounceRequest {
            info_hash: SWARMS[usize::from(announce.swarm)],
            peer_id: PeerId::new(id),
            port: announce.port,
            uploaded: 0,
            downloaded: announce.downloaded,
            left: Some(announce.left),
            event: announce.event,
            numwant: announce.numwant,
            key: announce.key.and_then(|key| AnnounceKey::new(&[b'k', key])),
            format: PeerFormat::Dictionaries { peer_ids: true },
        };
        let families = if announce.is_both { Families::Both } else { Families::Own };
        let asker = canonical(SocketAddr::new(ip(announce.host), announce.port));
        let addr = |(host, port): &(u8, u16)| canonical(SocketAddr::new(ip(*host), *port));
        let these: Option<Vec<SocketAddr>> =
            announce.these.as_ref().map(|these| these.iter().map(addr).collect());
        let whom = these.as_deref().map_or(Whom::ByChance, Whom::These);
        let choice = Choice { families, whom };
        let (ip, mut peers) = (asker.ip(), Vec::new());
        let answer = self.tracker.announce(&request, ip, choice, self.now, &mut self.rng, &mut peers);
        assert!(answer.min_interval <= answer.interval && !answer.min_interval.is_zero());
        self.note(announce.swarm, asker, announce.key, &request, answer.interval);
        self.check(announce.swarm, asker, announce.key, &request, choice, &peers);
    }

    fn note(
        &mut self,
        swarm: u8,
        asker: SocketAddr,
        key: Option<u8>,
        request: &AnnounceRequest,
        told: Duration,
    ) {
        let id = request.peer_id;
        if request.event == AnnounceEvent::Stopped {
            if self.known.get(&(swarm, asker)).is_some_and(|known| known.id == id) {
                self.known.remove(&(swarm, asker));
            }
        } else if asker.port() != 0 {
            self.note_move(swarm, asker, key, request);
            let second = Duration::from_secs(1);
            let until = [told * 2 + 59 * second, told * 2 + 61 * second].map(|wait| self.now + wait);
            let known = Known { id, key, is_seed: request.is_seed(), until };
            self.known.insert((swarm, asker), known);
        }
    }

    /// At another of its addresses it may be gone; but nobody is who hasn't shown the same key.
    fn note_move(&mut self, swarm: u8, asker: SocketAddr, key: Option<u8>, request: &AnnounceRequest) {
        let is_same = |other: u8, addr: SocketAddr, known: &Known| {
            key.is_some()
                && addr != asker
                && (other, known.id, known.key) == (swarm, request.peer_id, key)
                && addr.is_ipv4() == asker.is_ipv4()
        };
        let shard = self.tracker.shard(&request.info_hash);
        let swarm = shard.get(&request.info_hash);
        let is_gone = |addr| swarm.is_none_or(|swarm| swarm.get(addr).is_none());
        let left = self
            .known
            .iter()
            .filter(|((other, addr), known)| is_same(*other, *addr, known) && is_gone(*addr));
        let left: Vec<_> = left.map(|(place, known)| (*place, known.until[0])).collect();
        let unexpired = left.iter().filter(|(_, until)| *until > self.now).count();
        assert!(unexpired <= 1, "it was at one address before");
        for (place, _) in &left {
            self.known.remove(place);
        }
    }

    fn check(
        &self,
        swarm: u8,
        asker: SocketAddr,
        key: Option<u8>,
        request: &AnnounceRequest,
        choice: Choice<'_>,
        peers: &[PeerAddr],
    ) {
        let Choice { families, whom } = choice;
        let mut wanted = request.numwant.map_or(DEFAULT_NUMWANT, |wanted| wanted as usize).min(MAX_NUMWANT);
        if request.event == AnnounceEvent::Stopped {
            wanted = 0;
        }
        assert!(peers.len() <= wanted, "no more than are wanted");
        let distinct: HashSet<SocketAddr> = peers.iter().map(|peer| peer.addr).collect();
        assert_eq!(distinct.len(), peers.len(), "nobody twice: {peers:?}");
        for peer in peers {
            let addr = peer.addr;
            assert_eq!(addr, canonical(addr), "an IPv4-mapped address");
            assert_ne!(addr, asker, "the asker");
            assert!(addr.port() != 0 && families.admit(addr.ip(), asker.ip()));
            assert!(asker.ip().is_loopback() || !addr.ip().is_loopback());
            let known = self.known.get(&(swarm, addr)).unwrap_or_else(|| panic!("{addr} has left"));
            assert!(known.until[1] > self.now, "{addr} has expired");
            assert!(request.wants_seeds() || !known.is_seed);
            assert_eq!(peer.id, Some(known.id));
        }
        let is_to_be_given = |((other, addr), known): (&(u8, SocketAddr), &Known)| {
            *other == swarm
                && *addr != asker
                && (key.is_none() || (known.id, known.key) != (request.peer_id, key))
                && known.until[0] > self.now
                && families.admit(addr.ip(), asker.ip())
                && (asker.ip().is_loopback() || !addr.ip().is_loopback())
                && (request.wants_seeds() || !known.is_seed)
        };
        let given = self.known.iter().filter(|(place, known)| is_to_be_given((place, known)));
        let given: HashSet<SocketAddr> = given.map(|((_, addr), _)| *addr).collect();
        let may_be_told = |addr: &SocketAddr| match whom {
            Whom::ByChance => true,
            Whom::These(these) => these.contains(addr),
        };
        let expected = given.iter().filter(|addr| may_be_told(addr)).count();
        assert!(peers.len() >= expected.min(wanted), "{} of {expected}", peers.len());
        assert!(peers.iter().all(|peer| may_be_told(&peer.addr)), "nobody else");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn answers_hold_what_they_should_and_nothing_else(story in vec(steps(), 1..60)) {
        let mut told = Story::new();
        story.iter().for_each(|step| told.tell(step));
    }
}
