//! Who is in which swarm, for how long, what an announce is answered, and when to come again. No I/O: addresses, times
//! and chance are arguments, and whether an info hash may be tracked at all is the caller's to know.
//!
//! | file | what it owns |
//! |---|---|
//! | `swarm` | one swarm: by what rules a peer comes in, moves and goes |
//! | `table` | the peers of a swarm, compact, and how they are found |
//! | `pages`, `parts` | lists and hash tables that grow without a pause |
//! | `address`, `clock` | addresses and times in few bytes |
//! | `allowance` | how much one address may ask |
//! | `census` | how many peers there may be, and how many at one address |
//! | `selection` | which peers an asker is given |
//! | `interval` | when a peer is to come again |
//! | `patience` | for how long it counts as present |
//! | `roll` | everybody who is there |
//! | `sweep` | that those who fell silent go, a little at a time |
//! | `saving` | swarms as pages that outlive the process |
//! | `departures` | why torrents are no longer tracked |
//!
//! Swarms lie in shards, each under a lock of its own that is held for one announce, or for one page of a swarm.

mod address;
mod allowance;
mod census;
mod clock;
mod departures;
mod interval;
mod pages;
mod parts;
mod patience;
mod roll;
mod saving;
mod selection;
#[cfg(test)]
mod stories;
mod swarm;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod weight;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributor_proto::{
    AnnounceEvent, AnnounceKey, AnnounceRequest, InfoHash, PeerAddr, PeerFormat, PeerId, ScrapeStats,
    canonical,
};
use rand::Rng;

pub(crate) use self::allowance::{Allowances, AsksTooMuch};
use self::census::Census;
use self::clock::Clock;
pub(crate) use self::departures::Departure;
use self::departures::Departures;
use self::interval::Standing;
pub(crate) use self::roll::Present;
use self::selection::Asker;
use self::swarm::Swarm;
use self::table::Peer;

/// How many peers an answer holds when the asker doesn't say; what most clients ask for themselves.
const DEFAULT_NUMWANT: usize = 50;
/// How many peers an answer holds at the most: what the hungriest client asks for, and still a small packet.
const MAX_NUMWANT: usize = 200;
/// How many locks there are for all swarms.
const SHARDS: usize = 64;

/// All swarms.
#[derive(Debug)]
pub(crate) struct Tracker {
    shards: [Mutex<Shard>; SHARDS],
    census: Census,
    clock: Clock,
    /// How many announces a second all peers together are asked for at the most.
    max_rate: u32,
    /// What was saved can't be relied on.
    is_unsaved: AtomicBool,
    departures: Mutex<Departures>,
}

/// Boxed, so that a table that grows moves little.
type Shard = HashMap<InfoHash, Box<Swarm>>;

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
    /// Whether an answer to who asks from `asker` has a place for an address like `peer`.
    pub(crate) fn admit(self, peer: IpAddr, asker: IpAddr) -> bool {
        self == Self::Both || peer.is_ipv4() == asker.is_ipv4()
    }

    /// Whether who asks from `asker` can be told of `peer`. Nobody but one on the tracker's own host is given loopback
    /// addresses, which mean another host to everyone else.
    pub(crate) fn introduce(self, peer: IpAddr, asker: IpAddr) -> bool {
        self.admit(peer, asker) && (asker.is_loopback() || !peer.is_loopback())
    }
}

/// Of whom an asker is to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) families: Families,
    pub(crate) whom: Whom<'a>,
}

/// Who chooses them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom<'a> {
    ByChance,
    /// These and nobody else, in this order, as far as they are there and are of use to it.
    These(&'a [SocketAddr]),
}

/// How many peers the answer to an announce may hold.
pub(crate) fn numwant(request: &AnnounceRequest) -> usize {
    if request.event == AnnounceEvent::Stopped {
        return 0;
    }
    request.numwant.map_or(DEFAULT_NUMWANT, |n| usize::try_from(n).unwrap_or(usize::MAX)).min(MAX_NUMWANT)
}

/// A host that has announced that it downloads, at the address where it says that it can be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Downloader {
    pub(crate) info_hash: InfoHash,
    pub(crate) addr: SocketAddr,
}

impl Tracker {
    /// A tracker that asks for no more than so many announces a second.
    pub(crate) fn new(max_rate: u32, now: Instant) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            census: Census::default(),
            clock: Clock::starting(now),
            max_rate,
            is_unsaved: AtomicBool::new(false),
            departures: Mutex::default(),
        }
    }

    /// The shard that a swarm lies in. SHA-1 spreads them evenly.
    fn shard(&self, info_hash: &InfoHash) -> MutexGuard<'_, Shard> {
        let [.., last] = *info_hash.as_bytes();
        lock(&self.shards[usize::from(last) % SHARDS])
    }

    /// Works on a swarm if it is there, and forgets it where nothing is left of it.
    fn with<T>(&self, info_hash: &InfoHash, work: impl FnOnce(&mut Swarm) -> T) -> Option<T> {
        let mut shard = self.shard(info_hash);
        let swarm = shard.get_mut(info_hash)?;
        let result = work(swarm);
        if swarm.is_nothing() {
            shard.remove(info_hash);
        }
        Some(result)
    }

    /// Takes note of an announce that came from `ip`, and answers it. The caller has made sure that the info hash is
    /// one that it serves. Peers are added to `peers`, of this `choice`, until it holds as many as the asker wants, within
    /// bounds; whoever is in it already goes first, and is dropped where even that is too much.
    pub(crate) fn announce(
        &self,
        request: &AnnounceRequest,
        ip: IpAddr,
        choice: Choice<'_>,
        now: Instant,
        rng: &mut impl Rng,
        peers: &mut Vec<PeerAddr>,
    ) -> Answer {
        let now = self.clock.at(now);
        let addr = canonical(SocketAddr::new(ip, request.port));
        let (id, key) = (request.peer_id, request.key.as_ref().map_or(0, digest));
        let is_leaving = request.event == AnnounceEvent::Stopped;
        let numwant = numwant(request);

        let mut shard = self.shard(&request.info_hash);
        let swarm = shard.entry(request.info_hash).or_insert_with(|| Box::new(Swarm::new(now)));
        let standing = Standing {
            // Whoever comes breaks the silence, for itself as well.
            quiet: swarm.get(addr).map_or(0, |_| swarm.quiet(now)),
            has_downloaders: !request.is_seed() || swarm.counts().1 > 0,
            peers: self.census.peers(),
        };
        let intervals = interval::draw(standing, self.max_rate, rng);
        if is_leaving {
            // The word of one that had the port before may come late.
            swarm.remove_if(addr, &self.census, |peer| peer.id == id);
        } else if addr.port() != 0 {
            // Port 0 is what a client says that can't be dialled: it is answered, but nobody is sent to it.
            let patience = patience::patience(intervals.regular, &id);
            let peer = Peer { addr, id, key, announced: now, patience, is_seed: request.is_seed() };
            swarm.announced(&peer, request.event == AnnounceEvent::Completed, &self.census);
        }

        peers.truncate(numwant);
        let wants_ids = request.format == PeerFormat::Dictionaries { peer_ids: true };
        let asker = Asker { addr, id, key, wants_seeds: request.wants_seeds(), wants_ids, choice };
        selection::choose(swarm, &asker, numwant, now, rng, peers);
        let (complete, incomplete) = swarm.counts();
        if swarm.is_nothing() {
            shard.remove(&request.info_hash);
        }
        Answer { interval: intervals.regular, min_interval: intervals.least, complete, incomplete }
    }

    /// How a swarm stands; all zero for one that nobody has joined.
    pub(crate) fn scrape(&self, info_hash: &InfoHash) -> ScrapeStats {
        self.shard(info_hash).get(info_hash).map_or_else(ScrapeStats::default, |swarm| {
            let (complete, incomplete) = swarm.counts();
            ScrapeStats { complete, downloaded: swarm.downloads(), incomplete }
        })
    }

    /// A peer was dialled at `since` and refused, at the very port that it had announced: whatever listened there is
    /// gone. Nobody is sent to it until it announces again. (That nothing was heard would say less: a firewall may drop
    /// what comes from us, and let its neighbours through.)
    pub(crate) fn unreachable(&self, info_hash: &InfoHash, addr: SocketAddr, since: Instant) {
        let since = self.clock.at(since);
        self.with(info_hash, |swarm| {
            swarm.remove_if(canonical(addr), &self.census, |peer| peer.announced <= since);
        });
    }

    /// Whether a peer is there that announced itself at this address.
    pub(crate) fn is_there(&self, info_hash: &InfoHash, addr: SocketAddr, now: Instant) -> bool {
        let now = self.clock.at(now);
        let shard = self.shard(info_hash);
        let peer = shard.get(info_hash).and_then(|swarm| swarm.get(addr));
        peer.is_some_and(|peer| !peer.is_expired(now))
    }

    /// Where the peer that is connected from `ip`, under this id or another, says that it can be dialled, if that is known.
    pub(crate) fn door_of(&self, info_hash: &InfoHash, ip: IpAddr, id: &PeerId) -> Option<SocketAddr> {
        self.shard(info_hash).get(info_hash)?.door_of(ip.to_canonical(), id)
    }

    /// A torrent leaves, or will once those who have it are served no more.
    pub(crate) fn depart(&self, info_hash: InfoHash, departure: Departure) {
        lock(&self.departures).insert(info_hash, departure);
    }

    /// Why a torrent that is not served left, if that is remembered.
    pub(crate) fn departure(&self, info_hash: &InfoHash) -> Option<Departure> {
        lock(&self.departures).get(info_hash).cloned()
    }

    /// How many swarms and peers there are.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.shards.iter().map(|shard| lock(shard).len()).sum(), self.census.peers())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key in four bytes (FNV-1a), the same after a restart; 0 for none, which is what all zeroes say.
fn digest(key: &AnnounceKey) -> u32 {
    if key.as_bytes().iter().all(|byte| *byte == 0) {
        return 0;
    }
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    key.as_bytes().iter().fold(0x811c_9dc5, mix).max(1)
}
