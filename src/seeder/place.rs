//! Where a peer is, as far as its address tells: which host it is on, and which group that belongs to.

use std::net::{IpAddr, Ipv6Addr};

use crate::config::GroupPrefixes;

/// Peers that are near each other and share limits and reserved slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group(IpAddr);

/// The group of an address: the network that it lies in.
pub(super) fn group_of(ip: IpAddr, prefixes: &GroupPrefixes) -> Group {
    Group(prefixes.network(ip))
}

/// One host: an IPv6 host has a whole /64 to take addresses from.
pub(super) fn host_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}
