//! Bytes a second, as a weighted mean of the last seconds. A plain value.

/// Each second counts for this part of the mean, and what was before for the rest: of a change most is seen within four
/// seconds, and after ten nearly all.
const WEIGHT: f64 = 0.25;

/// The mean after one more sample: `bytes` within `seconds`.
pub(super) fn mean(before: f64, bytes: u64, seconds: f64) -> f64 {
    if seconds <= 0.0 {
        return before;
    }
    let old = (1.0 - WEIGHT).powf(seconds);
    before * old + bytes as f64 / seconds * (1.0 - old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_near_to_a_steady_rate_within_ten_seconds_however_it_is_sampled() {
        let often = (0..40).fold(0.0, |before, _| mean(before, 250, 0.25));
        let seldom = (0..5).fold(0.0, |before, _| mean(before, 2000, 2.0));
        for rate in [often, seldom] {
            assert!((940.0..1000.0).contains(&rate), "{rate}");
        }
        assert!(mean(1000.0, 0, 10.0) < 60.0);
        assert_eq!(mean(7.0, 100, 0.0), 7.0);
    }
}
