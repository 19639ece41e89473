//! The peer side: accepts connections on one port for all torrents and uploads to them. What is said on the wire is
//! the session's business, who is uploaded to the choker's, where the bytes come from the store's.

mod choker;
mod connection;
mod outgoing;
mod slots;

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributor_proto::{PeerId, SessionConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::connection::Closed;
use self::slots::Slots;
use crate::accept::Acceptor;
use crate::catalog::Catalog;
use crate::config::SeederConfig;
use crate::ingest::{Doubt, IngestHandle};
use crate::store::Store;

/// How often it is seen whose turn is over; that much longer than meant can one last.
const ROTATION: Duration = Duration::from_secs(1);

/// Uploads the catalog's torrents.
#[derive(Debug)]
pub(crate) struct Seeder {
    shared: Arc<Shared>,
    max_connections: usize,
    max_per_address: usize,
}

/// What all connections have in common.
#[derive(Debug)]
struct Shared {
    catalog: Arc<Catalog>,
    ingest: IngestHandle,
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
        ingest: IngestHandle,
        store: Arc<Store>,
        shutdown: CancellationToken,
    ) -> Self {
        let shared = Shared {
            catalog,
            ingest,
            store,
            slots: Slots::new(config.upload_slots.count()),
            session: SessionConfig::new(our_id),
            shutdown,
        };
        Self {
            shared: Arc::new(shared),
            max_connections: config.max_connections,
            max_per_address: config.max_connections_per_address,
        }
    }

    /// Accepts peers until shutdown, and returns when the last connection is closed.
    pub(crate) async fn run(self, listener: TcpListener) {
        let acceptor = Acceptor::new(listener, "peers", self.max_connections, self.max_per_address);
        let mut connections = JoinSet::new();
        let mut turns = tokio::time::interval(ROTATION);
        loop {
            tokio::select! {
                () = self.shared.shutdown.cancelled() => break,
                _ = turns.tick() => self.shared.slots.rotate(Instant::now()),
                (stream, admission) = acceptor.accept() => {
                    let shared = Arc::clone(&self.shared);
                    connections.spawn(async move {
                        let _admission = admission;
                        serve(stream, &shared).await;
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: &Shared) {
    let Ok(peer) = stream.peer_addr().map(distributor_proto::canonical) else { return };
    match connection::drive(stream, shared).await {
        Closed::Finished | Closed::BothSeeds | Closed::Shutdown => debug!(%peer, "closed"),
        Closed::Store(error, torrent) => {
            info!(%peer, info_hash = %torrent.info_hash(), %error, "closed: the file can't be read any more");
            shared.ingest.doubt(&torrent, Doubt::Unreadable);
        }
        closed => debug!(%peer, reason = %closed, "closed"),
    }
}
