//! What a session sends, and in which order: messages, then metadata, then blocks.
//!
//! Owns that order and what is done once something has gone. Refuses to send anything while the driver can't write.

use std::mem;

use super::{Phase, Session, Transmit};
use crate::{
    geometry::PieceIndex,
    message::{Message, block_header},
};

impl Session {
    /// BEP 6. Not before our greeting has gone out, which must be first.
    pub(super) fn suggest(&mut self, piece: PieceIndex) {
        let (Phase::PeerId { seeding } | Phase::Open { seeding }) = self.phase else { return };
        let known = self.peer_have.as_ref().is_some_and(|have| have.contains(piece));
        let Some(piece) = seeding.geometry.piece(piece.get()) else { return };
        let may_suggest = self.negotiated.fast && self.shown.is_none();
        if may_suggest && !known && self.control.len() <= self.config.max_control_len {
            Message::Suggest { index: piece.get() }.encode(&mut self.control);
        }
    }

    /// The next thing to send; what had to wait for it is dealt with.
    pub(super) fn next_transmit(&mut self) -> Option<Transmit> {
        if self.clock.blocked.is_some() {
            return None;
        }
        let waited = !self.can_parse();
        let transmit = self.take_transmit()?;
        if waited && let Err(error) = self.resume() {
            // What is handed out was asked for properly; the deadline is now, so that the driver hears, and
            // closes.
            self.fail(error);
        }
        Some(transmit)
    }

    fn take_transmit(&mut self) -> Option<Transmit> {
        self.tell_of_pieces();
        if !self.control.is_empty() {
            return Some(Transmit::Bytes(mem::take(&mut self.control).freeze()));
        }
        if let Phase::Open { seeding } = &self.phase
            && let Some(metadata) = self.extended.pop(seeding)
        {
            return Some(metadata);
        }
        if self.holds_blocks {
            return None;
        }
        let block = self.requests.pop(self.unchoked)?;
        Some(Transmit::Block { header: block_header(block), block })
    }

    /// Whether something is still to be sent, or the driver has still to say whether there is.
    pub(super) fn owes_anything(&self) -> bool {
        let has_nothing = self.control.is_empty() && self.requests.is_empty() && self.extended.owes_nothing();
        !has_nothing || self.has_pieces_to_tell_of() || matches!(self.phase, Phase::Accept { .. })
    }
}
