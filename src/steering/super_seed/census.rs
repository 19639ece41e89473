//! How many have each piece, among all or in one rack; and quickly, which pieces nobody has. Thousands of pieces are looked
//! through for each that is shown, so a bit says of each whether it is absent, and 64 of them are looked at at a time.

use distributor_proto::{Bitfield, Geometry, PieceIndex};

const BITS: u32 = u64::BITS;

/// How many hosts have a piece, and to how many it is promised.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copies {
    pub(super) held: u32,
    pub(super) promised: u32,
}

impl Copies {
    fn all(self) -> u32 {
        self.held.saturating_add(self.promised)
    }
}

/// The copies of each piece.
#[derive(Clone, Debug)]
pub(super) struct Census {
    copies: Box<[Copies]>,
    /// Of each piece whether there is no copy; as in a bitfield, the first in the highest bit.
    absent: Box<[u64]>,
}

impl Census {
    pub(super) fn new(geometry: &Geometry) -> Self {
        let pieces = geometry.piece_count();
        let absent = (0..pieces.div_ceil(BITS)).map(|at| existing(pieces, at)).collect();
        Self { copies: vec![Copies::default(); pieces as usize].into(), absent }
    }

    pub(super) fn of(&self, piece: PieceIndex) -> Copies {
        self.copies.get(piece.get() as usize).copied().unwrap_or_default()
    }

    pub(super) fn update(&mut self, piece: PieceIndex, change: impl FnOnce(&mut Copies)) {
        let index = piece.get();
        let copies = self.copies.get_mut(index as usize);
        if let (Some(copies), Some(absent)) = (copies, self.absent.get_mut((index / BITS) as usize)) {
            change(copies);
            let bit = 1 << (BITS - 1 - index % BITS);
            if copies.all() == 0 { *absent |= bit } else { *absent &= !bit }
        }
    }

    /// The pieces without a copy that are among others, of which 64 are given at a time. From one piece on, and round.
    pub(super) fn absent(&self, start: u32, among: impl Fn(usize) -> u64) -> impl Iterator<Item = u32> {
        let absent = |at: usize| self.absent.get(at).copied().unwrap_or(0);
        round(self.absent.len(), start, move |at| absent(at) & among(at))
    }

    /// All of them, likewise.
    pub(super) fn all(&self, start: u32, among: impl Fn(usize) -> u64) -> impl Iterator<Item = u32> {
        let pieces = u32::try_from(self.copies.len()).unwrap_or(u32::MAX);
        let existing = move |at: usize| existing(pieces, u32::try_from(at).unwrap_or(u32::MAX));
        round(self.absent.len(), start, move |at| existing(at) & among(at))
    }

    /// Of these pieces the first that has the fewest copies; each has one at least.
    pub(super) fn rarest(&self, pieces: impl Iterator<Item = u32>) -> Option<u32> {
        let mut rarest: Option<(u32, u32)> = None;
        for piece in pieces {
            let copies = self.copies.get(piece as usize).map_or(0, |copies| copies.all());
            if rarest.is_none_or(|(fewest, _)| copies < fewest) {
                rarest = Some((copies, piece));
            }
            if copies <= 1 {
                break;
            }
        }
        rarest.map(|(_, piece)| piece)
    }
}

/// Sixty-four pieces of a bitfield, the first in the highest bit.
pub(super) fn words(bitfield: &Bitfield, at: usize) -> u64 {
    let bytes = bitfield.as_bytes().get(at * 8..).unwrap_or_default();
    match bytes.first_chunk() {
        Some(word) => u64::from_be_bytes(*word),
        None => {
            bytes.iter().zip((0..8).rev()).fold(0, |word, (byte, at)| word | u64::from(*byte) << (8 * at))
        }
    }
}

/// Which of 64 places stand for pieces.
fn existing(pieces: u32, at: u32) -> u64 {
    match pieces.saturating_sub(at.saturating_mul(BITS)) {
        0 => 0,
        left if left >= BITS => u64::MAX,
        left => !(u64::MAX >> left),
    }
}

/// The bits that are set in so many words, from one on and round.
fn round(words: usize, start: u32, word: impl Fn(usize) -> u64) -> impl Iterator<Item = u32> {
    let (first, from) = ((start / BITS) as usize, u64::MAX >> (start % BITS));
    // The first word comes twice: the end of it, and at last the beginning.
    (0..=words).flat_map(move |n| {
        let at = (first + n) % words.max(1);
        let mut left = match n {
            0 => word(at) & from,
            n if n == words => word(at) & !from,
            _ => word(at),
        };
        std::iter::from_fn(move || {
            let bit = left.leading_zeros();
            (bit < BITS).then(|| {
                left &= !(1 << (BITS - 1 - bit));
                at as u32 * BITS + bit
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(pieces: u32) -> (Census, Vec<PieceIndex>) {
        let geometry = Geometry::new(u64::from(pieces) * 16_384, 16_384).unwrap();
        (Census::new(&geometry), geometry.pieces().collect())
    }

    #[test]
    fn goes_round_all_pieces_from_any_of_them() {
        for count in [1, 63, 64, 65, 128, 200] {
            let (census, _) = census(count);
            for start in 0..count {
                let wanted: Vec<u32> = (start..count).chain(0..start).collect();
                assert_eq!(census.absent(start, |_| u64::MAX).collect::<Vec<_>>(), wanted, "{count}");
                assert_eq!(census.all(start, |_| u64::MAX).collect::<Vec<_>>(), wanted, "{count}");
            }
        }
    }

    #[test]
    fn knows_which_pieces_are_absent_and_which_are_rarest() {
        let (mut census, pieces) = census(100);
        for piece in &pieces {
            census.update(*piece, |copies| copies.held += 2 + u32::from(piece.get() != 70));
        }
        assert_eq!(census.absent(5, |_| u64::MAX).next(), None);
        assert_eq!(census.rarest(census.all(5, |_| u64::MAX)), Some(70));
        census.update(pieces[99], |copies| *copies = Copies::default());
        assert_eq!(census.absent(5, |_| u64::MAX).collect::<Vec<_>>(), [99]);
        census.update(pieces[99], |copies| copies.promised += 1);
        assert_eq!(census.absent(5, |_| u64::MAX).next(), None);
        assert_eq!(census.rarest(census.all(5, |_| u64::MAX)), Some(99));
    }

    #[test]
    fn leaves_out_what_a_bitfield_has() {
        let (census, pieces) = census(130);
        let mut has = Bitfield::empty(130);
        for piece in pieces.iter().filter(|piece| piece.get() % 3 > 0) {
            has.insert(*piece);
        }
        let lacking: Vec<u32> = census.absent(0, |at| !words(&has, at)).collect();
        assert_eq!(lacking, (0..130).filter(|index| index % 3 == 0).collect::<Vec<_>>());
    }
}
