//! Connection ids (BEP 15): what an asker has to repeat, as proof that it gets what is sent to its address.
//!
//! Owns how they are made and for how long they hold. Refuses to remember any: an id is a keyed hash of the address
//! and the time, so that a flood of questions from made-up addresses leaves nothing behind.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use siphasher::sip::SipHasher24;

/// How long one id is given to an address.
const WINDOW: Duration = Duration::from_secs(60);

/// In how many windows past its own an id is taken. BEP 15 wants two minutes from whenever it was sent, also at the
/// end of its window.
const LATER_WINDOWS: u64 = 2;

/// What an asker shows with each question but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// Gives connection ids, and knows them again.
///
/// SipHash-2-4 was made for this: a tag of 64 bits over a short message that nobody can make without the key. Half a
/// million guesses a second would take 390,000 years to hit one of the three ids that an address has at a time, so
/// they may as well be compared in the time that it takes to find the first byte that differs.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionIds {
    hasher: SipHasher24,
    start: Instant,
}

impl ConnectionIds {
    /// With a secret of the caller's chance; `start` must not be after any time that is asked about.
    #[must_use]
    pub fn new(key: [u8; 16], start: Instant) -> Self {
        Self { hasher: SipHasher24::new_with_key(&key), start }
    }

    /// The id of who asks from `ip`.
    ///
    /// The port is no part of it: libtorrent shows the id that one of its sockets was given on all of them.
    #[must_use]
    pub fn issue(&self, ip: IpAddr, now: Instant) -> ConnectionId {
        self.in_window(ip, self.window(now))
    }

    /// Whether `ip` was given this id not more than two minutes ago; after three it is not taken any more.
    #[must_use]
    pub fn accepts(&self, id: ConnectionId, ip: IpAddr, now: Instant) -> bool {
        let window = self.window(now);
        (window.saturating_sub(LATER_WINDOWS)..=window).rev().any(|window| self.in_window(ip, window) == id)
    }

    fn window(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / WINDOW.as_secs()
    }

    fn in_window(&self, ip: IpAddr, window: u64) -> ConnectionId {
        // IPv4 addresses in their mapped form: no two addresses make the same 24 bytes.
        let address = match ip.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut message = [0; 24];
        message[..16].copy_from_slice(&address.octets());
        message[16..].copy_from_slice(&window.to_be_bytes());
        ConnectionId(self.hasher.hash(&message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ids() -> (ConnectionIds, Instant) {
        let start = Instant::now();
        (ConnectionIds::new([7; 16], start), start)
    }

    #[test]
    fn takes_an_id_for_two_minutes_and_never_after_three() {
        let (ids, start) = ids();
        for issued in [0, 1, 59, 60, 61, 119, 3_600] {
            let issued = start + Duration::from_secs(issued);
            let id = ids.issue(ip("10.0.0.1"), issued);
            for age in [0, 1, 59, 60, 119, 120] {
                assert!(ids.accepts(id, ip("10.0.0.1"), issued + Duration::from_secs(age)), "{age} s");
            }
            assert!(!ids.accepts(id, ip("10.0.0.1"), issued + Duration::from_secs(180)));
        }
    }

    #[test]
    fn takes_an_id_from_nobody_but_whom_it_was_given_to() {
        let (ids, now) = ids();
        let id = ids.issue(ip("10.0.0.1"), now);
        for other in ["10.0.0.2", "::1", "::10.0.0.1", "fd69::1"] {
            assert!(!ids.accepts(id, ip(other), now), "{other}");
        }
        assert!(
            ids.accepts(id, ip("::ffff:10.0.0.1"), now),
            "the same host through a socket for both families"
        );
        assert!(!ids.accepts(ConnectionId(id.0 ^ 1), ip("10.0.0.1"), now));
    }

    #[test]
    fn takes_no_id_that_another_key_gave() {
        let (ids, now) = ids();
        let restarted = ConnectionIds::new([8; 16], now);
        assert!(!restarted.accepts(ids.issue(ip("10.0.0.1"), now), ip("10.0.0.1"), now));
    }
}
