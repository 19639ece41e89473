//! Who comes and goes when, and what came of it.

use distributor_proto::Geometry;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};

use super::choking;
use super::client::{Client, Habits};
use super::pieces::{Holding, PieceSet};
use super::plain::Plain;
use super::scenario::{Disturbance, Outcome, Scenario, Steering};
use super::steered::Steered;
use super::swarm::{Host, HostId, Swarm, Uplink};

/// The host that has the file from the start; the others are 1 and up.
pub(super) const ORIGIN: HostId = 0;
/// What is left of a link for data, after the headers of Ethernet, IP and TCP, and the other direction's
/// acknowledgements.
const USEFUL: f64 = 0.94;
/// A link without limit, in bytes a second.
const UNLIMITED: f64 = 1e12;
/// A client that can't reach the tracker tries again so much later, in seconds.
const RETRY: f64 = 15.0;
/// When nothing is set, all hosts join within this time, in seconds.
const START: f64 = 0.5;
/// A client that has so many connections asks for no more.
const ENOUGH_CONNECTIONS: usize = 40;
/// How often free slots are looked for, in seconds.
const FILLS: f64 = 1.0;

/// A tracker and an origin.
pub(super) trait Guide {
    /// Whom a host is told of that announces.
    fn answer(&mut self, swarm: &Swarm, host: HostId, now: f64, rng: &mut SmallRng) -> Vec<HostId>;
    /// When it is to come again, in seconds.
    fn interval(&self) -> f64;
    /// A host is gone.
    fn left(&mut self, host: HostId);
    /// A host has got a piece.
    fn got(&mut self, host: HostId, piece: u32, now: f64);
    /// What the origin does in every step.
    fn step(&mut self, swarm: &mut Swarm, now: f64, rng: &mut SmallRng);
    /// Which hosts of a rack are gateways, if that is a matter here.
    fn gateways(&self, rack: usize) -> Option<&[HostId]>;
}

/// What a host does next, and when.
#[derive(Clone, Copy, Debug)]
struct Clock {
    announces: f64,
    chokes: f64,
    round: u32,
    finished: Option<f64>,
    is_dead: bool,
}

/// Runs a swarm until every living host has the file, or the scenario ends.
///
/// # Panics
///
/// Where the file or its pieces have a length that no torrent may have, or a piece more than 64 blocks.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    let mut run = Run::new(scenario);
    while run.now < scenario.end && !run.is_over() {
        run.step();
    }
    run.outcome()
}

struct Run<'a> {
    scenario: &'a Scenario,
    rng: SmallRng,
    now: f64,
    steps: u64,
    swarm: Swarm,
    guide: Box<dyn Guide>,
    clocks: Vec<Clock>,
    /// Pieces that hosts have, in all.
    pieces_held: u64,
    pending: Vec<Disturbance>,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        assert!((1..=64).contains(&scenario.blocks), "a piece has 1 to 64 blocks");
        let geometry =
            Geometry::new(scenario.file_len, scenario.piece_len).expect("a torrent may be like this");
        let mut rng = SmallRng::seed_from_u64(scenario.seed);
        let mut swarm = Swarm::new(scenario.piece_len, scenario.blocks);
        for _ in 0..scenario.racks {
            let rate = scenario.uplink_rate.min(UNLIMITED) * USEFUL;
            let (up, down) = (swarm.links.add(rate), swarm.links.add(rate));
            swarm.uplinks.push(Uplink { up, down });
        }
        let (origin, guide): (Habits, Box<dyn Guide>) = match scenario.steering {
            Steering::Plain => (Client::Libtorrent.habits(), Box::new(Plain::default())),
            Steering::Racks => {
                let rate = scenario.origin_rate;
                let guide = Steered::new(scenario.racks, scenario.hosts(), geometry, rate);
                (Client::Libtorrent.habits().of_an_origin(), Box::new(guide))
            }
        };
        let pieces = geometry.piece_count();
        add_host(&mut swarm, None, scenario.origin_rate, PieceSet::full(pieces), origin, &mut rng);
        swarm.hosts[ORIGIN].is_up = true;
        swarm.hosts[ORIGIN].reveals = scenario.steering == Steering::Racks;
        for host in 0..scenario.hosts() {
            let rate = scenario.slow_rate.filter(|_| host > 0).unwrap_or(scenario.host_rate);
            let (rack, habits) = (Some(host % scenario.racks), scenario.client.habits());
            add_host(&mut swarm, rack, rate, PieceSet::empty(pieces), habits, &mut rng);
        }
        let mut run = Self {
            scenario,
            now: 0.0,
            steps: 0,
            swarm,
            guide,
            clocks: Vec::new(),
            pieces_held: 0,
            pending: scenario.disturbances.clone(),
            rng,
        };
        run.set_clocks();
        run
    }

    fn set_clocks(&mut self) {
        let hosts = self.scenario.hosts();
        let mut order: Vec<usize> = (0..hosts).collect();
        order.shuffle(&mut self.rng);
        let never = Clock { announces: f64::INFINITY, chokes: 0.0, round: 0, finished: None, is_dead: false };
        self.clocks = vec![never; hosts + 1];
        for (place, host) in order.into_iter().enumerate() {
            let joins = match self.scenario.join_interval {
                0.0 => self.rng.random_range(0.0..START),
                interval => place as f64 * interval,
            };
            // Both clients decide for the first time when a round has passed.
            let chokes = joins + self.scenario.client.habits().round;
            self.clocks[host + 1] = Clock { announces: joins, chokes, ..never };
        }
    }

    fn is_over(&self) -> bool {
        self.clocks.iter().skip(1).all(|clock| clock.is_dead || clock.finished.is_some())
    }

    fn step(&mut self) {
        self.disturb();
        self.announce();
        self.choke();
        self.guide.step(&mut self.swarm, self.now, &mut self.rng);
        self.now += self.scenario.step;
        self.steps += 1;
        for got in self.swarm.advance(self.scenario.step as f32) {
            self.pieces_held += 1;
            self.guide.got(got.host, got.piece, self.now);
            if self.swarm.hosts[got.host].holding.is_complete() {
                self.clocks[got.host].finished = Some(self.now);
                if self.scenario.disturbances.contains(&Disturbance::LeaveOnCompletion) {
                    self.remove(got.host);
                }
            }
        }
    }

    fn announce(&mut self) {
        for host in 1..self.clocks.len() {
            if self.clocks[host].announces > self.now {
                continue;
            }
            self.swarm.hosts[host].is_up = true;
            if !self.swarm.can_reach(host, ORIGIN) {
                self.clocks[host].announces = self.now + RETRY;
                continue;
            }
            let told = self.guide.answer(&self.swarm, host, self.now, &mut self.rng);
            let habits = self.swarm.hosts[host].habits;
            self.clocks[host].announces = self.now + self.guide.interval().max(habits.least_interval);
            for peer in told {
                if self.swarm.hosts[host].connections.len()
                    < ENOUGH_CONNECTIONS.max(habits.max_connections / 2)
                {
                    self.swarm.connect(host, peer);
                }
            }
        }
    }

    fn choke(&mut self) {
        let steps_per_fill = (FILLS / self.scenario.step).ceil() as u64;
        for host in 0..self.clocks.len() {
            if !self.swarm.hosts[host].is_up || self.swarm.hosts[host].reveals {
                continue;
            }
            let clock = &mut self.clocks[host];
            if clock.chokes <= self.now || choking::is_due(&mut self.swarm, host) {
                choking::decide(&mut self.swarm, host, clock.round, &mut self.rng);
                clock.round += 1;
                clock.chokes = self.now + self.swarm.hosts[host].habits.round;
            } else if self.steps.is_multiple_of(steps_per_fill) {
                choking::fill(&mut self.swarm, host, &mut self.rng);
            }
        }
    }

    fn disturb(&mut self) {
        let all = self.clocks.len() as u64 * u64::from(self.swarm.hosts[ORIGIN].holding.pieces());
        let is_half_way = self.pieces_held * 2 >= all;
        for disturbance in std::mem::take(&mut self.pending) {
            match disturbance {
                Disturbance::KillGateways(share) if is_half_way => self.kill_gateways(share),
                Disturbance::Kill { host, at } if self.now >= at => self.kill(host + 1),
                Disturbance::Partition { rack, from, to } if self.now >= from && self.now < to => {
                    self.swarm.cut(rack, true);
                    self.pending.push(Disturbance::Partition { rack, from: f64::INFINITY, to });
                }
                Disturbance::Partition { rack, from: f64::INFINITY, to } if self.now >= to => {
                    self.swarm.cut(rack, false);
                }
                other => self.pending.push(other),
            }
        }
    }

    fn kill_gateways(&mut self, share: f64) {
        for rack in 0..self.scenario.racks {
            let in_rack = (1..self.clocks.len()).filter(|host| (host - 1) % self.scenario.racks == rack);
            let mut victims: Vec<HostId> =
                self.guide.gateways(rack).map_or_else(|| in_rack.collect(), <[_]>::to_vec);
            victims.shuffle(&mut self.rng);
            victims.truncate((victims.len() as f64 * share).round() as usize);
            victims.into_iter().for_each(|host| self.kill(host));
        }
    }

    fn kill(&mut self, host: HostId) {
        self.clocks[host].is_dead = true;
        self.remove(host);
    }

    fn remove(&mut self, host: HostId) {
        self.swarm.take_down(host);
        self.guide.left(host);
        self.clocks[host].announces = f64::INFINITY;
    }

    fn outcome(&self) -> Outcome {
        let copies = |link| self.swarm.links.carried(link) / self.scenario.file_len as f64;
        let hosts = &self.clocks[1..];
        Outcome {
            finished: hosts.iter().map(|clock| clock.finished.filter(|_| !clock.is_dead)).collect(),
            stuck: hosts.iter().filter(|clock| clock.finished.is_none() && !clock.is_dead).count(),
            from_origin: copies(self.swarm.hosts[ORIGIN].up),
            into_racks: self.swarm.uplinks.iter().map(|uplink| copies(uplink.down)).collect(),
            wasted: self.swarm.wasted / (self.scenario.file_len as f64 * self.scenario.hosts() as f64),
        }
    }
}

fn add_host(
    swarm: &mut Swarm,
    rack: Option<usize>,
    rate: f64,
    has: PieceSet,
    habits: Habits,
    rng: &mut impl Rng,
) {
    let (up, down) = (swarm.links.add(rate * USEFUL), swarm.links.add(rate * USEFUL));
    let pieces = has.len();
    let mut fast = PieceSet::empty(pieces);
    (0..habits.fast_pieces).for_each(|_| {
        fast.insert(rng.random_range(0..pieces));
    });
    swarm.hosts.push(Host::new(rack, up, down, Holding::new(has, rng.random()), habits, fast));
}
