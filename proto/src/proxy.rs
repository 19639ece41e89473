//! What a proxy says of the connection that it passes on, in front of all else (the PROXY protocol, versions 1 and 2,
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).
//!
//! Owns the header's bytes. Refuses to say whose headers are to be believed, and to guess whether there is one: by the
//! specification that must be known beforehand, or everybody could write one. Checksums and other additions (TLVs) are
//! skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its line end included ("worst case" of section 2.1).
pub const MAX_PROXY_V1_LEN: usize = 107;

/// The most bytes that follow the first sixteen of version 2: addresses take 36, what proxies add (names, certificates'
/// details) some hundred.
pub const MAX_PROXY_V2_REST: usize = 2048;

const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_LEN: usize = 16;
const V1_SIGNATURE: &[u8] = b"PROXY ";

/// Why bytes are no header. Each reads as an explanation for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// They begin like neither version.
    #[error("it doesn't begin with a PROXY header")]
    NoHeader,
    /// Version 1, but not a line as it is specified.
    #[error("its PROXY header (version 1) is malformed")]
    Text,
    /// A version, command, family or transport that isn't specified.
    #[error("its PROXY header (version 2) has byte {byte:#04x} where no such is specified")]
    Unspecified {
        /// The byte.
        byte: u8,
    },
    /// Version 2, without room for the addresses that it should have, or with more than [`MAX_PROXY_V2_REST`].
    #[error(
        "its PROXY header (version 2) has {len} bytes after the first {V2_FIXED_LEN}, which can't be right"
    )]
    Length {
        /// How many there are.
        len: usize,
    },
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Nothing of anybody else: the proxy speaks for itself (LOCAL), or doesn't say for whom (UNKNOWN, UNSPEC, a family
    /// that isn't TCP's). The connection's own ends count.
    Own,
    /// The proxy passes on what this address says.
    For(SocketAddr),
}

impl ProxyHeader {
    /// Reads a header off the front of `bytes`, and says how long it is; `None` while it isn't complete. It never asks
    /// for more than 16 + [`MAX_PROXY_V2_REST`] bytes.
    ///
    /// # Errors
    ///
    /// As soon as no bytes that may follow would make it a header.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProxyError> {
        if begins_like(bytes, V1_SIGNATURE) {
            parse_v1(bytes)
        } else if begins_like(bytes, &V2_SIGNATURE) {
            parse_v2(bytes)
        } else {
            Err(ProxyError::NoHeader)
        }
    }
}

/// Whether `bytes` begin with `signature`, as far as there are any.
fn begins_like(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, wanted)| byte == wanted)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let within = bytes.get(..MAX_PROXY_V1_LEN).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_PROXY_V1_LEN { Ok(None) } else { Err(ProxyError::Text) };
    };
    let line = within.get(V1_SIGNATURE.len()..end).and_then(|line| str::from_utf8(line).ok());
    let header = line.and_then(parse_line).ok_or(ProxyError::Text)?;
    Ok(Some((header, end + 2)))
}

/// What stands after the signature: `TCP4 SOURCE DESTINATION PORT PORT`, or `UNKNOWN` and whatever may follow.
fn parse_line(line: &str) -> Option<ProxyHeader> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(ProxyHeader::Own);
    }
    let [source, destination, source_port, destination_port] =
        [words.next()?, words.next()?, words.next()?, words.next()?];
    let of_family = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse().ok().map(IpAddr::V4),
            "TCP6" => text.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _) = (of_family(source)?, of_family(destination)?);
    let (port, _) = (port(source_port)?, port(destination_port)?);
    words.next().is_none().then(|| ProxyHeader::For(SocketAddr::new(source, port)))
}

/// Digits without a zero in front: `str::parse` would take that, and a sign.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    is_plain.then(|| text.parse().ok())?
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    // Version and command, family and transport: what is wrong is said before the rest is waited for.
    let is_local = match bytes.get(12) {
        Some(0x20) => true,
        Some(0x21) | None => false,
        Some(&byte) => return Err(ProxyError::Unspecified { byte }),
    };
    let family = match bytes.get(13) {
        Some(&byte @ (0x00 | 0x11 | 0x12 | 0x21 | 0x22 | 0x31 | 0x32)) => byte,
        None => return Ok(None),
        Some(&byte) => return Err(ProxyError::Unspecified { byte }),
    };
    let Some(&[high, low]) = bytes.get(14..V2_FIXED_LEN).and_then(|len| len.first_chunk()) else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let least = match family {
        _ if is_local => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => 0,
    };
    if !(least..=MAX_PROXY_V2_REST).contains(&len) {
        return Err(ProxyError::Length { len });
    }
    let whole = V2_FIXED_LEN + len;
    let Some(rest) = bytes.get(V2_FIXED_LEN..whole) else { return Ok(None) };
    let header = match (family, rest) {
        _ if is_local => ProxyHeader::Own,
        (0x11, &[a, b, c, d, _, _, _, _, high, low, ..]) => {
            let port = u16::from_be_bytes([high, low]);
            ProxyHeader::For(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port))
        }
        (0x21, _) => {
            let (source, port) =
                (rest.first_chunk::<16>(), rest.get(32..).and_then(|rest| rest.first_chunk()));
            let (Some(&source), Some(&port)) = (source, port) else { return Err(ProxyError::Length { len }) };
            let port = u16::from_be_bytes(port);
            ProxyHeader::For(SocketAddr::new(Ipv6Addr::from(source).into(), port))
        }
        _ => ProxyHeader::Own,
    };
    Ok(Some((header, whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    fn v4_rest() -> Vec<u8> {
        [[192, 0, 2, 7], [10, 0, 0, 1], [0x13, 0x88, 0x1b, 0x39]].concat()
    }

    fn v6_rest() -> Vec<u8> {
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        [&ip("2001:db8::7")[..], &ip("fd69::1"), &[0x13, 0x88, 0x1b, 0x39]].concat()
    }

    fn all() -> Vec<(Vec<u8>, ProxyHeader)> {
        let by = |text: &str| ProxyHeader::For(text.parse().unwrap());
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 6969\r\n".to_vec(), by("192.0.2.7:5000")),
            (b"PROXY TCP6 2001:db8::7 fd69::1 5000 6969\r\n".to_vec(), by("[2001:db8::7]:5000")),
            (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Own),
            (b"PROXY UNKNOWN ffff:f...f:ffff 65535\r\n".to_vec(), ProxyHeader::Own),
            (v2(0x21, 0x11, &v4_rest()), by("192.0.2.7:5000")),
            (v2(0x21, 0x11, &[v4_rest(), vec![4, 0, 1, 0]].concat()), by("192.0.2.7:5000")),
            (v2(0x21, 0x21, &v6_rest()), by("[2001:db8::7]:5000")),
            (v2(0x20, 0x00, &[]), ProxyHeader::Own),
            (v2(0x20, 0x11, &v4_rest()), ProxyHeader::Own),
            (v2(0x21, 0x00, &[0; MAX_PROXY_V2_REST]), ProxyHeader::Own),
            (v2(0x21, 0x12, &v4_rest()), ProxyHeader::Own),
            (v2(0x21, 0x31, &[0; 216]), ProxyHeader::Own),
        ]
    }

    #[test]
    fn reads_who_is_spoken_for_and_leaves_what_follows() {
        for (mut bytes, header) in all() {
            let len = bytes.len();
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
            assert_eq!(ProxyHeader::parse(&bytes), Ok(Some((header, len))), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn waits_for_the_rest_of_all_that_is_cut_short() {
        for (bytes, _) in all() {
            for len in 0..bytes.len() {
                assert_eq!(ProxyHeader::parse(&bytes[..len]), Ok(None), "{}", bytes[..len].escape_ascii());
            }
        }
    }

    #[test]
    fn refuses_lines_that_are_not_as_they_should_be() {
        for wrong in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000 65536\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000 06969\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +5000 6969\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000 6969 \r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 5000 6969\r\n",
            "PROXY TCP4 2001:db8::7 fd69::1 5000 6969\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 5000 6969\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 5000 6969\r\n",
            "PROXY TCP4 192.0.2.007 10.0.0.1 5000 6969\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 \u{fc}\r\n",
        ] {
            assert_eq!(ProxyHeader::parse(wrong.as_bytes()), Err(ProxyError::Text), "{wrong:?}");
        }
    }

    #[test]
    fn a_line_ends_within_its_bound() {
        let line = |len: usize| [b"PROXY UNKNOWN ", &vec![b'x'; len - 16][..], b"\r\n"].concat();
        let longest = line(MAX_PROXY_V1_LEN);
        assert_eq!(ProxyHeader::parse(&longest), Ok(Some((ProxyHeader::Own, MAX_PROXY_V1_LEN))));
        assert_eq!(ProxyHeader::parse(&line(MAX_PROXY_V1_LEN + 1)), Err(ProxyError::Text));
        assert_eq!(ProxyHeader::parse(&[b'P'; 2]), Err(ProxyError::NoHeader));
    }

    #[test]
    fn refuses_what_no_version_specifies() {
        for (command, family, byte) in
            [(0x11, 0x11, 0x11), (0x22, 0x11, 0x22), (0x21, 0x13, 0x13), (0x21, 0x41, 0x41)]
        {
            let wrong = v2(command, family, &v4_rest());
            assert_eq!(ProxyHeader::parse(&wrong), Err(ProxyError::Unspecified { byte }));
        }
        for (family, len) in [(0x11, 11), (0x21, 35), (0x31, 215), (0x11, MAX_PROXY_V2_REST + 1)] {
            let wrong = v2(0x21, family, &vec![0; len]);
            // Said at once, not when all of it is there.
            assert_eq!(ProxyHeader::parse(&wrong[..V2_FIXED_LEN]), Err(ProxyError::Length { len }));
        }
        for wrong in [&b"GET / HTTP/1.1\r\n"[..], b"\x13BitTorrent protocol", b"\r\n\r\n\r", b"PROXYTCP4"] {
            assert_eq!(ProxyHeader::parse(wrong), Err(ProxyError::NoHeader), "{}", wrong.escape_ascii());
        }
    }
}
