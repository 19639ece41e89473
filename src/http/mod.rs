//! The HTTP side: torrents to scripts, answers to announces. A file a topic; this one joins them to one router.

mod connections;
mod refusal;
mod torrents;
mod tracker;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use distributor_proto::PeerId;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::refusal::Refusal;
use crate::catalog::Catalog;
use crate::config::{AdvertisedAddr, HttpConfig};
use crate::files::Roots;
use crate::ingest::IngestHandle;
use crate::tracker::Tracker;

/// Everything that answers to requests are made from.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) config: HttpConfig,
    pub(crate) roots: Arc<Roots>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) ingest: IngestHandle,
    /// Who the seeder says it is.
    pub(crate) our_id: PeerId,
    /// Where the seeder listens.
    pub(crate) peers_addr: SocketAddr,
    pub(crate) advertise: Vec<AdvertisedAddr>,
}

impl Http {
    /// Answers requests until shutdown, and returns when the last connection is closed.
    pub(crate) async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let max_connections = self.config.max_connections;
        let router = Router::new()
            .route("/serve", get(torrents::serve))
            .route("/serve_last_updated", get(torrents::serve_last_updated))
            .route("/announce", get(tracker::announce))
            .route("/scrape", get(tracker::scrape))
            .fallback(async || Refusal::NoSuchPage)
            .with_state(Arc::new(self));
        connections::run(listener, router, max_connections, shutdown).await;
    }
}

/// The two ends of the connection that a request came in on, v4 addresses as such. Every request carries it as an
/// extension.
#[derive(Clone, Copy, Debug)]
struct Ends {
    local: SocketAddr,
    remote: SocketAddr,
}
