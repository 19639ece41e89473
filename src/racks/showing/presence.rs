//! One connection among those of its torrent; left when dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use distributor_proto::{Bitfield, Block, Geometry, InfoHash, PieceIndex};

use super::swarm::Swarm;
use super::{Mailbox, Showings, lock};

#[derive(Debug)]
pub(crate) struct Presence {
    id: u64,
    info_hash: InfoHash,
    geometry: Geometry,
    begins_empty: bool,
    mailbox: Arc<Mailbox>,
    /// Bytes that were sent of pieces of which not all was: as many as the peer has begun.
    begun: HashMap<PieceIndex, u64>,
    swarm: Arc<Mutex<Swarm>>,
    showings: Arc<Showings>,
}

impl Presence {
    pub(super) fn new(
        id: u64,
        info_hash: InfoHash,
        geometry: Geometry,
        begins_empty: bool,
        mailbox: Arc<Mailbox>,
        swarm: Arc<Mutex<Swarm>>,
        showings: Arc<Showings>,
    ) -> Self {
        let begun = HashMap::new();
        Self { id, info_hash, geometry, begins_empty, mailbox, begun, swarm, showings }
    }

    /// Whether the peer is told at first that there is nothing.
    pub(crate) fn begins_empty(&self) -> bool {
        self.begins_empty
    }

    /// Where what it is to be shown comes in.
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// The peer has said who it is. If it says nothing of its pieces soon it has none.
    pub(crate) fn introduced(&self) {
        lock(&self.swarm).introduced(self.id);
    }

    /// The peer has all of these.
    pub(crate) fn pieces(&self, pieces: &Bitfield, now: Instant) {
        lock(&self.swarm).has_all(self.id, pieces, now);
    }

    /// The peer has got a piece.
    pub(crate) fn got(&self, piece: PieceIndex, now: Instant) {
        lock(&self.swarm).has(self.id, piece, now);
    }

    /// A block goes to the peer. Asked for twice, it counts twice: a piece is taken for sent too soon then, which shows
    /// another one sooner.
    pub(crate) fn sent(&mut self, block: Block, now: impl FnOnce() -> Instant) {
        let piece = block.piece();
        let range = self.geometry.piece_range(piece);
        let sent = self.begun.entry(piece).or_default();
        *sent = sent.saturating_add(block.len().into());
        if *sent >= range.end - range.start {
            self.begun.remove(&piece);
            lock(&self.swarm).sent(self.id, piece, now());
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.showings.leave(&self.info_hash, self.id);
    }
}
