//! From the watcher's events to the catalog: has what settled recalled or else hashed, offers it, and withdraws what
//! changed or went. Sees that the catalog is up to date when somebody asks, and looks into it when somebody doubts it.

mod opening;
mod recalls;

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::opening::{Arrival, Opening, Outcome};
use self::recalls::Recalls;
use crate::catalog::{Catalog, Torrent};
use crate::config::TorrentsConfig;
use crate::files::{FilePath, RootId, Sameness, SettledFile};
use crate::hasher::{HashError, Hashed, Hasher, Ticket};
use crate::state::{Recalled, State};
use crate::store::Store;
use crate::tracker::{Departure, Tracker};
use crate::watcher::{DiskHangs, WatchEvent, WatcherHandle};

/// Requests to be told when the catalog is up to date that wait; who asks beyond that waits to be let in.
const MAX_ASKED: usize = 256;
/// Doubts that wait; further ones are dropped.
const MAX_DOUBTS: usize = 64;
/// How often what is remembered is cleaned of files that are gone for long. It is counted in days.
const CLEANING: Duration = Duration::from_secs(24 * 3600);

/// Has the catalog brought up to date.
#[derive(Clone, Debug)]
pub(crate) struct IngestHandle {
    watcher: WatcherHandle,
    asked: mpsc::Sender<oneshot::Sender<()>>,
    doubts: mpsc::Sender<(Arc<Torrent>, Doubt)>,
}

/// What is wrong with a torrent's file, as far as a download has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It isn't known whether it holds what it held.
    Touched,
    /// It doesn't, or it can't be read.
    Unreadable,
}

impl IngestHandle {
    /// Looks at a path on the disk now, whatever events are still on their way. Ends when the catalog says what is
    /// there, or when it can't be looked at.
    pub(crate) async fn look(&self, at: FilePath) -> Result<(), DiskHangs> {
        self.watcher.check(at).await?;
        let (done, finished) = oneshot::channel();
        if self.asked.send(done).await.is_ok() {
            // An error says that nothing is taken in any more: we are shutting down.
            let _ = finished.await;
        }
        Ok(())
    }

    /// See [`WatcherHandle::hangs`].
    pub(crate) async fn hangs(&self, root: RootId) {
        self.watcher.hangs(root).await;
    }

    /// Watched directories to [look](Self::look) into, so that all that has happened in any of them is brought in.
    pub(crate) fn roots_to_look_into(&self) -> impl Iterator<Item = RootId> {
        self.watcher.one_of_each_thread()
    }

    /// A torrent is to be withdrawn and its file hashed anew, if the doubt is justified.
    pub(crate) fn doubt(&self, torrent: &Arc<Torrent>, doubt: Doubt) {
        // When there are too many at once, those that matter come again.
        let _ = self.doubts.try_send((Arc::clone(torrent), doubt));
    }
}

/// A file on its way to be offered.
#[derive(Debug)]
struct Work {
    stage: Stage,
    arrival: Arrival,
}

#[derive(Debug)]
enum Stage {
    /// It is looked up among those that are remembered.
    Recall(SettledFile),
    /// To drop the ticket is to call it off.
    Hash(Ticket),
}

impl Work {
    /// Whether it is of this very state of a file; if not, that was called off.
    fn is_of(&self, file: &SettledFile) -> bool {
        match &self.stage {
            Stage::Recall(recalled) => recalled == file,
            Stage::Hash(ticket) => ticket.file() == file,
        }
    }
}

/// The room between the watcher and the catalog.
pub(crate) struct Ingest {
    torrents: TorrentsConfig,
    catalog: Arc<Catalog>,
    store: Arc<Store>,
    tracker: Arc<Tracker>,
    watcher: WatcherHandle,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    doubts: mpsc::Receiver<(Arc<Torrent>, Doubt)>,
    hasher: Hasher,
    hashed: mpsc::Receiver<Hashed>,
    state: Option<Arc<State>>,
    /// Files on their way to be offered; at most one for each file in the catalog.
    work: HashMap<FilePath, Work>,
    /// Those of them that are looked up among those remembered, if any are.
    recalls: Option<Recalls>,
    opening: Opening,
    /// Files that could not be read when last tried, so that it is said once.
    failing: HashSet<FilePath>,
    /// Files that a download could not read: until they are hashed, what is remembered of them is no reason to offer
    /// them again.
    distrusted: HashSet<FilePath>,
    /// Looks at files that are doubted.
    looking: JoinSet<Result<(), DiskHangs>>,
    /// Withdrawn torrents whose inode is served on for a while.
    leaving: JoinSet<()>,
}

impl Ingest {
    pub(crate) fn new(
        (hasher, hashed): (Hasher, mpsc::Receiver<Hashed>),
        torrents: TorrentsConfig,
        catalog: Arc<Catalog>,
        store: Arc<Store>,
        tracker: Arc<Tracker>,
        state: Option<Arc<State>>,
        watcher: WatcherHandle,
    ) -> (Self, IngestHandle) {
        let (asked_sender, asked) = mpsc::channel(MAX_ASKED);
        let (doubts_sender, doubts) = mpsc::channel(MAX_DOUBTS);
        let handle = IngestHandle { watcher: watcher.clone(), asked: asked_sender, doubts: doubts_sender };
        let recalls = state.clone().map(|state| {
            let private = torrents.private;
            Recalls::new(move |files| state.recall(files, private))
        });
        let ingest = Self {
            torrents,
            catalog,
            store,
            tracker,
            watcher,
            asked,
            doubts,
            hasher,
            hashed,
            state,
            work: HashMap::new(),
            recalls,
            opening: Opening::default(),
            failing: HashSet::new(),
            distrusted: HashSet::new(),
            looking: JoinSet::new(),
            leaving: JoinSet::new(),
        };
        (ingest, handle)
    }

    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<WatchEvent>, stop: CancellationToken) {
        let mut cleaning = interval_at(Instant::now() + CLEANING, CLEANING);
        loop {
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
                Some((torrent, doubt)) = self.doubts.recv() => self.on_doubt(&torrent, doubt),
                recalled = next_recalled(&mut self.recalls) => self.on_recalled(recalled),
                Some(hashed) = self.hashed.recv() => self.on_hashed(hashed),
                Some(_) = self.looking.join_next() => {}
                Some(_) = self.leaving.join_next() => {}
                _ = cleaning.tick() => self.clean(),
            }
        }
    }

    fn on_event(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Found(at, mtime) => {
                let scanning = self.is_scanning(&at);
                self.opening.unsettled(&at, scanning);
                self.call_off(&at);
                self.withdraw(&at, Because::Changed, |catalog| catalog.set_found(&at, mtime));
            }
            WatchEvent::Pending(at) => {
                let scanning = self.is_scanning(&at);
                self.opening.unsettled(&at, scanning);
                self.call_off(&at);
                self.withdraw(&at, Because::Changed, |catalog| catalog.set_unsettled(&at));
            }
            WatchEvent::Still(file) => {
                let scanning = self.is_scanning(&file.at);
                self.opening.unsettled(&file.at, scanning);
                self.call_off(&file.at);
                self.withdraw(&file.at, Because::Changed, |catalog| catalog.set_hashing(&file));
            }
            WatchEvent::Settled(file) => {
                self.withdraw(&file.at, Because::Changed, |catalog| catalog.set_hashing(&file));
                // In this order: what is called off was not the last.
                let scanning = self.is_scanning(&file.at);
                let arrival = self.opening.settled(&file.at, scanning);
                self.call_off(&file.at);
                match &mut self.recalls {
                    Some(recalls) if !self.distrusted.contains(&file.at) => {
                        recalls.push(file.clone());
                        let stage = Stage::Recall(file.clone());
                        self.work.insert(file.at, Work { stage, arrival });
                    }
                    _ => self.hash(file, arrival),
                }
            }
            WatchEvent::Gone(at) => {
                self.call_off(&at);
                self.failing.remove(&at);
                self.distrusted.remove(&at);
                self.withdraw(&at, Because::Gone, |catalog| catalog.remove(&at));
                if self.opening.gone(&at) {
                    self.opened();
                }
            }
            WatchEvent::Scanned(roots) => {
                roots.into_iter().for_each(|root| self.catalog.set_scanned(root));
                if self.catalog.are_all_scanned() && self.opening.scanned() {
                    self.opened();
                }
            }
        }
    }

    fn hash(&mut self, file: SettledFile, arrival: Arrival) {
        let at = file.at.clone();
        let stage = Stage::Hash(self.hasher.submit(file, self.torrents.private));
        self.work.insert(at, Work { stage, arrival });
    }

    /// What is under way for a path is of no use any more.
    fn call_off(&mut self, at: &FilePath) {
        if let Some(work) = self.work.remove(at) {
            self.ended(&work, Outcome::LeftOut);
        }
    }

    fn ended(&mut self, work: &Work, outcome: Outcome) {
        if work.arrival != Arrival::New && self.opening.end(outcome) {
            self.opened();
        }
    }

    /// Whether the watched directory that a file is in is being read for the first time.
    fn is_scanning(&self, at: &FilePath) -> bool {
        !self.catalog.scanned(at.root).is_cancelled()
    }

    /// The start is over: what it took and what is gone is given up.
    fn opened(&mut self) {
        self.work.shrink_to_fit();
        self.clean();
    }

    /// Has what is remembered cleaned, except of what is offered. Before all directories are read that is not all that
    /// is there.
    fn clean(&self) {
        let Some(state) = self.state.clone().filter(|_| self.catalog.are_all_scanned()) else { return };
        let catalog = Arc::clone(&self.catalog);
        // There may be millions to be gone through.
        spawn_blocking(move || state.clean(catalog.offered_inodes(), SystemTime::now()));
    }

    fn on_recalled(&mut self, recalled: Vec<(SettledFile, Option<Recalled>)>) {
        for (file, known) in recalled {
            let Some(work) = self.work.remove(&file.at) else { continue };
            if !work.is_of(&file) {
                // Something newer has come in between.
                self.work.insert(file.at, work);
                continue;
            }
            let private = self.torrents.private;
            match known.map(|known| Torrent::recalled(file.clone(), private, known)) {
                Some(Ok(torrent)) => {
                    self.offer(torrent, work.arrival, "serving, as remembered");
                    self.ended(&work, Outcome::Remembered);
                }
                // What is wrong with it is for the hasher to say.
                Some(Err(_)) | None => self.hash(file, work.arrival),
            }
        }
    }

    fn offer(&mut self, torrent: Torrent, arrival: Arrival, how: &str) {
        let (at, size, info_hash) = (&torrent.file().at, torrent.file().binding.size(), torrent.info_hash());
        let name = self.catalog.exact_name(at);
        if arrival == Arrival::Found {
            // There may be a hundred thousand, which are summed up together.
            debug!(file = ?name, %info_hash, size, "{how}");
        } else {
            info!(file = ?name, %info_hash, size, "{how}");
        }
        self.failing.remove(at);
        self.distrusted.remove(at);
        let at = at.clone();
        self.withdraw(&at, Because::Changed, |catalog| catalog.insert(Arc::new(torrent)));
    }

    fn on_hashed(&mut self, Hashed { file, result }: Hashed) {
        // Work that was called off has been replaced, or its file is gone; its result may have been on its way.
        let Some(work) = self.work.remove(&file.at) else { return };
        if !work.is_of(&file) {
            self.work.insert(file.at, work);
            return;
        }
        let name = self.catalog.exact_name(&file.at);
        let outcome = if result.is_ok() { Outcome::Hashed } else { Outcome::LeftOut };
        match result {
            Ok(info) => {
                let torrent = Torrent::hashed(file, &info);
                if let (Some(state), Some(pieces)) = (&self.state, torrent.pieces()) {
                    let (info_hash, metadata_len) = (torrent.info_hash(), torrent.metadata_len());
                    if !state.remember(torrent.file(), &info, info_hash, metadata_len, pieces) {
                        debug!(file = ?name, "not remembered: too many others wait to be");
                    }
                }
                self.offer(torrent, work.arrival, "serving");
            }
            Err(HashError::Changed) => self.watcher.unsettled(file.at),
            Err(HashError::Io(error)) if error.kind() != io::ErrorKind::PermissionDenied => {
                // No event tells when a mount or a disk is well again, or descriptors are free.
                if self.failing.insert(file.at.clone()) {
                    warn!(file = ?name, %error, "this file can't be hashed and is left out; it is tried again");
                }
                // Its date is forgotten, so that until it can be read the newest file is another one. What is being
                // hashed has no torrent that these would withdraw.
                self.catalog.remove(&file.at);
                self.catalog.set_unsettled(&file.at);
                self.watcher.unsettled(file.at);
            }
            Err(error) => {
                warn!(file = ?name, %error, "this file is left out");
                self.withdraw(&file.at, Because::Gone, |catalog| catalog.remove(&file.at));
            }
        }
        self.ended(&work, outcome);
    }

    fn on_doubt(&mut self, doubted: &Arc<Torrent>, doubt: Doubt) {
        let file = doubted.file();
        if self.catalog.at(&file.at).is_some_and(|torrent| Arc::ptr_eq(&torrent, doubted)) {
            match doubt {
                Doubt::Unreadable => {
                    self.distrusted.insert(file.at.clone());
                    self.watcher.unsettled(file.at.clone());
                }
                // Those who look may be waiting for a disk that hangs.
                Doubt::Touched if self.looking.len() >= MAX_DOUBTS => {}
                Doubt::Touched => {
                    let (watcher, at) = (self.watcher.clone(), file.at.clone());
                    // Where it can't be looked at, those who still doubt it say so again.
                    self.looking.spawn(async move { watcher.check(at).await });
                }
            }
        }
    }

    /// Ends the uploads of a torrent that is no longer offered: at once if its file was changed in place. One that was
    /// replaced or deleted is still whole, and is served for a while to those who have begun.
    /// Which torrent that is, `change` says, by which it leaves its place in the catalog.
    fn withdraw(
        &mut self,
        at: &FilePath,
        because: Because,
        change: impl FnOnce(&Catalog) -> Option<Arc<Torrent>>,
    ) {
        let open = self.catalog.at(at).and_then(|torrent| {
            let departure = match because {
                Because::Changed => Departure::Changed(self.catalog.exact_name(at)),
                Because::Gone => Departure::Gone,
            };
            // Both before it is so: whoever announces right after it is told why, and nobody is refused who is served on.
            self.tracker.depart(torrent.info_hash(), departure);
            let open = self.store.find_open(&torrent.file().binding)?;
            self.catalog.serve_on(&torrent);
            Some(open)
        });
        let Some(torrent) = change(&self.catalog) else { return };
        info!(file = ?self.catalog.exact_name(at), info_hash = %torrent.info_hash(), "no longer served");
        let Some(open) = open else {
            torrent.revoked().cancel();
            return;
        };
        let (catalog, grace) = (Arc::clone(&self.catalog), self.torrents.grace);
        self.leaving.spawn(async move {
            let verified = Arc::clone(&open);
            let sameness = spawn_blocking(move || verified.verify()).await;
            let whole = match (sameness, because) {
                (Ok(Ok(Sameness::Same | Sameness::Unlinked)), _) => true,
                // It was renamed, or lost one of its names. What it holds is seen before more of it is sent.
                (Ok(Ok(Sameness::Touched)), Because::Gone) => true,
                _ => false,
            };
            if whole {
                tokio::time::sleep(grace).await;
            }
            // Held until now: whoever lost his connection finds no other way to the inode.
            drop(open);
            catalog.release(&torrent);
            torrent.revoked().cancel();
        });
    }
}

/// Never, if nothing is remembered.
async fn next_recalled(recalls: &mut Option<Recalls>) -> Vec<(SettledFile, Option<Recalled>)> {
    match recalls {
        Some(recalls) => recalls.next().await,
        None => pending().await,
    }
}

/// Why a torrent is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    /// There is something else by its name, or its own inode was changed.
    Changed,
    /// There is nothing by its name any more.
    Gone,
}
