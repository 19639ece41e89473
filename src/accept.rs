//! Accepting connections, and how many are held: in all, from one address, and as far as the system has descriptors.
//! What is said on them is not known here.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{SocketFlags, acceptfrom_with};
use rustix::process::{Resource, getrlimit};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use crate::config::TrustedProxy;

/// The pause after the system refuses to accept (no descriptors left, say); trying at once would spin.
const PAUSE: Duration = Duration::from_millis(500);
/// Descriptors that connections leave to files, directories and the process itself.
const RESERVED_DESCRIPTORS: u64 = 256;

/// How many connections are accepted at a time: whatever else there is to do waits for no more.
pub(crate) const MAX_AT_ONCE: usize = 32;

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener(AsyncFd<Socket>);

impl Listener {
    /// Of a socket that listens and blocks nobody. Must be called within a runtime.
    #[allow(unsafe_code)]
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        // SAFETY: a `Socket` owns its descriptor, gives the same one whenever it is asked, and keeps it open until it is
        // dropped; here it is lent out, but never to be changed.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self(socket?))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let addr = self.0.get_ref().local_addr()?;
        addr.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    async fn accept(&self) -> io::Result<(std::net::TcpStream, SocketAddr)> {
        self.0.async_io(Interest::READABLE, accept_now).await
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

/// The runtime hears of what it gives only when somebody has to wait for it.
fn accept_now(listener: &Socket) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (socket, remote) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let remote = remote.and_then(|remote| SocketAddr::try_from(remote).ok());
    let remote = remote.ok_or(io::ErrorKind::NotConnected)?;
    Ok((socket.into(), remote))
}

/// A listener that admits no more connections than it may.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: Listener,
    what: &'static str,
    all: Arc<Semaphore>,
    by_address: Arc<Addresses>,
    /// Whose connections are those of many hosts.
    many_from: Vec<TrustedProxy>,
}

/// A connection that was just accepted and blocks nobody. The runtime doesn't know it yet: what can be done at once costs
/// no registration.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) remote: SocketAddr,
    pub(crate) admission: Admission,
}

/// The right to hold a connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    _one_of_all: OwnedSemaphorePermit,
    one_of_an_address: AddressPermit,
}

impl Admission {
    /// Whether its address had no other when it came.
    pub(crate) fn is_only_one_of_its_address(&self) -> bool {
        self.one_of_an_address.is_only_one
    }
}

impl Acceptor {
    /// At most half of the descriptors that the system has for connections are taken, however large `max`.
    pub(crate) fn new(listener: Listener, what: &'static str, max: usize, max_per_address: usize) -> Self {
        let max = affordable(max);
        let by_address = Addresses::new(max_per_address);
        Self { listener, what, all: Arc::new(Semaphore::new(max)), by_address, many_from: Vec::new() }
    }

    /// From these there may be as many as in all.
    pub(crate) fn with_many_from(self, many_from: Vec<TrustedProxy>) -> Self {
        Self { many_from, ..self }
    }

    /// The next connection. When as many are held as may be, newcomers wait in the listener's backlog; one from an
    /// address that has its share already is closed.
    pub(crate) async fn accept(&self) -> (TcpStream, Admission) {
        loop {
            let Newcomer { stream, admission, .. } = self.next().await;
            match TcpStream::from_std(stream) {
                Ok(stream) => return (stream, admission),
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// Waits for a connection, and adds it and those that wait behind it, some dozens at most. Where it is dropped,
    /// nothing is lost.
    pub(crate) async fn accept_some(&self, newcomers: &mut Vec<Newcomer>) {
        newcomers.push(self.next().await);
        while newcomers.len() < MAX_AT_ONCE {
            let Ok(one_of_all) = Arc::clone(&self.all).try_acquire_owned() else { return };
            // An error comes again when it is waited for, and is told then.
            let Ok((stream, remote)) = self.listener.0.try_io(Interest::READABLE, accept_now) else { return };
            newcomers.extend(self.admit(stream, remote, one_of_all));
        }
    }

    async fn next(&self) -> Newcomer {
        loop {
            // The semaphore is never closed.
            let Ok(one_of_all) = Arc::clone(&self.all).acquire_owned().await else { return pending().await };
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    if let Some(newcomer) = self.admit(stream, remote, one_of_all) {
                        return newcomer;
                    }
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    fn admit(
        &self,
        stream: std::net::TcpStream,
        remote: SocketAddr,
        one_of_all: OwnedSemaphorePermit,
    ) -> Option<Newcomer> {
        let ip = remote.ip();
        let of_many = self.many_from.iter().any(|proxies| proxies.contains(ip));
        let max = if of_many { usize::MAX } else { self.by_address.max };
        let Some(one_of_an_address) = self.by_address.admit_up_to(max, ip) else {
            debug!(%remote, what = self.what, "closed: too many connections from one address");
            return None;
        };
        let admission = Admission { _one_of_all: one_of_all, one_of_an_address };
        Some(Newcomer { stream, remote, admission })
    }

    async fn pause(&self, error: &io::Error) {
        warn!(%error, what = self.what, "can't accept connections; trying again");
        tokio::time::sleep(PAUSE).await;
    }

    /// The right to hold a connection that we make ourselves, if that is possible at once.
    pub(crate) fn try_admit(&self, ip: IpAddr) -> Option<Admission> {
        let one_of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let one_of_an_address = self.by_address.admit(ip)?;
        Some(Admission { _one_of_all: one_of_all, one_of_an_address })
    }
}

/// How many of so many connections the system has descriptors for, if the other listener takes as many.
pub(crate) fn affordable(max: usize) -> usize {
    let half =
        getrlimit(Resource::Nofile).current.map(|limit| limit.saturating_sub(RESERVED_DESCRIPTORS) / 2);
    let half = half.and_then(|half| usize::try_from(half).ok()).unwrap_or(usize::MAX);
    max.min(half).clamp(1, Semaphore::MAX_PERMITS)
}

/// How many connections there are to or from each address.
#[derive(Debug)]
pub(crate) struct Addresses {
    max: usize,
    /// Addresses without a connection are not in it.
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    /// `max` for each.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, counts: Mutex::default() })
    }

    /// One more, if it has not as many as it may. IPv4-mapped addresses are the IPv4 ones.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<AddressPermit> {
        self.admit_up_to(self.max, ip)
    }

    fn admit_up_to(self: &Arc<Self>, max: usize, ip: IpAddr) -> Option<AddressPermit> {
        let ip = ip.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&ip).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        counts.insert(ip, count + 1);
        Some(AddressPermit { ip, is_only_one: count == 0, addresses: Arc::clone(self) })
    }
}

/// One of an address's connections; given back when dropped.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    ip: IpAddr,
    is_only_one: bool,
    addresses: Arc<Addresses>,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn acceptor(max: usize, max_per_address: usize) -> Acceptor {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Acceptor::new(Listener::new(listener.into()).unwrap(), "tests", max, max_per_address)
    }

    async fn connect(acceptor: &Acceptor) -> TcpStream {
        TcpStream::connect(acceptor.listener.local_addr().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn lets_newcomers_wait_at_the_limit() {
        let acceptor = acceptor(1, 10).await;
        let _clients = (connect(&acceptor).await, connect(&acceptor).await);
        let (_stream, admission) = acceptor.accept().await;
        assert_eq!(acceptor.all.available_permits(), 0);
        drop(admission);
        acceptor.accept().await;
    }

    #[tokio::test]
    async fn takes_those_who_wait_together_but_no_more_than_may_be_held() {
        let acceptor = acceptor(3, 10).await;
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(connect(&acceptor).await);
        }
        let mut newcomers = Vec::new();
        acceptor.accept_some(&mut newcomers).await;
        assert_eq!(newcomers.len(), 3);
        let remotes: Vec<_> = newcomers.iter().map(|newcomer| newcomer.remote).collect();
        let expected: Vec<_> = clients.iter().take(3).map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(remotes, expected);
        newcomers.clear();
        acceptor.accept_some(&mut newcomers).await;
        assert_eq!(newcomers.len(), 2);
    }

    #[tokio::test]
    async fn takes_some_dozens_at_a_time_at_most() {
        let acceptor = acceptor(10 * MAX_AT_ONCE, 10 * MAX_AT_ONCE).await;
        let mut clients = Vec::new();
        for _ in 0..=MAX_AT_ONCE {
            clients.push(connect(&acceptor).await);
        }
        let mut newcomers = Vec::new();
        acceptor.accept_some(&mut newcomers).await;
        assert_eq!(newcomers.len(), MAX_AT_ONCE);
    }

    #[tokio::test]
    async fn closes_what_one_address_has_too_much_of() {
        let acceptor = acceptor(10, 1).await;
        let (_first, mut second) = (connect(&acceptor).await, connect(&acceptor).await);
        let (_stream, admission) = acceptor.accept().await;
        tokio::select! {
            _ = acceptor.accept() => panic!("one address has two connections"),
            read = second.read_u8() => assert!(read.is_err(), "it is closed"),
        }
        drop(admission);
        let _third = connect(&acceptor).await;
        acceptor.accept().await;
        assert!(acceptor.by_address.counts.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn takes_from_a_proxy_as_many_as_in_all() {
        let acceptor = acceptor(2, 1).await.with_many_from(vec!["127.0.0.1".parse().unwrap()]);
        let _clients = (connect(&acceptor).await, connect(&acceptor).await);
        let _accepted = (acceptor.accept().await, acceptor.accept().await);
        assert_eq!(acceptor.all.available_permits(), 0);
    }
}
