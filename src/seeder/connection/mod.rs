//! One connection: drives a session over a transport. Gives it what arrives, the time and the choker's decisions; sends
//! what it says, blocks straight from the file. Never waits for a disk itself. This file is what it waits for;
//! `talking` is between it and its session, `sending` between it and the socket.

mod sending;
mod talking;

use std::convert::Infallible;
use std::future::{pending, ready};
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use distributor_proto::{InfoHash, Input, PeerId, Seeding, Session};
use tokio::io::Interest;

use self::sending::Obstacle;
use super::Shared;
use super::closed::Closed;
use super::depth::Depth;
use super::disk_work::DiskWork;
use super::half_open::Handshaking;
use super::notices::{Notice, Notices};
use super::opening::Opened;
use super::outgoing::Outgoing;
use super::pacer::Ration;
use super::roster::{Membership, Way};
use super::slots::Seat;
use super::transport::{READ_LEN, Transport};
use crate::catalog::Torrent;
use crate::metadata::MetadataError;
use crate::racks::Presence;
use crate::store::OpenFile;
use crate::traffic::Entry;

/// How long a file stays open for a connection that asks for nothing of it.
const FILE_UNUSED: Duration = Duration::from_secs(60);

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
    /// Once it is known what the peer wants, where pieces may be shown one by one.
    presence: Option<Presence>,
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

type MetadataWork = Pin<Box<dyn Future<Output = Result<Bytes, MetadataError>> + Send>>;

/// What is said to the peer of a torrent; that there is nothing yet, where it is shown pieces one by one.
pub(super) fn seeding(torrent: &Torrent, begins_empty: bool) -> Seeding {
    Seeding { geometry: torrent.geometry(), metadata_len: torrent.metadata_len(), begins_empty }
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
        presence: Option<Presence>,
        shared: &'a Shared,
    ) -> Result<Self, Closed> {
        let mut connection = Self::new(opened, addr, Way::Dialled, session, handshaking, shared)?;
        connection.join(torrent, presence)?;
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
            ration: Ration::new(&shared.pacer, addr.ip()),
            handshaking: Some(handshaking),
            agreed: opened.info_hash,
            membership: None,
            shown: None,
            presence: None,
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

    /// For which torrent it is and who the peer is, once it has said so.
    pub(super) fn peer(&self) -> Option<(InfoHash, PeerId)> {
        self.membership.as_ref()?.peer()
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

    fn on_notice(&mut self, notice: Notice) -> Result<(), Closed> {
        match notice {
            Notice::Shutdown => Err(Closed::Shutdown),
            Notice::Revoked => Err(self.closed_because_revoked()),
            Notice::Displaced if self.is_greeted() => Ok(()),
            Notice::Displaced => Err(Closed::Displaced),
            Notice::Decision(unchoked) => self.on_decision(unchoked),
            Notice::Letters => self.open_letters(),
        }
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
