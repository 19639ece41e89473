//! The peer side: accepts connections on one port for all torrents and uploads to them. What is said on the wire is
//! the session's business, who is uploaded to the choker's, where the bytes come from the store's.

mod choker;
mod connection;
mod outgoing;
mod slots;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributor_proto::{PeerId, SessionConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use self::connection::Closed;
use self::slots::Slots;
use crate::catalog::Catalog;
use crate::config::SeederConfig;
use crate::store::Store;

/// How often it is seen whose turn is over; that much longer than meant can one last.
const ROTATION: Duration = Duration::from_secs(1);
/// The pause after the system refuses to accept (no descriptors left, say); trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Uploads the catalog's torrents.
#[derive(Debug)]
pub(crate) struct Seeder {
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
}

/// What all connections have in common.
#[derive(Debug)]
struct Shared {
    catalog: Arc<Catalog>,
    store: Arc<Store>,
    slots: Arc<Slots>,
    session: SessionConfig,
    shutdown: CancellationToken,
}

impl Seeder {
    pub(crate) fn new(
        config: &SeederConfig,
        our_id: PeerId,
        catalog: Arc<Catalog>,
        store: Arc<Store>,
        shutdown: CancellationToken,
    ) -> Self {
        let shared = Shared {
            catalog,
            store,
            slots: Slots::new(config.upload_slots.count()),
            session: SessionConfig::new(our_id),
            shutdown,
        };
        Self { shared: Arc::new(shared), connections: Arc::new(Semaphore::new(config.max_connections)) }
    }

    /// Accepts peers until shutdown, and returns when the last connection is closed.
    pub(crate) async fn run(self, listener: TcpListener) {
        let tasks = TaskTracker::new();
        let mut turns = tokio::time::interval(ROTATION);
        loop {
            tokio::select! {
                () = self.shared.shutdown.cancelled() => break,
                _ = turns.tick() => self.shared.slots.rotate(Instant::now()),
                (stream, permit) = self.accept(&listener) => {
                    let shared = Arc::clone(&self.shared);
                    tasks.spawn(async move {
                        let _permit = permit;
                        serve(stream, &shared).await;
                    });
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// The next connection, and the permit to hold it. At the limit, newcomers wait in the listener's backlog.
    async fn accept(&self, listener: &TcpListener) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else {
                return std::future::pending().await;
            };
            match listener.accept().await {
                Ok((stream, _)) => return (stream, permit),
                Err(error) => {
                    warn!(%error, "can't accept a peer");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: &Shared) {
    let Ok(peer) = stream.peer_addr().map(distributor_proto::canonical) else { return };
    match connection::drive(stream, shared).await {
        Closed::Finished | Closed::BothSeeds | Closed::Shutdown => debug!(%peer, "closed"),
        Closed::Store(error, torrent) => {
            info!(%peer, info_hash = %torrent, %error, "closed: the file can't be read any more");
        }
        closed => debug!(%peer, reason = %closed, "closed"),
    }
    let _: SocketAddr = peer;
}
