//! Swarms of which nobody may be left behind, whatever happens; and what steering is for.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// A file that is through in seconds.
fn small(racks: usize, hosts_per_rack: usize, client: Client, steering: Steering) -> Scenario {
    let scenario = Scenario::new(racks, hosts_per_rack, client, steering);
    Scenario { file_len: 24 << 20, blocks: 2, step: 0.2, ..scenario }
}

/// A swarm to which anything may happen: hosts that come late, die, leave; racks that are cut off for a while.
fn troubled(seed: u64) -> Scenario {
    let mut rng = SmallRng::seed_from_u64(seed);
    let client = if rng.random() { Client::Aria2 } else { Client::Libtorrent };
    let (racks, hosts_per_rack) = (rng.random_range(1..6), rng.random_range(1..12));
    let mut scenario = small(racks, hosts_per_rack, client, Steering::Racks);
    scenario.seed = seed;
    scenario.join_interval = if rng.random() { 0.0 } else { rng.random_range(0.1..2.0) };
    scenario.slow_rate = rng.random_bool(0.2).then_some(3e5);
    scenario.uplink_rate = if rng.random() { f64::INFINITY } else { rng.random_range(5e5..3e6) };
    for host in 0..scenario.hosts() {
        if rng.random_bool(0.3) {
            scenario.disturbances.push(Disturbance::Kill { host, at: rng.random_range(0.0..40.0) });
        }
    }
    for rack in 0..racks {
        if rng.random_bool(0.4) {
            let from = rng.random_range(0.0..30.0);
            let to = from + rng.random_range(1.0..60.0);
            scenario.disturbances.push(Disturbance::Partition { rack, from, to });
        }
    }
    if rng.random_bool(0.3) {
        scenario.disturbances.push(Disturbance::LeaveOnCompletion);
    }
    scenario
}

#[test]
fn every_living_host_finishes_whatever_happens() {
    for seed in 0..60 {
        let scenario = troubled(seed);
        let outcome = run(&scenario);
        assert_eq!(outcome.stuck, 0, "{scenario:?}\n{outcome:?}");
    }
}

#[test]
fn the_same_scenario_has_the_same_outcome() {
    for steering in [Steering::Plain, Steering::Racks] {
        let scenario = small(3, 4, Client::Aria2, steering);
        assert_eq!(run(&scenario), run(&scenario));
    }
}

#[test]
fn one_host_takes_the_file_once_at_the_rate_of_its_link() {
    for steering in [Steering::Plain, Steering::Racks] {
        let scenario = small(1, 1, Client::Libtorrent, steering);
        let outcome = run(&scenario);
        assert!((0.99..1.02).contains(&outcome.from_origin), "{outcome:?}");
        // It joins within half a second, and a plain seed looks for free slots once in a second.
        assert!(outcome.last() < scenario.limit() / 0.94 + 2.0, "{outcome:?}");
    }
}

#[test]
fn a_host_that_goes_on_gets_what_a_cut_kept_from_it() {
    let mut scenario = small(1, 1, Client::Aria2, Steering::Racks);
    let uncut = run(&scenario).last();
    scenario.disturbances.push(Disturbance::Partition { rack: 0, from: 2.0, to: 12.0 });
    let outcome = run(&scenario);
    assert!((uncut + 9.0..uncut + 12.0).contains(&outcome.last()), "{uncut} and {outcome:?}");
}

#[test]
fn steered_swarms_take_less_over_every_uplink_and_less_time() {
    for client in [Client::Aria2, Client::Libtorrent] {
        let [plain, racks] = [Steering::Plain, Steering::Racks].map(|steering| {
            let scenario = Scenario { file_len: 48 << 20, ..Scenario::new(4, 6, client, steering) };
            run(&scenario)
        });
        let most = |outcome: &Outcome| outcome.into_racks.iter().copied().fold(0.0, f64::max);
        assert!(most(&racks) < 0.75 * most(&plain), "{client:?}: {plain:?} {racks:?}");
        assert!(racks.last() < 0.8 * plain.last(), "{client:?}: {plain:?} {racks:?}");
    }
}

#[test]
fn a_third_of_the_gateways_is_killed_and_nobody_waits() {
    let mut scenario =
        Scenario { file_len: 48 << 20, ..Scenario::new(4, 6, Client::Libtorrent, Steering::Racks) };
    let calm = run(&scenario).last();
    scenario.disturbances.push(Disturbance::KillGateways(1.0 / 3.0));
    let outcome = run(&scenario);
    assert_eq!(outcome.finished.iter().flatten().count(), 16);
    assert!(outcome.last() < 1.5 * calm, "{calm} and {outcome:?}");
}
