//! How many upload slots pay where no rate is configured: found out by trying. A plain value; the time and what is
//! measured are arguments.
//!
//! Where peers wait though those who are uploaded to have far more than a useful rate each, there are as many slots at
//! once as that is enough for: the capacity is there, and nobody is to wait for a turn.
//!
//! Where it isn't, fewer slots are better as long as nothing is lost by it: each peer's pieces are whole sooner, and
//! can be passed on. That goes out slowly to each may be the uplink's fault or the peers', which looks the same from
//! here. So half of the slots are taken away for some seconds. Where as much goes out as before the uplink is what is
//! short, and they stay away; where less does the peers are slow, the slots come back, and more are tried, as long as
//! each brings something.

use std::time::{Duration, Instant};

use crate::config::UploadSlots;
use crate::traffic::SAMPLING;

/// After a change it is waited for so long before anything is measured: what lies in the sockets of those who were
/// choked goes out all the same, and those who were unchoked have yet to ask.
const SETTLING: Duration = Duration::from_secs(4);
/// So long is measured.
const MEASURING: Duration = Duration::from_secs(4);
/// However many peers are slow. Each slot's blocks are read from another part of a file, and its socket has a buffer.
const MOST_SLOTS: usize = 1024;
/// Bytes a second. Where less goes out peers hardly ask for anything, and nothing can be learnt from them.
const LEAST_RATE: u64 = 64 * 1024;
/// How many useful rates each slot has where more are opened at once. What new ones take at first only fills their
/// sockets: some tens of KiB each on a thin link, which must not be taken for a rate.
const OPENING: u64 = 2;
/// How many steps it is waited after a trial in vain, at first and at most: each such trial costs some seconds' rate.
const FIRST_REST: u32 = 2;
const LONGEST_REST: u32 = 32;

/// What a step has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Bytes a second to all peers.
    pub(super) rate: u64,
    pub(super) unchoked: usize,
    /// Peers that would have a slot if there were more.
    pub(super) waiting: usize,
}

/// The slots there are, and what is being tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    slots: usize,
    trial: Option<Trial>,
    /// Fewer slots were tried last, and less went out.
    peers_are_slow: bool,
    /// Steps until the next trial.
    rest: u32,
    next_rest: u32,
}

/// How it was before a trial.
#[derive(Clone, Copy, Debug)]
struct Trial {
    slots: usize,
    seen: Seen,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            slots: UploadSlots::AUTO_MAX,
            trial: None,
            peers_are_slow: false,
            rest: 0,
            next_rest: FIRST_REST,
        }
    }
}

impl Capacity {
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Opens slots for those who wait, if what was seen since a moment ago is far more than these need; whether it did.
    /// What was being tried is over then.
    pub(super) fn open(&mut self, lately: Seen) -> bool {
        let enough_for =
            usize::try_from(lately.rate / (OPENING * UploadSlots::AUTO_RATE)).unwrap_or(usize::MAX);
        let slots = enough_for.min(MOST_SLOTS);
        let opens = lately.waiting > 0 && slots > self.slots;
        if opens {
            *self = Self { slots, ..Self::default() };
        }
        opens
    }

    /// Takes in what was seen with these slots, and decides with how many it goes on.
    pub(super) fn step(&mut self, seen: Seen) {
        let seen = match self.trial.take() {
            Some(trial) => self.judge(trial, seen),
            None => seen,
        };
        if self.rest > 0 {
            self.rest -= 1;
        } else {
            self.begin(seen);
        }
    }

    /// What is so with the slots that it goes on with.
    fn judge(&mut self, before: Trial, seen: Seen) -> Seen {
        let was_fewer = self.slots < before.slots;
        let is_worth_it = if was_fewer {
            // In proportion there would be half as much, or little more.
            seen.rate >= before.seen.rate / 4 * 3
        } else {
            seen.rate >= before.seen.rate.midpoint(in_proportion(before.seen, seen.unchoked))
                && seen.unchoked > before.seen.unchoked
        };
        if is_worth_it {
            self.next_rest = FIRST_REST;
            return seen;
        }
        self.slots = before.slots;
        self.peers_are_slow = was_fewer;
        if !was_fewer {
            self.pause();
        }
        before.seen
    }

    fn begin(&mut self, seen: Seen) {
        if seen.rate < LEAST_RATE {
            return;
        }
        let enough_for = usize::try_from(seen.rate / UploadSlots::AUTO_RATE).unwrap_or(usize::MAX);
        if enough_for.min(UploadSlots::AUTO_MAX) > self.slots {
            // Each of so many has a rate that is of use.
            self.slots = enough_for.min(UploadSlots::AUTO_MAX);
            return;
        }
        let is_slow = seen.unchoked / 3 * 2 > enough_for;
        if is_slow && seen.unchoked > UploadSlots::AUTO_MIN && !self.peers_are_slow {
            let fewer = (seen.unchoked / 2).max(enough_for).max(UploadSlots::AUTO_MIN);
            self.try_with(fewer, seen);
        } else if seen.waiting > 0 && self.slots < MOST_SLOTS {
            self.try_with((self.slots + self.slots / 2).min(MOST_SLOTS), seen);
        } else {
            self.peers_are_slow = false;
            self.pause();
        }
    }

    fn try_with(&mut self, slots: usize, seen: Seen) {
        self.trial = Some(Trial { slots: self.slots, seen });
        self.slots = slots;
    }

    fn pause(&mut self) {
        self.rest = self.next_rest;
        self.next_rest = (self.next_rest * 2).min(LONGEST_REST);
    }
}

/// The rate of so many peers, were each as fast as those that were seen.
fn in_proportion(seen: Seen, unchoked: usize) -> u64 {
    let rate = u128::from(seen.rate) * unchoked as u128 / (seen.unchoked.max(1) as u128);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// When steps are taken, and what goes out between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    /// When what goes out was last looked at, and how much had gone out by then.
    looked: Option<(Instant, u64)>,
    step_began: Instant,
    /// When the measuring began, and how much had gone out by then.
    measured_from: Option<(Instant, u64)>,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self { looked: None, step_began: now, measured_from: None }
    }

    /// `uploaded` bytes have gone out by now. The rate since it was last asked, unless that was a moment ago.
    pub(super) fn lately(&mut self, now: Instant, uploaded: u64) -> Option<u64> {
        let Some((looked, before)) = self.looked else {
            self.looked = Some((now, uploaded));
            return None;
        };
        let time = now.saturating_duration_since(looked);
        if time < SAMPLING / 2 {
            return None;
        }
        self.looked = Some((now, uploaded));
        Some(rate(uploaded.saturating_sub(before), time))
    }

    /// Another step begins now: the slots are others.
    pub(super) fn begin_step(&mut self, now: Instant) {
        *self = Self { looked: self.looked, ..Self::new(now) };
    }

    /// `uploaded` bytes have gone out by now. The rate of a step that is over by this; the next begins.
    pub(super) fn read(&mut self, now: Instant, uploaded: u64) -> Option<u64> {
        let Some((from, before)) = self.measured_from else {
            if now.saturating_duration_since(self.step_began) >= SETTLING {
                self.measured_from = Some((now, uploaded));
            }
            return None;
        };
        let time = now.saturating_duration_since(from);
        if time < MEASURING {
            return None;
        }
        self.begin_step(now);
        Some(rate(uploaded.saturating_sub(before), time))
    }
}

/// Bytes a second.
fn rate(bytes: u64, time: Duration) -> u64 {
    (bytes as f64 / time.as_secs_f64()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const USEFUL: u64 = UploadSlots::AUTO_RATE;

    /// So many interested peers that take so much each, behind an uplink of so much.
    struct Swarm {
        peers: usize,
        each: u64,
        uplink: u64,
    }

    impl Swarm {
        fn seen(&self, slots: usize) -> Seen {
            let unchoked = self.peers.min(slots);
            let rate = (unchoked as u64 * self.each).min(self.uplink);
            Seen { rate, unchoked, waiting: self.peers - unchoked }
        }

        /// The slots after each of so many steps.
        fn run(&self, capacity: &mut Capacity, steps: usize) -> Vec<usize> {
            let step = |_| {
                capacity.step(self.seen(capacity.slots()));
                capacity.slots()
            };
            (0..steps).map(step).collect()
        }
    }

    #[test]
    fn slots_become_as_few_as_a_slow_uplink_has_useful_rates_for() {
        let swarm = Swarm { peers: 40, each: 10 * USEFUL, uplink: 11 * USEFUL };
        let mut capacity = Capacity::default();
        let slots = swarm.run(&mut capacity, 200);
        assert_eq!(slots[..2], [20, 11]);
        let at_rest = slots[2..].iter().filter(|slots| **slots == 11).count();
        assert!(at_rest > 180, "more are tried ever more seldom: {slots:?}");
        assert!(slots[2..].iter().all(|slots| [11, 16].contains(slots)), "{slots:?}");
    }

    #[test]
    fn slots_become_more_where_peers_are_slow_until_no_more_goes_out() {
        let swarm = Swarm { peers: 2000, each: USEFUL / 10, uplink: 30 * USEFUL };
        let mut capacity = Capacity::default();
        let slots = swarm.run(&mut capacity, 12);
        assert_eq!(slots[..3], [32, 96, 144], "fewer are tried first, in vain");
        let filled = swarm.run(&mut capacity, 100);
        assert!(filled.iter().filter(|slots| **slots >= 216).count() > 60, "{filled:?}");
    }

    #[test]
    fn there_are_no_fewer_slots_than_four_and_no_more_than_a_thousand() {
        let slow = Swarm { peers: 100, each: USEFUL, uplink: LEAST_RATE };
        assert!(slow.run(&mut Capacity::default(), 100).iter().all(|slots| *slots >= 4));
        let endless = Swarm { peers: 100_000, each: USEFUL / 10, uplink: u64::MAX };
        assert_eq!(endless.run(&mut Capacity::default(), 100).last(), Some(&MOST_SLOTS));
    }

    #[test]
    fn nothing_is_tried_where_hardly_anybody_asks() {
        let idle = Swarm { peers: 1000, each: 100, uplink: u64::MAX };
        assert_eq!(idle.run(&mut Capacity::default(), 50), [64; 50]);
    }

    #[test]
    fn slots_come_back_once_the_uplink_is_faster() {
        let mut swarm = Swarm { peers: 200, each: 10 * USEFUL, uplink: 8 * USEFUL };
        let mut capacity = Capacity::default();
        assert!(swarm.run(&mut capacity, 60).contains(&8));
        swarm.uplink = 1000 * USEFUL;
        assert!(swarm.run(&mut capacity, 60).last().is_some_and(|slots| *slots >= 64));
    }

    #[test]
    fn slow_peers_that_have_slots_lose_them_seldom() {
        let swarm = Swarm { peers: 30, each: USEFUL / 10, uplink: u64::MAX };
        let slots = swarm.run(&mut Capacity::default(), 200);
        assert!(slots.iter().filter(|slots| **slots < 30).count() <= 10, "{slots:?}");
    }

    #[test]
    fn slots_open_at_once_for_those_who_wait_where_there_is_more_than_enough() {
        let swarm = Swarm { peers: 1000, each: 1000 * USEFUL, uplink: 600 * USEFUL };
        let mut capacity = Capacity::default();
        assert!(capacity.open(swarm.seen(64)));
        assert_eq!(capacity.slots(), 300);
        assert!(!capacity.open(swarm.seen(300)), "each has twice a useful rate");
        let endless = Swarm { peers: 100_000, each: 1000 * USEFUL, uplink: u64::MAX };
        assert!(capacity.open(endless.seen(300)));
        assert_eq!(capacity.slots(), MOST_SLOTS);
    }

    #[test]
    fn no_slots_open_for_nobody_nor_on_a_thin_link() {
        let all_have_one = Swarm { peers: 64, each: 1000 * USEFUL, uplink: u64::MAX };
        assert!(!Capacity::default().open(all_have_one.seen(64)));
        // What fills the sockets of those who have just been unchoked goes out as fast as can be.
        let thin = Swarm { peers: 1000, each: 100 * 1024, uplink: u64::MAX };
        assert!(!Capacity::default().open(thin.seen(64)));
    }

    #[test]
    fn opened_slots_are_taken_back_where_they_were_opened_in_error() {
        let swarm = Swarm { peers: 1000, each: 1000 * USEFUL, uplink: 20 * USEFUL };
        let mut capacity = Capacity::default();
        assert!(capacity.open(Seen { rate: 600 * USEFUL, unchoked: 64, waiting: 936 }));
        assert_eq!(swarm.run(&mut capacity, 10).iter().min(), Some(&20));
    }

    #[test]
    fn what_went_out_lately_is_of_the_time_since_it_was_last_seen() {
        let began = Instant::now();
        let mut meter = Meter::new(began);
        assert_eq!(meter.lately(began, 5000), None, "there is nothing to compare it with");
        assert_eq!(meter.lately(began + SAMPLING / 10, 6000), None, "that was a moment ago");
        assert_eq!(meter.lately(began + SAMPLING, 7000), Some(2000));
        meter.begin_step(began + SAMPLING);
        assert_eq!(meter.lately(began + 3 * SAMPLING, 7000), Some(0));
    }

    #[test]
    fn measures_once_what_was_before_has_gone_out() {
        let began = Instant::now();
        let mut meter = Meter::new(began);
        let rates: Vec<u64> = (0..=17)
            .filter_map(|second| {
                // A burst, and then a steady 1000 bytes a second.
                meter.read(began + Duration::from_secs(second), 1_000_000 + second * 1000)
            })
            .collect();
        assert_eq!(rates, [1000, 1000]);
    }
}
