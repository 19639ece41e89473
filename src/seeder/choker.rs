//! Who is uploaded to: a pure function over plain values. Round robin; everyone who is interested gets a turn, and no
//! host's second connection before another host's first: connections cost nothing, and one host could make thousands.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long a turn lasts while others wait: long enough that a peer gets its pipe full and whole pieces done.
pub(super) const TURN: Duration = Duration::from_secs(10);

/// How an interested peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is uploaded to.
    Unchoked { since: Instant },
    /// It waits for a turn.
    Waiting { since: Instant },
}

/// What is to change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision<Id> {
    pub(super) choke: Vec<Id>,
    pub(super) unchoke: Vec<Id>,
}

/// Keeps whose turn isn't over. The other slots go, host by host, to those who have waited longest, and where nobody
/// waits for them to those who have them. `last_turn` is when a host's last turn ended: one with many connections always
/// has one that waited for longer than anybody.
pub(super) fn decide<Id: Copy, Host: Copy + Eq + Hash>(
    interested: impl IntoIterator<Item = (Id, Host, Standing)>,
    last_turn: impl Fn(&Host) -> Option<Instant>,
    slots: usize,
    now: Instant,
) -> Decision<Id> {
    let mut in_turn = Vec::new();
    let mut turn_over = Vec::new();
    let mut waiting = Vec::new();
    for (id, host, standing) in interested {
        match standing {
            Standing::Unchoked { since } if now.saturating_duration_since(since) < TURN => {
                in_turn.push((since, id, host));
            }
            Standing::Unchoked { since } => turn_over.push((since, id, host)),
            Standing::Waiting { since } => waiting.push((since, id, host)),
        }
    }
    in_turn.sort_by_key(|(since, ..)| *since);
    waiting.sort_by_key(|(since, ..)| *since);
    turn_over.sort_by_key(|(since, ..)| std::cmp::Reverse(*since));

    // Those who have been there longest go first where there are fewer slots than there were.
    let too_many = in_turn.len().saturating_sub(slots);
    let mut decision: Decision<Id> =
        Decision { choke: in_turn.drain(..too_many).map(|(_, id, _)| id).collect(), unchoke: Vec::new() };

    let mut held: HashMap<Host, usize> = HashMap::new();
    for (_, _, host) in &in_turn {
        *held.entry(*host).or_default() += 1;
    }
    let candidates =
        waiting.iter().map(|peer| (false, peer)).chain(turn_over.iter().map(|peer| (true, peer)));
    let mut candidates: Vec<(usize, bool, Option<Instant>, Id)> = candidates
        .map(|(holds, (_, id, host))| {
            let before = held.entry(*host).or_default();
            *before += 1;
            (*before, holds, if holds { None } else { last_turn(host) }, *id)
        })
        .collect();
    // Stable: within a host's rank those who wait go first, by how long, then those who hold a slot.
    candidates.sort_by_key(|(rank, holds, last_turn, _)| (*rank, *holds, *last_turn));
    for (place, (_, holds, _, id)) in (in_turn.len()..).zip(candidates) {
        match (place < slots, holds) {
            (true, false) => decision.unchoke.push(id),
            (false, true) => decision.choke.push(id),
            (true, true) | (false, false) => {}
        }
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never<Host>(_: &Host) -> Option<Instant> {
        None
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn gives_free_slots_to_those_who_waited_longest() {
        let start = Instant::now();
        let peers = [
            ('a', 'a', Standing::Waiting { since: at(start, 3) }),
            ('b', 'b', Standing::Waiting { since: at(start, 1) }),
            ('c', 'c', Standing::Waiting { since: at(start, 2) }),
        ];
        let decision = decide(peers, never, 2, at(start, 4));
        assert_eq!(decision, Decision { choke: vec![], unchoke: vec!['b', 'c'] });
    }

    #[test]
    fn lets_a_turn_go_on_while_nobody_waits() {
        let start = Instant::now();
        let peers = [
            ('a', 'a', Standing::Unchoked { since: start }),
            ('b', 'b', Standing::Unchoked { since: start }),
        ];
        assert_eq!(decide(peers, never, 2, at(start, 1000)), Decision { choke: vec![], unchoke: vec![] });
    }

    #[test]
    fn ends_turns_that_are_over_for_those_who_wait() {
        let start = Instant::now();
        let peers = [
            ('a', 'a', Standing::Unchoked { since: at(start, 1) }),
            ('b', 'b', Standing::Unchoked { since: start }),
            ('c', 'c', Standing::Unchoked { since: at(start, 9) }),
            ('d', 'd', Standing::Waiting { since: at(start, 5) }),
        ];
        let decision = decide(peers, never, 3, at(start, 12));
        assert_eq!(decision, Decision { choke: vec!['b'], unchoke: vec!['d'] });
        let early = decide(peers, never, 3, at(start, 9));
        assert_eq!(early, Decision { choke: vec![], unchoke: vec![] });
    }

    #[test]
    fn unchokes_everyone_without_a_limit() {
        let start = Instant::now();
        let peers = (0..1000).map(|n| (n, n, Standing::Waiting { since: start }));
        assert_eq!(decide(peers, never, usize::MAX, start).unchoke.len(), 1000);
    }

    #[test]
    fn nobody_waits_longer_than_it_takes_the_others_to_have_their_turns() {
        const PEERS: usize = 10;
        const SLOTS: usize = 3;
        let start = Instant::now();
        let mut standings = [Standing::Waiting { since: start }; PEERS];
        let mut last_turn = [0; PEERS];
        for round in 1..100 {
            let now = start + TURN * round;
            let decision = decide(
                standings.iter().enumerate().map(|(n, standing)| (n, n, *standing)),
                never,
                SLOTS,
                now,
            );
            for id in decision.choke {
                standings[id] = Standing::Waiting { since: now };
            }
            for id in decision.unchoke {
                standings[id] = Standing::Unchoked { since: now };
                last_turn[id] = round;
            }
            let unchoked = standings.iter().filter(|s| matches!(s, Standing::Unchoked { .. })).count();
            assert_eq!(unchoked, SLOTS);
            assert!(
                last_turn.iter().all(|turn| round - turn <= PEERS.div_ceil(SLOTS) as u32),
                "{last_turn:?}"
            );
        }
    }

    /// A thousand connections of one host, all interested, none of which ever loses its interest.
    #[test]
    fn a_host_with_many_connections_keeps_no_other_from_its_turn() {
        const SLOTS: usize = 8;
        let start = Instant::now();
        let mut peers: Vec<(usize, char, Standing)> =
            (0..1000).map(|n| (n, 'm', Standing::Waiting { since: start })).collect();
        let apply = |peers: &mut Vec<(usize, char, Standing)>, now| {
            let decision = decide(peers.iter().copied(), never, SLOTS, now);
            decision.choke.iter().for_each(|id| peers[*id].2 = Standing::Waiting { since: now });
            decision.unchoke.iter().for_each(|id| peers[*id].2 = Standing::Unchoked { since: now });
            let unchoked = peers.iter().filter(|(.., s)| matches!(s, Standing::Unchoked { .. })).count();
            assert_eq!(unchoked, SLOTS);
        };
        apply(&mut peers, start);
        let came = at(start, 1);
        peers.push((1000, 'a', Standing::Waiting { since: came }));
        apply(&mut peers, came);
        assert!(matches!(peers[1000].2, Standing::Waiting { .. }), "turns aren't cut short");
        for seconds in 10..200 {
            apply(&mut peers, at(start, seconds));
            assert!(matches!(peers[1000].2, Standing::Unchoked { .. }), "after {seconds} s");
        }
    }

    #[test]
    fn connections_of_one_host_take_turns_among_themselves() {
        let start = Instant::now();
        let peers = [
            ('a', 'm', Standing::Unchoked { since: start }),
            ('b', 'm', Standing::Waiting { since: start }),
            ('c', 'n', Standing::Unchoked { since: start }),
        ];
        let decision = decide(peers, never, 2, start + TURN);
        assert_eq!(decision, Decision { choke: vec!['a'], unchoke: vec!['b'] });
    }

    #[test]
    fn a_host_whose_turn_ended_waits_for_the_others_however_long_its_connections_have_waited() {
        let start = Instant::now();
        let waiting = |seconds| Standing::Waiting { since: at(start, seconds) };
        let peers =
            [(1, 'a', waiting(0)), (2, 'a', waiting(0)), (3, 'b', waiting(50)), (4, 'c', waiting(60))];
        let last_turn = |host: &char| match host {
            'a' => Some(at(start, 70)),
            'b' => Some(at(start, 40)),
            _ => None,
        };
        let unchoked = |slots| decide(peers, last_turn, slots, at(start, 80)).unchoke;
        assert_eq!(unchoked(1), [4]);
        assert_eq!(unchoked(2), [4, 3]);
        assert_eq!(unchoked(4), [4, 3, 1, 2]);
    }
}
