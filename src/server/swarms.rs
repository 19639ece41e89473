//! What swarms need beside announces: that silent peers go, and that who is there outlives the process. All of it on
//! threads that may wait; whoever announces waits for none of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::catalog::Catalog;
use crate::racks::Racks;
use crate::state::State;
use crate::tracker::{Downloader, Tracker};

/// How often silent peers are dropped. They are told to nobody before that either, but have to be passed over.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);
/// How often who is there is written down, as far as it has changed: that much is lost when the program is killed.
const SAVE_PERIOD: Duration = Duration::from_secs(20);
/// How long a start waits for what is remembered of swarms; what comes later is taken as it comes. A million peers take
/// about a second.
const RESTORE_PATIENCE: Duration = Duration::from_secs(3);

/// The swarms, and where they are remembered, if anywhere.
#[derive(Clone, Debug)]
pub(super) struct Swarms {
    tracker: Arc<Tracker>,
    racks: Arc<Racks>,
    catalog: Arc<Catalog>,
    state: Option<Arc<State>>,
    /// To whom it is said who was downloading before a restart.
    downloaders: mpsc::Sender<Downloader>,
    /// So that it is said once.
    is_failing: Arc<AtomicBool>,
}

impl Swarms {
    pub(super) fn new(
        tracker: Arc<Tracker>,
        racks: Arc<Racks>,
        catalog: Arc<Catalog>,
        state: Option<Arc<State>>,
        downloaders: mpsc::Sender<Downloader>,
    ) -> Self {
        Self { tracker, racks, catalog, state, downloaders, is_failing: Arc::default() }
    }

    /// Takes back what is remembered, before the first announce where the disk isn't slow. Who was downloading is dialled:
    /// of those who lost their connection some don't announce themselves for ten minutes.
    pub(super) async fn restore(&self) {
        let Some(state) = self.state.clone() else { return };
        let (tracker, racks) = (Arc::clone(&self.tracker), Arc::clone(&self.racks));
        let downloaders = self.downloaders.clone();
        let (now, wall) = (Instant::now(), SystemTime::now());
        let restoring = spawn_blocking(move || {
            let (mut pages, mut peers) = (0_usize, 0_usize);
            let restored = state.swarms(|page| {
                (pages, peers) = (pages + 1, peers + page.peers.len());
                let (info_hash, mut back) = (page.info_hash, Vec::with_capacity(page.peers.len()));
                tracker.restore(&page, now, wall, |peer| back.push(*peer));
                for peer in back {
                    racks.found(info_hash, peer.addr, peer.id, peer.is_seed, now);
                    if !peer.is_seed {
                        // Where there are more than are heard of at once, the rest have others to learn from.
                        let _ = downloaders.try_send(Downloader { info_hash, addr: peer.addr });
                    }
                }
            });
            match restored {
                Ok(0) => debug!(pages, peers, "swarms are as they were"),
                Ok(damaged) => warn!(
                    damaged,
                    "some of what was remembered of swarms is damaged or of another version and is dropped; \
                     its peers are known again when they announce themselves"
                ),
                Err(error) => {
                    warn!("{error}; the peers of swarms are known again when they announce themselves")
                }
            }
        });
        if tokio::time::timeout(RESTORE_PATIENCE, restoring).await.is_err() {
            info!("what is remembered of swarms comes slowly; announces are answered meanwhile");
        }
    }

    /// Drops silent peers until shutdown.
    pub(super) async fn sweep(self, stop: CancellationToken) {
        let mut period = tokio::time::interval(SWEEP_PERIOD);
        while stop.run_until_cancelled(period.tick()).await.is_some() {
            let (tracker, catalog) = (Arc::clone(&self.tracker), Arc::clone(&self.catalog));
            let swept = spawn_blocking(move || {
                tracker.sweep(Instant::now(), |info_hash| catalog.is_served(info_hash));
            });
            // It fails by a panic only, which is logged.
            let _ = swept.await;
        }
    }

    /// Writes down who is there, again and again until shutdown. Where there is no state it only waits for that.
    pub(super) async fn keep(self, stop: CancellationToken) {
        if self.state.is_none() {
            return stop.cancelled().await;
        }
        while stop.run_until_cancelled(tokio::time::sleep(SAVE_PERIOD)).await.is_some() {
            let swarms = self.clone();
            // A disk that hangs holds up nothing but the next time.
            if stop.run_until_cancelled(spawn_blocking(move || swarms.save())).await.is_none() {
                return;
            }
        }
    }

    /// Writes down who is there, as far as it has changed. Waits for the disk.
    pub(super) fn save(&self) {
        let Some(state) = &self.state else { return };
        let mut written = 0;
        let saved = self.tracker.save(Instant::now(), SystemTime::now(), |pages| {
            written += pages.len();
            state.keep_swarms(pages)
        });
        match saved {
            Ok(()) if self.is_failing.swap(false, Ordering::Relaxed) => info!("swarms are remembered again"),
            Ok(()) if written > 0 => debug!(pages = written, "swarms are remembered"),
            Ok(()) => {}
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    warn!(
                        "can't remember swarms: {error}; announces are answered all the same, and after a restart \
                         peers are known again when they announce themselves, unless this mends itself"
                    );
                }
            }
        }
    }
}
