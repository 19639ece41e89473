//! HTTP connections: bounds what a client can do with one, and hands each request on with the addresses that it came
//! by.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use crate::accept::Acceptor;
use crate::announce::Ends;

/// How long a client may take to send a request's head, or stay silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest request head: a path of 4,096 bytes, each percent-encoded, and room for headers.
const MAX_HEAD_LEN: usize = 32 * 1024;
/// How many headers a request may have.
const MAX_HEADERS: usize = 64;
/// How long a client may leave our answer unread. The kernel counts; it then resets the connection.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves connections until shutdown; when dropped it ends those that are left.
pub(super) async fn run(acceptor: Acceptor, router: Router, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            (stream, admission) = acceptor.accept() => {
                let (router, shutdown) = (router.clone(), shutdown.clone());
                connections.spawn(async move {
                    let _admission = admission;
                    serve(stream, router, shutdown).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    let Ok(ends) = ends(&stream) else { return };
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT));

    let service = service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        router.clone().oneshot(request.map(Body::new))
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
        debug!(client = %ends.remote, %error, "HTTP connection ended");
    }
}

/// Every request carries them as an extension.
fn ends(stream: &TcpStream) -> std::io::Result<Ends> {
    let canonical = distributor_proto::canonical;
    Ok(Ends { local: canonical(stream.local_addr()?), remote: canonical(stream.peer_addr()?) })
}
