//! From the watcher's events to the catalog: hashes what has settled, offers it, and withdraws what changed or went.
//! Sees that the catalog is up to date when somebody asks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::catalog::{Catalog, Torrent};
use crate::config::TorrentsConfig;
use crate::files::{FilePath, Roots, SettledFile, Timestamp};
use crate::hasher::{self, HashError};
use crate::store::Store;
use crate::tracker::Tracker;
use crate::watcher::{WatchEvent, WatcherHandle};

/// How long those who have a torrent are still served from an inode that was replaced or deleted.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// Requests to be told when the catalog is up to date that wait; who asks beyond that waits to be let in.
const MAX_ASKED: usize = 256;

/// Asks for the catalog to be brought up to date.
#[derive(Clone, Debug)]
pub(crate) struct IngestHandle {
    watcher: WatcherHandle,
    asked: mpsc::Sender<oneshot::Sender<()>>,
}

impl IngestHandle {
    /// Looks at a path on the disk now, whatever events are still on their way. Ends when the catalog says what is there.
    pub(crate) async fn look(&self, at: FilePath) {
        self.watcher.check(at).await;
        let (done, finished) = oneshot::channel();
        if self.asked.send(done).await.is_ok() {
            // An error says that nothing is taken in any more: we are shutting down.
            let _ = finished.await;
        }
    }
}

/// The room between the watcher and the catalog.
pub(crate) struct Ingest {
    roots: Arc<Roots>,
    torrents: TorrentsConfig,
    catalog: Arc<Catalog>,
    tracker: Arc<Tracker>,
    store: Arc<Store>,
    watcher: WatcherHandle,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    /// What there is to hash; at most one for each file in the catalog.
    work: HashMap<FilePath, Work>,
    /// The waiting ones by age. The newest is hashed first: it is the likeliest to be asked for.
    waiting: BTreeSet<(Timestamp, FilePath)>,
    jobs: JoinSet<(SettledFile, Result<Torrent, HashError>)>,
    max_jobs: usize,
    /// Withdrawn torrents whose inode is served on for a while.
    leaving: JoinSet<()>,
}

enum Work {
    Waiting(SettledFile),
    Running { file: SettledFile, cancel: CancellationToken },
}

impl Ingest {
    pub(crate) fn new(
        roots: Arc<Roots>,
        torrents: TorrentsConfig,
        catalog: Arc<Catalog>,
        tracker: Arc<Tracker>,
        store: Arc<Store>,
        watcher: WatcherHandle,
    ) -> (Self, IngestHandle) {
        let (sender, asked) = mpsc::channel(MAX_ASKED);
        let handle = IngestHandle { watcher: watcher.clone(), asked: sender };
        let ingest = Self {
            roots,
            torrents,
            catalog,
            tracker,
            store,
            watcher,
            asked,
            work: HashMap::new(),
            waiting: BTreeSet::new(),
            jobs: JoinSet::new(),
            max_jobs: std::thread::available_parallelism().map_or(1, usize::from),
            leaving: JoinSet::new(),
        };
        (ingest, handle)
    }

    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<WatchEvent>, stop: CancellationToken) {
        loop {
            self.start_jobs();
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.recv() => match event {
                    Some(event) => self.on_event(event),
                    None => break,
                },
                Some(done) = self.asked.recv() => {
                    // What the asker waits for was sent before it asked.
                    for _ in 0..events.len() {
                        if let Ok(event) = events.try_recv() {
                            self.on_event(event);
                        }
                    }
                    let _ = done.send(());
                }
                Some(done) = self.jobs.join_next() => match done {
                    Ok((file, result)) => self.on_hashed(file, result),
                    Err(error) => warn!(%error, "a hashing job failed"),
                },
                Some(_) = self.leaving.join_next() => {}
            }
        }
        for work in self.work.into_values() {
            if let Work::Running { cancel, .. } = work {
                cancel.cancel();
            }
        }
    }

    fn on_event(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Pending(at) => {
                self.call_off(&at);
                let withdrawn = self.catalog.set_unsettled(&at);
                self.withdraw(withdrawn);
            }
            WatchEvent::Settled(file) => {
                self.call_off(&file.at);
                let withdrawn = self.catalog.set_hashing(&file);
                self.withdraw(withdrawn);
                self.waiting.insert((file.binding.mtime(), file.at.clone()));
                self.work.insert(file.at.clone(), Work::Waiting(file));
            }
            WatchEvent::Gone(at) => {
                self.call_off(&at);
                let withdrawn = self.catalog.remove(&at);
                self.withdraw(withdrawn);
            }
            WatchEvent::Scanned => self.catalog.set_scanned(),
        }
    }

    fn call_off(&mut self, at: &FilePath) {
        match self.work.remove(at) {
            None => {}
            Some(Work::Running { cancel, .. }) => cancel.cancel(),
            Some(Work::Waiting(file)) => {
                self.waiting.remove(&(file.binding.mtime(), file.at));
            }
        }
    }

    fn start_jobs(&mut self) {
        while self.jobs.len() < self.max_jobs {
            let Some((_, at)) = self.waiting.pop_last() else { return };
            let Some(Work::Waiting(file)) = self.work.remove(&at) else { continue };
            let cancel = CancellationToken::new();
            self.work.insert(at, Work::Running { file: file.clone(), cancel: cancel.clone() });
            let roots = Arc::clone(&self.roots);
            let private = self.torrents.private;
            self.jobs.spawn_blocking(move || {
                let started = Instant::now();
                let result = hasher::hash(&roots, &file, private, &cancel)
                    .map(|info| Torrent::new(file.clone(), &info));
                debug!(file = ?file.at, size = file.binding.size(), took = ?started.elapsed(), "hashed");
                (file, result)
            });
        }
    }

    fn on_hashed(&mut self, file: SettledFile, result: Result<Torrent, HashError>) {
        // A job that was called off has been replaced, or its file is gone.
        match self.work.get(&file.at) {
            Some(Work::Running { file: current, .. }) if *current == file => self.work.remove(&file.at),
            _ => return,
        };
        match result {
            Ok(torrent) => {
                let name = self.catalog.exact_name(&file.at);
                info!(file = %name.display(), info_hash = %torrent.info_hash(), size = file.binding.size(), "serving");
                let replaced = self.catalog.insert(Arc::new(torrent));
                self.withdraw(replaced);
            }
            Err(HashError::Changed) => self.watcher.unsettled(file.at),
            Err(HashError::Cancelled) => {}
            Err(error) => {
                let name = self.catalog.exact_name(&file.at);
                warn!(file = %name.display(), %error, "this file is left out");
                let withdrawn = self.catalog.remove(&file.at);
                self.withdraw(withdrawn);
            }
        }
    }

    /// Ends what rests on a torrent that is no longer offered: the swarm at once, uploads at once if the file was
    /// changed in place. A file that was replaced or deleted is still whole, and served to those who have begun.
    fn withdraw(&mut self, withdrawn: Option<Arc<Torrent>>) {
        let Some(torrent) = withdrawn else { return };
        if self.catalog.is_offered(&torrent.info_hash()) {
            // The same contents under another path, or hashed again: whoever has them goes on.
            return;
        }
        self.tracker.forget(&torrent.info_hash());
        let name = self.catalog.exact_name(&torrent.file().at);
        info!(file = %name.display(), info_hash = %torrent.info_hash(), "no longer served");
        let Some(open) = self.store.find_open(&torrent.file().binding) else {
            torrent.revoked().cancel();
            return;
        };
        self.leaving.spawn(async move {
            let whole = tokio::task::spawn_blocking(move || open.verify().is_ok()).await.unwrap_or(false);
            if whole {
                tokio::time::sleep(GRACE).await;
            }
            torrent.revoked().cancel();
        });
    }
}
