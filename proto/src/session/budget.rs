//! How often something may happen. Owns a token bucket that fills up in ten seconds; refuses to know what is
//! counted.

use std::time::{Duration, Instant};

/// How long an empty bucket takes to fill up: what is allowed on average in that time may come all at once.
const WINDOW: Duration = Duration::from_secs(10);

/// A bucket that begins full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// How many tokens it holds.
    size: u32,
    /// When it will be full again.
    full_at: Instant,
}

impl Bucket {
    /// One of `size` tokens; 0 counts as 1.
    pub(super) fn new(now: Instant, size: u32) -> Self {
        Self { size: size.max(1), full_at: now }
    }

    /// Takes a token, or has run dry.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Dry> {
        let dry = Err(Dry { limit: self.size });
        let full_at = self.full_at.max(now).checked_add(WINDOW / self.size);
        match full_at {
            Some(full_at) if full_at.saturating_duration_since(now) <= WINDOW => {
                self.full_at = full_at;
                Ok(())
            }
            _ => dry,
        }
    }
}

/// There were more than `limit` in ten seconds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dry {
    pub(super) limit: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_its_size_through_at_once_and_then_at_its_pace() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now, 1000);
        assert_eq!((0..1000).filter(|_| bucket.take(now).is_err()).count(), 0);
        assert_eq!(bucket.take(now), Err(Dry { limit: 1000 }));
        let later = now + Duration::from_millis(9);
        assert_eq!(bucket.take(later), Err(Dry { limit: 1000 }), "what was refused cost nothing");
        let later = now + Duration::from_millis(20);
        assert_eq!([(); 3].map(|()| bucket.take(later).is_ok()), [true, true, false]);
        let later = now + Duration::from_secs(3600);
        assert_eq!(
            (0..1001).filter(|_| bucket.take(later).is_ok()).count(),
            1000,
            "it holds no more than its size"
        );
    }

    #[test]
    fn is_never_of_no_size() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now, 0);
        assert!(bucket.take(now).is_ok() && bucket.take(now).is_err());
    }
}
