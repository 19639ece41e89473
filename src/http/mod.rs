//! The HTTP side: torrents to scripts, answers to announces. A file a topic; this one joins them to one router, past
//! which `direct` answers most announces.

mod api;
mod connections;
mod direct;
mod find;
mod hashing;
mod json;
mod limits;
mod magnet;
mod metrics;
mod pages;
mod proxies;
mod refusal;
mod topology;
mod torrents;
mod tracker;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::direct::Direct;
use self::proxies::Proxies;
use self::refusal::Refusal;
use crate::accept::{self, Acceptor, Listener};
use crate::announce::Announces;
use crate::catalog::Catalog;
use crate::config::HttpConfig;
use crate::disks::Disks;
use crate::files::Roots;
use crate::hasher::HashingProgress;
use crate::ingest::IngestHandle;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::racks::Racks;
use crate::traffic::{RateControl, Traffic};

/// Everything that answers to requests are made from.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) config: HttpConfig,
    pub(crate) roots: Arc<Roots>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) metadata: Metadata,
    pub(crate) disks: Arc<Disks>,
    pub(crate) announces: Arc<Announces>,
    pub(crate) ingest: IngestHandle,
    pub(crate) racks: Arc<Racks>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) rates: RateControl,
    pub(crate) hashing: HashingProgress,
    /// A permit for each request that waits for a file.
    pub(crate) waits: Semaphore,
    pub(crate) shutdown: CancellationToken,
}

impl Http {
    /// Answers requests until shutdown, and returns when the last connection is closed.
    pub(crate) async fn run(self, listener: Listener) {
        let shutdown = self.shutdown.clone();
        connections::prepare(&listener);
        if !self.config.trusted_proxies.is_empty() && self.announces.advertise.is_empty() {
            warn!(
                "hosts that ask through a proxy are told of this one at the address where the proxy reaches it; \
                 --advertise names another"
            );
        }
        let (announces, proxies) = (Arc::clone(&self.announces), Proxies::new(&self.config));
        let direct = Direct::new(announces, proxies, listener.local_addr().ok(), &self.metrics);
        let max_connections = accept::affordable(self.config.max_connections);
        // Hosts that come through one translated address are many connections from it; but never all that there can be.
        let max_per_address = max_connections.div_ceil(4).saturating_mul(3);
        let acceptor = Acceptor::new(listener, "HTTP", max_connections, max_per_address)
            .with_many_from(self.config.trusted_proxies.clone());
        let router = Router::new()
            .route("/serve", get(torrents::serve))
            .route("/serve_last_updated", get(torrents::serve_last_updated))
            .route("/magnet", get(magnet::magnet))
            .route("/metrics", get(metrics::metrics))
            .route("/api/v1/torrents", get(api::torrents))
            .route("/api/v1/peers", get(api::peers))
            .route("/api/v1/pieces", get(api::pieces))
            .route("/api/v1/topology", get(topology::show))
            .route("/api/v1/hashing", get(hashing::show))
            .route("/api/v1/limits", get(limits::show).put(limits::change))
            .route("/announce", get(tracker::announce))
            .route("/scrape", get(tracker::scrape_page))
            .fallback(async || Refusal::NoSuchPage)
            .with_state(Arc::new(self));
        connections::run(acceptor, Arc::new(direct), router, shutdown).await;
    }
}
