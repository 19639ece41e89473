//! What a downloader tells the tracker and what it hears back, as it is said over HTTP (BEP 3, 7, 21, 23, 24, 31).
//!
//! Owns the query's meaning and the answer's bytes. Refuses to read `ip`, `ipv4` and `ipv6`: an address that
//! a client claims for itself can be anybody's. Who is told about whom is the tracker's business, not this
//! file's.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::{
    bencode::{put_bytes, put_bytes_len, put_bytes_pair, put_number_pair},
    compact::{COMPACT_V4_LEN, COMPACT_V6_LEN, canonical, put_compact},
    id::{InfoHash, PeerId},
    query::{QueryError, pairs},
};

/// The longest `key` that is taken, in bytes. Clients send 8 or so.
pub const MAX_KEY_LEN: usize = 64;

/// Why a query is no announce or no scrape. Each reads as a failure reason for the person behind the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    /// The query string itself is broken.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A parameter that must be there is not.
    #[error("the announce has no {0}")]
    Missing(&'static str),
    /// A parameter that names one thing is there twice.
    #[error("the announce has more than one {0}")]
    Repeated(&'static str),
    /// `info_hash` or `peer_id` doesn't decode to 20 bytes.
    #[error("{name} has {len} bytes and must have 20")]
    Length {
        /// Which of the two.
        name: &'static str,
        /// How many bytes it has after percent-decoding.
        len: usize,
    },
    /// `port` isn't a number from 0 to 65535.
    #[error("port is not a number from 0 to 65535")]
    Port,
    /// `key` is longer than [`MAX_KEY_LEN`].
    #[error("key has {len} bytes and may have {MAX_KEY_LEN}")]
    KeyTooLong {
        /// How many bytes it has after percent-decoding.
        len: usize,
    },
    /// A scrape for more than [`MAX_SCRAPE`](crate::MAX_SCRAPE) torrents.
    #[error("the scrape asks for more than {} torrents", crate::scrape::MAX_SCRAPE)]
    TooManyHashes,
}

/// Why a client announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AnnounceEvent {
    /// It begins.
    Started,
    /// It leaves.
    Stopped,
    /// It has just got the last piece.
    Completed,
    /// It is still there. Also what an empty event means (BEP 3), `paused` (BEP 21: a partial seed, which
    /// takes no pieces but isn't gone), and any other that we don't know.
    #[default]
    Periodic,
}

/// The form in which a client takes its list of peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PeerFormat {
    /// Strings of 6 and 18 bytes a peer (BEP 23, 7): the default, as every client of today understands it.
    #[default]
    Compact,
    /// A list of dictionaries (BEP 3), for `compact=0`.
    Dictionaries {
        /// Whether the peers' ids are wanted: `no_peer_id=1` leaves them out (BEP 23).
        peer_ids: bool,
    },
}

/// What a client shows to be known again: at most [`MAX_KEY_LEN`] bytes, kept in place since a packet a microsecond
/// may bring one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AnnounceKey {
    /// Zeroes past its end.
    bytes: [u8; MAX_KEY_LEN],
    len: u8,
}

impl AnnounceKey {
    /// The key of these bytes, unless there are more than [`MAX_KEY_LEN`].
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_KEY_LEN];
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self { bytes, len: u8::try_from(key.len()).ok()? })
    }

    /// The bytes as they came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for AnnounceKey {
    /// Says that there is one: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnnounceKey(..)")
    }
}

/// One announce, as the query string (BEP 3) or a packet (BEP 15) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The torrent.
    pub info_hash: InfoHash,
    /// What the client calls itself.
    pub peer_id: PeerId,
    /// Where it takes connections; 0 says that it takes none.
    pub port: u16,
    /// Bytes sent to others since `started`, by its own account; 0 where it doesn't say.
    pub uploaded: u64,
    /// Bytes got from others since `started`, by its own account; 0 where it doesn't say.
    pub downloaded: u64,
    /// Bytes that it still lacks, by its own account; `None` where it doesn't say (as before it has the
    /// metadata).
    pub left: Option<u64>,
    /// Why it announces.
    pub event: AnnounceEvent,
    /// How many peers it wants; `None` where the choice is ours: absent, negative or not a number.
    pub numwant: Option<u32>,
    /// A secret that shows that it is the same client after a change of address.
    pub key: Option<AnnounceKey>,
    /// The form in which it takes its list of peers.
    pub format: PeerFormat,
}

impl AnnounceRequest {
    /// Whether the peer has everything; one that doesn't say counts as a downloader.
    pub fn is_seed(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether seeds are of use to the peer. They are to one that says `left=0` and has neither got nor sent
    /// anything: so does aria2 while a magnet link is all that it has.
    pub fn wants_seeds(&self) -> bool {
        let may_lack_metadata =
            self.uploaded == 0 && self.downloaded == 0 && self.event != AnnounceEvent::Completed;
        !self.is_seed() || may_lack_metadata
    }

    /// Reads an announce from the query string (what follows the `?`).
    ///
    /// Parameters that we don't know are ignored, and so are counters that aren't numbers, as clients differ
    /// there; what identifies the torrent and the peer must be right.
    ///
    /// # Errors
    ///
    /// When the query is malformed or too long, when `info_hash`, `peer_id` or `port` is missing, wrong or
    /// there twice, or when `key` is too long.
    pub fn parse(query: &[u8]) -> Result<Self, AnnounceError> {
        let (mut info_hash, mut peer_id, mut port, mut key) = (None, None, None, None);
        let (mut uploaded, mut downloaded, mut left, mut numwant) = (None, None, None, None);
        let (mut event, mut compact, mut peer_ids) = (AnnounceEvent::Periodic, true, true);
        for pair in pairs(query) {
            let (name, value) = pair?;
            match &*name {
                b"info_hash" => once(&mut info_hash, "info_hash", parse_info_hash(&value)?)?,
                b"peer_id" => once(&mut peer_id, "peer_id", parse_peer_id(&value)?)?,
                b"port" => once(&mut port, "port", parse_port(&value)?)?,
                b"uploaded" => uploaded = decimal(&value),
                b"downloaded" => downloaded = decimal(&value),
                b"left" => left = decimal(&value),
                b"numwant" => numwant = decimal(&value).and_then(|number| u32::try_from(number).ok()),
                b"event" => event = parse_event(&value),
                b"compact" => compact = *value != *b"0",
                b"no_peer_id" => peer_ids = *value != *b"1",
                b"key" => {
                    let len = value.len();
                    key = Some(AnnounceKey::new(&value).ok_or(AnnounceError::KeyTooLong { len })?);
                }
                _ => {}
            }
        }
        Ok(Self {
            info_hash: info_hash.ok_or(AnnounceError::Missing("info_hash"))?,
            peer_id: peer_id.ok_or(AnnounceError::Missing("peer_id"))?,
            port: port.ok_or(AnnounceError::Missing("port"))?,
            uploaded: uploaded.unwrap_or(0),
            downloaded: downloaded.unwrap_or(0),
            left,
            event,
            numwant,
            key,
            format: if compact { PeerFormat::Compact } else { PeerFormat::Dictionaries { peer_ids } },
        })
    }
}

fn once<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), AnnounceError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(AnnounceError::Repeated(name)),
    }
}

pub(crate) fn parse_info_hash(value: &[u8]) -> Result<InfoHash, AnnounceError> {
    InfoHash::try_from(value).map_err(|_| AnnounceError::Length { name: "info_hash", len: value.len() })
}

fn parse_peer_id(value: &[u8]) -> Result<PeerId, AnnounceError> {
    PeerId::try_from(value).map_err(|_| AnnounceError::Length { name: "peer_id", len: value.len() })
}

fn parse_port(value: &[u8]) -> Result<u16, AnnounceError> {
    decimal(value).and_then(|port| u16::try_from(port).ok()).ok_or(AnnounceError::Port)
}

fn parse_event(value: &[u8]) -> AnnounceEvent {
    match value {
        b"started" => AnnounceEvent::Started,
        b"stopped" => AnnounceEvent::Stopped,
        b"completed" => AnnounceEvent::Completed,
        _ => AnnounceEvent::Periodic,
    }
}

/// Digits and nothing else: `str::parse` would take a sign.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// A peer in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr {
    /// Where it takes connections; IPv4-mapped addresses are written as IPv4.
    pub addr: SocketAddr,
    /// Its id, where it is known; only the dictionary form has it.
    pub id: Option<PeerId>,
}

/// The answer to an announce (BEP 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceResponse {
    /// Seconds until the client should announce again.
    pub interval: u32,
    /// Seconds before which it shouldn't. aria2 and rqbit announce at this pace.
    pub min_interval: u32,
    /// How many peers have the whole file.
    pub complete: u32,
    /// How many peers don't.
    pub incomplete: u32,
    /// The peers, IPv4 and IPv6 mixed.
    pub peers: Vec<PeerAddr>,
    /// By which address the client was seen, as far as it is to be told (BEP 24). Not said over UDP.
    pub external_ip: Option<IpAddr>,
}

impl AnnounceResponse {
    /// The bencoded answer. It has no cap of its own: it is as long as `peers` is.
    ///
    /// The compact form always ends in `peers6`, an empty one too: dtorrent refuses an answer in which fewer
    /// than four bytes follow an empty `peers`.
    #[must_use]
    pub fn encode(&self, format: PeerFormat) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.peers.len() * COMPACT_V4_LEN);
        self.encode_into(format, &mut out);
        out
    }

    /// Appends what [`encode`](Self::encode) gives: to a buffer that is used again, no memory is taken.
    pub fn encode_into(&self, format: PeerFormat, out: &mut Vec<u8>) {
        out.push(b'd');
        put_number_pair(out, "complete", self.complete);
        match self.external_ip.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => put_bytes_pair(out, "external ip", &ip.octets()),
            Some(IpAddr::V6(ip)) => put_bytes_pair(out, "external ip", &ip.octets()),
            None => {}
        }
        put_number_pair(out, "incomplete", self.incomplete);
        put_number_pair(out, "interval", self.interval);
        put_number_pair(out, "min interval", self.min_interval);
        match format {
            PeerFormat::Compact => self.put_compact(out),
            PeerFormat::Dictionaries { peer_ids } => self.put_dictionaries(out, peer_ids),
        }
        out.push(b'e');
    }

    fn put_compact(&self, out: &mut Vec<u8>) {
        let of_v4 = |peer: &&PeerAddr| canonical(peer.addr).is_ipv4();
        let v4 = self.peers.iter().filter(of_v4).count();
        put_bytes(out, b"peers");
        put_bytes_len(out, v4 * COMPACT_V4_LEN);
        self.peers.iter().filter(of_v4).for_each(|peer| put_compact(peer.addr, out));
        put_bytes(out, b"peers6");
        put_bytes_len(out, (self.peers.len() - v4) * COMPACT_V6_LEN);
        self.peers.iter().filter(|peer| !of_v4(peer)).for_each(|peer| put_compact(peer.addr, out));
    }

    fn put_dictionaries(&self, out: &mut Vec<u8>, peer_ids: bool) {
        put_bytes(out, b"peers");
        out.push(b'l');
        for peer in &self.peers {
            let addr = canonical(peer.addr);
            out.push(b'd');
            put_bytes_pair(out, "ip", addr.ip().to_string().as_bytes());
            if let (true, Some(id)) = (peer_ids, &peer.id) {
                put_bytes_pair(out, "peer id", id.as_bytes());
            }
            put_number_pair(out, "port", addr.port());
            out.push(b'e');
        }
        out.push(b'e');
    }
}

/// The answer to an announce or a scrape that can't be served: `reason` is shown to the client's user (BEP
/// 3).
#[must_use]
pub fn encode_failure(reason: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(reason.len() + 32);
    out.push(b'd');
    put_bytes_pair(&mut out, "failure reason", reason.as_bytes());
    out.push(b'e');
    out
}

/// The answer to an announce that can't be served now, with the number of minutes after which it may be (BEP 31); clients
/// that don't know of that show the reason all the same.
#[must_use]
pub fn encode_refusal(reason: &str, retry_in: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(reason.len() + 48);
    out.push(b'd');
    put_bytes_pair(&mut out, "failure reason", reason.as_bytes());
    put_number_pair(&mut out, "retry in", retry_in);
    out.push(b'e');
    out
}
