//! Who may send how many bytes, and when: token buckets in a hierarchy (all peers, each group, each host) and a fair
//! line before them. Plain values; who waits is told by the driver, and so is the time.
//!
//! A peer asks, waits, is granted a *quantum* for one write, and says how much of it the write took. No bucket grants
//! what it hasn't got, and none holds more than a fiftieth of a second's bytes, so that no second has more than 1.02
//! times the rate; and as it is that deep, a driver that wakes up some milliseconds late loses nothing.
//!
//! The line is start-time fair queueing (Goyal, Vin and Cheng, 1996): each peer has a tag that moves on by the bytes it
//! has sent, and the least tag goes first. Whatever the sizes of their writes, those who always want more have sent the
//! same number of bytes, to within a quantum. That holds too for those who miss a turn by no fault of theirs, as their
//! task was late or their file had to be looked at first: some turns are made good. Peers wait at their host, which
//! draws from one bucket however many connections it has; hosts wait in their group, and groups before the total. Where
//! there is no limit of a kind, all wait at one place.

mod bucket;

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::num::NonZeroU64;
use std::time::Instant;

use self::bucket::{Bucket, Kept};

/// A quantum is the bytes of this part of a second: half of what a bucket holds.
const QUANTUM: u64 = 100;
/// But no less than fills a packet: at rates below 70 kB/s a second may have one packet too many.
const MIN_QUANTUM: u64 = 1448;
/// And no more than a queue of the smallest blocks that clients ask for has: who asks for a KiB at a time has as much
/// in a quantum as who asks for 128.
const MAX_QUANTUM: u64 = 64 * 1024;
/// How many quanta a peer may have less than others and still catch up, where it always wanted more. Meanwhile those it
/// catches up with wait: it is some rounds, and no more.
const MADE_GOOD: u64 = 4;

/// Bytes a second, each where there is a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) total: Option<NonZeroU64>,
    pub(super) per_group: Option<NonZeroU64>,
    /// Of each host, whatever connections it has.
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

/// All peers that have asked.
#[derive(Debug)]
pub(super) struct Limiter<Id, Host, Group> {
    limits: Limits,
    total: Option<Bucket>,
    peers: HashMap<Id, Peer<Host, Group>>,
    hosts: HashMap<HostKey<Host, Group>, Node<Id>>,
    groups: HashMap<Option<Group>, Node<HostKey<Host, Group>>>,
    /// Hosts that wait for their own buckets, by when these have enough.
    resting_hosts: BTreeSet<(Instant, HostKey<Host, Group>)>,
    /// Groups likewise.
    resting_groups: BTreeSet<(Instant, Option<Group>)>,
    /// Groups that wait for the total alone, by the tags of their first.
    ready_groups: BTreeSet<(u64, Option<Group>)>,
    left_hosts: Kept<HostKey<Host, Group>>,
    left_groups: Kept<Option<Group>>,
    /// The highest tag of what was collected. Nobody joins the line below it but for turns that are to be made good:
    /// time not used isn't saved up.
    served: u64,
}

/// Where peers wait: at their host if hosts have a limit, in their group if groups have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct HostKey<Host, Group> {
    host: Option<Host>,
    group: Option<Group>,
}

#[derive(Debug)]
struct Peer<Host, Group> {
    host: Host,
    group: Group,
    tag: u64,
    /// How far below the others it may join the line: what it has missed.
    missed: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Content,
    InLine(u64),
    Granted(u64),
}

/// A host or a group, and who waits in it, by their tags.
#[derive(Debug)]
struct Node<Child> {
    bucket: Option<Bucket>,
    waiting: BTreeSet<(u64, Child)>,
    place: Option<Place>,
    /// How many peers it is for, waiting or not.
    members: usize,
}

/// Among which a node is, if anybody waits in it.
#[derive(Clone, Copy, Debug)]
enum Place {
    Resting(Instant),
    Ready(u64),
}

impl<Child: Ord> Node<Child> {
    fn new(bucket: Option<Bucket>) -> Self {
        Self { bucket, waiting: BTreeSet::new(), place: None, members: 0 }
    }

    /// Where it belongs, by who waits in it and what its bucket has.
    fn next_place(&self, quantum: u64, now: Instant) -> Option<Place> {
        let (first, _) = self.waiting.first()?;
        let has_at = self.bucket.map(|bucket| bucket.has_at(quantum));
        Some(has_at.filter(|at| *at > now).map_or(Place::Ready(*first), Place::Resting))
    }
}

impl<Id: Copy + Ord + Hash, Host: Copy + Ord + Hash, Group: Copy + Ord + Hash> Limiter<Id, Host, Group> {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            total: limits.total.map(|rate| Bucket::new(rate, limits.quantum(), now)),
            peers: HashMap::new(),
            hosts: HashMap::new(),
            groups: HashMap::new(),
            resting_hosts: BTreeSet::new(),
            resting_groups: BTreeSet::new(),
            ready_groups: BTreeSet::new(),
            left_hosts: Kept::default(),
            left_groups: Kept::default(),
            served: 0,
        }
    }

    /// Other limits from now on. Who waits goes on waiting, in the same order, and so does who was granted something
    /// and hasn't [collected](Self::collect) it: that was by the old limits.
    pub(super) fn set_limits(&mut self, limits: Limits, now: Instant) {
        let peers = std::mem::take(&mut self.peers);
        *self = Self { served: self.served, ..Self::new(limits, now) };
        for (id, peer) in peers {
            let Peer { host, group, state, .. } = peer;
            self.join(id, Peer { state: State::Content, ..peer }, now);
            if state != State::Content {
                self.ask(id, host, group, now);
            }
        }
    }

    /// Other groups from now on, by what they were; else as with [other limits](Self::set_limits).
    pub(super) fn regroup(&mut self, now: Instant, group_of: impl Fn(Id, Group) -> Group) {
        for (id, peer) in &mut self.peers {
            peer.group = group_of(*id, peer.group);
        }
        self.set_limits(self.limits, now);
    }

    fn key(&self, host: Host, group: Group) -> HostKey<Host, Group> {
        HostKey { host: self.limits.per_peer.map(|_| host), group: self.limits.per_group.map(|_| group) }
    }

    fn key_of(&self, id: &Id) -> Option<HostKey<Host, Group>> {
        self.peers.get(id).map(|peer| self.key(peer.host, peer.group))
    }

    fn join(&mut self, id: Id, peer: Peer<Host, Group>, now: Instant) {
        let (key, quantum) = (self.key(peer.host, peer.group), self.limits.quantum());
        let Self { limits, hosts, groups, left_hosts, left_groups, .. } = self;
        let new = |rate: NonZeroU64| Bucket::new(rate, quantum, now);
        let host_node = hosts.entry(key).or_insert_with(|| {
            Node::new(limits.per_peer.map(|rate| left_hosts.take(&key).unwrap_or_else(|| new(rate))))
        });
        host_node.members += 1;
        let group_node = groups.entry(key.group).or_insert_with(|| {
            Node::new(limits.per_group.map(|rate| left_groups.take(&key.group).unwrap_or_else(|| new(rate))))
        });
        group_node.members += 1;
        self.peers.insert(id, peer);
    }

    /// A peer could send. It is known from now on until it [leaves](Self::leave).
    pub(super) fn ask(&mut self, id: Id, host: Host, group: Group, now: Instant) {
        if !self.peers.contains_key(&id) {
            // It has missed nothing of what was before it came.
            let peer = Peer { host, group, tag: self.served, missed: 0, state: State::Content };
            self.join(id, peer, now);
        }
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.state == State::Content) else { return };
        let tag = peer.tag.max(self.served.saturating_sub(peer.missed));
        peer.state = State::InLine(tag);
        let key = self.key(host, group);
        if let Some(node) = self.hosts.get_mut(&key) {
            node.waiting.insert((tag, id));
        }
        self.put_host_in_place(key, now);
    }

    /// Moves a host to where it belongs, and its group with it.
    fn put_host_in_place(&mut self, key: HostKey<Host, Group>, now: Instant) {
        let quantum = self.limits.quantum();
        if let (Some(node), Some(group)) = (self.hosts.get_mut(&key), self.groups.get_mut(&key.group)) {
            match node.place {
                Some(Place::Resting(at)) => self.resting_hosts.remove(&(at, key)),
                Some(Place::Ready(tag)) => group.waiting.remove(&(tag, key)),
                None => false,
            };
            node.place = node.next_place(quantum, now);
            match node.place {
                Some(Place::Resting(at)) => self.resting_hosts.insert((at, key)),
                Some(Place::Ready(tag)) => group.waiting.insert((tag, key)),
                None => false,
            };
        }
        self.put_group_in_place(key.group, now);
    }

    fn put_group_in_place(&mut self, key: Option<Group>, now: Instant) {
        let quantum = self.limits.quantum();
        let Some(node) = self.groups.get_mut(&key) else { return };
        match node.place {
            Some(Place::Resting(at)) => self.resting_groups.remove(&(at, key)),
            Some(Place::Ready(tag)) => self.ready_groups.remove(&(tag, key)),
            None => false,
        };
        node.place = node.next_place(quantum, now);
        match node.place {
            Some(Place::Resting(at)) => self.resting_groups.insert((at, key)),
            Some(Place::Ready(tag)) => self.ready_groups.insert((tag, key)),
            None => false,
        };
    }

    /// Grants what can be granted now; `granted` hears to whom.
    pub(super) fn serve(&mut self, now: Instant, mut granted: impl FnMut(Id)) {
        while let Some((_, key)) = self.resting_hosts.first().filter(|(at, _)| *at <= now).copied() {
            self.put_host_in_place(key, now);
        }
        while let Some((_, key)) = self.resting_groups.first().filter(|(at, _)| *at <= now).copied() {
            self.put_group_in_place(key, now);
        }
        let quantum = self.limits.quantum();
        while self.total.is_none_or(|total| total.has_at(quantum) <= now)
            && let Some((key, tag, id)) = self.pop_first()
        {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.tag = tag;
                peer.state = State::Granted(quantum);
                self.charge(id, quantum, now);
                granted(id);
            }
            self.put_host_in_place(key, now);
        }
    }

    /// Takes out of the line who is first in it, and says with which tag. Its host is to be put in its place.
    fn pop_first(&mut self) -> Option<(HostKey<Host, Group>, u64, Id)> {
        let (_, group) = self.ready_groups.first()?;
        let (_, key) = *self.groups.get(group)?.waiting.first()?;
        let (tag, id) = self.hosts.get_mut(&key)?.waiting.pop_first()?;
        Some((key, tag, id))
    }

    /// When to [serve](Self::serve) again, if anybody waits.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let quantum = self.limits.quantum();
        let total = self.total.filter(|_| !self.ready_groups.is_empty()).map(|total| total.has_at(quantum));
        let hosts = self.resting_hosts.first().map(|(at, _)| *at);
        let groups = self.resting_groups.first().map(|(at, _)| *at);
        [total, hosts, groups].into_iter().flatten().min()
    }

    /// What was granted to a peer, and is now in its hands.
    pub(super) fn collect(&mut self, id: Id) -> Option<u64> {
        let peer = self.peers.get_mut(&id)?;
        let State::Granted(bytes) = peer.state else { return None };
        peer.state = State::Content;
        self.served = self.served.max(peer.tag.saturating_sub(bytes));
        Some(bytes)
    }

    /// Of what a peer [collected](Self::collect) it sent so many bytes. The rest is given back; what was sent beyond is
    /// made up for.
    pub(super) fn settle(&mut self, id: Id, collected: u64, sent: u64, now: Instant) {
        match collected.checked_sub(sent) {
            Some(unused) => self.refund(id, unused, now),
            None => self.charge(id, sent - collected, now),
        }
        let (served, bound) = (self.served, self.made_good());
        if let Some(peer) = self.peers.get_mut(&id) {
            // Who had no room for any of it has kept others waiting for nothing.
            peer.missed = if sent == 0 { 0 } else { served.saturating_sub(peer.tag).min(bound) };
        }
    }

    fn made_good(&self) -> u64 {
        MADE_GOOD * self.limits.quantum()
    }

    /// A peer can't send now, whatever it asked for, and not for want of wanting: it leaves the line, and what it was
    /// granted is given back.
    pub(super) fn withdraw(&mut self, id: Id, now: Instant) {
        let (key, bound) = (self.key_of(&id), self.made_good());
        let Some((key, peer)) = key.zip(self.peers.get_mut(&id)) else { return };
        peer.missed = bound;
        if let State::Granted(unused) = peer.state {
            peer.state = State::Content;
            self.refund(id, unused, now);
            return;
        }
        if let State::InLine(tag) = std::mem::replace(&mut peer.state, State::Content)
            && let Some(node) = self.hosts.get_mut(&key)
        {
            node.waiting.remove(&(tag, id));
            self.put_host_in_place(key, now);
        }
    }

    /// A peer is gone.
    pub(super) fn leave(&mut self, id: Id, now: Instant) {
        self.withdraw(id, now);
        let Some(key) = self.key_of(&id) else { return };
        self.peers.remove(&id);
        if let Some(bucket) = remove_member(&mut self.hosts, &key) {
            self.left_hosts.put(key, bucket, now);
        }
        if let Some(bucket) = remove_member(&mut self.groups, &key.group) {
            self.left_groups.put(key.group, bucket, now);
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
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.tag = peer.tag.saturating_sub(bytes);
        }
        if let Some(key) = self.key_of(&id) {
            self.put_host_in_place(key, now);
        }
    }

    fn each_bucket(&mut self, id: Id, mut act: impl FnMut(&mut Bucket)) {
        let Some(key) = self.key_of(&id) else { return };
        let host = self.hosts.get_mut(&key).and_then(|node| node.bucket.as_mut());
        let group = self.groups.get_mut(&key.group).and_then(|node| node.bucket.as_mut());
        [self.total.as_mut(), group, host].into_iter().flatten().for_each(&mut act);
    }
}

/// One peer fewer in a node; the bucket of one that has none left, if it has any.
fn remove_member<Key: Eq + Hash, Child>(nodes: &mut HashMap<Key, Node<Child>>, key: &Key) -> Option<Bucket> {
    let node = nodes.get_mut(key)?;
    node.members = node.members.saturating_sub(1);
    if node.members > 0 {
        return None;
    }
    nodes.remove(key)?.bucket
}

#[cfg(test)]
mod tests;
