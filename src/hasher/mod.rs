//! Files to info dictionaries: SHA-1 of their pieces, many lanes at a time, on threads of its own. Vouches that a
//! file was the same before and after; reads with `pread` into buffers of its own, never from a map.
//!
//! ```text
//!  submit ──▶ pools ──▶ queue ──▶ worker ──▶ lanes ──▶ kernel
//!         one a device newest first   │  reader ──▶ ▲    under a permit
//!                                     ╰─ job: opened, digests collected, verified ──▶ Hashed
//! ```
//!
//! | file | what it owns |
//! |---|---|
//! | `kernel` | the compression function for many messages at a time, and which variant is fastest here |
//! | `lanes` | messages of unequal length through the lanes; the buffers |
//! | `reader` | `pread`, and the hints of what is read next |
//! | `job` | one file: opened, verified, its digests |
//! | `pools` | threads for each device, so that a disk that hangs holds up no other |
//! | `queue` | which piece of which file of a device is next |
//! | `worker` | one thread |
//! | `permits` | how many of them compress at a time |
//! | `idle` | the idle class of I/O |
//! | `progress`, `show` | how far it is, in numbers and on a terminal or in the log |
//! | `single` | one file that somebody names to its .torrent |
//!
//! As many threads as are asked for compress at a time; for each device, of which there are at most 16 at a time, as
//! many read. What a read copies out of the page cache isn't counted: a thread that has read waits for a permit before
//! it reads on, so that no more is copied than is compressed.
//!
//! Whatever the size and number of files, the buffers are [`lanes::BUFFER_LEN`] bytes a thread (1,026 KiB), and hence
//! so much times the threads times the devices that had files to hash at a time, beside the digests of files that are
//! open (20 bytes a piece). What the system reads ahead of us lies in its page cache, at most 64 MiB for a file of
//! short pieces and 4 MiB a lane of long ones.

mod idle;
mod job;
mod kernel;
mod lanes;
mod permits;
mod pools;
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
use tracing::debug;

pub(crate) use job::HashError;
pub use progress::{HashingProgress, HashingStatus};
pub use show::{Showing, Stderr};
pub use single::{MadeTorrent, MakeTorrentError, MakingTorrent};

use crate::config::{HashingConfig, Sha1Kernel};
use crate::files::{Roots, SettledFile};
use job::Job;
use kernel::{Kernel, Plan};
use permits::Permits;
use pools::Pools;
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
    pools: Pools,
    progress: HashingProgress,
}

/// A file that waits for its turn or is being hashed. Dropped, it calls that off: no result comes, unless one is on
/// its way.
#[derive(Debug)]
pub(crate) struct Ticket {
    job: Arc<Job>,
    place: Place,
    queue: Arc<Queue>,
}

impl Hasher {
    /// Starts the threads of the first device. Results come out of the receiver in the order in which they are there.
    pub(crate) fn start(
        config: &HashingConfig,
        roots: Arc<Roots>,
    ) -> Result<(Self, mpsc::Receiver<Hashed>), HashingError> {
        let plan = plan(config.kernel)?;
        let wanted =
            config.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        debug!(kernel = plan.kernel.name(), plan.worth_from, threads = wanted, "ready to hash");
        let (results, receiver) = mpsc::channel(MAX_RESULTS);
        let permits = Permits::new(wanted);
        let shared = Shared { roots, results, plan, idle_io: config.idle_io, permits };
        let pools = Pools::start(Arc::new(shared), wanted).map_err(HashingError::Thread)?;
        Ok((Self { pools, progress: HashingProgress::default() }, receiver))
    }

    /// Has a settled file hashed into the info dictionary of its torrent, `private` or not. Of the files of one
    /// device the newest comes first; they don't wait for those of another.
    pub(crate) fn submit(&self, file: SettledFile, private: bool) -> Ticket {
        let share = self.progress.begin(file.binding.size(), Instant::now());
        let (queue, counted) = self.pools.assign(file.binding.device());
        let job = Arc::new(Job::new(file, private, share, counted));
        let place = queue.push(Arc::clone(&job));
        Ticket { job, place, queue }
    }

    pub(crate) fn progress(&self) -> HashingProgress {
        self.progress.clone()
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
            self.queue.remove(self.place);
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
