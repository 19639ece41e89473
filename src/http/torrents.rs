//! `/serve` and `/serve_last_updated`: answers with the torrent of the file that is meant. Finding that is for others.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LOCATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, VARY,
};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use distributor_proto::{encode_torrent, percent_decode, percent_encode};
use headers::{ETag, HeaderMapExt, IfModifiedSince, IfNoneMatch, LastModified};
use sha1::{Digest, Sha1};
use tracing::warn;

use super::Http;
use super::find::{Wanted, patiently};
use super::refusal::Refusal;
use crate::announce::Ends;
use crate::catalog::{RequestedPath, Torrent};
use crate::ingest::Doubt;
use crate::metadata::MetadataError;

/// RFC 9110, 8.8.2.2: from this age on, an HTTP date tells one state of a file from the next.
const DATE_RESOLUTION: Duration = Duration::from_secs(2);

/// The torrent of the file that the query names.
pub(super) async fn serve(
    State(http): State<Arc<Http>>,
    Extension(ends): Extension<Ends>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let requested = requested_path(&uri)?;
    let torrent = http.find(Wanted::File(&requested)).await?;
    http.respond(&torrent, ends, &headers).await
}

/// The torrent of the file modified last, everywhere or below the directory that the query names.
pub(super) async fn serve_last_updated(
    State(http): State<Arc<Http>>,
    Extension(ends): Extension<Ends>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let scope = match uri.query() {
        None | Some("") => None,
        Some(_) => Some(requested_path(&uri)?),
    };
    let torrent = http.find(Wanted::Latest(scope.as_ref())).await?;
    http.respond(&torrent, ends, &headers).await
}

/// The whole query is the path: neither `&` nor `=` nor `+` means anything in it.
pub(super) fn requested_path(uri: &Uri) -> Result<RequestedPath, Refusal> {
    Ok(RequestedPath::new(&percent_decode(uri.query().unwrap_or_default().as_bytes())?)?)
}

impl Http {
    /// Where whoever asks is to announce.
    pub(super) fn announce_url(&self, asked: &HeaderMap, ends: Ends) -> String {
        match &self.config.announce_url {
            Some(url) => url.as_str().to_owned(),
            None => announce_url(asked, ends),
        }
    }

    async fn respond(
        &self,
        torrent: &Arc<Torrent>,
        ends: Ends,
        asked: &HeaderMap,
    ) -> Result<Response, Refusal> {
        let metadata = patiently(self.metadata.of(torrent)).await?.inspect_err(|error| {
            warn!(info_hash = %torrent.info_hash(), "{error}");
            if *error == MetadataError::Lost {
                self.ingest.doubt(torrent, Doubt::Unreadable);
            }
        })?;
        let body = Bytes::from(encode_torrent(&self.announce_url(asked, ends), &metadata));
        let etag = etag_of(&body);
        let modified = torrent.file().binding.mtime().to_system_time();

        let mut answer = HeaderMap::new();
        answer.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-bittorrent"));
        // A cache may keep it but has to ask whether it is still the newest; it is another one for another `Host`.
        answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer.insert(VARY, HeaderValue::from_static("host"));
        insert_text(
            &mut answer,
            CONTENT_LOCATION,
            &content_location(&self.catalog.exact_name(&torrent.file().at)),
        );
        insert_text(&mut answer, CONTENT_DISPOSITION, &content_disposition(torrent.file().name()));
        answer.typed_insert(LastModified::from(modified));
        if let Some(etag) = etag.clone() {
            answer.typed_insert(etag);
        }
        // RFC 9110, 13.2.2: the date counts only where no tag is given.
        let unchanged = match (asked.typed_get::<IfNoneMatch>(), asked.typed_get::<IfModifiedSince>()) {
            (Some(tags), _) => etag.is_some_and(|etag| !tags.precondition_passes(&etag)),
            (None, Some(date)) => is_of_date(modified, date.into(), SystemTime::now()),
            (None, None) => false,
        };
        Ok(if unchanged {
            (StatusCode::NOT_MODIFIED, answer).into_response()
        } else {
            (answer, body).into_response()
        })
    }
}

/// Whether a host that has what was modified at `date` has this. A later date says nothing: what is asked for may be an
/// older file now. Neither does one of this very second, in which there may be another change.
fn is_of_date(modified: SystemTime, date: SystemTime, now: SystemTime) -> bool {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).ok();
    seconds(modified) == seconds(date) && now.duration_since(modified).is_ok_and(|age| age >= DATE_RESOLUTION)
}

/// Values made of percent-encoded or quoted ASCII always fit; one that didn't would be left out.
fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Where the asker finds the tracker: under the name that it used for this host, or, when it gave none (ctorrent with
/// an address), at the address that it connected to.
fn announce_url(asked: &HeaderMap, ends: Ends) -> String {
    let host = asked.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    match host.filter(|host| !host.host().is_empty() && !host.as_str().contains('@')) {
        Some(host) => format!("http://{host}/announce"),
        None => format!("http://{}/announce", ends.local),
    }
}

/// A tag that differs whenever the bytes do.
fn etag_of(body: &[u8]) -> Option<ETag> {
    let mut tag = String::with_capacity(42);
    tag.push('"');
    for byte in Sha1::digest(body) {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag.parse().ok()
}

fn content_location(name: &Path) -> String {
    format!("/serve?{}", percent_encode(name.as_os_str().as_bytes()))
}

/// RFC 6266: a quoted ASCII name for everyone, and the exact one (RFC 8187) for those who can read that. Bytes that
/// aren't UTF-8 have no place in the latter.
fn content_disposition(name: &[u8]) -> String {
    let plain: String = name
        .iter()
        .map(|byte| match byte {
            b' '..=b'~' if !matches!(byte, b'"' | b'\\' | b'%' | b'/') => char::from(*byte),
            _ => '_',
        })
        .collect();
    let mut header = format!("attachment; filename=\"{plain}.torrent\"");
    if plain.as_bytes() != name && std::str::from_utf8(name).is_ok() {
        let _ = write!(header, "; filename*=UTF-8''{}.torrent", percent_encode(name));
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(local: &str) -> Ends {
        Ends { local: local.parse().unwrap(), remote: "10.0.0.9:5000".parse().unwrap() }
    }

    fn url(host: Option<&[u8]>, local: &str) -> String {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        announce_url(&headers, ends(local))
    }

    #[test]
    fn makes_the_announce_url_from_host_or_else_from_the_connection() {
        assert_eq!(url(Some(b"origin:6969"), "10.0.0.1:6969"), "http://origin:6969/announce");
        assert_eq!(url(Some(b"[2001:db8::1]:80"), "10.0.0.1:6969"), "http://[2001:db8::1]:80/announce");
        assert_eq!(url(None, "10.0.0.1:6969"), "http://10.0.0.1:6969/announce");
        assert_eq!(url(None, "[2001:db8::1]:6969"), "http://[2001:db8::1]:6969/announce");
        for nonsense in [&b""[..], b"user@origin", b"a b", b"a/b", b"\xff"] {
            assert_eq!(url(Some(nonsense), "10.0.0.1:6969"), "http://10.0.0.1:6969/announce");
        }
    }

    #[test]
    fn names_files_so_that_every_client_can_read_it() {
        assert_eq!(content_disposition(b"a b.iso"), "attachment; filename=\"a b.iso.torrent\"");
        assert_eq!(
            content_disposition("ü\"%.iso".as_bytes()),
            "attachment; filename=\"____.iso.torrent\"; filename*=UTF-8''%C3%BC%22%25.iso.torrent"
        );
        assert_eq!(content_disposition(b"\xff\n"), "attachment; filename=\"__.torrent\"");
    }

    #[test]
    fn takes_a_date_only_for_the_state_that_it_tells_from_all_others() {
        let at = |seconds: f64| UNIX_EPOCH + Duration::from_secs_f64(seconds);
        assert!(is_of_date(at(100.7), at(100.0), at(200.0)));
        assert!(!is_of_date(at(100.7), at(150.0), at(200.0)), "the host has something newer");
        assert!(!is_of_date(at(100.7), at(99.0), at(200.0)), "the host has something older");
        assert!(!is_of_date(at(100.7), at(100.0), at(101.0)), "it may change again in this second");
        assert!(!is_of_date(at(100.7), at(100.0), at(50.0)), "the clock is wrong");
    }

    #[test]
    fn takes_the_whole_query_for_the_path() {
        let path = |uri: &str| requested_path(&uri.parse().unwrap()).unwrap().as_path().to_owned();
        assert_eq!(path("/serve?a+b&c=d"), Path::new("a+b&c=d"));
        assert_eq!(path("/serve?sub/%2525"), Path::new("sub/%25"));
    }
}
