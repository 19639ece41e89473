//! One swarm: its peers by address, downloaders and seeders apart, v4 and v6 apart. Holds and counts; chooses nobody.

use std::net::SocketAddr;
use std::time::Instant;

use distributor_proto::PeerId;
use indexmap::IndexMap;

/// What is known of a peer beside its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    /// From then on it counts as gone, if it hasn't announced again.
    pub(super) expires: Instant,
}

/// Peers by (address, port). Order means nothing, but each has an index: some can be drawn without walking all.
pub(super) type Peers = IndexMap<SocketAddr, Peer>;

/// The peers of one address family.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) downloaders: Peers,
    pub(super) seeders: Peers,
}

impl Family {
    fn len(&self) -> usize {
        self.downloaders.len() + self.seeders.len()
    }

    fn expire(&mut self, now: Instant) {
        for peers in [&mut self.downloaders, &mut self.seeders] {
            peers.retain(|_, peer| peer.expires > now);
        }
    }
}

/// All peers of one torrent.
#[derive(Debug)]
pub(super) struct Swarm {
    v4: Family,
    v6: Family,
    downloads: u32,
    born: Instant,
}

impl Swarm {
    pub(super) fn new(now: Instant) -> Self {
        Self { v4: Family::default(), v6: Family::default(), downloads: 0, born: now }
    }

    /// When the first peer came.
    pub(super) fn born(&self) -> Instant {
        self.born
    }

    /// How often the download was completed.
    pub(super) fn downloads(&self) -> u32 {
        self.downloads
    }

    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Seeders and downloaders, as announces call them: complete and incomplete.
    pub(super) fn counts(&self) -> (u32, u32) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (
            count(self.v4.seeders.len() + self.v6.seeders.len()),
            count(self.v4.downloaders.len() + self.v6.downloaders.len()),
        )
    }

    /// The families, that of `addr` first.
    pub(super) fn families(&self, addr: SocketAddr) -> [&Family; 2] {
        if addr.is_ipv4() { [&self.v4, &self.v6] } else { [&self.v6, &self.v4] }
    }

    fn family_mut(&mut self, addr: SocketAddr) -> &mut Family {
        if addr.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }

    pub(super) fn contains(&self, addr: SocketAddr) -> bool {
        let [family, _] = self.families(addr);
        family.downloaders.contains_key(&addr) || family.seeders.contains_key(&addr)
    }

    pub(super) fn insert(&mut self, addr: SocketAddr, peer: Peer, seeder: bool) {
        let Family { downloaders, seeders } = self.family_mut(addr);
        let (to, from) = if seeder { (seeders, downloaders) } else { (downloaders, seeders) };
        from.swap_remove(&addr);
        to.insert(addr, peer);
    }

    pub(super) fn remove(&mut self, addr: SocketAddr) {
        let family = self.family_mut(addr);
        family.downloaders.swap_remove(&addr);
        family.seeders.swap_remove(&addr);
    }

    /// Counts a completed download, unless it is known already that this peer has everything.
    pub(super) fn count_download(&mut self, addr: SocketAddr) {
        let [family, _] = self.families(addr);
        if !family.seeders.contains_key(&addr) {
            self.downloads = self.downloads.saturating_add(1);
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.v4.expire(now);
        self.v6.expire(now);
    }
}
