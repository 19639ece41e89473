//! Addresses that broke the protocol again and again: for a while nothing of theirs is accepted. Owns the counts, as
//! plain values; what a violation is, sessions say.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How many addresses are remembered; beyond it the one that has been quiet for longest is forgotten.
const MAX_ADDRESSES: usize = 4096;

/// When an address has gone too far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// How many violations are borne; the next one is too much.
    pub(super) violations: u32,
    /// How long one counts; that long, too, an address is held off after the last.
    pub(super) memory: Duration,
}

/// How a violation is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first of this address in a while.
    First,
    Again,
    /// The one by which it is held off from now on, after so many.
    HeldOff(u32),
}

#[derive(Debug)]
pub(super) struct HoldOff {
    patience: Patience,
    by_address: HashMap<IpAddr, Offender>,
}

#[derive(Clone, Copy, Debug)]
struct Offender {
    violations: u32,
    /// When their count began.
    since: Instant,
    last: Instant,
}

impl HoldOff {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, by_address: HashMap::new() }
    }

    /// Counts a violation of the protocol by a peer at `ip`.
    pub(super) fn count(&mut self, ip: IpAddr, now: Instant) -> Verdict {
        let key = ip.to_canonical();
        if !self.by_address.contains_key(&key) && self.by_address.len() >= MAX_ADDRESSES {
            self.make_room(now);
        }
        let memory = self.patience.memory;
        let offender =
            self.by_address.entry(key).or_insert(Offender { violations: 0, since: now, last: now });
        let held_off = offender.violations > self.patience.violations && !is_over(offender.last, now, memory);
        if !held_off && is_over(offender.since, now, memory) {
            *offender = Offender { violations: 0, since: now, last: now };
        }
        offender.last = now;
        offender.violations = offender.violations.saturating_add(1);
        match offender.violations {
            1 if self.patience.violations > 0 => Verdict::First,
            counted if counted == self.patience.violations.saturating_add(1) && !is_this_machine(ip) => {
                Verdict::HeldOff(counted)
            }
            _ => Verdict::Again,
        }
    }

    /// Whether nothing is accepted from `ip` now. Never of 127.0.0.1 and ::1: that is this machine itself, and whoever
    /// comes through a proxy on it.
    pub(super) fn holds(&self, ip: IpAddr, now: Instant) -> bool {
        let held = |offender: &Offender| {
            offender.violations > self.patience.violations
                && !is_over(offender.last, now, self.patience.memory)
        };
        !is_this_machine(ip) && self.by_address.get(&ip.to_canonical()).is_some_and(held)
    }

    fn make_room(&mut self, now: Instant) {
        let memory = self.patience.memory;
        self.by_address.retain(|_, offender| !is_over(offender.last, now, memory));
        if self.by_address.len() >= MAX_ADDRESSES
            && let Some(quietest) = self.by_address.iter().min_by_key(|(_, offender)| offender.last)
        {
            let quietest = *quietest.0;
            self.by_address.remove(&quietest);
        }
    }
}

fn is_over(last: Instant, now: Instant, memory: Duration) -> bool {
    now.saturating_duration_since(last) >= memory
}

fn is_this_machine(ip: IpAddr) -> bool {
    [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { violations: 2, memory: Duration::from_secs(60) };

    fn ip(last: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + last).into()
    }

    #[test]
    fn holds_off_one_address_after_repeats_and_no_other() {
        let now = Instant::now();
        let mut hold_off = HoldOff::new(PATIENCE);
        assert_eq!(hold_off.count(ip(1), now), Verdict::First);
        assert_eq!(hold_off.count(ip(1), now), Verdict::Again);
        assert!(!hold_off.holds(ip(1), now));
        assert_eq!(hold_off.count(ip(1), now), Verdict::HeldOff(3));
        assert!(hold_off.holds(ip(1), now));
        assert!(!hold_off.holds(ip(2), now));
    }

    #[test]
    fn forgives_in_time() {
        let start = Instant::now();
        let mut hold_off = HoldOff::new(PATIENCE);
        (0..3).for_each(|_| _ = hold_off.count(ip(1), start));
        let later = start + PATIENCE.memory;
        assert!(hold_off.holds(ip(1), later - Duration::from_nanos(1)));
        assert!(!hold_off.holds(ip(1), later));
        assert_eq!(hold_off.count(ip(1), later), Verdict::First);
    }

    #[test]
    fn never_holds_off_this_machine() {
        let now = Instant::now();
        let mut hold_off = HoldOff::new(PATIENCE);
        for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let ip = ip.parse().unwrap();
            (0..10).for_each(|_| _ = hold_off.count(ip, now));
            assert!(!hold_off.holds(ip, now));
        }
    }

    #[test]
    fn leaves_the_neighbours_of_an_ipv6_host_alone() {
        let now = Instant::now();
        let mut hold_off = HoldOff::new(PATIENCE);
        (0..3).for_each(|_| _ = hold_off.count("2001:db8::1".parse().unwrap(), now));
        assert!(hold_off.holds("2001:db8::1".parse().unwrap(), now));
        assert!(!hold_off.holds("2001:db8::2".parse().unwrap(), now), "a segment is a /64");
    }

    #[test]
    fn bears_a_violation_now_and_then_for_ever() {
        let start = Instant::now();
        let mut hold_off = HoldOff::new(PATIENCE);
        for n in 0..100 {
            let now = start + PATIENCE.memory * n * 3 / 5;
            hold_off.count(ip(1), now);
            assert!(!hold_off.holds(ip(1), now));
        }
    }

    #[test]
    fn says_once_that_an_address_is_held_off() {
        let now = Instant::now();
        let mut hold_off = HoldOff::new(PATIENCE);
        let verdicts = [(); 5].map(|()| hold_off.count(ip(1), now));
        let [first, again] = [Verdict::First, Verdict::Again];
        assert_eq!(verdicts, [first, again, Verdict::HeldOff(3), again, again]);
    }

    #[test]
    fn remembers_no_more_addresses_than_it_may() {
        let start = Instant::now();
        let mut hold_off = HoldOff::new(Patience { violations: 0, ..PATIENCE });
        for n in 0..=MAX_ADDRESSES as u32 {
            hold_off.count(ip(n), start + Duration::from_millis(n.into()));
        }
        let now = start + Duration::from_millis(MAX_ADDRESSES as u64);
        assert_eq!(hold_off.by_address.len(), MAX_ADDRESSES);
        assert!(!hold_off.holds(ip(0), now), "the quietest was forgotten");
        assert!(hold_off.holds(ip(1), now));
    }
}
