//! Which pieces somebody has, in the shape that goes over the wire.
//!
//! Owns bit order and padding (BEP 3: "the high bit in the first byte corresponds to piece index 0 … spare
//! bits at the end are set to zero"). Refuses bitfields of any other length than the torrent's, and spare
//! bits that are set.

use crate::geometry::PieceIndex;

/// Why bytes are no bitfield of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    /// BEP 3 leaves no choice of length; dtorrent drops peers over it.
    #[error("a bitfield of {len} bytes came where {expected} were due")]
    Length {
        /// How many bytes came.
        len: usize,
        /// How many the torrent's bitfield has.
        expected: usize,
    },
    /// BEP 3: spare bits at the end are zero.
    #[error("a bitfield has bits set beyond the last piece")]
    SpareBits,
}

/// A set of pieces: one bit a piece, high bit first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    bits: Box<[u8]>,
    pieces: u32,
    /// Kept beside the bits, so that "has it all?" costs nothing at each `have`.
    count: u32,
}

impl Bitfield {
    /// No piece out of `pieces`.
    #[must_use]
    pub fn empty(pieces: u32) -> Self {
        Self { bits: vec![0; byte_len(pieces)].into_boxed_slice(), pieces, count: 0 }
    }

    /// Every piece out of `pieces`.
    #[must_use]
    pub fn full(pieces: u32) -> Self {
        let mut bits = vec![0xff; byte_len(pieces)].into_boxed_slice();
        if let Some(last) = bits.last_mut() {
            *last = !spare_mask(pieces);
        }
        Self { bits, pieces, count: pieces }
    }

    /// Reads the payload of a `bitfield` message for a torrent of `pieces` pieces.
    ///
    /// # Errors
    ///
    /// When the length isn't exactly that torrent's, or a bit beyond the last piece is set.
    pub fn from_wire(bytes: &[u8], pieces: u32) -> Result<Self, BitfieldError> {
        let expected = byte_len(pieces);
        if bytes.len() != expected {
            return Err(BitfieldError::Length { len: bytes.len(), expected });
        }
        if bytes.last().is_some_and(|last| last & spare_mask(pieces) != 0) {
            return Err(BitfieldError::SpareBits);
        }
        Ok(Self { bits: bytes.into(), pieces, count: ones(bytes) })
    }

    /// Adds a piece and says whether it is new. A piece of another, larger torrent is not added.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let Some((byte, mask)) = self.position(piece) else { return false };
        let Some(bits) = self.bits.get_mut(byte) else { return false };
        let new = *bits & mask == 0;
        *bits |= mask;
        self.count += u32::from(new);
        new
    }

    /// Whether the piece is in the set.
    #[must_use]
    pub fn contains(&self, piece: PieceIndex) -> bool {
        self.position(piece)
            .is_some_and(|(byte, mask)| self.bits.get(byte).is_some_and(|bits| bits & mask != 0))
    }

    /// How many pieces are in the set.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether every piece is in the set.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == self.pieces
    }

    /// The payload of a `bitfield` message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Adds all pieces of another set of the same torrent.
    pub(crate) fn union(&mut self, other: &Self) {
        for (ours, theirs) in self.bits.iter_mut().zip(&other.bits) {
            *ours |= theirs;
        }
        self.count = ones(&self.bits);
    }

    fn position(&self, piece: PieceIndex) -> Option<(usize, u8)> {
        let index = piece.get();
        (index < self.pieces).then_some(((index / 8) as usize, 0x80 >> (index % 8)))
    }
}

fn byte_len(pieces: u32) -> usize {
    pieces.div_ceil(8) as usize
}

/// The bits of the last byte that stand for no piece.
fn spare_mask(pieces: u32) -> u8 {
    match pieces % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

fn ones(bytes: &[u8]) -> u32 {
    bytes.iter().map(|byte| byte.count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{BLOCK_LEN, Geometry};

    fn pieces(count: u32) -> Vec<PieceIndex> {
        Geometry::new(u64::from(count) * u64::from(BLOCK_LEN), BLOCK_LEN).unwrap().pieces().collect()
    }

    #[test]
    fn puts_piece_zero_in_the_high_bit() {
        let mut bitfield = Bitfield::empty(10);
        let pieces = pieces(10);
        assert!(bitfield.insert(pieces[0]) && bitfield.insert(pieces[9]));
        assert_eq!(bitfield.as_bytes(), [0b1000_0000, 0b0100_0000]);
        assert!(
            bitfield.contains(pieces[0]) && !bitfield.contains(pieces[1]) && bitfield.contains(pieces[9])
        );
    }

    #[test]
    fn leaves_spare_bits_clear_in_a_full_one() {
        for (pieces, bytes) in [(1, &[0x80][..]), (7, &[0xfe]), (8, &[0xff]), (9, &[0xff, 0x80]), (0, &[])] {
            let full = Bitfield::full(pieces);
            assert_eq!(full.as_bytes(), bytes);
            assert!(full.is_full());
            assert_eq!(Bitfield::from_wire(bytes, pieces), Ok(full));
        }
    }

    #[test]
    fn becomes_full_piece_by_piece() {
        let mut bitfield = Bitfield::empty(17);
        for (count, piece) in (1..).zip(pieces(17)) {
            assert!(!bitfield.is_full());
            assert!(bitfield.insert(piece));
            assert!(!bitfield.insert(piece), "a piece is new once");
            assert_eq!(bitfield.count(), count);
        }
        assert_eq!(bitfield, Bitfield::full(17));
    }

    #[test]
    fn refuses_other_lengths_and_spare_bits() {
        for len in [0, 1, 3] {
            let refused = Bitfield::from_wire(&vec![0; len], 10);
            assert_eq!(refused, Err(BitfieldError::Length { len, expected: 2 }));
        }
        assert_eq!(Bitfield::from_wire(&[0xff, 0xe0], 10), Err(BitfieldError::SpareBits));
        assert_eq!(Bitfield::from_wire(&[0xff, 0xc0], 10).map(|bits| bits.count()), Ok(10));
    }

    #[test]
    fn ignores_pieces_of_another_torrent() {
        let mut bitfield = Bitfield::empty(3);
        let foreign = pieces(100)[3];
        assert!(!bitfield.insert(foreign) && !bitfield.contains(foreign));
        assert_eq!(bitfield, Bitfield::empty(3));
    }

    #[test]
    fn unites_with_another_and_counts_each_piece_once() {
        let mut bitfield = Bitfield::from_wire(&[0b1100_0000], 5).unwrap();
        bitfield.union(&Bitfield::from_wire(&[0b0110_0000], 5).unwrap());
        assert_eq!((bitfield.as_bytes(), bitfield.count()), (&[0b1110_0000][..], 3));
    }
}
