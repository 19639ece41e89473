//! Who is uploaded to: a pure function over plain values. Round robin; everyone who is interested gets a turn.

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

/// Fills free slots with those who have waited longest; those whose turn is over make room, as many as are waited for
/// and no more, the longest turn first.
pub(super) fn decide<Id: Copy>(
    interested: impl IntoIterator<Item = (Id, Standing)>,
    slots: usize,
    now: Instant,
) -> Decision<Id> {
    let mut holding = Vec::new();
    let mut waiting = Vec::new();
    for (id, standing) in interested {
        match standing {
            Standing::Unchoked { since } => holding.push((since, id)),
            Standing::Waiting { since } => waiting.push((since, id)),
        }
    }
    holding.sort_by_key(|(since, _)| *since);
    waiting.sort_by_key(|(since, _)| *since);

    let free = slots.saturating_sub(holding.len());
    let over_full = holding.len().saturating_sub(slots);
    let waited_for = waiting.len().saturating_sub(free);
    let turn_over = |since: Instant| now.saturating_duration_since(since) >= TURN;
    let choke: Vec<Id> = holding
        .iter()
        .enumerate()
        .take_while(|(n, (since, _))| *n < over_full || (*n < over_full + waited_for && turn_over(*since)))
        .map(|(_, (_, id))| *id)
        .collect();

    let room = slots.saturating_sub(holding.len() - choke.len());
    let unchoke = waiting.iter().take(room).map(|(_, id)| *id).collect();
    Decision { choke, unchoke }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn gives_free_slots_to_those_who_waited_longest() {
        let start = Instant::now();
        let peers = [
            ('a', Standing::Waiting { since: at(start, 3) }),
            ('b', Standing::Waiting { since: at(start, 1) }),
            ('c', Standing::Waiting { since: at(start, 2) }),
        ];
        let decision = decide(peers, 2, at(start, 4));
        assert_eq!(decision, Decision { choke: vec![], unchoke: vec!['b', 'c'] });
    }

    #[test]
    fn lets_a_turn_go_on_while_nobody_waits() {
        let start = Instant::now();
        let peers = [('a', Standing::Unchoked { since: start }), ('b', Standing::Unchoked { since: start })];
        assert_eq!(decide(peers, 2, at(start, 1000)), Decision { choke: vec![], unchoke: vec![] });
    }

    #[test]
    fn ends_turns_that_are_over_for_those_who_wait() {
        let start = Instant::now();
        let peers = [
            ('a', Standing::Unchoked { since: at(start, 1) }),
            ('b', Standing::Unchoked { since: start }),
            ('c', Standing::Unchoked { since: at(start, 9) }),
            ('d', Standing::Waiting { since: at(start, 5) }),
        ];
        let decision = decide(peers, 3, at(start, 12));
        assert_eq!(decision, Decision { choke: vec!['b'], unchoke: vec!['d'] });
        let early = decide(peers, 3, at(start, 9));
        assert_eq!(early, Decision { choke: vec![], unchoke: vec![] });
    }

    #[test]
    fn unchokes_everyone_without_a_limit() {
        let start = Instant::now();
        let peers = (0..1000).map(|n| (n, Standing::Waiting { since: start }));
        assert_eq!(decide(peers, usize::MAX, start).unchoke.len(), 1000);
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
            let decision = decide(standings.iter().copied().enumerate(), SLOTS, now);
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
}
