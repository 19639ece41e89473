//! The composition root: binds the addresses, joins the rooms, runs them until shutdown.

mod gateways;
mod listen;
mod swarms;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributor_proto::PeerId;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::gateways::Gateways;
use self::swarms::Swarms;
use crate::accept::{self, Listener};
use crate::announce::Announces;
use crate::catalog::Catalog;
use crate::config::{Config, DEFAULT_PEERS_PORT};
use crate::disks::Disks;
use crate::files::{RootError, Roots};
use crate::hasher::{Hashed, Hasher, HashingError, HashingProgress};
use crate::http::Http;
use crate::ingest::Ingest;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::racks::Racks;
use crate::seeder::{Neighbours, Seeder};
use crate::state::{State, StateError, Writer};
use crate::store::Store;
use crate::topology::TopologyControl;
use crate::tracker::{Allowances, Tracker};
use crate::traffic::{RateControl, Traffic};
use crate::udp::Udp;
use crate::watcher::{self, WatchError, WatchEvent, Watcher, WatcherHandle};

/// How peers and trackers see who we are (BEP 20).
const CLIENT: [u8; 2] = *b"Di";
const CLIENT_VERSION: [u8; 4] = *b"0100";
/// How many events of the directories may be on their way at a time; the watcher waits when there are more.
const MAX_EVENTS: usize = 1024;
/// How many announces of downloaders the seeder may be behind; it hears of no more until it has caught up.
const MAX_ANNOUNCED: usize = 1024;
/// How long connections may take to end once shutdown was asked for.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A directory can't be served.
    #[error(transparent)]
    Directory(#[from] RootError),
    /// An address can't be listened on.
    #[error("can't listen for {what} on {addr}: {source}; {}", advice(source))]
    Listen {
        /// HTTP, announces over UDP, or peers.
        what: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing can be hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// What is remembered would lie in a directory that is served.
    #[error(transparent)]
    State(#[from] StateError),
    /// The directories can't be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop the program that has it, or name another port",
        io::ErrorKind::PermissionDenied => "name a port above 1023, or run as a user who may listen there",
        _ => "name an address that this host has",
    }
}

/// A part of the server ended that should not have.
#[derive(Debug, thiserror::Error)]
#[error("a part of the server has failed, which is a defect in it; start it again")]
pub struct RunError(#[source] Option<JoinError>);

/// A server that listens already and serves once it is [run](Self::run).
///
/// ```
/// use distributor::{Config, Server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let mut config = Config::new([directory]);
/// config.http.listen = "127.0.0.1:0".parse()?;
/// config.seeder.listen = "127.0.0.1:0".parse()?;
///
/// let server = Server::bind(config).await?;
/// println!("http://{}/serve_last_updated", server.http_addr());
///
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let running = tokio::spawn(server.run(async {
///     let _ = stopped.await;
/// }));
/// // … until the embedding program has had enough:
/// drop(stop);
/// running.await??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    config: Config,
    roots: Arc<Roots>,
    state: Option<(Arc<State>, Writer)>,
    http: Listener,
    http_addr: SocketAddr,
    udp: Option<UdpSocket>,
    peers: Listener,
    peers_addr: SocketAddr,
    rates: RateControl,
    topology: TopologyControl,
    hasher: (Hasher, mpsc::Receiver<Hashed>),
    hashing: HashingProgress,
    watcher: Watcher,
    watcher_handle: WatcherHandle,
    events: mpsc::Receiver<WatchEvent>,
}

impl Server {
    /// Opens the directories and what is remembered of them, binds both addresses and begins to watch. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// A directory that isn't there, a state directory that is served itself, an address that is taken, a system that
    /// lets nobody watch.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let roots = Arc::new(Roots::open(&config.directories)?);
        let (http, http_addr, udp) = listen::listen_http(&config.http)?;
        let (peers, peers_addr) = listen::listen("peers", config.seeder.listen, DEFAULT_PEERS_PORT)?;
        let state = match config.state.clone() {
            Some(directory) => open_state(directory, &roots).await?,
            None => None,
        };
        let hasher = Hasher::start(&config.hashing, Arc::clone(&roots))?;
        let hashing = hasher.0.progress();
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let (watcher_handle, watcher) = watcher::start(Arc::clone(&roots), &config.watch, sender)?;
        let rates = RateControl::new(config.seeder.rates);
        let topology = TopologyControl::new(Arc::clone(&config.topology));
        Ok(Self {
            config,
            roots,
            state,
            http,
            http_addr,
            udp,
            peers,
            peers_addr,
            rates,
            topology,
            hasher,
            hashing,
            watcher,
            watcher_handle,
            events,
        })
    }

    /// Where HTTP is answered, and announces over UDP.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where peers are accepted.
    pub fn peers_addr(&self) -> SocketAddr {
        self.peers_addr
    }

    /// How fast to upload, to be seen and changed at any time.
    pub fn upload_rates(&self) -> RateControl {
        self.rates.clone()
    }

    /// Where hosts are, to be seen and exchanged at any time.
    pub fn topology(&self) -> TopologyControl {
        self.topology.clone()
    }

    /// How far the hashing of files is, now and whenever it is asked.
    pub fn hashing(&self) -> HashingProgress {
        self.hashing.clone()
    }

    /// Serves until `shutdown` is done, then ends what is under way and returns. Where it is dropped instead, it ends
    /// all the same, but nothing is waited for.
    ///
    /// # Errors
    ///
    /// Only when a part of the server ends of its own accord, which is a defect; the rest is then ended too.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        // Also where nobody polls this any more: what has a thread of its own ends by nothing else.
        let _guard = stop.clone().drop_guard();
        let catalog = Arc::new(Catalog::new(Arc::clone(&self.roots)));
        let tracker = Arc::new(Tracker::new(self.config.http.max_announce_rate.get(), Instant::now()));
        let topology = self.topology.subscribe();
        let racks = Arc::new(Racks::new(self.config.seeder.super_seeding, &topology.borrow()));
        let store = Arc::new(Store::new(Arc::clone(&self.roots)));

        let (state, writer) = self.state.unzip();

        let our_id = PeerId::azureus(CLIENT, CLIENT_VERSION, rand::random());

        let (ingest, ingest_handle) = Ingest::new(
            self.hasher,
            self.config.torrents,
            Arc::clone(&catalog),
            Arc::clone(&store),
            Arc::clone(&tracker),
            state.clone(),
            self.watcher_handle,
        );
        let metrics = Arc::new(Metrics::default());
        let traffic = Arc::new(Traffic::default());
        let (downloaders, announced) = mpsc::channel(MAX_ANNOUNCED);
        let (gateways, appointed) = mpsc::channel(MAX_ANNOUNCED);
        let swarms = Swarms::new(
            Arc::clone(&tracker),
            Arc::clone(&racks),
            Arc::clone(&catalog),
            state.clone(),
            downloaders.clone(),
        );
        let gateways = Gateways {
            racks: Arc::clone(&racks),
            tracker: Arc::clone(&tracker),
            traffic: Arc::clone(&traffic),
            metrics: Arc::clone(&metrics),
            appointed: gateways,
            topology,
        };
        let metadata = Metadata::new(state);
        let disks = Arc::new(Disks::default());
        let neighbours = Neighbours {
            catalog: Arc::clone(&catalog),
            metadata: metadata.clone(),
            disks: Arc::clone(&disks),
            ingest: ingest_handle.clone(),
            store,
            metrics: Arc::clone(&metrics),
            traffic: Arc::clone(&traffic),
            tracker: Arc::clone(&tracker),
            racks: Arc::clone(&racks),
            downloaders: announced,
            appointed,
            rates: self.rates.subscribe(),
            topology: self.topology.subscribe(),
        };
        let seeder =
            Seeder::new(&self.config.seeder, our_id, self.peers_addr, neighbours, stop.child_token());
        let max_waits = accept::affordable(self.config.http.max_connections).div_ceil(2);
        let announces = Arc::new(Announces {
            catalog: Arc::clone(&catalog),
            tracker,
            racks: Arc::clone(&racks),
            dials: self.config.seeder.dial,
            allowances: Allowances::new(self.config.http.max_announce_rate_per_address, Instant::now()),
            downloaders,
            our_id,
            peers_addr: self.peers_addr,
            advertise: self.config.seeder.advertise,
        });
        let udp = Udp {
            announces: Arc::clone(&announces),
            metrics: Arc::clone(&metrics),
            shutdown: stop.child_token(),
        };
        let http = Http {
            config: self.config.http,
            roots: self.roots,
            catalog: Arc::clone(&catalog),
            metadata,
            disks,
            announces,
            ingest: ingest_handle,
            racks,
            metrics,
            traffic,
            rates: self.rates,
            hashing: self.hashing,
            waits: Semaphore::new(max_waits),
            shutdown: stop.child_token(),
        };

        swarms.restore().await;
        let mut rooms = JoinSet::new();
        rooms.spawn(ingest.run(self.events, stop.child_token()));
        rooms.spawn(seeder.run(self.peers));
        rooms.spawn(http.run(self.http));
        if let Some(socket) = self.udp {
            rooms.spawn_blocking(|| udp.run(socket));
        }
        rooms.spawn(gateways.run(stop.child_token()));
        rooms.spawn(swarms.clone().sweep(stop.child_token()));
        rooms.spawn(swarms.clone().keep(stop.child_token()));

        let result = tokio::select! {
            () = shutdown => Ok(()),
            Some(ended) = rooms.join_next() => Err(RunError(ended.err())),
        };
        info!("shutting down");
        stop.cancel();
        let ended = async { while rooms.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await;
        // Its thread may be reading a directory on a disk that hangs.
        let ended = tokio::task::spawn_blocking(move || drop(self.watcher));
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await;
        // What was hashed last is written, and who is in which swarm.
        let ended = tokio::task::spawn_blocking(move || {
            drop(writer);
            swarms.save();
        });
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            info!(
                "not all could be remembered in time: what was hashed last is hashed again at the next start, and \
                 peers are known again when they announce themselves"
            );
        }
        result
    }
}

/// Opening waits for the disk, and after a crash for a repair.
async fn open_state(
    directory: PathBuf,
    roots: &Arc<Roots>,
) -> Result<Option<(Arc<State>, Writer)>, StateError> {
    let roots = Arc::clone(roots);
    // It fails only with the runtime, or by a panic, which is logged; what is remembered can be done without.
    tokio::task::spawn_blocking(move || State::open(&directory, &roots)).await.unwrap_or(Ok(None))
}
