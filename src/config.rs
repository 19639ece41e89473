//! Settings as the program uses them, one group a room: already parsed, with their defaults. Where they come from
//! (flags, an embedding program) is not known here.

mod choking;
mod dscp;
mod named;
mod proxies;
mod rates;
mod super_seeding;
mod watch;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub use self::choking::{Choking, ChokingConfig, ChokingError, UploadSlots, UploadSlotsError};
pub use self::dscp::{Dscp, DscpError};
use self::named::read_and_written_by_name;
pub use self::proxies::{TrustedProxy, TrustedProxyError};
pub use self::rates::{UploadRate, UploadRateError, UploadRates};
pub use self::super_seeding::{SuperSeeding, SuperSeedingError};
pub use self::watch::{IgnoreGlob, IgnoreGlobError, WatchConfig, WatchMode, WatchModeError};
use crate::topology::Topology;

/// Where HTTP listens when no port is named.
pub const DEFAULT_HTTP_PORT: u16 = 6969;
/// Where peers are listened for when no port is named.
pub const DEFAULT_PEERS_PORT: u16 = 6881;
/// Of one processor that takes a few hundredths over HTTP; ten thousand hosts come every ten seconds then.
const DEFAULT_MAX_ANNOUNCE_RATE: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// All settings of a [`Server`](crate::Server).
///
/// ```
/// use distributor::Config;
///
/// let mut config = Config::new(["/srv/images"]);
/// config.http.listen = "127.0.0.1:0".parse()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The directories whose files are offered, with everything below them.
    pub directories: Vec<PathBuf>,
    /// How the directories are watched.
    pub watch: WatchConfig,
    /// What torrents say, and how long they outlive their files.
    pub torrents: TorrentsConfig,
    /// How files are hashed.
    pub hashing: HashingConfig,
    /// The HTTP side: torrents and the tracker.
    pub http: HttpConfig,
    /// The peer side: uploading pieces.
    pub seeder: SeederConfig,
    /// A directory for what is remembered of files, so that a restart hashes nothing twice, and of swarms, so that they
    /// outlive it. It is made if it isn't there; each server needs its own, outside of what it serves. By default nothing
    /// is remembered.
    pub state: Option<PathBuf>,
    /// Where hosts are, at first; by default nothing is known of it.
    pub topology: Arc<Topology>,
}

impl Config {
    /// The defaults for these directories.
    pub fn new<P: Into<PathBuf>>(directories: impl IntoIterator<Item = P>) -> Self {
        Self {
            directories: directories.into_iter().map(Into::into).collect(),
            watch: WatchConfig::default(),
            torrents: TorrentsConfig::default(),
            hashing: HashingConfig::default(),
            http: HttpConfig::default(),
            seeder: SeederConfig::default(),
            state: None,
            topology: Arc::default(),
        }
    }
}

/// Settings of torrents.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TorrentsConfig {
    /// Whether they carry the `private` flag (BEP 27), which is part of the info hash. It keeps clients from telling
    /// the public DHT of internal files, and from meeting behind the tracker's back; true by default.
    pub private: bool,
    /// How long a file that was replaced or deleted is served on to those who were downloading it; 600 s by default.
    pub grace: Duration,
}

impl Default for TorrentsConfig {
    fn default() -> Self {
        Self { private: true, grace: Duration::from_secs(600) }
    }
}

/// Settings of hashing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HashingConfig {
    /// How many threads hash at a time, and how many read from each device; by default as many as there are processors.
    pub threads: Option<NonZeroUsize>,
    /// Whether they read only when nobody else wants the disk, as far as the I/O scheduler knows such a class (bfq and
    /// mq-deadline do).
    pub idle_io: bool,
    /// Which variant of SHA-1; the fastest by default.
    pub kernel: Sha1Kernel,
}

/// A variant of SHA-1. All give the same digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sha1Kernel {
    /// Whichever is measured to be the fastest here.
    #[default]
    Fastest,
    /// Sixteen pieces at a time.
    Avx512,
    /// Eight pieces at a time.
    Avx2,
    /// One piece at a time, by the SHA extensions where there are any.
    Scalar,
}

impl Sha1Kernel {
    const ALL: [Self; 4] = [Self::Fastest, Self::Avx512, Self::Avx2, Self::Scalar];

    /// As it is written.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fastest => "fastest",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Scalar => "scalar",
        }
    }
}

/// What was given names no variant of SHA-1.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no SHA-1 kernel; write fastest, avx512, avx2 or scalar")]
pub struct Sha1KernelError(String);

read_and_written_by_name!(Sha1Kernel, Sha1KernelError);

/// Settings of the HTTP side.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Where to listen; port 6969 on all addresses by default.
    pub listen: ListenAddr,
    /// Whether announces are answered over UDP as well (BEP 15), on the same address and port; true by default.
    pub udp: bool,
    /// The tracker address written into torrents. By default it is made from each request's `Host`, or, where there
    /// is none, from the address that the connection came in on.
    pub announce_url: Option<AnnounceUrl>,
    /// How long a request for a file that isn't hashed yet may wait; 300 s by default.
    pub wait: Duration,
    /// How many connections are held at a time; a further one waits to be accepted. Half of them may be requests that
    /// wait for a file.
    pub max_connections: usize,
    /// How many announces a second all peers together are asked for; where there are more peers, they are told to
    /// announce less often, down to once in six hours. 1,000 by default.
    pub max_announce_rate: NonZeroU32,
    /// How many announces and scrapes a second one address may make (of IPv6, one /64), and four times as many at once;
    /// none for no limit. 1,000 by default: as many as all peers together are asked for. A new connection counts as one
    /// with its first question.
    pub max_announce_rate_per_address: Option<NonZeroU32>,
    /// Whose `X-Forwarded-For` is believed; nobody's by default. Hosts are then known by the rightmost address in it
    /// that isn't such a proxy's.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Whether each connection from a trusted proxy begins with a header of the PROXY protocol (version 1 or 2), which
    /// says for whom it is; false by default.
    pub proxy_protocol: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: ListenAddr::all(DEFAULT_HTTP_PORT),
            udp: true,
            announce_url: None,
            wait: Duration::from_secs(300),
            max_connections: 16_384,
            max_announce_rate: DEFAULT_MAX_ANNOUNCE_RATE,
            max_announce_rate_per_address: Some(DEFAULT_MAX_ANNOUNCE_RATE),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
        }
    }
}

/// Settings of the peer side.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeederConfig {
    /// Where to listen; port 6881 on all addresses by default.
    pub listen: ListenAddr,
    /// Whom to upload to.
    pub choking: ChokingConfig,
    /// How fast to upload, at first.
    pub rates: UploadRates,
    /// How the packets of connections to peers are marked; not at all by default.
    pub dscp: Option<Dscp>,
    /// How many pieces a peer that understands it may ask for before it has a slot (BEP 6, "allowed fast"), so that
    /// it has something to trade; 2 by default.
    pub allowed_fast: u32,
    /// Whether pieces are shown one by one.
    pub super_seeding: SuperSeeding,
    /// Whether connections are encrypted.
    pub encryption: Encryption,
    /// Whether downloaders that have announced themselves and not come by are dialled; true by default.
    pub dial: bool,
    /// What peers may use.
    pub limits: PeerLimits,
    /// Where peers reach this host, if those addresses are not those that it listens on: behind a reverse
    /// proxy or address translation. The first of the asker's family is named to it.
    pub advertise: Vec<AdvertisedAddr>,
}

impl Default for SeederConfig {
    fn default() -> Self {
        Self {
            listen: ListenAddr::all(DEFAULT_PEERS_PORT),
            choking: ChokingConfig::default(),
            rates: UploadRates::default(),
            dscp: None,
            allowed_fast: 2,
            super_seeding: SuperSeeding::default(),
            encryption: Encryption::default(),
            dial: true,
            limits: PeerLimits::default(),
            advertise: Vec::new(),
        }
    }
}

/// What peers may use.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PeerLimits {
    /// How many connections are held at a time; a further one waits to be accepted. 16,384 by default.
    pub connections: usize,
    /// How many of them may come from one address; a further one is closed. Hosts behind one translated address
    /// share it. 4,096 by default.
    pub per_address: usize,
    /// How many may be for one torrent; a further one is closed. 12,288 by default: whatever everybody wants, there is
    /// room for those who want something else.
    pub per_torrent: usize,
    /// How many may be without a complete handshake; a further one takes the place of the oldest. 1,024 by default, and
    /// never more than half of the connections that can be held.
    pub half_open: usize,
    /// How long a handshake may take, encryption included; 10 s by default.
    pub handshake: Duration,
    /// How long a peer may say nothing at all; 240 s by default, twice what clients keep silent for.
    pub silence: Duration,
    /// How many requests of one peer wait for their blocks; it is told so, and those beyond are rejected. 1,024 by
    /// default: 16 MiB of ordinary blocks, as a peer needs that fills 10 Gbit/s over 10 ms by itself.
    pub requests: usize,
    /// How many bytes of one peer's stream are kept until they can be understood; 128 KiB by default. No less than
    /// 64 KiB, whatever is written here: the longest message and what comes along with it.
    pub unparsed: usize,
    /// How many bytes wait for a peer that reads slowly, blocks apart, which stay in the files; 64 KiB by default.
    /// Encrypted, blocks wait here too.
    pub unsent: usize,
    /// How many messages a second that change nothing are borne, with ten seconds' worth at once; 100 by default.
    pub idle_messages: u32,
    /// How many times within ten minutes the peers at one address may break the protocol before nothing is accepted
    /// from it for as long; 32 by default. 127.0.0.1 and ::1, where a proxy may hide any number of hosts, are
    /// never held off.
    pub violations: u32,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            per_address: 4096,
            per_torrent: 12_288,
            half_open: 1024,
            handshake: Duration::from_secs(10),
            silence: Duration::from_secs(4 * 60),
            requests: 1024,
            unparsed: 128 * 1024,
            unsent: 64 * 1024,
            idle_messages: 100,
            violations: 32,
        }
    }
}

/// Whether connections to peers are encrypted (Message Stream Encryption). It hides from devices on the way what is
/// said; it doesn't prove who says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encryption {
    /// As the peer wishes.
    #[default]
    Allow,
    /// Encrypted where the peer can.
    Prefer,
    /// Never in the clear: peers that can't encrypt are closed.
    Require,
    /// Always in the clear: peers that encrypt are closed.
    Off,
}

impl Encryption {
    const ALL: [Self; 4] = [Self::Allow, Self::Prefer, Self::Require, Self::Off];

    const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::Off => "off",
        }
    }
}

/// What was given names no policy of encryption.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no policy for encryption; write allow, prefer, require or off")]
pub struct EncryptionError(String);

read_and_written_by_name!(Encryption, EncryptionError);

/// Where to listen: `IP:PORT`, `[V6]:PORT`, a bare `IP` (with the default port), or a bare `PORT` (on all addresses,
/// v4 and v6). Port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    ip: Option<IpAddr>,
    port: Option<u16>,
}

impl ListenAddr {
    /// This port on all addresses, v4 and v6.
    pub const fn all(port: u16) -> Self {
        Self { ip: None, port: Some(port) }
    }

    /// The one address that was named, if one was.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    pub(crate) fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }

    /// What to say of it in a message.
    pub(crate) fn with_default_port(self, default: u16) -> SocketAddr {
        SocketAddr::new(self.ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), self.port_or(default))
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> Self {
        Self { ip: Some(addr.ip()), port: Some(addr.port()) }
    }
}

/// What was given can't be read as an address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an address; write IP:PORT, [V6]:PORT, an IP or a port")]
pub struct AddrError(String);

impl FromStr for ListenAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        if let Ok(port) = text.parse() {
            return Ok(Self::all(port));
        }
        let (ip, port) = parse_ip_and_port(text)?;
        Ok(Self { ip: Some(ip), port })
    }
}

/// `IP` or `IP:PORT` at which peers reach this host; without a port it is the one that it listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertisedAddr {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

impl FromStr for AdvertisedAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        let (ip, port) = parse_ip_and_port(text)?;
        // Nobody can dial the wildcard address or port 0.
        if ip.is_unspecified() || port == Some(0) {
            return Err(AddrError(text.to_owned()));
        }
        Ok(Self { ip, port })
    }
}

fn parse_ip_and_port(text: &str) -> Result<(IpAddr, Option<u16>), AddrError> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Ok((addr.ip(), Some(addr.port())));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(|ip| (ip, None)).map_err(|_| AddrError(text.to_owned()))
}

/// A tracker address that is written into torrents as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceUrl(String);

impl AnnounceUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was given can't be a tracker's address.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a tracker address; write something like http://origin.example:6969/announce or \
     udp://origin.example:6969/announce"
)]
pub struct AnnounceUrlError(String);

impl FromStr for AnnounceUrl {
    type Err = AnnounceUrlError;

    fn from_str(text: &str) -> Result<Self, AnnounceUrlError> {
        let uri: Option<hyper::Uri> = text.parse().ok();
        let is_one = uri.is_some_and(|uri| {
            let has_path = uri.path().len() > 1;
            let has_port = uri.port_u16().is_some_and(|port| port != 0);
            uri.host().is_some_and(|host| !host.is_empty())
                && match uri.scheme_str() {
                    Some("http" | "https") => has_path,
                    // BEP 15 knows no port of its own, and no path.
                    Some("udp") => has_port,
                    _ => false,
                }
        });
        if is_one { Ok(Self(text.to_owned())) } else { Err(AnnounceUrlError(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_way_to_name_a_listening_address() {
        let parse = |text: &str| text.parse::<ListenAddr>().map(|addr| (addr.ip, addr.port)).ok();
        let v4 = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(parse("7000"), Some((None, Some(7000))));
        assert_eq!(parse("0"), Some((None, Some(0))));
        assert_eq!(parse("10.0.0.1"), Some((v4("10.0.0.1"), None)));
        assert_eq!(parse("10.0.0.1:7000"), Some((v4("10.0.0.1"), Some(7000))));
        assert_eq!(parse("::1"), Some((v4("::1"), None)));
        assert_eq!(parse("[::1]"), Some((v4("::1"), None)));
        assert_eq!(parse("[::1]:7000"), Some((v4("::1"), Some(7000))));
        for wrong in ["", "65536", "10.0.0.1:", "10.0.0.1:65536", "origin", "origin:6969", "[::1", "-1"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn refuses_to_advertise_what_nobody_can_dial() {
        assert!("192.0.2.1".parse::<AdvertisedAddr>().is_ok());
        assert!("192.0.2.1:7000".parse::<AdvertisedAddr>().is_ok());
        for wrong in ["0.0.0.0", "[::]:6881", "192.0.2.1:0", "6881"] {
            assert!(wrong.parse::<AdvertisedAddr>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn takes_only_tracker_addresses_for_announce_urls() {
        assert!("http://origin:6969/announce".parse::<AnnounceUrl>().is_ok());
        assert!("https://[2001:db8::1]/announce/secret".parse::<AnnounceUrl>().is_ok());
        assert!("udp://origin:6969/announce".parse::<AnnounceUrl>().is_ok());
        assert!("udp://[2001:db8::1]:6969".parse::<AnnounceUrl>().is_ok());
        for wrong in [
            "",
            "origin",
            "/announce",
            "http://",
            "http://origin:6969",
            "http://origin/",
            "ftp://origin/announce",
            "udp://origin/announce",
            "udp://origin:0/announce",
            "http://a b/announce",
        ] {
            assert!(wrong.parse::<AnnounceUrl>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reads_the_names_of_kernels() {
        for kernel in Sha1Kernel::ALL {
            assert_eq!(kernel.to_string().parse::<Sha1Kernel>().unwrap(), kernel);
        }
        assert!("AVX".parse::<Sha1Kernel>().is_err());
    }

    #[test]
    fn reads_the_names_of_ways_to_show_pieces() {
        for way in SuperSeeding::ALL {
            assert_eq!(way.to_string().parse::<SuperSeeding>().unwrap(), way);
        }
        assert!("yes".parse::<SuperSeeding>().is_err());
    }

    #[test]
    fn reads_the_names_of_encryption_policies() {
        for policy in Encryption::ALL {
            assert_eq!(policy.to_string().parse::<Encryption>().unwrap(), policy);
        }
        assert!("rc4".parse::<Encryption>().is_err());
    }
}
