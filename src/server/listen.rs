//! Listening sockets: one for all addresses of both families, or for the one that was named. Where HTTP is answered,
//! so are announces over UDP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::BindError;
use crate::accept::Listener;
use crate::config::{DEFAULT_HTTP_PORT, HttpConfig, ListenAddr};

/// How many connections may wait to be accepted: a thousand hosts may start in the same second. The kernel lowers it
/// to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How many ports are tried, where the system chooses one, until it is free for TCP and UDP.
const MAX_CHOICES: u32 = 16;

/// Where HTTP is answered: over TCP, and, unless it is turned off, announces over UDP on the same address and port.
pub(super) fn listen_http(
    config: &HttpConfig,
) -> Result<(Listener, SocketAddr, Option<UdpSocket>), BindError> {
    let is_chosen = config.listen.port_or(DEFAULT_HTTP_PORT) == 0;
    let mut choices = if is_chosen { MAX_CHOICES } else { 1 };
    loop {
        choices -= 1;
        let (http, addr) = listen("HTTP", config.listen, DEFAULT_HTTP_PORT)?;
        if !config.udp {
            return Ok((http, addr, None));
        }
        match bind_udp(addr) {
            Ok(udp) => return Ok((http, addr, Some(udp))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && choices > 0 => {}
            Err(source) => return Err(BindError::Listen { what: "announces over UDP", addr, source }),
        }
    }
}

/// Listens, and says where.
pub(super) fn listen(
    what: &'static str,
    wanted: ListenAddr,
    default_port: u16,
) -> Result<(Listener, SocketAddr), BindError> {
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

fn bind(addr: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last run's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Listener::new(socket)
}

/// A port that another process has stays its own: with SO_REUSEADDR two could have it, and one would hear nothing.
fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}
