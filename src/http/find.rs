//! Which file a request means: found in the catalog, looked for on the disks, and waited for if it isn't ready.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Http;
use super::refusal::Refusal;
use crate::catalog::{Lookup, RequestedPath, Torrent};
use crate::files::FilePath;
use crate::ingest::IngestHandle;

/// How long a disk may take to say what a file is. Requests that wait for one that hangs would pile up until nobody else
/// is let in.
const DISK_PATIENCE: Duration = Duration::from_secs(10);

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    File(&'a RequestedPath),
    Latest(Option<&'a RequestedPath>),
}

/// How far it could be found out what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Whole,
    /// A disk that may have it hangs.
    Part,
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
        if over.is_cancelled() { Ok(()) } else { self.done(over.cancelled()).await }
    }

    /// As [`Self::until`], for whatever takes as long.
    async fn done<T>(&mut self, what: impl Future<Output = T>) -> Result<T, Refusal> {
        if self.permit.is_none() {
            self.permit = Some(self.http.waits.try_acquire().map_err(|_| Refusal::NotReady)?);
            debug!("a request waits for a file");
        }
        tokio::select! {
            done = what => Ok(done),
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
        let mut reach = None;
        let mut doubted: Option<Arc<Torrent>> = None;
        if let Wanted::Latest(_) = wanted {
            // What is not known yet may be newer than all that is.
            reach = Some(self.look_for(wanted, &mut wait).await?);
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
                    patiently(self.ingest.look(torrent.file().at.clone())).await??;
                    doubted = Some(torrent);
                }
                Lookup::Pending(over) => wait.until(&over).await?,
                Lookup::Unknown => match reach {
                    None => reach = Some(self.look_for(wanted, &mut wait).await?),
                    // A server that ends looks at nothing any more.
                    Some(Reach::Whole) if self.shutdown.is_cancelled() => return Err(Refusal::NotReady),
                    Some(Reach::Whole) => return Err(wanted.refusal()),
                    Some(Reach::Part) => return Err(Refusal::DiskHangs),
                },
            }
        }
    }

    fn look_up(&self, wanted: Wanted<'_>) -> Lookup {
        match wanted {
            Wanted::File(path) => self.catalog.find(path),
            Wanted::Latest(scope) => self.catalog.latest(scope),
        }
    }

    /// Brings in what has happened on the disks, as far as it matters here: of a file, at the places where it may be;
    /// of the newest one, everywhere. All disks are looked at together, lest one that hangs hold up what another has.
    async fn look_for(&self, wanted: Wanted<'_>, wait: &mut Wait<'_>) -> Result<Reach, Refusal> {
        let (first, others) = match wanted {
            Wanted::File(path) => self.catalog.ranked_places(path),
            Wanted::Latest(_) => {
                let roots = self.ingest.roots_to_look_into();
                (None, roots.map(|root| FilePath::new(root, "")).collect())
            }
        };
        // Where a directory was named, it is by mere chance that another one has the path as well: that is worth no wait
        // until that one was read, and no refusal while it hangs.
        let counts = |place: &FilePath| first.as_ref().is_none_or(|first| first.root == place.root);
        let mut reach = Reach::Whole;
        let mut unread = false;
        let mut looks = JoinSet::new();
        for place in first.iter().chain(&others) {
            let (counts, scanned) = (counts(place), self.catalog.scanned(place.root).clone());
            if !scanned.is_cancelled() {
                if !counts {
                    continue;
                }
                unread = true;
            }
            let (ingest, place) = (self.ingest.clone(), place.clone());
            looks.spawn(async move {
                let looked = look_once_scanned(&ingest, place, &scanned).await;
                looked.is_ok() || !counts
            });
        }
        // Reading a whole directory for the first time may take as long as any file.
        while let Some(reached) =
            if unread { wait.done(looks.join_next()).await? } else { looks.join_next().await }
        {
            // An error says that we are shutting down.
            if !reached.unwrap_or(false) {
                reach = Reach::Part;
            }
            if let Wanted::File(_) = wanted
                && !matches!(self.look_up(wanted), Lookup::Unknown)
            {
                break;
            }
        }
        Ok(reach)
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

/// Looks at a place, unless its disk hangs. What lies in a directory is known only once all of it was read.
async fn look_once_scanned(
    ingest: &IngestHandle,
    place: FilePath,
    scanned: &CancellationToken,
) -> Result<(), Refusal> {
    tokio::select! {
        biased;
        () = scanned.cancelled() => {}
        () = ingest.hangs(place.root) => return Err(Refusal::DiskHangs),
    }
    patiently(ingest.look(place)).await?.map_err(Refusal::from)
}

/// Waits for what a disk has to answer, but not for one that hangs.
pub(super) async fn patiently<T>(answer: impl Future<Output = T>) -> Result<T, Refusal> {
    tokio::time::timeout(DISK_PATIENCE, answer).await.map_err(|_| Refusal::DiskHangs)
}
