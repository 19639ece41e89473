//! From the watcher's events to the catalog: hashes what has settled, offers it, and withdraws what changed or went.
//! Sees that the catalog is up to date when somebody asks, and looks into it when somebody doubts it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::catalog::{Catalog, Torrent};
use crate::config::TorrentsConfig;
use crate::files::{FilePath, Sameness};
use crate::hasher::{HashError, Hashed, Hasher, Ticket};
use crate::store::Store;
use crate::tracker::{Departure, Tracker};
use crate::watcher::{WatchEvent, WatcherHandle};

/// Requests to be told when the catalog is up to date that wait; who asks beyond that waits to be let in.
const MAX_ASKED: usize = 256;
/// Doubts that wait; further ones are dropped.
const MAX_DOUBTS: usize = 64;

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
    /// there.
    pub(crate) async fn look(&self, at: FilePath) {
        self.watcher.check(at).await;
        let (done, finished) = oneshot::channel();
        if self.asked.send(done).await.is_ok() {
            // An error says that nothing is taken in any more: we are shutting down.
            let _ = finished.await;
        }
    }

    /// A torrent is to be withdrawn and its file hashed anew, if the doubt is justified.
    pub(crate) fn doubt(&self, torrent: &Arc<Torrent>, doubt: Doubt) {
        // When there are too many at once, those that matter come again.
        let _ = self.doubts.try_send((Arc::clone(torrent), doubt));
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
    /// What there is to hash; at most one for each file in the catalog. To drop a ticket is to call it off.
    work: HashMap<FilePath, Ticket>,
    /// Files that could not be read when last tried, so that it is said once.
    failing: HashSet<FilePath>,
    /// Looks at files that are doubted.
    looking: JoinSet<()>,
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
        watcher: WatcherHandle,
    ) -> (Self, IngestHandle) {
        let (asked_sender, asked) = mpsc::channel(MAX_ASKED);
        let (doubts_sender, doubts) = mpsc::channel(MAX_DOUBTS);
        let handle = IngestHandle { watcher: watcher.clone(), asked: asked_sender, doubts: doubts_sender };
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
            work: HashMap::new(),
            failing: HashSet::new(),
            looking: JoinSet::new(),
            leaving: JoinSet::new(),
        };
        (ingest, handle)
    }

    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<WatchEvent>, stop: CancellationToken) {
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
                Some(hashed) = self.hashed.recv() => self.on_hashed(hashed),
                Some(_) = self.looking.join_next() => {}
                Some(_) = self.leaving.join_next() => {}
            }
        }
    }

    fn on_event(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Pending(at) => {
                self.work.remove(&at);
                let withdrawn = self.catalog.set_unsettled(&at);
                self.withdraw(withdrawn, Because::Changed);
            }
            WatchEvent::Settled(file) => {
                let withdrawn = self.catalog.set_hashing(&file);
                self.withdraw(withdrawn, Because::Changed);
                let at = file.at.clone();
                self.work.insert(at, self.hasher.submit(file, self.torrents.private));
            }
            WatchEvent::Gone(at) => {
                self.work.remove(&at);
                self.failing.remove(&at);
                let withdrawn = self.catalog.remove(&at);
                self.withdraw(withdrawn, Because::Gone);
            }
            WatchEvent::Scanned => self.catalog.set_scanned(),
        }
    }

    fn on_hashed(&mut self, Hashed { file, result }: Hashed) {
        // Work that was called off has been replaced, or its file is gone; its result may have been on its way.
        match self.work.get(&file.at) {
            Some(ticket) if *ticket.file() == file => self.work.remove(&file.at),
            _ => return,
        };
        let name = self.catalog.exact_name(&file.at);
        match result {
            Ok(info) => {
                let torrent = Torrent::new(file.clone(), &info);
                info!(file = ?name, info_hash = %torrent.info_hash(), size = file.binding.size(), "serving");
                self.failing.remove(&file.at);
                let replaced = self.catalog.insert(Arc::new(torrent));
                self.withdraw(replaced, Because::Changed);
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
                let withdrawn = self.catalog.remove(&file.at);
                self.withdraw(withdrawn, Because::Gone);
            }
        }
    }

    fn on_doubt(&mut self, doubted: &Arc<Torrent>, doubt: Doubt) {
        let file = doubted.file();
        if self.catalog.at(&file.at).is_some_and(|torrent| Arc::ptr_eq(&torrent, doubted)) {
            match doubt {
                Doubt::Unreadable => self.watcher.unsettled(file.at.clone()),
                Doubt::Touched => {
                    let (watcher, at) = (self.watcher.clone(), file.at.clone());
                    self.looking.spawn(async move { watcher.check(at).await });
                }
            }
        }
    }

    /// Ends the uploads of a torrent that is no longer offered: at once if its file was changed in place. One that was
    /// replaced or deleted is still whole, and is served for a while to those who have begun.
    fn withdraw(&mut self, withdrawn: Option<Arc<Torrent>>, because: Because) {
        let Some(torrent) = withdrawn else { return };
        let name = self.catalog.exact_name(&torrent.file().at);
        info!(file = ?name, info_hash = %torrent.info_hash(), "no longer served");
        let departure = match because {
            Because::Changed => Departure::Changed(name),
            Because::Gone => Departure::Gone,
        };
        self.tracker.depart(torrent.info_hash(), departure);
        let Some(open) = self.store.find_open(&torrent.file().binding.contents()) else {
            torrent.revoked().cancel();
            return;
        };
        self.catalog.serve_on(&torrent);
        let (catalog, grace) = (Arc::clone(&self.catalog), self.torrents.grace);
        self.leaving.spawn(async move {
            let verified = Arc::clone(&open);
            let sameness = tokio::task::spawn_blocking(move || verified.verify()).await;
            let whole = match (sameness, because) {
                (Ok(Ok(Sameness::Same | Sameness::Unlinked)), _) => true,
                // It was renamed, or lost one of its names.
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

/// Why a torrent is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    /// There is something else by its name, or its own inode was changed.
    Changed,
    /// There is nothing by its name any more.
    Gone,
}
