//! Which piece the origin shows to which gateway: each first to one place, and to each host of a rack another one.
//!
//! A peer can ask only for what it was shown, so that showing is how the origin decides what crosses its link, and what
//! enters each rack. Owns what was shown and who has got what; whether to super-seed at all, and the wire, are others'.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use distributor_proto::{Bitfield, Geometry, PieceIndex};
use indexmap::IndexMap;
use rand::{Rng, RngExt};

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
/// A peer that gets none for so long is alone: what was promised to it may go to others, and it is shown whatever it
/// lacks until it gets something from others.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many pieces may be on their way at once from an origin that sends so many bytes a second.
pub(crate) fn window(rate: u64, piece_len: u32) -> usize {
    let bytes = u128::from(rate) * AHEAD.as_millis() / 1000;
    usize::try_from(bytes / u128::from(piece_len.max(1))).unwrap_or(usize::MAX).max(MIN_WINDOW)
}

/// How many hosts have a piece, and to how many it is promised.
#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    held: u32,
    promised: u32,
}

impl Copies {
    fn all(self) -> u32 {
        self.held.saturating_add(self.promised)
    }
}

/// The copies of each piece.
#[derive(Clone, Debug)]
struct Census(Box<[Copies]>);

impl Census {
    fn new(geometry: &Geometry) -> Self {
        Self(vec![Copies::default(); geometry.piece_count() as usize].into())
    }

    fn of(&self, piece: PieceIndex) -> Copies {
        self.0.get(piece.get() as usize).copied().unwrap_or_default()
    }

    fn update(&mut self, piece: PieceIndex, change: impl FnOnce(&mut Copies)) {
        if let Some(copies) = self.0.get_mut(piece.get() as usize) {
            change(copies);
        }
    }
}

#[derive(Debug)]
struct Peer {
    rack: Rack,
    is_gateway: bool,
    has: Bitfield,
    shown: Bitfield,
    /// What it was shown, when, and has not got.
    promised: Vec<(PieceIndex, Instant)>,
    /// How many pieces it got from the origin that nobody else has got.
    unspread: usize,
    /// When it joined, got its last piece, or was last found stuck.
    progressed: Instant,
    /// Whether it seems to get nothing from others.
    is_alone: bool,
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
}

impl<Id: Copy + Eq + Hash> SuperSeed<Id> {
    pub(crate) fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            peers: IndexMap::new(),
            everywhere: Census::new(&geometry),
            racks: HashMap::new(),
            only: HashMap::new(),
        }
    }

    /// A peer has connected and said what it has.
    pub(crate) fn join(&mut self, id: Id, rack: Rack, has: Bitfield, now: Instant) {
        self.leave(&id);
        let pieces = self.geometry.pieces().filter(|piece| has.contains(*piece));
        pieces.for_each(|piece| self.count(rack, piece, |copies| copies.held += 1));
        let peer = Peer {
            rack,
            is_gateway: false,
            has,
            shown: Bitfield::empty(self.geometry.piece_count()),
            promised: Vec::new(),
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
        for (piece, _) in peer.promised {
            self.count(peer.rack, piece, |copies| copies.promised -= 1);
        }
        self.only.retain(|_, first| first != id);
        if !self.peers.values().any(|other| other.rack == peer.rack) {
            self.racks.remove(&peer.rack);
        }
    }

    /// Only gateways are shown anything; what was shown can't be taken back.
    pub(crate) fn set_gateway(&mut self, id: &Id, is_gateway: bool) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.is_gateway = is_gateway;
        }
    }

    /// A peer says that it has a piece.
    pub(crate) fn has(&mut self, id: Id, piece: PieceIndex, now: Instant) {
        let held = self.everywhere.of(piece).held;
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.has.contains(piece)) else { return };
        if !peer.has.insert(piece) {
            return;
        }
        peer.progressed = now;
        peer.is_alone &= peer.shown.contains(piece);
        let rack = peer.rack;
        let promised = peer.promised.iter().position(|(other, _)| *other == piece);
        if let Some(at) = promised {
            peer.promised.swap_remove(at);
        }
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
            copies.promised -= u32::from(promised.is_some());
        });
    }

    /// What to show now, to whom: to be called whenever a piece has come, and now and then. In turn to racks that wait
    /// for least, and there to who has least to give to others.
    pub(crate) fn reveal(
        &mut self,
        window: usize,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Vec<(Id, PieceIndex)> {
        self.give_up_on_the_stuck(now);
        let is_slow = |at: &Instant| now.saturating_duration_since(*at) >= SLOW;
        let mut on_the_way = 0;
        let mut waiting: HashMap<Rack, usize> = HashMap::new();
        for peer in self.peers.values() {
            on_the_way += peer.promised.iter().filter(|(_, at)| !is_slow(at)).count();
            *waiting.entry(peer.rack).or_default() += peer.promised.len();
        }
        let wants = |peer: &Peer| peer.is_gateway && !peer.has.is_full();
        let mut candidates: Vec<Id> =
            self.peers.iter().filter(|(_, peer)| wants(peer)).map(|(id, _)| *id).collect();
        let ahead = (window / candidates.len().clamp(1, PEERS_AT_A_TIME)).max(MIN_AHEAD);

        let mut shown = Vec::new();
        while on_the_way < window {
            candidates.retain(|id| self.peers.get(id).is_some_and(|peer| peer.promised.len() < ahead));
            let urgency = |id: &Id| {
                let peer = self.peers.get(id)?;
                let to_give = peer.has.count() as usize + peer.promised.len() + peer.unspread;
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
    /// it has for all its hosts, unless one is alone.
    fn piece_for(&self, id: &Id, rng: &mut impl Rng) -> Option<PieceIndex> {
        let peer = self.peers.get(id)?;
        let rack = self.racks.get(&peer.rack);
        let start = rng.random_range(0..self.geometry.piece_count().max(1)) as usize;
        let pieces = self.geometry.pieces().skip(start).chain(self.geometry.pieces().take(start));
        let lacks = |piece: &PieceIndex| !peer.has.contains(*piece) && !peer.shown.contains(*piece);
        let in_rack = |piece| rack.map_or(0, |rack| rack.of(piece).all());
        pieces
            .filter(lacks)
            .map(|piece| (self.everywhere.of(piece).all(), piece))
            .filter(|(copies, piece)| peer.is_alone || *copies == 0 || in_rack(*piece) == 0)
            .min_by_key(|(copies, _)| *copies)
            .map(|(_, piece)| piece)
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
