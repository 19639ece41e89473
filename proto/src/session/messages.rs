//! What each message means (BEP 3, 6).
//!
//! Owns what the peer has and wants, and the bounds on messages that change nothing. Refuses what no seed can make
//! sense of; requests and extended messages are dealt with in rooms of their own.

use std::mem;

use super::{Seeding, Session, SessionError, Violation, budget::Dry};
use crate::{
    bitfield::Bitfield,
    geometry::{Geometry, PieceIndex},
    message::Message,
};

/// What a message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// Something that can't be repeated without end, or that costs the peer its turn.
    Something,
    /// Nothing, or something that the peer can take back with the next message.
    Nothing,
    /// A request that was refused or taken back. Counted apart: all that a client has in flight may cross with a choke.
    Refused,
}

impl Session {
    /// Acts on one frame, without its length prefix.
    pub(super) fn take_frame(&mut self, seeding: Seeding, frame: &[u8]) -> Result<(), SessionError> {
        self.ordinal += 1;
        let taken = Message::decode(frame, self.negotiated)
            .map_err(Violation::from)
            .and_then(|message| self.take_message(&seeding, message))
            .and_then(|worth| self.count(worth));
        taken.map_err(|violation| self.broken_by(Message::name_of(frame), violation))
    }

    /// The error of the message that is being looked at.
    pub(super) fn broken_by(&self, name: &'static str, violation: Violation) -> SessionError {
        SessionError::Message { ordinal: self.ordinal, name, violation }
    }

    fn count(&mut self, worth: Worth) -> Result<(), Violation> {
        let now = self.clock.now;
        match worth {
            Worth::Something => Ok(()),
            Worth::Nothing => self.idle.take(now).map_err(|Dry { limit }| Violation::Flood { limit }),
            Worth::Refused => {
                self.refused.take(now).map_err(|Dry { limit }| Violation::RequestFlood { limit })
            }
        }
    }

    fn take_message(&mut self, seeding: &Seeding, message: Message<'_>) -> Result<Worth, Violation> {
        let geometry = &seeding.geometry;
        match message {
            // We ask for nothing, so whether we may doesn't matter; and extensions that weren't negotiated
            // have no meaning.
            Message::KeepAlive
            | Message::Choke
            | Message::Unchoke
            | Message::Port(_)
            | Message::Unknown { .. } => Ok(Worth::Nothing),
            Message::Interested => {
                if !mem::replace(&mut self.interested, true) {
                    self.events.interest(true);
                }
                Ok(Worth::Nothing)
            }
            Message::NotInterested => {
                if mem::take(&mut self.interested) {
                    self.events.interest(false);
                    self.drop_requests();
                }
                Ok(Worth::Nothing)
            }
            Message::Have { index } => {
                let piece = existing(geometry, index)?;
                let worth = self.take_have(geometry, piece);
                self.told_pieces(geometry);
                Ok(worth)
            }
            Message::Bitfield(bits) => {
                let worth = self.add_pieces(Bitfield::from_wire(bits, geometry.piece_count())?);
                self.told_pieces(geometry);
                Ok(worth)
            }
            Message::HaveAll => {
                let worth = self.add_pieces(Bitfield::full(geometry.piece_count()));
                self.told_pieces(geometry);
                Ok(worth)
            }
            Message::HaveNone if self.knows_pieces => Err(Violation::HaveOutOfTurn),
            Message::HaveNone => {
                self.told_pieces(geometry);
                Ok(Worth::Something)
            }
            Message::Suggest { index } | Message::AllowedFast { index } => {
                existing(geometry, index).map(|_| Worth::Nothing)
            }
            Message::Request { index, begin, length } => self.take_request(geometry, index, begin, length),
            Message::Cancel { index, begin, length } => Ok(self.take_cancel(index, begin, length)),
            Message::Extended { id, payload } => self.take_extended(seeding, id, payload),
            Message::Piece { .. } | Message::Reject { .. } => Err(Violation::Unrequested),
        }
    }

    fn take_have(&mut self, geometry: &Geometry, piece: PieceIndex) -> Worth {
        let have = self.peer_have.get_or_insert_with(|| Bitfield::empty(geometry.piece_count()));
        if !have.insert(piece) {
            return Worth::Nothing;
        }
        if have.is_full() {
            self.events.complete();
        }
        if self.reports_pieces {
            self.events.have(piece);
        }
        Worth::Something
    }

    /// BEP 3 has the bitfield only as the first message, and BEP 6 the have-all; aria2 sends them in mid-stream in
    /// place of many haves. They are added to what is known, because pieces are got and not lost.
    fn add_pieces(&mut self, theirs: Bitfield) -> Worth {
        if theirs.count() == 0 {
            return Worth::Nothing;
        }
        let had = self.peer_have();
        let have = match &mut self.peer_have {
            Some(have) => {
                have.union(&theirs);
                have
            }
            none => none.insert(theirs),
        };
        if have.count() == had {
            return Worth::Nothing;
        }
        if have.is_full() {
            self.events.complete();
        }
        if self.reports_pieces {
            self.events.pieces();
        }
        Worth::Something
    }

    /// The peer has said something of its pieces. Extended messages may come before that (transmission), and one
    /// that has yet to get the metadata says nothing for long (libtorrent).
    fn told_pieces(&mut self, geometry: &Geometry) {
        if !mem::replace(&mut self.knows_pieces, true) {
            if self.reports_pieces {
                self.events.pieces();
            }
            self.offer_fast_pieces(geometry);
        }
    }
}

fn existing(geometry: &Geometry, index: u32) -> Result<PieceIndex, Violation> {
    let pieces = geometry.piece_count();
    geometry.piece(index).ok_or(Violation::NoSuchPiece { index, pieces })
}
