//! One connection: drives a session over a transport. Gives it what arrives, the time and the choker's decisions; sends
//! what it says, blocks straight from the file. Never waits for a disk itself.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use distributor_proto::{Event, InfoHash, Input, Output, PeerId, Seeding, Session, Transmit};
use tokio::io::Interest;
use tracing::trace;

use super::Shared;
use super::closed::Closed;
use super::depth::Depth;
use super::disk_work::{self, DiskWork};
use super::half_open::Handshaking;
use super::notices::{Notice, Notices};
use super::opening::Opened;
use super::outgoing::{Item, Outgoing};
use super::pacer::Ration;
use super::roster::{Membership, Way};
use super::slots::Seat;
use super::transport::{READ_LEN, SendError, Transport};
use crate::catalog::Torrent;
use crate::files::Sameness;
use crate::ingest::Doubt;
use crate::metadata::MetadataError;
use crate::store::{OpenFile, StoreError};
use crate::traffic::{Entry, PeerAbout};

/// How many pieces that nobody was given yet are suggested to a peer at the beginning of its turn.
const SUGGESTIONS: usize = 4;
/// How often to look after a session that waits for its torrent's metadata.
const METADATA_PATIENCE: Duration = Duration::from_secs(10);
/// How long a file stays open for a connection that asks for nothing of it.
const FILE_UNUSED: Duration = Duration::from_secs(60);
/// How many bytes a connection may send before others go first: the copying of so many is dear beside what a turn costs,
/// and a hundred peers who never pause each have their turn within tens of milliseconds. (On loopback neither a quarter
/// nor four times as much was faster or more even.)
const TURN: usize = 1024 * 1024;

/// One peer's connection from its first byte on.
pub(super) struct Connection<'a> {
    transport: Transport,
    shared: &'a Shared,
    addr: SocketAddr,
    way: Way,
    session: Session,
    seat: Seat,
    ration: Ration,
    notices: Notices,
    /// Until the peer's handshake is complete.
    handshaking: Option<Handshaking>,
    /// What the encryption's keys were made from.
    agreed: Option<InfoHash>,
    /// Once it is known what the peer wants.
    membership: Option<Membership>,
    /// Once it is known who the peer is.
    shown: Option<Entry>,
    torrent: Option<Arc<Torrent>>,
    /// Opened when the first block is asked for.
    file: Option<Arc<OpenFile>>,
    file_used: Instant,
    disk_work: DiskWork,
    /// The info dictionary, for a peer that asks for parts of it.
    metadata: Option<Bytes>,
    /// A part that is owed, and the rest that brings the dictionary; what the session says next waits for it.
    metadata_owed: Option<(Bytes, Range<u32>, MetadataWork)>,
    outgoing: Outgoing,
    /// How much of it lies ready, by how fast the peer takes it.
    depth: Depth,
    /// It took nothing when last tried.
    socket_is_full: bool,
    /// Why nothing can be sent now, as the session knows.
    blocked: Option<Obstacle>,
    /// Until the other side has closed its half.
    peer_may_send: bool,
    /// The session has nothing more to say; what is queued still goes out.
    finished: bool,
}

/// What the next of the bytes to be sent waits for. Nothing else is worth waiting for: what is ready goes when the socket
/// has room for it, whatever the disk does for that which comes behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// Room in the socket. This alone is held against the peer.
    Socket,
    /// A range of the file.
    Disk,
    /// Others, whose turn it is by the rates.
    Rate,
}

/// What came of one attempt to send.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Bytes(usize),
    Nothing(Obstacle),
}

type MetadataWork = Pin<Box<dyn Future<Output = Result<Bytes, MetadataError>> + Send>>;

/// What is said to the peer of a torrent.
pub(super) fn seeding(torrent: &Torrent) -> Seeding {
    Seeding { geometry: torrent.geometry(), metadata_len: torrent.metadata_len() }
}

impl<'a> Connection<'a> {
    /// A peer that has dialled us.
    pub(super) fn accepted(
        opened: Opened,
        addr: SocketAddr,
        session: Session,
        handshaking: Handshaking,
        shared: &'a Shared,
    ) -> Result<Self, Closed> {
        Self::new(opened, addr, Way::Accepted, session, handshaking, shared)
    }

    /// A peer that we have dialled for a torrent; the session's first words were sent.
    pub(super) fn dialled(
        opened: Opened,
        addr: SocketAddr,
        session: Session,
        handshaking: Handshaking,
        torrent: Arc<Torrent>,
        shared: &'a Shared,
    ) -> Result<Self, Closed> {
        let mut connection = Self::new(opened, addr, Way::Dialled, session, handshaking, shared)?;
        connection.join(torrent)?;
        Ok(connection)
    }

    fn new(
        opened: Opened,
        addr: SocketAddr,
        way: Way,
        mut session: Session,
        handshaking: Handshaking,
        shared: &'a Shared,
    ) -> Result<Self, Closed> {
        let now = Instant::now();
        session.handle_input(now, Input::Received(&opened.received))?;
        let seat = shared.slots.take_seat(addr.ip());
        let notices = Notices::new(&shared.shutdown, handshaking.displaced(), seat.decisions());
        Ok(Self {
            transport: Transport::new(opened.stream, opened.cipher, &shared.buffers),
            shared,
            addr,
            way,
            session,
            seat,
            notices,
            ration: Ration::new(&shared.pacer, addr.ip(), &shared.groups),
            handshaking: Some(handshaking),
            agreed: opened.info_hash,
            membership: None,
            shown: None,
            torrent: None,
            file: None,
            file_used: now,
            disk_work: DiskWork::default(),
            metadata: None,
            metadata_owed: None,
            outgoing: Outgoing::default(),
            depth: Depth::default(),
            socket_is_full: false,
            blocked: None,
            peer_may_send: true,
            finished: false,
        })
    }

    /// Whether the peer has said who it is.
    pub(super) fn is_greeted(&self) -> bool {
        self.handshaking.is_none()
    }

    /// Serves the peer until either side has had enough.
    pub(super) async fn run(&mut self) -> Closed {
        match self.serve().await {
            Ok(never) => match never {},
            Err(closed) => closed,
        }
    }

    async fn serve(&mut self) -> Result<Infallible, Closed> {
        let timer = tokio::time::sleep_until(Instant::now().into());
        tokio::pin!(timer);
        loop {
            let deadline = self.take_turn()?;
            let turn_is_over = deadline.is_none();
            // A timer that fires early is harmless, so it isn't moved each time that the deadline recedes.
            if let Some(deadline) = deadline
                && (timer.is_elapsed() || deadline < timer.deadline().into_std())
            {
                timer.as_mut().reset(deadline.into());
            }
            if self.finished && self.has_sent_all() {
                return Err(Closed::Finished);
            }
            if turn_is_over {
                tokio::task::yield_now().await;
            }
            let interest = self.interest();
            tokio::select! {
                biased;
                notice = self.notices.next() => self.on_notice(notice)?,
                () = self.ration.granted() => {}
                done = self.disk_work.done() => self.finish_disk_work(done)?,
                metadata = metadata_there(&mut self.metadata_owed) => self.pay_metadata(metadata)?,
                ready = self.transport.ready(interest) => {
                    let ready = ready?;
                    if ready.is_writable() && self.socket_is_full {
                        self.socket_is_full = false;
                        // Before anything else is heard of the peer: it has taken bytes, be it at the last moment.
                        if self.blocked == Some(Obstacle::Socket) {
                            self.unblock()?;
                        }
                    }
                    let read = if ready.is_readable() || ready.is_read_closed() { self.receive()? } else { 0 };
                    // Nobody has that much to ask for at a time: others go first.
                    if read == READ_LEN {
                        tokio::task::yield_now().await;
                    }
                }
                () = &mut timer => self.on_time()?,
                () = ready(()), if turn_is_over => {}
            }
            // The socket of a peer that never pauses is always ready; waiting for it gives way to nobody.
            tokio::task::consume_budget().await;
        }
    }

    /// Sends what the session says, for as long as the socket takes it. Returns when to come back if nothing happens
    /// before; `None` where there is more to send, but it is others' turn.
    fn take_turn(&mut self) -> Result<Option<Instant>, Closed> {
        let mut sent = 0;
        loop {
            let deadline = self.drain_session()?;
            if self.waits() || self.has_sent_all() {
                return Ok(deadline);
            }
            if sent >= TURN {
                return Ok(None);
            }
            match self.send()? {
                // Not blocked: messages go on.
                Sent::Nothing(Obstacle::Rate) if deadline.is_some() => return Ok(deadline),
                Sent::Nothing(obstacle) => {
                    self.block(obstacle)?;
                    return self.drain_session();
                }
                Sent::Bytes(more) => sent += more,
            }
        }
    }

    /// Whether what is next still waits for what it waited for.
    fn waits(&self) -> bool {
        self.blocked.is_some_and(|obstacle| match obstacle {
            Obstacle::Socket => self.socket_is_full,
            Obstacle::Disk => self.disk_work.is_under_way(),
            Obstacle::Rate => self.ration.waits(),
        })
    }

    fn has_sent_all(&self) -> bool {
        self.outgoing.is_empty() && !self.transport.has_unsent()
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), Closed> {
        Ok(self.session.handle_input(Instant::now(), input)?)
    }

    /// Does what the session says, until it has nothing more to say before the returned time; `None` while there is no
    /// room for more.
    fn drain_session(&mut self) -> Result<Option<Instant>, Closed> {
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

    fn pay_metadata(&mut self, metadata: Result<Bytes, MetadataError>) -> Result<(), Closed> {
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
                self.input(Input::Accept { seeding: seeding(&torrent) })?;
                self.join(torrent)?;
            }
            Event::PeerId(peer_id) => {
                self.handshaking = None;
                if let Some(membership) = &mut self.membership {
                    membership.introduce(peer_id).map_err(|_| Closed::Duplicate)?;
                }
                self.show(peer_id);
                let dialled = self.way == Way::Dialled;
                self.shared.metrics.count_opened(dialled, self.transport.is_encrypted());
            }
            Event::Interested => self.seat.set_interested(true, Instant::now()),
            Event::NotInterested => self.seat.set_interested(false, Instant::now()),
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
            peer_id,
            since: SystemTime::now(),
            dialled: self.way == Way::Dialled,
            encrypted: self.transport.is_encrypted(),
        };
        self.seat.counters().set_pieces(torrent.geometry().piece_count());
        self.shown = Some(self.shared.traffic.enter(about, self.seat.counters()));
    }

    /// It is known what the connection is for.
    fn join(&mut self, torrent: Arc<Torrent>) -> Result<(), Closed> {
        let info_hash = torrent.info_hash();
        let membership = self.shared.roster.join(info_hash, torrent.geometry(), self.addr.ip(), self.way);
        let membership = membership.ok_or(Closed::Crowded(info_hash))?;
        self.shared.dialler().came(info_hash, self.addr.ip());
        self.notices.wait_for_revocation(torrent.revoked());
        self.membership = Some(membership);
        self.torrent = Some(torrent);
        Ok(())
    }

    fn on_notice(&mut self, notice: Notice) -> Result<(), Closed> {
        match notice {
            Notice::Shutdown => Err(Closed::Shutdown),
            Notice::Revoked => Err(self.closed_because_revoked()),
            Notice::Displaced if self.is_greeted() => Ok(()),
            Notice::Displaced => Err(Closed::Displaced),
            Notice::Decision(unchoked) => self.on_decision(unchoked),
        }
    }

    fn on_decision(&mut self, unchoked: bool) -> Result<(), Closed> {
        if !unchoked {
            return self.input(Input::Choke);
        }
        self.input(Input::Unchoke)?;
        if let Some(membership) = self.membership.as_ref().filter(|_| self.session.negotiated().fast) {
            let now = Instant::now();
            for piece in membership.spread().suggest(SUGGESTIONS) {
                self.session.handle_input(now, Input::Suggest(piece))?;
            }
        }
        Ok(())
    }

    fn on_time(&mut self) -> Result<(), Closed> {
        if self.outgoing.is_empty() && self.file_used.elapsed() >= FILE_UNUSED {
            self.file = None;
            self.metadata = None;
            self.outgoing.shrink();
        }
        if self.blocked != Some(Obstacle::Socket) {
            self.unblock()?;
        }
        self.input(Input::Timeout)
    }

    /// What there is to wait for on the socket. Nothing is read while the session could not take more; TCP then
    /// holds the peer back.
    fn interest(&self) -> Option<Interest> {
        let read = (self.peer_may_send && self.session.wants_input()).then_some(Interest::READABLE);
        let write = self.socket_is_full.then_some(Interest::WRITABLE);
        match (read, write) {
            (Some(read), Some(write)) => Some(read | write),
            (one, other) => one.or(other),
        }
    }

    /// Reads once; returns how many bytes.
    fn receive(&mut self) -> Result<usize, Closed> {
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

    /// One write of what is ready and what the rates allow. What isn't ready is made so meanwhile.
    fn send(&mut self) -> Result<Sent, Closed> {
        let ready = self.file.as_deref().and_then(OpenFile::ready);
        let (place, unready) = self.outgoing.unready(ready).unzip();
        // What is encrypted already goes whatever comes behind it.
        let has_unsent = self.transport.has_unsent();
        let sent = if place == Some(0) && !has_unsent {
            self.ration.withdraw();
            Sent::Nothing(Obstacle::Disk)
        } else {
            // Nothing is asked for that couldn't be sent at once: it would be kept from others.
            let begins_with_block = self.outgoing.begins_with_block() && !has_unsent;
            let allowance = if begins_with_block { self.ration.ask() } else { self.ration.for_messages() };
            if self.ration.waits() && begins_with_block {
                return Ok(Sent::Nothing(Obstacle::Rate));
            }
            let sent = self.transport.send(&mut self.outgoing, ready, allowance.bytes());
            self.ration.settle(allowance, *sent.as_ref().unwrap_or(&0));
            match sent {
                Ok(0) => Sent::Nothing(Obstacle::Disk),
                Ok(sent) => Sent::Bytes(sent),
                Err(SendError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket_is_full = true;
                    return Ok(Sent::Nothing(Obstacle::Socket));
                }
                Err(SendError::Socket(error)) => return Err(error.into()),
                Err(SendError::File(error)) => return Err(self.closed_because_unreadable(error)),
            }
        };
        if let (Some(range), Some(torrent)) = (unready, &self.torrent) {
            self.disk_work.start(self.shared, torrent, self.file.as_ref(), range);
        }
        if let Sent::Bytes(sent) = sent {
            self.count_sent(sent as u64);
            self.depth = Depth::of(self.seat.counters().rate(), self.shared.send_buffers);
            self.transport.set_depth(self.depth);
            self.unblock()?;
        }
        Ok(sent)
    }

    fn count_sent(&self, bytes: u64) {
        self.shared.metrics.uploaded.inc_by(bytes);
        self.seat.counters().add_uploaded(bytes);
        if let Some(membership) = &self.membership {
            membership.spread().tally().add_uploaded(bytes);
        }
    }

    /// Nothing can be sent now.
    fn block(&mut self, obstacle: Obstacle) -> Result<(), Closed> {
        if self.blocked != Some(obstacle) {
            // Something has moved, and the wait for the next begins now.
            self.unblock()?;
        }
        self.blocked = Some(obstacle);
        self.input(Input::Blocked)
    }

    /// Something has moved.
    fn unblock(&mut self) -> Result<(), Closed> {
        if self.blocked.take().is_some() { self.input(Input::Writable) } else { Ok(()) }
    }

    fn finish_disk_work(&mut self, done: disk_work::Done) -> Result<(), Closed> {
        let (file, sameness) = done.map_err(|error| self.closed_because_unreadable(error))?;
        if let (Sameness::Touched, Some(torrent)) = (sameness, &self.torrent) {
            self.shared.ingest.doubt(torrent, Doubt::Touched);
        }
        self.file = Some(file);
        self.file_used = Instant::now();
        if self.blocked == Some(Obstacle::Disk) { self.unblock() } else { Ok(()) }
    }

    fn closed_because_unreadable(&self, error: StoreError) -> Closed {
        self.torrent.as_ref().map_or(Closed::Finished, |torrent| Closed::Store(error, Arc::clone(torrent)))
    }

    fn closed_because_revoked(&self) -> Closed {
        self.torrent.as_ref().map_or(Closed::Finished, |torrent| Closed::Revoked(torrent.info_hash()))
    }
}

async fn metadata_there(
    owed: &mut Option<(Bytes, Range<u32>, MetadataWork)>,
) -> Result<Bytes, MetadataError> {
    match owed {
        Some((.., work)) => work.await,
        None => pending().await,
    }
}
