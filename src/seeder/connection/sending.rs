//! How what a connection has to say goes out: a write at a time, for as long as it is its turn, and what it waits for
//! where nothing can go.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use distributor_proto::Input;

use super::Connection;
use crate::files::Sameness;
use crate::ingest::Doubt;
use crate::seeder::closed::Closed;
use crate::seeder::disk_work;
use crate::seeder::transport::SendError;
use crate::store::{OpenFile, StoreError};

/// How many bytes a connection may send before others go first: the copying of so many is dear beside what a turn
/// costs, and a hundred peers who never pause each have their turn within tens of milliseconds. (On loopback neither a
/// quarter nor four times as much was faster or more even.)
const TURN: usize = 1024 * 1024;

/// What the next of the bytes to be sent waits for. Nothing else is worth waiting for: what is ready goes when the
/// socket has room for it, whatever the disk does for that which comes behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
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

impl Connection<'_> {
    /// Sends what the session says, for as long as the socket takes it. Returns when to come back if nothing happens
    /// before; `None` where there is more to send, but it is others' turn.
    pub(super) fn take_turn(&mut self) -> Result<Option<Instant>, Closed> {
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
                // Not blocked: messages go on, and so do blocks that come later and don't wait for the disk.
                Sent::Nothing(Obstacle::Rate | Obstacle::Disk) if deadline.is_some() => return Ok(deadline),
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

    pub(super) fn has_sent_all(&self) -> bool {
        self.outgoing.is_empty() && !self.transport.has_unsent()
    }

    /// One write of what is ready and what the rates allow. What isn't ready is made so meanwhile.
    fn send(&mut self) -> Result<Sent, Closed> {
        let ready = self.file.as_deref().and_then(OpenFile::ready);
        let (place, unready) = self.outgoing.unready(ready).unzip();
        // What is encrypted already goes whatever comes behind it.
        let has_unsent = self.transport.has_unsent();
        let covers = |range: &_| ready.is_some_and(|ready| ready.covers(range));
        let sent = if place == Some(0) && !has_unsent && !self.outgoing.overtake(covers) {
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
            self.depth = self.depth.following(self.seat.counters().rate(), self.shared.send_buffers);
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
    pub(super) fn unblock(&mut self) -> Result<(), Closed> {
        if self.blocked.take().is_some() { self.input(Input::Writable) } else { Ok(()) }
    }

    pub(super) fn finish_disk_work(&mut self, done: disk_work::Done) -> Result<(), Closed> {
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
}
