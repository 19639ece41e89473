//! What a session has to tell its driver. Owns the order; refuses to queue: whatever a peer does between two
//! polls, there is at most one event of a kind.

use crate::id::{InfoHash, PeerId};

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
        std::mem::take(&mut self.complete).then_some(Event::Complete)
    }
}
