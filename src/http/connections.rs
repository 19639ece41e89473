//! HTTP connections: accepts them, bounds what a client can do with one, and has each served. Who has its announce ready is
//! answered then and there; all others have a task each.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use socket2::SockRef;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::direct::{Conversation, Direct};
use super::pages;
use crate::accept::{Acceptor, Admission, Listener, MAX_AT_ONCE, Newcomer};

/// How long a client may take to send a request's head, or stay silent between two requests.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest request head: a path of 4,096 bytes, each percent-encoded, and room for headers.
pub(super) const MAX_HEAD_LEN: usize = 32 * 1024;
/// How many headers a request may have.
pub(super) const MAX_HEADERS: usize = 64;
/// How long a client may leave our answer unread. The kernel counts; it then resets the connection.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Sets what connections inherit from the listener that accepts them, which spares each of them the calls.
pub(super) fn prepare(listener: &Listener) {
    let prepare = || -> io::Result<()> {
        let socket = SockRef::from(listener);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(UNREAD_TIMEOUT))
    };
    if let Err(error) = prepare() {
        warn!(%error, "HTTP connections have none of the options that they should have");
    }
}

/// What connections are served with.
type Shared = (Arc<Direct>, Router, CancellationToken);

/// A connection on which there is more to come.
struct Begun {
    conversation: Conversation,
    _admission: Admission,
}

impl Begun {
    /// Nothing where all was said at once.
    fn new(Newcomer { stream, remote, admission }: Newcomer, direct: &Direct) -> Option<Self> {
        let conversation = Conversation::begin(stream, remote, direct)?;
        Some(Self { conversation, _admission: admission })
    }

    async fn serve(self, (direct, router, shutdown): Shared) {
        if let Some(rest) = self.conversation.go_on(&direct, &shutdown).await {
            pages::serve(rest, &direct.proxies, router, shutdown).await;
        }
    }
}

/// Serves one whose address has to wait for its turn.
async fn serve_later(newcomer: Newcomer, wait: Duration, shared: Shared) {
    let (direct, _, shutdown) = &shared;
    let turn = shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
    if let Some(begun) = turn.and_then(|()| Begun::new(newcomer, direct)) {
        begun.serve(shared).await;
    }
}

/// Serves connections until shutdown; when dropped it ends those that are left.
pub(super) async fn run(
    acceptor: Acceptor,
    direct: Arc<Direct>,
    router: Router,
    shutdown: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let mut newcomers = Vec::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = acceptor.accept_some(&mut newcomers) => {}
            Some(_) = connections.join_next() => continue,
        }
        // Many may begin at a time, and as many may have ended.
        while connections.try_join_next().is_some() {}
        let more_may_wait = newcomers.len() == MAX_AT_ONCE;
        let now = Instant::now();
        for newcomer in newcomers.drain(..) {
            // Closed unheard, it costs least.
            let Some(wait) = direct.let_in(newcomer.remote.ip(), now) else { continue };
            let shared = || (Arc::clone(&direct), router.clone(), shutdown.clone());
            if !wait.is_zero() {
                connections.spawn(serve_later(newcomer, wait, shared()));
            } else if let Some(begun) = Begun::new(newcomer, &direct) {
                connections.spawn(begun.serve(shared()));
            }
        }
        if more_may_wait {
            // However many come, those whose turn it is are not kept waiting.
            tokio::task::yield_now().await;
        }
    }
    while connections.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_inherit_what_the_listener_was_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = Listener::new(listener.into()).unwrap();
        prepare(&listener);
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut newcomers = Vec::new();
        Acceptor::new(listener, "tests", 1, 1).accept_some(&mut newcomers).await;
        let socket = SockRef::from(&newcomers[0].stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNREAD_TIMEOUT));
    }
}
