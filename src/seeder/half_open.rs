//! Connections whose handshake isn't complete: how many there may be. A newcomer past that takes the place of the
//! oldest, since an honest peer is through within a round trip and those that stay are not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct HalfOpen {
    max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_age: BTreeMap<u64, CancellationToken>,
}

impl HalfOpen {
    /// `max` of 0 counts as 1.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: max.max(1), waiting: Mutex::default() })
    }

    /// A place for a connection that begins.
    pub(super) fn enter(self: &Arc<Self>) -> Handshaking {
        let displaced = CancellationToken::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.by_age.len() >= self.max
            && let Some((_, oldest)) = waiting.by_age.pop_first()
        {
            oldest.cancel();
        }
        let id = waiting.next;
        waiting.next += 1;
        waiting.by_age.insert(id, displaced.clone());
        Handshaking { id, displaced, of: Arc::clone(self) }
    }
}

/// One place; left when dropped, once the handshake is complete.
#[derive(Debug)]
pub(super) struct Handshaking {
    id: u64,
    displaced: CancellationToken,
    of: Arc<HalfOpen>,
}

impl Handshaking {
    /// Ends when a newcomer has taken the place.
    pub(super) fn displaced(&self) -> impl Future<Output = ()> + Send + use<> {
        self.displaced.clone().cancelled_owned()
    }
}

impl Drop for Handshaking {
    fn drop(&mut self) {
        self.of.waiting.lock().unwrap_or_else(PoisonError::into_inner).by_age.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_takes_the_place_of_the_oldest() {
        let half_open = HalfOpen::new(2);
        let (first, second) = (half_open.enter(), half_open.enter());
        assert!(!first.displaced.is_cancelled());
        let third = half_open.enter();
        assert!(first.displaced.is_cancelled());
        assert!(!second.displaced.is_cancelled());
        drop((first, second));
        let fourth = half_open.enter();
        assert!(!third.displaced.is_cancelled());
        drop((third, fourth));
        assert!(half_open.waiting.lock().unwrap().by_age.is_empty());
    }
}
