//! Who is uploaded to: a pure function over plain values. Turns last their time whatever the strategy, which decides
//! who has the next; and no host's second connection has one before another host's first: connections cost nothing, and
//! one host could make thousands.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::config::{Choking, ChokingConfig};

/// How long a turn lasts while others wait: long enough that a peer gets its pipe full and whole pieces done.
pub(super) const TURN: Duration = Duration::from_secs(10);
/// So many slots make one of them go by waiting time, where the strategy is another and nothing else was said.
const SLOTS_PER_OPTIMISTIC: usize = 5;
/// How finely the newcomers' strategy tells shares of a file apart: those about as far take turns.
const SHARE_STEPS: u32 = 10;

/// How an interested peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is uploaded to; optimistically if it has its slot for having waited, whatever the strategy.
    Unchoked { since: Instant, optimistic: bool },
    /// It waits for a turn.
    Waiting { since: Instant },
}

/// An interested peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<Id, Host, Group> {
    pub(super) id: Id,
    pub(super) host: Host,
    pub(super) group: Group,
    pub(super) standing: Standing,
    /// Bytes a second that it takes, or took in its last turn.
    pub(super) rate: u64,
    /// Thousandths of the file that it has.
    pub(super) share: u32,
}

/// By what is decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    strategy: Choking,
    pub(super) slots: usize,
    optimistic: usize,
    reserved: usize,
}

impl Rules {
    /// The operator's, for so many slots.
    pub(super) fn new(config: &ChokingConfig, slots: usize) -> Self {
        let optimistic = match config.strategy {
            Choking::RoundRobin => 0,
            Choking::Fastest | Choking::Newcomers => {
                config.optimistic_slots.map_or(slots / SLOTS_PER_OPTIMISTIC, NonZeroUsize::get).max(1)
            }
        };
        Self { strategy: config.strategy, slots, optimistic, reserved: config.reserved_slots }
    }
}

/// What is to change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision<Id> {
    pub(super) choke: Vec<Id>,
    /// And whether optimistically.
    pub(super) unchoke: Vec<(Id, bool)>,
}

/// Keeps whose turn isn't over. The other slots go, in this order, to those who have waited longest as far as slots are
/// optimistic; to groups that have fewer than are reserved for each; and by the strategy. Who has a slot keeps it where
/// none of these gives it to another. `last_turn` is when a host's last turn ended: one with many connections always
/// has one that waited for longer than anybody.
pub(super) fn decide<Id: Copy + Eq + Hash, Host: Copy + Eq + Hash, Group: Copy + Eq + Hash>(
    interested: impl IntoIterator<Item = Candidate<Id, Host, Group>>,
    last_turn: impl Fn(&Host) -> Option<Instant>,
    rules: &Rules,
    now: Instant,
) -> Decision<Id> {
    let mut in_turn = Vec::new();
    let mut turn_over = Vec::new();
    let mut waiting = Vec::new();
    for peer in interested {
        match peer.standing {
            Standing::Unchoked { since, .. } if now.saturating_duration_since(since) < TURN => {
                in_turn.push((since, peer));
            }
            Standing::Unchoked { since, .. } => turn_over.push((since, peer)),
            Standing::Waiting { since } => waiting.push((since, peer)),
        }
    }
    let seated = in_turn.len() + turn_over.len();
    if seated <= rules.slots && (waiting.is_empty() || in_turn.len() == rules.slots) {
        // Nobody waits, or nobody's turn is over: so it is most of the time, and thousands may be looked at then.
        return Decision { choke: Vec::new(), unchoke: Vec::new() };
    }
    in_turn.sort_by_key(|(since, _)| *since);
    waiting.sort_by_key(|(since, _)| *since);
    turn_over.sort_by_key(|(since, _)| Reverse(*since));

    // Those who have been there longest go first where there are fewer slots than there were.
    let too_many = in_turn.len().saturating_sub(rules.slots);
    let mut decision: Decision<Id> =
        Decision { choke: in_turn.drain(..too_many).map(|(_, peer)| peer.id).collect(), unchoke: Vec::new() };

    let mut seated = Seated::default();
    let mut optimistic = 0;
    for (_, peer) in &in_turn {
        seated.add(peer);
        optimistic += usize::from(matches!(peer.standing, Standing::Unchoked { optimistic: true, .. }));
    }
    // By waiting time; those who hold a slot come last.
    let mut pool: Vec<_> = waiting.into_iter().chain(turn_over).map(|(_, peer)| peer).collect();
    pool.sort_by_cached_key(|peer| match peer.standing {
        Standing::Waiting { .. } => (false, last_turn(&peer.host)),
        Standing::Unchoked { .. } => (true, None),
    });
    let mut free = rules.slots - in_turn.len();
    let mut seat =
        |peers: Vec<Candidate<Id, Host, Group>>, pool: &mut Vec<_>, seated: &mut Seated<_, _>, optimistic| {
            let ids: HashSet<Id> = peers.iter().map(|peer| peer.id).collect();
            pool.retain(|peer: &Candidate<Id, Host, Group>| !ids.contains(&peer.id));
            peers.iter().for_each(|peer| seated.add(peer));
            let waiting = peers.iter().filter(|peer| matches!(peer.standing, Standing::Waiting { .. }));
            decision.unchoke.extend(waiting.map(|peer| (peer.id, optimistic)));
            peers.len()
        };

    let by_time = rules.optimistic.saturating_sub(optimistic).min(free);
    let peers = seated.in_turn(&pool).take(by_time).collect();
    free -= seat(peers, &mut pool, &mut seated, true);
    let peers = seated.reserved(&pool, &rules.ranked(&pool), rules.reserved, free);
    free -= seat(peers, &mut pool, &mut seated, false);
    let peers = seated.in_turn(&rules.ranked(&pool)).take(free).collect();
    seat(peers, &mut pool, &mut seated, false);

    let holders = pool.iter().filter(|peer| matches!(peer.standing, Standing::Unchoked { .. }));
    decision.choke.extend(holders.map(|peer| peer.id));
    decision
}

impl Rules {
    /// The strategy's favourites first; among equals, whose turn it is.
    fn ranked<Id: Copy, Host: Copy, Group: Copy>(
        &self,
        line: &[Candidate<Id, Host, Group>],
    ) -> Vec<Candidate<Id, Host, Group>> {
        let mut ranked = line.to_vec();
        match self.strategy {
            Choking::RoundRobin => {}
            Choking::Fastest => ranked.sort_by_key(|peer| Reverse(peer.rate)),
            Choking::Newcomers => ranked.sort_by_key(|peer| Reverse(distance_from_half(peer.share))),
        }
        ranked
    }
}

/// How far from the middle a share is: in steps, or each piece would cost somebody a turn.
fn distance_from_half(share: u32) -> u32 {
    (share * SHARE_STEPS / 1000).abs_diff(SHARE_STEPS / 2)
}

/// How many slots each host and each group has.
#[derive(Debug)]
struct Seated<Host, Group> {
    hosts: HashMap<Host, usize>,
    groups: HashMap<Group, usize>,
}

impl<Host, Group> Default for Seated<Host, Group> {
    fn default() -> Self {
        Self { hosts: HashMap::new(), groups: HashMap::new() }
    }
}

impl<Host: Copy + Eq + Hash, Group: Copy + Eq + Hash> Seated<Host, Group> {
    fn add<Id>(&mut self, peer: &Candidate<Id, Host, Group>) {
        *self.hosts.entry(peer.host).or_default() += 1;
        *self.groups.entry(peer.group).or_default() += 1;
    }

    /// The line such that each host has its first slot before any has its second, and so on.
    fn in_turn<Id: Copy>(
        &self,
        line: &[Candidate<Id, Host, Group>],
    ) -> impl Iterator<Item = Candidate<Id, Host, Group>> + use<Id, Host, Group> {
        let mut hosts = self.hosts.clone();
        let mut line: Vec<_> = line
            .iter()
            .map(|peer| {
                let slots = hosts.entry(peer.host).or_default();
                *slots += 1;
                (*slots, *peer)
            })
            .collect();
        line.sort_by_key(|(slots, _)| *slots);
        line.into_iter().map(|(_, peer)| peer)
    }

    /// Up to `free` hosts without a slot, of groups that have fewer than `reserved`: groups by who has waited longest,
    /// in each the best first.
    fn reserved<Id: Copy>(
        &self,
        line: &[Candidate<Id, Host, Group>],
        ranked: &[Candidate<Id, Host, Group>],
        reserved: usize,
        free: usize,
    ) -> Vec<Candidate<Id, Host, Group>> {
        let mut best: HashMap<Group, VecDeque<_>> = HashMap::new();
        let mut hosts: HashSet<Host> = self.hosts.keys().copied().collect();
        for peer in ranked.iter().filter(|peer| reserved > 0 && hosts.insert(peer.host)) {
            best.entry(peer.group).or_default().push_back(*peer);
        }
        let mut groups = self.groups.clone();
        line.iter()
            .filter_map(|peer| {
                let slots = groups.entry(peer.group).or_default();
                let next = best.get_mut(&peer.group).filter(|_| *slots < reserved)?.pop_front()?;
                *slots += 1;
                Some(next)
            })
            .take(free)
            .collect()
    }
}

#[cfg(test)]
mod tests;
