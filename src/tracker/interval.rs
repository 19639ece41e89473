//! When a peer is to announce again: a pure function of the swarm's age and chance.

use std::time::Duration;

use rand::{Rng, RngExt};

/// A swarm is young while most of its peers still look for others.
const YOUNG: Duration = Duration::from_secs(5 * 60);
/// The regular interval. Clients that obey it alone (transmission, ctorrent) should still learn of others soon.
const INTERVAL: Duration = Duration::from_secs(120);
/// What clients in need may go down to; some (aria2, rqbit) always do.
const MIN_INTERVAL_YOUNG: Duration = Duration::from_secs(15);
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// The largest interval that a client keeps to of its own accord, whatever it is told: libtorrent's and rtorrent's.
const CLIENTS_FLOOR: Duration = Duration::from_secs(600);

/// The interval and the min interval for one answer, in whole seconds as they go into it, each lengthened by up to a
/// quarter: hosts that start in the same second must not all come back in the same second.
pub(super) fn draw(age: Duration, rng: &mut impl Rng) -> (Duration, Duration) {
    let least = if age < YOUNG { MIN_INTERVAL_YOUNG } else { MIN_INTERVAL };
    let mut jittered = |base: Duration| {
        let seconds = base.as_secs();
        Duration::from_secs(rng.random_range(seconds..=seconds + seconds / 4))
    };
    (jittered(INTERVAL), jittered(least))
}

/// How long a peer counts as present that was told `interval`: one lost announce is forgiven.
pub(super) fn expiry(interval: Duration) -> Duration {
    interval.max(CLIENTS_FLOOR) + interval
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn spreads_announces_and_never_asks_for_less_than_the_least() {
        let mut rng = SmallRng::seed_from_u64(1);
        for age in [Duration::ZERO, YOUNG] {
            let drawn: Vec<_> = (0..200).map(|_| draw(age, &mut rng)).collect();
            assert!(drawn.iter().all(|(interval, least)| least <= interval));
            let shortest = drawn.iter().map(|(_, least)| *least).min().unwrap();
            assert_eq!(shortest, if age < YOUNG { MIN_INTERVAL_YOUNG } else { MIN_INTERVAL });
            assert!(drawn.iter().any(|(interval, _)| *interval > INTERVAL + INTERVAL / 8));
            assert!(drawn.iter().all(|(interval, _)| *interval <= INTERVAL + INTERVAL / 4));
        }
    }
}
