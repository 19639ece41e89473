//! When a peer is to announce again: a pure function of how its swarm stands, of how many peers there are in all, and
//! of chance.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The interval of a swarm that others join. Clients that obey it alone (transmission, ctorrent) should learn of those
/// soon.
const YOUNG: u32 = 30;
/// What clients in need may go down to then; some (aria2, rqbit) always do.
const LEAST_YOUNG: u32 = 8;
/// The same in a swarm that rests: nobody comes, or nobody lacks anything.
const RESTING: u32 = 600;
const LEAST_RESTING: u32 = 120;
/// How many announces a quiet swarm may see while it is as quiet as it was up to now. So intervals grow with the
/// silence, and shrink at once when it is broken.
const PER_SILENCE: u32 = 2;
const LEAST_PER_SILENCE: u32 = 4;
/// The longest that any is, however many peers there are; chance comes on top.
const LONGEST: u32 = 6 * 3600;

/// How a swarm stands, as far as intervals go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Seconds since somebody joined.
    pub(super) quiet: u32,
    /// Whether anybody lacks anything.
    pub(super) has_downloaders: bool,
    /// In all swarms together.
    pub(super) peers: usize,
}

/// What one answer says, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intervals {
    pub(super) regular: Duration,
    /// Never more than the other.
    pub(super) least: Duration,
}

/// The intervals of one answer. However little the peers wait of what they may, no more than `rate` announces a second
/// come of these, where that doesn't take more than [`LONGEST`]. Each is lengthened by up to a half: hosts that start
/// in the same second must not all come back in the same second.
pub(super) fn draw(standing: Standing, rate: u32, rng: &mut impl Rng) -> Intervals {
    let Standing { quiet, has_downloaders, peers } = standing;
    let (regular, least) = if has_downloaders {
        let least = (quiet / LEAST_PER_SILENCE).clamp(LEAST_YOUNG, LEAST_RESTING);
        ((quiet / PER_SILENCE).clamp(YOUNG, RESTING), least)
    } else {
        (RESTING, LEAST_RESTING)
    };
    let affordable = peers.div_ceil(rate.max(1) as usize);
    let affordable = u32::try_from(affordable).unwrap_or(LONGEST).min(LONGEST);
    let mut lengthened = |seconds: u32| rng.random_range(seconds..=seconds + seconds / 2);
    let least = lengthened(least.max(affordable));
    let regular = lengthened(regular.max(affordable)).max(least);
    let [regular, least] = [regular, least].map(|seconds| Duration::from_secs(seconds.into()));
    Intervals { regular, least }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const RATE: u32 = 1000;

    fn standing(quiet: u32, has_downloaders: bool, peers: usize) -> Standing {
        Standing { quiet, has_downloaders, peers }
    }

    /// The shortest and the longest of many: regular, least.
    fn extremes(standing: Standing) -> [[u64; 2]; 2] {
        let mut rng = SmallRng::seed_from_u64(1);
        let drawn: Vec<Intervals> = (0..1000).map(|_| draw(standing, RATE, &mut rng)).collect();
        [|drawn: &Intervals| drawn.regular.as_secs(), |drawn: &Intervals| drawn.least.as_secs()]
            .map(|of| [drawn.iter().map(of).min().unwrap_or(0), drawn.iter().map(of).max().unwrap_or(0)])
    }

    #[test]
    fn are_seconds_while_others_join_and_minutes_when_nobody_does() {
        assert_eq!(extremes(standing(0, true, 1)), [[30, 45], [8, 12]]);
        assert_eq!(extremes(standing(30, true, 1)), [[30, 45], [8, 12]]);
        assert_eq!(extremes(standing(3600, true, 1)), [[600, 900], [120, 180]]);
        assert_eq!(extremes(standing(0, false, 1)), [[600, 900], [120, 180]], "seeds wait for nobody");
        let mut before = [0; 2];
        for quiet in 0..3600 {
            let [regular, least] = extremes(standing(quiet, true, 1)).map(|[shortest, _]| shortest);
            assert!(regular >= before[0] && least >= before[1], "a swarm that has got quieter is asked less");
            before = [regular, least];
        }
    }

    #[test]
    fn keep_all_peers_together_below_the_rate() {
        let mut rng = SmallRng::seed_from_u64(1);
        for _ in 0..20_000 {
            let peers = rng.random_range(0..1_000_000);
            let rate = rng.random_range(50..10_000);
            let standing = standing(rng.random_range(0..10_000), rng.random(), peers);
            let Intervals { regular, least } = draw(standing, rate, &mut rng);
            assert!(least <= regular);
            assert!(least.as_secs() * u64::from(rate) >= peers as u64, "{standing:?} at {rate}: {least:?}");
        }
    }

    #[test]
    fn have_an_end_however_low_the_rate_is() {
        let mut rng = SmallRng::seed_from_u64(1);
        for rate in [0, 1] {
            let drawn = draw(standing(0, true, 1_000_000), rate, &mut rng);
            assert!(drawn.regular <= Duration::from_secs((LONGEST + LONGEST / 2).into()));
        }
    }
}
