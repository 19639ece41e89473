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
    last: Instant,
}

impl HoldOff {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, by_address: HashMap::new() }
    }

    /// Counts a violation of the protocol by a peer at `ip`.
    pub(super) fn count(&mut self, ip: IpAddr, now: Instant) -> Verdict {
        let key = host_of(ip);
        if !self.by_address.contains_key(&key) && self.by_address.len() >= MAX_ADDRESSES {
            self.make_room(now);
        }
        let memory = self.patience.memory;
        let offender = self.by_address.entry(key).or_insert(Offender { violations: 0, last: now });
        if is_over(offender.last, now, memory) {
            offender.violations = 0;
        }
        offender.last = now;
        offender.violations = offender.violations.saturating_add(1);
        match offender.violations {
            1 if self.patience.violations > 0 => Verdict::First,
            counted if counted <= self.patience.violations => Verdict::Again,
            counted => Verdict::HeldOff(counted),
        }
    }

    /// Whether nothing is accepted from `ip` now. Never of 127.0.0.1 and ::1: that is this machine itself, and whoever
    /// comes through a proxy on it.
    pub(super) fn holds(&self, ip: IpAddr, now: Instant) -> bool {
        if [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&ip.to_canonical()) {
            return false;
        }
        self.by_address.get(&host_of(ip)).is_some_and(|offender| {
            offender.violations > self.patience.violations
                && !is_over(offender.last, now, self.patience.memory)
        })
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

/// One host: an IPv6 host has a whole /64 to take addresses from.
pub(super) fn host_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
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
    fn takes_the_addresses_of_one_ipv6_network_for_one_host() {
        let now = Instant::now();
        let mut hold_off = HoldOff::new(PATIENCE);
        for n in 1..=3 {
            hold_off.count(format!("2001:db8::{n}").parse().unwrap(), now);
        }
        assert!(hold_off.holds("2001:db8::4".parse().unwrap(), now));
        assert!(!hold_off.holds("2001:db8:0:1::4".parse().unwrap(), now));
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
