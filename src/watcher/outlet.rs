//! The way out of the watcher's thread, and its only waits: a reader that is slow, or gone for good, never keeps the
//! thread from stopping. Knows nothing of what the events mean.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::WatchEvent;

/// The thread is to end: it was told so, or nobody reads what it says.
#[derive(Debug)]
pub(super) struct Stopped;

pub(super) struct Outlet {
    /// Runs nothing but this thread's waits.
    runtime: Runtime,
    events: mpsc::Sender<WatchEvent>,
    stop: CancellationToken,
}

impl Outlet {
    pub(super) fn new(events: mpsc::Sender<WatchEvent>, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        Ok(Self { runtime, events, stop })
    }

    /// Waits until the reader has room.
    pub(super) fn send(&self, event: WatchEvent) -> Result<(), Stopped> {
        match self.events.try_send(event) {
            Ok(()) => self.check(),
            Err(TrySendError::Full(event)) => {
                self.wait(async { self.events.send(event).await.map_err(|_| Stopped) })?
            }
            Err(TrySendError::Closed(_)) => Err(Stopped),
        }
    }

    /// To be asked wherever much is done and nothing said.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        if self.stop.is_cancelled() { Err(Stopped) } else { Ok(()) }
    }

    /// Waits for whatever it is, or until told to stop.
    pub(super) fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, Stopped> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(Stopped),
                () = self.events.closed() => Err(Stopped),
                result = what => Ok(result),
            }
        })
    }
}
