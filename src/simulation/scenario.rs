//! What is simulated, and what came of it. Times in seconds, rates in bytes a second.

use super::client::Client;

/// Who decides who is told of whom, and what the origin gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// A tracker that answers by chance, and a stock seed.
    Plain,
    /// The policies of this program.
    Racks,
}

/// What happens to a swarm on its way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Disturbance {
    /// When hosts have half of all pieces, this share of the gateways of each rack is killed; of all hosts, where there
    /// are no gateways.
    KillGateways(f64),
    /// A host is killed at a time. The first is 0.
    Kill {
        /// Which.
        host: usize,
        /// When.
        at: f64,
    },
    /// Nothing crosses a rack's uplink for a while.
    Partition {
        /// Which rack's.
        rack: usize,
        /// When it begins.
        from: f64,
        /// When it is over.
        to: f64,
    },
    /// Hosts leave as soon as they have it all.
    LeaveOnCompletion,
}

/// A swarm to be.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many racks there are.
    pub racks: usize,
    /// How many hosts each has.
    pub hosts_per_rack: usize,
    /// The length of the file, in bytes.
    pub file_len: u64,
    /// The length of a piece, in bytes.
    pub piece_len: u32,
    /// How many blocks a piece is moved in: 1 to 64.
    pub blocks: u8,
    /// What each host can send, and receive.
    pub host_rate: f64,
    /// What each host but the first can, if that is another rate.
    pub slow_rate: Option<f64>,
    /// What the origin can send.
    pub origin_rate: f64,
    /// What crosses each rack's uplink each way; infinite for no limit.
    pub uplink_rate: f64,
    /// What hosts run.
    pub client: Client,
    /// Who decides.
    pub steering: Steering,
    /// How long after one host the next joins; all join within half a second if 0.
    pub join_interval: f64,
    /// What goes wrong.
    pub disturbances: Vec<Disturbance>,
    /// The step of time.
    pub step: f64,
    /// When to give up.
    pub end: f64,
    /// Chance begins here.
    pub seed: u64,
}

impl Scenario {
    /// Racks of hosts that fetch 144 MiB, each link of 24 Mbit/s.
    #[must_use]
    pub const fn new(racks: usize, hosts_per_rack: usize, client: Client, steering: Steering) -> Self {
        Self {
            racks,
            hosts_per_rack,
            file_len: 144 << 20,
            piece_len: 128 << 10,
            blocks: 8,
            host_rate: 3e6,
            slow_rate: None,
            origin_rate: 3e6,
            uplink_rate: 3e6,
            client,
            steering,
            join_interval: 0.0,
            disturbances: Vec::new(),
            step: 0.1,
            end: 3600.0,
            seed: 1,
        }
    }

    /// The least time in which hosts could have it all: that of one copy over one host's link.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.file_len as f64 / self.host_rate.min(self.origin_rate)
    }

    /// How many hosts there are, without the origin.
    #[must_use]
    pub const fn hosts(&self) -> usize {
        self.racks * self.hosts_per_rack
    }
}

/// What came of a swarm.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// When each host had it all, if it lived and did; in the order of hosts.
    pub finished: Vec<Option<f64>>,
    /// How many hosts lived and did not finish.
    pub stuck: usize,
    /// Copies of the file that left the origin.
    pub from_origin: f64,
    /// Copies that entered each rack.
    pub into_racks: Vec<f64>,
    /// Bytes that came a second time, as a share of all that was needed.
    pub wasted: f64,
}

impl Outcome {
    /// When the last of those who finished had it all.
    #[must_use]
    pub fn last(&self) -> f64 {
        self.finished.iter().flatten().copied().fold(0.0, f64::max)
    }

    /// When half of those who finished had it all.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut times: Vec<f64> = self.finished.iter().flatten().copied().collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}
