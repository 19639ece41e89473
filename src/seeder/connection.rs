//! One connection: drives a session over a socket. Gives it what arrives, the time and the choker's decisions; sends
//! what it says, blocks straight from the file. Never waits for a disk itself.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use distributor_proto::{Event, InfoHash, Input, Output, Seeding, Session, SessionError, Transmit};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::trace;

use super::Shared;
use super::outgoing::{Outgoing, Plan};
use super::slots::Seat;
use crate::catalog::Torrent;
use crate::files::Sameness;
use crate::ingest::Doubt;
use crate::store::{self, OpenFile, StoreError};

/// How much is read from a socket at a time. Peers send little to a seeder: this is a hundred requests and more.
const READ_LEN: usize = 16 * 1024;

thread_local! {
    /// Where a worker reads into, whichever connection it serves: an idle connection keeps no buffer of its own.
    static SCRATCH: RefCell<[u8; READ_LEN]> = const { RefCell::new([0; READ_LEN]) };
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    #[error("the peer left")]
    Finished,
    #[error("the peer has everything")]
    BothSeeds,
    #[error("shutting down")]
    Shutdown,
    #[error("no file with the info hash {0} is served")]
    Unknown(InfoHash),
    #[error("the file with the info hash {0} is no longer served")]
    Revoked(InfoHash),
    #[error("{0}")]
    Store(StoreError, Arc<Torrent>),
    #[error("{0}")]
    Protocol(#[from] SessionError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Serves one peer until either side has had enough.
pub(super) async fn drive(stream: TcpStream, shared: &Shared) -> Closed {
    // Messages leave in batches as it is; delaying the last packet of each would only delay the next request.
    if let Err(error) = stream.set_nodelay(true) {
        return error.into();
    }
    let peer = match stream.peer_addr() {
        Ok(addr) => addr.ip(),
        Err(error) => return error.into(),
    };
    let mut connection = Connection {
        stream,
        shared,
        session: Session::accept(Instant::now(), shared.session, peer),
        seat: shared.slots.take_seat(),
        torrent: None,
        revoked: CancellationToken::new(),
        file: None,
        disk_work: None,
        outgoing: Outgoing::default(),
        socket_is_full: false,
        peer_may_send: true,
        finished: false,
    };
    match connection.run().await {
        Ok(never) => match never {},
        Err(closed) => closed,
    }
}

struct Connection<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    session: Session,
    seat: Seat,
    /// Once the peer has said what it wants.
    torrent: Option<Arc<Torrent>>,
    /// The torrent's; of no meaning before.
    revoked: CancellationToken,
    /// Opened when the first block is asked for.
    file: Option<Arc<OpenFile>>,
    /// Opens the file or makes a range of it ready, on the blocking pool.
    disk_work: Option<DiskWork>,
    outgoing: Outgoing,
    /// It took nothing when last tried. Until it does there is no use in making ready what it could take.
    socket_is_full: bool,
    /// Until the other side has closed its half.
    peer_may_send: bool,
    /// The session has nothing more to say; what is queued still goes out.
    finished: bool,
}

type DiskWork = Pin<Box<dyn Future<Output = Result<(Arc<OpenFile>, Sameness), StoreError>> + Send>>;

impl Connection<'_> {
    async fn run(&mut self) -> Result<std::convert::Infallible, Closed> {
        let timer = tokio::time::sleep_until(Instant::now().into());
        tokio::pin!(timer);
        loop {
            let deadline = self.drain_session()?;
            // A timer that fires early is harmless, so it isn't moved each time that the deadline recedes.
            if timer.is_elapsed() || deadline < timer.deadline().into_std() {
                timer.as_mut().reset(deadline.into());
            }
            if self.finished && self.outgoing.is_empty() {
                return Err(Closed::Finished);
            }
            let Plan { can_send, make_ready } = self.outgoing.plan(self.file.as_deref());
            if let Some(range) = make_ready.filter(|_| !self.socket_is_full) {
                self.start_disk_work(range);
            }
            let interest = self.interest(can_send);
            tokio::select! {
                biased;
                () = self.shared.shutdown.cancelled() => return Err(Closed::Shutdown),
                () = self.revoked.cancelled() => return Err(self.closed_because_revoked()),
                unchoked = self.seat.decided() => {
                    self.input(if unchoked { Input::Unchoke } else { Input::Choke })?;
                }
                done = disk_work_done(&mut self.disk_work) => self.finish_disk_work(done)?,
                ready = ready(&self.stream, interest) => {
                    let ready = ready?;
                    let read = if ready.is_readable() || ready.is_read_closed() { self.receive()? } else { 0 };
                    if ready.is_writable() {
                        self.socket_is_full = false;
                        self.send()?;
                    }
                    // Nobody has that much to ask for at a time: others go first.
                    if read == READ_LEN {
                        tokio::task::yield_now().await;
                    }
                }
                () = &mut timer => self.input(Input::Timeout)?,
            }
            // The socket of a peer that never pauses is always ready; waiting for it gives way to nobody.
            tokio::task::consume_budget().await;
        }
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), Closed> {
        Ok(self.session.handle_input(Instant::now(), input)?)
    }

    /// Does what the session says, until it has nothing more to say before the returned time.
    fn drain_session(&mut self) -> Result<Instant, Closed> {
        loop {
            match self.session.poll_output() {
                Output::Event(event) => self.on_event(event)?,
                Output::Transmit(transmit) => {
                    match (transmit, &self.torrent) {
                        (Transmit::Metadata { header, range }, Some(torrent)) => {
                            let info = torrent.info().slice(range.start as usize..range.end as usize);
                            self.outgoing.push(Transmit::Bytes(header));
                            self.outgoing.push(Transmit::Bytes(info));
                        }
                        (transmit, _) => self.outgoing.push(transmit),
                    }
                    if self.outgoing.is_full() {
                        self.input(Input::Blocked)?;
                    }
                }
                Output::Timeout(deadline) => return Ok(deadline),
            }
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), Closed> {
        trace!(?event);
        match event {
            Event::InfoHash(info_hash) => {
                let torrent =
                    self.shared.catalog.by_info_hash(&info_hash).ok_or(Closed::Unknown(info_hash))?;
                // The info dictionary of a torrent that we made is far below 4 GiB.
                let metadata_len = torrent.info().len() as u32;
                self.input(Input::Accept {
                    seeding: Seeding { geometry: torrent.geometry(), metadata_len },
                })?;
                self.revoked = torrent.revoked().clone();
                self.torrent = Some(torrent);
            }
            Event::PeerId(_) => {}
            Event::Interested => self.seat.set_interested(true, Instant::now()),
            Event::NotInterested => self.seat.set_interested(false, Instant::now()),
            Event::Complete => return Err(Closed::BothSeeds),
            Event::Finished => self.finished = true,
        }
        Ok(())
    }

    /// What there is to wait for on the socket. Nothing is read while the session could not take more; TCP then
    /// holds the peer back.
    fn interest(&self, can_send: bool) -> Option<Interest> {
        let read = (self.peer_may_send && self.session.wants_input()).then_some(Interest::READABLE);
        let write = (can_send || self.socket_is_full).then_some(Interest::WRITABLE);
        match (read, write) {
            (Some(read), Some(write)) => Some(read | write),
            (one, other) => one.or(other),
        }
    }

    /// Reads once; returns how many bytes.
    fn receive(&mut self) -> Result<usize, Closed> {
        let now = Instant::now();
        SCRATCH.with_borrow_mut(|scratch| match self.stream.try_read(scratch) {
            Ok(0) => {
                self.peer_may_send = false;
                self.session.handle_input(now, Input::Eof)?;
                Ok(0)
            }
            Ok(read) => {
                self.session.handle_input(now, Input::Received(scratch.get(..read).unwrap_or_default()))?;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        })
    }

    /// One vectored write of all that is ready.
    fn send(&mut self) -> Result<(), Closed> {
        let file = self.file.as_deref();
        let mut unreadable = None;
        let sent = self.stream.try_io(Interest::WRITABLE, || {
            store::send(self.stream.as_fd(), self.outgoing.segments(file)).or_else(|error| match error {
                StoreError::Io(error) => Err(error),
                StoreError::Changed => {
                    unreadable = Some(StoreError::Changed);
                    Ok(0)
                }
            })
        });
        if let Some(error) = unreadable {
            return Err(self.closed_because_unreadable(error));
        }
        match sent {
            Ok(sent) => {
                self.outgoing.advance(sent);
                if sent > 0 { self.has_room() } else { Ok(()) }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.socket_is_full = true;
                self.input(Input::Blocked)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Something has moved; there may be room in the queue for more.
    fn has_room(&mut self) -> Result<(), Closed> {
        self.input(Input::Writable)?;
        if self.outgoing.is_full() { self.input(Input::Blocked) } else { Ok(()) }
    }

    /// Has a range of the file made ready, unless another is under way.
    fn start_disk_work(&mut self, range: Range<u64>) {
        let (None, Some(torrent)) = (&self.disk_work, &self.torrent) else { return };
        let store = Arc::clone(&self.shared.store);
        let torrent = Arc::clone(torrent);
        let file = self.file.clone();
        self.disk_work = Some(Box::pin(async move {
            let permit = Arc::clone(torrent.disk()).acquire_owned().await.map_err(io::Error::other)?;
            let work = move || {
                // Held until the disk has answered, even if nobody waits for that any more.
                let _permit = permit;
                let file = match file {
                    Some(file) => file,
                    None => store.open(torrent.file())?,
                };
                let sameness = file.prepare(&range)?;
                Ok((file, sameness))
            };
            tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
        }));
    }

    fn finish_disk_work(
        &mut self,
        done: Result<(Arc<OpenFile>, Sameness), StoreError>,
    ) -> Result<(), Closed> {
        let (file, sameness) = done.map_err(|error| self.closed_because_unreadable(error))?;
        if let (Sameness::Touched, Some(torrent)) = (sameness, &self.torrent) {
            self.shared.ingest.doubt(torrent, Doubt::Touched);
        }
        self.file = Some(file);
        // If nothing moved because of the disk, that is not held against the peer.
        if self.socket_is_full { Ok(()) } else { self.has_room() }
    }

    fn closed_because_unreadable(&self, error: StoreError) -> Closed {
        self.torrent.as_ref().map_or(Closed::Finished, |torrent| Closed::Store(error, Arc::clone(torrent)))
    }

    fn closed_because_revoked(&self) -> Closed {
        self.torrent.as_ref().map_or(Closed::Finished, |torrent| Closed::Revoked(torrent.info_hash()))
    }
}

async fn disk_work_done(work: &mut Option<DiskWork>) -> Result<(Arc<OpenFile>, Sameness), StoreError> {
    let Some(running) = work else { return pending().await };
    let done = running.await;
    *work = None;
    done
}

async fn ready(stream: &TcpStream, interest: Option<Interest>) -> io::Result<Ready> {
    match interest {
        Some(interest) => stream.ready(interest).await,
        None => pending().await,
    }
}
