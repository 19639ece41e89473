//! What the tests stand on: the program as a process, networks of their own, stock clients, and a plain HTTP client.
//! Nothing here knows how the program works inside; what it sends is read by code that shares nothing with it.

pub(crate) mod bencode;
pub(crate) mod clients;
pub(crate) mod crowd;
pub(crate) mod faulty_fs;
pub(crate) mod files;
mod fuse;
pub(crate) mod http;
mod launch;
pub(crate) mod mse;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod relay;
pub(crate) mod remote_fs;
pub(crate) mod seed;
pub(crate) mod server;
pub(crate) mod swarm;
pub(crate) mod torrent;
pub(crate) mod tracker;
pub(crate) mod two_disks;
pub(crate) mod udp;
pub(crate) mod watched;
pub(crate) mod wire;

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that takes milliseconds on an idle machine. A test that fails waits this long; one that
/// passes never does.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// Tries until there is an answer; panics with `what` when none comes.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, attempt)
}

/// The same, for what takes longer.
#[track_caller]
pub(crate) fn wait_within<T>(deadline: Duration, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < end, "waited {deadline:?} in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
