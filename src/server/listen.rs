//! Listening sockets: one for all addresses of both families, or for the one that was named.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::BindError;
use crate::config::ListenAddr;

/// How many connections may wait to be accepted: a thousand hosts may start in the same second. The kernel lowers it
/// to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Listens, and says where.
pub(super) fn listen(
    what: &'static str,
    wanted: ListenAddr,
    default_port: u16,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let port = wanted.port_or(default_port);
    let bound = match wanted.ip() {
        Some(ip) => bind(SocketAddr::new(ip, port)),
        None => {
            bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|error| match error.kind() {
                // A host without IPv6.
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {
                    bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
                }
                _ if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                    bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
                }
                _ => Err(error),
            })
        }
    };
    bound
        .and_then(|listener| listener.local_addr().map(|addr| (listener, addr)))
        .map_err(|source| BindError::Listen { what, addr: wanted.with_default_port(default_port), source })
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last run's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
