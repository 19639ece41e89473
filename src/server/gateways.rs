//! That racks are looked at every second: what the origin's connections show is told, gateways are replaced, and
//! whoever becomes one is dialled. What is decided there, `racks` decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributor_proto::InfoHash;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::metrics::Metrics;
use crate::racks::{Manner, Racks, Replacement, Reviewed, Seen, Sight, Survey};
use crate::topology::Topology;
use crate::tracker::{Downloader, Present, Tracker};
use crate::traffic::Traffic;

const PERIOD: Duration = Duration::from_secs(1);
/// In every so many rounds all hosts are asked after, in the others gateways alone.
const ROLL_CALL: u64 = 10;
/// How many gateways' replacements are told one by one in a round, so that no rack that fails fills a disk with it.
const MAX_TOLD: usize = 32;

/// Who sees to gateways.
#[derive(Debug)]
pub(super) struct Gateways {
    pub(super) racks: Arc<Racks>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) metrics: Arc<Metrics>,
    /// To whom it is said who has become one. When there are too many at once, the rest hear of it when they announce.
    pub(super) appointed: mpsc::Sender<Downloader>,
    pub(super) topology: watch::Receiver<Arc<Topology>>,
}

impl Gateways {
    /// Until shutdown.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut period = tokio::time::interval(PERIOD);
        for round in 0.. {
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.topology.changed() => {
                    let topology = Arc::clone(&self.topology.borrow_and_update());
                    let (racks, tracker) = (Arc::clone(&self.racks), Arc::clone(&self.tracker));
                    // Both fail by a panic only, which is logged.
                    let _ = spawn_blocking(move || move_to(&racks, &tracker, &topology)).await;
                }
                _ = period.tick() => {
                    let (racks, tracker) = (Arc::clone(&self.racks), Arc::clone(&self.tracker));
                    let traffic = Arc::clone(&self.traffic);
                    let is_roll_call = round % ROLL_CALL == 0;
                    let reviewed = spawn_blocking(move || review(&racks, &tracker, &traffic, is_roll_call));
                    if let Ok(reviewed) = reviewed.await {
                        self.conclude(reviewed);
                    }
                }
            }
        }
    }

    fn conclude(&self, reviewed: Reviewed) {
        let Reviewed { replaced, appointed, totals, showing } = reviewed;
        for (info_hash, addr) in appointed {
            let _ = self.appointed.try_send(Downloader { info_hash, addr });
        }
        let mut untold = 0_usize;
        let mut told = 0;
        for Replacement { info_hash, place, old, new, why } in replaced {
            let reason = why.word();
            let Some(new) = new else {
                debug!(%info_hash, %place, %old, reason, "a gateway is gone, and nobody is there to follow it");
                continue;
            };
            self.metrics.count_replaced(reason);
            if told < MAX_TOLD {
                told += 1;
                info!(%info_hash, %place, %old, %new, reason, "a gateway is replaced");
            } else {
                untold += 1;
            }
        }
        if untold > 0 {
            info!(untold, "more gateways are replaced");
        }
        let gauges = [
            (&self.metrics.steered_hosts, totals.hosts),
            (&self.metrics.places, totals.places),
            (&self.metrics.gateways, totals.gateways),
        ];
        for (gauge, count) in gauges {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.tell_showing(&showing);
    }

    fn tell_showing(&self, showing: &Survey) {
        for manner in Manner::ALL {
            self.metrics.set_torrents_shown(manner.word(), showing.torrents(manner));
        }
        for (counter, count) in
            [(&self.metrics.pieces_shown, showing.shown), (&self.metrics.pieces_passed_on, showing.passed_on)]
        {
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        for (info_hash, manner) in &showing.news {
            match manner {
                Manner::Open => {}
                Manner::Showing => debug!(%info_hash, "pieces are shown one by one from now on"),
                Manner::Plain => {
                    debug!(%info_hash, "too many are connected to show them pieces one by one: all see everything")
                }
            }
        }
    }
}

fn move_to(racks: &Racks, tracker: &Tracker, topology: &Arc<Topology>) {
    racks.move_to(topology);
    let now = Instant::now();
    tracker.call_roll(now, |info_hash, present| {
        for Present { addr, id, is_seed } in present {
            racks.found(info_hash, *addr, *id, *is_seed, now);
        }
    });
}

fn review(racks: &Racks, tracker: &Tracker, traffic: &Traffic, is_roll_call: bool) -> Reviewed {
    let now = Instant::now();
    let mut sights: HashMap<InfoHash, Vec<Sight>> = HashMap::new();
    for (_, peer) in traffic.peers_from(0, None, usize::MAX) {
        let sight = Sight {
            ip: peer.about.addr.ip().to_canonical(),
            id: peer.about.peer_id,
            seen: Seen {
                pieces: peer.counters.have(),
                piece_len: peer.about.piece_len,
                sent: peer.counters.uploaded(),
                dialled: peer.about.dialled,
            },
        };
        sights.entry(peer.about.info_hash).or_default().push(sight);
    }
    racks.review(&sights, is_roll_call, |info_hash, addr| tracker.is_there(info_hash, addr, now), now)
}
