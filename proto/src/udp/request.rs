//! What is asked over UDP (BEP 15), read in two steps: the head of any packet, and the question behind it once the
//! asker's connection id was found to be its own.
//!
//! Owns the layout of questions. Refuses the address in an announce, which can be anybody's, and packets beyond its
//! caps; as BEP 15 wants, one that is longer than it must be is taken for what it begins with.

use super::{ConnectionId, UrlData, action};
use crate::{
    announce::{AnnounceEvent, AnnounceKey, AnnounceRequest, PeerFormat},
    id::{InfoHash, PeerId},
    scrape::MAX_SCRAPE,
};

/// What stands in place of a connection id where there is none yet.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;

/// The shortest question, in bytes: a connection id, an action and a transaction id. Nothing shorter is read.
pub const MIN_UDP_REQUEST_LEN: usize = 16;

/// The longest question that is read, in bytes. The largest scrape has 1,496; URLs of more than 1,900 bytes behind
/// an announce are nobody's.
pub const MAX_UDP_REQUEST_LEN: usize = 2048;

/// The bytes of an announce without options.
const ANNOUNCE_LEN: usize = 98;

/// Why a packet is no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UdpError {
    /// Too short even for a head.
    #[error("{len} bytes are no packet of the UDP tracker protocol; the shortest has {MIN_UDP_REQUEST_LEN}")]
    TooShort {
        /// How many bytes there are.
        len: usize,
    },
    /// More than [`MAX_UDP_REQUEST_LEN`].
    #[error("the packet has {len} bytes and at most {MAX_UDP_REQUEST_LEN} are read")]
    TooLong {
        /// How many bytes there are.
        len: usize,
    },
    /// It names an action that isn't known.
    #[error("there is no action {0} in the UDP tracker protocol")]
    Action(u32),
    /// It ends before all of an announce is there.
    #[error("the announce has {len} bytes and must have {ANNOUNCE_LEN}")]
    Announce {
        /// How many bytes there are.
        len: usize,
    },
    /// A scrape for more than [`MAX_SCRAPE`] torrents.
    #[error("the scrape asks for more than {MAX_SCRAPE} torrents")]
    TooManyHashes,
}

/// By what an asker tells one answer from the others; it is sent back as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub u32);

/// A packet by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpRequest<'a> {
    /// It asks for a connection id. What it is answered must not be longer than itself, for anybody may have sent it.
    Connect(TransactionId),
    /// It asks something, and shows an id that may or may not be its sender's.
    Claim(UdpClaim<'a>),
}

/// A question that is not read before its connection id was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpClaim<'a> {
    /// The id that it shows.
    pub connection: ConnectionId,
    /// What its answer must show.
    pub transaction: TransactionId,
    action: u32,
    body: &'a [u8],
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpQuestion<'a> {
    /// Who else has the torrent.
    Announce {
        /// The same as over HTTP.
        request: AnnounceRequest,
        /// To which URL it was sent.
        url: UrlData<'a>,
    },
    /// How many have these torrents: [`MAX_SCRAPE`] at the most, as often as they are in it.
    Scrape(UdpHashes<'a>),
}

/// The torrents that a scrape asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHashes<'a>(&'a [[u8; InfoHash::LEN]]);

impl<'a> UdpRequest<'a> {
    /// Reads the head.
    ///
    /// # Errors
    ///
    /// When there isn't all of one, or too much behind it. The sender is not known to hear us: it must not be answered.
    pub fn parse(packet: &'a [u8]) -> Result<Self, UdpError> {
        if packet.len() > MAX_UDP_REQUEST_LEN {
            return Err(UdpError::TooLong { len: packet.len() });
        }
        let mut rest = packet;
        let (Some(connection), Some(action), Some(transaction)) =
            (take(&mut rest), take(&mut rest), take(&mut rest))
        else {
            return Err(UdpError::TooShort { len: packet.len() });
        };
        let (connection, action) = (u64::from_be_bytes(connection), u32::from_be_bytes(action));
        let transaction = TransactionId(u32::from_be_bytes(transaction));
        Ok(if (connection, action) == (PROTOCOL_ID, action::CONNECT) {
            Self::Connect(transaction)
        } else {
            Self::Claim(UdpClaim { connection: ConnectionId(connection), transaction, action, body: rest })
        })
    }
}

impl<'a> UdpClaim<'a> {
    /// Reads the question, of somebody whose id was found to be its own.
    ///
    /// # Errors
    ///
    /// When the action isn't known, an announce isn't all there, or a scrape asks for too many torrents. Each reads
    /// as a message for the person behind the client.
    pub fn read(self) -> Result<UdpQuestion<'a>, UdpError> {
        match self.action {
            action::ANNOUNCE => {
                let (request, options) = parse_announce(self.body)
                    .ok_or(UdpError::Announce { len: MIN_UDP_REQUEST_LEN + self.body.len() })?;
                Ok(UdpQuestion::Announce { request, url: UrlData::new(options) })
            }
            action::SCRAPE => match self.body.as_chunks() {
                (hashes, _) if hashes.len() > MAX_SCRAPE => Err(UdpError::TooManyHashes),
                (hashes, _) => Ok(UdpQuestion::Scrape(UdpHashes(hashes))),
            },
            other => Err(UdpError::Action(other)),
        }
    }
}

impl<'a> UdpHashes<'a> {
    /// Each of them, in the order in which their numbers are to be sent.
    pub fn iter(self) -> impl ExactSizeIterator<Item = InfoHash> + 'a {
        self.0.iter().map(|hash| InfoHash::new(*hash))
    }
}

/// What follows the head of an announce, and its options.
fn parse_announce(body: &[u8]) -> Option<(AnnounceRequest, &[u8])> {
    let mut rest = body;
    let info_hash = InfoHash::new(take(&mut rest)?);
    let peer_id = PeerId::new(take(&mut rest)?);
    let downloaded = u64::from_be_bytes(take(&mut rest)?);
    let left = i64::from_be_bytes(take(&mut rest)?);
    let uploaded = u64::from_be_bytes(take(&mut rest)?);
    let event = match u32::from_be_bytes(take(&mut rest)?) {
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        3 => AnnounceEvent::Stopped,
        _ => AnnounceEvent::Periodic,
    };
    let _address: [u8; 4] = take(&mut rest)?;
    let key: [u8; 4] = take(&mut rest)?;
    let numwant = i32::from_be_bytes(take(&mut rest)?);
    let port = u16::from_be_bytes(take(&mut rest)?);
    let request = AnnounceRequest {
        info_hash,
        peer_id,
        port,
        uploaded,
        downloaded,
        // What can't be is what a client says that doesn't know yet.
        left: u64::try_from(left).ok(),
        event,
        numwant: u32::try_from(numwant).ok(),
        key: AnnounceKey::new(&key),
        format: PeerFormat::Compact,
    };
    Some((request, rest))
}

/// The next field.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*field)
}
