//! What one that asks is told: of which other hosts, and of the origin.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rand::Rng;

use super::member::Member;
use super::swarm::{Members, View};
use crate::steering::{Asker, Rack, Standing, choose};

/// By default what a tracker says that knows no racks.
#[derive(Debug)]
pub(crate) struct Advice {
    /// Of whom to tell, the most important at the front, and of nobody else. None where that is left to chance.
    pub(crate) peers: Option<Vec<SocketAddr>>,
    /// Whether the origin is told of.
    pub(crate) origin: bool,
}

impl Default for Advice {
    fn default() -> Self {
        Self { peers: None, origin: true }
    }
}

/// Who asks, and for how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub(super) addr: SocketAddr,
    pub(super) rack: Rack,
    pub(super) enough: usize,
    pub(super) wants_seeds: bool,
}

impl View<'_> {
    /// What an asker is told that can reach whom `admits` lets through.
    pub(super) fn advise(
        &self,
        asking: &Asking,
        admits: impl Fn(IpAddr) -> bool,
        keys: &impl BuildHasher,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Advice {
        let Asking { addr, rack, enough, wants_seeds } = *asking;
        // One that can't be dialled is no member, and may be alone in its rack.
        let Some(members) = self.swarm.racks.get(&rack) else { return Advice::default() };
        let is_gateway = self.swarm.members.get(&addr).is_some_and(|member| member.is_gateway);
        let wants = |member: &Member| match member.standing {
            Standing::Downloads => true,
            Standing::Seeds => wants_seeds,
            Standing::Stopped | Standing::Vanished => false,
        };
        let fits =
            |other: &SocketAddr| admits(other.ip()) && self.swarm.members.get(other).is_some_and(wants);
        let peers = match enough {
            0 => Vec::new(),
            enough => choose(self, &Asker { id: addr, rack, is_gateway }, enough, fits, keys, rng),
        };
        Advice { peers: Some(peers), origin: self.needs_origin(addr, members, now) }
    }

    /// Gateways do, and whoever can't rely on those of its rack. So does everybody to whose help the origin couldn't
    /// come, and of a newcomer nobody knows: some clients ask again after five minutes only, when all others may be
    /// gone.
    fn needs_origin(&self, addr: SocketAddr, rack: &Members, now: Instant) -> bool {
        let Some(asker) = self.swarm.members.get(&addr) else { return true };
        let gateways = || rack.gateways().iter().filter_map(|addr| self.swarm.members.get(addr));
        let serves = |gateway: &Member| gateway.standing.is_here() && !gateway.is_stalled(now);
        asker.is_gateway || !asker.is_in_reach() || asker.is_stalled(now) || !gateways().any(serves)
    }
}
