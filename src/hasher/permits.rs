//! How many threads compress at a time, of however many read. Owns the count, and whose turn is next; refuses to know
//! what is done under a permit, which must wait for nothing.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Permits, given in the order in which they are asked for: those who read from one device can't keep those of another
/// from getting any.
#[derive(Debug)]
pub(super) struct Permits {
    line: Mutex<Line>,
    moved: Condvar,
}

#[derive(Debug)]
struct Line {
    /// How many have asked so far.
    asked: u64,
    /// How many of these may have had one by now: as many as there are permits, and one more for each given back.
    admitted: u64,
}

/// The right to compress, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit<'a>(&'a Permits);

impl Permits {
    pub(super) fn new(count: usize) -> Self {
        // No machine counts further than that.
        let admitted = u64::try_from(count).unwrap_or(u64::MAX);
        Self { line: Mutex::new(Line { asked: 0, admitted }), moved: Condvar::new() }
    }

    /// Waits until there is one.
    pub(super) fn take(&self) -> Permit<'_> {
        let mut line = self.lock();
        let before = line.asked;
        line.asked += 1;
        while before >= line.admitted {
            line = self.moved.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        Permit(self)
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut line = self.0.lock();
        let somebody_waits = line.asked > line.admitted;
        line.admitted += 1;
        drop(line);
        if somebody_waits {
            // All of them, for only the one whose turn it is goes on.
            self.0.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn only_so_many_are_held_at_a_time_and_who_came_first_comes_first() {
        const COUNT: usize = 2;
        let permits = Permits::new(COUNT);
        let mut held: Vec<_> = (0..COUNT).map(|_| permits.take()).collect();
        let (sender, admitted) = mpsc::channel();
        thread::scope(|scope| {
            for number in 0..5 {
                let (sender, permits) = (sender.clone(), &permits);
                scope.spawn(move || sender.send((number, permits.take())).unwrap());
                while permits.lock().asked < COUNT as u64 + number + 1 {
                    thread::yield_now();
                }
            }
            for expected in 0..5 {
                assert!(admitted.try_recv().is_err(), "{} are held", held.len());
                drop(held.remove(0));
                let (number, permit) = admitted.recv().unwrap();
                assert_eq!(number, expected);
                held.push(permit);
            }
        });
    }

    #[test]
    fn one_that_is_lost_to_a_panic_is_given_back() {
        let permits = Permits::new(1);
        let panics = thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _permit = permits.take();
                panic!("with a permit");
            });
            panicking.join().is_err()
        });
        assert!(panics);
        drop(permits.take());
    }
}
