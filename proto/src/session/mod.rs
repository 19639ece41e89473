//! One *accepted* connection of a seeder as a state machine (BEP 3).
//!
//! Owns the rules of the conversation: who may say what when, which requests wait, when silence is too long.
//! Refuses sockets, clocks, file data and policy: whom to unchoke is the driver's to decide, and a session
//! that has to end says why and nothing else. The split: this file is the driver's side, `wire` the peer's,
//! `deadlines` time's.

mod clock;
mod config;
mod deadlines;
mod drive;
mod error;
mod events;
mod kept;
mod wire;

use std::{collections::VecDeque, mem, time::Instant};

use bytes::BytesMut;

use self::{clock::Clock, events::Events, kept::Kept};
pub use self::{
    config::SessionConfig,
    drive::{Input, Output, Transmit},
    error::SessionError,
    events::Event,
    kept::MAX_KEPT_LEN,
};
use crate::{
    bitfield::Bitfield,
    geometry::{Block, Geometry},
    handshake::{HANDSHAKE_LEN, Handshake},
    id::{InfoHash, PeerId},
    message::{Message, block_header},
};

/// Where the conversation stands.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The peer's handshake up to its info hash is due.
    InfoHash,
    /// The driver's answer is due.
    Accept { info_hash: InfoHash },
    /// The rest of the peer's handshake is due; ours and our bitfield are on their way.
    PeerId { geometry: Geometry },
    /// Messages, both ways.
    Open { geometry: Geometry },
}

/// How far the end of the peer's stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer may send more.
    NotYet,
    /// It won't.
    Seen,
    /// It won't, and the driver knows that nothing is left to send.
    Reported,
}

/// Why a session failed, and whether the driver has been told.
#[derive(Clone, Copy, Debug)]
struct Failure {
    error: SessionError,
    told: bool,
}

/// One accepted connection, from the first byte on.
///
/// Drive it like this: hand in one [`Input`], then call [`poll_output`](Self::poll_output) until it says
/// [`Output::Timeout`]. When [`handle_input`](Self::handle_input) returns an error, close the connection.
///
/// ```
/// use std::time::Instant;
///
/// use distributor_proto::*;
///
/// let now = Instant::now();
/// let us = PeerId::azureus(*b"DT", *b"0100", [0; 12]);
/// let mut session = Session::accept(now, SessionConfig::new(us));
///
/// let peer_id = PeerId::azureus(*b"XX", *b"0001", [1; 12]);
/// let info_hash = InfoHash::new([7; 20]);
/// let theirs = Handshake { reserved: [0; 8], info_hash, peer_id }.encode();
/// session.handle_input(now, Input::Received(&theirs))?;
/// assert_eq!(session.poll_output(), Output::Event(Event::InfoHash(info_hash)));
///
/// let geometry = Geometry::for_len(1_000_000)?;
/// session.handle_input(now, Input::Accept { geometry })?;
/// assert_eq!(session.poll_output(), Output::Event(Event::PeerId(peer_id)));
/// let Output::Transmit(Transmit::Bytes(ours)) = session.poll_output() else { panic!() };
/// assert_eq!(Handshake::decode(&ours[..HANDSHAKE_LEN])?.peer_id, us);
/// assert!(matches!(session.poll_output(), Output::Timeout(deadline) if deadline > now));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    phase: Phase,
    end: End,
    failure: Option<Failure>,
    clock: Clock,
    kept: Kept,
    events: Events,
    /// Small messages that wait to be sent. They go before any block: a choke must, nothing else minds.
    control: BytesMut,
    /// Requests that wait for their blocks; never more than the configuration allows.
    requests: VecDeque<Block>,
    unchoked: bool,
    interested: bool,
    peer_id: Option<PeerId>,
    /// Absent until the peer first tells of a piece: most sessions of a young swarm never pay for it.
    peer_have: Option<Bitfield>,
}

impl Session {
    /// A session for a connection that was accepted at `now`.
    #[must_use]
    pub fn accept(now: Instant, config: SessionConfig) -> Self {
        Self {
            config,
            phase: Phase::InfoHash,
            end: End::NotYet,
            failure: None,
            clock: Clock::start(now),
            kept: Kept::default(),
            events: Events::default(),
            control: BytesMut::new(),
            requests: VecDeque::new(),
            unchoked: false,
            interested: false,
            peer_id: None,
            peer_have: None,
        }
    }

    /// Takes one input. Afterwards [`poll_output`](Self::poll_output) until it says [`Output::Timeout`].
    ///
    /// # Errors
    ///
    /// When the connection must be closed. From then on the session has no output but a timeout, and every
    /// input is the same error.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), SessionError> {
        self.clock.advance(now);
        if self.failure.is_none()
            && let Err(error) = self.apply(input).and_then(|()| self.check_deadlines())
        {
            self.fail(error);
        }
        match &mut self.failure {
            None => Ok(()),
            Some(failure) => {
                failure.told = true;
                Err(failure.error)
            }
        }
    }

    /// The next thing to do: events first, then what is to be sent (unless [`Input::Blocked`]), then the
    /// timeout.
    pub fn poll_output(&mut self) -> Output {
        if self.failure.is_none() {
            if let Some(event) = self.events.next() {
                return Output::Event(event);
            }
            if let Some(transmit) = self.next_transmit() {
                self.clock.sent = self.clock.now;
                return Output::Transmit(transmit);
            }
            if self.end == End::Seen && !self.owes_anything() {
                self.end = End::Reported;
                return Output::Event(Event::Finished);
            }
        }
        Output::Timeout(self.deadline())
    }

    /// Whether the driver should read from the socket. Not while the request queue is full, so that TCP
    /// pushes back, nor while [`Event::InfoHash`] waits for its answer, nor after the end.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.failure.is_none() && self.end == End::NotYet && self.can_parse()
    }

    /// How many requests wait for their blocks.
    #[must_use]
    pub fn queued_requests(&self) -> usize {
        self.requests.len()
    }

    /// Whether we answer the peer's requests.
    #[must_use]
    pub const fn is_unchoked(&self) -> bool {
        self.unchoked
    }

    /// Whether the peer would send requests.
    #[must_use]
    pub const fn peer_interested(&self) -> bool {
        self.interested
    }

    /// How many pieces the peer has, by its own account.
    #[must_use]
    pub fn peer_have(&self) -> u32 {
        self.peer_have.as_ref().map_or(0, Bitfield::count)
    }

    /// The peer's id, once its handshake is complete.
    #[must_use]
    pub const fn peer_id(&self) -> Option<PeerId> {
        self.peer_id
    }

    fn apply(&mut self, input: Input<'_>) -> Result<(), SessionError> {
        match input {
            Input::Received(bytes) => self.receive(bytes),
            Input::Accept { geometry } => self.accept_torrent(geometry),
            Input::Unchoke => {
                if self.interested && !mem::replace(&mut self.unchoked, true) {
                    Message::Unchoke.encode(&mut self.control);
                }
                Ok(())
            }
            Input::Choke => {
                if mem::take(&mut self.unchoked) {
                    Message::Choke.encode(&mut self.control);
                    return self.drop_requests();
                }
                Ok(())
            }
            Input::Blocked => {
                self.clock.blocked.get_or_insert(self.clock.now);
                Ok(())
            }
            Input::Writable => {
                self.clock.blocked = None;
                Ok(())
            }
            Input::Timeout => Ok(()),
            Input::Eof if matches!(self.phase, Phase::InfoHash) => Err(SessionError::Eof),
            Input::Eof => {
                if self.end == End::NotYet {
                    self.end = End::Seen;
                }
                Ok(())
            }
        }
    }

    /// Answers with our handshake and, at once, the exact bitfield of a seed: dtorrent drops peers whose
    /// bitfield isn't the first message.
    fn accept_torrent(&mut self, geometry: Geometry) -> Result<(), SessionError> {
        let Phase::Accept { info_hash } = self.phase else { return Err(SessionError::AcceptOutOfTurn) };
        let handshake = Handshake { reserved: [0; 8], info_hash, peer_id: self.config.our_id };
        self.control.reserve(HANDSHAKE_LEN + 5 + geometry.bitfield_len());
        self.control.extend_from_slice(&handshake.encode());
        Message::Bitfield(Bitfield::full(geometry.piece_count()).as_bytes()).encode(&mut self.control);
        self.phase = Phase::PeerId { geometry };
        self.parse_kept()
    }

    fn next_transmit(&mut self) -> Option<Transmit> {
        if self.clock.blocked.is_some() {
            return None;
        }
        if !self.control.is_empty() {
            return Some(Transmit::Bytes(mem::take(&mut self.control).freeze()));
        }
        let was_full = self.is_full();
        let block = self.requests.pop_front()?;
        if was_full && let Err(error) = self.resume() {
            // This block was asked for properly and is still handed out; the deadline is now, so that the driver
            // hears, and closes.
            self.fail(error);
        }
        Some(Transmit::Block { header: block_header(block), block })
    }

    /// Whether something is still to be sent, or the driver has still to say whether there is.
    fn owes_anything(&self) -> bool {
        !self.control.is_empty() || !self.requests.is_empty() || matches!(self.phase, Phase::Accept { .. })
    }

    /// Ends the session: nothing that waited will happen.
    fn fail(&mut self, error: SessionError) {
        self.failure = Some(Failure { error, told: false });
        self.kept = Kept::default();
        self.events = Events::default();
        self.control = BytesMut::new();
        self.requests = VecDeque::new();
    }
}
