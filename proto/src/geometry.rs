//! Piece and block arithmetic, done once and then carried as types.
//!
//! Owns the limits on pieces and the only ways to make a [`PieceIndex`] or a [`Block`]. Refuses files of no
//! length, piece lengths that clients choke on, and any request that isn't wholly inside one piece.

use std::{fmt, ops::Range};

/// What a downloader asks for at a time, in bytes: "all current implementations use 2^14 (16 kiB)" (BEP 3).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// The smallest piece length that we choose ourselves: smaller ones cost hashes and `have` messages and win
/// nothing.
pub const MIN_PIECE_LEN: u32 = 64 * 1024;

/// The largest piece length. libtorrent 2.0 refuses more than `INT_MAX / 2`
/// (`torrent_info::parse_info_section`), of which this is the largest power of two.
pub const MAX_PIECE_LEN: u32 = 512 * 1024 * 1024;

/// The most pieces in a torrent: 4,000,000 bytes of hashes, which keeps a .torrent under the 4 MiB that
/// ctorrent reads.
pub const MAX_PIECES: u32 = 200_000;

/// The most bytes that one request may ask for. BEP 3's implementations "close connections which request an
/// amount greater than" 16 KiB, but aria2 allows 64 KiB and dtorrent does ask for 128 KiB.
pub const MAX_REQUEST_LEN: u32 = 128 * 1024;

/// The most pieces in a torrent whose piece length we choose, for as long as [`MAX_PIECE_LEN`] allows it.
pub const TARGET_PIECES: u32 = 2_000;

/// Why a length and a piece length make no torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// There is nothing to share.
    #[error("an empty file has no pieces")]
    Empty,
    /// Not a power of two of at least [`BLOCK_LEN`] and at most [`MAX_PIECE_LEN`] bytes.
    #[error("a piece length of {piece_len} is not a power of two from 16 KiB to 512 MiB")]
    PieceLen {
        /// The piece length in bytes.
        piece_len: u32,
    },
    /// More than [`MAX_PIECES`] pieces.
    #[error("{pieces} pieces are more than the {MAX_PIECES} that a torrent may have")]
    TooManyPieces {
        /// How many there would be.
        pieces: u64,
    },
}

/// Why a request names no block of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// No piece has that index.
    #[error("piece {index} was asked for and there are {pieces}")]
    NoSuchPiece {
        /// The index that was asked for.
        index: u32,
        /// How many pieces there are.
        pieces: u32,
    },
    /// Nothing was asked for, or more than [`MAX_REQUEST_LEN`] bytes.
    #[error("{length} bytes were asked for and a block has 1 to {MAX_REQUEST_LEN}")]
    Length {
        /// How many bytes were asked for.
        length: u32,
    },
    /// The block would reach beyond its piece.
    #[error("{length} bytes from {begin} reach beyond a piece of {piece_len}")]
    PastEnd {
        /// Where in the piece the block starts.
        begin: u32,
        /// How many bytes were asked for.
        length: u32,
        /// How many bytes this very piece has.
        piece_len: u64,
    },
}

/// The index of a piece that exists. Only a [`Geometry`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The index, from 0.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a file of a known length is cut into pieces (BEP 3: all of one length but the last, which may be
/// shorter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    total_len: u64,
    piece_len: u32,
    piece_count: u32,
}

impl Geometry {
    /// Cuts `total_len` bytes into pieces of `piece_len` bytes.
    ///
    /// # Errors
    ///
    /// When there is nothing to cut, the piece length isn't a power of two from [`BLOCK_LEN`] to
    /// [`MAX_PIECE_LEN`], or there would be more than [`MAX_PIECES`] pieces.
    pub fn new(total_len: u64, piece_len: u32) -> Result<Self, GeometryError> {
        if total_len == 0 {
            return Err(GeometryError::Empty);
        }
        if !piece_len.is_power_of_two() || !(BLOCK_LEN..=MAX_PIECE_LEN).contains(&piece_len) {
            return Err(GeometryError::PieceLen { piece_len });
        }
        let pieces = total_len.div_ceil(piece_len.into());
        match u32::try_from(pieces) {
            Ok(piece_count) if piece_count <= MAX_PIECES => Ok(Self { total_len, piece_len, piece_count }),
            _ => Err(GeometryError::TooManyPieces { pieces }),
        }
    }

    /// Our own choice of piece length: the smallest power of two from [`MIN_PIECE_LEN`] on that makes at most
    /// [`TARGET_PIECES`] pieces, so 1,001 to 2,000 of them for files of more than 64 MB.
    ///
    /// Many small pieces let a swarm trade early and re-fetch little after a bad one; few keep the .torrent,
    /// the bitfields and the `have` messages small. It depends on the length alone, because the same bytes
    /// must give the same info hash on every machine. From about 1 TiB on [`MAX_PIECE_LEN`] holds and the
    /// number grows instead.
    ///
    /// # Errors
    ///
    /// When there is nothing to cut, or even the longest pieces would be more than [`MAX_PIECES`] (about 100
    /// TiB).
    pub fn for_len(total_len: u64) -> Result<Self, GeometryError> {
        let mut piece_len = MIN_PIECE_LEN;
        while piece_len < MAX_PIECE_LEN && total_len.div_ceil(piece_len.into()) > TARGET_PIECES.into() {
            piece_len *= 2;
        }
        Self::new(total_len, piece_len)
    }

    /// Bytes in the file.
    #[must_use]
    pub const fn total_len(&self) -> u64 {
        self.total_len
    }

    /// Bytes in every piece but the last.
    #[must_use]
    pub const fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// How many pieces there are: at least one, at most [`MAX_PIECES`].
    #[must_use]
    pub const fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// The piece with that index, if there is one.
    #[must_use]
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.piece_count).then_some(PieceIndex(index))
    }

    /// Every piece, in order.
    pub fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.piece_count).map(PieceIndex)
    }

    /// Where in the file a piece is, in bytes. A piece of another, larger geometry is an empty range at the
    /// end.
    #[must_use]
    pub fn piece_range(&self, piece: PieceIndex) -> Range<u64> {
        let piece_len = u64::from(self.piece_len);
        let start = (u64::from(piece.0) * piece_len).min(self.total_len);
        start..(start + piece_len).min(self.total_len)
    }

    /// The block that a `request`, `piece` or `cancel` message names (BEP 3).
    ///
    /// # Errors
    ///
    /// When there is no such piece, the length isn't 1 to [`MAX_REQUEST_LEN`], or the block isn't inside the
    /// piece.
    pub fn block(&self, index: u32, begin: u32, length: u32) -> Result<Block, BlockError> {
        let piece = self.piece(index).ok_or(BlockError::NoSuchPiece { index, pieces: self.piece_count })?;
        if !(1..=MAX_REQUEST_LEN).contains(&length) {
            return Err(BlockError::Length { length });
        }
        let range = self.piece_range(piece);
        let piece_len = range.end - range.start;
        if u64::from(begin) + u64::from(length) > piece_len {
            return Err(BlockError::PastEnd { begin, length, piece_len });
        }
        Ok(Block { offset: range.start + u64::from(begin), piece, begin, len: length })
    }

    /// Bytes in this torrent's bitfield (BEP 3: a bit a piece).
    #[must_use]
    pub fn bitfield_len(&self) -> usize {
        self.piece_count.div_ceil(8) as usize
    }
}

/// A run of bytes inside one piece that a peer may ask for. Only [`Geometry::block`] makes one, so it is in
/// the file and never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    offset: u64,
    piece: PieceIndex,
    begin: u32,
    len: u32,
}

#[expect(clippy::len_without_is_empty, reason = "a block is never empty")]
impl Block {
    /// The piece that it is in.
    #[must_use]
    pub const fn piece(self) -> PieceIndex {
        self.piece
    }

    /// Where in the piece it starts, in bytes.
    #[must_use]
    pub const fn begin(self) -> u32 {
        self.begin
    }

    /// How many bytes it has: 1 to [`MAX_REQUEST_LEN`].
    #[must_use]
    pub const fn len(self) -> u32 {
        self.len
    }

    /// Where in the file it starts, in bytes.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// Where in the file it is, in bytes.
    #[must_use]
    pub fn range(self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn cuts_the_last_piece_short() {
        let geometry = Geometry::new(3 * 65_536 + 1, 65_536).unwrap();
        assert_eq!(geometry.piece_count(), 4);
        let ranges: Vec<_> = geometry.pieces().map(|piece| geometry.piece_range(piece)).collect();
        assert_eq!(ranges, [0..65_536, 65_536..131_072, 131_072..196_608, 196_608..196_609]);
        assert_eq!(geometry.piece(4), None);
        assert_eq!(geometry.bitfield_len(), 1);
    }

    #[test]
    fn refuses_lengths_that_make_no_torrent() {
        assert_eq!(Geometry::new(0, BLOCK_LEN), Err(GeometryError::Empty));
        assert_eq!(Geometry::for_len(0), Err(GeometryError::Empty));
        for piece_len in [0, 1, 8192, BLOCK_LEN + 1, 3 * BLOCK_LEN, MAX_PIECE_LEN * 2, u32::MAX] {
            assert_eq!(Geometry::new(1, piece_len), Err(GeometryError::PieceLen { piece_len }));
        }
        let most = u64::from(MAX_PIECES) * u64::from(BLOCK_LEN);
        assert_eq!(Geometry::new(most, BLOCK_LEN).unwrap().piece_count(), MAX_PIECES);
        let pieces = u64::from(MAX_PIECES) + 1;
        assert_eq!(Geometry::new(most + 1, BLOCK_LEN), Err(GeometryError::TooManyPieces { pieces }));
    }

    #[test]
    fn chooses_piece_lengths_that_every_client_takes() {
        let chosen =
            |len| Geometry::for_len(len).map(|geometry| (geometry.piece_len(), geometry.piece_count()));
        assert_eq!(chosen(1), Ok((MIN_PIECE_LEN, 1)));
        assert_eq!(chosen(200 * MIB), Ok((128 * 1024, 1600)));
        assert_eq!(chosen(2000 * u64::from(MIN_PIECE_LEN)), Ok((MIN_PIECE_LEN, 2000)));
        assert_eq!(chosen(2000 * u64::from(MIN_PIECE_LEN) + 1), Ok((2 * MIN_PIECE_LEN, 1001)));
        assert_eq!(chosen(1024 * 1024 * MIB), Ok((MAX_PIECE_LEN, 2048)));
        let most = u64::from(MAX_PIECES) * u64::from(MAX_PIECE_LEN);
        assert_eq!(chosen(most), Ok((MAX_PIECE_LEN, MAX_PIECES)));
        assert_eq!(chosen(most + 1), Err(GeometryError::TooManyPieces { pieces: 200_001 }));
        assert!(chosen(u64::MAX).is_err());
    }

    #[test]
    fn places_blocks_in_the_file() {
        let geometry = Geometry::new(65_536 + 20_000, 65_536).unwrap();
        let block = geometry.block(1, 16_384, 3_616).unwrap();
        assert_eq!((block.piece().get(), block.begin(), block.len()), (1, 16_384, 3_616));
        assert_eq!((block.offset(), block.range()), (81_920, 81_920..85_536));
    }

    #[test]
    fn refuses_blocks_that_are_not_inside_one_piece() {
        let geometry = Geometry::new(65_536 + 20_000, 65_536).unwrap();
        let past_end = |begin, length, piece_len| Err(BlockError::PastEnd { begin, length, piece_len });
        assert_eq!(geometry.block(0, 65_535, 2), past_end(65_535, 2, 65_536));
        assert_eq!(geometry.block(0, 0, 65_537), past_end(0, 65_537, 65_536));
        assert_eq!(geometry.block(1, 16_384, 16_384), past_end(16_384, 16_384, 20_000));
        assert_eq!(geometry.block(0, u32::MAX, 1), past_end(u32::MAX, 1, 65_536));
        assert_eq!(geometry.block(2, 0, 1), Err(BlockError::NoSuchPiece { index: 2, pieces: 2 }));
        for length in [0, MAX_REQUEST_LEN + 1, u32::MAX] {
            assert_eq!(geometry.block(0, 0, length), Err(BlockError::Length { length }));
        }
    }

    #[test]
    fn takes_the_largest_request_of_dtorrent() {
        let geometry = Geometry::new(MIB, 256 * 1024).unwrap();
        assert!(geometry.block(3, 128 * 1024, MAX_REQUEST_LEN).is_ok());
    }

    #[test]
    fn clamps_pieces_of_another_torrent() {
        let large = Geometry::new(100 * MIB, MIN_PIECE_LEN).unwrap();
        let small = Geometry::new(1, MIN_PIECE_LEN).unwrap();
        let last = large.pieces().last().unwrap();
        assert_eq!(small.piece_range(last), 1..1);
    }
}
