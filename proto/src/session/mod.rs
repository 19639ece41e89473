//! One connection of a seeder, accepted or dialled, as a state machine (BEP 3, 6, 9, 10, 21).
//!
//! Owns the rules of the conversation: who may say what when, which requests wait, when silence is too long.
//! Refuses sockets, clocks, file data and policy: whom to unchoke is the driver's to decide, and a session
//! that has to end says why and nothing else. The split: this file is the driver's side; `wire` cuts the peer's
//! stream, `greeting` opens it, `messages`, `requests` and `metadata` say what is in it, `showing` which pieces the peer
//! knows of, `outgoing` what goes out; `deadlines` is time's.

mod budget;
mod clock;
mod config;
mod deadlines;
mod drive;
mod error;
mod events;
mod greeting;
mod kept;
mod messages;
mod metadata;
mod outgoing;
mod phase;
mod requests;
mod showing;
mod wire;

use std::{mem, net::IpAddr, time::Instant};

use bytes::BytesMut;

use self::{
    budget::Bucket,
    clock::Clock,
    events::Events,
    kept::Kept,
    metadata::Extended,
    phase::{End, Failure, Phase},
    requests::Requests,
    showing::Shown,
};
pub use self::{
    config::{MAX_CONTROL_LEN, MAX_KEPT_LEN, Seeding, SessionConfig},
    drive::{Input, Output, Transmit},
    error::{SessionError, Violation},
    events::Event,
    metadata::{MAX_METADATA_COPIES, MAX_METADATA_QUEUED},
};
use crate::{
    bitfield::Bitfield,
    handshake::Extensions,
    id::{InfoHash, PeerId},
    message::Message,
};

/// One connection, from the first byte on.
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
/// let mut session = Session::accept(now, SessionConfig::new(us), [10, 0, 0, 7].into());
///
/// let peer_id = PeerId::azureus(*b"XX", *b"0001", [1; 12]);
/// let info_hash = InfoHash::new([7; 20]);
/// let theirs = Handshake { reserved: [0; 8], info_hash, peer_id }.encode();
/// session.handle_input(now, Input::Received(&theirs))?;
/// assert_eq!(session.poll_output(), Output::Event(Event::InfoHash(info_hash)));
///
/// let seeding = Seeding { geometry: Geometry::for_len(1_000_000)?, metadata_len: 400, begins_empty: false };
/// session.handle_input(now, Input::Accept { seeding })?;
/// assert_eq!(session.poll_output(), Output::Event(Event::PeerId(peer_id)));
/// let Output::Transmit(Transmit::Bytes(ours)) = session.poll_output() else { panic!() };
/// assert_eq!(Handshake::decode(&ours[..HANDSHAKE_LEN])?.peer_id, us);
/// assert!(matches!(session.poll_output(), Output::Timeout(deadline) if deadline > now));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    /// The peer's address; IPv4-mapped ones as IPv4.
    peer: IpAddr,
    info_hash: Option<InfoHash>,
    negotiated: Extensions,
    phase: Phase,
    end: End,
    failure: Option<Failure>,
    clock: Clock,
    kept: Kept,
    events: Events,
    /// Small messages that wait to be sent. They go before any block: a choke must, nothing else minds.
    control: BytesMut,
    /// Requests that wait for their blocks; never more than the configuration allows.
    requests: Requests,
    extended: Extended,
    /// How many messages have come.
    ordinal: u64,
    /// How many of them may have changed nothing.
    idle: Bucket,
    /// How many of them may have been requests that were refused.
    refused: Bucket,
    unchoked: bool,
    interested: bool,
    /// Blocks wait, by the driver's wish.
    holds_blocks: bool,
    peer_id: Option<PeerId>,
    /// Whether the peer has said which pieces it has.
    knows_pieces: bool,
    /// Absent until the peer first tells of a piece: most sessions of a young swarm never pay for it.
    peer_have: Option<Bitfield>,
    /// The driver wants to know which pieces the peer has.
    reports_pieces: bool,
    /// Of which pieces the peer knows that we have them; absent where it knows of all.
    shown: Option<Shown>,
}

impl Session {
    /// A session for a connection from `peer` that was accepted at `now`.
    #[must_use]
    pub fn accept(now: Instant, config: SessionConfig, peer: IpAddr) -> Self {
        Self {
            config,
            peer: peer.to_canonical(),
            info_hash: None,
            negotiated: Extensions::default(),
            phase: Phase::InfoHash { dialled: None },
            end: End::NotYet,
            failure: None,
            clock: Clock::start(now),
            kept: Kept::default(),
            events: Events::default(),
            control: BytesMut::new(),
            requests: Requests::default(),
            extended: Extended::default(),
            ordinal: 0,
            idle: Bucket::new(now, config.idle_burst()),
            refused: Bucket::new(now, config.refused_burst()),
            unchoked: false,
            interested: false,
            holds_blocks: false,
            peer_id: None,
            knows_pieces: false,
            peer_have: None,
            reports_pieces: false,
            shown: None,
        }
    }

    /// A session for a connection to `peer` that we dialled for a torrent, and that came about at `now`. Our
    /// handshake goes first; [`Event::InfoHash`] doesn't come.
    #[must_use]
    pub fn connect(
        now: Instant,
        config: SessionConfig,
        peer: IpAddr,
        info_hash: InfoHash,
        seeding: Seeding,
    ) -> Self {
        let mut session = Self::accept(now, config, peer);
        session.info_hash = Some(info_hash);
        session.phase = Phase::InfoHash { dialled: Some(seeding) };
        session.shake_hands(info_hash);
        session
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
                Err(failure.error.clone())
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

    /// Whether the driver should read from the socket. Not while too much waits to be sent, so that TCP pushes
    /// back, nor while [`Event::InfoHash`] waits for its answer, nor after the end.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.failure.is_none() && self.end == End::NotYet && self.can_parse()
    }

    /// Whether blocks wait from now on, for a driver that keeps to a rate. Messages go all the same; and as long as a
    /// request waits here a choke or a cancel can take it back.
    pub const fn hold_blocks(&mut self, hold: bool) {
        self.holds_blocks = hold;
    }

    /// Whether it is told from now on which pieces the peer has ([`Event::Pieces`], [`Event::Have`]). Not by default:
    /// peers say so thousands of times a second.
    pub const fn report_pieces(&mut self, report: bool) {
        self.reports_pieces = report;
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

    /// Which pieces the peer has, by its own account; `None` until it has said that it has any.
    #[must_use]
    pub const fn peer_pieces(&self) -> Option<&Bitfield> {
        self.peer_have.as_ref()
    }

    /// Whether the peer has said that it asks for nothing, be it a seed or not (BEP 21).
    #[must_use]
    pub const fn peer_upload_only(&self) -> bool {
        self.extended.upload_only
    }

    /// The peer's id, once its handshake is complete.
    #[must_use]
    pub const fn peer_id(&self) -> Option<PeerId> {
        self.peer_id
    }

    /// The torrent, once either side has named it.
    #[must_use]
    pub const fn info_hash(&self) -> Option<InfoHash> {
        self.info_hash
    }

    /// What both sides can do; nothing before the peer's handshake.
    #[must_use]
    pub const fn negotiated(&self) -> Extensions {
        self.negotiated
    }

    fn apply(&mut self, input: Input<'_>) -> Result<(), SessionError> {
        match input {
            Input::Received(bytes) => self.receive(bytes),
            Input::Accept { seeding } => self.accept_torrent(seeding),
            Input::Unchoke => {
                if self.interested && !mem::replace(&mut self.unchoked, true) {
                    Message::Unchoke.encode(&mut self.control);
                }
                Ok(())
            }
            Input::Choke => {
                let waited = !self.can_parse();
                if mem::take(&mut self.unchoked) {
                    self.choke();
                }
                if waited { self.resume() } else { Ok(()) }
            }
            Input::Suggest(piece) => {
                self.suggest(piece);
                Ok(())
            }
            Input::Show(pieces) => {
                self.show(pieces.iter().copied());
                Ok(())
            }
            Input::ShowEverything => {
                self.show_everything();
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
            Input::Eof if matches!(self.phase, Phase::InfoHash { .. }) => Err(SessionError::Eof),
            Input::Eof => {
                if self.end == End::NotYet {
                    self.end = End::Seen;
                }
                Ok(())
            }
        }
    }

    /// Ends the session: nothing that waited will happen.
    fn fail(&mut self, error: SessionError) {
        self.failure = Some(Failure { error, told: false });
        self.kept = Kept::default();
        self.events = Events::default();
        self.control = BytesMut::new();
        self.requests = Requests::default();
        self.extended = Extended::default();
        self.shown = None;
    }
}
