//! Accepting connections, and how many are held: in all, from one address, and as far as the system has descriptors.
//! What is said on them is not known here.

use std::collections::HashMap;
use std::future::pending;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

/// The pause after the system refuses to accept (no descriptors left, say); trying at once would spin.
const PAUSE: Duration = Duration::from_millis(500);
/// Descriptors that connections leave to files, directories and the process itself.
const RESERVED_DESCRIPTORS: u64 = 256;

/// A listener that admits no more connections than it may.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: TcpListener,
    what: &'static str,
    all: Arc<Semaphore>,
    by_address: Arc<Addresses>,
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
    pub(crate) fn new(listener: TcpListener, what: &'static str, max: usize, max_per_address: usize) -> Self {
        let max = affordable(max);
        let by_address = Addresses::new(max_per_address);
        Self { listener, what, all: Arc::new(Semaphore::new(max)), by_address }
    }

    /// The next connection. When as many are held as may be, newcomers wait in the listener's backlog; one from an
    /// address that has its share already is closed.
    pub(crate) async fn accept(&self) -> (TcpStream, Admission) {
        loop {
            // The semaphore is never closed.
            let Ok(one_of_all) = Arc::clone(&self.all).acquire_owned().await else { return pending().await };
            match self.listener.accept().await {
                Ok((stream, remote)) => match self.by_address.admit(remote.ip()) {
                    Some(one_of_an_address) => {
                        let admission = Admission { _one_of_all: one_of_all, one_of_an_address };
                        return (stream, admission);
                    }
                    None => {
                        debug!(%remote, what = self.what, "closed: too many connections from one address")
                    }
                },
                Err(error) => {
                    warn!(%error, what = self.what, "can't accept connections; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
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
        let ip = ip.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&ip).copied().unwrap_or(0);
        if count >= self.max {
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Acceptor::new(listener, "tests", max, max_per_address)
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
}
