//! Requests that get no torrent: a status and one sentence that says why.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use distributor_proto::QueryError;

use super::proxies::ForwardedError;
use crate::catalog::PathError;
use crate::metadata::MetadataError;
use crate::watcher::DiskHangs;

/// When to ask again for a file that isn't ready. Long enough not to be a burden, short beside the hashing of anything
/// that wasn't done within the time that a request waits.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "there is no such page; ask for /serve?PATH, /magnet?PATH or /serve_last_updated, or announce to /announce and \
         /scrape"
    )]
    NoSuchPage,
    #[error("{0}")]
    BadQuery(#[from] QueryError),
    #[error("{0}")]
    BadPath(#[from] PathError),
    #[error("{key}={value:?} can't be understood; {wanted}")]
    BadParameter { key: &'static str, value: String, wanted: &'static str },
    #[error("no file {name:?} is served here")]
    NoSuchFile { name: String },
    #[error("no file is served here yet")]
    NoFiles,
    #[error("the file is still being written or hashed; ask again later")]
    NotReady,
    #[error("the disk that the file is on doesn't answer; ask again later")]
    DiskHangs,
    #[error(
        "limits are changed from this machine only, and not through a proxy: curl -T- http://127.0.0.1:PORT/api/v1/limits"
    )]
    NotFromHere,
    #[error("{0}; write something like {{\"total\": \"10M\", \"per_peer\": null}}")]
    BadLimits(#[from] serde_json::Error),
    #[error("{0}")]
    Forwarded(#[from] ForwardedError),
    #[error("{0}; ask again later")]
    Metadata(#[from] MetadataError),
}

impl From<DiskHangs> for Refusal {
    fn from(_: DiskHangs) -> Self {
        Self::DiskHangs
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadQuery(_)
            | Self::BadPath(_)
            | Self::BadParameter { .. }
            | Self::BadLimits(_)
            | Self::Forwarded(_) => StatusCode::BAD_REQUEST,
            Self::NotFromHere => StatusCode::FORBIDDEN,
            Self::NoSuchPage | Self::NoSuchFile { .. } | Self::NoFiles => StatusCode::NOT_FOUND,
            Self::NotReady | Self::DiskHangs | Self::Metadata(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY.as_secs().into());
        }
        response
    }
}
