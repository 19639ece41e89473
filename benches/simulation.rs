//! Swarms on paper, steered by this program's policies and not: how long the last host waits, and how many copies of
//! the file cross which links.
//!
//! ```text
//! cargo bench --features simulation --bench simulation             # the table, about a minute on one core
//! cargo bench --features simulation --bench simulation -- small    # without the 10,000 hosts
//! ```
//!
//! `docs/topology.md` says what follows from it, and how near it comes to real clients.

use std::time::Instant;

use distributor::simulation::{Client, Disturbance, Outcome, Scenario, Steering, run};

/// Each row is the mean of so many swarms that differ by chance.
const SEEDS: u64 = 4;

fn main() {
    // Tests of all targets run this too; they have no time for it.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("to measure: cargo bench --features simulation --bench simulation");
        return;
    }
    println!(
        "| swarm | client | steering | median | last | worst | from the origin | into a rack | into the worst |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, scenario) in rows() {
        for client in [Client::Aria2, Client::Libtorrent] {
            for steering in [Steering::Plain, Steering::Racks] {
                let runs: Vec<Scenario> =
                    (1..=SEEDS).map(|seed| Scenario { client, steering, seed, ..scenario.clone() }).collect();
                report(name, &runs);
            }
        }
    }
    if !arguments.iter().any(|argument| argument == "small") {
        let started = Instant::now();
        report("250 racks of 40, pieces of 512 KiB", &[large()]);
        println!("\nThe last row took {:.0?}.", started.elapsed());
    }
}

fn rows() -> Vec<(&'static str, Scenario)> {
    let thin = Scenario::new(4, 6, Client::Aria2, Steering::Racks);
    let troubled = |disturbance| Scenario { disturbances: vec![disturbance], ..thin.clone() };
    let swarm = |racks, hosts| Scenario::new(racks, hosts, Client::Aria2, Steering::Racks);
    vec![
        ("4 racks of 6, thin uplinks", thin.clone()),
        ("the same, 48 MiB", Scenario { file_len: 48 << 20, ..thin.clone() }),
        (
            "uplinks without limit, 96 MiB",
            Scenario { file_len: 96 << 20, uplink_rate: f64::INFINITY, ..thin.clone() },
        ),
        ("one host joins a second", Scenario { join_interval: 1.0, ..thin.clone() }),
        ("a third of the gateways killed half way", troubled(Disturbance::KillGateways(1.0 / 3.0))),
        ("hosts leave on completion", troubled(Disturbance::LeaveOnCompletion)),
        ("one fast host, 23 ten times slower", Scenario { slow_rate: Some(3e5), ..thin.clone() }),
        ("one host", swarm(1, 1)),
        ("two hosts", swarm(1, 2)),
    ]
}

/// In coarser steps, and steered only: of 2,000 hosts in a plain swarm, 1,455 had not finished when 18 copies of the
/// file had entered each rack.
fn large() -> Scenario {
    let scenario = Scenario::new(250, 40, Client::Aria2, Steering::Racks);
    Scenario { piece_len: 512 << 10, blocks: 2, step: 0.25, ..scenario }
}

/// Prints the means of several runs of one scenario. Times are shares of the least time possible.
fn report(name: &str, runs: &[Scenario]) {
    let Some(first) = runs.first() else { return };
    let outcomes: Vec<Outcome> = runs.iter().map(run).collect();
    let mean = |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64;
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let last: Vec<f64> = outcomes.iter().map(|outcome| outcome.last() / first.limit()).collect();
    println!(
        "| {name} | {:?} | {:?} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
        first.client,
        first.steering,
        mean(&|outcome| outcome.median() / first.limit()),
        mean(&|outcome| outcome.last() / first.limit()),
        most(&last),
        mean(&|outcome| outcome.from_origin),
        mean(&|outcome| outcome.into_racks.iter().sum::<f64>() / outcome.into_racks.len() as f64),
        mean(&|outcome| most(&outcome.into_racks)),
    );
    let stuck: usize = outcomes.iter().map(|outcome| outcome.stuck).sum();
    assert_eq!(stuck, 0, "hosts of {first:?} did not finish");
}
