//! The peer's side of a session: what its bytes mean, and which of them must wait.
//!
//! Owns framing and the meaning of each message. Refuses to look at a frame before its length was held
//! against the cap, and at a message while the request queue is full.

use std::{collections::VecDeque, mem};

use super::{End, Phase, Session, SessionError};
use crate::{
    bitfield::Bitfield,
    geometry::{Block, Geometry},
    handshake::{INFO_HASH_END, PROTOCOL},
    id::{InfoHash, PeerId},
    message::{MAX_MESSAGE_LEN, Message, MessageError},
};

impl Session {
    /// Takes bytes from the peer: what is whole is parsed where it lies, only an unfinished tail is copied.
    pub(super) fn receive(&mut self, mut bytes: &[u8]) -> Result<(), SessionError> {
        if bytes.is_empty() || self.end != End::NotYet {
            return Ok(());
        }
        self.clock.heard = self.clock.now;
        // Complete what was kept with just what it lacks, so that the rest needs no copy.
        while !self.kept.is_empty() && !bytes.is_empty() && self.can_parse() {
            let lacking = self.next_len(self.kept.as_slice())?.saturating_sub(self.kept.len());
            let (more, rest) = bytes.split_at_checked(lacking).unwrap_or((bytes, &[]));
            self.keep(more)?;
            self.parse_kept()?;
            bytes = rest;
        }
        let rest = self.parse(bytes)?;
        self.keep(rest)
    }

    /// Parses what was kept, as far as it goes.
    pub(super) fn parse_kept(&mut self) -> Result<(), SessionError> {
        let mut kept = mem::take(&mut self.kept);
        let left = self.parse(kept.as_slice())?.len();
        kept.keep_last(left);
        self.kept = kept;
        Ok(())
    }

    /// The queue has room again: what had to wait is parsed, and the peer's silence, which was our not
    /// reading, is counted anew.
    pub(super) fn resume(&mut self) -> Result<(), SessionError> {
        self.clock.heard = self.clock.now;
        self.parse_kept()
    }

    /// Drops all requests that wait, and their memory.
    pub(super) fn drop_requests(&mut self) -> Result<(), SessionError> {
        let was_full = self.is_full();
        self.requests = VecDeque::new();
        if was_full { self.resume() } else { Ok(()) }
    }

    pub(super) fn is_full(&self) -> bool {
        self.requests.len() >= self.config.max_queued_requests.max(1)
    }

    /// Whether the next thing from the peer may be looked at.
    pub(super) fn can_parse(&self) -> bool {
        !matches!(self.phase, Phase::Accept { .. }) && !self.is_full()
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.kept.extend(bytes).map_err(|_| SessionError::Overrun)
    }

    /// Takes whole parts off the front of `bytes` until none is left or the rest has to wait; returns the
    /// rest.
    fn parse<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], SessionError> {
        while !bytes.is_empty() && self.can_parse() {
            let Some((part, rest)) = bytes.split_at_checked(self.next_len(bytes)?) else { break };
            self.take(part)?;
            bytes = rest;
        }
        Ok(bytes)
    }

    /// How long the next part is, as far as `bytes`, its beginning, can tell: always more than `bytes` has
    /// unless the part is whole.
    fn next_len(&self, bytes: &[u8]) -> Result<usize, SessionError> {
        match self.phase {
            Phase::InfoHash if bytes.iter().zip(PROTOCOL).any(|(theirs, ours)| theirs != ours) => {
                Err(SessionError::Protocol)
            }
            Phase::InfoHash | Phase::Accept { .. } => Ok(INFO_HASH_END),
            Phase::PeerId { .. } => Ok(PeerId::LEN),
            Phase::Open { .. } => match bytes.first_chunk() {
                None => Ok(4),
                Some(prefix) => match u32::from_be_bytes(*prefix) as usize {
                    len if len <= MAX_MESSAGE_LEN => Ok(4 + len),
                    len => Err(MessageError::TooLong { len }.into()),
                },
            },
        }
    }

    /// Acts on one whole part: of the handshake, or a frame.
    fn take(&mut self, part: &[u8]) -> Result<(), SessionError> {
        match self.phase {
            Phase::InfoHash => {
                // The reserved bits before it announce extensions; a seed of plain BEP 3 negotiates none.
                let info_hash = InfoHash::new(*part.last_chunk().ok_or(SessionError::Protocol)?);
                self.phase = Phase::Accept { info_hash };
                self.events.info_hash(info_hash);
                Ok(())
            }
            Phase::Accept { .. } => Ok(()),
            Phase::PeerId { geometry } => {
                let peer_id = PeerId::new(*part.last_chunk().ok_or(SessionError::Protocol)?);
                if peer_id == self.config.our_id {
                    return Err(SessionError::OwnPeerId);
                }
                self.peer_id = Some(peer_id);
                self.phase = Phase::Open { geometry };
                self.events.peer_id(peer_id);
                Ok(())
            }
            Phase::Open { geometry } => {
                let frame = part.get(4..).unwrap_or_default();
                self.take_message(geometry, Message::decode(frame)?)
            }
        }
    }

    fn take_message(&mut self, geometry: Geometry, message: Message<'_>) -> Result<(), SessionError> {
        match message {
            // We ask for nothing, so whether we may doesn't matter; and extensions that weren't negotiated
            // have no meaning.
            Message::KeepAlive
            | Message::Choke
            | Message::Unchoke
            | Message::Port(_)
            | Message::Unknown { .. } => Ok(()),
            Message::Interested => {
                if !mem::replace(&mut self.interested, true) {
                    self.events.interest(true);
                }
                Ok(())
            }
            Message::NotInterested => {
                if mem::take(&mut self.interested) {
                    self.events.interest(false);
                    // Can't be full, or this message would have waited.
                    self.requests = VecDeque::new();
                }
                Ok(())
            }
            Message::Have { index } => self.take_have(geometry, index),
            Message::Bitfield(bits) => self.take_bitfield(geometry, bits),
            Message::Request { index, begin, length } => {
                let block = geometry.block(index, begin, length)?;
                // BEP 3: data goes when one side is interested and the other isn't choking. A request that
                // crosses with our choke on the wire is nobody's fault.
                if self.unchoked && self.interested {
                    self.requests.push_back(block);
                }
                Ok(())
            }
            Message::Cancel { index, begin, length } => {
                // One that names no request may be for a block that has just gone out.
                let cancelled = |block: &Block| {
                    (block.piece().get(), block.begin(), block.len()) == (index, begin, length)
                };
                if let Some(position) = self.requests.iter().position(cancelled) {
                    self.requests.remove(position);
                }
                Ok(())
            }
            Message::Piece { .. } => Err(SessionError::UnrequestedPiece),
        }
    }

    fn take_have(&mut self, geometry: Geometry, index: u32) -> Result<(), SessionError> {
        let pieces = geometry.piece_count();
        let piece = geometry.piece(index).ok_or(SessionError::Have { index, pieces })?;
        let have = self.peer_have.get_or_insert_with(|| Bitfield::empty(pieces));
        if have.insert(piece) && have.is_full() {
            self.events.complete();
        }
        Ok(())
    }

    /// BEP 3 has the bitfield only as the first message; aria2 sends one in mid-stream in place of many
    /// haves. It is added to what is known, because pieces are got and not lost.
    fn take_bitfield(&mut self, geometry: Geometry, bits: &[u8]) -> Result<(), SessionError> {
        let theirs = Bitfield::from_wire(bits, geometry.piece_count())?;
        if theirs.count() == 0 {
            return Ok(());
        }
        let was_full = self.peer_have.as_ref().is_some_and(Bitfield::is_full);
        let have = match &mut self.peer_have {
            Some(have) => {
                have.union(&theirs);
                have
            }
            none => none.insert(theirs),
        };
        if have.is_full() && !was_full {
            self.events.complete();
        }
        Ok(())
    }
}
