//! Which piece the origin shows to which gateway: each first to one place, and to each host of a rack another one.
//!
//! A peer can ask only for what it was shown, so that showing is how the origin decides what crosses its link, and what
//! enters each rack. Owns what was shown and who has got what; whether to super-seed at all, and the wire, are others'.

mod census;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use distributor_proto::{Bitfield, Geometry, PieceIndex};
use indexmap::IndexMap;
use rand::{Rng, RngExt};

use self::census::{Census, Copies, words};
use super::Rack;

/// What is on its way should take the origin so long: with less, links run dry; with more, each piece arrives later,
/// and goes on from there later.
const AHEAD: Duration = Duration::from_millis(1_400);
/// But so many pieces are on their way whatever the rate.
const MIN_WINDOW: usize = 8;
/// They are shared out among so many peers, unless fewer want any.
const PEERS_AT_A_TIME: usize = 8;
/// A peer is shown so many pieces whatever the window, to ask for the second before the first has come.
const MIN_AHEAD: usize = 2;
/// A peer with so many pieces that nobody else has got yet gives slower than it takes: others come first.
const MAX_UNSPREAD: usize = 8;
/// A piece that has been on its way for so long is in nobody's way: its peer is slow, the origin's link isn't.
const SLOW: Duration = Duration::from_secs(3);
/// A piece that was sent so long ago has arrived, whether the peer says so or not: aria2 tells nobody of pieces that it
/// had from them.
const LANDED: Duration = Duration::from_secs(1);
/// A peer that gets none for so long is alone: what was promised to it may go to others, and it is shown whatever it
/// lacks until it gets something from others.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many pieces may be on their way at once from an origin that sends so many bytes a second.
pub(crate) fn window(rate: u64, piece_len: u32) -> usize {
    let bytes = u128::from(rate) * AHEAD.as_millis() / 1000;
    usize::try_from(bytes / u128::from(piece_len.max(1))).unwrap_or(usize::MAX).max(MIN_WINDOW)
}

#[derive(Debug)]
struct Peer {
    rack: Rack,
    is_gateway: bool,
    has: Bitfield,
    shown: Bitfield,
    /// What it was shown, when, and has not got.
    promised: Vec<(PieceIndex, Instant)>,
    /// What of that was sent, when, and it hasn't said that it has it.
    landing: Vec<(PieceIndex, Instant)>,
    /// How many pieces it got from the origin that nobody else has got.
    unspread: usize,
    /// When it joined, got its last piece, or was last found stuck.
    progressed: Instant,
    /// Whether it seems to get nothing from others.
    is_alone: bool,
}

impl Peer {
    fn wants_any(&self) -> bool {
        self.is_gateway && !self.has.is_full() && !self.shown.is_full()
    }

    /// Takes a piece from what was promised to it; whether it was.
    fn redeem(&mut self, piece: PieceIndex) -> bool {
        [&mut self.promised, &mut self.landing].into_iter().any(|pieces| {
            let at = pieces.iter().position(|(other, _)| *other == piece);
            at.map(|at| pieces.swap_remove(at)).is_some()
        })
    }
}

/// What the origin has shown of one torrent, and what became of it. As many peers as it is told of.
#[derive(Debug)]
pub(crate) struct SuperSeed<Id> {
    geometry: Geometry,
    peers: IndexMap<Id, Peer>,
    everywhere: Census,
    racks: HashMap<Rack, Census>,
    /// Who got a piece from the origin, while nobody else has it.
    only: HashMap<PieceIndex, Id>,
    /// What a rack has is not shown to others in it.
    spares_uplinks: bool,
}

impl<Id: Copy + Eq + Hash> SuperSeed<Id> {
    pub(crate) fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            peers: IndexMap::new(),
            everywhere: Census::new(&geometry),
            racks: HashMap::new(),
            only: HashMap::new(),
            spares_uplinks: true,
        }
    }

    /// Whether what a rack has is shown to others in it only where they are alone, so that it crosses the rack's uplink
    /// once: so at first. Where racks are only guessed nobody knows that their uplinks are thin, and the origin goes on
    /// for as long as anybody lacks anything, rarest pieces first.
    pub(crate) fn spare_uplinks(&mut self, spare: bool) {
        self.spares_uplinks = spare;
    }

    /// How many racks are told apart.
    pub(crate) fn rack_count(&self) -> usize {
        self.racks.len()
    }

    /// A peer has connected and said what it has.
    pub(crate) fn join(&mut self, id: Id, rack: Rack, has: Bitfield, now: Instant) {
        self.leave(&id);
        self.racks.entry(rack).or_insert_with(|| Census::new(&self.geometry));
        let pieces = self.geometry.pieces().filter(|piece| has.contains(*piece));
        pieces.for_each(|piece| self.count(rack, piece, |copies| copies.held += 1));
        let peer = Peer {
            rack,
            is_gateway: false,
            has,
            shown: Bitfield::empty(self.geometry.piece_count()),
            promised: Vec::new(),
            landing: Vec::new(),
            unspread: 0,
            progressed: now,
            is_alone: false,
        };
        self.peers.insert(id, peer);
    }

    /// Its connection has ended.
    pub(crate) fn leave(&mut self, id: &Id) {
        let Some(peer) = self.peers.swap_remove(id) else { return };
        let pieces = self.geometry.pieces().filter(|piece| peer.has.contains(*piece));
        pieces.for_each(|piece| self.count(peer.rack, piece, |copies| copies.held -= 1));
        for (piece, _) in peer.promised.into_iter().chain(peer.landing) {
            self.count(peer.rack, piece, |copies| copies.promised -= 1);
        }
        self.only.retain(|_, first| first != id);
        self.forget_if_empty(peer.rack);
    }

    fn forget_if_empty(&mut self, rack: Rack) {
        if !self.peers.values().any(|peer| peer.rack == rack) {
            self.racks.remove(&rack);
        }
    }

    /// Only gateways are shown anything; what was shown can't be taken back.
    pub(crate) fn set_gateway(&mut self, id: &Id, is_gateway: bool) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.is_gateway = is_gateway;
        }
    }

    /// It sees everything, and takes what it likes: nothing is promised to it.
    pub(crate) fn sees_everything(&mut self, id: &Id) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.shown = Bitfield::full(self.geometry.piece_count());
        let (rack, promised) = (peer.rack, std::mem::take(&mut peer.promised));
        for (piece, _) in promised {
            self.count(rack, piece, |copies| copies.promised -= 1);
        }
    }

    /// It turns out to stand elsewhere.
    pub(crate) fn move_to(&mut self, id: &Id, rack: Rack) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let from = std::mem::replace(&mut peer.rack, rack);
        self.racks.entry(rack).or_insert_with(|| Census::new(&self.geometry));
        let held: Vec<PieceIndex> =
            self.geometry.pieces().filter(|piece| peer.has.contains(*piece)).collect();
        let promised: Vec<PieceIndex> =
            peer.promised.iter().chain(&peer.landing).map(|(piece, _)| *piece).collect();
        for piece in held {
            self.count(from, piece, |copies| copies.held -= 1);
            self.count(rack, piece, |copies| copies.held += 1);
        }
        for piece in promised {
            self.count(from, piece, |copies| copies.promised -= 1);
            self.count(rack, piece, |copies| copies.promised += 1);
        }
        self.forget_if_empty(from);
    }

    /// A piece has been sent to it, all of it. How long that took since it was shown, where it was.
    pub(crate) fn sent(&mut self, id: Id, piece: PieceIndex, now: Instant) -> Option<Duration> {
        let peer = self.peers.get_mut(&id)?;
        let Some(at) = peer.promised.iter().position(|(other, _)| *other == piece) else {
            if !peer.landing.iter().any(|(other, _)| *other == piece) {
                self.has(id, piece, now);
            }
            return None;
        };
        let (_, shown) = peer.promised.swap_remove(at);
        peer.landing.push((piece, now));
        peer.progressed = now;
        Some(now.saturating_duration_since(shown))
    }

    /// Whether a peer isn't known to have a piece that it wasn't shown either: if it has it now, others gave it.
    pub(crate) fn is_unshown(&self, id: &Id, piece: PieceIndex) -> bool {
        self.peers.get(id).is_some_and(|peer| !peer.has.contains(piece) && !peer.shown.contains(piece))
    }

    /// A peer says that it has a piece; whether that was on its way from here, and makes room for another.
    pub(crate) fn has(&mut self, id: Id, piece: PieceIndex, now: Instant) -> bool {
        let held = self.everywhere.of(piece).held;
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        if !peer.has.insert(piece) {
            return false;
        }
        peer.progressed = now;
        peer.is_alone &= peer.shown.contains(piece);
        let rack = peer.rack;
        let promised = peer.redeem(piece);
        if held == 0 && peer.shown.contains(piece) {
            peer.unspread += 1;
            self.only.insert(piece, id);
        } else if let Some(first) = self.only.remove(&piece)
            && let Some(first) = self.peers.get_mut(&first)
        {
            first.unspread = first.unspread.saturating_sub(1);
        }
        self.count(rack, piece, |copies| {
            copies.held += 1;
            copies.promised -= u32::from(promised);
        });
        promised
    }

    /// What to show now, to whom: to be called whenever a piece has come, and now and then. In turn to racks that wait
    /// for least, and there to who has least to give to others.
    pub(crate) fn reveal(
        &mut self,
        window: usize,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Vec<(Id, PieceIndex)> {
        self.land(now);
        self.give_up_on_the_stuck(now);
        let is_slow = |at: &Instant| now.saturating_duration_since(*at) >= SLOW;
        let mut on_the_way = 0;
        let mut waiting: HashMap<Rack, usize> = HashMap::new();
        for peer in self.peers.values() {
            on_the_way += peer.promised.iter().filter(|(_, at)| !is_slow(at)).count();
            *waiting.entry(peer.rack).or_default() += peer.promised.len();
        }
        let mut candidates: Vec<Id> =
            self.peers.iter().filter(|(_, peer)| peer.wants_any()).map(|(id, _)| *id).collect();
        let ahead = (window / candidates.len().clamp(1, PEERS_AT_A_TIME)).max(MIN_AHEAD);

        let mut shown = Vec::new();
        while on_the_way < window {
            candidates.retain(|id| self.peers.get(id).is_some_and(|peer| peer.promised.len() < ahead));
            let urgency = |id: &Id| {
                let peer = self.peers.get(id)?;
                let on_the_way = peer.promised.len() + peer.landing.len();
                let to_give = peer.has.count() as usize + on_the_way + peer.unspread;
                Some((peer.unspread >= MAX_UNSPREAD, waiting.get(&peer.rack).copied(), to_give))
            };
            let next = candidates.iter().copied().enumerate().min_by_key(|(_, id)| urgency(id));
            let Some((at, id)) = next else { break };
            let Some(piece) = self.piece_for(&id, rng) else {
                candidates.swap_remove(at);
                continue;
            };
            let Some(peer) = self.peers.get_mut(&id) else { break };
            peer.shown.insert(piece);
            peer.promised.push((piece, now));
            let rack = peer.rack;
            *waiting.entry(rack).or_default() += 1;
            self.count(rack, piece, |copies| copies.promised += 1);
            on_the_way += 1;
            shown.push((id, piece));
        }
        shown
    }

    /// The piece that has the fewest copies. One that has some is shown only where its rack has none: what a rack has,
    /// it has for all its hosts, unless one is alone, or uplinks needn't be spared.
    fn piece_for(&self, id: &Id, rng: &mut impl Rng) -> Option<PieceIndex> {
        let peer = self.peers.get(id)?;
        let lacking = |at: usize| !(words(&peer.has, at) | words(&peer.shown, at));
        let start = rng.random_range(0..self.geometry.piece_count().max(1));
        let nowhere = self.everywhere.absent(start, lacking).next();
        let piece = nowhere.or_else(|| {
            let may_have_any = peer.is_alone || !self.spares_uplinks;
            match self.racks.get(&peer.rack).filter(|_| !may_have_any) {
                Some(rack) => self.everywhere.rarest(rack.absent(start, lacking)),
                None => self.everywhere.rarest(self.everywhere.all(start, lacking)),
            }
        });
        self.geometry.piece(piece?)
    }

    /// What was sent a while ago has arrived.
    fn land(&mut self, now: Instant) {
        let has_landed = |at: &Instant| now.saturating_duration_since(*at) >= LANDED;
        let mut landed = Vec::new();
        for (id, peer) in &self.peers {
            let pieces = peer.landing.iter().filter(|(_, at)| has_landed(at));
            landed.extend(pieces.map(|(piece, _)| (*id, *piece)));
        }
        for (id, piece) in landed {
            self.has(id, piece, now);
        }
    }

    /// What was promised to those who get nothing may go to others.
    fn give_up_on_the_stuck(&mut self, now: Instant) {
        let is_stuck = |peer: &&mut Peer| now.saturating_duration_since(peer.progressed) >= PATIENCE;
        let mut late = Vec::new();
        for peer in self.peers.values_mut().filter(is_stuck) {
            (peer.is_alone, peer.progressed) = (true, now);
            late.push((peer.rack, std::mem::take(&mut peer.promised)));
        }
        for (rack, promised) in late {
            promised
                .into_iter()
                .for_each(|(piece, _)| self.count(rack, piece, |copies| copies.promised -= 1));
        }
    }

    fn count(&mut self, rack: Rack, piece: PieceIndex, change: impl Fn(&mut Copies)) {
        self.everywhere.update(piece, &change);
        self.racks.entry(rack).or_insert_with(|| Census::new(&self.geometry)).update(piece, &change);
    }
}

#[cfg(test)]
mod tests;
