//! Holds connections to the rates: carries the limiter's grants to those who wait for them, and other rates to the
//! limiter. One timer for all.
//!
//! Without limits a connection pays for this with one relaxed load a write.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::host::host_of;
use super::rate_limit::{Limiter, Limits};
use super::sleep_until;
use crate::config::UploadRates;
use crate::topology::{Place, Topology};

#[derive(Debug)]
pub(super) struct Pacer {
    /// What is granted at a time; 0 without limits.
    quantum: AtomicU64,
    queue: Mutex<Queue>,
    /// The timer is to ring sooner than it was set to.
    sooner: Notify,
}

#[derive(Debug)]
struct Queue {
    /// Its groups are the places of the topology.
    limiter: Limiter<u64, IpAddr, Place>,
    topology: Arc<Topology>,
    next_id: u64,
    /// Those who have asked.
    members: HashMap<u64, Member>,
    /// When the timer rings.
    timer: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    ip: IpAddr,
    place: Place,
    /// How it is told that it was granted something.
    granted: Arc<Notify>,
}

impl Pacer {
    pub(super) fn new(rates: UploadRates, topology: Arc<Topology>, now: Instant) -> Arc<Self> {
        let limits = limits_of(rates);
        let limiter = Limiter::new(limits, now);
        let queue = Queue { limiter, topology, next_id: 0, members: HashMap::new(), timer: None };
        Arc::new(Self {
            quantum: AtomicU64::new(quantum_of(&limits)),
            queue: Mutex::new(queue),
            sooner: Notify::new(),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quantum(&self) -> Option<u64> {
        Some(self.quantum.load(Ordering::Relaxed)).filter(|quantum| *quantum > 0)
    }

    /// Wakes those whose turn has come, and takes other rates and topologies as they are set, until shutdown.
    pub(super) async fn run(
        &self,
        mut rates: watch::Receiver<UploadRates>,
        mut topology: watch::Receiver<Arc<Topology>>,
        shutdown: CancellationToken,
    ) {
        loop {
            let due = self.set_timer(Instant::now());
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = rates.changed() => {
                    let limits = limits_of(*rates.borrow_and_update());
                    self.set_limits(limits, Instant::now());
                }
                Ok(()) = topology.changed() => {
                    let topology = Arc::clone(&topology.borrow_and_update());
                    self.set_topology(topology, Instant::now());
                }
                () = sleep_until(due), if due.is_some() => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    fn set_timer(&self, now: Instant) -> Option<Instant> {
        let mut queue = self.queue();
        queue.serve(now, None);
        queue.timer = queue.limiter.next_due();
        queue.timer
    }

    fn set_limits(&self, limits: Limits, now: Instant) {
        let mut queue = self.queue();
        queue.limiter.set_limits(limits, now);
        // Under the lock: who saw limits before waits in the line now, and is served.
        self.quantum.store(quantum_of(&limits), Ordering::Relaxed);
        queue.serve(now, None);
    }

    fn set_topology(&self, topology: Arc<Topology>, now: Instant) {
        let mut queue = self.queue();
        let Queue { limiter, members, .. } = &mut *queue;
        members.values_mut().for_each(|member| member.place = topology.place_of(member.ip));
        limiter.regroup(now, |id, group| members.get(&id).map_or(group, |member| member.place));
        queue.topology = topology;
        queue.serve(now, None);
    }

    /// Does something with the queue, serves who can be served then, and has the timer ring for the rest.
    fn with_queue<T>(&self, now: Instant, act: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue();
        let done = act(&mut queue);
        queue.serve(now, None);
        if let Some(due) = queue.limiter.next_due()
            && queue.timer.is_none_or(|timer| due < timer)
        {
            queue.timer = Some(due);
            self.sooner.notify_one();
        }
        done
    }
}

impl Queue {
    /// Grants what can be granted now, and tells those who are granted something, but for one who sees by itself.
    fn serve(&mut self, now: Instant, but: Option<u64>) {
        let members = &self.members;
        self.limiter.serve(now, |id| {
            if let Some(member) = members.get(&id).filter(|_| but != Some(id)) {
                member.granted.notify_one();
            }
        });
    }

    fn admit(&mut self, ip: IpAddr) -> Asked {
        let (id, granted) = (self.next_id, Arc::new(Notify::new()));
        self.next_id += 1;
        let place = self.topology.place_of(ip);
        self.members.insert(id, Member { ip, place, granted: Arc::clone(&granted) });
        Asked { id, granted }
    }
}

fn quantum_of(limits: &Limits) -> u64 {
    if limits.are_none() { 0 } else { limits.quantum() }
}

fn limits_of(rates: UploadRates) -> Limits {
    Limits {
        total: rates.total.bytes_per_second(),
        per_group: rates.per_group.bytes_per_second(),
        per_peer: rates.per_peer.bytes_per_second(),
    }
}

/// One connection's share of the rates; given up when dropped.
#[derive(Debug)]
pub(super) struct Ration {
    pacer: Arc<Pacer>,
    /// The peer's.
    ip: IpAddr,
    /// Once it has met with a limit.
    asked: Option<Asked>,
    waits: bool,
}

#[derive(Debug)]
struct Asked {
    id: u64,
    granted: Arc<Notify>,
}

/// How many bytes one write may take. To be [settled](Ration::settle).
#[derive(Clone, Copy, Debug)]
pub(super) enum Allowance {
    Unlimited,
    Bytes(u64),
}

impl Allowance {
    /// For blocks; messages go in any case.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Unlimited => usize::MAX,
            Self::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }
}

impl Ration {
    /// Of a connection with a peer at `ip`.
    pub(super) fn new(pacer: &Arc<Pacer>, ip: IpAddr) -> Self {
        Self { pacer: Arc::clone(pacer), ip, asked: None, waits: false }
    }

    /// How many bytes of blocks it is of use to have at hand, where there is a limit: as many as can be had at a time.
    pub(super) fn at_hand(&self) -> Option<usize> {
        self.pacer.quantum().map(|quantum| usize::try_from(quantum).unwrap_or(usize::MAX))
    }

    /// For messages, which need none.
    pub(super) fn for_messages(&self) -> Allowance {
        if self.pacer.quantum().is_some() { Allowance::Bytes(0) } else { Allowance::Unlimited }
    }

    /// What may be sent now; nothing if it is others' turn, and then [`granted`](Self::granted) is worth waiting for.
    pub(super) fn ask(&mut self) -> Allowance {
        self.waits = false;
        if self.pacer.quantum().is_none() {
            return Allowance::Unlimited;
        }
        let now = Instant::now();
        let Self { pacer, ip, asked, .. } = self;
        let collected = pacer.with_queue(now, |queue| {
            let id = asked.get_or_insert_with(|| queue.admit(*ip)).id;
            if let Some(member) = queue.members.get(&id) {
                queue.limiter.ask(id, host_of(member.ip), member.place, now);
            }
            queue.serve(now, Some(id));
            queue.limiter.collect(id)
        });
        self.waits = collected.is_none();
        Allowance::Bytes(collected.unwrap_or(0))
    }

    /// So many bytes were sent by an allowance, messages included. The rest is others' again.
    pub(super) fn settle(&self, allowance: Allowance, sent: usize) {
        if let (Allowance::Bytes(allowed), Some(asked)) = (allowance, &self.asked) {
            let now = Instant::now();
            self.pacer.with_queue(now, |queue| queue.limiter.settle(asked.id, allowed, sent as u64, now));
        }
    }

    /// It can't send now, whatever it asked for: others may.
    pub(super) fn withdraw(&mut self) {
        self.waits = false;
        if let Some(asked) = &self.asked {
            let now = Instant::now();
            self.pacer.with_queue(now, |queue| queue.limiter.withdraw(asked.id, now));
        }
    }

    /// Whether it is others' turn.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Waits until it is worth asking again; for ever, unless it was asked in vain.
    pub(super) async fn granted(&mut self) {
        match &self.asked {
            Some(asked) if self.waits => asked.granted.notified().await,
            _ => std::future::pending().await,
        }
        self.waits = false;
    }
}

impl Drop for Ration {
    fn drop(&mut self) {
        if let Some(asked) = &self.asked {
            let now = Instant::now();
            self.pacer.with_queue(now, |queue| {
                queue.members.remove(&asked.id);
                queue.limiter.leave(asked.id, now);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UploadRate;
    use crate::topology::TopologyBuilder;

    fn ration(pacer: &Arc<Pacer>) -> Ration {
        Ration::new(pacer, [10, 0, 0, 1].into())
    }

    /// A byte a second: what a bucket begins with is all that is ever granted in a test.
    fn slow() -> UploadRates {
        UploadRates { total: UploadRate::new(1), ..UploadRates::default() }
    }

    #[test]
    fn without_limits_nobody_is_known() {
        let pacer = Pacer::new(UploadRates::default(), Arc::default(), Instant::now());
        let mut ration = ration(&pacer);
        assert!(matches!(ration.ask(), Allowance::Unlimited) && !ration.waits());
        assert!(matches!(ration.for_messages(), Allowance::Unlimited));
        ration.settle(Allowance::Unlimited, 1 << 30);
        assert!(ration.at_hand().is_none() && pacer.queue().members.is_empty());
    }

    #[tokio::test]
    async fn what_one_gives_back_wakes_the_next() {
        let pacer = Pacer::new(slow(), Arc::default(), Instant::now());
        let (mut first, mut second) = (ration(&pacer), ration(&pacer));
        let allowance = first.ask();
        assert_eq!(Some(allowance.bytes()), first.at_hand());
        assert_eq!(second.ask().bytes(), 0);
        assert!(second.waits() && !first.waits());
        first.settle(allowance, 0);
        second.granted().await;
        assert_eq!(Some(second.ask().bytes()), second.at_hand());
    }

    #[tokio::test]
    async fn who_leaves_leaves_what_it_was_granted_to_the_next() {
        let pacer = Pacer::new(slow(), Arc::default(), Instant::now());
        let [mut first, mut second, mut third] = [(); 3].map(|()| ration(&pacer));
        let allowance = first.ask();
        assert_eq!([second.ask().bytes(), third.ask().bytes()], [0, 0]);
        first.settle(allowance, 0);
        drop((first, second));
        third.granted().await;
        assert!(third.ask().bytes() > 0);
        drop(third);
        assert!(pacer.queue().members.is_empty());
    }

    #[tokio::test]
    async fn what_one_was_granted_that_cannot_send_is_the_next_ones() {
        let pacer = Pacer::new(slow(), Arc::default(), Instant::now());
        let [mut first, mut second, mut third] = [(); 3].map(|()| ration(&pacer));
        let allowance = first.ask();
        assert_eq!([second.ask().bytes(), third.ask().bytes()], [0, 0]);
        first.settle(allowance, 0);
        // The second hasn't collected it, and waits for something else by now.
        second.withdraw();
        third.granted().await;
        assert!(third.ask().bytes() > 0);
    }

    #[tokio::test]
    async fn other_rates_reach_those_who_wait_and_those_who_come() {
        let rates = watch::Sender::new(slow());
        let pacer = Pacer::new(slow(), Arc::default(), Instant::now());
        let (mut first, mut second) = (ration(&pacer), ration(&pacer));
        first.ask();
        assert_eq!(second.ask().bytes(), 0);
        let shutdown = CancellationToken::new();
        let waiter = async {
            rates.send_replace(UploadRates::default());
            second.granted().await;
            assert!(matches!(second.ask(), Allowance::Unlimited));
            shutdown.cancel();
        };
        let topology = watch::Sender::new(Arc::default());
        tokio::join!(pacer.run(rates.subscribe(), topology.subscribe(), shutdown.clone()), waiter);
    }

    #[tokio::test]
    async fn who_is_found_elsewhere_draws_from_the_group_there() {
        let rates = UploadRates { per_group: UploadRate::new(1), ..UploadRates::default() };
        let pacer = Pacer::new(rates, Arc::default(), Instant::now());
        let [mut first, mut second, mut third] =
            [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 1, 1]].map(|ip| Ration::new(&pacer, ip.into()));
        assert_eq!(
            [&mut first, &mut second, &mut third].map(|ration| ration.ask().bytes() > 0),
            [true, false, true]
        );
        let mut table = TopologyBuilder::default();
        table.add("10.0.0.0/16".parse().unwrap(), &"dc1".parse().unwrap()).unwrap();
        pacer.set_topology(Arc::new(table.build()), Instant::now());
        second.granted().await;
        assert!(second.ask().bytes() > 0, "it waited, and has what the three are granted together");
        assert_eq!(third.ask().bytes(), 0, "as it would have by itself");
        assert_eq!(Ration::new(&pacer, [10, 0, 9, 9].into()).ask().bytes(), 0, "nor has who comes then");
    }
}
