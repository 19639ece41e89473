//! Who is in which swarm, and what an announce is answered. No I/O: addresses, times and chance are arguments, and
//! whether an info hash may be tracked at all is the caller's to know.

mod departures;
mod interval;
mod selection;
mod swarm;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributor_proto::{AnnounceEvent, AnnounceRequest, InfoHash, PeerAddr, ScrapeStats, canonical};
use rand::Rng;

pub(crate) use self::departures::Departure;
use self::departures::Departures;
use self::selection::Asker;
use self::swarm::{Peer, Swarm};

/// How many peers an answer holds when the asker doesn't say; what most clients ask for themselves.
const DEFAULT_NUMWANT: usize = 50;
/// How many peers an answer holds at the most: what the hungriest client asks for, and still a small packet.
const MAX_NUMWANT: usize = 200;
/// How many peers are remembered in all swarms together; a newcomer past that is answered but not remembered.
const MAX_PEERS: usize = 1_000_000;

/// All swarms.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    swarms: Mutex<Swarms>,
    departures: Mutex<Departures>,
}

#[derive(Debug, Default)]
struct Swarms {
    by_info_hash: HashMap<InfoHash, Swarm>,
    peers: usize,
}

/// What an announce is answered beside peers, as far as the tracker knows: the origin isn't counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) interval: Duration,
    pub(crate) min_interval: Duration,
    pub(crate) complete: u32,
    pub(crate) incomplete: u32,
}

/// Of which peers an asker can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    /// IPv4 and IPv6.
    Both,
    /// Those of the family by which it asks.
    Own,
}

impl Families {
    /// Whether who asks from `asker` can be told of `peer`.
    pub(crate) fn admit(self, peer: IpAddr, asker: IpAddr) -> bool {
        self == Self::Both || peer.is_ipv4() == asker.is_ipv4()
    }
}

/// A host that has announced that it downloads, at the address where it says that it can be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Downloader {
    pub(crate) info_hash: InfoHash,
    pub(crate) addr: SocketAddr,
}

impl Tracker {
    fn swarms(&self) -> MutexGuard<'_, Swarms> {
        self.swarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an announce that came from `ip`, and answers it. The caller has made sure that the info hash is
    /// one that it serves. Peers are added to `peers` until it holds as many as the asker wants, within bounds; whoever
    /// is in it already goes first, and is dropped where even that is too much.
    pub(crate) fn announce(
        &self,
        request: &AnnounceRequest,
        ip: IpAddr,
        families: Families,
        now: Instant,
        rng: &mut impl Rng,
        peers: &mut Vec<PeerAddr>,
    ) -> Answer {
        let addr = canonical(SocketAddr::new(ip, request.port));
        let stopped = request.event == AnnounceEvent::Stopped;
        let wanted = request.numwant.map_or(DEFAULT_NUMWANT, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let numwant = if stopped { 0 } else { wanted.min(MAX_NUMWANT) };

        let mut swarms = self.swarms();
        let Swarms { by_info_hash, peers: known } = &mut *swarms;
        let swarm = by_info_hash.entry(request.info_hash).or_insert_with(|| Swarm::new(now));
        let before = swarm.len();
        let (interval, min_interval) = interval::draw(now.saturating_duration_since(swarm.born()), rng);
        if request.event == AnnounceEvent::Completed {
            swarm.count_download(addr);
        }
        if stopped {
            swarm.remove(addr);
        } else if addr.port() != 0 && (swarm.contains(addr) || *known < MAX_PEERS) {
            // Port 0 is what a client says that can't be dialled: it is answered, but nobody is sent to it.
            let expires = now + interval::expiry(interval);
            swarm.insert(addr, Peer { id: request.peer_id, expires }, request.is_seed());
        }
        *known = (*known + swarm.len()).saturating_sub(before);

        peers.truncate(numwant);
        let asker = Asker { addr, wants_seeds: request.wants_seeds(), families };
        selection::choose(swarm, &asker, numwant, now, rng, peers);
        let (complete, incomplete) = swarm.counts();
        if swarm.is_empty() && swarm.downloads() == 0 {
            by_info_hash.remove(&request.info_hash);
        }
        Answer { interval, min_interval, complete, incomplete }
    }

    /// How a swarm stands; all zero for one that nobody has joined.
    pub(crate) fn scrape(&self, info_hash: &InfoHash) -> ScrapeStats {
        self.swarms().by_info_hash.get(info_hash).map_or_else(ScrapeStats::default, |swarm| {
            let (complete, incomplete) = swarm.counts();
            ScrapeStats { complete, downloaded: swarm.downloads(), incomplete }
        })
    }

    /// A torrent leaves, or will once those who have it are served no more.
    pub(crate) fn depart(&self, info_hash: InfoHash, departure: Departure) {
        self.departures.lock().unwrap_or_else(PoisonError::into_inner).insert(info_hash, departure);
    }

    /// Why a torrent that is not served left, if that is remembered.
    pub(crate) fn departure(&self, info_hash: &InfoHash) -> Option<Departure> {
        self.departures.lock().unwrap_or_else(PoisonError::into_inner).get(info_hash).cloned()
    }

    /// Drops the peers that have not announced for too long, and the swarms of what is no longer served: not in the
    /// moment of its withdrawal, so that a file whose times were touched finds its swarm again once it is hashed anew.
    /// Takes time for each peer; meant for once a minute.
    pub(crate) fn expire(&self, now: Instant, is_served: impl Fn(&InfoHash) -> bool) {
        let mut swarms = self.swarms();
        swarms.by_info_hash.retain(|info_hash, swarm| {
            swarm.expire(now);
            is_served(info_hash) && (!swarm.is_empty() || swarm.downloads() > 0)
        });
        swarms.peers = swarms.by_info_hash.values().map(Swarm::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributor_proto::{PeerFormat, PeerId};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const HASH: InfoHash = InfoHash::new([7; 20]);

    struct Told {
        answer: Answer,
        peers: Vec<PeerAddr>,
    }

    struct Room {
        tracker: Tracker,
        now: Instant,
        rng: SmallRng,
    }

    impl Room {
        fn new() -> Self {
            Self { tracker: Tracker::default(), now: Instant::now(), rng: SmallRng::seed_from_u64(1) }
        }

        fn announce(&mut self, host: u8, left: u64, event: AnnounceEvent) -> Told {
            self.announce_for(host, 6881, left, event, None)
        }

        fn announce_for(
            &mut self,
            host: u8,
            port: u16,
            left: u64,
            event: AnnounceEvent,
            numwant: Option<u32>,
        ) -> Told {
            let request = AnnounceRequest {
                info_hash: HASH,
                peer_id: PeerId::new([host; 20]),
                port,
                uploaded: 0,
                downloaded: u64::from(left == 0),
                left: Some(left),
                event,
                numwant,
                key: None,
                format: PeerFormat::Compact,
            };
            let (ip, mut peers) = (IpAddr::from([10, 0, 0, host]), Vec::new());
            let answer =
                self.tracker.announce(&request, ip, Families::Both, self.now, &mut self.rng, &mut peers);
            Told { answer, peers }
        }
    }

    fn hosts(told: &Told) -> Vec<u8> {
        let mut hosts: Vec<u8> = told
            .peers
            .iter()
            .map(|peer| match peer.addr.ip() {
                IpAddr::V4(ip) => ip.octets()[3],
                IpAddr::V6(_) => panic!("a v6 peer in a v4 swarm"),
            })
            .collect();
        hosts.sort_unstable();
        hosts
    }

    #[test]
    fn gives_a_downloader_everyone_but_itself() {
        let mut room = Room::new();
        assert_eq!(hosts(&room.announce(1, 10, AnnounceEvent::Started)), [0; 0]);
        assert_eq!(hosts(&room.announce(2, 0, AnnounceEvent::Started)), [1]);
        let told = room.announce(3, 10, AnnounceEvent::Started);
        assert_eq!(hosts(&told), [1, 2]);
        assert_eq!((told.answer.complete, told.answer.incomplete), (1, 2));
    }

    #[test]
    fn gives_a_seeder_no_seeders() {
        let mut room = Room::new();
        room.announce(1, 10, AnnounceEvent::Started);
        room.announce(2, 0, AnnounceEvent::Started);
        assert_eq!(hosts(&room.announce(3, 0, AnnounceEvent::Started)), [1]);
    }

    #[test]
    fn moves_a_peer_that_completed_and_counts_its_download_once() {
        let mut room = Room::new();
        room.announce(1, 10, AnnounceEvent::Started);
        room.announce(1, 0, AnnounceEvent::Completed);
        let Told { answer, .. } = room.announce(1, 0, AnnounceEvent::Completed);
        assert_eq!((answer.complete, answer.incomplete), (1, 0));
        let stats = room.tracker.scrape(&HASH);
        assert_eq!((stats.complete, stats.downloaded, stats.incomplete), (1, 1, 0));
    }

    #[test]
    fn forgets_a_peer_that_stops_and_gives_it_nobody() {
        let mut room = Room::new();
        room.announce(1, 10, AnnounceEvent::Started);
        room.announce(2, 10, AnnounceEvent::Started);
        assert_eq!(hosts(&room.announce(1, 10, AnnounceEvent::Stopped)), [0; 0]);
        assert_eq!(hosts(&room.announce(2, 10, AnnounceEvent::Periodic)), [0; 0]);
        room.announce(2, 10, AnnounceEvent::Stopped);
        assert!(room.tracker.swarms().by_info_hash.is_empty());
        assert_eq!(room.tracker.swarms().peers, 0);
    }

    #[test]
    fn knows_peers_by_address_and_port() {
        let mut room = Room::new();
        room.announce_for(1, 6881, 10, AnnounceEvent::Started, None);
        room.announce_for(1, 6882, 10, AnnounceEvent::Started, None);
        let told = room.announce_for(1, 6881, 10, AnnounceEvent::Periodic, None);
        assert_eq!(hosts(&told), [1]);
        assert_eq!(told.answer.incomplete, 2);
    }

    #[test]
    fn answers_but_never_names_a_peer_without_a_port() {
        let mut room = Room::new();
        room.announce(1, 10, AnnounceEvent::Started);
        assert_eq!(hosts(&room.announce_for(2, 0, 10, AnnounceEvent::Started, None)), [1]);
        assert_eq!(hosts(&room.announce(1, 10, AnnounceEvent::Periodic)), [0; 0]);
    }

    #[test]
    fn holds_numwant_within_its_bounds() {
        let mut room = Room::new();
        for host in 0..=255 {
            room.announce(host, 10, AnnounceEvent::Started);
        }
        let mut ask = |numwant| room.announce_for(1, 6881, 10, AnnounceEvent::Periodic, numwant).peers.len();
        assert_eq!(ask(None), DEFAULT_NUMWANT);
        assert_eq!(ask(Some(0)), 0);
        assert_eq!(ask(Some(3)), 3);
        assert_eq!(ask(Some(u32::MAX)), MAX_NUMWANT);
    }

    #[test]
    fn expires_peers_that_fell_silent() {
        let mut room = Room::new();
        let Told { answer, .. } = room.announce(1, 10, AnnounceEvent::Started);
        room.now += interval::expiry(answer.interval);
        room.announce(2, 10, AnnounceEvent::Started);
        room.now += Duration::from_secs(1);
        assert_eq!(
            hosts(&room.announce(2, 10, AnnounceEvent::Periodic)),
            [0; 0],
            "not even before the sweep"
        );
        room.tracker.expire(room.now, |_| true);
        assert_eq!(room.tracker.scrape(&HASH).incomplete, 1);
    }

    #[test]
    fn drops_the_swarm_of_what_is_no_longer_served() {
        let mut room = Room::new();
        room.announce(1, 10, AnnounceEvent::Started);
        room.announce(1, 0, AnnounceEvent::Completed);
        room.tracker.expire(room.now, |info_hash| *info_hash != HASH);
        assert!(room.tracker.swarms().by_info_hash.is_empty());
        assert_eq!(room.tracker.swarms().peers, 0);
    }

    #[test]
    fn remembers_no_more_peers_than_its_bound() {
        let mut room = Room::new();
        room.tracker.swarms().peers = MAX_PEERS - 1;
        room.announce(1, 10, AnnounceEvent::Started);
        room.announce(2, 10, AnnounceEvent::Started);
        assert_eq!(room.tracker.scrape(&HASH).incomplete, 1);
        assert_eq!(hosts(&room.announce(2, 10, AnnounceEvent::Periodic)), [1], "but it is answered");
    }
}
