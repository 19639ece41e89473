//! The longest prefix that an address begins with, found among any number of networks by one binary search: networks
//! lie within each other or apart, so that they cut the addresses into ranges of which each has one innermost network.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::network::Network;

/// What the networks of one address family have been given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ranges<T> {
    /// Where each range begins, in ascending order. It ends where the next begins.
    starts: Vec<u128>,
    /// The innermost network of each range, by its number of bits, and what that was given.
    innermost: Vec<Option<(u8, T)>>,
}

impl<T: Copy> Ranges<T> {
    /// Of networks of one family, none of which is there twice.
    pub(super) fn new(networks: impl IntoIterator<Item = (Network, T)>) -> Self {
        let mut networks: Vec<_> = networks
            .into_iter()
            .map(|(network, given)| (key(network.first()), key(network.last()), (network.bits(), given)))
            .collect();
        // Whatever lies in another comes after it.
        networks.sort_unstable_by_key(|(first, last, _)| (*first, Reverse(*last)));
        let mut ranges = Self { starts: Vec::new(), innermost: Vec::new() };
        let mut around = Vec::new();
        for (first, last, network) in networks {
            ranges.leave(&mut around, Some(first));
            ranges.begin(first, Some(network));
            around.push((last, network));
        }
        ranges.leave(&mut around, None);
        ranges
    }

    /// Leaves the networks that end before an address, or all of them.
    fn leave(&mut self, around: &mut Vec<(u128, (u8, T))>, before: Option<u128>) {
        while let Some((last, _)) = around.pop_if(|(last, _)| before.is_none_or(|before| *last < before)) {
            if let Some(next) = last.checked_add(1) {
                self.begin(next, around.last().map(|(_, network)| *network));
            }
        }
    }

    fn begin(&mut self, at: u128, innermost: Option<(u8, T)>) {
        // What began there just before has no address.
        if self.starts.last() == Some(&at) {
            self.starts.pop();
            self.innermost.pop();
        }
        self.starts.push(at);
        self.innermost.push(innermost);
    }

    /// The innermost network that an address of this family lies in, by its number of bits, and what that was given.
    pub(super) fn find(&self, ip: IpAddr) -> Option<(u8, T)> {
        let key = key(ip);
        let range = self.starts.partition_point(|start| *start <= key).checked_sub(1)?;
        *self.innermost.get(range)?
    }
}

fn key(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::HashMap;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn ranges(networks: &[&str]) -> Ranges<usize> {
        Ranges::new(networks.iter().enumerate().map(|(n, network)| (network.parse().unwrap(), n)))
    }

    fn found(ranges: &Ranges<usize>, ip: &str) -> Option<usize> {
        ranges.find(ip.parse().unwrap()).map(|(_, given)| given)
    }

    #[test]
    fn finds_nothing_where_there_are_no_networks() {
        assert_eq!(found(&ranges(&[]), "10.0.0.1"), None);
    }

    #[test]
    fn finds_the_innermost_of_networks_within_each_other() {
        let ranges = ranges(&["10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/24", "10.1.255.0/24", "10.2.0.0/16"]);
        for (ip, expected) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some(0)),
            ("10.1.0.0", Some(2)),
            ("10.1.0.255", Some(2)),
            ("10.1.1.0", Some(1)),
            ("10.1.254.255", Some(1)),
            ("10.1.255.0", Some(3)),
            ("10.1.255.255", Some(3)),
            ("10.2.0.0", Some(4)),
            ("10.3.0.0", Some(0)),
            ("10.255.255.255", Some(0)),
            ("11.0.0.0", None),
        ] {
            assert_eq!(found(&ranges, ip), expected, "{ip}");
        }
    }

    #[test]
    fn knows_the_first_and_the_last_address_there_is() {
        let all = ["0.0.0.0/0", "0.0.0.0/32", "255.255.255.255/32"];
        assert_eq!(
            ["0.0.0.0", "9.9.9.9", "255.255.255.255"].map(|ip| found(&ranges(&all), ip)),
            [1, 0, 2].map(Some)
        );
        let all = ["::/0", "::/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"];
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(["::", "fd00::", last].map(|ip| found(&ranges(&all), ip)), [1, 0, 2].map(Some));
    }

    /// As one would look without any cleverness.
    fn longest(networks: &HashMap<Network, usize>, ip: IpAddr) -> Option<(u8, usize)> {
        (0..=128).rev().find_map(|bits| {
            let network = Network::around(ip, bits);
            networks.get(&network).filter(|_| network.bits() == bits).map(|given| (bits, *given))
        })
    }

    #[test]
    fn finds_what_looking_at_every_prefix_finds() {
        let mut rng = SmallRng::seed_from_u64(1);
        for _ in 0..300 {
            let v4 = rng.random();
            // Few enough addresses that networks lie in each other.
            let mut ip = || match v4 {
                true => IpAddr::from(Ipv4Addr::from_bits(rng.random::<u32>() & 0x8000_03ff)),
                false => IpAddr::from(Ipv6Addr::from_bits(rng.random::<u128>() & (1 << 127 | 0x3ff))),
            };
            let ips: Vec<IpAddr> = (0..100).map(|_| ip()).collect();
            let bits = |ip: &IpAddr| if ip.is_ipv4() { 32 } else { 128 };
            let networks: HashMap<Network, usize> = ips
                .iter()
                .enumerate()
                .take(SmallRng::seed_from_u64(2).random_range(1..40))
                .map(|(n, ip)| (Network::around(*ip, bits(ip) - n as u8 % 14), n))
                .collect();
            let ranges = Ranges::new(networks.clone());
            for ip in ips {
                assert_eq!(ranges.find(ip), longest(&networks, ip), "{ip} in {networks:?}");
            }
        }
    }
}
