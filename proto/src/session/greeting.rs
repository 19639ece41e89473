//! How a connection opens: who says what before the first message that means anything (BEP 3, 6, 10).
//!
//! Owns the two handshakes, of a session that was accepted and of one that dialled, and what a seed says right
//! behind them. Refuses to look further into the stream than the peer's id.

use super::{Phase, Seeding, Session, SessionError, metadata::UT_METADATA_ID, showing::Shown};
use crate::{
    bitfield::Bitfield,
    extension::ExtendedHandshake,
    handshake::{Extensions, HANDSHAKE_LEN, Handshake, PROTOCOL},
    id::{InfoHash, PeerId},
    message::Message,
};

/// The number that every side has for the extended handshake (BEP 10).
pub(super) const EXTENDED_HANDSHAKE_ID: u8 = 0;

impl Session {
    /// The driver's answer to the info hash: our handshake and what a seed says at once.
    pub(super) fn accept_torrent(&mut self, seeding: Seeding) -> Result<(), SessionError> {
        let Phase::Accept { info_hash } = self.phase else { return Err(SessionError::AcceptOutOfTurn) };
        self.shake_hands(info_hash);
        self.greet(seeding);
        self.parse_kept()
    }

    /// Our handshake.
    pub(super) fn shake_hands(&mut self, info_hash: InfoHash) {
        let reserved = Extensions::ALL.to_reserved();
        let handshake = Handshake { reserved, info_hash, peer_id: self.config.our_id };
        self.control.reserve(HANDSHAKE_LEN);
        self.control.extend_from_slice(&handshake.encode());
    }

    /// The peer's handshake up to its info hash. One that dialled waits for the driver's answer; one that was
    /// dialled has to answer for the same torrent.
    pub(super) fn take_info_hash(
        &mut self,
        part: &[u8],
        dialled: Option<Seeding>,
    ) -> Result<(), SessionError> {
        let rest = part.strip_prefix(PROTOCOL).ok_or(SessionError::Protocol)?;
        let (reserved, rest) = rest.split_first_chunk().ok_or(SessionError::Protocol)?;
        let theirs = InfoHash::new(rest.try_into().map_err(|_| SessionError::Protocol)?);
        // We offer all of them, so what the peer offers is what both have.
        self.negotiated = Extensions::from_reserved(*reserved);
        match (dialled, self.info_hash) {
            (Some(_), Some(ours)) if ours != theirs => Err(SessionError::WrongTorrent { ours, theirs }),
            (Some(seeding), _) => {
                self.greet(seeding);
                Ok(())
            }
            (None, _) => {
                self.info_hash = Some(theirs);
                self.phase = Phase::Accept { info_hash: theirs };
                self.events.info_hash(theirs);
                Ok(())
            }
        }
    }

    /// What a seed says once it knows the peer's reserved bits: that it has everything, or nothing yet, and what it is.
    ///
    /// The pieces go first: BEP 3 and BEP 6 demand it, and dtorrent drops peers over it. Who has none says nothing of
    /// them by BEP 3.
    fn greet(&mut self, seeding: Seeding) {
        match (seeding.begins_empty, self.negotiated.fast) {
            (false, true) => Message::HaveAll.encode(&mut self.control),
            (false, false) => {
                let all = Bitfield::full(seeding.geometry.piece_count());
                Message::Bitfield(all.as_bytes()).encode(&mut self.control);
            }
            (true, true) => Message::HaveNone.encode(&mut self.control),
            (true, false) => {}
        }
        self.shown = seeding.begins_empty.then(|| Shown::nothing(&seeding.geometry));
        if self.negotiated.extended {
            let ours = ExtendedHandshake {
                ut_metadata: Some(UT_METADATA_ID),
                metadata_size: Some(seeding.metadata_len),
                port: self.config.listen_port,
                reqq: Some(u32::try_from(self.max_queued()).unwrap_or(u32::MAX)),
                // Clients expect nothing more of one that only uploads and has no pieces.
                upload_only: (!seeding.begins_empty).then_some(true),
                client: Some(self.config.client.as_bytes()),
                yourip: Some(self.peer),
            };
            let payload = &ours.encode()[..];
            Message::Extended { id: EXTENDED_HANDSHAKE_ID, payload }.encode(&mut self.control);
        }
        self.phase = Phase::PeerId { seeding };
    }

    /// The end of the peer's handshake.
    pub(super) fn take_peer_id(&mut self, part: &[u8], seeding: Seeding) -> Result<(), SessionError> {
        let peer_id = PeerId::try_from(part).map_err(|_| SessionError::Protocol)?;
        if peer_id == self.config.our_id {
            return Err(SessionError::OwnPeerId);
        }
        self.peer_id = Some(peer_id);
        self.phase = Phase::Open { seeding };
        self.events.peer_id(peer_id);
        Ok(())
    }
}
