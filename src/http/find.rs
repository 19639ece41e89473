//! Which file a request means: found in the catalog, looked for on the disks, and waited for if it isn't ready.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Http;
use super::refusal::Refusal;
use crate::catalog::{Lookup, RequestedPath, Torrent};
use crate::files::FilePath;

/// How long a disk may take to say what a file is. Requests that wait for one that hangs would pile up until nobody else
/// is let in.
const DISK_PATIENCE: Duration = Duration::from_secs(10);

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    File(&'a RequestedPath),
    Latest(Option<&'a RequestedPath>),
}

impl Wanted<'_> {
    fn refusal(self) -> Refusal {
        let named = |path: &RequestedPath| Refusal::NoSuchFile { name: path.as_path().display().to_string() };
        match self {
            Self::File(path) => named(path),
            Self::Latest(Some(path)) => named(path),
            Self::Latest(None) => Refusal::NoFiles,
        }
    }
}

/// The patience of one request.
struct Wait<'a> {
    http: &'a Http,
    end: Instant,
    permit: Option<SemaphorePermit<'a>>,
}

impl<'a> Wait<'a> {
    fn new(http: &'a Http) -> Self {
        Self { http, end: Instant::now() + http.config.wait, permit: None }
    }

    /// Waits until it is over with what is in the way. Clients that go away meanwhile are not noticed, since one that
    /// has closed its half looks the same: those who wait may not take all connections there are.
    async fn until(&mut self, over: &CancellationToken) -> Result<(), Refusal> {
        if over.is_cancelled() {
            return Ok(());
        }
        if self.permit.is_none() {
            self.permit = Some(self.http.waits.try_acquire().map_err(|_| Refusal::NotReady)?);
            debug!("a request waits for a file");
        }
        tokio::select! {
            () = over.cancelled() => Ok(()),
            () = tokio::time::sleep_until(self.end) => Err(Refusal::NotReady),
            () = self.http.shutdown.cancelled() => Err(Refusal::NotReady),
        }
    }
}

impl Http {
    /// Finds a torrent whose file is, at this moment, what the torrent says. Events of the directory may be on their
    /// way still, so a name that isn't known, and a file that isn't as it was, are looked at on the disk.
    pub(super) async fn find(&self, wanted: Wanted<'_>) -> Result<Arc<Torrent>, Refusal> {
        let mut wait = Wait::new(self);
        let mut looked = false;
        let mut doubted: Option<Arc<Torrent>> = None;
        if let Wanted::Latest(_) = wanted {
            // What is not known yet may be newer than all that is.
            wait.until(self.catalog.scanned()).await?;
            // One look, at whatever it is, brings in what has happened in all directories.
            if let Some((root, _)) = self.roots.iter().next() {
                self.look(FilePath::new(root, "")).await?;
            }
        }
        loop {
            match self.look_up(wanted) {
                Lookup::Ready(torrent) => {
                    if self.is_current(&torrent).await? {
                        return Ok(torrent);
                    }
                    if doubted.as_ref().is_some_and(|doubted| Arc::ptr_eq(doubted, &torrent)) {
                        return Err(Refusal::NotReady);
                    }
                    self.look(torrent.file().at.clone()).await?;
                    doubted = Some(torrent);
                }
                Lookup::Pending(over) => wait.until(&over).await?,
                Lookup::Unknown if !self.catalog.scanned().is_cancelled() => {
                    wait.until(self.catalog.scanned()).await?;
                }
                Lookup::Unknown if !looked => {
                    looked = true;
                    if let Wanted::File(path) = wanted {
                        for place in self.catalog.places(path) {
                            self.look(place).await?;
                        }
                    }
                }
                Lookup::Unknown => return Err(wanted.refusal()),
            }
        }
    }

    fn look_up(&self, wanted: Wanted<'_>) -> Lookup {
        match wanted {
            Wanted::File(path) => self.catalog.find(path),
            Wanted::Latest(scope) => self.catalog.latest(scope),
        }
    }

    /// Brings in what has happened on the disks, unless one of them hangs.
    async fn look(&self, at: FilePath) -> Result<(), Refusal> {
        patiently(self.ingest.look(at)).await
    }

    async fn is_current(&self, torrent: &Arc<Torrent>) -> Result<bool, Refusal> {
        let (roots, torrent) = (Arc::clone(&self.roots), Arc::clone(torrent));
        let look = async {
            let device = torrent.file().binding.device();
            let Some(turn) = self.disks.turn(torrent.disk(), device).await else { return false };
            let file_is_as_bound = move || {
                let _turn = turn;
                let file = torrent.file();
                roots.get(file.at.root).is_as_bound(file)
            };
            tokio::task::spawn_blocking(file_is_as_bound).await.unwrap_or(false)
        };
        patiently(look).await
    }
}

/// Waits for what a disk has to answer, but not for one that hangs.
pub(super) async fn patiently<T>(answer: impl Future<Output = T>) -> Result<T, Refusal> {
    tokio::time::timeout(DISK_PATIENCE, answer).await.map_err(|_| Refusal::DiskHangs)
}
