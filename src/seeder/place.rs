//! Where a peer is, as far as its address tells: which host it is on, and which group that belongs to.

use std::net::IpAddr;

use crate::config::GroupPrefixes;

/// Peers that are near each other and share limits and reserved slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group(IpAddr);

/// The group of an address: the network that it lies in.
pub(super) fn group_of(ip: IpAddr, prefixes: &GroupPrefixes) -> Group {
    Group(prefixes.network(ip))
}

/// An IPv6 host has a whole /64 to take addresses from.
const ONE_HOST: GroupPrefixes = GroupPrefixes { v4: 32, v6: 64 };

/// The host of an address, by the first of its addresses.
pub(super) fn host_of(ip: IpAddr) -> IpAddr {
    ONE_HOST.network(ip)
}
