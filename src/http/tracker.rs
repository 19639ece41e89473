//! `/announce` and `/scrape`: what they are answered (BEP 3, 7, 23, 48), in buffers that are used again; and the pages of
//! the router for whoever asks in a way that isn't answered past it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use distributor_proto::{
    AnnounceRequest, AnnounceResponse, encode_failure, encode_refusal, encode_scrape, parse_scrape,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::Http;
use crate::announce::{Announces, Ends};
use crate::tracker::{AsksTooMuch, Families};

/// What becomes of a question that its asker can't pay for, as it is counted.
pub(super) const REFUSED: &str = "refused";

/// What can be asked of a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Announce,
    Scrape,
}

impl Page {
    pub(super) fn of_path(path: &str) -> Option<Self> {
        match path {
            "/announce" => Some(Self::Announce),
            "/scrape" => Some(Self::Scrape),
            _ => None,
        }
    }
}

/// What it takes to answer, used again for each.
#[derive(Debug)]
pub(super) struct Answerer {
    response: AnnounceResponse,
    /// Peers are drawn by it, which takes no secret.
    rng: SmallRng,
}

impl Default for Answerer {
    fn default() -> Self {
        Self { response: AnnounceResponse::default(), rng: SmallRng::from_rng(&mut rand::rng()) }
    }
}

impl Answerer {
    /// Appends what is answered to a query. A failure's reason is an answer, too.
    pub(super) fn answer(
        &mut self,
        announces: &Announces,
        page: Page,
        query: &[u8],
        ends: Ends,
        now: Instant,
        body: &mut Vec<u8>,
    ) {
        match page {
            Page::Announce => self.announce(announces, query, ends, now, body),
            Page::Scrape => scrape(announces, query, body),
        }
    }

    fn announce(
        &mut self,
        announces: &Announces,
        query: &[u8],
        ends: Ends,
        now: Instant,
        body: &mut Vec<u8>,
    ) {
        let Self { response, rng } = self;
        match AnnounceRequest::parse(query) {
            Ok(request) => match announces.announce(&request, ends, Families::Both, now, rng, response) {
                Ok(()) => response.encode_into(request.format, body),
                Err(not_served) => {
                    body.extend(encode_refusal(&not_served.to_string(), not_served.retry_in()))
                }
            },
            Err(error) => refuse(&error, body),
        }
    }
}

fn scrape(announces: &Announces, query: &[u8], body: &mut Vec<u8>) {
    match parse_scrape(query) {
        Ok(wanted) => {
            let stats = |info_hash| announces.scrape(&info_hash).map(|stats| (info_hash, stats));
            body.extend(encode_scrape(&wanted.into_iter().filter_map(stats).collect::<Vec<_>>()));
        }
        Err(error) => refuse(&error, body),
    }
}

/// Has an asker pay for its question; otherwise it is told when to come again, and nothing else on this connection.
pub(super) fn pays(announces: &Announces, asker: IpAddr, now: Instant, body: &mut Vec<u8>) -> bool {
    let paid = announces.allowances.pay(asker, now);
    if let Err(error) = paid {
        body.extend(encode_refusal(&error.to_string(), AsksTooMuch::RETRY_IN));
    }
    paid.is_ok()
}

/// Appends a failure, for the reason that an error gives.
pub(super) fn refuse(error: &impl std::error::Error, body: &mut Vec<u8>) {
    body.extend(encode_failure(&error.to_string()));
}

pub(super) async fn announce(http: State<Arc<Http>>, ends: Extension<Ends>, uri: Uri) -> Response {
    respond(&http, Page::Announce, &uri, ends.0)
}

pub(super) async fn scrape_page(http: State<Arc<Http>>, ends: Extension<Ends>, uri: Uri) -> Response {
    respond(&http, Page::Scrape, &uri, ends.0)
}

fn respond(http: &Http, page: Page, uri: &Uri, ends: Ends) -> Response {
    let (query, now, mut body) = (uri.query().unwrap_or_default().as_bytes(), Instant::now(), Vec::new());
    if !pays(&http.announces, ends.remote.ip(), now, &mut body) {
        http.metrics.over_limit(REFUSED).inc();
        let mut refusal = bencoded(body);
        refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return refusal;
    }
    Answerer::default().answer(&http.announces, page, query, ends, now, &mut body);
    bencoded(body)
}

pub(super) fn bencoded(body: Vec<u8>) -> Response {
    let mut response = body.into_response();
    // Trackers answer failures with status 200 as well: clients read the reason only then.
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
