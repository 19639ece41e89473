//! Time as peers carry it: whole seconds since the tracker began, in four bytes. Reads no clock.

use std::time::{Duration, Instant};

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(u32);

impl Seconds {
    /// How long ago `earlier` was; zero where it is yet to come.
    pub(super) fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    #[cfg(test)]
    pub(super) const fn new(seconds: u32) -> Self {
        Self(seconds)
    }
}

/// When it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn starting(now: Instant) -> Self {
        Self(now)
    }

    /// The second that a moment is in; the first one for what was before.
    pub(super) fn at(self, now: Instant) -> Seconds {
        let since: Duration = now.saturating_duration_since(self.0);
        Seconds(u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
    }
}
