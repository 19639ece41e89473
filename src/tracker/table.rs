//! The peers of one swarm and one address family: in pools without gaps, of which some can be drawn without walking
//! all; found by address and by id; and chained by who has the address, the one that was silent for longest first.
//! Chooses nobody and bounds nothing.
//!
//! A peer takes 44 bytes by IPv4 and 56 by IPv6, and 18 to 36 in the tables that find it. No operation takes time that
//! grows with the swarm.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use distributor_proto::PeerId;

use super::address::Address;
use super::clock::Seconds;
use super::pages::Pages;
use super::parts::Parts;

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) addr: SocketAddr,
    pub(super) id: PeerId,
    /// The digest of its key; 0 for one that has none.
    pub(super) key: u32,
    /// When it did so last.
    pub(super) announced: Seconds,
    /// For how many seconds from then on it counts as present.
    pub(super) patience: u16,
    pub(super) is_seed: bool,
}

impl Peer {
    /// Whether it is the one with this id, as a key shows; without one nothing does.
    pub(super) fn is(&self, id: &PeerId, key: u32) -> bool {
        key != 0 && self.key == key && self.id == *id
    }

    pub(super) fn is_expired(&self, now: Seconds) -> bool {
        now.since(self.announced) >= u32::from(self.patience)
    }
}

/// Peers that are given to the same askers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) seeds: bool,
    /// Those at loopback addresses, which mean another host to everyone else.
    pub(super) loopback: bool,
}

impl Pool {
    pub(super) const ALL: [Self; 4] = [
        Self { seeds: false, loopback: false },
        Self { seeds: true, loopback: false },
        Self { seeds: false, loopback: true },
        Self { seeds: true, loopback: true },
    ];

    pub(super) fn number(self) -> usize {
        usize::from(self.seeds) + 2 * usize::from(self.loopback)
    }

    fn of(peer: &Peer) -> Self {
        Self { seeds: peer.is_seed, loopback: peer.addr.ip().is_loopback() }
    }
}

/// Where a peer lies: the number of its pool in the upper two bits, its index there below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

impl Slot {
    const SHIFT: u32 = 30;

    fn new(pool: Pool, index: usize) -> Self {
        // There are far fewer peers than that.
        #[expect(clippy::cast_possible_truncation)]
        Self((pool.number() as u32) << Self::SHIFT | index as u32)
    }

    fn pool(self) -> Pool {
        Pool::ALL[(self.0 >> Self::SHIFT) as usize]
    }

    fn index(self) -> usize {
        (self.0 & ((1 << Self::SHIFT) - 1)) as usize
    }
}

/// What is looked at of a peer whenever some are chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Face<A> {
    addr: A,
    patience: u16,
    key: u32,
    announced: Seconds,
}

/// What else is kept of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    pub(super) id: PeerId,
    /// Those of the same group who announced just before and just after it; in a ring.
    older: Slot,
    newer: Slot,
}

/// The peers of one pool.
pub(super) type Entries<A> = Pages<Face<A>, Rest>;

impl<A: Address> Face<A> {
    /// Its address as it is kept.
    pub(super) fn place(&self) -> A {
        self.addr
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr.addr()
    }

    /// Whether it may be the one with this key; without one nothing says so.
    pub(super) fn may_be(&self, key: u32) -> bool {
        key != 0 && self.key == key
    }

    pub(super) fn is_expired(&self, now: Seconds) -> bool {
        now.since(self.announced) >= u32::from(self.patience)
    }

    pub(super) fn peer(&self, rest: &Rest, pool: Pool) -> Peer {
        let Self { patience, key, announced, .. } = *self;
        Peer { addr: self.addr(), id: rest.id, key, announced, patience, is_seed: pool.seeds }
    }
}

/// The peers of one group, which begin with the one that was silent for longest.
#[derive(Clone, Copy, Debug)]
struct Group {
    oldest: Slot,
    places: u32,
}

#[derive(Debug)]
struct Pools<A>([Entries<A>; Pool::ALL.len()]);

impl<A: Address> Pools<A> {
    fn face(&self, slot: Slot) -> &Face<A> {
        &self.0[slot.pool().number()][slot.index()]
    }

    fn rest(&self, slot: Slot) -> &Rest {
        self.0[slot.pool().number()].rest(slot.index())
    }

    fn rest_mut(&mut self, slot: Slot) -> &mut Rest {
        self.0[slot.pool().number()].rest_mut(slot.index())
    }

    fn peer(&self, slot: Slot) -> Peer {
        self.face(slot).peer(self.rest(slot), slot.pool())
    }
}

/// Everything that says how entries are found hashes by this.
#[derive(Clone, Debug, Default)]
struct Seed(RandomState);

impl Seed {
    fn addr<A: Address>(&self, addr: &A) -> u64 {
        self.0.hash_one(addr.bytes())
    }

    fn id(&self, id: &PeerId) -> u64 {
        self.0.hash_one(id)
    }

    fn group<A: Address>(&self, addr: &A) -> u64 {
        self.0.hash_one(addr.group())
    }
}

/// Peers of one address family.
#[derive(Debug)]
pub(super) struct Table<A> {
    pools: Pools<A>,
    by_addr: Parts<Slot>,
    /// One of each id: others may well say that they have the same.
    by_id: Parts<Slot>,
    groups: Parts<Group>,
    seed: Seed,
}

impl<A> Default for Table<A> {
    fn default() -> Self {
        Self {
            pools: Pools(std::array::from_fn(|_| Pages::default())),
            by_addr: Parts::default(),
            by_id: Parts::default(),
            groups: Parts::default(),
            seed: Seed::default(),
        }
    }
}

impl<A: Address> Table<A> {
    pub(super) fn len(&self) -> usize {
        self.pools.0.iter().map(Pages::len).sum()
    }

    pub(super) fn pool(&self, pool: Pool) -> &Entries<A> {
        &self.pools.0[pool.number()]
    }

    /// For saving it; entries stay what they are.
    pub(super) fn pool_mut(&mut self, pool: Pool) -> &mut Entries<A> {
        &mut self.pools.0[pool.number()]
    }

    fn slot(&self, addr: &A) -> Option<Slot> {
        self.by_addr.find(self.seed.addr(addr), |slot| self.pools.face(*slot).addr == *addr).copied()
    }

    pub(super) fn get(&self, addr: &A) -> Option<Peer> {
        self.slot(addr).map(|slot| self.pools.peer(slot))
    }

    /// The address of the peer with this id, if it has shown this key as well, and there is one to be shown.
    pub(super) fn same_as(&self, id: &PeerId, key: u32) -> Option<A> {
        let slot = self.by_id.find(self.seed.id(id), |slot| self.pools.rest(*slot).id == *id)?;
        let face = self.pools.face(*slot);
        face.may_be(key).then_some(face.addr)
    }

    fn group(&self, addr: &A) -> Option<Group> {
        let (key, pools) = (addr.group(), &self.pools);
        let is_it = |group: &Group| pools.face(group.oldest).addr.group() == key;
        self.groups.find(self.seed.group(addr), is_it).copied()
    }

    /// How many peers there are of the group of an address.
    pub(super) fn places(&self, addr: &A) -> u32 {
        self.group(addr).map_or(0, |group| group.places)
    }

    /// Who of the group of an address was silent for longest.
    pub(super) fn oldest_beside(&self, addr: &A) -> Option<A> {
        self.group(addr).map(|group| self.pools.face(group.oldest).addr)
    }

    /// All peers of the group of an address, the one that announced last first.
    pub(super) fn beside(&self, addr: &A) -> impl Iterator<Item = Peer> {
        let group = self.group(addr);
        let mut next = group.map(|group| self.pools.rest(group.oldest).older);
        (0..group.map_or(0, |group| group.places)).filter_map(move |_| {
            let slot = next?;
            next = Some(self.pools.rest(slot).older);
            Some(self.pools.peer(slot))
        })
    }

    /// Puts a peer in, or what is new of it; `false` for the latter.
    pub(super) fn insert(&mut self, addr: A, peer: &Peer) -> bool {
        let pool = Pool::of(peer);
        let known = self.slot(&addr);
        if let Some(slot) = known.filter(|slot| slot.pool() == pool && self.pools.rest(*slot).id == peer.id) {
            // Alone in its ring it is the newest already.
            if self.pools.rest(slot).older != slot {
                self.unlink(slot);
                self.link(slot);
            }
            let pages = &mut self.pools.0[pool.number()];
            let Peer { key, announced, patience, .. } = *peer;
            pages[slot.index()] = Face { addr, patience, key, announced };
            pages.changed(slot.index());
            return false;
        }
        if let Some(slot) = known {
            self.remove_at(slot);
        }
        let Peer { id, key, announced, patience, .. } = *peer;
        let pages = &mut self.pools.0[pool.number()];
        let slot = Slot::new(pool, pages.len());
        pages.push(Face { addr, patience, key, announced }, Rest { id, older: slot, newer: slot });
        let (pools, seed) = (&self.pools, &self.seed);
        self.by_addr.insert(seed.addr(&addr), slot, |slot| seed.addr(&pools.face(*slot).addr));
        let id_hash = seed.id(&id);
        if self.by_id.find(id_hash, |slot| pools.rest(*slot).id == id).is_none() {
            self.by_id.insert(id_hash, slot, |slot| seed.id(&pools.rest(*slot).id));
        }
        self.link(slot);
        known.is_none()
    }

    pub(super) fn remove(&mut self, addr: &A) -> Option<Peer> {
        let slot = self.slot(addr)?;
        Some(self.remove_at(slot))
    }

    /// Takes out whom `is_to_go` says of a page of a pool; gives their addresses to `gone`.
    pub(super) fn sweep(
        &mut self,
        pool: Pool,
        page: usize,
        is_to_go: impl Fn(&Face<A>) -> bool,
        mut gone: impl FnMut(SocketAddr),
    ) {
        // From behind: what comes in the place of one that goes was looked at already, or lies in a later page.
        for index in self.pool(pool).page(page).rev() {
            let slot = Slot::new(pool, index);
            if self.pool(pool).get(index).is_some_and(&is_to_go) {
                gone(self.remove_at(slot).addr);
            }
        }
    }

    fn remove_at(&mut self, slot: Slot) -> Peer {
        self.unlink(slot);
        let (pools, seed) = (&self.pools, &self.seed);
        let (face, rest) = (pools.face(slot), pools.rest(slot));
        let is_it = |other: &Slot| *other == slot;
        self.by_addr.remove(seed.addr(&face.addr), is_it, |slot| seed.addr(&pools.face(*slot).addr));
        self.by_id.remove(seed.id(&rest.id), is_it, |slot| seed.id(&pools.rest(*slot).id));
        let pool = slot.pool();
        let pages = &mut self.pools.0[pool.number()];
        let (face, rest) = pages.swap_remove(slot.index());
        let peer = face.peer(&rest, pool);
        let last = Slot::new(pool, pages.len());
        if last != slot {
            self.moved(last, slot);
        }
        peer
    }

    /// What lay in one slot lies in another now: whatever names it is told.
    fn moved(&mut self, from: Slot, to: Slot) {
        let (addr, Rest { id, older, newer }) = (self.pools.face(to).addr, *self.pools.rest(to));
        let is_it = |slot: &Slot| *slot == from;
        if let Some(slot) = self.by_addr.find_mut(self.seed.addr(&addr), is_it) {
            *slot = to;
        }
        if let Some(slot) = self.by_id.find_mut(self.seed.id(&id), is_it) {
            *slot = to;
        }
        if let Some(group) = self.groups.find_mut(self.seed.group(&addr), |group| group.oldest == from) {
            group.oldest = to;
        }
        // Alone in its ring it is its own neighbour.
        let [older, newer] = [older, newer].map(|slot| if slot == from { to } else { slot });
        self.pools.rest_mut(older).newer = to;
        self.pools.rest_mut(newer).older = to;
    }

    /// Makes a peer the newest of its group.
    fn link(&mut self, slot: Slot) {
        let (pools, seed) = (&self.pools, &self.seed);
        let addr = pools.face(slot).addr;
        let (key, hash) = (addr.group(), seed.group(&addr));
        let is_it = |group: &Group| pools.face(group.oldest).addr.group() == key;
        let (older, newer) = match self.groups.find_mut(hash, is_it) {
            Some(group) => {
                group.places += 1;
                (pools.rest(group.oldest).older, group.oldest)
            }
            None => {
                let group_hash = |group: &Group| seed.group(&pools.face(group.oldest).addr);
                self.groups.insert(hash, Group { oldest: slot, places: 1 }, group_hash);
                (slot, slot)
            }
        };
        let rest = self.pools.rest_mut(slot);
        (rest.older, rest.newer) = (older, newer);
        self.pools.rest_mut(older).newer = slot;
        self.pools.rest_mut(newer).older = slot;
    }

    fn unlink(&mut self, slot: Slot) {
        let (pools, seed) = (&self.pools, &self.seed);
        let (addr, Rest { older, newer, .. }) = (pools.face(slot).addr, *pools.rest(slot));
        let (key, hash) = (addr.group(), seed.group(&addr));
        let is_it = |group: &Group| pools.face(group.oldest).addr.group() == key;
        if older == slot {
            self.groups.remove(hash, is_it, |group| seed.group(&pools.face(group.oldest).addr));
            return;
        }
        if let Some(group) = self.groups.find_mut(hash, is_it) {
            group.places -= 1;
            if group.oldest == slot {
                group.oldest = newer;
            }
        }
        self.pools.rest_mut(older).newer = newer;
        self.pools.rest_mut(newer).older = older;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::address::{V4, V6};
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::HashMap;

    fn peer(addr: SocketAddr, announced: u32) -> Peer {
        let id = PeerId::new([addr.port() as u8; 20]);
        Peer { addr, id, key: 7, announced: Seconds::new(announced), patience: 10, is_seed: false }
    }

    fn host(last: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, last], port).into()
    }

    fn insert(table: &mut Table<V4>, peer: Peer) -> bool {
        table.insert(V4::of(peer.addr).unwrap(), &peer)
    }

    #[test]
    fn takes_as_little_as_it_says() {
        assert_eq!((size_of::<Face<V4>>(), size_of::<Face<V6>>(), size_of::<Rest>()), (16, 28, 28));
        assert_eq!((size_of::<Slot>(), size_of::<Group>()), (4, 8));
    }

    #[test]
    fn knows_the_places_of_an_address_and_who_of_them_was_silent_for_longest() {
        let mut table = Table::default();
        for (n, port) in [1, 2, 3, 1].into_iter().enumerate() {
            insert(&mut table, peer(host(1, port), n as u32));
        }
        insert(&mut table, peer(host(2, 9), 0));
        let beside = V4::of(host(1, 0)).unwrap();
        assert_eq!(table.places(&beside), 3);
        assert_eq!(table.oldest_beside(&beside).unwrap().addr(), host(1, 2));
        let ports: Vec<u16> = table.beside(&beside).map(|peer| peer.addr.port()).collect();
        assert_eq!(ports, [1, 3, 2]);
        table.remove(&V4::of(host(1, 2)).unwrap());
        assert_eq!(table.oldest_beside(&beside).unwrap().addr(), host(1, 3));
        assert_eq!(table.places(&V4::of(host(3, 0)).unwrap()), 0);
    }

    #[test]
    fn knows_a_peer_again_by_its_id_and_key_only() {
        let mut table = Table::default();
        insert(&mut table, peer(host(1, 5), 0));
        let id = peer(host(1, 5), 0).id;
        assert_eq!(table.same_as(&id, 7).unwrap().addr(), host(1, 5));
        assert_eq!(table.same_as(&id, 8), None);
        assert_eq!(table.same_as(&PeerId::new([6; 20]), 7), None);
        insert(&mut table, Peer { key: 0, ..peer(host(1, 5), 0) });
        assert_eq!(table.same_as(&id, 0), None, "it has shown nothing");
    }

    /// As it would be with a plain map and a list for each group.
    #[test]
    fn does_what_a_plain_map_would_whatever_happens() {
        let mut rng = SmallRng::seed_from_u64(1);
        let (mut table, mut plain) = (Table::<V4>::default(), HashMap::<SocketAddr, (usize, Peer)>::new());
        for step in 0..60_000 {
            // It grows past its first part, and then it dwindles.
            let hosts = if step < 40_000 { 100 } else { 4 };
            let ip =
                if rng.random_bool(0.9) { [10, 0, 0, rng.random_range(0..hosts)] } else { [127, 0, 0, 1] };
            let addr = SocketAddr::from((ip, rng.random_range(1..100)));
            let key = V4::of(addr).unwrap();
            if rng.random_bool(if step < 40_000 { 0.8 } else { 0.1 }) {
                let peer = Peer { is_seed: rng.random(), ..peer(addr, step) };
                assert_eq!(table.insert(key, &peer), plain.insert(addr, (step as usize, peer)).is_none());
            } else {
                assert_eq!(table.remove(&key), plain.remove(&addr).map(|(_, peer)| peer));
            }
            assert_eq!(
                (table.len(), table.get(&key)),
                (plain.len(), plain.get(&addr).map(|(_, peer)| *peer))
            );
            let mut beside: Vec<_> = plain.values().filter(|(_, peer)| peer.addr.ip() == addr.ip()).collect();
            if step % 64 == 0 {
                beside.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
                assert!(table.beside(&key).eq(beside.iter().map(|(_, peer)| *peer)));
            }
            assert_eq!(table.places(&key), beside.len() as u32);
        }
        for (_, peer) in plain.values() {
            assert_eq!(table.remove(&V4::of(peer.addr).unwrap()), Some(*peer));
        }
        assert_eq!(table.len(), 0);
    }
}
