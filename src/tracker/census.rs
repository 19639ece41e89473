//! How many peers there are in all swarms together, and that no one address has more than its share of them: who could
//! fill the tracker would keep everybody else out. Swarms say who comes and goes.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::address::group_of;

/// How many peers are remembered in all swarms together; a newcomer past that is answered but not remembered.
pub(super) const MAX_PEERS: usize = 1_000_000;
/// How many of them may be at one address, or in one /64.
pub(super) const MAX_SHARE: u32 = MAX_PEERS as u32 / 16;
/// Addresses are counted in so many buckets, whichever chance puts together: with all peers there that adds 15 to what
/// one has, which is nothing beside its share, where a count for each would take tens of megabytes.
const BUCKETS: usize = 65_536;

#[derive(Debug)]
pub(super) struct Census {
    peers: AtomicUsize,
    shares: Box<[AtomicU32]>,
    /// Nobody knows whose bucket they could fill.
    seed: RandomState,
    max: usize,
}

impl Default for Census {
    fn default() -> Self {
        let shares = (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self { peers: AtomicUsize::new(0), shares, seed: RandomState::new(), max: MAX_PEERS }
    }
}

impl Census {
    /// For fewer peers than there may be.
    #[cfg(test)]
    pub(super) fn of(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    fn share(&self, ip: IpAddr) -> Option<&AtomicU32> {
        let bucket = self.seed.hash_one((ip.is_ipv4(), group_of(ip))) % BUCKETS as u64;
        self.shares.get(usize::try_from(bucket).ok()?)
    }

    pub(super) fn peers(&self) -> usize {
        self.peers.load(Ordering::Relaxed)
    }

    /// Counts a newcomer, if there is room for it.
    pub(super) fn enter(&self, ip: IpAddr) -> bool {
        let Some(share) = self.share(ip) else { return false };
        if self.peers.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.peers.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if share.fetch_add(1, Ordering::Relaxed) >= MAX_SHARE {
            self.leave(ip);
            return false;
        }
        true
    }

    /// One that was counted is gone.
    pub(super) fn leave(&self, ip: IpAddr) {
        if let Some(share) = self.share(ip) {
            self.peers.fetch_sub(1, Ordering::Relaxed);
            share.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    #[test]
    fn one_address_cannot_keep_all_others_out() {
        let census = Census::default();
        assert_eq!((0..MAX_PEERS).filter(|_| census.enter(host(1))).count(), MAX_SHARE as usize);
        assert_eq!(census.peers(), MAX_SHARE as usize);
        // Few others can have the same bucket.
        assert!((2..100).filter(|n| census.enter(host(*n))).count() >= 95);
        census.leave(host(1));
        assert!(census.enter(host(1)) && !census.enter(host(1)));
    }

    #[test]
    fn all_addresses_of_one_network_of_ipv6_have_one_share() {
        let census = Census::default();
        let entered = (0..2 * u128::from(MAX_SHARE)).filter(|n| {
            census.enter(std::net::Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0000_0000 + n).into())
        });
        assert_eq!(entered.count(), MAX_SHARE as usize);
    }

    #[test]
    fn counts_no_more_than_its_bound() {
        let census = Census::of(2);
        assert_eq!([1, 2, 3].map(|n| census.enter(host(n))), [true, true, false]);
        census.leave(host(1));
        assert!(census.enter(host(3)));
        assert_eq!(census.peers(), 2);
    }
}
