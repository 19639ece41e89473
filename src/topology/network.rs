//! Networks: addresses that begin with the same bits. An IPv4 address is one however it is written, mapped into IPv6
//! as well.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A network such as `10.1.0.0/16` or `fd00:1::/48`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

/// The leading bits of an IPv4 address that is mapped into IPv6 (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

impl Network {
    /// The network in which an address lies with all others that begin with the same so many bits; more than it has
    /// are all of them.
    pub fn around(ip: IpAddr, bits: u8) -> Self {
        let alone = IpNet::from(ip.to_canonical());
        Self(IpNet::new(alone.addr(), bits.min(alone.max_prefix_len())).unwrap_or(alone).trunc())
    }

    /// How many bits its addresses begin with.
    pub fn bits(self) -> u8 {
        self.0.prefix_len()
    }

    /// Its first address.
    pub fn first(self) -> IpAddr {
        self.0.network()
    }

    pub(super) fn last(self) -> IpAddr {
        self.0.broadcast()
    }
}

/// What was given is no network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// It can't be read as one.
    #[error("{0:?} is not a network; write ADDRESS/BITS, such as 10.1.0.0/16 or fd00:1::/48")]
    Malformed(String),
    /// It names a host, or its prefix is a slip.
    #[error("{written} has bits set past its prefix; write {meant} if that is meant")]
    HostBits {
        /// As it was written.
        written: String,
        /// The network that the address lies in.
        meant: Network,
    },
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let written: IpNet = text.parse().map_err(|_| NetworkError::Malformed(text.to_owned()))?;
        let ip = written.addr().to_canonical();
        // Of a prefix that ends before the mapped address does, other addresses have the most.
        let net = match written.prefix_len().checked_sub(MAPPED_BITS) {
            Some(bits) if ip != written.addr() => IpNet::new(ip, bits).unwrap_or(written),
            _ => written,
        };
        let meant = Self(net.trunc());
        if meant.0 != net {
            return Err(NetworkError::HostBits { written: text.to_owned(), meant });
        }
        Ok(meant)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, NetworkError> {
        text.parse::<Network>().map(|network| network.to_string())
    }

    #[test]
    fn reads_networks_of_both_families_however_they_are_written() {
        for (text, network) in [
            ("10.1.0.0/16", "10.1.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("fd00:1::/48", "fd00:1::/48"),
            ("FD00:1:0::/48", "fd00:1::/48"),
            ("::/0", "::/0"),
            ("::ffff:10.1.0.0/112", "10.1.0.0/16"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(network), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_network() {
        for wrong in [
            "",
            "10.1.0.0",
            "10.1/16",
            "10.1.0.0/33",
            "fd00::/129",
            "10.1.0.0/-1",
            "rack7",
            "/16",
            "10.1.0.0/",
        ] {
            assert_eq!(read(wrong), Err(NetworkError::Malformed(wrong.to_owned())));
        }
    }

    #[test]
    fn says_which_network_is_meant_where_bits_are_set_past_the_prefix() {
        for (wrong, meant) in [
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("fd00:1::1/48", "fd00:1::/48"),
            ("::ffff:10.1.2.3/112", "10.1.0.0/16"),
        ] {
            let said = read(wrong).unwrap_err().to_string();
            assert!(said.contains(wrong) && said.contains(&format!("write {meant} ")), "{said}");
        }
    }

    #[test]
    fn finds_the_network_around_an_address() {
        let around = |ip: &str, bits| Network::around(ip.parse().unwrap(), bits).to_string();
        assert_eq!(around("10.1.2.3", 24), "10.1.2.0/24");
        assert_eq!(around("::ffff:10.1.2.3", 24), "10.1.2.0/24");
        assert_eq!(around("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::/64");
        assert_eq!([around("10.1.2.3", 0), around("2001:db8::1", 0)], ["0.0.0.0/0", "::/0"]);
        assert_eq!([around("10.1.2.3", 99), around("2001:db8::1", 200)], ["10.1.2.3/32", "2001:db8::1/128"]);
    }
}
