//! Time's side of a session. Owns which waits are running and what happens at their ends; refuses to read a
//! clock.

use std::time::{Duration, Instant};

use super::{End, Failure, Phase, Session, SessionError, clock::after};
use crate::message::Message;

/// When to be woken where nothing is due: far enough to cost nothing, near enough for any timer wheel.
const NOTHING_DUE: Duration = Duration::from_secs(24 * 60 * 60);

impl Session {
    /// Ends the session, or sends a keep-alive, where a wait is over.
    ///
    /// Runs after every input and not only at a timeout: a peer that sends a byte each millisecond must not
    /// be able to keep the driver from its timer.
    pub(super) fn check_deadlines(&mut self) -> Result<(), SessionError> {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= self.clock.now);
        if due(self.handshake_deadline()) {
            return Err(SessionError::HandshakeTimedOut);
        }
        if due(self.stall_deadline()) {
            return Err(SessionError::Stalled);
        }
        if due(self.idle_deadline()) {
            return Err(SessionError::Idle);
        }
        if due(self.keep_alive_deadline()) {
            Message::KeepAlive.encode(&mut self.control);
        }
        Ok(())
    }

    /// When the driver should come back at the latest.
    pub(super) fn deadline(&self) -> Instant {
        let far = after(self.clock.now, NOTHING_DUE).unwrap_or(self.clock.now);
        match self.failure {
            Some(Failure { told: false, .. }) => self.clock.now,
            Some(Failure { told: true, .. }) => far,
            None => [
                self.handshake_deadline(),
                self.stall_deadline(),
                self.idle_deadline(),
                self.keep_alive_deadline(),
            ]
            .into_iter()
            .flatten()
            .fold(far, Instant::min),
        }
    }

    /// Runs until all 68 bytes are there, whatever else happens: a peer can't win time by sending them one by
    /// one.
    fn handshake_deadline(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Open { .. }) {
            return None;
        }
        after(self.clock.started, self.config.handshake_timeout)
    }

    /// Runs while the driver can't write.
    fn stall_deadline(&self) -> Option<Instant> {
        after(self.clock.blocked?, self.config.stall_timeout)
    }

    /// Runs while we read, for it is the peer's silence; and after the end, lest a driver forget the session.
    fn idle_deadline(&self) -> Option<Instant> {
        let open = matches!(self.phase, Phase::Open { .. });
        if !open || !(self.wants_input() || self.end == End::Reported) {
            return None;
        }
        after(self.clock.heard, self.config.idle_timeout)
    }

    /// Runs while we could send and have nothing to, once our handshake is out.
    fn keep_alive_deadline(&self) -> Option<Instant> {
        let talking =
            matches!(self.phase, Phase::PeerId { .. } | Phase::Open { .. }) && self.end == End::NotYet;
        let quiet = self.clock.blocked.is_none() && !self.owes_anything();
        if talking && quiet { after(self.clock.sent, self.config.keep_alive) } else { None }
    }
}
