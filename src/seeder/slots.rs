//! The upload slots and who sits in them: carries the choker's decisions to the connections.

use std::collections::HashMap;
use std::future::pending;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::choker::{self, Standing};

/// How long the end of a host's turn is remembered; a few hundred hosts have had theirs by then.
const TURNS_REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// All connections' seats, and how many of them may be uploaded to.
#[derive(Debug)]
pub(super) struct Slots {
    count: usize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    by_id: HashMap<u64, Occupant>,
    unchoked: usize,
    /// When each host's last turn ended, lest it have the next with another of its connections.
    last_turns: HashMap<IpAddr, Instant>,
}

#[derive(Debug)]
struct Occupant {
    /// Of its peer.
    host: IpAddr,
    unchoked: watch::Sender<bool>,
    /// None while it isn't interested.
    standing: Option<Standing>,
}

impl Slots {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { count, seats: Mutex::default() })
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
        seats.by_id.insert(id, Occupant { host: host_of(ip), unchoked, standing: None });
        Seat { id, slots: Arc::clone(self), decision }
    }

    /// Gives everyone a turn; to be called now and then.
    pub(super) fn rotate(&self, now: Instant) {
        let mut seats = self.seats();
        seats.last_turns.retain(|_, end| now.saturating_duration_since(*end) < TURNS_REMEMBERED);
        seats.decide(self.count, now);
    }
}

impl Seats {
    fn set_standing(&mut self, id: u64, standing: Option<Standing>) {
        if let Some(occupant) = self.by_id.get_mut(&id) {
            let is_unchoked = |standing| matches!(standing, Some(Standing::Unchoked { .. }));
            self.unchoked -= usize::from(is_unchoked(occupant.standing));
            self.unchoked += usize::from(is_unchoked(standing));
            occupant.standing = standing;
            occupant.unchoked.send_if_modified(|value| {
                let changed = *value != is_unchoked(standing);
                *value = is_unchoked(standing);
                changed
            });
        }
    }

    fn decide(&mut self, slots: usize, now: Instant) {
        let interested =
            self.by_id.iter().filter_map(|(id, occupant)| Some((*id, occupant.host, occupant.standing?)));
        let last_turn = |host: &IpAddr| self.last_turns.get(host).copied();
        let decision = choker::decide(interested, last_turn, slots, now);
        for id in decision.choke {
            if let Some(occupant) = self.by_id.get(&id) {
                self.last_turns.insert(occupant.host, now);
            }
            self.set_standing(id, Some(Standing::Waiting { since: now }));
        }
        for id in decision.unchoke {
            self.set_standing(id, Some(Standing::Unchoked { since: now }));
        }
    }
}

/// One connection's seat; left when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    slots: Arc<Slots>,
    decision: watch::Receiver<bool>,
}

impl Seat {
    /// The peer became interested, or lost interest: it waits for a turn or leaves its slot to others.
    pub(super) fn set_interested(&self, interested: bool, now: Instant) {
        let mut seats = self.slots.seats();
        let standing = seats.by_id.get(&self.id).and_then(|occupant| occupant.standing);
        match (standing, interested) {
            (None, true) => {
                // Where a slot is free nobody waits for it.
                let standing = match seats.unchoked < self.slots.count {
                    true => Standing::Unchoked { since: now },
                    false => Standing::Waiting { since: now },
                };
                seats.set_standing(self.id, Some(standing));
            }
            (Some(standing), false) => {
                seats.set_standing(self.id, None);
                if matches!(standing, Standing::Unchoked { .. }) {
                    seats.decide(self.slots.count, now);
                }
            }
            (None, false) | (Some(_), true) => {}
        }
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

/// One host: an IPv6 host has a whole /64 to take addresses from.
fn host_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_unchoked(seat: &mut Seat) -> bool {
        *seat.decision.borrow_and_update()
    }

    #[test]
    fn hands_a_slot_on_when_its_holder_leaves_or_loses_interest() {
        let now = Instant::now();
        let slots = Slots::new(1);
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
        let slots = Slots::new(1);
        let [mut a, mut b] = [1, 2].map(|host| slots.take_seat([10, 0, 0, host].into()));
        a.set_interested(true, now);
        b.set_interested(true, now);
        slots.rotate(now + choker::TURN);
        assert_eq!([is_unchoked(&mut a), is_unchoked(&mut b)], [false, true]);
    }
}
