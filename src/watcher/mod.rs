//! File events to settled paths: threads of its own watch the directories, read them, and say which files are there,
//! which hold still, and which are gone. Hashes nothing and opens no file; that a file's contents match what was said of
//! it is for whoever reads them to check.
//!
//! A disk may hang in whatever it is asked. So the directories of one device have a thread (with a survey, an inotify
//! instance and a queue of requests) that those of others don't wait for. What still waits is a directory with a mount
//! below it that hangs: links lead from the one to the other, and one thread knows both.
//!
//! ```text
//!  watcher handle ──▶ rounds ──▶ survey ──▶ sweep ──▶ look ──▶ settle ──▶ outlet
//!        ▲              ▲           ╰──────────┴────────┴──▶ disk ◀── watchdog
//!        │            inbox ◀── inotify                                  │
//!        ╰───────────────────────────────────────────────────────────────╯
//! ```

mod capacity;
mod disk;
mod groups;
mod handle;
mod inbox;
mod look;
mod mounts;
mod names;
mod outlet;
mod resolve;
mod rounds;
mod settle;
mod survey;
mod sweep;
#[cfg(test)]
mod tests;
mod tree;
mod trees;
mod watchdog;
mod watches;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::capacity::Capacity;
use self::groups::{MAX_GROUPS, by_device};
use self::handle::Desk;
pub(crate) use self::handle::{DiskHangs, WatcherHandle};
use self::inbox::{Bell, News, inbox};
use self::names::LeftOut;
use self::outlet::{Outlet, Stopped};
use self::rounds::Rounds;
use self::settle::Rules;
use self::survey::{Plan, Survey};
use self::watchdog::{Ward, Watchdog};
use self::watches::Watches;
use crate::config::{WatchConfig, WatchMode};
use crate::files::{FilePath, RootId, Roots, SettledFile, Timestamp};

/// Checks that wait for one thread; who asks beyond that waits to be let in.
const CHECK_QUEUE: usize = 256;

/// What the watcher says of a path. Of each path it says only what differs from what it said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WatchEvent {
    /// It was come upon, modified at that time. It may well hold still, which is known in a moment: not offered now.
    Found(FilePath, Timestamp),
    /// It is there, but not known to hold still: not offered now.
    Pending(FilePath),
    /// It is complete, as far as is known, and counts as what it is from now on; but it was changed so lately that its
    /// contents can't be told by its times yet. It settles in a moment.
    Still(SettledFile),
    /// It holds still. Said anew whenever the binding moved, be it by a chmod or a hard link alone.
    Settled(SettledFile),
    /// It is not there any more, or no longer to be offered: emptied, unreadable, its link leads outside.
    Gone(FilePath),
    /// Once of each watched directory: all that was there at the start has been said.
    Scanned(Vec<RootId>),
}

/// Why watching can't begin.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The user has too many inotify instances, or the process too many open files.
    #[error(
        "can't watch for files, this user has too many inotify instances or the process too many open files; raise \
         the limit: sysctl fs.inotify.max_user_instances=1024, or ulimit -n; or use --watch poll"
    )]
    Instances(#[source] io::Error),
    /// Any other reason that the system gave.
    #[error("can't watch for files: {0}; the system must be a Linux with inotify, or use --watch poll")]
    Inotify(#[source] notify::Error),
    /// Patterns of what is to be left out that are too much together.
    #[error("can't leave out files by so many patterns: {0}; ignore fewer, or simpler ones")]
    Patterns(#[from] globset::Error),
    /// The thread could not be made.
    #[error("can't watch for files, the system has no thread for it: {0}; raise the limit on processes")]
    Thread(#[source] io::Error),
}

impl From<notify::Error> for WatchError {
    fn from(error: notify::Error) -> Self {
        match error.kind {
            notify::ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                Self::Instances(error)
            }
            _ => Self::Inotify(error),
        }
    }
}

/// The threads that watch; dropping this stops them and waits for their end.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
    _watchdog: Option<Watchdog>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that watches panicked");
            }
        }
    }
}

/// Begins to watch. When one of the threads ends, for whatever reason, so do the others, and `events` closes.
pub(crate) fn start(
    roots: Arc<Roots>,
    config: &WatchConfig,
    events: mpsc::Sender<WatchEvent>,
) -> Result<(WatcherHandle, Watcher), WatchError> {
    let plan = Plan {
        ask_mounts: config.mode != WatchMode::Inotify,
        left_out: Arc::new(LeftOut::new(&config.ignore)?),
        rules: Rules::new(config.settle),
        capacity: Arc::new(Capacity::new()),
    };
    let stop = CancellationToken::new();
    let mut watcher = Watcher { stop: stop.clone(), threads: Vec::new(), _watchdog: None };
    let (mut desks, mut wards) = (Vec::new(), Vec::new());
    for (watched, ears) in share_out(&roots, config.mode)? {
        let Ears { watches, news, bell } = ears;
        let paths = watched.iter().map(|id| roots.get(*id).path());
        let out = Outlet::new(events.clone(), stop.clone()).map_err(WatchError::Thread)?;
        let survey = Survey::new(Arc::clone(&roots), watched.clone(), watches, plan.clone(), out);
        wards.push(Ward::new(Arc::clone(&survey.disk), paths));
        let hangs = survey.disk.hangs();
        let (checks, requests) = mpsc::channel(CHECK_QUEUE);
        let mut rounds = Rounds::new(survey, news, requests, Arc::clone(&bell), config.rescan);
        let end_of_all = stop.clone().drop_guard();
        let thread = std::thread::Builder::new()
            .name(format!("watcher-{}", desks.len()))
            .spawn(move || {
                let _end_of_all = end_of_all;
                // It ends only by being stopped.
                let Err(Stopped) = rounds.walk();
                tracing::debug!("a thread that watches has stopped");
            })
            .map_err(WatchError::Thread)?;
        watcher.threads.push(thread);
        desks.push(Desk { roots: watched, checks, bell, hangs });
    }
    watcher._watchdog = Some(Watchdog::start(wards).map_err(WatchError::Thread)?);
    Ok((WatcherHandle::new(desks), watcher))
}

/// By what one thread hears of changes.
struct Ears {
    watches: Watches,
    /// None if nothing tells of anything.
    news: Option<mpsc::Receiver<News>>,
    bell: Arc<Bell>,
}

impl Ears {
    fn new(mode: WatchMode) -> Result<Self, WatchError> {
        let bell = Arc::new(Bell::default());
        let (watches, news) = match mode {
            WatchMode::Auto | WatchMode::Inotify => {
                let (handler, news) = inbox(Arc::clone(&bell));
                (Watches::new(handler)?, Some(news))
            }
            WatchMode::Poll => (Watches::none(), None),
        };
        Ok(Self { watches, news, bell })
    }
}

/// The watched directories of each thread. Where the system gives fewer inotify instances than there are devices,
/// devices share them.
fn share_out(roots: &Roots, mode: WatchMode) -> Result<Vec<(Vec<RootId>, Ears)>, WatchError> {
    let wanted = by_device(roots, MAX_GROUPS);
    let mut all_ears = vec![Ears::new(mode)?];
    while all_ears.len() < wanted.len() {
        match Ears::new(mode) {
            Ok(ears) => all_ears.push(ears),
            Err(error @ WatchError::Instances(_)) => {
                warn!(
                    wanted = wanted.len(),
                    got = all_ears.len(),
                    "directories on different disks are watched together, and one that hangs holds up the others: {error}"
                );
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(by_device(roots, all_ears.len()).into_iter().zip(all_ears).collect())
}
