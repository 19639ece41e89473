//! Addresses of peers as tables keep them: as many bytes as their family takes, and no more.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address and a port of one family.
pub(super) trait Address: Copy + Debug + PartialEq + Eq {
    /// How many places of one swarm may be those of one [`group`](Self::group); its oldest goes for the next.
    const MAX_PLACES: u32;

    /// Nothing for an address of the other family.
    fn of(addr: SocketAddr) -> Option<Self>;

    fn addr(self) -> SocketAddr;

    fn bytes(&self) -> &[u8];

    /// Who has the address, as far as that can be told: whoever has one can have all of its group.
    fn group(&self) -> u64;
}

/// Number and port, in network order (BEP 23).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct V4([u8; 6]);

/// The same (BEP 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct V6([u8; 18]);

impl Address for V4 {
    /// One host has one client, or one for each of its containers.
    const MAX_PLACES: u32 = 256;

    fn of(addr: SocketAddr) -> Option<Self> {
        let SocketAddr::V4(addr) = addr else { return None };
        let ([a, b, c, d], [high, low]) = (addr.ip().octets(), addr.port().to_be_bytes());
        Some(Self([a, b, c, d, high, low]))
    }

    fn addr(self) -> SocketAddr {
        let [a, b, c, d, high, low] = self.0;
        (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into()
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn group(&self) -> u64 {
        let [a, b, c, d, _, _] = self.0;
        u32::from_be_bytes([a, b, c, d]).into()
    }
}

impl Address for V6 {
    /// A host can take any address of its /64; but a rack, or a hall, may well share one.
    const MAX_PLACES: u32 = 4096;

    fn of(addr: SocketAddr) -> Option<Self> {
        let SocketAddr::V6(addr) = addr else { return None };
        let mut bytes = [0; 18];
        let (ip, port) = bytes.split_at_mut(16);
        ip.copy_from_slice(&addr.ip().octets());
        port.copy_from_slice(&addr.port().to_be_bytes());
        Some(Self(bytes))
    }

    fn addr(self) -> SocketAddr {
        let [ip @ .., high, low] = self.0;
        (Ipv6Addr::from(ip), u16::from_be_bytes([high, low])).into()
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn group(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// [`Address::group`] of an address of either family.
pub(super) fn group_of(ip: IpAddr) -> u64 {
    let addr = SocketAddr::new(ip, 0);
    V4::of(addr).map(|v4| v4.group()).or_else(|| Some(V6::of(addr)?.group())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_took_and_knows_who_shares_a_group() {
        let [v4, v6]: [SocketAddr; 2] =
            ["10.1.2.3:6881", "[2001:db8::5]:258"].map(|text| text.parse().unwrap());
        assert_eq!((V4::of(v4).unwrap().addr(), V6::of(v6).unwrap().addr()), (v4, v6));
        assert_eq!((V4::of(v6), V6::of(v4)), (None, None));
        let group = |text: &str| group_of(text.parse().unwrap());
        assert_ne!(group("10.1.2.3"), group("10.1.2.4"));
        assert_eq!(group("2001:db8::5"), group("2001:db8::1:2:3:4"));
        assert_ne!(group("2001:db8::5"), group("2001:db8:0:1::5"));
    }
}
