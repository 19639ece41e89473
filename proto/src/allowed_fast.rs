//! Which pieces a peer may have while it is choked (BEP 6).
//!
//! Owns the choice of the set. Refuses to say how much of it a peer gets: that is the session's.

use std::net::IpAddr;

use sha1::{Digest, Sha1};

use crate::{
    geometry::{Geometry, PieceIndex},
    id::InfoHash,
};

/// The most pieces in a set.
pub const MAX_ALLOWED_FAST: u32 = 32;

/// How often the hash goes round. Each time gives five indices, so that a set which is still short has all but
/// certainly no other piece to take in; a bound is owed all the same where an attacker may choose the info hash.
const MAX_ROUNDS: u32 = 1024;

/// The pieces that the peer at `addr` may ask for while choked: `count` of them or as many as there are, at most
/// [`MAX_ALLOWED_FAST`]; always the same for the same peer and torrent, so that to connect again wins nothing.
///
/// It is BEP 6's algorithm but for one thing: that hashes an address's /24, so that several addresses in it win
/// nothing, and this hashes the whole address (16 bytes of it for IPv6). Here a /24 is a rack, and it is better that
/// each of its hosts begins with another piece and they trade.
#[must_use]
pub fn allowed_fast_set(
    addr: IpAddr,
    info_hash: &InfoHash,
    geometry: &Geometry,
    count: u32,
) -> Vec<PieceIndex> {
    let count = count.min(MAX_ALLOWED_FAST).min(geometry.piece_count()) as usize;
    let mut set = Vec::with_capacity(count);
    let mut hash = Sha1::new();
    match addr.to_canonical() {
        IpAddr::V4(addr) => hash.update(addr.octets()),
        IpAddr::V6(addr) => hash.update(addr.octets()),
    }
    hash.update(info_hash.as_bytes());
    for _ in 0..MAX_ROUNDS {
        let digest: [u8; 20] = hash.finalize().into();
        for number in digest.as_chunks::<4>().0 {
            if set.len() == count {
                return set;
            }
            let index = u32::from_be_bytes(*number) % geometry.piece_count();
            set.extend(geometry.piece(index).filter(|piece| !set.contains(piece)));
        }
        hash = Sha1::new_with_prefix(digest);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::BLOCK_LEN;

    fn set(addr: &str, pieces: u32, count: u32) -> Vec<u32> {
        let geometry = Geometry::new(u64::from(pieces) * u64::from(BLOCK_LEN), BLOCK_LEN).unwrap();
        let set = allowed_fast_set(addr.parse().unwrap(), &InfoHash::new([0xaa; 20]), &geometry, count);
        set.into_iter().map(PieceIndex::get).collect()
    }

    /// BEP 6 gives them for 80.4.4.200, of which it hashes the /24.
    #[test]
    fn gives_the_pieces_of_the_beps_example() {
        assert_eq!(set("80.4.4.0", 1313, 7), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(set("80.4.4.0", 1313, 9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn gives_each_host_of_a_rack_another_set() {
        assert_ne!(set("80.4.4.1", 1313, 4), set("80.4.4.2", 1313, 4));
        assert_ne!(set("fd00::1", 1313, 4), set("fd00::2", 1313, 4));
        assert_eq!(
            set("::ffff:80.4.4.1", 1313, 4),
            set("80.4.4.1", 1313, 4),
            "a mapped address is the host's"
        );
    }

    #[test]
    fn has_no_more_pieces_than_the_torrent_and_than_its_limit() {
        for pieces in 1..40 {
            let mut all = set("10.0.0.1", pieces, u32::MAX);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len() as u32, pieces.min(MAX_ALLOWED_FAST), "{pieces} pieces");
        }
        assert_eq!(set("10.0.0.1", 5, 0), [0; 0]);
    }
}
