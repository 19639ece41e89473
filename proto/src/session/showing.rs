//! Which pieces a peer was shown, where it isn't told at once that we have them all (super-seeding).
//!
//! Owns what it may ask for, and what it has still to be told of. Refuses to choose: which piece is shown to whom and when
//! is the driver's to say, and what was shown can't be taken back.

use std::collections::VecDeque;

use super::{Phase, Session};
use crate::{
    bitfield::Bitfield,
    geometry::{Geometry, PieceIndex},
    message::Message,
};

/// Bytes of a `have` with its prefix.
const HAVE_LEN: usize = 9;

/// What of our pieces a peer knows.
#[derive(Debug)]
pub(super) struct Shown {
    /// What it may ask for.
    pieces: Bitfield,
    /// What of that it is to be told of, each once: no more than there are pieces.
    untold: VecDeque<PieceIndex>,
}

impl Shown {
    pub(super) fn nothing(geometry: &Geometry) -> Self {
        Self { pieces: Bitfield::empty(geometry.piece_count()), untold: VecDeque::new() }
    }

    fn show(&mut self, piece: PieceIndex) {
        if self.pieces.insert(piece) {
            self.untold.push_back(piece);
        }
    }
}

impl Session {
    /// Whether the peer may ask for a piece, as far as it depends on what we have said to have.
    pub(super) fn is_shown(&self, piece: PieceIndex) -> bool {
        self.shown.as_ref().is_none_or(|shown| shown.pieces.contains(piece))
    }

    /// Not before our greeting, which says that we have nothing; and where it said that we have everything there is
    /// nothing to show.
    pub(super) fn show(&mut self, pieces: impl IntoIterator<Item = PieceIndex>) {
        if let (Phase::PeerId { .. } | Phase::Open { .. }, Some(shown)) = (self.phase, &mut self.shown) {
            pieces.into_iter().for_each(|piece| shown.show(piece));
        }
    }

    pub(super) fn show_everything(&mut self) {
        if let Phase::PeerId { seeding } | Phase::Open { seeding } = self.phase {
            self.show(seeding.geometry.pieces());
        }
    }

    /// Says `have` of as many pieces as there is room for beside what else waits to be sent; the others follow when that
    /// has gone. Of pieces that the peer has it need not know.
    pub(super) fn tell_of_pieces(&mut self) {
        let Some(shown) = &mut self.shown else { return };
        let is_known = |piece| self.peer_have.as_ref().is_some_and(|have| have.contains(piece));
        while self.control.len() + HAVE_LEN <= self.config.max_control_len
            && let Some(piece) = shown.untold.pop_front()
        {
            if !is_known(piece) {
                Message::Have { index: piece.get() }.encode(&mut self.control);
            }
        }
        if shown.untold.is_empty() {
            shown.untold = VecDeque::new();
        }
    }

    /// Whether the peer has still to be told of pieces.
    pub(super) fn has_pieces_to_tell_of(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| !shown.untold.is_empty())
    }
}
