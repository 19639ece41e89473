//! File events to settled paths: a thread of its own watches the directories, reads them, and says which files are
//! there, which hold still, and which are gone. Hashes nothing and opens no file; that a file's contents match what
//! was said of it is for whoever reads them to check.

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
mod watches;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::inbox::{Bell, inbox};
use self::names::LeftOut;
use self::outlet::{Outlet, Stopped};
use self::rounds::Rounds;
use self::settle::Rules;
use self::survey::{Plan, Survey};
use self::watches::Watches;
use crate::config::{WatchConfig, WatchMode};
use crate::files::{FilePath, Roots, SettledFile};

/// Checks that wait for the thread; who asks beyond that waits to be let in.
const CHECK_QUEUE: usize = 256;

/// What the watcher says of a path. Of each path it says only what differs from what it said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WatchEvent {
    /// It is there, but not known to hold still: not offered now.
    Pending(FilePath),
    /// It holds still. Said anew whenever the binding moved, be it by a chmod or a hard link alone.
    Settled(SettledFile),
    /// It is not there any more, or no longer to be offered: emptied, unreadable, its link leads outside.
    Gone(FilePath),
    /// Once: all that was there at the start has been said.
    Scanned,
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

/// Asks the watcher for things. Cheap to clone; when all are dropped the watcher ends.
#[derive(Clone, Debug)]
pub(crate) struct WatcherHandle {
    checks: mpsc::Sender<Check>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Check {
    at: FilePath,
    done: oneshot::Sender<()>,
}

impl WatcherHandle {
    /// Looks at a path on the disk now. Ends when the events that follow from what is there have been sent; at once
    /// if the watcher has stopped. The path may be anything that a network sent: what is not eligible yields nothing.
    pub(crate) async fn check(&self, at: FilePath) {
        let (done, finished) = oneshot::channel();
        if self.checks.send(Check { at, done }).await.is_ok() {
            // An error says that the watcher has stopped.
            let _ = finished.await;
        }
    }

    /// A settled file changed while it was hashed: it is `Pending` again, and settled anew after a back-off. Never
    /// blocks; may be called from anywhere.
    pub(crate) fn unsettled(&self, at: FilePath) {
        self.bell.unsettle(at);
    }
}

/// The watcher's thread; dropping this stops it and waits for its end.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watcher's thread panicked");
        }
    }
}

/// Begins to watch. When the thread ends, for whatever reason, `events` closes.
pub(crate) fn start(
    roots: Arc<Roots>,
    config: &WatchConfig,
    events: mpsc::Sender<WatchEvent>,
) -> Result<(WatcherHandle, Watcher), WatchError> {
    let bell = Arc::new(Bell::default());
    let (watches, news) = match config.mode {
        WatchMode::Auto | WatchMode::Inotify => {
            let (handler, news) = inbox(Arc::clone(&bell));
            (Watches::new(handler)?, Some(news))
        }
        WatchMode::Poll => (Watches::none(), None),
    };
    let plan = Plan {
        ask_mounts: config.mode != WatchMode::Inotify,
        left_out: LeftOut::new(&config.ignore)?,
        rules: Rules::new(config.settle),
    };
    let stop = CancellationToken::new();
    let out = Outlet::new(events, stop.clone()).map_err(WatchError::Thread)?;
    let (checks, requests) = mpsc::channel(CHECK_QUEUE);
    let survey = Survey::new(roots, watches, plan, out);
    let mut rounds = Rounds::new(survey, news, requests, Arc::clone(&bell), config.rescan);
    let thread = std::thread::Builder::new()
        .name("watcher".into())
        .spawn(move || {
            // It ends only by being stopped.
            let Err(Stopped) = rounds.walk();
            tracing::debug!("the watcher has stopped");
        })
        .map_err(WatchError::Thread)?;
    Ok((WatcherHandle { checks, bell }, Watcher { stop, thread: Some(thread) }))
}
