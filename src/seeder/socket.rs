//! What the system is told of a peer's socket, whoever made the connection. Owns the options and why they are as they
//! are; when to read and write is the transport's business.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How long a connection may be silent before the system asks whether the other host is still there.
const KEEP_ALIVE_TIME: Duration = Duration::from_secs(60);
/// How often it asks again, and how many questions may stay unanswered: a host that lost its power is noticed within
/// two minutes, a session alone would wait for four.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 4;

/// How many bytes a socket takes that it can't send yet. Without a bound it takes 4 MiB for a peer that doesn't read,
/// and a few hundred such peers leave no memory to the others' sockets. What is under way has no part in it, so a long
/// fat path is filled as before. Less would cost more: at 256 KiB a GB took some 5 to 10% more processor time, at this
/// no more than without any bound.
const MAX_UNSENT: u32 = 1024 * 1024;

/// The options of all peers' sockets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SocketOptions {}

impl SocketOptions {
    /// Sets them on a connection, accepted or dialled.
    pub(super) fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        // Messages leave in batches as it is; delaying the last packet of each would only delay the next request.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        socket.set_tcp_notsent_lowat(MAX_UNSENT)?;
        let keep_alive = TcpKeepalive::new()
            .with_time(KEEP_ALIVE_TIME)
            .with_interval(KEEP_ALIVE_INTERVAL)
            .with_retries(KEEP_ALIVE_PROBES);
        socket.set_tcp_keepalive(&keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn sets_all_options_on_either_family() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            SocketOptions::default().apply(&dialled).unwrap();
            let socket = SockRef::from(&dialled);
            assert!(socket.tcp_nodelay().unwrap());
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), MAX_UNSENT);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE_TIME);
        }
    }
}
