//! The peer's stream cut into parts, and which of them must wait.
//!
//! Owns framing. Refuses to look at a frame before its length was held against the cap, and at a message while
//! there is no room for what it may lead to.

use std::mem;

use super::{End, Phase, Session, SessionError};
use crate::{
    handshake::{INFO_HASH_END, PROTOCOL},
    id::PeerId,
    message::{MAX_MESSAGE_LEN, MessageError},
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

    /// There is room again: what had to wait is parsed, and the peer's silence, which was our not
    /// reading, is counted anew.
    pub(super) fn resume(&mut self) -> Result<(), SessionError> {
        self.clock.heard = self.clock.now;
        self.parse_kept()
    }

    pub(super) fn is_full(&self) -> bool {
        self.requests.len() >= self.max_queued()
    }

    /// Whether the next thing from the peer may be looked at. With BEP 6 a request too many is rejected; without
    /// it TCP has to push back.
    pub(super) fn can_parse(&self) -> bool {
        let room = self.negotiated.fast || !self.is_full();
        room && self.control.len() <= self.config.max_control_len
            && !matches!(self.phase, Phase::Accept { .. })
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.kept.extend(bytes, self.config.max_kept_len).map_err(|_| SessionError::Overrun)
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
            Phase::InfoHash { .. } if bytes.iter().zip(PROTOCOL).any(|(theirs, ours)| theirs != ours) => {
                Err(SessionError::Protocol)
            }
            Phase::InfoHash { .. } | Phase::Accept { .. } => Ok(INFO_HASH_END),
            Phase::PeerId { .. } => Ok(PeerId::LEN),
            Phase::Open { .. } => match bytes.first_chunk() {
                None => Ok(4),
                Some(prefix) => match u32::from_be_bytes(*prefix) as usize {
                    len if len <= MAX_MESSAGE_LEN => Ok(4 + len),
                    len => Err(self.broken_by_length(len)),
                },
            },
        }
    }

    fn broken_by_length(&self, len: usize) -> SessionError {
        let violation = MessageError::TooLong { len }.into();
        SessionError::Message { ordinal: self.ordinal + 1, name: "unread", violation }
    }

    /// Acts on one whole part: of the handshake, or a frame.
    fn take(&mut self, part: &[u8]) -> Result<(), SessionError> {
        match self.phase {
            Phase::InfoHash { dialled } => self.take_info_hash(part, dialled),
            Phase::Accept { .. } => Ok(()),
            Phase::PeerId { seeding } => self.take_peer_id(part, seeding),
            Phase::Open { seeding } => self.take_frame(seeding, part.get(4..).unwrap_or_default()),
        }
    }
}
