//! Requests that aren't answered past it go to the router, by way of hyper: each with the addresses that it came by.

use std::convert::Infallible;
use std::io::Cursor;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, join};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use super::connections::{HEAD_TIMEOUT, MAX_HEAD_LEN, MAX_HEADERS};
use super::direct::Rest;
use super::proxies::{ForwardedError, Proxies};
use super::refusal::Refusal;
use super::tracker::{self, Page};
use crate::announce::Ends;

/// The ends of the connection itself, where that was made for somebody else. Every request carries both as extensions:
/// these, and [`Ends`] that say who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnEnds(pub(super) Ends);

/// The header by which proxies say for whom they ask.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Serves what is left of a connection until it ends, or until the request is answered that shutdown came upon.
pub(super) async fn serve(rest: Rest, proxies: &Proxies, router: Router, shutdown: CancellationToken) {
    let Rest { stream, kept, own, asker } = rest;
    // What was read already is read again.
    let (read, write) = stream.into_split();
    let stream = join(Cursor::new(kept).chain(read), write);
    let service = service::service_fn(|mut request: Request<Incoming>| {
        let asker = asker.clone().and_then(|asker| who_asks(proxies, asker, &request));
        let router = router.clone();
        async move {
            match asker {
                Ok(ends) => {
                    request.extensions_mut().insert(ends);
                    request.extensions_mut().insert(OwnEnds(own));
                    router.oneshot(request.map(Body::new)).await
                }
                Err(error) => Ok::<_, Infallible>(refuse(error, request.uri().path())),
            }
        }
    });
    let connection = http1::Builder::new()
        // ctorrent closes its half once it has asked; that is no reason not to answer.
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_LEN)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(client = %own.remote, %error, "HTTP connection ended");
    }
}

fn who_asks(proxies: &Proxies, ends: Ends, request: &Request<Incoming>) -> Result<Ends, ForwardedError> {
    let forwarded: Vec<_> = request.headers().get_all(FORWARDED_FOR).iter().collect();
    proxies.asker(ends, forwarded.into_iter().map(|value| value.as_bytes()))
}

fn refuse(error: ForwardedError, path: &str) -> Response {
    if Page::of_path(path).is_none() {
        return Refusal::from(error).into_response();
    }
    let mut body = Vec::new();
    tracker::refuse(&error, &mut body);
    tracker::bencoded(body)
}
