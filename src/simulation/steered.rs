//! The tracker and the origin that know the racks, by the policies of `steering`.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::{Duration, Instant};

use distributor_proto::{Bitfield, Geometry, PieceIndex};
use rand::rngs::SmallRng;

use super::run::{Guide, ORIGIN};
use super::swarm::{HostId, Swarm};
use crate::steering::{Asker, Host, Rack, Racks, Standing, SuperSeed, choose, review, window};

/// What clients are told to wait for between announces while a swarm is young, in seconds.
const INTERVAL: f64 = 10.0;
/// How often racks are looked at, in seconds.
const REVIEW: f64 = 1.0;

#[derive(Debug)]
struct Member {
    standing: Standing,
    progressed: Instant,
}

#[derive(Debug)]
pub(super) struct Steered {
    /// What time 0 is.
    epoch: Instant,
    pieces: Vec<PieceIndex>,
    places: Places,
    /// By host; none for those who haven't joined.
    members: Vec<Option<Member>>,
    seeding: SuperSeed<HostId>,
    window: usize,
    /// Whom the origin is connected to.
    connected: HashSet<HostId>,
    next_review: f64,
    /// Who joined and wasn't dialled yet.
    newcomers: Vec<HostId>,
    /// Whether something came or changed, so that there may be pieces to show.
    is_due: bool,
}

/// Where hosts are.
#[derive(Debug)]
struct Places {
    racks: Vec<Members>,
}

#[derive(Clone, Debug, Default)]
struct Members {
    hosts: Vec<HostId>,
    gateways: Vec<HostId>,
}

impl Places {
    fn of(&self, host: HostId) -> usize {
        (host - 1) % self.racks.len()
    }
}

impl Racks for Places {
    type Id = HostId;

    fn racks(&self) -> impl Iterator<Item = Rack> + Clone {
        (0..).zip(&self.racks).filter(|(_, rack)| !rack.gateways.is_empty()).map(|(at, _)| Rack(at))
    }

    fn hosts(&self, rack: Rack) -> &[HostId] {
        &self.racks[rack.0 as usize].hosts
    }

    fn gateways(&self, rack: Rack) -> &[HostId] {
        &self.racks[rack.0 as usize].gateways
    }

    fn distance(&self, _: Rack, _: Rack) -> u32 {
        1
    }
}

impl Steered {
    pub(super) fn new(racks: usize, hosts: usize, geometry: Geometry, origin_rate: f64) -> Self {
        Self {
            epoch: Instant::now(),
            pieces: geometry.pieces().collect(),
            places: Places { racks: vec![Members::default(); racks] },
            members: (0..=hosts).map(|_| None).collect(),
            seeding: SuperSeed::new(geometry),
            window: window(origin_rate as u64, geometry.piece_len()),
            connected: HashSet::new(),
            next_review: 0.0,
            newcomers: Vec::new(),
            is_due: false,
        }
    }

    fn instant(&self, now: f64) -> Instant {
        self.epoch + Duration::from_secs_f64(now)
    }

    /// Appoints and dismisses, and dials whom the origin isn't connected to.
    fn review(&mut self, swarm: &mut Swarm, now: f64) {
        for rack in 0..self.places.racks.len() {
            self.review_rack(rack, self.instant(now));
            for host in self.places.racks[rack].hosts.clone() {
                self.dial(swarm, host, now);
            }
        }
    }

    fn review_rack(&mut self, at: usize, now: Instant) {
        let rack = &mut self.places.racks[at];
        let hosts: Vec<Host<HostId>> = rack
            .hosts
            .iter()
            .filter_map(|id| {
                let member = self.members[*id].as_ref()?;
                let is_gateway = rack.gateways.contains(id);
                Some(Host { id: *id, is_gateway, standing: member.standing, progressed: member.progressed })
            })
            .collect();
        let review = review(&hosts, now);
        for (id, _) in review.dismissed {
            rack.gateways.retain(|other| *other != id);
            self.seeding.set_gateway(&id, false);
        }
        for id in review.appointed {
            rack.gateways.push(id);
            self.seeding.set_gateway(&id, true);
        }
        let members = &self.members;
        rack.hosts.retain(|id| members[*id].as_ref().is_some_and(|member| member.standing.is_here()));
    }

    fn dial(&mut self, swarm: &mut Swarm, host: HostId, now: f64) {
        if self.connected.contains(&host) {
            return;
        }
        let Some(id) = swarm.connect(ORIGIN, host) else { return };
        let end = swarm.connection(id).end_of(host);
        swarm.unchoke(id, end);
        let mut has = Bitfield::empty(self.pieces.len() as u32);
        swarm.hosts[host].holding.has.iter().for_each(|piece| {
            has.insert(self.pieces[piece as usize]);
        });
        self.connected.insert(host);
        let rack = self.places.of(host);
        self.seeding.join(host, Rack(rack as u32), has, self.instant(now));
        self.seeding.set_gateway(&host, self.places.racks[rack].gateways.contains(&host));
        self.is_due = true;
    }
}

impl Guide for Steered {
    fn answer(&mut self, swarm: &Swarm, host: HostId, now: f64, rng: &mut SmallRng) -> Vec<HostId> {
        let rack = self.places.of(host);
        if self.members[host].is_none() {
            let progressed = self.instant(now);
            self.members[host] = Some(Member { standing: Standing::Downloads, progressed });
            self.places.racks[rack].hosts.push(host);
            self.review_rack(rack, progressed);
            self.newcomers.push(host);
        }
        let is_gateway = self.places.racks[rack].gateways.contains(&host);
        let asker = Asker { id: host, rack: Rack(rack as u32), is_gateway };
        let keys = BuildHasherDefault::<DefaultHasher>::new();
        choose(&self.places, &asker, swarm.hosts[host].habits.numwant, |_| true, &keys, rng)
    }

    fn interval(&self) -> f64 {
        INTERVAL
    }

    fn left(&mut self, host: HostId) {
        if let Some(member) = &mut self.members[host] {
            let has_it_all = member.standing == Standing::Seeds;
            member.standing = if has_it_all { Standing::Stopped } else { Standing::Vanished };
        }
        self.connected.remove(&host);
        self.seeding.leave(&host);
        self.next_review = 0.0;
    }

    fn got(&mut self, host: HostId, piece: u32, now: f64) {
        if !self.connected.contains(&host) {
            return;
        }
        let instant = self.instant(now);
        self.seeding.has(host, self.pieces[piece as usize], instant);
        if let Some(member) = &mut self.members[host] {
            member.progressed = instant;
        }
        self.is_due = true;
    }

    fn step(&mut self, swarm: &mut Swarm, now: f64, rng: &mut SmallRng) {
        for host in std::mem::take(&mut self.newcomers) {
            self.dial(swarm, host, now);
        }
        let reviews = now >= self.next_review;
        if reviews {
            self.next_review = now + REVIEW;
            for (member, host) in self.members.iter_mut().zip(&swarm.hosts) {
                if let Some(member) = member.as_mut().filter(|member| member.standing == Standing::Downloads)
                    && host.holding.is_complete()
                {
                    member.standing = Standing::Seeds;
                }
            }
            self.review(swarm, now);
        }
        if !(reviews || std::mem::take(&mut self.is_due)) {
            return;
        }
        for (host, piece) in self.seeding.reveal(self.window, self.instant(now), rng) {
            if let Some(id) = swarm.between(host, ORIGIN) {
                let end = swarm.connection(id).end_of(host);
                swarm.show(id, end, piece.get());
            }
        }
    }

    fn gateways(&self, rack: usize) -> Option<&[HostId]> {
        Some(&self.places.racks[rack].gateways)
    }
}
