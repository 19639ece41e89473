//! Links and who shares them: the rates of flows, by rounds of equal shares, which come near max-min fairness.

/// One link, by its place in [`Links`].
pub(super) type LinkId = u32;

/// No more links lie on the way of a flow: a host's, its rack's, the other rack's, the other host's.
const MAX_HOPS: usize = 4;
/// After so many rounds of sharing out what is left, little is left of any link that somebody waits for.
const ROUNDS: usize = 4;
/// A link is full when less than this share of it is left.
const FULL: f32 = 0.005;

/// Bytes that go from one host to another as fast as all links on their way allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    links: [LinkId; MAX_HOPS],
    hops: u8,
    /// Bytes a second.
    pub(super) rate: f32,
}

impl Flow {
    /// Over no more than [`MAX_HOPS`] links.
    pub(super) fn over(links: impl IntoIterator<Item = LinkId>) -> Self {
        let mut flow = Self { links: [0; MAX_HOPS], hops: 0, rate: 0.0 };
        for (hop, link) in flow.links.iter_mut().zip(links) {
            *hop = link;
            flow.hops += 1;
        }
        flow
    }

    pub(super) fn links(&self) -> &[LinkId] {
        &self.links[..usize::from(self.hops)]
    }
}

/// What every link carries in a second.
#[derive(Debug, Default)]
pub(super) struct Links {
    capacities: Vec<f32>,
    /// What has been carried over each, in bytes.
    carried: Vec<f64>,
    left: Vec<f32>,
    shares: Vec<f32>,
    flows: Vec<u32>,
    growing: Vec<u32>,
}

impl Links {
    /// Adds a link that carries so many bytes a second.
    pub(super) fn add(&mut self, capacity: f64) -> LinkId {
        self.capacities.push(capacity as f32);
        self.carried.push(0.0);
        (self.capacities.len() - 1) as LinkId
    }

    /// Sets what a link carries, and gives what it carried before.
    pub(super) fn set_capacity(&mut self, link: LinkId, capacity: f64) -> f64 {
        std::mem::replace(&mut self.capacities[link as usize], capacity as f32).into()
    }

    /// Counts bytes that crossed the links of a flow.
    pub(super) fn carry(&mut self, flow: &Flow, bytes: f32) {
        flow.links().iter().for_each(|link| self.carried[*link as usize] += f64::from(bytes));
    }

    pub(super) fn carried(&self, link: LinkId) -> f64 {
        self.carried[link as usize]
    }

    /// Sets the rate of every flow.
    pub(super) fn share(&mut self, flows: &mut [Flow]) {
        self.left.clone_from(&self.capacities);
        self.growing.clear();
        self.growing.extend(0..flows.len() as u32);
        flows.iter_mut().for_each(|flow| flow.rate = 0.0);
        for _ in 0..ROUNDS {
            self.flows.clear();
            self.flows.resize(self.capacities.len(), 0);
            for at in &self.growing {
                flows[*at as usize].links().iter().for_each(|link| self.flows[*link as usize] += 1);
            }
            // The shares of a round are of what was left before it.
            self.shares.clear();
            self.shares.extend(self.left.iter().zip(&self.flows).map(|(left, flows)| left / *flows as f32));
            for at in &self.growing {
                let flow = &mut flows[*at as usize];
                let shares = flow.links().iter().map(|link| self.shares[*link as usize]);
                let more = shares.fold(f32::INFINITY, f32::min);
                flow.rate += more;
                flow.links().iter().for_each(|link| self.left[*link as usize] -= more);
            }
            let (left, capacities) = (&self.left, &self.capacities);
            let has_room = |link: &LinkId| left[*link as usize] > capacities[*link as usize] * FULL;
            self.growing.retain(|at| flows[*at as usize].links().iter().all(has_room));
        }
    }
}
