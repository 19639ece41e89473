//! Peers that always want more, on virtual time, behind a driver that comes late by some milliseconds.

use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn rate(bytes: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(bytes)
}

fn total(bytes: u64) -> Limits {
    Limits { total: rate(bytes), ..Limits::default() }
}

/// What was sent: when, by whom, how much.
type Sent = Vec<(Instant, usize, u64)>;

struct Simulation {
    limiter: Limiter<usize, usize, char>,
    start: Instant,
    now: Instant,
    /// Each peer's group, and the most that one of its writes takes; one that takes nothing doesn't even collect.
    peers: Vec<(char, u64)>,
    sent: Sent,
    chance: u64,
}

impl Simulation {
    fn new(limits: Limits, peers: &[(char, u64)]) -> Self {
        let start = Instant::now();
        let mut limiter = Limiter::new(limits, start);
        peers.iter().enumerate().for_each(|(id, (group, _))| limiter.ask(id, id, *group, start));
        Self { limiter, start, now: start, peers: peers.to_vec(), sent: Vec::new(), chance: 1 }
    }

    /// Up to 5 ms, differing each time.
    fn lateness(&mut self) -> Duration {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((self.chance >> 33) % 5_000)
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            loop {
                let mut granted = Vec::new();
                self.limiter.serve(self.now, |id| granted.push(id));
                if granted.is_empty() {
                    break;
                }
                for id in granted {
                    if self.peers[id].1 == 0 {
                        continue;
                    }
                    let collected = self.limiter.collect(id).expect("it was granted something");
                    let (group, write) = self.peers[id];
                    let sent = collected.min(write);
                    self.limiter.settle(id, collected, sent, self.now);
                    self.sent.push((self.now, id, sent));
                    self.limiter.ask(id, id, group, self.now);
                }
            }
            let due = self.limiter.next_due().expect("somebody waits");
            assert!(due > self.now, "what is due was served");
            self.now = due + self.lateness();
        }
    }

    fn bytes_of(&self, of: impl Fn(usize) -> bool) -> u64 {
        self.sent.iter().filter(|(_, id, _)| of(*id)).map(|(.., bytes)| bytes).sum()
    }

    /// The least and the most that these peers sent in any second, the first tenth of one apart.
    fn seconds_of(&self, of: impl Fn(usize) -> bool) -> (u64, u64) {
        let sent: Sent = self.sent.iter().filter(|(_, id, _)| of(*id)).copied().collect();
        let within = |from: Instant| {
            let first = sent.partition_point(|(at, ..)| *at < from);
            let rest = &sent[first..];
            rest[..rest.partition_point(|(at, ..)| *at < from + SECOND)].iter().map(|(.., bytes)| bytes).sum()
        };
        let last = self.now - SECOND - Duration::from_millis(10);
        let starts = (10..).map(|n| self.start + n * Duration::from_millis(10)).take_while(|at| *at < last);
        let seconds: Vec<u64> = starts.map(within).collect();
        (*seconds.iter().min().expect("some second"), *seconds.iter().max().expect("some second"))
    }
}

#[track_caller]
fn assert_within_two_percent((least, most): (u64, u64), rate: u64) {
    assert!(least * 100 >= rate * 98, "a second had {least} bytes of {rate}");
    assert!(most * 100 <= rate * 102, "a second had {most} bytes of {rate}");
}

const ANY_SIZE: [(char, u64); 6] =
    [('a', 1024), ('a', 5000), ('b', 16_397), ('b', 65_549), ('c', 131_085), ('c', MAX_QUANTUM)];

#[test]
fn every_second_has_the_rate_to_two_percent_whatever_the_sizes_of_the_writes() {
    for bytes in [100_000, 1_000_000, 12_500_000, 200_000_000] {
        let mut simulation = Simulation::new(total(bytes), &ANY_SIZE);
        simulation.run(3 * SECOND);
        assert_within_two_percent(simulation.seconds_of(|_| true), bytes);
    }
}

#[test]
fn one_peer_alone_has_all_of_the_rate() {
    for (_, write) in ANY_SIZE {
        let mut simulation = Simulation::new(total(1_000_000), &[('a', write)]);
        simulation.run(3 * SECOND);
        assert_within_two_percent(simulation.seconds_of(|_| true), 1_000_000);
    }
}

#[test]
fn a_tiny_rate_is_kept_to_a_packet() {
    let mut simulation = Simulation::new(total(10_000), &ANY_SIZE);
    simulation.run(30 * SECOND);
    let (least, most) = simulation.seconds_of(|_| true);
    assert!(least + MIN_QUANTUM >= 10_000 && most <= 10_000 + MIN_QUANTUM, "{least} to {most}");
}

#[test]
fn peers_have_equal_shares_whatever_the_sizes_of_their_writes() {
    // One that asks for a KiB at a time has no less than a queue of such blocks to send from at a high rate.
    let queues = [('a', 64 * 1037), ('a', 64 * 16_397), ('b', MAX_QUANTUM)];
    for (bytes, peers) in [(500_000, &ANY_SIZE[..]), (10_000_000, &ANY_SIZE), (200_000_000, &queues)] {
        let mut simulation = Simulation::new(total(bytes), peers);
        simulation.run(3 * SECOND);
        let even = simulation.bytes_of(|_| true) / peers.len() as u64;
        for id in 0..peers.len() {
            let share = simulation.bytes_of(|other| other == id);
            assert!(
                share.abs_diff(even) <= simulation.limiter.limits.quantum(),
                "{id} has {share} of {even}"
            );
        }
    }
}

#[test]
fn each_peer_has_its_rate_and_no_more() {
    let limits = Limits { per_peer: rate(1_000_000), ..Limits::default() };
    let mut simulation = Simulation::new(limits, &ANY_SIZE);
    simulation.run(3 * SECOND);
    for id in 0..ANY_SIZE.len() {
        assert_within_two_percent(simulation.seconds_of(|other| other == id), 1_000_000);
    }
}

#[test]
fn groups_and_all_of_them_have_their_rates_at_the_same_time() {
    let group_of = |id: usize| ANY_SIZE[id].0;
    // Three groups could have 3 MB/s together; what there is in all is less, or more.
    for (all, least) in [(2_000_000, 2_000_000), (10_000_000, 3_000_000)] {
        let limits = Limits { per_group: rate(1_000_000), ..total(all) };
        let mut simulation = Simulation::new(limits, &ANY_SIZE);
        simulation.run(4 * SECOND);
        assert_within_two_percent(simulation.seconds_of(|_| true), least);
        for group in ['a', 'b', 'c'] {
            let (_, most) = simulation.seconds_of(|id| group_of(id) == group);
            assert!(most <= 1_020_000, "{group} had {most} in a second");
        }
    }
}

/// One group has one peer, the other nine: the rate is shared by peers, not by groups, as long as no group's limit is
/// met.
#[test]
fn what_a_limited_group_leaves_goes_to_the_others() {
    let peers: Vec<(char, u64)> = (0..10).map(|n| (if n == 0 { 'a' } else { 'b' }, 16_397)).collect();
    let limits = Limits { per_group: rate(600_000), ..total(1_000_000) };
    let mut simulation = Simulation::new(limits, &peers);
    simulation.run(4 * SECOND);
    assert_within_two_percent(simulation.seconds_of(|id| id == 0), 400_000);
    assert_within_two_percent(simulation.seconds_of(|id| id > 0), 600_000);
}

#[test]
fn a_slow_peer_leaves_its_share_to_the_others() {
    let limits = total(1_000_000);
    let mut simulation = Simulation::new(limits, &[('a', 16_397), ('a', 16_397)]);
    // It asked once and never collects.
    simulation.limiter.ask(2, 2, 'a', simulation.now);
    simulation.peers.push(('a', 0));
    simulation.run(2 * SECOND);
    assert_within_two_percent(simulation.seconds_of(|id| id < 2), 1_000_000);
}

#[test]
fn new_limits_hold_at_once_and_nobody_who_waits_is_forgotten() {
    let mut simulation = Simulation::new(total(1_000_000), &ANY_SIZE);
    simulation.run(SECOND);
    for limits in [
        total(5_000_000),
        Limits { per_peer: rate(200_000), per_group: rate(300_000), ..total(800_000) },
        total(500_000),
    ] {
        simulation.limiter.set_limits(limits, simulation.now);
        (simulation.start, simulation.sent) = (simulation.now, Vec::new());
        simulation.run(3 * SECOND);
        assert_within_two_percent(simulation.seconds_of(|_| true), limits.total.map_or(0, NonZeroU64::get));
        assert!((0..ANY_SIZE.len()).all(|id| simulation.bytes_of(|other| other == id) > 0));
    }
}

#[test]
fn new_groups_hold_at_once_and_nobody_who_waits_is_forgotten() {
    let limits = Limits { per_group: rate(300_000), ..total(10_000_000) };
    let mut simulation = Simulation::new(limits, &ANY_SIZE);
    simulation.run(SECOND);
    simulation.limiter.regroup(simulation.now, |_, _| 'z');
    simulation.peers.iter_mut().for_each(|(group, _)| *group = 'z');
    (simulation.start, simulation.sent) = (simulation.now, Vec::new());
    simulation.run(3 * SECOND);
    assert_within_two_percent(simulation.seconds_of(|_| true), 300_000);
    assert!((0..ANY_SIZE.len()).all(|id| simulation.bytes_of(|other| other == id) > 0));
}

#[test]
fn without_limits_everybody_who_waits_is_let_go() {
    let now = Instant::now();
    let mut limiter = Limiter::new(total(1000), now);
    (0..100).for_each(|id| limiter.ask(id, id, 'a', now));
    let count = |limiter: &mut Limiter<i32, i32, char>| {
        let mut count = 0;
        limiter.serve(now, |_| count += 1);
        count
    };
    assert_eq!(count(&mut limiter), 1);
    limiter.set_limits(Limits::default(), now);
    assert_eq!(count(&mut limiter), 100, "whoever was granted a quantum and has not collected it among them");
    assert_eq!(limiter.collect(99), Some(MAX_QUANTUM));
    assert_eq!(limiter.next_due(), None);
}

#[test]
fn what_was_not_sent_is_anothers_and_what_was_sent_beyond_is_made_up_for() {
    let now = Instant::now();
    let mut limiter = Limiter::new(total(1_000_000), now);
    let serve = |limiter: &mut Limiter<char, char, char>, now| {
        let mut granted = Vec::new();
        limiter.serve(now, |id| granted.push(id));
        granted
    };
    ['a', 'b', 'c'].into_iter().for_each(|id| limiter.ask(id, id, 'g', now));
    assert_eq!(serve(&mut limiter, now), ['a', 'b'], "a bucket has two quanta");
    let collected = limiter.collect('a').unwrap();
    assert_eq!(collected, 10_000);
    limiter.settle('a', collected, 0, now);
    assert_eq!(serve(&mut limiter, now), ['c']);
    let collected = limiter.collect('b').unwrap();
    limiter.settle('b', collected, collected + 5_000, now);
    limiter.ask('a', 'a', 'g', now);
    assert_eq!(serve(&mut limiter, now), []);
    assert_eq!(limiter.next_due(), Some(now + Duration::from_millis(15)));
}

#[test]
fn time_that_was_not_used_is_not_saved_up() {
    let mut simulation = Simulation::new(total(1_000_000), &[('a', 16_397), ('a', 16_397)]);
    simulation.run(5 * SECOND);
    // One comes who has sent nothing so far.
    simulation.peers.push(('a', 16_397));
    simulation.limiter.ask(2, 2, 'a', simulation.now);
    (simulation.start, simulation.sent) = (simulation.now, Vec::new());
    simulation.run(3 * SECOND);
    let shares = [0, 1, 2].map(|id| simulation.bytes_of(|other| other == id));
    assert!(shares.iter().all(|share| share.abs_diff(1_000_000) < 60_000), "{shares:?}");
}

/// Why a peer that wants more doesn't have its turn.
#[derive(Clone, Copy)]
enum Cause {
    /// Its task comes late.
    Task,
    /// Its file isn't ready.
    File,
    /// Its socket has no room.
    Socket,
}

/// What one of three peers has by the time that it has missed turns so many times, each time for so long; and what the
/// others have.
fn shares_with_turns_missed(cause: Cause, times: u32, each: Duration) -> [u64; 3] {
    let mut simulation = Simulation::new(total(1_000_000), &[('a', MAX_QUANTUM); 3]);
    for _ in 0..times {
        if let Cause::File = cause {
            simulation.limiter.withdraw(0, simulation.now);
        }
        let (_, write) = std::mem::replace(&mut simulation.peers[0], ('a', 0));
        simulation.run(each);
        simulation.peers[0] = ('a', write);
        let now = simulation.now;
        if let Some(collected) = simulation.limiter.collect(0) {
            let sent = if let Cause::Socket = cause { 0 } else { collected };
            simulation.limiter.settle(0, collected, sent, now);
            simulation.sent.push((now, 0, sent));
        }
        simulation.limiter.ask(0, 0, 'a', now);
        simulation.run(SECOND);
    }
    [0, 1, 2].map(|id| simulation.bytes_of(|other| other == id))
}

#[test]
fn turns_that_are_missed_for_want_of_a_task_or_a_file_are_made_good() {
    for cause in [Cause::Task, Cause::File] {
        // The others have two turns each.
        let [one, others @ ..] = shares_with_turns_missed(cause, 20, Duration::from_millis(40));
        assert!(others.iter().all(|other| other.abs_diff(one) <= 20_000), "{one} and {others:?}");
    }
}

#[test]
fn no_more_turns_are_made_good_than_others_may_wait_for() {
    for (cause, good) in [(Cause::Task, MADE_GOOD), (Cause::File, MADE_GOOD), (Cause::Socket, 0)] {
        let quantum = 10_000;
        // The others have fifty turns each.
        let [one, others @ ..] = shares_with_turns_missed(cause, 1, SECOND);
        for other in others {
            let turns = (other - one) / quantum;
            assert!((48 - good..=50 - good).contains(&turns), "{turns} with {good} made good");
        }
    }
}

#[test]
fn who_leaves_leaves_nothing_behind() {
    let now = Instant::now();
    let limits = Limits { per_peer: rate(1000), per_group: rate(1000), ..total(1000) };
    let mut limiter = Limiter::new(limits, now);
    for id in 0..10 {
        limiter.ask(id, id, ['a', 'b'][id % 2], now);
    }
    limiter.serve(now, |_| {});
    limiter.collect(0);
    limiter.ask(0, 0, 'a', now);
    (0..10).for_each(|id| limiter.leave(id, now));
    assert!(limiter.peers.is_empty() && limiter.hosts.is_empty() && limiter.groups.is_empty());
    assert!(limiter.resting_hosts.is_empty());
    assert!(limiter.resting_groups.is_empty() && limiter.ready_groups.is_empty());
    assert_eq!(limiter.next_due(), None);
}

/// Two connections of one host, and one of another.
#[test]
fn a_host_has_one_rate_however_many_connections_it_has() {
    let limits = Limits { per_peer: rate(1_000_000), ..Limits::default() };
    let start = Instant::now();
    let mut limiter: Limiter<usize, char, char> = Limiter::new(limits, start);
    let host_of = |id: usize| ['a', 'a', 'b'][id];
    (0..3).for_each(|id| limiter.ask(id, host_of(id), 'g', start));
    let (mut now, mut sent) = (start, [0; 3]);
    while now < start + SECOND {
        let mut granted = Vec::new();
        limiter.serve(now, |id| granted.push(id));
        for id in granted {
            let collected = limiter.collect(id).expect("it was granted something");
            limiter.settle(id, collected, collected, now);
            sent[id] += collected;
            limiter.ask(id, host_of(id), 'g', now);
        }
        now = limiter.next_due().expect("somebody waits");
    }
    assert!((980_000..=1_020_000).contains(&(sent[0] + sent[1])), "{sent:?}");
    assert!((980_000..=1_020_000).contains(&sent[2]), "{sent:?}");
    assert!(sent[0].abs_diff(sent[1]) <= limits.quantum(), "{sent:?}");
}

#[test]
fn who_comes_again_finds_its_bucket_as_it_was() {
    for limits in [
        Limits { per_peer: rate(1_000_000), ..Limits::default() },
        Limits { per_group: rate(1_000_000), ..Limits::default() },
    ] {
        let now = Instant::now();
        let mut limiter: Limiter<usize, char, char> = Limiter::new(limits, now);
        // Each connection takes a quantum and goes.
        let quanta = (0..100).filter(|id| {
            limiter.ask(*id, 'a', 'g', now);
            limiter.serve(now, |_| {});
            let collected = limiter.collect(*id);
            limiter.leave(*id, now);
            collected.is_some()
        });
        assert_eq!(quanta.count(), 2, "a bucket holds no more");
        assert_eq!(limiter.left_hosts.len() + limiter.left_groups.len(), 1);
        limiter.ask(100, 'a', 'g', now);
        assert_eq!(limiter.left_hosts.len() + limiter.left_groups.len(), 0);
    }
}

#[test]
fn who_cannot_send_leaves_the_line_to_others() {
    let now = Instant::now();
    let mut limiter: Limiter<char, char, char> = Limiter::new(total(1_000_000), now);
    for id in ['a', 'b', 'c', 'd'] {
        limiter.ask(id, id, 'g', now);
    }
    let mut granted = Vec::new();
    limiter.serve(now, |id| granted.push(id));
    assert_eq!(granted, ['a', 'b'], "a bucket has two quanta");
    limiter.withdraw('c', now);
    limiter.withdraw('a', now);
    granted.clear();
    limiter.serve(now, |id| granted.push(id));
    assert_eq!(granted, ['d']);
    assert_eq!([limiter.collect('a'), limiter.collect('c')], [None; 2]);
    limiter.ask('a', 'a', 'g', now);
    assert!(limiter.next_due().is_some(), "it may ask again");
}
