//! What a session has to tell its driver. Owns the order; refuses to queue: whatever a peer does between two
//! polls, there is at most one event of a kind, and of each piece one.

use std::collections::VecDeque;

use crate::{
    geometry::PieceIndex,
    id::{InfoHash, PeerId},
};

/// Something that the driver must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer named a torrent: its first 48 bytes have come. Answer with
    /// [`Input::Accept`](crate::Input::Accept), or drop the session. The peer's id may come much later or
    /// never: trackers' NAT checks wait for our handshake first (BEP 3).
    InfoHash(InfoHash),
    /// The handshake is complete.
    PeerId(PeerId),
    /// The peer would send requests if we unchoked it.
    Interested,
    /// The peer has no more requests to make. Those that waited were dropped.
    NotInterested,
    /// The peer has said which pieces it has, for the first time or of many at once: see
    /// [`peer_pieces`](crate::Session::peer_pieces). Comes where the driver wants
    /// [reports](crate::Session::report_pieces), as does the next.
    Pieces,
    /// The peer has got this piece.
    Have(PieceIndex),
    /// The peer has every piece: two seeds have nothing to say to each other, so close. Comes once.
    Complete,
    /// The peer sends no more and all that it is owed was given out: close once it is written. Comes once.
    Finished,
}

/// Events that haven't been polled.
#[derive(Debug, Default)]
pub(super) struct Events {
    info_hash: Option<InfoHash>,
    peer_id: Option<PeerId>,
    /// The peer's interest, where it differs from what the driver was last told.
    interest: Option<bool>,
    pieces: bool,
    /// Each of them new to us, so no more than there are.
    haves: VecDeque<PieceIndex>,
    complete: bool,
}

impl Events {
    pub(super) fn info_hash(&mut self, info_hash: InfoHash) {
        self.info_hash = Some(info_hash);
    }

    pub(super) fn peer_id(&mut self, peer_id: PeerId) {
        self.peer_id = Some(peer_id);
    }

    /// The peer changed its mind. To change it twice between two polls is not to have changed it.
    pub(super) fn interest(&mut self, interested: bool) {
        self.interest = match self.interest {
            Some(_) => None,
            None => Some(interested),
        };
    }

    /// Whatever was said of single pieces is among them.
    pub(super) fn pieces(&mut self) {
        self.pieces = true;
        self.haves = VecDeque::new();
    }

    pub(super) fn have(&mut self, piece: PieceIndex) {
        self.haves.push_back(piece);
    }

    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        if let Some(info_hash) = self.info_hash.take() {
            return Some(Event::InfoHash(info_hash));
        }
        if let Some(peer_id) = self.peer_id.take() {
            return Some(Event::PeerId(peer_id));
        }
        if let Some(interested) = self.interest.take() {
            return Some(if interested { Event::Interested } else { Event::NotInterested });
        }
        if std::mem::take(&mut self.pieces) {
            return Some(Event::Pieces);
        }
        if let Some(piece) = self.haves.pop_front() {
            return Some(Event::Have(piece));
        }
        std::mem::take(&mut self.complete).then_some(Event::Complete)
    }
}
