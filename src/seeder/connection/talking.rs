//! What a connection and its session tell each other: bytes that came, decisions of the choker; and what follows from
//! what the peer says.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use distributor_proto::{Bitfield, Event, Input, Output, PeerId, Transmit};
use tracing::trace;

use super::{Connection, seeding};
use crate::catalog::Torrent;
use crate::metadata::MetadataError;
use crate::racks::Presence;
use crate::seeder::closed::Closed;
use crate::seeder::outgoing::Item;
use crate::seeder::roster::Way;
use crate::traffic::PeerAbout;

/// How many pieces that nobody was given yet are suggested to a peer at the beginning of its turn.
const SUGGESTIONS: usize = 4;
/// How often to look after a session that waits for its torrent's metadata.
const METADATA_PATIENCE: Duration = Duration::from_secs(10);
impl Connection<'_> {
    pub(super) fn input(&mut self, input: Input<'_>) -> Result<(), Closed> {
        Ok(self.session.handle_input(Instant::now(), input)?)
    }

    /// Does what the session says, until it has nothing more to say before the returned time; `None` while there is no
    /// room for more.
    pub(super) fn drain_session(&mut self) -> Result<Option<Instant>, Closed> {
        let at_hand = self.ration.at_hand();
        while self.metadata_owed.is_none() {
            if self.outgoing.is_full(self.depth.batch()) && self.blocked.is_none() {
                return Ok(None);
            }
            self.session.hold_blocks(at_hand.is_some_and(|at_hand| self.outgoing.len() >= at_hand));
            match self.session.poll_output() {
                Output::Event(event) => self.on_event(event)?,
                Output::Transmit(transmit) => self.queue(transmit),
                Output::Timeout(deadline) => {
                    let counters = self.seat.counters();
                    counters.set_requests(self.session.queued_requests());
                    counters.set_have(self.session.peer_have());
                    return Ok(Some(deadline));
                }
            }
        }
        // Not its next deadline, but nothing that it would do then could be done now.
        Ok(Some(Instant::now() + METADATA_PATIENCE))
    }

    fn queue(&mut self, transmit: Transmit) {
        match transmit {
            Transmit::Bytes(bytes) => self.outgoing.push(Item::Bytes(bytes)),
            Transmit::Block { header, block } => {
                if let Some(membership) = &self.membership {
                    membership.spread().upload(block.piece(), SystemTime::now);
                }
                if let Some(presence) = &mut self.presence {
                    presence.sent(block, Instant::now);
                }
                self.outgoing.push(Item::Block(header, block));
            }
            Transmit::Metadata { header, range } => match (&self.metadata, &self.torrent) {
                (Some(metadata), _) => self.outgoing.push_metadata(header, metadata, &range),
                (None, Some(torrent)) => {
                    let (source, torrent) = (self.shared.metadata.clone(), Arc::clone(torrent));
                    let work = Box::pin(async move { source.of(&torrent).await });
                    self.metadata_owed = Some((header, range, work));
                }
                (None, None) => {}
            },
        }
    }

    pub(super) fn pay_metadata(&mut self, metadata: Result<Bytes, MetadataError>) -> Result<(), Closed> {
        let closed = |error| match &self.torrent {
            Some(torrent) => Closed::Metadata(error, Arc::clone(torrent)),
            None => Closed::Finished,
        };
        let metadata = metadata.map_err(closed)?;
        if let Some((header, range, _)) = self.metadata_owed.take() {
            self.outgoing.push_metadata(header, &metadata, &range);
        }
        self.metadata = Some(metadata);
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), Closed> {
        trace!(?event);
        match event {
            Event::InfoHash(info_hash) => {
                if self.agreed.is_some_and(|agreed| agreed != info_hash) {
                    return Err(Closed::OtherTorrent);
                }
                let torrent =
                    self.shared.catalog.by_info_hash(&info_hash).ok_or(Closed::Unknown(info_hash))?;
                let (geometry, ip) = (torrent.geometry(), self.addr.ip());
                let presence = self.shared.racks.connect(info_hash, geometry, ip, Instant::now());
                // Before it is accepted, for what it has may have come together with its handshake.
                self.session.report_pieces(presence.is_some());
                let begins_empty = presence.as_ref().is_some_and(Presence::begins_empty);
                self.input(Input::Accept { seeding: seeding(&torrent, begins_empty) })?;
                self.join(torrent, presence)?;
            }
            Event::PeerId(peer_id) => {
                self.handshaking = None;
                if let Some(membership) = &mut self.membership {
                    membership.introduce(peer_id).map_err(|_| Closed::Duplicate)?;
                }
                if let Some(presence) = &self.presence {
                    presence.introduced();
                    self.notices.wait_for_letters(Arc::clone(presence.mailbox()));
                }
                self.show(peer_id);
                let dialled = self.way == Way::Dialled;
                self.shared.metrics.count_opened(dialled, self.transport.is_encrypted());
            }
            Event::Interested => self.seat.set_interested(true, Instant::now()),
            Event::NotInterested => self.seat.set_interested(false, Instant::now()),
            Event::Pieces => {
                if let (Some(presence), Some(torrent)) = (&self.presence, &self.torrent) {
                    let none = || Bitfield::empty(torrent.geometry().piece_count());
                    let pieces = self.session.peer_pieces().map_or_else(|| Cow::Owned(none()), Cow::Borrowed);
                    presence.pieces(&pieces, Instant::now());
                }
            }
            Event::Have(piece) => {
                if let Some(presence) = &self.presence {
                    presence.got(piece, Instant::now());
                }
            }
            Event::Complete => return Err(Closed::BothSeeds),
            Event::Finished => self.finished = true,
        }
        Ok(())
    }

    /// It is known who the peer is.
    fn show(&mut self, peer_id: PeerId) {
        let Some(torrent) = &self.torrent else { return };
        let about = PeerAbout {
            addr: self.addr,
            info_hash: torrent.info_hash(),
            piece_len: torrent.geometry().piece_len(),
            peer_id,
            since: SystemTime::now(),
            dialled: self.way == Way::Dialled,
            encrypted: self.transport.is_encrypted(),
        };
        let begins_empty = self.presence.as_ref().is_some_and(Presence::begins_empty);
        self.seat.counters().set_shown_pieces(begins_empty);
        self.seat.counters().set_pieces(torrent.geometry().piece_count());
        self.shown = Some(self.shared.traffic.enter(about, self.seat.counters()));
    }

    /// It is known what the connection is for.
    pub(super) fn join(&mut self, torrent: Arc<Torrent>, presence: Option<Presence>) -> Result<(), Closed> {
        let info_hash = torrent.info_hash();
        let membership = self.shared.roster.join(info_hash, torrent.geometry(), self.addr.ip(), self.way);
        let membership = membership.ok_or(Closed::Crowded(info_hash))?;
        self.shared.dialler().came(info_hash, self.addr.ip());
        self.notices.wait_for_revocation(torrent.revoked());
        self.membership = Some(membership);
        self.presence = presence;
        self.torrent = Some(torrent);
        Ok(())
    }

    pub(super) fn on_decision(&mut self, unchoked: bool) -> Result<(), Closed> {
        if !unchoked {
            return self.input(Input::Choke);
        }
        self.input(Input::Unchoke)?;
        if let Some(membership) = self.membership.as_ref().filter(|_| self.may_suggest()) {
            let now = Instant::now();
            for piece in membership.spread().suggest(SUGGESTIONS) {
                self.session.handle_input(now, Input::Suggest(piece))?;
            }
        }
        Ok(())
    }

    /// Where pieces are shown one by one, that says what to take.
    fn may_suggest(&self) -> bool {
        let is_shown_pieces = self.presence.as_ref().is_some_and(Presence::begins_empty);
        self.session.negotiated().fast && !is_shown_pieces
    }

    /// Shows what is to be shown. Who was shown pieces is to fetch them now, and waits for no slot.
    pub(super) fn open_letters(&mut self) -> Result<(), Closed> {
        let Some(presence) = &self.presence else { return Ok(()) };
        let letters = presence.mailbox().take();
        if !letters.pieces.is_empty() {
            self.seat.invite(Instant::now());
            self.seat.counters().add_shown(letters.pieces.len());
            self.input(Input::Show(&letters.pieces))?;
        }
        if letters.everything {
            self.seat.counters().set_shown_pieces(false);
            self.input(Input::ShowEverything)?;
        }
        Ok(())
    }

    /// Reads once; returns how many bytes.
    pub(super) fn receive(&mut self) -> Result<usize, Closed> {
        let now = Instant::now();
        let Self { transport, session, peer_may_send, .. } = self;
        let received = transport.receive(|bytes| {
            if bytes.is_empty() {
                *peer_may_send = false;
                session.handle_input(now, Input::Eof)?;
            } else {
                session.handle_input(now, Input::Received(bytes))?;
            }
            Ok(bytes.len())
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            received => received?,
        }
    }
}
