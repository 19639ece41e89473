//! What can be told of the hosts of swarms, place by place.

use std::net::SocketAddr;

use distributor_proto::InfoHash;

use super::member::{Member, Reports};
use super::swarm::{By, Members, Swarm};
use crate::steering::Standing;
use crate::topology::Topology;

/// The hosts of one swarm at one place.
#[derive(Debug)]
pub(crate) struct PlaceReport {
    pub(crate) info_hash: InfoHash,
    /// As it is written.
    pub(crate) place: String,
    /// Whose word that is.
    pub(crate) by: By,
    /// Those who are there, in the order in which they joined.
    pub(crate) hosts: Vec<HostReport>,
    /// What those had got and given who were there before.
    pub(crate) gone: Reports,
}

/// A host, by its own account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostReport {
    pub(crate) addr: SocketAddr,
    pub(crate) is_seed: bool,
    pub(crate) is_gateway: bool,
    /// Bytes that it lacks, where it says so.
    pub(crate) left: Option<u64>,
    pub(crate) reports: Reports,
}

/// How much there is of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) hosts: usize,
    /// Places of swarms: of two torrents each has its own.
    pub(crate) places: usize,
    pub(crate) gateways: usize,
}

impl HostReport {
    fn of(addr: SocketAddr, member: &Member) -> Self {
        Self {
            addr,
            is_seed: member.standing == Standing::Seeds,
            is_gateway: member.is_gateway,
            left: member.left(),
            reports: member.reports,
        }
    }
}

impl Swarm {
    /// Up to so many of the places whose names are past `after`, in their order.
    pub(super) fn report(
        &self,
        info_hash: InfoHash,
        topology: &Topology,
        after: Option<&str>,
        max: usize,
    ) -> Vec<PlaceReport> {
        let mut places: Vec<(String, &Members)> =
            self.racks.values().map(|members| (topology.written(members.place), members)).collect();
        places.retain(|(place, _)| after.is_none_or(|after| place.as_str() > after));
        places.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        places.truncate(max);
        let host = |addr: &SocketAddr| {
            let member = self.members.get(addr).filter(|member| member.standing.is_here())?;
            Some(HostReport::of(*addr, member))
        };
        let report = |(place, members): (String, &Members)| PlaceReport {
            info_hash,
            place,
            by: members.by,
            hosts: members.hosts.iter().filter_map(host).collect(),
            gone: members.gone,
        };
        places.into_iter().map(report).collect()
    }

    pub(super) fn count(&self, totals: &mut Totals) {
        totals.hosts += self.members.len();
        totals.places += self.racks.len();
        totals.gateways += self.racks.values().map(Members::gateway_count).sum::<usize>();
    }
}
