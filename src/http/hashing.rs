//! `/api/v1/hashing`: how far the hashing of files is.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::Http;
use super::json::json_response;

pub(super) async fn show(State(http): State<Arc<Http>>) -> Response {
    let status = http.hashing.status();
    json_response(&json!({
        "files_left": status.files_left,
        "bytes_left": status.bytes_left,
        "bytes_done": status.bytes_done,
        "rate": status.rate,
        "seconds_left": status.time_left.map(|left| left.as_secs()),
    }))
}
