//! What one that asks is told: of whom first, of whom else, and of the origin.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;

use super::member::Member;
use super::swarm::{Members, View};
use crate::steering::{Asker, Rack, choose};

/// By default what a tracker says that knows no racks.
#[derive(Debug)]
pub(crate) struct Advice {
    /// Of whom to tell first, the most important at the front.
    pub(crate) first: Vec<SocketAddr>,
    /// Whether others are told of too, whom chance chooses.
    pub(crate) others: bool,
    /// Whether the origin is told of.
    pub(crate) origin: bool,
}

impl Default for Advice {
    fn default() -> Self {
        Self { first: Vec::new(), others: true, origin: true }
    }
}

/// Who asks, and for how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub(super) addr: SocketAddr,
    pub(super) rack: Rack,
    pub(super) enough: usize,
}

impl View<'_> {
    /// What an asker is told. Of a rack that is only guessed, no more than half the answer: that is a preference, and
    /// keeps nobody from anybody.
    pub(super) fn advise(
        &self,
        asking: &Asking,
        fits: impl Fn(&SocketAddr) -> bool,
        keys: &impl BuildHasher,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Advice {
        let Asking { addr, rack, enough } = *asking;
        // One that can't be dialled is no member, and may be alone in its rack.
        let Some(members) = self.swarm.racks.get(&rack) else { return Advice::default() };
        let is_known = members.is_known();
        let enough = if is_known { enough } else { enough / 2 };
        let is_alone = members.hosts.len() == 1 && !is_known;
        let first = if is_alone || enough == 0 {
            Vec::new()
        } else {
            let is_gateway = self.swarm.members.get(&addr).is_some_and(|member| member.is_gateway);
            choose(self, &Asker { id: addr, rack, is_gateway }, enough, fits, keys, rng)
        };
        Advice { first, others: !is_known, origin: !is_known || self.needs_origin(addr, members, now) }
    }

    /// Gateways do, and whoever can't rely on those of its rack; and who can't be dialled, since that is how all others
    /// are found when they need it.
    fn needs_origin(&self, addr: SocketAddr, rack: &Members, now: Instant) -> bool {
        let Some(asker) = self.swarm.members.get(&addr) else { return true };
        let gateways = || rack.gateways.iter().filter_map(|addr| self.swarm.members.get(addr));
        let serves = |gateway: &Member| gateway.standing.is_here() && !gateway.is_stalled(now);
        asker.is_gateway || asker.is_stalled(now) || !gateways().any(serves)
    }
}
