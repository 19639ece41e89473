//! `/announce` and `/scrape`: the tracker over HTTP (BEP 3, 7, 23, 48).

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use distributor_proto::{
    AnnounceRequest, AnnounceResponse, encode_failure, encode_refusal, encode_scrape, parse_scrape,
};

use super::Http;
use crate::announce::Ends;
use crate::tracker::Families;

pub(super) async fn announce(
    State(http): State<Arc<Http>>,
    Extension(ends): Extension<Ends>,
    uri: Uri,
) -> Response {
    bencoded(match AnnounceRequest::parse(query(&uri)) {
        Ok(request) => {
            let (now, mut response) = (Instant::now(), AnnounceResponse::default());
            let rng = &mut rand::rng();
            match http.announces.announce(&request, ends, Families::Both, now, rng, &mut response) {
                Ok(()) => response.encode(request.format),
                Err(not_served) => encode_refusal(&not_served.to_string(), not_served.retry_in()),
            }
        }
        Err(error) => encode_failure(&error.to_string()),
    })
}

pub(super) async fn scrape(State(http): State<Arc<Http>>, uri: Uri) -> Response {
    bencoded(match parse_scrape(query(&uri)) {
        Ok(wanted) => {
            let stats = |info_hash| http.announces.scrape(&info_hash).map(|stats| (info_hash, stats));
            encode_scrape(&wanted.into_iter().filter_map(stats).collect::<Vec<_>>())
        }
        Err(error) => encode_failure(&error.to_string()),
    })
}

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
