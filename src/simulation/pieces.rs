//! What a host has, what it has begun, and which block it asks a peer for next.

use std::collections::VecDeque;

/// A set of pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct PieceSet {
    words: Vec<u64>,
    count: u32,
    /// How many pieces there are.
    len: u32,
}

impl PieceSet {
    pub(super) fn empty(pieces: u32) -> Self {
        Self { words: vec![0; pieces.div_ceil(64) as usize], count: 0, len: pieces }
    }

    pub(super) fn full(pieces: u32) -> Self {
        let mut set = Self::empty(pieces);
        (0..pieces).for_each(|piece| {
            set.insert(piece);
        });
        set
    }

    pub(super) fn has(&self, piece: u32) -> bool {
        self.words[(piece / 64) as usize] >> (piece % 64) & 1 == 1
    }

    pub(super) fn insert(&mut self, piece: u32) -> bool {
        let new = !self.has(piece);
        self.words[(piece / 64) as usize] |= 1 << (piece % 64);
        self.count += u32::from(new);
        new
    }

    /// Whether it has any of the pieces `of`, beside those in `but`.
    pub(super) fn has_any(&self, of: &Self, but: &Self) -> bool {
        let words = self.words.iter().zip(of.words.iter().zip(&but.words));
        words.into_iter().any(|(own, (of, but))| own & of & !but != 0)
    }

    /// What is in both sets.
    pub(super) fn and(&self, other: &Self) -> Self {
        let words: Vec<u64> = self.words.iter().zip(&other.words).map(|(own, other)| own & other).collect();
        let count = words.iter().map(|word| word.count_ones()).sum();
        Self { words, count, len: self.len }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().zip(0_u32..).flat_map(|(word, at)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

/// A block of a piece: what is asked for at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) piece: u32,
    pub(super) index: u8,
}

/// From whom a host downloads: one of its connections.
pub(super) type Source = u32;

/// A piece under way, a bit a block.
#[derive(Clone, Copy, Debug)]
struct Partial {
    piece: u32,
    asked: u64,
    received: u64,
    /// Who has been asked last for a block of it.
    owner: Option<Source>,
}

/// How a client picks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picking {
    pub(super) blocks: u8,
    pub(super) keeps_pieces_apart: bool,
    pub(super) endgame_pieces: u32,
}

/// The pieces of one host.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) has: PieceSet,
    /// How many of its peers show each piece.
    shown: Vec<u16>,
    partials: Vec<Partial>,
    /// Its own order of pieces that are equally rare.
    salt: u32,
}

impl Holding {
    pub(super) fn new(has: PieceSet, salt: u32) -> Self {
        Self { shown: vec![0; has.len() as usize], has, partials: Vec::new(), salt: salt | 1 }
    }

    pub(super) fn pieces(&self) -> u32 {
        self.has.len()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.has.count() == self.pieces()
    }

    pub(super) fn shows(&mut self, piece: u32) {
        self.shown[piece as usize] += 1;
    }

    pub(super) fn hides(&mut self, piece: u32) {
        self.shown[piece as usize] -= 1;
    }

    /// The next block to ask `source` for, of what it shows; and whether another has been asked for it too.
    pub(super) fn pick(
        &mut self,
        source: Source,
        shown: &PieceSet,
        asked: &VecDeque<Block>,
        how: Picking,
    ) -> Option<(Block, bool)> {
        let all = u64::MAX >> (64 - u32::from(how.blocks));
        let open = |partial: &Partial| partial.asked != all && shown.has(partial.piece);
        let own = self.partials.iter().position(|partial| partial.owner == Some(source) && open(partial));
        let partial = own
            .or_else(|| self.partials.iter().position(|partial| partial.owner.is_none() && open(partial)))
            .or_else(|| self.begin_rarest(shown))
            .or_else(|| {
                let may = !how.keeps_pieces_apart;
                self.partials.iter().position(|partial| may && open(partial))
            });
        if let Some(partial) = partial.and_then(|at| self.partials.get_mut(at)) {
            let index = (!partial.asked).trailing_zeros() as u8;
            partial.asked |= 1 << index;
            partial.owner = Some(source);
            return Some((Block { piece: partial.piece, index }, false));
        }
        // The end: what others have been asked for and not sent.
        let missing = self.pieces() - self.has.count();
        let all_begun = self.partials.len() as u32 == missing;
        let is_the_end = if how.keeps_pieces_apart {
            missing <= how.endgame_pieces
        } else {
            all_begun && asked.is_empty()
        };
        if !is_the_end {
            return None;
        }
        self.partials.iter().filter(|partial| shown.has(partial.piece)).find_map(|partial| {
            let mut rest = all & !partial.received;
            while rest != 0 {
                let block = Block { piece: partial.piece, index: rest.trailing_zeros() as u8 };
                if !asked.contains(&block) {
                    return Some((block, true));
                }
                rest &= rest - 1;
            }
            None
        })
    }

    fn begin_rarest(&mut self, shown: &PieceSet) -> Option<usize> {
        let salt = self.salt;
        let key =
            |piece: u32| (u32::from(self.shown[piece as usize]) << 16) | (piece.wrapping_mul(salt) >> 16);
        let mut best: Option<(u32, u32)> = None;
        for (at, (theirs, own)) in (0_u32..).zip(shown.words.iter().zip(&self.has.words)) {
            let mut rest = theirs & !own;
            while rest != 0 {
                let piece = at * 64 + rest.trailing_zeros();
                rest &= rest - 1;
                let key = key(piece);
                if best.is_none_or(|(least, _)| key < least)
                    && !self.partials.iter().any(|p| p.piece == piece)
                {
                    best = Some((key, piece));
                }
            }
        }
        let (_, piece) = best?;
        self.partials.push(Partial { piece, asked: 0, received: 0, owner: None });
        Some(self.partials.len() - 1)
    }

    /// A block came: whether it was of use, and whether its piece is complete with it.
    pub(super) fn receive(&mut self, block: Block, blocks: u8) -> (bool, bool) {
        let Some(at) = self.partials.iter().position(|partial| partial.piece == block.piece) else {
            return (false, false);
        };
        let partial = &mut self.partials[at];
        let bit = 1 << block.index;
        let new = partial.received & bit == 0;
        partial.received |= bit;
        partial.asked |= bit;
        let complete = partial.received == u64::MAX >> (64 - u32::from(blocks));
        if complete {
            self.partials.swap_remove(at);
            self.has.insert(block.piece);
        }
        (new, complete)
    }

    /// A block that was asked for won't come from whom it was asked.
    pub(super) fn give_up(&mut self, block: Block, source: Source, asked_elsewhere: bool) {
        if let Some(partial) = self.partials.iter_mut().find(|partial| partial.piece == block.piece) {
            if !asked_elsewhere {
                partial.asked &= !(1 << block.index) | partial.received;
            }
            if partial.owner == Some(source) {
                partial.owner = None;
            }
        }
    }

    /// `source` sends no more: others may go on with what it began.
    pub(super) fn release(&mut self, source: Source) {
        self.partials
            .iter_mut()
            .filter(|partial| partial.owner == Some(source))
            .for_each(|partial| partial.owner = None);
    }
}
