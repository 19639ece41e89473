//! The hashes of the handshake: what marks the end of a padding, what asks for a torrent without naming it.
//!
//! Owns their labels. Refuses to look for anything: the map from digests to torrents is the driver's.

use std::fmt;

use sha1::{Digest, Sha1};

use super::exchange::SharedSecret;
use crate::id::InfoHash;

/// Bytes of each hash.
pub(super) const LEN: usize = 20;

/// HASH of a label and what follows it.
pub(super) fn hash(label: &[u8; 4], parts: &[&[u8]]) -> [u8; LEN] {
    let labelled = Sha1::new().chain_update(label);
    parts.iter().fold(labelled, Sha1::chain_update).finalize().into()
}

/// HASH('req1', S): where the initiator's padding ends.
pub(super) fn synchronisation(shared: &SharedSecret) -> [u8; LEN] {
    hash(b"req1", &[shared.as_bytes()])
}

/// HASH('req2', info hash): asks for a torrent without naming it. One who has the torrent can tell which it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TorrentDigest([u8; LEN]);

impl TorrentDigest {
    /// The digest that asks for the torrent of this info hash.
    #[must_use]
    pub fn of(info_hash: &InfoHash) -> Self {
        Self(hash(b"req2", &[info_hash.as_bytes()]))
    }

    /// As it goes over the wire, xor HASH('req3', S).
    pub(super) fn hide(self, shared: &SharedSecret) -> [u8; LEN] {
        let mask = hash(b"req3", &[shared.as_bytes()]);
        let mut hidden = self.0;
        hidden.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        hidden
    }

    /// Reads what [`hide`](Self::hide) wrote.
    pub(super) fn reveal(hidden: [u8; LEN], shared: &SharedSecret) -> Self {
        // The same xor again undoes it.
        Self(Self(hidden).hide(shared))
    }
}

impl fmt::Debug for TorrentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
