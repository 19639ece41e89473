//! Which host a peer is on, as far as its address tells.

use std::net::IpAddr;

use crate::topology::Network;

/// An IPv6 host has a whole network of so many bits to take addresses from.
const ONE_HOST_V6: u8 = 64;

/// The host of an address, by the first of its addresses.
pub(super) fn host_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => ip,
        ip @ IpAddr::V6(_) => Network::around(ip, ONE_HOST_V6).first(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_ipv4_address_and_a_whole_network_of_ipv6_ones() {
        let host = |ip: &str| host_of(ip.parse().unwrap()).to_string();
        assert_eq!([host("10.1.2.3"), host("::ffff:10.1.2.3")], ["10.1.2.3", "10.1.2.3"]);
        assert_eq!([host("2001:db8:1:2::3"), host("2001:db8:1:2:3::")], ["2001:db8:1:2::", "2001:db8:1:2::"]);
        assert_eq!(host("2001:db8:1:3::"), "2001:db8:1:3::");
    }
}
