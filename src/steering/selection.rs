//! Whom an asker is told of: mostly hosts of its own rack, so that each piece crosses the rack's uplink about once; and
//! a gateway of another rack, if it is a gateway itself. Families, expiry and who is a seed are the caller's to judge.

use std::hash::{BuildHasher, Hash};

use rand::Rng;
use rand::seq::IndexedRandom;

use super::Rack;

/// How many gateways of other racks a gateway is told of. It is found by about as many others. More of them fetched the
/// same pieces into one rack at the same time.
const FAR_GATEWAYS: usize = 1;
/// The more so in turn: of so many gateways, one is told of any rack and the others of one of the nearest.
const ANYWHERE_OF: u64 = 4;
/// A host knows no more of its own rack than this: aria2 keeps 55 connections, and some are for those who find it.
const MAX_NEIGHBOURS: usize = 30;
/// So many of them are the last that joined, of whom nobody could be told before.
const NEWEST: usize = 5;
/// No more hosts of a rack are looked at for an answer, and no more racks for somebody far: so that an answer takes no
/// longer where a table makes one rack of a whole site, or every host has a network of its own.
const MAX_HOSTS_LOOKED_AT: usize = 128;
const MAX_RACKS_LOOKED_AT: usize = 512;

/// Where the hosts of a swarm are.
pub(crate) trait Racks {
    type Id: Copy + Eq + Hash;

    /// Every rack that has gateways.
    fn racks(&self) -> impl Iterator<Item = Rack> + Clone;
    /// The hosts of a rack, in the order in which they joined.
    fn hosts(&self, rack: Rack) -> &[Self::Id];
    /// Those of them that are gateways.
    fn gateways(&self, rack: Rack) -> &[Self::Id];
    /// How far two racks are from each other; only comparisons matter.
    fn distance(&self, one: Rack, other: Rack) -> u32;
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<Id> {
    pub(crate) id: Id,
    pub(crate) rack: Rack,
    pub(crate) is_gateway: bool,
}

/// Up to `enough` hosts that `fits` lets through, none twice, the most important first: somebody far, some gateways of
/// the rack, who joined last, and others of the rack by chance. Whom a gateway knows far away follows from `keys` and
/// from who is there, not from chance: aria2 asks every few seconds, and with others each time it would end up knowing
/// everybody. Takes time for the racks and the hosts that are looked at, which are no more than so many.
pub(crate) fn choose<R: Racks>(
    swarm: &R,
    asker: &Asker<R::Id>,
    enough: usize,
    fits: impl Fn(&R::Id) -> bool,
    keys: &impl BuildHasher,
    rng: &mut impl Rng,
) -> Vec<R::Id> {
    let tells = |id: &R::Id| *id != asker.id && fits(id);
    let mut chosen: Vec<R::Id> = Vec::new();
    if asker.is_gateway {
        chosen.extend(far(swarm, asker, &tells, keys).take(FAR_GATEWAYS));
    }
    let most = enough.min(chosen.len() + MAX_NEIGHBOURS);
    let mut add = |ids: &mut dyn Iterator<Item = R::Id>, count: usize| {
        for id in ids.filter(&tells).take(count) {
            if chosen.len() >= most {
                break;
            }
            if !chosen.contains(&id) {
                chosen.push(id);
            }
        }
    };
    let (hosts, gateways) = (swarm.hosts(asker.rack), swarm.gateways(asker.rack));
    // With only gateways for neighbours, the hosts of a large rack would all wait for the same few.
    add(&mut by_chance(gateways, rng), MAX_NEIGHBOURS / 4);
    add(&mut hosts.iter().rev().take(MAX_HOSTS_LOOKED_AT).copied(), NEWEST);
    add(&mut by_chance(hosts, rng), MAX_HOSTS_LOOKED_AT);
    chosen.truncate(enough);
    chosen
}

/// As many as are looked at, each once.
fn by_chance<Id: Copy>(hosts: &[Id], rng: &mut impl Rng) -> impl Iterator<Item = Id> {
    hosts.sample(rng, MAX_HOSTS_LOOKED_AT).copied()
}

/// Gateways of other racks, each of another rack, by how well they suit the asker.
fn far<R: Racks>(
    swarm: &R,
    asker: &Asker<R::Id>,
    tells: impl Fn(&R::Id) -> bool,
    keys: &impl BuildHasher,
) -> impl Iterator<Item = R::Id> {
    let key = keys.hash_one(asker.id);
    let anywhere = key % ANYWHERE_OF == 0;
    let count = swarm.racks().count();
    // Where there are more, from one on that follows from the asker as well.
    let first = if count > MAX_RACKS_LOOKED_AT { usize::try_from(key).unwrap_or(0) % count } else { 0 };
    let mut racks: Vec<(u32, u64, Rack)> = swarm
        .racks()
        .cycle()
        .skip(first)
        .take(count.min(MAX_RACKS_LOOKED_AT))
        .filter(|rack| *rack != asker.rack)
        .map(|rack| {
            let distance = if anywhere { 0 } else { swarm.distance(asker.rack, rack) };
            (distance, keys.hash_one((asker.id, rack)), rack)
        })
        .collect();
    racks.sort_unstable();
    racks.into_iter().filter_map(move |(.., rack)| {
        let gateways = swarm.gateways(rack).iter().copied().filter(&tells);
        gateways.min_by_key(|id| keys.hash_one((asker.id, *id)))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    /// Racks of hosts that are numbered from 100 times their rack. Ten racks are a row.
    struct Swarm(Vec<(Vec<u32>, usize)>);

    impl Swarm {
        fn new(racks: u32, hosts: u32, gateways: usize) -> Self {
            Self(
                (0..racks)
                    .map(|rack| ((0..hosts).map(|host| rack * 100 + host).collect(), gateways))
                    .collect(),
            )
        }
    }

    impl Racks for Swarm {
        type Id = u32;

        fn racks(&self) -> impl Iterator<Item = Rack> + Clone {
            (0..self.0.len() as u32).map(Rack).filter(|rack| !self.gateways(*rack).is_empty())
        }

        fn hosts(&self, rack: Rack) -> &[u32] {
            &self.0[rack.0 as usize].0
        }

        fn gateways(&self, rack: Rack) -> &[u32] {
            let (hosts, gateways) = &self.0[rack.0 as usize];
            &hosts[..(*gateways).min(hosts.len())]
        }

        fn distance(&self, one: Rack, other: Rack) -> u32 {
            if one.0 / 10 == other.0 / 10 { 1 } else { 2 }
        }
    }

    fn told(swarm: &Swarm, id: u32, is_gateway: bool, enough: usize, seed: u64) -> Vec<u32> {
        let asker = Asker { id, rack: Rack(id / 100), is_gateway };
        let keys = BuildHasherDefault::<DefaultHasher>::new();
        choose(swarm, &asker, enough, |_| true, &keys, &mut SmallRng::seed_from_u64(seed))
    }

    #[test]
    fn tells_a_gateway_of_its_rack_and_of_one_gateway_far_away() {
        let swarm = Swarm::new(4, 6, 6);
        let told = told(&swarm, 102, true, 50, 1);
        let near: HashSet<u32> = told.iter().copied().filter(|id| id / 100 == 1).collect();
        assert_eq!(near, HashSet::from([100, 101, 103, 104, 105]));
        assert_eq!(told.len(), 6);
    }

    #[test]
    fn tells_others_of_their_rack_alone() {
        let swarm = Swarm::new(4, 20, 8);
        let told = told(&swarm, 115, false, 50, 1);
        assert_eq!(told.len(), 19);
        assert!(told.iter().all(|id| id / 100 == 1));
    }

    #[test]
    fn tells_the_same_gateway_of_the_same_far_one_whenever_it_asks() {
        let swarm = Swarm::new(40, 8, 8);
        let far = |seed| told(&swarm, 102, true, 50, seed)[0];
        assert!((2..50).all(|seed| far(seed) == far(1)));
    }

    #[test]
    fn spreads_gateways_over_racks_mostly_near_ones() {
        let swarm = Swarm::new(40, 8, 8);
        let far: Vec<(u32, u32)> = (0..40)
            .flat_map(|rack| (0..8).map(move |host| rack * 100 + host))
            .map(|id| (id, told(&swarm, id, true, 50, 1)[0]))
            .collect();
        assert!(far.iter().all(|(id, far)| id / 100 != far / 100));
        let near = far.iter().filter(|(id, far)| id / 1000 == far / 1000).count();
        assert!((200..=300).contains(&near), "about 13 in 16 of 320, not {near}");
        let told_of: HashSet<u32> = far.iter().map(|(_, far)| *far).collect();
        assert!(told_of.len() > 160, "not always the same: {}", told_of.len());
    }

    #[test]
    fn names_who_joined_last_and_some_gateways_in_a_large_rack() {
        let swarm = Swarm::new(2, 90, 8);
        for seed in 0..20 {
            let told = told(&swarm, 150, false, 50, seed);
            assert_eq!(told.len(), MAX_NEIGHBOURS);
            assert!((185..190).all(|newest| told.contains(&newest)));
            assert!(told.iter().filter(|id| **id < 108).count() >= MAX_NEIGHBOURS / 4);
        }
    }

    #[test]
    fn never_names_the_asker_anyone_twice_or_more_than_wanted() {
        let mut rng = SmallRng::seed_from_u64(1);
        for turn in 0..2000 {
            use rand::RngExt;
            let swarm = Swarm::new(rng.random_range(1..6), rng.random_range(1..99), rng.random_range(0..12));
            let rack = rng.random_range(0..swarm.0.len() as u32);
            let id = rack * 100 + rng.random_range(0..swarm.0[0].0.len() as u32);
            let enough = rng.random_range(0..60);
            let told = told(&swarm, id, swarm.gateways(Rack(rack)).contains(&id), enough, turn);
            assert!(told.len() <= enough && !told.contains(&id));
            assert_eq!(told.iter().collect::<HashSet<_>>().len(), told.len());
            assert!(enough == 0 || swarm.0[0].0.len() == 1 || !told.is_empty(), "somebody, if there is one");
        }
    }

    #[test]
    fn looks_at_no_more_hosts_and_racks_than_it_may() {
        use std::cell::Cell;

        /// Racks without end, of one gateway each but for the first.
        struct Wide {
            own: Vec<u32>,
            others: Vec<u32>,
            compared: Cell<usize>,
        }

        impl Racks for Wide {
            type Id = u32;

            fn racks(&self) -> impl Iterator<Item = Rack> + Clone {
                (0..=self.others.len() as u32).map(Rack)
            }

            fn hosts(&self, rack: Rack) -> &[u32] {
                if rack.0 == 0 { &self.own } else { &self.others[rack.0 as usize - 1..][..1] }
            }

            fn gateways(&self, rack: Rack) -> &[u32] {
                if rack.0 == 0 { &self.own[..8] } else { self.hosts(rack) }
            }

            fn distance(&self, _: Rack, _: Rack) -> u32 {
                self.compared.update(|compared| compared + 1);
                1
            }
        }

        let swarm =
            Wide { own: (0..10_000).collect(), others: (10_000..20_000).collect(), compared: Cell::new(0) };
        let keys = BuildHasherDefault::<DefaultHasher>::new();
        for id in 0..100 {
            swarm.compared.set(0);
            let asker = Asker { id, rack: Rack(0), is_gateway: true };
            let (looked_at, mut rng) = (Cell::new(0), SmallRng::seed_from_u64(id.into()));
            // Nobody of the rack is to be told of.
            let fits = |id: &u32| {
                looked_at.update(|looked_at| looked_at + 1);
                *id >= 10_000
            };
            let told = choose(&swarm, &asker, 50, fits, &keys, &mut rng);
            assert!(matches!(told[..], [far] if far >= 10_000), "somebody far: {told:?}");
            assert!(swarm.compared.get() <= MAX_RACKS_LOOKED_AT);
            assert!(looked_at.get() <= 3 * MAX_HOSTS_LOOKED_AT);
        }
    }

    #[test]
    fn passes_over_those_who_do_not_fit() {
        let swarm = Swarm::new(2, 6, 6);
        let asker = Asker { id: 0, rack: Rack(0), is_gateway: true };
        let keys = BuildHasherDefault::<DefaultHasher>::new();
        let odd = choose(&swarm, &asker, 50, |id| id % 2 == 1, &keys, &mut SmallRng::seed_from_u64(1));
        assert_eq!(odd.len(), 4);
        assert!(odd.iter().all(|id| id % 2 == 1));
    }
}
