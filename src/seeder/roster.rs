//! Who is connected for which torrent: how many may be, which address is there already, and that one peer keeps one
//! connection where both sides have dialled.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use distributor_proto::{Geometry, InfoHash, PeerId};

use super::spread::Spread;
use crate::traffic::Traffic;

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Accepted,
    Dialled,
}

#[derive(Debug)]
pub(super) struct Roster {
    max_per_torrent: usize,
    traffic: Arc<Traffic>,
    parties: Mutex<HashMap<InfoHash, Party>>,
}

/// The connections of one torrent.
#[derive(Debug)]
struct Party {
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Those that have said who they are. An id counts only together with its address: anybody can take another's.
    by_peer: HashMap<(IpAddr, PeerId), Present>,
    spread: Arc<Spread>,
}

/// How many connections a peer has.
#[derive(Debug, Default)]
struct Present {
    accepted: usize,
    dialled: usize,
}

impl Present {
    fn of(&mut self, way: Way) -> &mut usize {
        match way {
            Way::Accepted => &mut self.accepted,
            Way::Dialled => &mut self.dialled,
        }
    }
}

impl Roster {
    /// Torrents' tallies are kept in `traffic`.
    pub(super) fn new(max_per_torrent: usize, traffic: Arc<Traffic>) -> Arc<Self> {
        Arc::new(Self { max_per_torrent, traffic, parties: Mutex::default() })
    }

    fn parties(&self) -> MutexGuard<'_, HashMap<InfoHash, Party>> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this address has a connection for the torrent.
    pub(super) fn is_connected(&self, info_hash: &InfoHash, ip: IpAddr) -> bool {
        self.parties().get(info_hash).is_some_and(|party| party.by_address.contains_key(&ip))
    }

    /// Joins those who are connected for a torrent; `None` if they are as many as may be.
    pub(super) fn join(
        self: &Arc<Self>,
        info_hash: InfoHash,
        geometry: Geometry,
        ip: IpAddr,
        way: Way,
    ) -> Option<Membership> {
        let mut parties = self.parties();
        if parties.get(&info_hash).map_or(0, |party| party.connections) >= self.max_per_torrent {
            return None;
        }
        let tally = self.traffic.join(info_hash);
        let party = parties.entry(info_hash).or_insert_with(|| Party {
            connections: 0,
            by_address: HashMap::new(),
            by_peer: HashMap::new(),
            spread: Arc::new(Spread::new(geometry, tally)),
        });
        party.connections += 1;
        *party.by_address.entry(ip).or_default() += 1;
        Some(Membership {
            info_hash,
            ip,
            way,
            peer_id: None,
            spread: Arc::clone(&party.spread),
            roster: Arc::clone(self),
        })
    }
}

/// One connection's place; left when dropped.
#[derive(Debug)]
pub(super) struct Membership {
    info_hash: InfoHash,
    ip: IpAddr,
    way: Way,
    peer_id: Option<PeerId>,
    spread: Arc<Spread>,
    roster: Arc<Roster>,
}

/// The peer has another connection, which is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Duplicate;

impl Membership {
    /// For which torrent it is and who the peer is, once it has said so.
    pub(super) fn peer(&self) -> Option<(InfoHash, PeerId)> {
        Some((self.info_hash, self.peer_id?))
    }

    /// Which of the torrent's pieces were given to anybody.
    pub(super) fn spread(&self) -> &Spread {
        &self.spread
    }

    /// The peer has said who it is. Where we dialled each other the connection that is there already is kept. A peer
    /// that has begun several itself keeps them: what they may use together is bounded by address.
    pub(super) fn introduce(&mut self, peer_id: PeerId) -> Result<(), Duplicate> {
        let mut parties = self.roster.parties();
        let Some(party) = parties.get_mut(&self.info_hash) else { return Ok(()) };
        let present = party.by_peer.entry((self.ip, peer_id)).or_default();
        if present.dialled > 0 || (self.way == Way::Dialled && present.accepted > 0) {
            return Err(Duplicate);
        }
        *present.of(self.way) += 1;
        self.peer_id = Some(peer_id);
        Ok(())
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut parties = self.roster.parties();
        let Some(party) = parties.get_mut(&self.info_hash) else { return };
        if let Some(peer_id) = self.peer_id
            && let Some(present) = party.by_peer.get_mut(&(self.ip, peer_id))
        {
            *present.of(self.way) -= 1;
            if present.accepted + present.dialled == 0 {
                party.by_peer.remove(&(self.ip, peer_id));
            }
        }
        if let Some(count) = party.by_address.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                party.by_address.remove(&self.ip);
            }
        }
        party.connections -= 1;
        if party.connections == 0 {
            parties.remove(&self.info_hash);
        }
        self.roster.traffic.leave(&self.info_hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TORRENT: InfoHash = InfoHash::new([1; 20]);
    const PEER: PeerId = PeerId::new([2; 20]);

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn join(roster: &Arc<Roster>, host: u8, way: Way) -> Option<Membership> {
        roster.join(TORRENT, Geometry::for_len(100).unwrap(), ip(host), way)
    }

    #[test]
    fn admits_as_many_as_may_be_for_one_torrent() {
        let roster = Roster::new(2, Arc::default());
        let first = join(&roster, 1, Way::Accepted).unwrap();
        let _second = join(&roster, 1, Way::Accepted).unwrap();
        assert!(join(&roster, 2, Way::Accepted).is_none());
        let other = InfoHash::new([9; 20]);
        assert!(roster.join(other, Geometry::for_len(1).unwrap(), ip(2), Way::Accepted).is_some());
        drop(first);
        assert!(join(&roster, 2, Way::Accepted).is_some());
    }

    #[test]
    fn knows_which_addresses_are_connected() {
        let roster = Roster::new(10, Arc::default());
        let (first, second) = (join(&roster, 1, Way::Accepted), join(&roster, 1, Way::Dialled));
        drop(first);
        assert!(roster.is_connected(&TORRENT, ip(1)));
        assert!(!roster.is_connected(&TORRENT, ip(2)));
        drop(second);
        assert!(!roster.is_connected(&TORRENT, ip(1)));
        assert!(roster.parties().is_empty());
    }

    #[test]
    fn lets_a_peer_keep_several_connections_that_it_began() {
        let roster = Roster::new(10, Arc::default());
        let mut first = join(&roster, 1, Way::Accepted).unwrap();
        let mut second = join(&roster, 1, Way::Accepted).unwrap();
        assert_eq!(first.introduce(PEER), Ok(()));
        assert_eq!(second.introduce(PEER), Ok(()));
        drop(first);
        let mut dialled = join(&roster, 1, Way::Dialled).unwrap();
        assert_eq!(dialled.introduce(PEER), Err(Duplicate), "the second is known still");
        drop((second, dialled));
        let mut dialled = join(&roster, 1, Way::Dialled).unwrap();
        assert_eq!(dialled.introduce(PEER), Ok(()));
    }

    #[test]
    fn keeps_the_one_that_is_there_where_both_sides_dialled() {
        let roster = Roster::new(10, Arc::default());
        for (first, second) in [(Way::Accepted, Way::Dialled), (Way::Dialled, Way::Accepted)] {
            let mut first = join(&roster, 1, first).unwrap();
            let mut second = join(&roster, 1, second).unwrap();
            assert_eq!(first.introduce(PEER), Ok(()));
            assert_eq!(second.introduce(PEER), Err(Duplicate));
        }
    }

    #[test]
    fn lets_nobody_take_the_place_of_a_peer_at_another_address() {
        let roster = Roster::new(10, Arc::default());
        let mut thief = join(&roster, 2, Way::Accepted).unwrap();
        let mut peer = join(&roster, 1, Way::Dialled).unwrap();
        assert_eq!(thief.introduce(PEER), Ok(()));
        assert_eq!(peer.introduce(PEER), Ok(()));
    }
}
