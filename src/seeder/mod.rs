//! The peer side: accepts connections on one port for all torrents, dials downloaders that don't come by, and uploads
//! to them. What is said on the wire is the session's business, who is uploaded to the choker's, where the bytes come
//! from the store's.

mod buffers;
mod capacity;
mod choker;
mod closed;
mod connection;
mod depth;
mod dialler;
mod disk_work;
mod half_open;
mod hold_off;
mod host;
mod lack;
mod notices;
mod opening;
mod outgoing;
mod pacer;
mod peer;
mod rate_limit;
mod roster;
mod slots;
mod socket;
mod spread;
mod transport;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributor_proto::{MAX_MESSAGE_LEN, PeerId, SessionConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::buffers::Buffers;
use self::depth::SendBuffers;
use self::dialler::Dialler;
use self::half_open::HalfOpen;
use self::hold_off::{HoldOff, Patience};
use self::pacer::Pacer;
use self::roster::Roster;
use self::slots::Slots;
use self::socket::SocketOptions;
use self::transport::READ_LEN;
use crate::accept::{Acceptor, AddressPermit, Addresses, Listener, affordable};
use crate::catalog::Catalog;
use crate::config::{Encryption, SeederConfig, UploadRates};
use crate::disks::Disks;
use crate::ingest::IngestHandle;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::racks::Racks;
use crate::store::Store;
use crate::topology::Topology;
use crate::tracker::{Downloader, Tracker};
use crate::traffic::{SAMPLING, Traffic};

/// How often it is seen whose turn is over; that much longer than meant can one last. Rates are sampled then too.
const ROTATION: Duration = SAMPLING;
/// How long violations of the protocol are remembered.
const VIOLATIONS_MEMORY: Duration = Duration::from_secs(10 * 60);
/// The least that is kept of a stream: the longest frame, and a read that began just before its end.
const MIN_UNPARSED: usize = 64 * 1024;
const _: () = assert!(4 + MAX_MESSAGE_LEN + READ_LEN <= MIN_UNPARSED);
/// How many dialled connections may be on their way at a time; who would be one more is dialled another time.
const MAX_DIALS: usize = 64;
/// How many of them may be to one address, which can announce any number of ports.
const MAX_DIALS_PER_ADDRESS: usize = 4;

/// Uploads the catalog's torrents.
#[derive(Debug)]
pub(crate) struct Seeder {
    shared: Arc<Shared>,
    max_connections: usize,
    max_per_address: usize,
    downloaders: mpsc::Receiver<Downloader>,
    appointed: mpsc::Receiver<Downloader>,
    rates: watch::Receiver<UploadRates>,
    topology: watch::Receiver<Arc<Topology>>,
}

/// What all connections have in common.
#[derive(Debug)]
struct Shared {
    catalog: Arc<Catalog>,
    metadata: Metadata,
    disks: Arc<Disks>,
    ingest: IngestHandle,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    slots: Arc<Slots>,
    pacer: Arc<Pacer>,
    roster: Arc<Roster>,
    traffic: Arc<Traffic>,
    half_open: Arc<HalfOpen>,
    dialler: Mutex<Dialler>,
    /// Whether anybody is dialled at all.
    may_dial: bool,
    tracker: Arc<Tracker>,
    racks: Arc<Racks>,
    /// A permit for each connection that is being made.
    dials: Arc<Semaphore>,
    dials_by_address: Arc<Addresses>,
    hold_off: Mutex<HoldOff>,
    buffers: Arc<Buffers>,
    session: SessionConfig,
    socket: SocketOptions,
    send_buffers: SendBuffers,
    encryption: Encryption,
    /// From where we dial, if we listen on one address only.
    local_ip: Option<IpAddr>,
    shutdown: CancellationToken,
}

/// The rooms that the seeder works with.
#[derive(Debug)]
pub(crate) struct Neighbours {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) metadata: Metadata,
    pub(crate) disks: Arc<Disks>,
    pub(crate) ingest: IngestHandle,
    pub(crate) store: Arc<Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traffic: Arc<Traffic>,
    /// Who is told of peers that are gone.
    pub(crate) tracker: Arc<Tracker>,
    /// Who says which pieces are shown to whom.
    pub(crate) racks: Arc<Racks>,
    /// Hosts that have just announced that they download.
    pub(crate) downloaders: mpsc::Receiver<Downloader>,
    /// Hosts that are to be connected at once.
    pub(crate) appointed: mpsc::Receiver<Downloader>,
    /// How fast to upload, now and whenever that changes.
    pub(crate) rates: watch::Receiver<UploadRates>,
    /// Where peers are, likewise.
    pub(crate) topology: watch::Receiver<Arc<Topology>>,
}

impl Seeder {
    /// `listening` is where peers are accepted.
    pub(crate) fn new(
        config: &SeederConfig,
        our_id: PeerId,
        listening: SocketAddr,
        neighbours: Neighbours,
        shutdown: CancellationToken,
    ) -> Self {
        let limits = &config.limits;
        let Neighbours { catalog, metadata, disks, ingest, store, metrics, traffic, tracker, racks, .. } =
            neighbours;
        let Neighbours { mut downloaders, mut appointed, rates, topology, .. } = neighbours;
        let places = Arc::clone(&topology.borrow());
        if !config.dial {
            downloaders.close();
            appointed.close();
        }
        let mut session = SessionConfig::new(our_id);
        session.max_queued_requests = limits.requests;
        session.max_kept_len = limits.unparsed.max(MIN_UNPARSED);
        session.max_control_len = limits.unsent;
        session.handshake_timeout = limits.handshake;
        session.idle_timeout = limits.silence;
        session.max_idle_messages = limits.idle_messages;
        session.allowed_fast = config.allowed_fast;
        session.listen_port = Some(listening.port());
        // Or those would keep newcomers from being accepted at all, who could displace them.
        let half_open = limits.half_open.min(affordable(limits.connections) / 2);
        let patience = Patience { violations: limits.violations, memory: VIOLATIONS_MEMORY };
        let shared = Shared {
            catalog,
            metadata,
            disks,
            ingest,
            store,
            metrics,
            slots: Slots::new(
                config.choking,
                rates.borrow().total.bytes_per_second(),
                Arc::clone(&places),
                Instant::now(),
            ),
            pacer: Pacer::new(*rates.borrow(), places, Instant::now()),
            roster: Roster::new(limits.per_torrent, Arc::clone(&traffic)),
            traffic,
            half_open: HalfOpen::new(half_open),
            dialler: Mutex::default(),
            may_dial: config.dial,
            tracker,
            racks,
            dials: Arc::new(Semaphore::new(MAX_DIALS)),
            dials_by_address: Addresses::new(MAX_DIALS_PER_ADDRESS),
            hold_off: Mutex::new(HoldOff::new(patience)),
            buffers: Buffers::new(limits.unsent),
            session,
            socket: SocketOptions { dscp: config.dscp },
            send_buffers: SendBuffers::of_system(),
            encryption: config.encryption,
            local_ip: Some(listening.ip()).filter(|ip| !ip.is_unspecified()),
            shutdown,
        };
        Self {
            shared: Arc::new(shared),
            max_connections: limits.connections,
            max_per_address: limits.per_address,
            downloaders,
            appointed,
            rates,
            topology,
        }
    }

    /// Accepts peers until shutdown, and returns when the last connection is closed.
    pub(crate) async fn run(mut self, listener: Listener) {
        if let Err(error) = self.shared.socket.mark(&listener) {
            warn!(%error, "packets to peers can't be marked");
        }
        let acceptor = Acceptor::new(listener, "peers", self.max_connections, self.max_per_address);
        let mut connections = JoinSet::new();
        let (shared, rates, topology) = (Arc::clone(&self.shared), self.rates.clone(), self.topology.clone());
        connections.spawn(async move { shared.pacer.run(rates, topology, shared.shutdown.clone()).await });
        let mut turns = tokio::time::interval(ROTATION);
        let mut showing = tokio::time::interval(Racks::TICK);
        // After a pause, one look sees all that the ones left out would have seen.
        showing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.shared.dialler().next_due();
            tokio::select! {
                () = self.shared.shutdown.cancelled() => break,
                _ = turns.tick() => {
                    self.shared.slots.rotate(Instant::now(), self.shared.metrics.uploaded.get());
                }
                _ = showing.tick() => self.shared.racks.tick(Instant::now()),
                Ok(()) = self.rates.changed() => {
                    let total = self.rates.borrow_and_update().total;
                    self.shared.slots.set_rate(total.bytes_per_second(), Instant::now());
                }
                Ok(()) = self.topology.changed() => {
                    let topology = Arc::clone(&self.topology.borrow_and_update());
                    self.shared.slots.set_topology(topology);
                }
                (stream, admission) = acceptor.accept() => {
                    let shared = Arc::clone(&self.shared);
                    if let Some(addr) = shared.heard(&stream) {
                        // Now and not in the task: the oldest is who came first.
                        let handshaking = shared.half_open.enter();
                        connections.spawn(async move { shared.serve(stream, addr, handshaking, admission).await });
                    }
                }
                Some(downloader) = self.downloaders.recv() => {
                    if !self.shared.is_connected(&downloader) {
                        self.shared.dialler().announced(downloader, Instant::now());
                    }
                }
                Some(downloader) = self.appointed.recv() => {
                    if !self.shared.is_connected(&downloader) {
                        self.shared.dialler().appointed(downloader, Instant::now());
                    }
                }
                () = sleep_until(due), if due.is_some() => {
                    let now = Instant::now();
                    while let Some((downloader, put_off)) = self.shared.take_due(now) {
                        if self.dial(downloader, &acceptor, &mut connections).is_err() {
                            self.shared.dialler().put_off(downloader, put_off, now);
                        }
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
        while connections.join_next().await.is_some() {}
    }

    /// Dials a downloader, if that is worth the while.
    fn dial(
        &self,
        downloader: Downloader,
        acceptor: &Acceptor,
        connections: &mut JoinSet<()>,
    ) -> Result<(), NotNow> {
        let Downloader { info_hash, addr } = downloader;
        if self.shared.is_connected(&downloader) || self.shared.is_held_off(addr.ip()) {
            return Ok(());
        }
        // After a restart a file takes a moment to be found again.
        let torrent = self.shared.catalog.by_info_hash(&info_hash).ok_or(NotNow)?;
        let permit = self.shared.may_dial(addr.ip()).ok_or(NotNow)?;
        let admission = acceptor.try_admit(addr.ip()).ok_or(NotNow)?;
        let shared = Arc::clone(&self.shared);
        connections.spawn(async move {
            let _admission = admission;
            shared.dial(addr, torrent, permit).await;
        });
        Ok(())
    }
}

/// As many connections are held, or being made, as may be; or the torrent isn't served.
struct NotNow;

/// The right to make a connection; given back when dropped, once it is made.
#[derive(Debug)]
struct DialPermit {
    _one_of_all: OwnedSemaphorePermit,
    _one_to_an_address: AddressPermit,
}

impl Shared {
    fn dialler(&self) -> MutexGuard<'_, Dialler> {
        self.dialler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A function of its own, so that the lock isn't held for what is done with the result.
    fn take_due(&self, now: Instant) -> Option<(Downloader, u8)> {
        self.dialler().take_due(now)
    }

    fn may_dial(&self, ip: IpAddr) -> Option<DialPermit> {
        let one_of_all = Arc::clone(&self.dials).try_acquire_owned().ok()?;
        let one_to_an_address = self.dials_by_address.admit(ip)?;
        Some(DialPermit { _one_of_all: one_of_all, _one_to_an_address: one_to_an_address })
    }

    fn is_connected(&self, downloader: &Downloader) -> bool {
        self.roster.is_connected(&downloader.info_hash, downloader.addr.ip())
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
