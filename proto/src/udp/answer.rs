//! What is answered over UDP (BEP 15).
//!
//! Owns the layout of answers. Refuses to write more than one unbroken packet holds: what doesn't fit is left out,
//! and so are peers of the other address family, for which the layout has no place.
//!
//! Each answer is added to `out`, so that one buffer does for all.

use std::net::IpAddr;

use super::{ConnectionId, TransactionId, action};
use crate::{
    announce::AnnounceResponse,
    compact::{COMPACT_V4_LEN, COMPACT_V6_LEN, canonical, put_compact},
    scrape::{MAX_SCRAPE, ScrapeStats},
};

/// The longest answer, in bytes: what every IPv6 path carries in one piece (1,280 bytes, RFC 8200), without the
/// headers of IPv6 and UDP. IPv4 leaves no less on any link of today.
pub const MAX_UDP_ANSWER_LEN: usize = 1280 - 40 - 8;

/// The bytes of an answer that gives a connection id: as many as the shortest question for one has.
pub const UDP_CONNECT_ANSWER_LEN: usize = 16;

/// What precedes the peers: action, transaction, interval, leechers, seeders.
const ANNOUNCE_HEAD_LEN: usize = 20;

/// How many IPv4 peers an answer has room for.
pub const MAX_UDP_PEERS_V4: usize = (MAX_UDP_ANSWER_LEN - ANNOUNCE_HEAD_LEN) / COMPACT_V4_LEN;

/// How many IPv6 peers an answer has room for.
pub const MAX_UDP_PEERS_V6: usize = (MAX_UDP_ANSWER_LEN - ANNOUNCE_HEAD_LEN) / COMPACT_V6_LEN;

/// What precedes the numbers of a scrape or the words of an error: action and transaction.
const HEAD_LEN: usize = 8;

/// The numbers of all torrents that a scrape may ask for fit.
const _: () = assert!(HEAD_LEN + MAX_SCRAPE * 12 <= MAX_UDP_ANSWER_LEN);

/// Gives an id to who asked for one.
pub fn encode_udp_connect(transaction: TransactionId, connection: ConnectionId, out: &mut Vec<u8>) {
    put_head(action::CONNECT, transaction, out);
    out.extend_from_slice(&connection.0.to_be_bytes());
}

/// Answers an announce that came from `asker`, by whose family the peers are written (BEP 15).
pub fn encode_udp_announce(
    transaction: TransactionId,
    response: &AnnounceResponse,
    asker: IpAddr,
    out: &mut Vec<u8>,
) {
    put_head(action::ANNOUNCE, transaction, out);
    for number in [response.interval, response.incomplete, response.complete] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    let is_v4 = asker.to_canonical().is_ipv4();
    let most = if is_v4 { MAX_UDP_PEERS_V4 } else { MAX_UDP_PEERS_V6 };
    let peers = response.peers.iter().map(|peer| canonical(peer.addr));
    for addr in peers.filter(|addr| addr.is_ipv4() == is_v4).take(most) {
        put_compact(addr, out);
    }
}

/// Answers a scrape: the numbers of each torrent, in the order of the question, which holds [`MAX_SCRAPE`] at the
/// most.
pub fn encode_udp_scrape(
    transaction: TransactionId,
    stats: impl IntoIterator<Item = ScrapeStats>,
    out: &mut Vec<u8>,
) {
    put_head(action::SCRAPE, transaction, out);
    for ScrapeStats { complete, downloaded, incomplete } in stats.into_iter().take(MAX_SCRAPE) {
        for number in [complete, downloaded, incomplete] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Answers a question that can't be served: `reason` is shown to the client's user, as far as there is room.
pub fn encode_udp_error(transaction: TransactionId, reason: &str, out: &mut Vec<u8>) {
    put_head(action::ERROR, transaction, out);
    let end = (0..=MAX_UDP_ANSWER_LEN - HEAD_LEN).rev().find(|end| reason.is_char_boundary(*end));
    out.extend_from_slice(reason.get(..end.unwrap_or(0)).unwrap_or_default().as_bytes());
}

fn put_head(action: u32, transaction: TransactionId, out: &mut Vec<u8>) {
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.0.to_be_bytes());
}
