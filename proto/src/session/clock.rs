//! When things last happened to a session. Owns instants; refuses to know the time by itself.

use std::time::{Duration, Instant};

/// The instants that the deadlines are counted from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The latest instant that was handed in.
    pub(super) now: Instant,
    /// When the connection was accepted.
    pub(super) started: Instant,
    /// When bytes last came, or when we began to read again.
    pub(super) heard: Instant,
    /// When something was last given out to be sent.
    pub(super) sent: Instant,
    /// Since when the driver's writes have made no progress; `None` while it takes more.
    pub(super) blocked: Option<Instant>,
}

impl Clock {
    pub(super) fn start(now: Instant) -> Self {
        Self { now, started: now, heard: now, sent: now, blocked: None }
    }

    /// Takes the time of an input. Time that goes backwards stands still.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

/// A deadline; `None`, never, where it is further off than an [`Instant`] reaches.
pub(super) fn after(since: Instant, wait: Duration) -> Option<Instant> {
    since.checked_add(wait)
}
