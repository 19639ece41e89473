//! Files to info dictionaries: SHA-1 of their pieces, many lanes at a time, on threads of its own. Vouches that a
//! file was the same before and after; reads with `pread` into buffers of its own, never from a map.
//!
//! ```text
//!  submit ──▶ queue ──▶ worker ──▶ lanes ──▶ kernel
//!          newest first   │  reader ──▶ ▲
//!                         ╰─ job: opened, digests collected, verified ──▶ Hashed
//! ```
//!
//! | file | what it owns |
//! |---|---|
//! | `kernel` | the compression function for many messages at a time, and which variant is fastest here |
//! | `lanes` | messages of unequal length through the lanes; the buffers |
//! | `reader` | `pread`, and the hints of what is read next |
//! | `job` | one file: opened, verified, its digests |
//! | `queue` | which piece of which file is next |
//! | `worker` | one thread |
//! | `permits` | how many of them compress at a time |
//! | `idle` | the idle class of I/O |
//! | `progress`, `show` | how far it is, in numbers and on a terminal or in the log |
//! | `single` | one file that somebody names to its .torrent |
//!
//! Whatever the size and number of files, the buffers are [`lanes::BUFFER_LEN`] bytes a thread (1,026 KiB), beside the
//! digests of files that are open (20 bytes a piece). What the system reads ahead of us lies in its page cache, at most
//! 64 MiB for a file of short pieces and 4 MiB a lane of long ones.

mod idle;
mod job;
mod kernel;
mod lanes;
mod permits;
mod progress;
mod queue;
mod reader;
mod show;
mod single;
mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use distributor_proto::Info;
use tokio::sync::mpsc;
use tracing::{debug, warn};

pub(crate) use job::HashError;
pub use progress::{HashingProgress, HashingStatus};
pub use show::{Showing, Stderr};
pub use single::{MadeTorrent, MakeTorrentError, MakingTorrent};

use crate::config::{HashingConfig, Sha1Kernel};
use crate::files::{Roots, SettledFile};
use job::Job;
use kernel::{Kernel, Plan};
use permits::Permits;
use queue::{Place, Queue};
use worker::Shared;

/// How many results may wait to be taken; the threads wait when there are more.
const MAX_RESULTS: usize = 64;

/// Why nothing can be hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashingError {
    /// The kernel that was asked for needs another CPU.
    #[error("this CPU can't run the SHA-1 kernel \"{kernel}\"; name one of {} or none at all", available.join(", "))]
    Kernel {
        /// What was asked for.
        kernel: Sha1Kernel,
        /// What there is.
        available: Vec<&'static str>,
    },
    /// Not even one thread can be started.
    #[error("can't start a thread for hashing: {0}; raise the limit of processes")]
    Thread(#[source] io::Error),
}

/// What came of a file that was submitted.
#[derive(Debug)]
pub(crate) struct Hashed {
    pub(crate) file: SettledFile,
    pub(crate) result: Result<Info, HashError>,
}

/// The room. Its threads end when it is dropped, as soon as the reads that they are in come back.
#[derive(Debug)]
pub(crate) struct Hasher {
    shared: Arc<Shared>,
    progress: HashingProgress,
}

/// A file that waits for its turn or is being hashed. Dropped, it calls that off: no result comes, unless one is on
/// its way.
#[derive(Debug)]
pub(crate) struct Ticket {
    job: Arc<Job>,
    place: Place,
    shared: Arc<Shared>,
}

impl Hasher {
    /// Starts the threads. Results come out of the receiver in the order in which they are there.
    pub(crate) fn start(
        config: &HashingConfig,
        roots: Arc<Roots>,
    ) -> Result<(Self, mpsc::Receiver<Hashed>), HashingError> {
        let plan = plan(config.kernel)?;
        let wanted =
            config.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let buffers = wanted * lanes::BUFFER_LEN;
        debug!(kernel = plan.kernel.name(), plan.worth_from, threads = wanted, buffers, "ready to hash");
        let (results, receiver) = mpsc::channel(MAX_RESULTS);
        let queue = Queue::new(wanted);
        let permits = Permits::new(wanted);
        let shared = Arc::new(Shared { roots, queue, results, plan, idle_io: config.idle_io, permits });
        let hasher = Self { shared, progress: HashingProgress::default() };
        for number in 0..wanted {
            let shared = Arc::clone(&hasher.shared);
            let thread = thread::Builder::new().name(format!("hash-{number}"));
            match thread.spawn(move || worker::run(&shared)) {
                Ok(_) => {}
                Err(error) if number == 0 => return Err(HashingError::Thread(error)),
                Err(error) => {
                    warn!(%error, wanted, started = number, "can't start all threads for hashing");
                    break;
                }
            }
        }
        Ok((hasher, receiver))
    }

    /// Has a settled file hashed into the info dictionary of its torrent, `private` or not. The newest file comes
    /// first.
    pub(crate) fn submit(&self, file: SettledFile, private: bool) -> Ticket {
        let share = self.progress.begin(file.binding.size(), Instant::now());
        let job = Arc::new(Job::new(file, private, share));
        let place = self.shared.queue.push(Arc::clone(&job));
        Ticket { job, place, shared: Arc::clone(&self.shared) }
    }

    pub(crate) fn progress(&self) -> HashingProgress {
        self.progress.clone()
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Ticket {
    pub(crate) fn file(&self) -> &SettledFile {
        &self.job.file
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.job.end() {
            self.shared.queue.remove(self.place);
        }
    }
}

fn plan(wanted: Sha1Kernel) -> Result<Plan, HashingError> {
    if wanted == Sha1Kernel::Fastest {
        return Ok(Plan::measured());
    }
    Kernel::find(wanted.name()).map(Plan::forced).ok_or_else(|| HashingError::Kernel {
        kernel: wanted,
        available: Kernel::available().into_iter().map(Kernel::name).collect(),
    })
}

#[cfg(test)]
mod tests;
