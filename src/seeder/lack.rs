//! How a connection waits where the system has no descriptor left for its file: holding no thread and no turn of the
//! disk, for longer each time, and not for ever. A pure function of the time.

use std::time::{Duration, Instant};

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest. Of hundreds that wait, each costs a system call in so long a time.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// How long to wait in all. Connections give descriptors back sooner: they end, or are ended for saying nothing.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// One connection's wait for a descriptor.
#[derive(Debug, Default)]
pub(super) struct Lack {
    /// None until there was none.
    end: Option<Instant>,
    pauses: u32,
}

impl Lack {
    /// There was none again. When to try the next time; nothing once that is of no use any more.
    pub(super) fn retry(&mut self, now: Instant) -> Option<Instant> {
        let end = *self.end.get_or_insert(now + MAX_WAIT);
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.pauses)).min(MAX_PAUSE);
        self.pauses = self.pauses.saturating_add(1);
        (now < end).then(|| end.min(now + pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_again_ever_more_seldom_and_gives_up_in_the_end() {
        let began = Instant::now();
        let (mut lack, mut now, mut pauses) = (Lack::default(), began, Vec::new());
        while let Some(next) = lack.retry(now) {
            pauses.push(next - now);
            now = next;
        }
        assert_eq!(now, began + MAX_WAIT, "the last try is at the very end");
        assert_eq!(pauses[..3], [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]);
        assert!(pauses.iter().all(|pause| *pause <= MAX_PAUSE));
        assert_eq!(lack.retry(began), Some(began + MAX_PAUSE), "the end is a time and no number of tries");
    }
}
