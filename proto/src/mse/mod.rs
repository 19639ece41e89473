//! Message stream encryption: what two peers say before BitTorrent's handshake to hide what follows.
//!
//! Owns both sides of that handshake, as values that take bytes and give bytes, and the stream that comes out
//! of it. Refuses sockets and timeouts (the driver's), the secrets' and paddings' randomness (an argument), and
//! to know which torrents there are: a [`MseResponder`] says whose digest was asked for and is told the info
//! hash.
//!
//! The specification is Vuze's "Message Stream Encryption". A dials B:
//!
//! | | bytes |
//! |---|---|
//! | A→B | Ya, PadA |
//! | B→A | Yb, PadB |
//! | A→B | HASH('req1', S), HASH('req2', SKEY) xor HASH('req3', S), |
//! | | ENCRYPT(VC, crypto_provide, len(PadC), PadC, len(IA)), ENCRYPT(IA) |
//! | B→A | ENCRYPT(VC, crypto_select, len(PadD), PadD), and its stream in the way selected |
//! | A→B | its stream in the way selected |
//!
//! Y are public Diffie-Hellman keys and S is what they have in common, SKEY is the info hash, VC is eight zeros,
//! IA the beginning of A's stream. HASH is SHA-1, ENCRYPT is RC4, numbers are big-endian.
//!
//! It obfuscates. It authenticates nobody: whoever knows the info hash can stand between both sides and read
//! along. So nothing here takes care to erase secrets or to compare in constant time.

mod digest;
mod drive;
mod error;
mod exchange;
mod inbox;
mod initiator;
mod negotiation;
mod offer;
mod responder;
mod stream;

use bytes::Bytes;

pub use self::{
    digest::TorrentDigest,
    error::MseError,
    exchange::MSE_SECRET_LEN,
    initiator::MseInitiator,
    offer::MseOffer,
    responder::MseResponder,
    stream::{MseStream, Rc4Pair},
};
use crate::handshake::PROTOCOL;

/// The most bytes of each padding (PadA to PadD).
pub const MAX_MSE_PADDING: usize = 512;

/// The most bytes of an initial payload that is taken. Up to 65,535 could be announced; libtorrent and
/// Transmission send BitTorrent's handshake (68 bytes) and aria2 nothing.
pub const MAX_INITIAL_LEN: usize = 4096;

/// The most bytes that are kept while more of them are needed, or while the torrent is looked for: all that an
/// initiator may send before it is answered.
pub const MAX_MSE_KEPT_LEN: usize = exchange::KEY_LEN
    + MAX_MSE_PADDING
    + 2 * digest::LEN
    + negotiation::VERIFICATION.len()
    + negotiation::NUMBERS_LEN
    + MAX_MSE_PADDING
    + negotiation::LENGTH_LEN
    + MAX_INITIAL_LEN;

/// Whether a connection begins as BitTorrent in the clear; `None` while the first bytes can't tell, because they
/// are the beginning of `"\x13BitTorrent protocol"` and not all of it.
#[must_use]
pub fn begins_in_the_clear(first: &[u8]) -> Option<bool> {
    match first.first_chunk() {
        Some(opening) => Some(opening == PROTOCOL),
        None => (!PROTOCOL.starts_with(first)).then_some(false),
    }
}

/// How far a handshake has come.
#[derive(Debug)]
pub enum MseProgress {
    /// More bytes are needed.
    More,
    /// The initiator wants the torrent of this digest: [`choose`](MseResponder::choose) it, or close. Only a
    /// responder says this, and says it again when it receives more before the choice.
    Torrent(TorrentDigest),
    /// It is over and nothing more is to be given to it.
    Done {
        /// How both directions go on.
        stream: MseStream,
        /// What of the peer's stream has come already, decrypted: the initial payload and whatever was behind
        /// it.
        received: Bytes,
    },
}
