//! Socket addresses in their compact forms: 6 bytes (BEP 23) and 18 bytes (BEP 7).
//!
//! Owns the layout and the one notion of what an address *is*. Refuses IPv4-mapped IPv6 addresses on the
//! wire: they break clients, and the same peer would be known twice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes in a compact IPv4 peer: address and port, network order (BEP 23).
pub const COMPACT_V4_LEN: usize = 6;

/// Bytes in a compact IPv6 peer: address and port, network order (BEP 7).
pub const COMPACT_V6_LEN: usize = 18;

/// The most peers that a compact list is read for.
pub const MAX_COMPACT_PEERS: usize = 10_000;

/// Why bytes are no compact list of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// Not a whole number of peers.
    #[error("{len} bytes are not a whole number of compact peers")]
    Length {
        /// How many bytes there are.
        len: usize,
    },
    /// More than [`MAX_COMPACT_PEERS`].
    #[error("{peers} compact peers are more than the {MAX_COMPACT_PEERS} that are read")]
    TooMany {
        /// How many there are.
        peers: usize,
    },
}

/// The one form of an address that we know a peer by: an IPv4-mapped IPv6 address becomes the IPv4 address,
/// and scope and flow, which mean nothing to others, are dropped.
#[must_use]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Appends the compact form of an address: as many bytes as its [`canonical`] family takes.
#[inline]
pub(crate) fn put_compact(addr: SocketAddr, out: &mut Vec<u8>) {
    let [high, low] = addr.port().to_be_bytes();
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            out.extend_from_slice(&[a, b, c, d, high, low]);
        }
        IpAddr::V6(ip) => {
            out.extend_from_slice(&ip.octets());
            out.extend_from_slice(&[high, low]);
        }
    }
}

/// Reads the `peers` string of a compact answer (BEP 23).
///
/// # Errors
///
/// When its length isn't a multiple of [`COMPACT_V4_LEN`], or there are more than [`MAX_COMPACT_PEERS`].
pub fn decode_compact(bytes: &[u8]) -> Result<Vec<SocketAddr>, CompactError> {
    chunks::<COMPACT_V4_LEN>(bytes)?
        .iter()
        .map(|&[a, b, c, d, high, low]| {
            Ok((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
        })
        .collect()
}

/// Reads the `peers6` string of a compact answer (BEP 7).
///
/// # Errors
///
/// When its length isn't a multiple of [`COMPACT_V6_LEN`], or there are more than [`MAX_COMPACT_PEERS`].
pub fn decode_compact6(bytes: &[u8]) -> Result<Vec<SocketAddr>, CompactError> {
    chunks::<COMPACT_V6_LEN>(bytes)?
        .iter()
        .map(|&[ip @ .., high, low]| Ok((Ipv6Addr::from(ip), u16::from_be_bytes([high, low])).into()))
        .collect()
}

fn chunks<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], CompactError> {
    match bytes.as_chunks() {
        (peers, []) if peers.len() <= MAX_COMPACT_PEERS => Ok(peers),
        (peers, []) => Err(CompactError::TooMany { peers: peers.len() }),
        _ => Err(CompactError::Length { len: bytes.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn knows_a_mapped_address_by_its_ipv4_form() {
        assert_eq!(canonical(addr("[::ffff:10.1.2.3]:6881")), addr("10.1.2.3:6881"));
        assert_eq!(canonical(addr("[fe80::1%3]:6881")), addr("[fe80::1]:6881"));
        assert_eq!(canonical(addr("[::1]:6881")), addr("[::1]:6881"));
    }

    #[test]
    fn writes_addresses_in_network_order() {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        put_compact(addr("10.1.2.3:6881"), &mut v4);
        put_compact(addr("[::ffff:10.1.2.4]:1"), &mut v4);
        put_compact(addr("[2001:db8::5]:258"), &mut v6);
        assert_eq!(v4, [10, 1, 2, 3, 0x1a, 0xe1, 10, 1, 2, 4, 0, 1]);
        assert_eq!(v6, [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2]);
        assert_eq!(decode_compact(&v4), Ok(vec![addr("10.1.2.3:6881"), addr("10.1.2.4:1")]));
        assert_eq!(decode_compact6(&v6), Ok(vec![addr("[2001:db8::5]:258")]));
    }

    #[test]
    fn refuses_half_a_peer_and_too_many() {
        assert_eq!(decode_compact(&[0; 7]), Err(CompactError::Length { len: 7 }));
        assert_eq!(decode_compact6(&[0; 6]), Err(CompactError::Length { len: 6 }));
        let peers = MAX_COMPACT_PEERS + 1;
        assert_eq!(decode_compact(&vec![0; peers * 6]), Err(CompactError::TooMany { peers }));
    }
}
