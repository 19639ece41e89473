//! The hosts of one swarm by their racks: who comes, moves and goes, and which of them are gateways. Whom to tell of
//! whom, and who becomes a gateway, are policies of `steering`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use distributor_proto::{AnnounceRequest, PeerId};
use indexmap::IndexMap;

use super::member::{Member, Reports};
use super::progress::Seen;
use crate::steering::{self, Host, Rack, Standing, Why, review, wants_gateway};
use crate::topology::{Basis, Place, Topology};

/// For how long whoever has announced itself is taken to be there, whatever the tracker says: it hears of it a moment
/// later.
const HEARD: Duration = Duration::from_secs(1);

/// How many hosts of a swarm there may be at one address, which can announce any number of ports: all are looked
/// through for each connection from there.
pub(super) const MAX_AT_ADDRESS: usize = 64;
/// How many gateways of a rack are thought of for an answer. Where nobody gets anything all hosts are gateways.
pub(super) const MAX_GATEWAYS_LOOKED_AT: usize = 64;

/// All hosts of a torrent that are steered, by the addresses where they say that they can be dialled.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    pub(super) members: BTreeMap<SocketAddr, Member>,
    pub(super) racks: IndexMap<Rack, Members>,
}

/// Where a host is by somebody's word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) rack: Rack,
    pub(super) place: Place,
    pub(super) by: By,
}

/// Whose word that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Table,
    Prefix,
}

impl By {
    /// None where it is nobody's.
    pub(super) const fn of(basis: Basis) -> Option<Self> {
        match basis {
            Basis::Table => Some(Self::Table),
            Basis::Prefix => Some(Self::Prefix),
            Basis::Guess => None,
        }
    }

    /// One word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Prefix => "prefix",
        }
    }
}

/// The hosts of a rack.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) place: Place,
    pub(super) by: By,
    /// In the order in which they joined.
    pub(super) hosts: Vec<SocketAddr>,
    gateways: Vec<SocketAddr>,
    /// What those had reported who are gone.
    pub(super) gone: Reports,
}

impl Members {
    fn at(spot: Spot) -> Self {
        Self {
            place: spot.place,
            by: spot.by,
            hosts: Vec::new(),
            gateways: Vec::new(),
            gone: Reports::default(),
        }
    }

    /// The first of its gateways, as many as are looked at.
    pub(super) fn gateways(&self) -> &[SocketAddr] {
        self.gateways.get(..MAX_GATEWAYS_LOOKED_AT).unwrap_or(&self.gateways)
    }

    pub(super) fn gateway_count(&self) -> usize {
        self.gateways.len()
    }
}

/// A connection of the origin, and what it sees of the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) ip: IpAddr,
    pub(crate) id: PeerId,
    pub(crate) seen: Seen,
}

/// A gateway that is one no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replaced {
    pub(super) place: Place,
    pub(super) old: SocketAddr,
    /// Who has taken its place, if there was anybody.
    pub(super) new: Option<SocketAddr>,
    pub(super) why: Why,
}

/// What has changed in a swarm.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) replaced: Vec<Replaced>,
    pub(super) appointed: Vec<SocketAddr>,
}

impl Swarm {
    /// A host announces itself that is known.
    pub(super) fn announces(&mut self, addr: SocketAddr, request: &AnnounceRequest, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(&addr) else { return false };
        let before = member.announces(request, now);
        if let Some(rack) = self.racks.get_mut(&member.rack) {
            rack.gone.add(before);
        }
        true
    }

    /// Whether one more host may be at an address.
    pub(super) fn has_room_at(&self, ip: IpAddr) -> bool {
        self.at_address(ip).take(MAX_AT_ADDRESS).count() < MAX_AT_ADDRESS
    }

    fn at_address(&self, ip: IpAddr) -> impl Iterator<Item = (&SocketAddr, &Member)> {
        self.members.range(SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX))
    }

    /// A host comes that isn't known.
    pub(super) fn join(&mut self, addr: SocketAddr, mut member: Member, spot: Spot) {
        let rack = self.racks.entry(spot.rack).or_insert_with(|| Members::at(spot));
        rack.hosts.push(addr);
        if wants_gateway(rack.gateways.len()) {
            member.is_gateway = true;
            rack.gateways.push(addr);
        }
        self.members.insert(addr, member);
    }

    /// A host says that it leaves. A gateway's place is kept until it is seen who follows it.
    pub(super) fn stops(&mut self, addr: SocketAddr, id: &PeerId) -> bool {
        let Some(member) = self.members.get_mut(&addr).filter(|member| member.id == *id) else {
            return false;
        };
        if member.is_gateway {
            member.standing = Standing::Stopped;
            return false;
        }
        self.forget(&[addr]);
        true
    }

    /// Forgets hosts, which are in their order. However many of a rack go at once, the rest is looked through once.
    fn forget(&mut self, gone: &[SocketAddr]) {
        debug_assert!(gone.is_sorted());
        let mut left = BTreeSet::new();
        for addr in gone {
            let Some(member) = self.members.remove(addr) else { continue };
            left.insert(member.rack);
            if let Some(rack) = self.racks.get_mut(&member.rack) {
                rack.gone.add(member.reports);
            }
        }
        for rack in left {
            let Some(members) = self.racks.get_mut(&rack) else { continue };
            let stays = |addr: &SocketAddr| gone.binary_search(addr).is_err();
            members.hosts.retain(stays);
            members.gateways.retain(stays);
            if members.hosts.is_empty() {
                self.racks.swap_remove(&rack);
            }
        }
    }

    /// The one that is meant by a connection from an address: who announced under this id, or else the only one there,
    /// since libtorrent shakes hands under other ids than it announces.
    pub(super) fn at(&self, ip: IpAddr, id: &PeerId) -> Option<SocketAddr> {
        let mut there = self.at_address(ip);
        let (first, member) = there.next()?;
        if member.id == *id {
            return Some(*first);
        }
        match there.next() {
            None => Some(*first),
            Some(second) => {
                let mut others = std::iter::once(second).chain(there);
                others.find(|(_, member)| member.id == *id).map(|(addr, _)| *addr)
            }
        }
    }

    /// Whether pieces for its rack may go to this address: to a gateway, and to whoever isn't known to be none.
    pub(super) fn is_gateway(&self, ip: IpAddr) -> bool {
        let mut there = self.at_address(ip).peekable();
        there.peek().is_none() || there.any(|(_, member)| member.is_gateway)
    }

    /// What the origin sees over its connections, all of which are given.
    pub(super) fn see(&mut self, sights: &[Sight], now: Instant) {
        let mut seen: BTreeMap<SocketAddr, Seen> = BTreeMap::new();
        for sight in sights {
            if let Some(addr) = self.at(sight.ip, &sight.id) {
                seen.entry(addr).or_default().add(sight.seen);
            }
        }
        for (addr, member) in &mut self.members {
            member.is_seen(seen.get(addr).copied(), now);
        }
    }

    /// Marks who is there no more, of all hosts or of gateways alone, and forgets those of them whom nobody has to
    /// follow. Gives how many are forgotten.
    pub(super) fn miss(
        &mut self,
        gateways_only: bool,
        now: Instant,
        is_there: impl Fn(SocketAddr) -> bool,
    ) -> usize {
        let mut lost = Vec::new();
        for (addr, member) in &mut self.members {
            let is_asked = member.is_gateway || !gateways_only;
            let was_heard = now.saturating_duration_since(member.announced) < HEARD;
            if is_asked && member.standing.is_here() && !was_heard && !is_there(*addr) {
                member.standing = Standing::Vanished;
                lost.extend((!member.is_gateway).then_some(*addr));
            }
        }
        self.forget(&lost);
        lost.len()
    }

    /// Replaces gateways, and forgets those that left. Gives how many are forgotten.
    pub(super) fn review(&mut self, now: Instant, changes: &mut Changes) -> usize {
        let before = self.members.len();
        let racks: Vec<Rack> = self.racks.keys().copied().collect();
        for rack in racks {
            self.review_rack(rack, now, changes);
        }
        before - self.members.len()
    }

    fn review_rack(&mut self, rack: Rack, now: Instant, changes: &mut Changes) {
        let Some(members) = self.racks.get_mut(&rack) else { return };
        let of = |addr: &SocketAddr| Some(self.members.get(addr)?.as_host(*addr, now));
        let hosts: Vec<Host<SocketAddr>> = members.hosts.iter().filter_map(of).collect();
        let review = review(&hosts, now);
        // Whoever follows one that stalled comes first among the appointed.
        let (stalled, left): (Vec<_>, Vec<_>) =
            review.dismissed.into_iter().partition(|(_, why)| *why == Why::Stalled);
        let mut follow = review.appointed.iter().copied();
        let mut gone = Vec::new();
        for (old, why) in stalled.into_iter().chain(left) {
            changes.replaced.push(Replaced { place: members.place, old, new: follow.next(), why });
            members.gateways.retain(|addr| *addr != old);
            if why == Why::Stalled {
                self.members.entry(old).and_modify(|member| member.is_gateway = false);
            } else {
                gone.push(old);
            }
        }
        for addr in review.appointed {
            members.gateways.push(addr);
            if let Some(member) = self.members.get_mut(&addr) {
                member.is_gateway = true;
                changes.appointed.extend((member.standing == Standing::Downloads).then_some(addr));
            }
        }
        gone.sort_unstable();
        self.forget(&gone);
    }

    /// All hosts are where another topology says. Gateways are gateways there, as far as it wants any; those that have
    /// left, or are nowhere by what it says, are forgotten. Gives how many are.
    pub(super) fn move_to(&mut self, locate: impl Fn(IpAddr) -> Option<Spot>) -> usize {
        let before = self.members.len();
        self.members.retain(|_, member| member.standing.is_here());
        for (_, rack) in std::mem::take(&mut self.racks) {
            for addr in rack.hosts {
                let Some(member) = self.members.get_mut(&addr) else { continue };
                let Some(spot) = locate(addr.ip()) else {
                    self.members.remove(&addr);
                    continue;
                };
                let members = self.racks.entry(spot.rack).or_insert_with(|| Members::at(spot));
                members.hosts.push(addr);
                member.rack = spot.rack;
                member.is_gateway &= wants_gateway(members.gateways.len());
                members.gateways.extend(member.is_gateway.then_some(addr));
            }
        }
        before - self.members.len()
    }
}

/// A swarm as the policies see it.
pub(super) struct View<'a> {
    pub(super) swarm: &'a Swarm,
    pub(super) topology: &'a Topology,
}

impl View<'_> {
    fn place(&self, rack: Rack) -> Option<Place> {
        self.swarm.racks.get(&rack).map(|members| members.place)
    }
}

impl steering::Racks for View<'_> {
    type Id = SocketAddr;

    fn racks(&self) -> impl Iterator<Item = Rack> + Clone {
        self.swarm.racks.iter().filter(|(_, members)| !members.gateways.is_empty()).map(|(rack, _)| *rack)
    }

    fn hosts(&self, rack: Rack) -> &[SocketAddr] {
        self.swarm.racks.get(&rack).map_or(&[], |members| &members.hosts)
    }

    fn gateways(&self, rack: Rack) -> &[SocketAddr] {
        self.swarm.racks.get(&rack).map_or(&[], Members::gateways)
    }

    fn distance(&self, one: Rack, other: Rack) -> u32 {
        let places = self.place(one).zip(self.place(other));
        places.map_or(u32::MAX, |(one, other)| self.topology.distance(one, other).into())
    }
}
