//! Which proxies stand between hosts and this one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// The addresses of proxies that are believed when they say for whom they ask: a network (`10.0.0.0/24`,
/// `2001:db8::/64`) or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

/// What was given names no network.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no network; write an address, or one with its prefix length, such as 10.0.0.0/24")]
pub struct TrustedProxyError(String);

impl TrustedProxy {
    /// Whether an address, IPv4-mapped ones taken as IPv4, is one of these.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }
}

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| TrustedProxyError(text.to_owned()))
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_networks_and_single_addresses() {
        let contains =
            |network: &str, ip: &str| network.parse::<TrustedProxy>().unwrap().contains(ip.parse().unwrap());
        assert!(contains("10.1.0.0/16", "10.1.2.3") && !contains("10.1.0.0/16", "10.2.0.1"));
        assert!(contains("10.1.0.0/16", "::ffff:10.1.2.3"), "it is the same address");
        assert!(contains("192.0.2.1", "192.0.2.1") && !contains("192.0.2.1", "192.0.2.2"));
        assert!(contains("2001:db8::/32", "2001:db8::7") && !contains("2001:db8::/32", "2001:db9::7"));
        assert!(contains("::1", "::1") && !contains("::1", "127.0.0.1"));
        assert!(contains("0.0.0.0/0", "192.0.2.1") && !contains("0.0.0.0/0", "2001:db8::7"));
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0/8", "10.0.0.1:80", "::/129"] {
            assert!(wrong.parse::<TrustedProxy>().is_err(), "{wrong:?}");
        }
    }
}
