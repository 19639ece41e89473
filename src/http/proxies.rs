//! Who asks, where proxies stand between: what those that the operator trusts say of whom they ask for, and what of that
//! can be true. Everybody else's word for it counts for nothing.
//!
//! Owns the meaning of `X-Forwarded-For` and of a PROXY header's address. Where the asker reached us is never a proxy's
//! to say: hosts are told of the seeder at `--advertise`, or else where the proxy reaches this host.

use std::net::{IpAddr, SocketAddr};

use distributor_proto::{ProxyHeader, canonical};

use crate::announce::Ends;
use crate::config::{HttpConfig, TrustedProxy};

/// As much of a wrong header is repeated to whom it concerns.
const MAX_QUOTED_LEN: usize = 60;

/// What a trusted proxy said can't be true, as a client's user or the operator reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ForwardedError {
    #[error(
        "the proxy's X-Forwarded-For has {0:?} in place of an address; let it add the address that it was asked from"
    )]
    NoAddress(String),
    #[error("the proxy says that {0} asks, which is no address that other hosts could reach")]
    NoHost(IpAddr),
}

/// The proxies that are trusted, and how they say for whom they ask.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    trusted: Vec<TrustedProxy>,
    proxy_protocol: bool,
}

impl Proxies {
    pub(super) fn new(config: &HttpConfig) -> Self {
        Self { trusted: config.trusted_proxies.clone(), proxy_protocol: config.proxy_protocol }
    }

    pub(super) fn trust(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|proxies| proxies.contains(ip))
    }

    /// Whether a connection from there begins with a PROXY header. It either always does or never ("the receiver MUST be
    /// configured to only receive the protocol described": section 2 of the specification).
    pub(super) fn introduce(&self, ip: IpAddr) -> bool {
        self.proxy_protocol && self.trust(ip)
    }

    /// Who asks on a connection that began with this header.
    pub(super) fn introduced(&self, own: Ends, header: ProxyHeader) -> Result<Ends, ForwardedError> {
        match header {
            ProxyHeader::Own => Ok(own),
            ProxyHeader::For(source) => believable(own, canonical(source)),
        }
    }

    /// Who asks in a request with these `X-Forwarded-For`, in the order in which they stand there: of their addresses the
    /// rightmost that isn't a trusted proxy's, since what stands left of it can be anybody's invention. Where all are
    /// proxies', the first of them asks.
    pub(super) fn asker<'a>(
        &self,
        ends: Ends,
        forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> Result<Ends, ForwardedError> {
        if !self.trust(ends.remote.ip()) {
            return Ok(ends);
        }
        let mut asker = None;
        let elements = forwarded.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        for element in elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()) {
            let addr = address(element).ok_or_else(|| ForwardedError::NoAddress(quoted(element)))?;
            asker = Some(addr);
            if !self.trust(addr.ip()) {
                break;
            }
        }
        asker.map_or(Ok(ends), |asker| believable(ends, asker))
    }
}

/// The address that asks through the other end, if it can be one. This host itself may ask through a proxy on it, which no
/// other host's can say.
fn believable(ends: Ends, asker: SocketAddr) -> Result<Ends, ForwardedError> {
    let (ip, proxy) = (asker.ip(), ends.remote.ip());
    let is_nobody = ip.is_unspecified() || ip.is_multicast() || ip == std::net::Ipv4Addr::BROADCAST;
    if is_nobody || (ip.is_loopback() && !proxy.is_loopback()) {
        return Err(ForwardedError::NoHost(ip));
    }
    Ok(Ends { local: ends.local, remote: asker })
}

/// An address, with a port (which some proxies add) or without.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let addr = bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)).or_else(|_| text.parse()).ok()?;
    Some(canonical(addr))
}

fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..MAX_QUOTED_LEN).unwrap_or(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(trusted: &[&str]) -> Proxies {
        let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
        Proxies { trusted, proxy_protocol: true }
    }

    fn ends(remote: &str) -> Ends {
        Ends {
            local: "10.0.0.1:6969".parse().unwrap(),
            remote: SocketAddr::new(remote.parse().unwrap(), 5000),
        }
    }

    fn asker(trusted: &[&str], remote: &str, headers: &[&str]) -> Result<String, ForwardedError> {
        let forwarded = headers.iter().map(|header| header.as_bytes());
        let asker = proxies(trusted).asker(ends(remote), forwarded)?;
        assert_eq!(asker.local, ends(remote).local, "where it was asked is known by the connection alone");
        Ok(asker.remote.ip().to_string())
    }

    #[test]
    fn believes_nobody_but_the_proxies() {
        assert_eq!(asker(&[], "10.0.0.2", &["192.0.2.7"]), Ok("10.0.0.2".into()));
        assert_eq!(asker(&["10.0.0.3"], "10.0.0.2", &["192.0.2.7"]), Ok("10.0.0.2".into()));
        assert_eq!(asker(&["10.0.0.0/24"], "10.0.0.2", &["192.0.2.7"]), Ok("192.0.2.7".into()));
        assert_eq!(asker(&["10.0.0.3"], "10.0.0.2", &["nonsense"]), Ok("10.0.0.2".into()));
    }

    #[test]
    fn takes_the_rightmost_address_that_is_no_proxys() {
        let trusted = ["10.0.0.0/24", "fd69::/64"];
        let asker = |headers: &[&str]| asker(&trusted, "10.0.0.2", headers);
        assert_eq!(asker(&["198.51.100.1, 192.0.2.7"]), Ok("192.0.2.7".into()), "the left one is invented");
        assert_eq!(asker(&["198.51.100.1,192.0.2.7 , 10.0.0.9,fd69::9"]), Ok("192.0.2.7".into()));
        assert_eq!(asker(&["198.51.100.1", "192.0.2.7", "10.0.0.9"]), Ok("192.0.2.7".into()), "a line each");
        assert_eq!(asker(&["10.0.0.8, 10.0.0.9"]), Ok("10.0.0.8".into()), "a proxy itself");
        assert_eq!(asker(&["nonsense, 192.0.2.7"]), Ok("192.0.2.7".into()), "it isn't looked at");
        for nothing in [&[][..], &[""], &[" , "]] {
            assert_eq!(asker(nothing), Ok("10.0.0.2".into()), "the proxy asks for itself");
        }
    }

    #[test]
    fn reads_addresses_as_proxies_write_them() {
        for (written, read) in [
            ("192.0.2.7:5000", "192.0.2.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:5000", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(asker(&["10.0.0.2"], "10.0.0.2", &[written]), Ok(read.into()), "{written}");
        }
        for wrong in ["unknown", "_hidden", "192.0.2", "192.0.2.7:", "[192.0.2.7", "192.0.2.7 10.0.0.1"] {
            let error = ForwardedError::NoAddress(wrong.into());
            assert_eq!(asker(&["10.0.0.2"], "10.0.0.2", &[wrong]), Err(error), "{wrong}");
        }
        let long = "x".repeat(MAX_QUOTED_LEN + 1);
        let error = ForwardedError::NoAddress(long[1..].into());
        assert_eq!(asker(&["10.0.0.2"], "10.0.0.2", &[&long]), Err(error));
    }

    #[test]
    fn refuses_addresses_that_nobody_can_have() {
        let error = |ip: &str| Err(ForwardedError::NoHost(ip.parse().unwrap()));
        for nobody in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            assert_eq!(asker(&["10.0.0.2"], "10.0.0.2", &[nobody]), error(nobody));
            assert_eq!(asker(&["127.0.0.1"], "127.0.0.1", &[nobody]), error(nobody));
        }
        for loopback in ["127.0.0.1", "127.1.2.3", "::1"] {
            assert_eq!(asker(&["10.0.0.2"], "10.0.0.2", &[loopback]), error(loopback));
            assert_eq!(asker(&["127.0.0.9"], "127.0.0.9", &[loopback]), Ok(loopback.into()));
        }
    }

    #[test]
    fn takes_a_proxy_header_by_the_same_rules() {
        let proxies = proxies(&["10.0.0.2", "127.0.0.1"]);
        let introduced = |remote: &str, source: &str| {
            let header = ProxyHeader::For(source.parse().unwrap());
            proxies.introduced(ends(remote), header).map(|ends| ends.remote.ip().to_string())
        };
        assert_eq!(introduced("10.0.0.2", "192.0.2.7:5000"), Ok("192.0.2.7".into()));
        assert_eq!(introduced("10.0.0.2", "[::ffff:192.0.2.7]:5000"), Ok("192.0.2.7".into()));
        let loopback = "127.0.0.1".parse().unwrap();
        assert_eq!(introduced("10.0.0.2", "127.0.0.1:5000"), Err(ForwardedError::NoHost(loopback)));
        assert_eq!(introduced("127.0.0.1", "127.0.0.1:5000"), Ok("127.0.0.1".into()));
        let own = proxies.introduced(ends("10.0.0.2"), ProxyHeader::Own).unwrap();
        assert_eq!(own.remote, ends("10.0.0.2").remote);
        assert!(proxies.introduce(loopback) && !proxies.introduce("10.0.0.3".parse().unwrap()));
    }
}
