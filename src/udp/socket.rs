//! A UDP socket for many askers: what the system has to do for it, and waiting for packets. How they come and go is known
//! to `batch`.
#![allow(unsafe_code)]

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use libc::{IP_MTU_DISCOVER, IP_PKTINFO, IP_PMTUDISC_PROBE, IPPROTO_IP, IPPROTO_IPV6};
use libc::{IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE, IPV6_RECVPKTINFO};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::batch::{Answers, Arrival, Batch, MAX_PACKETS};

/// What may lie in the system's queue, where thousands of hosts start in one second. The system lowers it to
/// net.core.rmem_max.
const QUEUE_LEN: usize = 4 * 1024 * 1024;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    pub(super) arrival: Arrival,
    pub(super) port: u16,
}

impl Socket {
    /// Has the system say for each packet where it was sent to, unless that is known.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let addr = socket.local_addr()?;
        let arrival = match addr.ip() {
            ip if !ip.is_unspecified() => Arrival::At(ip),
            IpAddr::V4(_) => Arrival::ToldV4,
            IpAddr::V6(_) => Arrival::ToldV6,
        };
        match arrival {
            Arrival::At(_) => {}
            Arrival::ToldV4 => set(&socket, IPPROTO_IP, IP_PKTINFO, 1)?,
            Arrival::ToldV6 => set(&socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)?,
        }
        // Answers fit everywhere, so that none is taken apart, whoever says that some path is narrower.
        let _ = set(&socket, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
        if addr.is_ipv6() {
            let _ = set(&socket, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
        }
        // A shorter queue loses packets sooner, and that is all.
        let _ = SockRef::from(&socket).set_recv_buffer_size(QUEUE_LEN);
        Ok(Self { socket, arrival, port: addr.port() })
    }

    /// Waits for packets, and takes as many as there are and have room.
    pub(super) async fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        loop {
            self.socket.readable().await?;
            let received = self.socket.try_io(Interest::READABLE, || {
                batch.receive(self.socket.as_fd())?;
                // There was nothing behind them: it need not be asked again before more come.
                if batch.len() < MAX_PACKETS { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match received {
                Err(error) if error.kind() == ErrorKind::WouldBlock && batch.len() == 0 => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => return Ok(()),
            }
        }
    }

    /// Sends answers to packets of a batch; `unsent` hears of each whose answer the system doesn't take.
    pub(super) fn send(&self, batch: &mut Batch, answers: &Answers, unsent: impl FnMut(usize)) {
        batch.send(self.socket.as_fd(), answers, unsent);
    }
}

fn set(socket: &UdpSocket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value is there for the call, and as long as it is told.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
