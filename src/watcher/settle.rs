//! When a file is ready: one file's state machine, a pure function of what was heard, what is there, and the time.
//! Touches no disk, reads no clock, knows no paths and no neighbours.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::files::Binding;

/// How long after its times a file is offered at the soonest. The kernel takes these from a clock that moves on every
/// 10 ms at most (CONFIG_HZ=100; since Linux 6.13 it looks closer where it matters): writes within a tick leave the same
/// times. Who hashed what a first one left, before the second came, would vouch for bytes that are there no more, and
/// nothing would tell.
const TICK: Duration = Duration::from_millis(20);
/// The shortest wait for a writer, where there is one: long enough for a burst of events to become one.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// A file that was found, rather than heard being closed, is ready once nothing changed for so long.
pub(super) const SCAN_QUIET: Duration = Duration::from_secs(2);
/// The same where other hosts write. What they do is seen late: NFS goes by attributes that are 3 s old, and a writer's
/// host may hold back what he wrote for longer.
const SILENT_QUIET: Duration = Duration::from_secs(10);
/// The back-off of a file that keeps changing doubles up to this, or to about what hashing it for nothing costs.
const MAX_SETTLE: Duration = Duration::from_secs(30);
const HASHED_PER_SECOND: u64 = 250_000_000;
/// An offer that stood for so long ends the back-off.
const CALM: Duration = Duration::from_secs(60);
/// A file whose writing nobody ends is taken for finished after this. There need not be a writer who closes it:
/// truncate(2) by path is told as a write, too. Without an end such a file would be lost.
const MAX_PAUSE: Duration = Duration::from_secs(600);
/// The longest time to settle that can be set; no clock overflows by it.
const MAX_RULE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Doublings after which the back-off has long reached its maximum.
const MAX_ROUNDS: u8 = 11;

/// For how long nothing may change before a file counts as finished, as was set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Zero: a close is enough.
    settle: Duration,
    /// The least of a file that was found.
    quiet: Duration,
}

impl Rules {
    pub(super) fn new(settle: Duration) -> Self {
        Self { settle: settle.min(MAX_RULE), quiet: SCAN_QUIET }
    }

    /// Where other hosts write.
    pub(super) fn of_silent(self) -> Self {
        Self { quiet: SILENT_QUIET, ..self }
    }

    /// Of a file that was found.
    fn found(self) -> Duration {
        self.quiet.max(self.settle)
    }

    /// Of a file that was written and isn't closed.
    fn open(self) -> Duration {
        if self.settle.is_zero() { MAX_PAUSE } else { self.settle }
    }
}

/// Why a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// No news of the file itself: it was met by a scan, a check or on the way to something else.
    Looked,
    /// Like `Looked`, when events were lost: no word of a close can be waited for.
    Lost,
    /// Its name was taken away, but something is there again.
    Removed,
    Written,
    /// Its metadata changed.
    Touched,
    /// Closed after writing.
    Closed,
    /// Renamed to where it is.
    MovedIn,
    /// The time that [`Settling::due`] named has come.
    Due,
    /// The hasher saw it change.
    Unsettled,
}

/// What the world is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It was come upon and may hold still already, as will be known in a moment; nobody was heard writing to it.
    Found,
    Pending,
    /// It is about to settle with the binding that was passed in.
    Still,
    /// Settled with the binding that was passed in.
    Settled,
    Gone,
}

/// What the world was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Hidden,
    Found,
    Pending,
    Still,
    Settled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody is to be waited for. `offer` is when the clock's tick is over, until which it is not offered yet.
    Still { offer: Option<Instant> },
    /// Only a close or a rename ends it, or `MAX_PAUSE` without a change of what was `seen`.
    Writing { seen: Binding, until: Instant },
    /// Ready at `until` if it then still is what was `seen`.
    Waiting { seen: Binding, until: Instant, since: Since },
}

/// What a wait began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Found,
    Closed,
    /// It was found by whoever read it, before anything was heard of it.
    Doubted,
}

/// One file on its way to being offered.
#[derive(Debug)]
pub(super) struct Settling {
    /// None while it is still and nothing is to come: nearly all files are, and take no room for a wait.
    moving: Option<Box<Phase>>,
    shown: Shown,
    /// As it was last offered, or is about to be, and when.
    offered: Option<(Binding, Instant)>,
    /// How often it changed soon after it was offered.
    rounds: u8,
}

/// The wait after a close, in a file's nth round of settling and changing again. A first one is believed at once.
fn debounce(rounds: u8, size: u64) -> Duration {
    let Some(doublings) = rounds.min(MAX_ROUNDS).checked_sub(1) else { return Duration::ZERO };
    let worth = Duration::from_secs(size / HASHED_PER_SECOND).clamp(DEBOUNCE, MAX_SETTLE);
    DEBOUNCE.saturating_mul(1 << doublings).min(worth)
}

/// The round after an offer that stood for so long.
fn next_round(rounds: u8, stood: Duration) -> u8 {
    if stood >= CALM { 0 } else { rounds.saturating_add(1).min(MAX_ROUNDS) }
}

impl Settling {
    pub(super) fn new() -> Self {
        Self { moving: None, shown: Shown::Hidden, offered: None, rounds: 0 }
    }

    fn phase(&self) -> Phase {
        self.moving.as_deref().copied().unwrap_or(Phase::Still { offer: None })
    }

    fn set_phase(&mut self, phase: Phase) {
        self.moving = (phase != Phase::Still { offer: None }).then(|| Box::new(phase));
    }

    /// When to call again with [`Heard::Due`].
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase() {
            Phase::Still { offer } => offer,
            Phase::Writing { until, .. } | Phase::Waiting { until, .. } => Some(until),
        }
    }

    /// Whether a writer is at work and the world knows: one more write is no news.
    pub(super) fn is_writing(&self) -> bool {
        matches!(self.phase(), Phase::Writing { .. }) && self.shown == Shown::Pending
    }

    /// Whether the world was told that the file is there.
    pub(super) fn is_shown(&self) -> bool {
        self.shown != Shown::Hidden
    }

    /// It can't be offered as it is; whatever is heard next starts anew.
    pub(super) fn hide(&mut self) {
        self.set_phase(Phase::Still { offer: None });
        self.shown = Shown::Hidden;
    }

    /// `seen` is what is there, `age` is how long ago it last changed by its own timestamps.
    pub(super) fn hear(
        &mut self,
        heard: Heard,
        seen: &Binding,
        age: Duration,
        now: Instant,
        rules: Rules,
    ) -> Option<Report> {
        if seen.size() == 0 {
            match (heard, self.phase()) {
                // Emptied to be written anew, as by cp: the bytes are about to come.
                (Heard::Written, _) if self.is_shown() => {
                    self.wait(seen, Since::Found, now, SCAN_QUIET);
                    return self.pend();
                }
                (Heard::Looked | Heard::Touched, Phase::Waiting { seen: before, .. }) if before == *seen => {
                    return None;
                }
                _ => {}
            }
            let was_shown = self.is_shown();
            self.count_round(now);
            self.hide();
            return was_shown.then_some(Report::Gone);
        }
        let on_offer = self.on_offer();
        if on_offer == Some(*seen) && heard != Heard::Unsettled {
            // However late an event comes: it tells of nothing that the offer doesn't hold.
            return self.offer_if_due(now);
        }
        if let (Heard::Written, Phase::Waiting { seen: before, since: Since::Doubted, .. }) =
            (heard, self.phase())
            && before == *seen
        {
            // Late news of the write that was seen. Truncated by its path, a file has no writer who will close it.
            return None;
        }
        // Only the inode's other metadata moved, as far as can be told.
        let same_bytes = on_offer.is_some_and(|offered| offered.same_contents(seen));
        let heard = if heard == Heard::Written && !self.has_writer(seen) { Heard::Touched } else { heard };
        match (heard, self.phase()) {
            (Heard::Looked | Heard::Lost, Phase::Still { .. } | Phase::Waiting { .. }) if same_bytes => {
                self.settle(seen, age, now)
            }
            (Heard::Looked, Phase::Writing { .. }) => self.pend(),
            (Heard::Looked | Heard::Lost, Phase::Waiting { seen: before, since, .. })
                // A change after a close is a new writer's, who will be heard of.
                if before.same_contents(seen) || since == Since::Closed =>
            {
                None
            }
            (Heard::Looked | Heard::Lost | Heard::Removed, _) => self.find(seen, age, now, rules),

            (Heard::Written, Phase::Writing { .. }) => self.pend(),
            (Heard::Written, _) => {
                self.count_round(now);
                self.set_phase(Phase::Writing { seen: *seen, until: now + rules.open() });
                self.pend()
            }

            (Heard::Closed, _) => self.close(seen, age, now, rules),
            // What is renamed into place is complete, however often that happens.
            (Heard::MovedIn, _) => {
                let rounds = self.rounds;
                let report = self.settle(seen, age, now);
                self.rounds = rounds;
                report
            }

            (Heard::Touched, Phase::Writing { .. }) => None,
            (Heard::Touched, Phase::Waiting { seen: before, since, .. }) => {
                if before.same_contents(seen) {
                    None
                } else if since != Since::Closed {
                    self.find(seen, age, now, rules)
                } else {
                    self.close(seen, age, now, rules)
                }
            }
            // To wait for more would withdraw it for that long whenever its rights are changed.
            (Heard::Touched, Phase::Still { .. }) if same_bytes => self.rest(seen, age, now, Duration::ZERO),
            (Heard::Touched, Phase::Still { .. }) => self.find(seen, age, now, rules),

            (Heard::Due, Phase::Waiting { until, .. } | Phase::Writing { until, .. }) if now < until => None,
            (Heard::Due, Phase::Waiting { seen: before, .. } | Phase::Writing { seen: before, .. })
                if before.same_contents(seen) =>
            {
                // What has not changed for the wait has the clock's tick behind it, whatever that clock says.
                let age = if before == *seen { age.max(TICK) } else { age };
                self.settle(seen, age, now)
            }
            (Heard::Due, Phase::Waiting { .. }) => self.find(seen, age, now, rules),
            (Heard::Due, Phase::Writing { .. }) => {
                let rest = rules.open().saturating_sub(age).max(DEBOUNCE);
                self.set_phase(Phase::Writing { seen: *seen, until: now + rest });
                None
            }
            (Heard::Due, Phase::Still { offer: Some(due) }) if due <= now => {
                // It was changed when it was about to be offered.
                if same_bytes { self.settle(seen, age, now) } else { self.find(seen, age, now, rules) }
            }
            (Heard::Due, Phase::Still { .. }) => None,

            (Heard::Unsettled, Phase::Still { .. }) if self.is_shown() => {
                let quiet = rules.found().max(debounce(self.round(now), seen.size()));
                self.wait(seen, Since::Doubted, now, quiet);
                self.pend()
            }
            // What the hasher saw was heard of here, too.
            (Heard::Unsettled, _) => None,
        }
    }

    fn on_offer(&self) -> Option<Binding> {
        let is_or_will_be = matches!(self.shown, Shown::Still | Shown::Settled);
        self.offered.filter(|_| is_or_will_be).map(|(binding, _)| binding)
    }

    /// Whether what is told as a write is a writer's, who will close the file. Setting nothing but the mtime (as
    /// rsync does) and truncating by path are told as writes, and no close follows.
    fn has_writer(&self, seen: &Binding) -> bool {
        let before = match self.phase() {
            Phase::Writing { .. } => return true,
            Phase::Waiting { seen, .. } => Some(seen),
            Phase::Still { .. } => self.on_offer(),
        };
        seen.was_written_last() && before.is_none_or(|before| before.size() <= seen.size())
    }

    /// The round that the file is in once it leaves what it was offered as.
    fn round(&self, now: Instant) -> u8 {
        match (self.shown, self.phase(), self.offered) {
            (Shown::Settled, Phase::Still { .. }, Some((_, since))) => {
                next_round(self.rounds, now.saturating_duration_since(since))
            }
            _ => self.rounds,
        }
    }

    fn count_round(&mut self, now: Instant) {
        self.rounds = self.round(now);
    }

    /// Nobody writes to it any more.
    fn close(&mut self, seen: &Binding, age: Duration, now: Instant, rules: Rules) -> Option<Report> {
        self.rest(seen, age, now, rules.settle.saturating_sub(age))
    }

    /// Ready after so long, or longer if it has been ready too often of late.
    fn rest(&mut self, seen: &Binding, age: Duration, now: Instant, at_least: Duration) -> Option<Report> {
        let wait = debounce(self.round(now), seen.size()).max(at_least);
        if wait.is_zero() {
            return self.settle(seen, age, now);
        }
        self.wait(seen, Since::Closed, now, wait);
        self.pend()
    }

    /// Found on the disk with no word of a close: ready if it has been quiet for long enough, else once it has.
    fn find(&mut self, seen: &Binding, age: Duration, now: Instant, rules: Rules) -> Option<Report> {
        let quiet = rules.found().max(debounce(self.round(now), seen.size()));
        if age >= quiet {
            return self.settle(seen, age, now);
        }
        let wait = (quiet - age).max(DEBOUNCE);
        self.wait(seen, Since::Found, now, wait);
        if self.shown == Shown::Hidden && wait <= SCAN_QUIET {
            self.shown = Shown::Found;
            return Some(Report::Found);
        }
        self.pend()
    }

    fn wait(&mut self, seen: &Binding, since: Since, now: Instant, wait: Duration) {
        self.count_round(now);
        self.set_phase(Phase::Waiting { seen: *seen, until: now + wait, since });
    }

    fn pend(&mut self) -> Option<Report> {
        let news = self.shown != Shown::Pending;
        self.shown = Shown::Pending;
        news.then_some(Report::Pending)
    }

    /// It is ready, and is offered once the clock has moved on from its times.
    fn settle(&mut self, seen: &Binding, age: Duration, now: Instant) -> Option<Report> {
        self.count_round(now);
        let rest = TICK.saturating_sub(age);
        self.offered = Some((*seen, now + rest));
        self.set_phase(Phase::Still { offer: Some(now + rest) });
        self.shown = Shown::Still;
        self.offer_if_due(now).or(Some(Report::Still))
    }

    /// Of one that is ready.
    fn offer_if_due(&mut self, now: Instant) -> Option<Report> {
        let Phase::Still { offer: Some(due) } = self.phase() else { return None };
        if now < due {
            return None;
        }
        self.set_phase(Phase::Still { offer: None });
        self.shown = Shown::Settled;
        Some(Report::Settled)
    }
}
