//! `/api/v1/limits`: how fast is uploaded. Anybody may see it; whoever is on this machine may change it.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{FORWARDED, HOST, ORIGIN, VIA};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version};
use axum::response::Response;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tracing::info;

use super::Http;
use super::json::json_response;
use super::pages::OwnEnds;
use super::refusal::Refusal;
use crate::announce::Ends;
use crate::config::{UploadRate, UploadRates};

/// The longest body of a change; one has three numbers.
const MAX_BODY_LEN: usize = 4096;
/// How long it may take to come; shutdown waits for it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Which rates to change, and to what. What isn't named stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default, deserialize_with = "rate")]
    total: Option<UploadRate>,
    #[serde(default, deserialize_with = "rate")]
    per_group: Option<UploadRate>,
    #[serde(default, deserialize_with = "rate")]
    per_peer: Option<UploadRate>,
}

/// A number of bytes a second, what the flags take, or null for no limit.
fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UploadRate>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Bytes(u64),
        Text(String),
        Unlimited,
    }
    match Written::deserialize(deserializer)
        .map_err(|_| D::Error::custom("a rate is a number, text or null"))?
    {
        Written::Bytes(bytes) => Ok(Some(UploadRate::new(bytes))),
        Written::Text(text) => text.parse().map(Some).map_err(D::Error::custom),
        Written::Unlimited => Ok(Some(UploadRate::UNLIMITED)),
    }
}

pub(super) async fn show(State(http): State<Arc<Http>>) -> Response {
    limits(http.rates.get())
}

pub(super) async fn change(
    State(http): State<Arc<Http>>,
    Extension(ends): Extension<Ends>,
    Extension(OwnEnds(own)): Extension<OwnEnds>,
    version: Version,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    if !is_from_here(ends, own, version, &headers) {
        return Err(Refusal::NotFromHere);
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_LEN))
        .await
        .map_err(|_| serde_json::Error::custom("the body didn't come in time"))?
        .map_err(|_| serde_json::Error::custom("the body is too long"))?;
    let Change { total, per_group, per_peer } = serde_json::from_slice(&body)?;
    http.rates.change(|rates| {
        rates.total = total.unwrap_or(rates.total);
        rates.per_group = per_group.unwrap_or(rates.per_group);
        rates.per_peer = per_peer.unwrap_or(rates.per_peer);
    });
    let rates = http.rates.get();
    info!(total = %rates.total, per_group = %rates.per_group, per_peer = %rates.per_peer, "upload rates changed");
    Ok(limits(rates))
}

fn limits(rates: UploadRates) -> Response {
    let bytes = |rate: UploadRate| rate.bytes_per_second().map(std::num::NonZeroU64::get);
    json_response(&json!({
        "total": bytes(rates.total),
        "per_group": bytes(rates.per_group),
        "per_peer": bytes(rates.per_peer),
    }))
}

/// Whether somebody on this machine asks, and not a proxy there for somebody else, nor a page of the Internet in a browser
/// there, be it that it was led to this address by a name of its own.
///
/// Proxies that pass requests on say so, but for nginx, which unless it is told otherwise gives this address for the
/// host's name; it is known by the HTTP/1.0 that it speaks then (before 1.29.7).
fn is_from_here(ends: Ends, own: Ends, version: Version, headers: &HeaderMap) -> bool {
    let is_forwarded = version < Version::HTTP_11
        || [FORWARDED, VIA].iter().any(|name| headers.contains_key(name))
        || headers.keys().any(|name| name.as_str().starts_with("x-forwarded-") || name == "x-real-ip");
    let is_of_a_page = headers.contains_key(ORIGIN);
    let names_here = headers.get(HOST).is_none_or(|host| {
        let host = Authority::try_from(host.as_bytes());
        host.is_ok_and(|host| {
            let name = host.host().trim_matches(['[', ']']);
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        })
    });
    let is_local = |ends: Ends| ends.remote.ip().is_loopback();
    is_local(own) && is_local(ends) && !is_forwarded && !is_of_a_page && names_here
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn change(text: &str) -> Option<[Option<u64>; 3]> {
        let Change { total, per_group, per_peer } = serde_json::from_str(text).ok()?;
        let bytes = |rate: UploadRate| rate.bytes_per_second().map_or(0, std::num::NonZeroU64::get);
        Some([total, per_group, per_peer].map(|rate| rate.map(bytes)))
    }

    #[test]
    fn reads_what_is_to_change() {
        assert_eq!(change("{}"), Some([None; 3]));
        assert_eq!(change(r#"{"total": 5, "per_peer": "2k"}"#), Some([Some(5), None, Some(2000)]));
        assert_eq!(change(r#"{"per_group": null, "total": 0}"#), Some([Some(0), Some(0), None]));
        for wrong in ["", r#"{"total": -1}"#, r#"{"total": "fast"}"#, r#"{"totl": 5}"#, r#"{"total": []}"#] {
            assert_eq!(change(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn is_changed_by_nobody_elsewhere() {
        let from = |remote: &str, header: Option<(&'static str, &'static str)>| {
            let ends = Ends { local: "10.0.0.1:6969".parse().unwrap(), remote: remote.parse().unwrap() };
            let header = header
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            is_from_here(ends, ends, Version::HTTP_11, &header.collect())
        };
        for host in ["localhost:6969", "127.0.0.1:6969", "127.9.9.9", "[::1]:6969"] {
            assert!(from("127.0.0.1:5000", Some(("host", host))), "{host}");
        }
        assert!(from("127.0.0.1:5000", None) && from("[::1]:5000", None));
        assert!(!from("10.0.0.2:5000", None) && !from("[2001:db8::1]:5000", None));
        for header in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "127.0.0.1"),
            ("origin", "http://origin.example"),
            ("forwarded", "for=127.0.0.1"),
            ("via", "1.1 proxy"),
            ("host", "origin.example:6969"),
            ("host", "localhost.example"),
        ] {
            assert!(!from("127.0.0.1:5000", Some(header)), "{header:?}");
        }
        let here =
            Ends { local: "127.0.0.1:6969".parse().unwrap(), remote: "127.0.0.1:5000".parse().unwrap() };
        assert!(!is_from_here(here, here, Version::HTTP_10, &HeaderMap::new()), "it may be nginx");
        let elsewhere = Ends { remote: "192.0.2.7:5000".parse().unwrap(), ..here };
        let none = HeaderMap::new();
        assert!(
            !is_from_here(elsewhere, here, Version::HTTP_11, &none),
            "a proxy here asks for another host"
        );
        assert!(
            !is_from_here(here, elsewhere, Version::HTTP_11, &none),
            "another host's proxy says that it is here"
        );
    }
}
