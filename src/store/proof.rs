//! Which pieces of a file are known to hold what its torrent says, where that is to be seen first: of a file that was
//! moved, or otherwise touched. Hashes a piece before any byte of it is sent; opens nothing, and keeps no bytes.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use distributor_proto::Geometry;
use sha1::{Digest, Sha1};

use super::StoreError;
use crate::files::Timestamp;

const DIGEST_LEN: usize = 20;
/// How much is read at a time.
const READ_LEN: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Proof {
    /// The ctime of the inode when this was begun: while it is the same, what is proven stays so.
    ctime: Timestamp,
    size: u64,
    piece_len: u64,
    /// The SHA-1 of every piece, one after the other.
    digests: Bytes,
    /// By piece, whether it was found to be what it is to be.
    proven: Box<[AtomicBool]>,
    /// Some piece was found not to be.
    refuted: AtomicBool,
}

impl Proof {
    pub(super) fn new(ctime: Timestamp, geometry: Geometry, digests: Bytes) -> Self {
        let (size, piece_len) = (geometry.total_len(), geometry.piece_len());
        Self::of(ctime, size, u64::from(piece_len.max(1)), digests)
    }

    fn of(ctime: Timestamp, size: u64, piece_len: u64, digests: Bytes) -> Self {
        let proven = digests.chunks(DIGEST_LEN).map(|_| AtomicBool::new(false)).collect();
        Self { ctime, size, piece_len, digests, proven, refuted: AtomicBool::new(false) }
    }

    /// Of the same contents, with nothing proven: something has happened to the inode.
    pub(super) fn anew(&self, ctime: Timestamp) -> Self {
        Self::of(ctime, self.size, self.piece_len, self.digests.clone())
    }

    pub(super) fn is_as_of(&self, ctime: Timestamp) -> bool {
        self.ctime == ctime
    }

    pub(super) fn is_refuted(&self) -> bool {
        self.refuted.load(Ordering::Relaxed)
    }

    /// Sees that all pieces that the range touches are what they are to be. Waits for the disk where that was not seen
    /// before.
    pub(super) fn check(
        &self,
        range: &Range<u64>,
        read: impl Fn(u64, &mut [u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut scratch = Vec::new();
        for index in range.start / self.piece_len..range.end.min(self.size).div_ceil(self.piece_len) {
            let position = usize::try_from(index).unwrap_or(usize::MAX);
            // More pieces than digests are other contents.
            let proven = self.proven.get(position).ok_or(StoreError::Changed)?;
            if proven.load(Ordering::Relaxed) {
                continue;
            }
            scratch.resize(READ_LEN, 0);
            let mut hash = Sha1::new();
            let start = index.saturating_mul(self.piece_len);
            let end = start.saturating_add(self.piece_len).min(self.size);
            let mut at = start;
            while at < end {
                let len = usize::try_from(end - at).map_or(READ_LEN, |left| left.min(READ_LEN));
                let Some(part) = scratch.get_mut(..len) else { break };
                read(at, part)?;
                hash.update(&*part);
                at = at.saturating_add(len as u64);
            }
            if self.digests.chunks(DIGEST_LEN).nth(position) != Some(&hash.finalize()[..]) {
                self.refuted.store(true, Ordering::Relaxed);
                return Err(StoreError::Changed);
            }
            proven.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const PIECE: usize = 100_000;

    /// Of a file of these contents.
    fn proof(contents: &[u8]) -> Proof {
        let digests: Vec<u8> =
            contents.chunks(PIECE).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
        Proof::of(Timestamp::from_parts(0, 0), contents.len() as u64, PIECE as u64, digests.into())
    }

    fn contents() -> Vec<u8> {
        (0..3 * PIECE + 5).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn reads_the_pieces_that_a_range_touches_once() {
        let contents = contents();
        let proof = proof(&contents);
        let bytes_read = Cell::new(0);
        let read = |at: u64, into: &mut [u8]| {
            into.copy_from_slice(&contents[at as usize..at as usize + into.len()]);
            bytes_read.set(bytes_read.get() + into.len());
            Ok(())
        };
        let piece = PIECE as u64;
        for (range, read_so_far) in [
            (piece + 1..piece + 2, PIECE),
            (piece..2 * piece, PIECE),
            (2 * piece - 1..2 * piece + 1, 2 * PIECE),
            (0..contents.len() as u64, contents.len()),
            (0..u64::MAX, contents.len()),
        ] {
            proof.check(&range, read).unwrap();
            assert_eq!(bytes_read.get(), read_so_far, "{range:?}");
        }
        assert!(!proof.is_refuted());
    }

    #[test]
    fn one_other_byte_refutes_its_piece_and_no_piece_before() {
        let mut contents = contents();
        let proof = proof(&contents);
        contents[3 * PIECE + 4] ^= 1;
        let read = |at: u64, into: &mut [u8]| {
            into.copy_from_slice(&contents[at as usize..at as usize + into.len()]);
            Ok(())
        };
        proof.check(&(0..3 * PIECE as u64), read).unwrap();
        assert!(!proof.is_refuted());
        assert!(matches!(proof.check(&(3 * PIECE as u64..u64::MAX), read), Err(StoreError::Changed)));
        assert!(proof.is_refuted());
    }

    #[test]
    fn what_cannot_be_read_or_has_no_digest_is_not_proven() {
        let contents = contents();
        let unreadable = |_: u64, _: &mut [u8]| Err(StoreError::Io(std::io::ErrorKind::Other.into()));
        let proof = proof(&contents);
        assert!(matches!(proof.check(&(0..1), unreadable), Err(StoreError::Io(_))));
        assert!(!proof.is_refuted(), "it may be another time");
        let short = Proof::of(
            Timestamp::from_parts(0, 0),
            contents.len() as u64,
            PIECE as u64,
            Bytes::from_static(&[0; 20]),
        );
        assert!(matches!(
            short.check(&(PIECE as u64..PIECE as u64 + 1), unreadable),
            Err(StoreError::Changed)
        ));
    }
}
