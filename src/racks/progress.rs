//! Whether a host gets anything: a value that is told what the host says and what the origin sees of it.

use std::time::{Duration, Instant};

use crate::steering::STALL;

/// No host waits longer than this before it is helped, however long its pieces take: within half a minute each has a
/// way to the origin.
const LONGEST_STALL: Duration = Duration::from_secs(25);
/// A host that gets on completes a piece in so many times the time that one takes at its rate: it is fetching several.
const AT_A_TIME: u64 = 3;
/// Bytes a second of a host that has got nothing yet, for all that is known.
const MODEST: u64 = 1024 * 1024;
/// So many bytes from the origin are something: other messages than blocks are not as long together.
const SOMETHING: u64 = 16 * 1024;

/// For how long a host that gets on may be seen to get nothing, with pieces of so many bytes and at a rate of so many a
/// second, if that is known: what others send to it shows only when a piece is whole.
fn patience(piece_len: u32, rate: Option<u64>) -> Duration {
    let millis = u64::from(piece_len).saturating_mul(1000 * AT_A_TIME) / rate.unwrap_or(MODEST).max(1);
    Duration::from_millis(millis).clamp(STALL, LONGEST_STALL)
}

/// What the origin sees of a host over its connections to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How many pieces it says that it has. aria2 tells nobody of those that it had from them.
    pub(crate) pieces: u32,
    /// How long each is, in bytes.
    pub(crate) piece_len: u32,
    /// Bytes that the origin sent to it.
    pub(crate) sent: u64,
    /// It was dialled, and answered.
    pub(crate) dialled: bool,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.pieces = self.pieces.max(other.pieces);
        self.piece_len = self.piece_len.max(other.piece_len);
        self.sent = self.sent.saturating_add(other.sent);
        self.dialled |= other.dialled;
    }

    /// Whether it has got something since.
    fn is_past(self, before: Self) -> bool {
        self.pieces > before.pieces || self.sent >= before.sent.saturating_add(SOMETHING)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// What it lacks, by its own account.
    left: Option<u64>,
    /// Since when it says that it lacks so much.
    left_since: Instant,
    /// It said so again when [`STALL`] had passed.
    says_stalled: bool,
    /// What the origin saw of it when it last got something, where they are connected.
    seen: Option<Seen>,
    /// Since when they are, and how many pieces it had then.
    seen_since: Instant,
    pieces_before: u32,
    /// When it joined, or was last seen or heard to have got something.
    made: Instant,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: None,
            left_since: now,
            says_stalled: false,
            seen: None,
            seen_since: now,
            pieces_before: 0,
            made: now,
        }
    }

    /// Another client has taken its place: what the one before it said says nothing of this one.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        (self.left, self.says_stalled, self.made) = (None, false, now);
    }

    /// It says what it lacks.
    pub(super) fn says(&mut self, left: Option<u64>, now: Instant) {
        if left == self.left {
            self.says_stalled |= left.is_some() && now.saturating_duration_since(self.left_since) >= STALL;
            return;
        }
        if self.left.zip(left).is_some_and(|(before, left)| left < before) {
            self.made = now;
        }
        (self.left, self.left_since, self.says_stalled) = (left, now, false);
    }

    /// The origin is connected to it and sees this, or isn't.
    pub(super) fn is_seen(&mut self, now_seen: Option<Seen>, now: Instant) {
        match (self.seen, now_seen) {
            // Of another connection than before, which has sent nothing yet.
            (Some(before), Some(seen)) if !seen.is_past(before) => {
                self.seen = Some(Seen { sent: before.sent.min(seen.sent), ..before });
            }
            (before, seen) => {
                if let Some(seen) = seen {
                    // Also when it has just connected: until then there was nothing to be seen.
                    (self.made, self.says_stalled) = (now, false);
                    if before.is_none() {
                        (self.seen_since, self.pieces_before) = (now, seen.pieces);
                    }
                }
                self.seen = seen;
            }
        }
    }

    /// Whether the origin is connected to it.
    pub(super) fn is_watched(&self) -> bool {
        self.seen.is_some()
    }

    /// What it lacks by its own account.
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }

    /// When it joined, or was last seen or heard to have got something.
    pub(super) fn made(&self) -> Instant {
        self.made
    }

    /// The host gets nothing. Where the origin isn't connected to it, only its own word says so.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        let (is_known, patience) = match self.seen {
            Some(seen) => (true, patience(seen.piece_len, self.rate(seen))),
            None => (self.says_stalled, STALL),
        };
        is_known && now.saturating_duration_since(self.made) >= patience
    }

    /// Bytes a second that it got while it was watched and got anything.
    fn rate(&self, seen: Seen) -> Option<u64> {
        let pieces = seen.pieces.saturating_sub(self.pieces_before);
        let got = u64::from(pieces).saturating_mul(seen.piece_len.into()).max(seen.sent);
        let millis = self.made.saturating_duration_since(self.seen_since).as_millis();
        let rate = u128::from(got).saturating_mul(1000).checked_div(millis)?;
        (rate > 0).then(|| u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    #[test]
    fn is_awaited_for_as_long_as_pieces_take_but_never_for_half_a_minute() {
        let seconds = |piece_len, rate| patience(piece_len, rate).as_secs();
        assert_eq!(seconds(MIB, None), 10);
        assert_eq!(seconds(16 * MIB, None), 25, "48 s, which is too long for anybody");
        assert_eq!(seconds(16 * MIB, Some(3 << 20)), 16);
        assert_eq!(seconds(16 * MIB, Some(100 << 20)), 10);
        for (piece_len, rate) in [(0, None), (0, Some(0)), (u32::MAX, Some(0)), (u32::MAX, Some(u64::MAX))] {
            assert!((STALL..=LONGEST_STALL).contains(&patience(piece_len, rate)));
        }
    }

    /// One that is connected from the start.
    struct Watched {
        progress: Progress,
        start: Instant,
        seen: Seen,
    }

    impl Watched {
        fn new(piece_len: u32) -> Self {
            let (start, seen) = (Instant::now(), Seen { piece_len, ..Seen::default() });
            let mut watched = Self { progress: Progress::new(start), start, seen };
            watched.sees(0, 0, 0);
            watched
        }

        fn sees(&mut self, second: u64, pieces: u32, sent: u64) {
            self.seen = Seen { pieces, sent, ..self.seen };
            self.progress.is_seen(Some(self.seen), self.at(second));
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        /// From which second on it gets nothing, if nothing more is seen.
        fn stalls_at(&self) -> u64 {
            (0..).find(|second| self.progress.is_stalled(self.at(*second))).expect("some time")
        }
    }

    #[test]
    fn is_made_by_pieces_and_by_blocks_of_the_origin() {
        let mut watched = Watched::new(MIB);
        assert_eq!(watched.stalls_at(), 10);
        watched.sees(10, 0, SOMETHING - 1);
        assert_eq!(watched.stalls_at(), 10, "that is no block");
        watched.sees(10, 1, SOMETHING - 1);
        assert_eq!(watched.stalls_at(), 10 + 25, "a piece in ten seconds");
        watched.sees(20, 1, 2 * SOMETHING - 1);
        assert_eq!(watched.stalls_at(), 20 + 25, "it has not said what became of it");
        watched.sees(30, 1, 0);
        assert_eq!(watched.stalls_at(), 20 + 25, "that is another connection");
        watched.sees(31, 1, SOMETHING);
        assert_eq!(watched.stalls_at(), 31 + 25);
        watched.progress.is_seen(None, watched.at(32));
        assert!(!watched.progress.is_stalled(watched.at(1000)), "now nobody watches it");
    }

    #[test]
    fn is_awaited_by_the_rate_at_which_it_was_made() {
        let mut watched = Watched::new(16 * MIB);
        assert_eq!(watched.stalls_at(), 25, "nothing is known of its rate");
        // A piece in four seconds, from anybody.
        (1..=5).for_each(|pieces| watched.sees(4 * u64::from(pieces), pieces, 0));
        assert_eq!(watched.stalls_at(), 20 + 12);
        // And now blocks from the origin, eight times as much.
        watched.sees(40, 5, 20 * 16 * u64::from(MIB));
        assert_eq!(watched.stalls_at(), 40 + 10);
    }

    #[test]
    fn is_not_made_by_what_it_had_before() {
        let mut watched = Watched::new(16 * MIB);
        watched.progress.is_seen(None, watched.at(1));
        watched.sees(1, 1000, 0);
        assert_eq!(watched.stalls_at(), 1 + 25);
        watched.sees(11, 1001, 0);
        assert_eq!(watched.stalls_at(), 11 + 25, "one in ten seconds");
    }

    #[test]
    fn is_stalled_where_nobody_watches_when_the_host_says_so_and_not_before() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        progress.says(Some(10), start);
        assert!(!progress.is_stalled(start + 100 * STALL), "it has not said anything");
        progress.says(Some(10), start + STALL - Duration::from_millis(1));
        assert!(!progress.is_stalled(start + STALL), "it asked too soon to tell");
        progress.says(Some(10), start + STALL);
        assert!(progress.is_stalled(start + STALL));
        progress.says(Some(9), start + 2 * STALL);
        assert!(!progress.is_stalled(start + 100 * STALL));
    }
}
