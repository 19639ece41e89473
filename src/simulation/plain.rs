//! A tracker that knows no racks and answers by chance, and a seed like any other: what there is without this program.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::run::{Guide, ORIGIN};
use super::swarm::{HostId, Swarm};

/// What such trackers ask clients to wait for, in seconds.
const INTERVAL: f64 = 1800.0;

/// Everyone who has announced.
#[derive(Debug, Default)]
pub(super) struct Plain {
    known: Vec<HostId>,
}

impl Guide for Plain {
    fn answer(&mut self, swarm: &Swarm, host: HostId, _: f64, rng: &mut SmallRng) -> Vec<HostId> {
        let mut told: Vec<HostId> = self.known.iter().copied().filter(|other| *other != host).collect();
        told.push(ORIGIN);
        told.shuffle(rng);
        told.truncate(swarm.hosts[host].habits.numwant);
        if !self.known.contains(&host) {
            self.known.push(host);
        }
        told
    }

    fn interval(&self) -> f64 {
        INTERVAL
    }

    fn left(&mut self, host: HostId) {
        self.known.retain(|other| *other != host);
    }

    fn got(&mut self, _: HostId, _: u32, _: f64) {}

    fn step(&mut self, _: &mut Swarm, _: f64, _: &mut SmallRng) {}

    fn gateways(&self, _: usize) -> Option<&[HostId]> {
        None
    }
}
