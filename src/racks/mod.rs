//! Where the hosts of swarms are, and what follows from it: whom the tracker is to tell of whom, and which hosts are
//! the gateways of their racks. Values in, values out. Who is there the tracker says, who is dialled and what is logged
//! is the server's to see to; the policies are those of `steering`.
//!
//! Only hosts of which somebody said where they are: of others nothing is kept, and nothing is kept from them.
//!
//! | file | what it owns |
//! |---|---|
//! | `member` | one host: what it says, and whether the origin can come to its help |
//! | `progress` | whether a host gets anything |
//! | `swarm` | the hosts of a swarm by their racks, and which of them are gateways |
//! | `advice` | what follows for one that asks |
//! | `showing` | which pieces the origin shows to those who are connected to it |
//! | `report` | what can be told of it all |
//!
//! Swarms lie in shards, each under a lock of its own that is held for one announce, or for the review of one swarm.
//! The tracker's locks may be taken while it is held, never the other way round; those of `showing` are never held with
//! it.

mod advice;
mod member;
mod progress;
mod report;
mod showing;
mod swarm;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributor_proto::{AnnounceEvent, AnnounceRequest, Geometry, InfoHash, PeerId};
use rand::Rng;

pub(crate) use self::advice::Advice;
use self::advice::Asking;
use self::member::Member;
#[cfg(test)]
pub(crate) use self::member::Reports;
pub(crate) use self::progress::Seen;
pub(crate) use self::report::{HostReport, PlaceReport, Totals};
pub(crate) use self::showing::{Mailbox, Manner, Presence, Survey};
use self::showing::{Post, Showings};
pub(crate) use self::swarm::{By, Sight};
use self::swarm::{Changes, Spot, Swarm, View};
use crate::config::SuperSeeding;
use crate::steering::Rack;
pub(crate) use crate::steering::Why;
use crate::topology::{Place, Topology};

/// How many hosts are steered in all swarms together, in about 300 bytes each. Whoever comes when there are as many is
/// told of others by chance, as if nobody knew where hosts are.
const MAX_HOSTS: usize = 100_000;
/// How many locks there are for all swarms.
const SHARDS: usize = 64;

/// The hosts of all swarms by their places.
#[derive(Debug)]
pub(crate) struct Racks {
    shards: [Mutex<Shard>; SHARDS],
    hosts: AtomicUsize,
    max_hosts: usize,
    /// What follows from it nobody else can foresee.
    keys: RandomState,
    showings: Arc<Showings>,
}

#[derive(Debug)]
struct Shard {
    topology: Arc<Topology>,
    /// Boxed, so that a table that grows moves little.
    swarms: HashMap<InfoHash, Box<Swarm>>,
}

/// A gateway that is one no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) info_hash: InfoHash,
    /// As it is written.
    pub(crate) place: String,
    pub(crate) old: SocketAddr,
    /// Who has taken its place, if there was anybody.
    pub(crate) new: Option<SocketAddr>,
    pub(crate) why: Why,
}

/// What a review has changed.
#[derive(Debug, Default)]
pub(crate) struct Reviewed {
    pub(crate) replaced: Vec<Replacement>,
    /// The new gateways among those who download.
    pub(crate) appointed: Vec<(InfoHash, SocketAddr)>,
    pub(crate) totals: Totals,
    pub(crate) showing: Survey,
}

impl Racks {
    pub(crate) fn new(super_seeding: SuperSeeding, topology: &Arc<Topology>) -> Self {
        let shard = || Shard { topology: Arc::clone(topology), swarms: HashMap::new() };
        Self {
            shards: std::array::from_fn(|_| Mutex::new(shard())),
            hosts: AtomicUsize::new(0),
            max_hosts: MAX_HOSTS,
            keys: RandomState::new(),
            showings: Showings::new(super_seeding),
        }
    }

    /// The origin is connected to a peer for a torrent. Nothing where everybody sees everything.
    pub(crate) fn connect(
        &self,
        info_hash: InfoHash,
        geometry: Geometry,
        ip: IpAddr,
        now: Instant,
    ) -> Option<Presence> {
        let ip = ip.to_canonical();
        let post = self.post(&self.shard(&info_hash), &info_hash, ip);
        self.showings.connect(info_hash, geometry, ip, post, now)
    }

    /// Shows what waits for time to pass and for nothing else; to be called every [`TICK`](Self::TICK).
    pub(crate) fn tick(&self, now: Instant) {
        self.showings.tick(now);
    }

    pub(crate) const TICK: Duration = showing::TICK;

    /// Where a host is, and whether it is to be shown pieces: all are but those of a known rack who leave that to
    /// others.
    fn post(&self, shard: &Shard, info_hash: &InfoHash, ip: IpAddr) -> Post {
        let location = shard.topology.locate(ip);
        let swarm = shard.swarms.get(info_hash);
        Post {
            rack: self.rack(location.place),
            is_gateway: swarm.is_none_or(|swarm| swarm.is_gateway(ip)),
            is_guessed: By::of(location.basis).is_none(),
        }
    }

    /// The same of all who are connected for a torrent.
    fn posts(&self, info_hash: &InfoHash, ips: &[IpAddr]) -> HashMap<IpAddr, Post> {
        let shard = self.shard(info_hash);
        ips.iter().map(|ip| (*ip, self.post(&shard, info_hash, *ip))).collect()
    }

    /// How the pieces of a torrent are shown; nothing where nobody is connected for it, or all see everything always.
    pub(crate) fn manner_of(&self, info_hash: &InfoHash) -> Option<Manner> {
        self.showings.manner_of(info_hash)
    }

    /// The shard that a swarm lies in. SHA-1 spreads them evenly.
    fn shard(&self, info_hash: &InfoHash) -> MutexGuard<'_, Shard> {
        let [.., last] = *info_hash.as_bytes();
        lock(&self.shards[usize::from(last) % SHARDS])
    }

    /// Places have numbers that no two of them share, but by a chance of one in four billions: those would be one rack.
    fn rack(&self, place: Place) -> Rack {
        let [a, b, c, d, ..] = self.keys.hash_one(place).to_ne_bytes();
        Rack(u32::from_ne_bytes([a, b, c, d]))
    }

    /// Where a host is, if somebody said so.
    fn spot(&self, topology: &Topology, ip: IpAddr) -> Option<Spot> {
        let location = topology.locate(ip);
        let by = By::of(location.basis)?;
        Some(Spot { rack: self.rack(location.place), place: location.place, by })
    }

    /// Counts one more host of a swarm, if there is room for it.
    fn enter(&self, swarm: Option<&Swarm>, ip: IpAddr) -> bool {
        if swarm.is_some_and(|swarm| !swarm.has_room_at(ip)) {
            return false;
        }
        let enter = |hosts: usize| (hosts < self.max_hosts).then(|| hosts + 1);
        self.hosts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).is_ok()
    }

    fn leave(&self, hosts: usize) {
        self.hosts.fetch_sub(hosts, Ordering::Relaxed);
    }

    /// Takes note of an announce by the host at `addr`, and says what it is to be told: of up to `enough` hosts, all of
    /// whom it can reach as far as `admits` knows. The tracker has the last word on whether they are there.
    pub(crate) fn announced(
        &self,
        request: &AnnounceRequest,
        addr: SocketAddr,
        enough: usize,
        admits: impl Fn(IpAddr) -> bool,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Advice {
        let mut shard = self.shard(&request.info_hash);
        let Shard { topology, swarms } = &mut *shard;
        let Some(spot) = self.spot(topology, addr.ip()) else { return Advice::default() };
        if request.event == AnnounceEvent::Stopped {
            if let Some(swarm) = swarms.get_mut(&request.info_hash) {
                self.leave(usize::from(swarm.stops(addr, &request.peer_id)));
                if swarm.members.is_empty() {
                    swarms.remove(&request.info_hash);
                }
            }
            return Advice::default();
        }
        let swarm = swarms.get_mut(&request.info_hash);
        let is_known = swarm.is_some_and(|swarm| swarm.announces(addr, request, now));
        if !is_known && addr.port() != 0 {
            if !self.enter(swarms.get(&request.info_hash).map(Box::as_ref), addr.ip()) {
                return Advice::default();
            }
            let mut member = Member::new(request.peer_id, spot.rack, request.is_seed(), now);
            member.announces(request, now);
            swarms.entry(request.info_hash).or_default().join(addr, member, spot);
        }
        let Some(swarm) = swarms.get(&request.info_hash) else { return Advice::default() };
        let asking = Asking { addr, rack: spot.rack, enough, wants_seeds: request.wants_seeds() };
        View { swarm, topology }.advise(&asking, admits, &self.keys, now, rng)
    }

    /// A host is there, as the tracker knows since before a restart, or since before its place was known.
    pub(crate) fn found(
        &self,
        info_hash: InfoHash,
        addr: SocketAddr,
        id: PeerId,
        is_seed: bool,
        now: Instant,
    ) {
        let mut shard = self.shard(&info_hash);
        let Shard { topology, swarms } = &mut *shard;
        let Some(spot) = self.spot(topology, addr.ip()) else { return };
        let swarm = swarms.get(&info_hash).map(Box::as_ref);
        let is_known = swarm.is_some_and(|swarm| swarm.members.contains_key(&addr));
        if !is_known && self.enter(swarm, addr.ip()) {
            let member = Member::new(id, spot.rack, is_seed, now);
            swarms.entry(info_hash).or_default().join(addr, member, spot);
        }
    }

    /// Looks at all swarms, to be done about once a second: at what the origin sees over its connections, `sights`, and
    /// at who is there, by `is_there`, of gateways, or of all where `is_roll_call`.
    pub(crate) fn review(
        &self,
        sights: &HashMap<InfoHash, Vec<Sight>>,
        is_roll_call: bool,
        is_there: impl Fn(&InfoHash, SocketAddr) -> bool,
        now: Instant,
    ) -> Reviewed {
        let mut reviewed = Reviewed::default();
        for shard in &self.shards {
            let swarms: Vec<InfoHash> = lock(shard).swarms.keys().copied().collect();
            for info_hash in swarms {
                // For each anew, lest announces of one wait for all that happen to lie beside it.
                let mut shard = lock(shard);
                let Shard { topology, swarms } = &mut *shard;
                let Some(swarm) = swarms.get_mut(&info_hash) else { continue };
                let mut changes = Changes::default();
                swarm.see(sights.get(&info_hash).map_or(&[], Vec::as_slice), now);
                self.leave(swarm.miss(!is_roll_call, now, |addr| is_there(&info_hash, addr)));
                self.leave(swarm.review(now, &mut changes));
                swarm.count(&mut reviewed.totals);
                if swarm.members.is_empty() {
                    swarms.remove(&info_hash);
                }
                reviewed.appointed.extend(changes.appointed.into_iter().map(|addr| (info_hash, addr)));
                reviewed.replaced.extend(changes.replaced.into_iter().map(|replaced| Replacement {
                    info_hash,
                    place: topology.written(replaced.place),
                    old: replaced.old,
                    new: replaced.new,
                    why: replaced.why,
                }));
            }
        }
        self.showings.place(|info_hash, ips| self.posts(info_hash, ips));
        reviewed.showing = self.showings.survey();
        reviewed
    }

    /// Another topology is in force: all hosts are where that says. Those whose places were a guess before are to be
    /// [found](Self::found).
    pub(crate) fn move_to(&self, topology: &Arc<Topology>) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.topology = Arc::clone(topology);
            for swarm in shard.swarms.values_mut() {
                self.leave(swarm.move_to(|ip| self.spot(topology, ip)));
            }
            shard.swarms.retain(|_, swarm| !swarm.members.is_empty());
        }
        self.showings.place(|info_hash, ips| self.posts(info_hash, ips));
    }

    /// Up to `max` places of one swarm or of all, in the order of their swarms and names, from the one on that follows
    /// `after`.
    pub(crate) fn places(
        &self,
        torrent: Option<InfoHash>,
        after: Option<(InfoHash, &str)>,
        max: usize,
    ) -> Vec<PlaceReport> {
        let mut swarms: Vec<InfoHash> = match torrent {
            Some(torrent) => vec![torrent],
            None => self
                .shards
                .iter()
                .flat_map(|shard| lock(shard).swarms.keys().copied().collect::<Vec<_>>())
                .collect(),
        };
        swarms.retain(|info_hash| after.is_none_or(|(after, _)| *info_hash >= after));
        swarms.sort_unstable();
        let mut reports = Vec::new();
        for info_hash in swarms {
            let shard = self.shard(&info_hash);
            let Some(swarm) = shard.swarms.get(&info_hash) else { continue };
            let after = after.filter(|(after, _)| *after == info_hash).map(|(_, place)| place);
            let room = max - reports.len();
            reports.extend(swarm.report(info_hash, &shard.topology, after, room));
            if reports.len() >= max {
                break;
            }
        }
        reports
    }

    /// Where the peer is that is connected from an address, as it is written, and whether it is a gateway.
    pub(crate) fn standing_of(&self, info_hash: &InfoHash, ip: IpAddr, id: &PeerId) -> (String, bool) {
        let shard = self.shard(info_hash);
        let place = shard.topology.written(shard.topology.place_of(ip));
        let is_gateway = shard.swarms.get(info_hash).is_some_and(|swarm| {
            let member = swarm.at(ip.to_canonical(), id).and_then(|addr| swarm.members.get(&addr));
            member.is_some_and(|member| member.is_gateway)
        });
        (place, is_gateway)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
