//! Who may send how many bytes, and when: token buckets in a hierarchy (all peers, each group, each peer) and a fair line
//! before them. Plain values; who waits is told by the driver, and so is the time.
//!
//! A peer asks, waits, is granted a *quantum* for one write, and says how much of it the write took. No bucket grants
//! what it hasn't got, and none holds more than a fiftieth of a second's bytes, so that no second has more than 1.02
//! times the rate; and as it is that deep, a driver that wakes up some milliseconds late loses nothing.
//!
//! The line is start-time fair queueing (Goyal, Vin and Cheng, 1996): each peer has a tag that moves on by the bytes it
//! has sent, and the least tag goes first. Whatever the sizes of their writes, those who always want more have sent the
//! same number of bytes, to within a quantum.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A bucket holds the bytes of this part of a second.
const DEPTH: u64 = 50;
/// A quantum is the bytes of this part of a second: half of what a bucket holds.
const QUANTUM: u64 = 100;
/// But no less than fills a packet: at rates below 70 kB/s a second may have one packet too many.
const MIN_QUANTUM: u64 = 1448;
/// And no more than a queue of the smallest blocks that clients ask for has: who asks for a KiB at a time has as much in
/// a quantum as who asks for 128.
const MAX_QUANTUM: u64 = 64 * 1024;

/// Bytes a second, each where there is a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) total: Option<NonZeroU64>,
    pub(super) per_group: Option<NonZeroU64>,
    pub(super) per_peer: Option<NonZeroU64>,
}

impl Limits {
    pub(super) fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// What is granted at a time; small enough for the slowest of the buckets.
    pub(super) fn quantum(&self) -> u64 {
        [self.total, self.per_group, self.per_peer]
            .into_iter()
            .flatten()
            .map(|rate| (rate.get() / QUANTUM).clamp(MIN_QUANTUM, MAX_QUANTUM))
            .min()
            .unwrap_or(MAX_QUANTUM)
    }
}

/// So many bytes a second. Says when it will be full again, from which all else follows.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: NonZeroU64,
    depth: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A full one, from which `quantum` can be had at a time.
    fn new(rate: NonZeroU64, quantum: u64, now: Instant) -> Self {
        let depth = time_of((rate.get() / DEPTH).max(quantum), rate);
        Self { rate, depth, full_at: now }
    }

    /// When it will have so many bytes; a time that is past if it has them.
    fn has_at(&self, bytes: u64) -> Instant {
        let empty_at = self.full_at.checked_sub(self.depth).unwrap_or(self.full_at);
        later(empty_at, time_of(bytes, self.rate))
    }

    fn take(&mut self, bytes: u64, now: Instant) {
        self.full_at = later(self.full_at.max(now), time_of(bytes, self.rate));
    }

    fn give_back(&mut self, bytes: u64) {
        self.full_at = self.full_at.checked_sub(time_of(bytes, self.rate)).unwrap_or(self.full_at);
    }
}

fn time_of(bytes: u64, rate: NonZeroU64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).unwrap_or(at)
}

/// All peers that have asked.
#[derive(Debug)]
pub(super) struct Limiter<Id, Group> {
    limits: Limits,
    total: Option<Bucket>,
    peers: HashMap<Id, Peer<Group>>,
    /// A line for each group, or, where groups have no limit, one for all.
    lines: HashMap<Option<Group>, Line<Id>>,
    /// Peers that wait for their own buckets, by when these have enough.
    resting_peers: BTreeSet<(Instant, Id)>,
    /// Lines that wait for their buckets, likewise.
    resting_lines: BTreeSet<(Instant, Option<Group>)>,
    /// Lines that wait for the total alone, by the tags of their first.
    ready_lines: BTreeSet<(u64, Option<Group>)>,
    /// The highest tag that was served. Nobody joins the line below it: time not used isn't saved up.
    served: u64,
}

#[derive(Debug)]
struct Peer<Group> {
    group: Group,
    bucket: Option<Bucket>,
    tag: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Content,
    Resting(Instant),
    InLine(u64),
    Granted(u64),
}

#[derive(Debug)]
struct Line<Id> {
    bucket: Option<Bucket>,
    waiting: BTreeSet<(u64, Id)>,
    place: Option<Place>,
    /// How many peers it is for, waiting or not.
    members: usize,
}

/// In which of the sets a line is, if anybody waits in it.
#[derive(Clone, Copy, Debug)]
enum Place {
    Resting(Instant),
    Ready(u64),
}

impl<Id: Copy + Ord + Hash, Group: Copy + Ord + Hash> Limiter<Id, Group> {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            total: limits.total.map(|rate| Bucket::new(rate, limits.quantum(), now)),
            peers: HashMap::new(),
            lines: HashMap::new(),
            resting_peers: BTreeSet::new(),
            resting_lines: BTreeSet::new(),
            ready_lines: BTreeSet::new(),
            served: 0,
        }
    }

    /// Other limits from now on. Who waits goes on waiting, in the same order, and so does who was granted something
    /// and hasn't [collected](Self::collect) it: that was by the old limits.
    pub(super) fn set_limits(&mut self, limits: Limits, now: Instant) {
        let peers = std::mem::take(&mut self.peers);
        *self = Self { served: self.served, ..Self::new(limits, now) };
        for (id, peer) in peers {
            self.join(id, peer.group, peer.tag, now);
            if peer.state != State::Content {
                self.ask(id, peer.group, now);
            }
        }
    }

    fn join(&mut self, id: Id, group: Group, tag: u64, now: Instant) {
        let quantum = self.limits.quantum();
        let bucket = |rate: Option<NonZeroU64>| rate.map(|rate| Bucket::new(rate, quantum, now));
        let line = self.lines.entry(self.limits.per_group.map(|_| group)).or_insert_with(|| Line {
            bucket: bucket(self.limits.per_group),
            waiting: BTreeSet::new(),
            place: None,
            members: 0,
        });
        line.members += 1;
        self.peers
            .insert(id, Peer { group, bucket: bucket(self.limits.per_peer), tag, state: State::Content });
    }

    /// A peer could send. It is known from now on until it [leaves](Self::leave).
    pub(super) fn ask(&mut self, id: Id, group: Group, now: Instant) {
        if !self.peers.contains_key(&id) {
            self.join(id, group, 0, now);
        }
        let quantum = self.limits.quantum();
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.state == State::Content) else { return };
        match peer.bucket.map(|bucket| bucket.has_at(quantum)).filter(|at| *at > now) {
            Some(at) => {
                peer.state = State::Resting(at);
                self.resting_peers.insert((at, id));
            }
            None => self.stand_in_line(id, now),
        }
    }

    fn stand_in_line(&mut self, id: Id, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let tag = peer.tag.max(self.served);
        peer.state = State::InLine(tag);
        let key = self.limits.per_group.map(|_| peer.group);
        if let Some(line) = self.lines.get_mut(&key) {
            line.waiting.insert((tag, id));
        }
        self.put_in_place(key, now);
    }

    /// Moves a line to where it belongs, by who waits in it and what its bucket has.
    fn put_in_place(&mut self, key: Option<Group>, now: Instant) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        match line.place.take() {
            Some(Place::Resting(at)) => self.resting_lines.remove(&(at, key)),
            Some(Place::Ready(tag)) => self.ready_lines.remove(&(tag, key)),
            None => false,
        };
        let Some((first, _)) = line.waiting.first() else { return };
        let has_at = line.bucket.map(|bucket| bucket.has_at(self.limits.quantum()));
        match has_at.filter(|at| *at > now) {
            Some(at) => {
                line.place = Some(Place::Resting(at));
                self.resting_lines.insert((at, key));
            }
            None => {
                line.place = Some(Place::Ready(*first));
                self.ready_lines.insert((*first, key));
            }
        }
    }

    /// Grants what can be granted now; `granted` hears to whom.
    pub(super) fn serve(&mut self, now: Instant, mut granted: impl FnMut(Id)) {
        while let Some((_, id)) = self.resting_peers.first().filter(|(at, _)| *at <= now).copied() {
            self.resting_peers.pop_first();
            self.stand_in_line(id, now);
        }
        while let Some((_, key)) = self.resting_lines.first().filter(|(at, _)| *at <= now).copied() {
            self.put_in_place(key, now);
        }
        let quantum = self.limits.quantum();
        while self.total.is_none_or(|total| total.has_at(quantum) <= now)
            && let Some((tag, key)) = self.ready_lines.first().copied()
        {
            let first = self.lines.get_mut(&key).and_then(|line| line.waiting.pop_first());
            if let Some((_, id)) = first
                && let Some(peer) = self.peers.get_mut(&id)
            {
                peer.tag = tag;
                peer.state = State::Granted(quantum);
                self.served = self.served.max(tag);
                self.charge(id, quantum, now);
                granted(id);
            }
            self.put_in_place(key, now);
        }
    }

    /// When to [serve](Self::serve) again, if anybody waits.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let quantum = self.limits.quantum();
        let total = self.total.filter(|_| !self.ready_lines.is_empty()).map(|total| total.has_at(quantum));
        let peers = self.resting_peers.first().map(|(at, _)| *at);
        let lines = self.resting_lines.first().map(|(at, _)| *at);
        [total, peers, lines].into_iter().flatten().min()
    }

    /// What was granted to a peer, and is now in its hands.
    pub(super) fn collect(&mut self, id: Id) -> Option<u64> {
        let peer = self.peers.get_mut(&id)?;
        let State::Granted(bytes) = peer.state else { return None };
        peer.state = State::Content;
        Some(bytes)
    }

    /// Of what a peer [collected](Self::collect) it sent so many bytes. The rest is given back; what was sent beyond is
    /// made up for.
    pub(super) fn settle(&mut self, id: Id, collected: u64, sent: u64, now: Instant) {
        match collected.checked_sub(sent) {
            Some(unused) => self.refund(id, unused, now),
            None => self.charge(id, sent - collected, now),
        }
    }

    /// A peer is gone. What it was granted is given back.
    pub(super) fn leave(&mut self, id: Id, now: Instant) {
        if let Some(unused) = self.collect(id) {
            self.refund(id, unused, now);
        }
        let Some(peer) = self.peers.remove(&id) else { return };
        let key = self.limits.per_group.map(|_| peer.group);
        let Some(line) = self.lines.get_mut(&key) else { return };
        match peer.state {
            State::Resting(at) => self.resting_peers.remove(&(at, id)),
            State::InLine(tag) => line.waiting.remove(&(tag, id)),
            State::Content | State::Granted(_) => false,
        };
        line.members = line.members.saturating_sub(1);
        let is_over = line.members == 0;
        self.put_in_place(key, now);
        if is_over {
            self.lines.remove(&key);
        }
    }

    /// So many bytes go from all buckets that a peer draws from.
    fn charge(&mut self, id: Id, bytes: u64, now: Instant) {
        self.each_bucket(id, |bucket| bucket.take(bytes, now));
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.tag = peer.tag.saturating_add(bytes);
        }
    }

    fn refund(&mut self, id: Id, bytes: u64, now: Instant) {
        self.each_bucket(id, |bucket| bucket.give_back(bytes));
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.tag = peer.tag.saturating_sub(bytes);
        let key = self.limits.per_group.map(|_| peer.group);
        self.put_in_place(key, now);
    }

    fn each_bucket(&mut self, id: Id, mut act: impl FnMut(&mut Bucket)) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let line = self.lines.get_mut(&self.limits.per_group.map(|_| peer.group));
        let buckets = [self.total.as_mut(), line.and_then(|line| line.bucket.as_mut()), peer.bucket.as_mut()];
        buckets.into_iter().flatten().for_each(&mut act);
    }
}

#[cfg(test)]
mod tests;
