//! The upload slots and who sits in them: carries the choker's decisions to the connections.

use std::collections::HashMap;
use std::future::pending;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::debug;

use super::capacity::{Capacity, Meter, Seen};
use super::choker::{self, Candidate, Rules, Standing};
use super::host::host_of;
use crate::config::{ChokingConfig, UploadSlots};
use crate::topology::{Place, Topology};
use crate::traffic::Counters;

/// How long the end of a host's turn is remembered; a few hundred hosts have had theirs by then.
const TURNS_REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// All connections' seats, and how many of them may be uploaded to.
#[derive(Debug)]
pub(super) struct Slots {
    config: ChokingConfig,
    seats: Mutex<Seats>,
}

#[derive(Debug)]
struct Seats {
    rules: Rules,
    /// Where nothing says how many slots there are to be.
    adapted: Option<Adapted>,
    topology: Arc<Topology>,
    next: u64,
    by_id: HashMap<u64, Occupant>,
    unchoked: usize,
    /// When each host's last turn ended, lest it have the next with another of its connections.
    last_turns: HashMap<IpAddr, Instant>,
}

/// Slots by what is measured.
#[derive(Debug)]
struct Adapted {
    capacity: Capacity,
    meter: Meter,
}

#[derive(Debug)]
struct Occupant {
    /// Of its peer.
    ip: IpAddr,
    host: IpAddr,
    group: Place,
    counters: Arc<Counters>,
    /// The rate at the end of its last turn.
    last_rate: u64,
    unchoked: watch::Sender<bool>,
    /// None while it isn't interested.
    standing: Option<Standing>,
    /// Until then it is a guest: it waits for its turn as everybody does, and is unchoked meanwhile.
    guest_until: Option<Instant>,
}

impl Slots {
    /// By these rules, where all upload is limited to so many bytes a second; peers at one place are a group.
    pub(super) fn new(
        config: ChokingConfig,
        rate: Option<NonZeroU64>,
        topology: Arc<Topology>,
        now: Instant,
    ) -> Arc<Self> {
        let seats = Seats {
            rules: Rules::new(&config, config.slots.count(rate)),
            adapted: adapted(&config, rate, now),
            topology,
            next: 0,
            by_id: HashMap::new(),
            unchoked: 0,
            last_turns: HashMap::new(),
        };
        Arc::new(Self { config, seats: Mutex::new(seats) })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for a new connection from `ip`, which isn't interested yet.
    pub(super) fn take_seat(self: &Arc<Self>, ip: IpAddr) -> Seat {
        let (unchoked, decision) = watch::channel(false);
        let mut seats = self.seats();
        let id = seats.next;
        seats.next += 1;
        let counters = Arc::new(Counters::default());
        let occupant = Occupant {
            ip,
            host: host_of(ip),
            group: seats.topology.place_of(ip),
            counters: Arc::clone(&counters),
            last_rate: 0,
            unchoked,
            standing: None,
            guest_until: None,
        };
        seats.by_id.insert(id, occupant);
        Seat { id, slots: Arc::clone(self), decision, counters }
    }

    /// All upload is limited to so many bytes a second now.
    pub(super) fn set_rate(&self, rate: Option<NonZeroU64>, now: Instant) {
        let mut seats = self.seats();
        seats.rules = Rules::new(&self.config, self.config.slots.count(rate));
        seats.adapted = adapted(&self.config, rate, now);
    }

    /// Peers are elsewhere now, and their groups others.
    pub(super) fn set_topology(&self, topology: Arc<Topology>) {
        let mut seats = self.seats();
        seats.by_id.values_mut().for_each(|occupant| occupant.group = topology.place_of(occupant.ip));
        seats.topology = topology;
    }

    /// Gives everyone a turn; to be called now and then. So many bytes have gone out to all peers so far.
    pub(super) fn rotate(&self, now: Instant, uploaded: u64) {
        let mut seats = self.seats();
        if let Some(slots) = seats.adapt(now, uploaded) {
            debug!(slots, "upload slots");
            seats.rules = Rules::new(&self.config, slots);
        }
        let leaving = seats.end_visits(now);
        seats.last_turns.retain(|_, end| now.saturating_duration_since(*end) < TURNS_REMEMBERED);
        seats.by_id.values().for_each(|occupant| occupant.counters.sample(now));
        seats.decide(now);
        leaving.into_iter().for_each(|id| seats.refresh(id));
    }
}

fn adapted(config: &ChokingConfig, rate: Option<NonZeroU64>, now: Instant) -> Option<Adapted> {
    let is_measured = config.slots == UploadSlots::Auto && rate.is_none();
    is_measured.then(|| Adapted { capacity: Capacity::default(), meter: Meter::new(now) })
}

impl Seats {
    /// How many slots there are to be from now on, if others than so far.
    fn adapt(&mut self, now: Instant, uploaded: u64) -> Option<usize> {
        let is_candidate =
            |occupant: &&Occupant| occupant.standing.is_some() && occupant.guest_until.is_none();
        let interested = self.by_id.values().filter(is_candidate).count();
        let Adapted { capacity, meter } = self.adapted.as_mut()?;
        let seen =
            |rate| Seen { rate, unchoked: self.unchoked, waiting: interested.saturating_sub(self.unchoked) };
        if meter.lately(now, uploaded).is_some_and(|rate| capacity.open(seen(rate))) {
            meter.begin_step(now);
        } else {
            capacity.step(seen(meter.read(now, uploaded)?));
        }
        Some(capacity.slots()).filter(|slots| *slots != self.rules.slots)
    }

    fn set_standing(&mut self, id: u64, standing: Option<Standing>) {
        if let Some(occupant) = self.by_id.get_mut(&id) {
            let is_unchoked = |standing| matches!(standing, Some(Standing::Unchoked { .. }));
            self.unchoked -= usize::from(is_unchoked(occupant.standing));
            self.unchoked += usize::from(is_unchoked(standing));
            occupant.standing = standing;
            let (is_guest, has_slot) = (occupant.guest_until.is_some(), is_unchoked(standing));
            occupant.unchoked.send_if_modified(|value| {
                // A guest is unchoked once it is interested, and isn't choked when it has fetched what it was shown.
                let is_unchoked = has_slot || is_guest && (standing.is_some() || *value);
                std::mem::replace(value, is_unchoked) != is_unchoked
            });
            occupant.counters.set_standing(standing.is_some(), *occupant.unchoked.borrow());
        }
    }

    fn refresh(&mut self, id: u64) {
        if let Some(occupant) = self.by_id.get(&id) {
            self.set_standing(id, occupant.standing);
        }
    }

    fn invite(&mut self, id: u64, now: Instant) {
        let Some(occupant) = self.by_id.get_mut(&id) else { return };
        if occupant.guest_until.replace(now + choker::TURN).is_some() {
            return;
        }
        if matches!(occupant.standing, Some(Standing::Unchoked { .. })) {
            // Others may have its slot.
            self.set_standing(id, Some(Standing::Waiting { since: now }));
            self.decide(now);
        } else {
            self.refresh(id);
        }
    }

    /// Whose visit is over is a guest no longer, and loses what it was given for it unless it has its turn now.
    fn end_visits(&mut self, now: Instant) -> Vec<u64> {
        let is_over = |occupant: &Occupant| occupant.guest_until.is_some_and(|until| until <= now);
        let mut leaving = Vec::new();
        for (id, occupant) in self.by_id.iter_mut().filter(|(_, occupant)| is_over(occupant)) {
            occupant.guest_until = None;
            leaving.push(*id);
        }
        leaving
    }

    fn decide(&mut self, now: Instant) {
        let interested = self.by_id.iter().filter_map(|(id, occupant)| {
            let standing = occupant.standing.filter(|_| occupant.guest_until.is_none())?;
            let Occupant { host, group, counters, .. } = occupant;
            let rate = match standing {
                Standing::Unchoked { .. } => counters.rate(),
                Standing::Waiting { .. } => occupant.last_rate,
            };
            Some(Candidate { id: *id, host: *host, group: *group, standing, rate, share: counters.share() })
        });
        let last_turn = |host: &IpAddr| self.last_turns.get(host).copied();
        let decision = choker::decide(interested, last_turn, &self.rules, now);
        for id in decision.choke {
            if let Some(occupant) = self.by_id.get_mut(&id) {
                occupant.last_rate = occupant.counters.rate();
                self.last_turns.insert(occupant.host, now);
            }
            self.set_standing(id, Some(Standing::Waiting { since: now }));
        }
        for (id, optimistic) in decision.unchoke {
            self.set_standing(id, Some(Standing::Unchoked { since: now, optimistic }));
        }
    }
}

/// One connection's seat; left when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    slots: Arc<Slots>,
    decision: watch::Receiver<bool>,
    counters: Arc<Counters>,
}

impl Seat {
    /// What is counted of the connection.
    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The peer became interested, or lost interest: it waits for a turn or leaves its slot to others.
    pub(super) fn set_interested(&self, interested: bool, now: Instant) {
        let mut seats = self.slots.seats();
        let Some(occupant) = seats.by_id.get(&self.id) else { return };
        let (standing, is_guest) = (occupant.standing, occupant.guest_until.is_some());
        match (standing, interested) {
            (None, true) => {
                // Where a slot is free nobody waits for it.
                let standing = match !is_guest && seats.unchoked < seats.rules.slots {
                    true => Standing::Unchoked { since: now, optimistic: false },
                    false => Standing::Waiting { since: now },
                };
                seats.set_standing(self.id, Some(standing));
            }
            (Some(standing), false) => {
                seats.set_standing(self.id, None);
                if matches!(standing, Standing::Unchoked { .. }) {
                    seats.decide(now);
                }
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// The peer is to fetch something now that was meant for it: it is unchoked for about a turn from now on, beside
    /// those who have slots. How many are invited is others' to bound.
    pub(super) fn invite(&self, now: Instant) {
        self.slots.seats().invite(self.id, now);
    }

    /// What the choker decides from now on.
    pub(super) fn decisions(&self) -> Decisions {
        Decisions(self.decision.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.set_interested(false, Instant::now());
        self.slots.seats().by_id.remove(&self.id);
    }
}

/// The choker's decisions on one connection. Only the latest counts.
#[derive(Debug)]
pub(super) struct Decisions(watch::Receiver<bool>);

impl Decisions {
    /// Waits until the choker has decided anew; whether the peer is to be unchoked now. Never ends once the seat is
    /// left.
    pub(super) async fn next(&mut self) -> bool {
        match self.0.changed().await {
            Ok(()) => *self.0.borrow_and_update(),
            Err(_) => pending().await,
        }
    }
}

#[cfg(test)]
impl Slots {
    pub(super) fn one() -> Arc<Self> {
        let slots = "1".parse().unwrap();
        Self::new(ChokingConfig { slots, ..ChokingConfig::default() }, None, Arc::default(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::TopologyBuilder;

    fn is_unchoked(seat: &mut Seat) -> bool {
        *seat.decision.borrow_and_update()
    }

    #[test]
    fn hands_a_slot_on_when_its_holder_leaves_or_loses_interest() {
        let now = Instant::now();
        let slots = Slots::one();
        let [mut a, mut b, mut c] = [1, 2, 3].map(|host| slots.take_seat([10, 0, 0, host].into()));
        a.set_interested(true, now);
        b.set_interested(true, now + choker::TURN / 10);
        c.set_interested(true, now + choker::TURN / 5);
        assert_eq!([is_unchoked(&mut a), is_unchoked(&mut b), is_unchoked(&mut c)], [true, false, false]);
        a.set_interested(false, now);
        assert_eq!([is_unchoked(&mut a), is_unchoked(&mut b), is_unchoked(&mut c)], [false, true, false]);
        drop(b);
        assert!(is_unchoked(&mut c));
        assert_eq!(slots.seats().unchoked, 1);
        drop((a, c));
        assert_eq!(slots.seats().unchoked, 0);
        assert!(slots.seats().by_id.is_empty());
    }

    #[test]
    fn rotates_when_the_turn_is_over() {
        let now = Instant::now();
        let slots = Slots::one();
        let [mut a, mut b] = [1, 2].map(|host| slots.take_seat([10, 0, 0, host].into()));
        a.set_interested(true, now);
        b.set_interested(true, now);
        slots.rotate(now + choker::TURN, 0);
        assert_eq!([is_unchoked(&mut a), is_unchoked(&mut b)], [false, true]);
    }

    #[test]
    fn a_guest_waits_for_no_slot_and_takes_none() {
        let now = Instant::now();
        let slots = Slots::one();
        let [mut a, mut b, mut c] = [1, 2, 3].map(|host| slots.take_seat([10, 0, 0, host].into()));
        a.set_interested(true, now);
        b.invite(now);
        assert!(!is_unchoked(&mut b), "it hasn't said that it is interested");
        b.set_interested(true, now);
        assert_eq!([is_unchoked(&mut a), is_unchoked(&mut b)], [true, true]);
        b.set_interested(false, now);
        assert!(is_unchoked(&mut b), "it may come back for the next piece");
        b.set_interested(true, now);
        c.set_interested(true, now);
        slots.rotate(now + choker::TURN / 2, 0);
        assert_eq!([is_unchoked(&mut a), is_unchoked(&mut b), is_unchoked(&mut c)], [true, true, false]);
        b.invite(now + choker::TURN / 2);
        slots.rotate(now + choker::TURN, 0);
        assert_eq!([is_unchoked(&mut a), is_unchoked(&mut b), is_unchoked(&mut c)], [false, true, true]);
        slots.rotate(now + choker::TURN / 2 * 3, 0);
        assert_eq!([is_unchoked(&mut b), is_unchoked(&mut c)], [false, true], "its time is over");
        assert_eq!(slots.seats().unchoked, 1);
    }

    #[test]
    fn who_becomes_a_guest_leaves_its_slot_to_others() {
        let now = Instant::now();
        let slots = Slots::one();
        let [mut a, mut b] = [1, 2].map(|host| slots.take_seat([10, 0, 0, host].into()));
        a.set_interested(true, now);
        b.set_interested(true, now);
        a.invite(now);
        assert_eq!([is_unchoked(&mut a), is_unchoked(&mut b)], [true, true]);
        drop(b);
        slots.rotate(now + choker::TURN, 0);
        assert!(is_unchoked(&mut a), "there is a slot for it, and nobody else");
    }

    #[test]
    fn peers_are_in_the_groups_of_the_topology_in_force() {
        let slots = Slots::one();
        let seats = [[10, 0, 0, 1], [10, 0, 1, 1], [10, 1, 0, 1]].map(|ip| slots.take_seat(ip.into()));
        let are_together = |a: &Seat, b: &Seat| {
            let seats = slots.seats();
            seats.by_id[&a.id].group == seats.by_id[&b.id].group
        };
        let [a, b, c] = &seats;
        assert!(!are_together(a, b) && !are_together(b, c));
        let mut table = TopologyBuilder::default();
        table.add("10.0.0.0/16".parse().unwrap(), &"dc1".parse().unwrap()).unwrap();
        slots.set_topology(Arc::new(table.build()));
        assert!(are_together(a, b) && !are_together(b, c));
        assert!(are_together(a, &slots.take_seat([10, 0, 2, 1].into())));
    }
}
