//! Marks the packets of peers' connections for the networks on their way (DSCP, RFC 2474).

use std::io;
use std::os::fd::AsFd;

use socket2::SockRef;

use crate::config::Dscp;

/// Marks what a socket sends from now on. Connections inherit it from the listener that accepts them, and so the very
/// first of their packets has it.
pub(super) fn mark(socket: &impl AsFd, dscp: Dscp) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let class = dscp.traffic_class().into();
    // A socket of IPv6 may carry IPv4 (mapped addresses), which has a field of its own.
    socket.set_tos_v4(class)?;
    if socket.local_addr()?.is_ipv6() { socket.set_tclass_v6(class) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

    /// The marks of what goes out over IPv4 and over IPv6.
    fn marks(socket: &impl AsFd) -> [Option<u32>; 2] {
        let socket = SockRef::from(socket);
        [socket.tos_v4().ok(), socket.tclass_v6().ok()]
    }

    #[test]
    fn connections_are_marked_as_their_listener_is() {
        let dscp = "af11".parse().unwrap();
        for (listening, dialled) in [
            (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Ipv4Addr::LOCALHOST.into()),
            ((Ipv6Addr::LOCALHOST, 0).into(), Ipv6Addr::LOCALHOST.into()),
            ((Ipv6Addr::UNSPECIFIED, 0).into(), Ipv4Addr::LOCALHOST.into()),
        ] {
            let listener = TcpListener::bind(listening).unwrap();
            mark(&listener, dscp).unwrap();
            let dialled: std::net::IpAddr = dialled;
            let _peer = TcpStream::connect((dialled, listener.local_addr().unwrap().port())).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let [v4, v6] = marks(&accepted);
            assert_eq!(v4, Some(0x28), "{listening}");
            assert_eq!(v6, listening.is_ipv6().then_some(0x28), "{listening}");
        }
    }
}
