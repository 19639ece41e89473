use super::*;

type Peer = Candidate<usize, char, char>;

fn rules(strategy: Choking, slots: usize) -> Rules {
    Rules::new(&ChokingConfig { strategy, ..ChokingConfig::default() }, slots)
}

fn round_robin(slots: usize) -> Rules {
    rules(Choking::RoundRobin, slots)
}

fn never<Host>(_: &Host) -> Option<Instant> {
    None
}

fn at(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn peer(id: usize, host: char, standing: Standing) -> Peer {
    Candidate { id, host, group: 'g', standing, rate: 0, share: 0 }
}

fn unchoked(since: Instant) -> Standing {
    Standing::Unchoked { since, optimistic: false }
}

fn waiting(since: Instant) -> Standing {
    Standing::Waiting { since }
}

/// Peers over time, with the memory of who had turns.
struct Swarm {
    rules: Rules,
    peers: Vec<Peer>,
    last_turns: HashMap<char, Instant>,
    /// When each had a slot last.
    served: HashMap<usize, Instant>,
}

impl Swarm {
    fn new(rules: Rules, peers: Vec<Peer>) -> Self {
        Self { rules, peers, last_turns: HashMap::new(), served: HashMap::new() }
    }

    fn is_unchoked(&self, id: usize) -> bool {
        matches!(self.peers[id].standing, Standing::Unchoked { .. })
    }

    fn unchoked(&self) -> Vec<usize> {
        (0..self.peers.len()).filter(|id| self.is_unchoked(*id)).collect()
    }

    /// Decides, and holds the decision to what every one has to be.
    fn decide(&mut self, now: Instant) -> Vec<usize> {
        let last_turn = |host: &char| self.last_turns.get(host).copied();
        let decision = decide(self.peers.iter().copied(), last_turn, &self.rules, now);
        let again = decide(self.peers.iter().copied(), last_turn, &self.rules, now);
        assert_eq!(decision, again, "the same question has the same answer");
        for id in decision.choke {
            match self.peers[id].standing {
                Standing::Unchoked { since, .. } => {
                    assert!(now >= since + TURN, "{id} had its turn cut short")
                }
                Standing::Waiting { .. } => panic!("{id} has no slot to lose"),
            }
            self.peers[id].standing = waiting(now);
            self.last_turns.insert(self.peers[id].host, now);
        }
        for (id, optimistic) in decision.unchoke {
            assert!(!self.is_unchoked(id), "{id} has a slot already");
            self.peers[id].standing = Standing::Unchoked { since: now, optimistic };
        }
        let unchoked = self.unchoked();
        assert_eq!(
            unchoked.len(),
            self.rules.slots.min(self.peers.len()),
            "no slot is empty while somebody waits"
        );
        self.served.extend(unchoked.iter().map(|id| (*id, now)));
        unchoked
    }

    /// Second by second; the longest that anybody was without a slot.
    fn longest_wait(&mut self, start: Instant, seconds: u64) -> Duration {
        let mut longest = Duration::ZERO;
        for now in (0..seconds).map(|second| at(start, second)) {
            self.decide(now);
            let waits = (0..self.peers.len()).map(|id| now - self.served.get(&id).copied().unwrap_or(start));
            longest = longest.max(waits.max().unwrap_or_default());
        }
        longest
    }
}

#[test]
fn gives_free_slots_to_those_who_waited_longest() {
    let start = Instant::now();
    let peers = [(0, 'a', 3), (1, 'b', 1), (2, 'c', 2)]
        .map(|(id, host, since)| peer(id, host, waiting(at(start, since))));
    let decision = decide(peers, never, &round_robin(2), at(start, 4));
    assert_eq!(decision, Decision { choke: vec![], unchoke: vec![(1, false), (2, false)] });
}

#[test]
fn lets_a_turn_go_on_while_nobody_waits() {
    let start = Instant::now();
    let peers = [peer(0, 'a', unchoked(start)), peer(1, 'b', unchoked(start))];
    for strategy in [Choking::RoundRobin, Choking::Fastest, Choking::Newcomers] {
        let decision = decide(peers, never, &rules(strategy, 2), at(start, 1000));
        assert_eq!(decision, Decision { choke: vec![], unchoke: vec![] });
    }
}

#[test]
fn ends_turns_that_are_over_for_those_who_wait() {
    let start = Instant::now();
    let peers = [
        peer(0, 'a', unchoked(at(start, 1))),
        peer(1, 'b', unchoked(start)),
        peer(2, 'c', unchoked(at(start, 9))),
        peer(3, 'd', waiting(at(start, 5))),
    ];
    let decision = decide(peers, never, &round_robin(3), at(start, 12));
    assert_eq!(decision, Decision { choke: vec![1], unchoke: vec![(3, false)] });
    let early = decide(peers, never, &round_robin(3), at(start, 9));
    assert_eq!(early, Decision { choke: vec![], unchoke: vec![] });
}

#[test]
fn ends_the_oldest_turns_where_there_are_fewer_slots_than_there_were() {
    let start = Instant::now();
    let peers = [2, 0, 1].map(|since| peer(since as usize, 'a', unchoked(at(start, since))));
    let decision = decide(peers, never, &round_robin(1), at(start, 5));
    assert_eq!(decision, Decision { choke: vec![0, 1], unchoke: vec![] });
}

#[test]
fn unchokes_everyone_without_a_limit() {
    let start = Instant::now();
    for strategy in [Choking::RoundRobin, Choking::Fastest, Choking::Newcomers] {
        let peers = (0..1000).map(|n| peer(n, 'a', waiting(start)));
        assert_eq!(decide(peers, never, &rules(strategy, usize::MAX), start).unchoke.len(), 1000);
    }
}

/// Ten hosts of very different rates and shares, three slots.
fn ten_hosts(start: Instant) -> Vec<Peer> {
    ('a'..='j')
        .enumerate()
        .map(|(id, host)| Candidate {
            rate: 1000 * id as u64,
            share: 100 * id as u32,
            ..peer(id, host, waiting(start))
        })
        .collect()
}

#[test]
fn nobody_waits_longer_than_it_takes_the_others_to_have_their_turns() {
    let start = Instant::now();
    let longest = Swarm::new(round_robin(3), ten_hosts(start)).longest_wait(start, 600);
    assert!(longest <= TURN * 10_u32.div_ceil(3), "{longest:?}");
    // One slot of three goes by waiting time.
    for strategy in [Choking::Fastest, Choking::Newcomers] {
        let longest = Swarm::new(rules(strategy, 3), ten_hosts(start)).longest_wait(start, 600);
        assert!(longest <= TURN * 10, "{strategy}: {longest:?}");
    }
}

#[test]
fn the_fastest_keep_their_slots_but_for_those_that_go_by_waiting_time() {
    let start = Instant::now();
    let mut swarm = Swarm::new(rules(Choking::Fastest, 5), ten_hosts(start));
    (0..60).for_each(|second| drop(swarm.decide(at(start, second))));
    for second in 60..300 {
        let unchoked = swarm.decide(at(start, second));
        let fast = unchoked.iter().filter(|id| **id >= 6).count();
        assert!(fast >= 3, "after {second} s these are unchoked: {unchoked:?}");
    }
}

#[test]
fn newcomers_and_the_nearly_finished_go_before_those_in_between() {
    let start = Instant::now();
    let peers = [500, 30, 700, 990, 0, 450].into_iter().enumerate();
    let peers =
        peers.map(|(id, share)| Candidate { share, ..peer(id, char::from(b'a' + id as u8), waiting(start)) });
    let mut swarm = Swarm::new(rules(Choking::Newcomers, 4), peers.collect());
    swarm.rules.optimistic = 0;
    assert_eq!(swarm.decide(start), [1, 2, 3, 4]);
}

#[test]
fn as_many_slots_as_were_named_go_by_waiting_time() {
    let start = Instant::now();
    let optimistic_slots = NonZeroUsize::new(3);
    let config = ChokingConfig { strategy: Choking::Fastest, optimistic_slots, ..ChokingConfig::default() };
    let mut swarm = Swarm::new(Rules::new(&config, 4), ten_hosts(start));
    for second in 0..300 {
        swarm.decide(at(start, second));
        let standings = swarm.peers.iter().map(|peer| peer.standing);
        let optimistic =
            standings.filter(|standing| matches!(standing, Standing::Unchoked { optimistic: true, .. }));
        assert_eq!(optimistic.count(), 3, "after {second} s");
    }
}

#[test]
fn each_group_that_waits_has_its_reserved_slots_within_a_turn() {
    let start = Instant::now();
    for strategy in [Choking::RoundRobin, Choking::Fastest, Choking::Newcomers] {
        let config = ChokingConfig { strategy, reserved_slots: 2, ..ChokingConfig::default() };
        // The great group is fast, and has all slots before others come.
        let mut peers: Vec<Peer> = (0..40)
            .map(|id| Candidate {
                group: 'A',
                rate: 1_000_000,
                ..peer(id, char::from(b'0' + id as u8), waiting(start))
            })
            .collect();
        let mut swarm = Swarm::new(Rules::new(&config, 8), peers.clone());
        swarm.decide(start);
        for (id, group) in (40..45).zip(['B', 'B', 'B', 'C', 'D']) {
            peers.push(Candidate { group, ..peer(id, char::from(b'0' + id as u8), waiting(start)) });
            swarm.peers.push(peers[id]);
        }
        for second in 10..300 {
            swarm.decide(at(start, second));
            for (group, reserved) in [('A', 2), ('B', 2), ('C', 1), ('D', 1)] {
                let has = swarm.unchoked().iter().filter(|id| swarm.peers[**id].group == group).count();
                assert!(has >= reserved, "{strategy}: {group} has {has} after {second} s");
            }
        }
    }
}

#[test]
fn reserved_slots_that_are_too_many_starve_nobody() {
    let start = Instant::now();
    for strategy in [Choking::RoundRobin, Choking::Fastest, Choking::Newcomers] {
        let config = ChokingConfig { strategy, reserved_slots: 4, ..ChokingConfig::default() };
        let mut peers = ten_hosts(start);
        peers.iter_mut().for_each(|peer| peer.group = if peer.id < 2 { peer.host } else { 'z' });
        let longest = Swarm::new(Rules::new(&config, 2), peers).longest_wait(start, 600);
        assert!(longest <= TURN * 10, "{strategy}: {longest:?}");
    }
}

/// A thousand connections of one host, all interested and fast, none of which ever loses its interest.
#[test]
fn a_host_with_many_connections_keeps_no_other_from_its_turn() {
    let start = Instant::now();
    for strategy in [Choking::RoundRobin, Choking::Fastest, Choking::Newcomers] {
        let many = (0..1000).map(|id| Candidate { rate: 1_000_000, ..peer(id, 'm', waiting(start)) });
        let config = ChokingConfig { strategy, reserved_slots: 3, ..ChokingConfig::default() };
        let mut swarm = Swarm::new(Rules::new(&config, 8), many.collect());
        swarm.decide(start);
        let came = at(start, 1);
        swarm.peers.push(peer(1000, 'a', waiting(came)));
        swarm.decide(came);
        assert!(!swarm.is_unchoked(1000), "turns aren't cut short");
        for seconds in 10..200 {
            swarm.decide(at(start, seconds));
            assert!(swarm.is_unchoked(1000), "{strategy}: after {seconds} s");
        }
    }
}

#[test]
fn connections_of_one_host_take_turns_among_themselves() {
    let start = Instant::now();
    let peers = [peer(0, 'm', unchoked(start)), peer(1, 'm', waiting(start)), peer(2, 'n', unchoked(start))];
    let decision = decide(peers, never, &round_robin(2), start + TURN);
    assert_eq!(decision, Decision { choke: vec![0], unchoke: vec![(1, false)] });
}

#[test]
fn a_host_whose_turn_ended_waits_for_the_others_however_long_its_connections_have_waited() {
    let start = Instant::now();
    let peers = [(1, 'a', 0), (2, 'a', 0), (3, 'b', 50), (4, 'c', 60)]
        .map(|(id, host, since)| peer(id, host, waiting(at(start, since))));
    let last_turn = |host: &char| match host {
        'a' => Some(at(start, 70)),
        'b' => Some(at(start, 40)),
        _ => None,
    };
    let unchoked = |slots| {
        let unchoke = decide(peers, last_turn, &round_robin(slots), at(start, 80)).unchoke;
        unchoke.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(unchoked(1), [4]);
    assert_eq!(unchoked(2), [4, 3]);
    assert_eq!(unchoked(4), [4, 3, 1, 2]);
}
