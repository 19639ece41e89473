//! What the system is told of a peer's socket, whoever made the connection. Owns the options and why they are as they
//! are; when to read and write is the transport's business.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::depth::Depth;
use crate::config::Dscp;

/// How long a connection may be silent before the system asks whether the other host is still there.
const KEEP_ALIVE_TIME: Duration = Duration::from_secs(60);
/// How often it asks again, and how many questions may stay unanswered: a host that lost its power is noticed within
/// two minutes, a session alone would wait for four.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 4;

/// The options of all peers' sockets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SocketOptions {
    /// How packets are marked for the networks on their way (DSCP, RFC 2474).
    pub(super) dscp: Option<Dscp>,
}

impl SocketOptions {
    /// Marks what a socket sends from now on: one that is to listen or to dial, before it does. Connections inherit it
    /// from the listener that accepts them, and so the very first of their packets has it.
    pub(super) fn mark(&self, socket: &impl AsFd) -> io::Result<()> {
        let Some(dscp) = self.dscp else { return Ok(()) };
        let socket = SockRef::from(socket);
        let class = dscp.traffic_class().into();
        // A socket of IPv6 may carry IPv4 (mapped addresses), which has a field of its own.
        socket.set_tos_v4(class)?;
        if socket.local_addr()?.is_ipv6() { socket.set_tclass_v6(class) } else { Ok(()) }
    }

    /// Sets all others on a connection, accepted or dialled.
    pub(super) fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        // Messages leave in batches as it is; delaying the last packet of each would only delay the next request.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let keep_alive = TcpKeepalive::new()
            .with_time(KEEP_ALIVE_TIME)
            .with_interval(KEEP_ALIVE_INTERVAL)
            .with_retries(KEEP_ALIVE_PROBES);
        socket.set_tcp_keepalive(&keep_alive)?;
        set_depth(stream, Depth::default())
    }
}

/// Sets what may change while a connection lasts.
pub(super) fn set_depth(stream: &TcpStream, depth: Depth) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_notsent_lowat(depth.unsent())?;
    depth.buffer().map_or(Ok(()), |bytes| socket.set_send_buffer_size(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

    #[tokio::test]
    async fn sets_all_options_on_either_family() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            SocketOptions::default().apply(&dialled).unwrap();
            let socket = SockRef::from(&dialled);
            assert!(socket.tcp_nodelay().unwrap());
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), Depth::default().unsent());
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE_TIME);
        }
    }

    /// The marks of what goes out over IPv4 and over IPv6.
    fn marks(socket: &impl AsFd) -> [Option<u32>; 2] {
        let socket = SockRef::from(socket);
        [socket.tos_v4().ok(), socket.tclass_v6().ok()]
    }

    #[test]
    fn connections_are_marked_as_their_listener_is() {
        let options = SocketOptions { dscp: Some("af11".parse().unwrap()) };
        for (listening, dialled) in [
            (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), IpAddr::from(Ipv4Addr::LOCALHOST)),
            ((Ipv6Addr::LOCALHOST, 0).into(), Ipv6Addr::LOCALHOST.into()),
            ((Ipv6Addr::UNSPECIFIED, 0).into(), Ipv4Addr::LOCALHOST.into()),
        ] {
            let listener = TcpListener::bind(listening).unwrap();
            options.mark(&listener).unwrap();
            let _peer =
                std::net::TcpStream::connect((dialled, listener.local_addr().unwrap().port())).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let [v4, v6] = marks(&accepted);
            assert_eq!(v4, Some(0x28), "{listening}");
            assert_eq!(v6, listening.is_ipv6().then_some(0x28), "{listening}");
        }
    }
}
