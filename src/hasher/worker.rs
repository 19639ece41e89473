//! One hashing thread: takes what is next, reads it into its lanes, and hands on what came of each file. Owns its lanes
//! and blocks in reads and in handing on, never in holding a lock.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;

use super::Hashed;
use super::idle;
use super::job::{HashError, Job, OpenFile, Piece};
use super::kernel::Plan;
use super::lanes::Lanes;
use super::permits::Permits;
use super::queue::{Place, Queue, Task};
use crate::files::Roots;

/// What all threads share, whatever they read from.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) roots: Arc<Roots>,
    pub(super) results: mpsc::Sender<Hashed>,
    pub(super) plan: Plan,
    pub(super) idle_io: bool,
    /// To compress; nobody who holds one waits for a disk or for a result to be taken.
    pub(super) permits: Permits,
}

/// Why a piece has no digest.
enum Missing {
    /// Nobody wants it any more.
    CalledOff,
    Failed(HashError),
}

/// Works until the queue is closed.
pub(super) fn run(shared: &Shared, queue: &Queue) {
    if shared.idle_io
        && let Err(error) = idle::enter()
    {
        warn!(%error, "can't read with idle priority; hashing reads as anybody does");
    }
    let mut lanes = Lanes::new(shared.plan);
    // One file must not end the hashing of all others, whatever is wrong with it or us.
    while catch_unwind(AssertUnwindSafe(|| work(shared, queue, &mut lanes))).is_err() {
        for (_, piece) in lanes.drain() {
            shared.end(piece.job(), Err(io::Error::other("hashing it panicked").into()));
        }
    }
}

fn work(shared: &Shared, queue: &Queue, lanes: &mut Lanes<(Place, Piece)>) {
    while fill(shared, queue, lanes) && !queue.is_closed() {
        lanes.turn(
            |(_, piece), offset, buffer| {
                if piece.job().is_over() {
                    return Err(Missing::CalledOff);
                }
                piece.read(offset, buffer).map_err(Missing::Failed)
            },
            || shared.permits.take(),
            |(_, piece), digest| shared.ended(piece, digest),
        );
    }
}

/// Gives the lanes what is newest, waiting only where they have nothing; `false` once the queue is closed.
fn fill(shared: &Shared, queue: &Queue, lanes: &mut Lanes<(Place, Piece)>) -> bool {
    let place_of = |(place, _): &(Place, Piece)| *place;
    loop {
        drop(queue.unwanted());
        let newest = queue.newest();
        if !lanes.has_room() && !newest.is_some_and(|newest| lanes.park(place_of, &newest)) {
            return true;
        }
        let task = if lanes.is_empty() {
            let Some(task) = queue.wait() else { return false };
            Some(task)
        } else if lanes.parked(place_of) < newest {
            queue.take()
        } else {
            None
        };
        match task {
            Some(Task::Open(place, job, counted)) => {
                match OpenFile::open(&shared.roots, Arc::clone(&job), counted) {
                    Ok(file) => queue.opened(place, Arc::new(file)),
                    Err(error) => shared.end(&job, Err(error)),
                }
            }
            Some(Task::Hash(place, piece)) => {
                piece.expect();
                let len = piece.len();
                // There is room.
                let _ = lanes.start((place, piece), len);
            }
            Some(Task::Close(file)) => drop(file),
            None if lanes.resume(place_of) => {}
            None => return true,
        }
    }
}

impl Shared {
    fn ended(&self, piece: Piece, digest: Result<[u8; 20], Missing>) {
        let job = piece.shared_job();
        match digest {
            Ok(digest) => {
                if let Some(result) = piece.hashed(digest) {
                    self.end(&job, result);
                }
            }
            Err(Missing::Failed(error)) => self.end(&job, Err(error)),
            Err(Missing::CalledOff) => {}
        }
    }

    /// Hands on what came of a job, unless it was called off or has failed elsewhere.
    fn end(&self, job: &Job, result: Result<distributor_proto::Info, HashError>) {
        if job.end() {
            // Whoever asked may have gone: we are shutting down.
            let _ = self.results.blocking_send(Hashed { file: job.file.clone(), result });
        }
    }
}
