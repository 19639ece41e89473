//! Threads of its own for each device that files lie on: a disk whose reads hang holds the threads that read from it
//! and nobody else's. Owns which threads a file goes to; what they do is the worker's, how many of them compress at a
//! time the permits'.
//!
//! Threads stay once they are there. Those that have no file left are the next device's to have one, so that there are
//! as many as were needed at a time, whatever disks come and go.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tracing::{debug, warn};

use super::lanes::BUFFER_LEN;
use super::queue::Queue;
use super::worker::{self, Shared};

/// Devices that are read from at a time, each by its own threads; those beyond share the threads of the last of them.
const MAX_POOLS: usize = 16;

#[derive(Debug)]
pub(super) struct Pools {
    shared: Arc<Shared>,
    /// In each pool.
    threads: usize,
    started: Mutex<Started>,
}

#[derive(Debug)]
struct Started {
    /// Never empty.
    pools: Vec<Pool>,
    /// How many there may be: [`MAX_POOLS`], or as many as there were when the system gave no more threads.
    max: usize,
}

/// Threads, and the device whose files they have, if they have any.
#[derive(Debug)]
struct Pool {
    device: Option<u64>,
    queue: Arc<Queue>,
    /// Held by every job that is queued or under way here.
    jobs: Arc<()>,
}

impl Pools {
    /// Starts so many threads, for the first device that comes; as many again for each further one once it comes.
    pub(super) fn start(shared: Arc<Shared>, threads: usize) -> io::Result<Self> {
        let pools = vec![Pool::start(&shared, threads, 0)?];
        Ok(Self { shared, threads, started: Mutex::new(Started { pools, max: MAX_POOLS }) })
    }

    /// Where a file of that device is to wait for its turn, and what its job is to hold until it is over.
    pub(super) fn assign(&self, device: u64) -> (Arc<Queue>, Arc<()>) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.assign(device, |number| Pool::start(&self.shared, self.threads, number))
    }
}

impl Drop for Pools {
    /// The threads end as soon as the reads that they are in come back.
    fn drop(&mut self) {
        for pool in &self.started.get_mut().unwrap_or_else(PoisonError::into_inner).pools {
            pool.queue.close();
        }
    }
}

impl Started {
    fn assign(
        &mut self,
        device: u64,
        start: impl FnOnce(usize) -> io::Result<Pool>,
    ) -> (Arc<Queue>, Arc<()>) {
        let has_it = |pool: &Pool| pool.is_busy() && pool.device == Some(device);
        let found = self.pools.iter().position(has_it);
        let found = found.or_else(|| self.pools.iter().position(|pool| !pool.is_busy()));
        let found = found.or_else(|| self.start_another(start));
        if let Some(index) = found {
            self.pools[index].device = Some(device);
        }
        let pool = &self.pools[found.unwrap_or(self.pools.len() - 1)];
        (Arc::clone(&pool.queue), Arc::clone(&pool.jobs))
    }

    fn start_another(&mut self, start: impl FnOnce(usize) -> io::Result<Pool>) -> Option<usize> {
        let number = self.pools.len();
        if number >= self.max {
            return None;
        }
        match start(number) {
            Ok(pool) => self.pools.push(pool),
            Err(error) => {
                warn!(%error, "can't start threads for another disk; raise the limit of processes, or files of this \
                    disk wait for those of another");
                self.max = number;
                return None;
            }
        }
        Some(number)
    }
}

impl Pool {
    fn start(shared: &Arc<Shared>, threads: usize, number: usize) -> io::Result<Self> {
        let pool = Self { device: None, queue: Arc::new(Queue::new(threads)), jobs: Arc::default() };
        let mut started = 0;
        while started < threads {
            let (shared, queue) = (Arc::clone(shared), Arc::clone(&pool.queue));
            let thread = thread::Builder::new().name(format!("hash-{number}-{started}"));
            match thread.spawn(move || worker::run(&shared, &queue)) {
                Ok(_) => started += 1,
                Err(error) if started == 0 => return Err(error),
                Err(error) => {
                    warn!(%error, wanted = threads, started, "can't start all threads for hashing");
                    break;
                }
            }
        }
        debug!(
            number,
            threads = started,
            buffers = started * BUFFER_LEN,
            "threads for the files of a device"
        );
        Ok(pool)
    }

    fn is_busy(&self) -> bool {
        // This handle is one of the count.
        Arc::strong_count(&self.jobs) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pools that have no threads, the first of them at once.
    struct Bench(Started);

    /// A job: which pool it went to, for as long as it is there.
    struct At(usize, #[expect(dead_code, reason = "held")] Arc<()>);

    impl Bench {
        fn new() -> Self {
            Self(Started { pools: vec![pool()], max: MAX_POOLS })
        }

        fn assign(&mut self, device: u64) -> At {
            let (queue, job) = self.0.assign(device, |_| Ok(pool()));
            let index = self.0.pools.iter().position(|pool| Arc::ptr_eq(&pool.queue, &queue)).unwrap();
            At(index, job)
        }
    }

    fn pool() -> Pool {
        Pool { device: None, queue: Arc::new(Queue::new(1)), jobs: Arc::default() }
    }

    #[test]
    fn files_of_one_device_go_to_one_pool_and_those_of_another_elsewhere() {
        let mut pools = Bench::new();
        let jobs = [7, 8, 7, 9, 8, 7].map(|device| pools.assign(device));
        assert_eq!(jobs.map(|At(pool, _)| pool), [0, 1, 0, 2, 1, 0]);
    }

    #[test]
    fn a_device_takes_the_pool_of_one_that_has_nothing_more_to_hash() {
        let mut pools = Bench::new();
        let (first, second) = (pools.assign(1), pools.assign(2));
        drop(first);
        assert_eq!(pools.assign(3).0, 0);
        let third = pools.assign(3);
        assert_eq!((second.0, third.0), (1, 0));
        assert_eq!(pools.assign(1).0, 2, "the first has lost its own to the third");
    }

    #[test]
    fn devices_beyond_the_bound_share_the_last_pool() {
        let mut pools = Bench::new();
        let mut jobs: Vec<_> = (0..MAX_POOLS as u64 + 3).map(|device| pools.assign(device)).collect();
        let at: Vec<_> = jobs.iter().map(|At(pool, _)| *pool).collect();
        assert_eq!(at[..MAX_POOLS], (0..MAX_POOLS).collect::<Vec<_>>());
        assert_eq!(at[MAX_POOLS..], [MAX_POOLS - 1; 3]);
        assert_eq!(
            pools.assign(MAX_POOLS as u64 - 1).0,
            MAX_POOLS - 1,
            "the last has the device that it had"
        );
        assert_eq!(pools.0.pools.len(), MAX_POOLS);
        jobs.remove(4);
        assert_eq!(pools.assign(1000).0, 4);
    }

    #[test]
    fn where_the_system_gives_no_more_threads_devices_share_those_there_are() {
        let mut pools = Bench::new();
        let first = pools.assign(1);
        let mut tries = 0;
        for device in 2..5 {
            let (queue, _) = pools.0.assign(device, |_| {
                tries += 1;
                Err(io::ErrorKind::WouldBlock.into())
            });
            assert!(Arc::ptr_eq(&queue, &pools.0.pools[first.0].queue));
        }
        assert_eq!(tries, 1);
    }
}
