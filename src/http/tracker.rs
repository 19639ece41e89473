//! `/announce` and `/scrape`: the tracker over HTTP (BEP 3, 7, 23, 48). Adds the origin to what the tracker answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use distributor_proto::{
    AnnounceEvent, AnnounceRequest, AnnounceResponse, PeerAddr, encode_failure, encode_scrape, parse_scrape,
};

use super::{Ends, Http};
use crate::tracker::{Answer, Downloader};

const NOT_SERVED: &str = "no file of this torrent is served here now, or it is still being hashed";

pub(super) async fn announce(
    State(http): State<Arc<Http>>,
    Extension(ends): Extension<Ends>,
    uri: Uri,
) -> Response {
    bencoded(match AnnounceRequest::parse(query(&uri)) {
        Ok(request) if http.catalog.is_served(&request.info_hash) => http.answer(&request, ends),
        Ok(request) => match http.tracker.departure(&request.info_hash) {
            Some(departure) => encode_failure(&departure.to_string()),
            None => encode_failure(NOT_SERVED),
        },
        Err(error) => encode_failure(&error.to_string()),
    })
}

pub(super) async fn scrape(State(http): State<Arc<Http>>, uri: Uri) -> Response {
    bencoded(match parse_scrape(query(&uri)) {
        Ok(wanted) => {
            let served = wanted.into_iter().filter(|info_hash| http.catalog.is_served(info_hash));
            let files: Vec<_> = served
                .map(|info_hash| {
                    let mut stats = http.tracker.scrape(&info_hash);
                    stats.complete = stats.complete.saturating_add(ORIGIN);
                    (info_hash, stats)
                })
                .collect();
            encode_scrape(&files)
        }
        Err(error) => encode_failure(&error.to_string()),
    })
}

/// The origin is a seeder that never announces.
const ORIGIN: u32 = 1;

fn query(uri: &Uri) -> &[u8] {
    uri.query().unwrap_or_default().as_bytes()
}

fn bencoded(body: Vec<u8>) -> Response {
    let mut response = body.into_response();
    // Trackers answer failures with status 200 as well: clients read the reason only then.
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Http {
    fn answer(&self, request: &AnnounceRequest, ends: Ends) -> Vec<u8> {
        if !request.is_seed() && request.event != AnnounceEvent::Stopped && request.port != 0 {
            let addr = SocketAddr::new(ends.remote.ip(), request.port);
            // When there are too many at once they announce themselves again.
            let _ = self.downloaders.try_send(Downloader { info_hash: request.info_hash, addr });
        }
        let answer = self.tracker.announce(request, ends.remote.ip(), Instant::now(), &mut rand::rng());
        let origin = if request.wants_seeds() { self.origin_for(ends.local.ip()) } else { None };
        let origin = origin.map(|addr| PeerAddr { addr, id: Some(self.our_id) });
        with_origin(answer, origin).encode(request.format)
    }

    /// Where the asker can reach the seeder. It has just reached this host at `local`.
    fn origin_for(&self, local: IpAddr) -> Option<SocketAddr> {
        let port = self.peers_addr.port();
        let listening = self.peers_addr.ip();
        if let Some(advertised) = self.advertise.iter().find(|addr| addr.ip.is_ipv4() == local.is_ipv4()) {
            return Some(SocketAddr::new(advertised.ip, advertised.port.unwrap_or(port)));
        }
        match listening.is_unspecified() {
            false => Some(SocketAddr::new(listening, port)),
            // All v4 addresses are not reachable by v6; all v6 ones stand for both.
            true if listening.is_ipv4() && local.is_ipv6() => None,
            true => Some(SocketAddr::new(local, port)),
        }
    }
}

/// The origin goes first, and takes the place of another peer if there is no room.
fn with_origin(answer: Answer, origin: Option<PeerAddr>) -> AnnounceResponse {
    let seconds = |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let peers = origin.into_iter().chain(answer.peers).take(answer.numwant).collect();
    AnnounceResponse {
        interval: seconds(answer.interval),
        min_interval: seconds(answer.min_interval),
        complete: answer.complete.saturating_add(ORIGIN),
        incomplete: answer.incomplete,
        peers,
    }
}
