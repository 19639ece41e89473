//! `/magnet`: a link that is enough for clients that fetch the info dictionary from peers (BEP 9).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use distributor_proto::magnet_link;

use super::Http;
use super::find::Wanted;
use super::refusal::Refusal;
use super::torrents::requested_path;
use crate::announce::Ends;

/// The magnet link of the file that the query names.
pub(super) async fn magnet(
    State(http): State<Arc<Http>>,
    Extension(ends): Extension<Ends>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let requested = requested_path(&uri)?;
    let torrent = http.find(Wanted::File(&requested)).await?;
    let file = torrent.file();
    let link = magnet_link(
        torrent.info_hash(),
        file.name(),
        &http.announce_url(&headers, ends),
        torrent.geometry().total_len(),
    );
    let mut response = format!("{link}\n").into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
