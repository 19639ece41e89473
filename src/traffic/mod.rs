//! What goes out to whom: counted by those who send, read by whoever asks; and how fast it may. Nothing is decided
//! here.
//!
//! Counters are written by the one connection that they are about, relaxed and without a lock. Torrents that nobody is
//! connected for and nobody ever took anything of have no counters.

mod control;
mod counters;
mod first_sent;
mod rate;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use distributor_proto::InfoHash;
use indexmap::IndexMap;

pub use self::control::RateControl;
pub(crate) use self::counters::{Counters, PeerAbout, Tally};
pub(crate) use self::first_sent::FirstSent;

/// How many torrents' tallies are kept once nobody is connected for them.
const MAX_TALLIES: usize = 131_072;

/// All connections to peers, and all torrents that were ever uploaded.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    peers: Mutex<Peers>,
    torrents: Mutex<IndexMap<InfoHash, Arc<Tally>>>,
}

#[derive(Debug, Default)]
struct Peers {
    next_id: u64,
    by_id: BTreeMap<u64, Peer>,
}

/// One peer, as it can be shown.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) about: Arc<PeerAbout>,
    pub(crate) counters: Arc<Counters>,
}

/// What goes out of one torrent now: the sums over its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Bytes a second, lately.
    pub(crate) rate: u64,
    /// Requests that wait for their blocks.
    pub(crate) requests: u64,
}

impl Traffic {
    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn torrents(&self) -> MutexGuard<'_, IndexMap<InfoHash, Arc<Tally>>> {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer has said who it is. It is shown until what is returned is dropped.
    pub(crate) fn enter(self: &Arc<Self>, about: PeerAbout, counters: &Arc<Counters>) -> Entry {
        let mut peers = self.peers();
        let id = peers.next_id;
        peers.next_id += 1;
        peers.by_id.insert(id, Peer { about: Arc::new(about), counters: Arc::clone(counters) });
        Entry { id, traffic: Arc::clone(self) }
    }

    /// Up to `max` peers from an id on, with their ids: those of a torrent, or all.
    pub(crate) fn peers_from(&self, from: u64, torrent: Option<&InfoHash>, max: usize) -> Vec<(u64, Peer)> {
        let is_wanted = |peer: &Peer| torrent.is_none_or(|torrent| peer.about.info_hash == *torrent);
        let peers = self.peers();
        let from = peers.by_id.range((Bound::Included(from), Bound::Unbounded));
        from.filter(|(_, peer)| is_wanted(peer)).take(max).map(|(id, peer)| (*id, peer.clone())).collect()
    }

    /// What goes out now, of all torrents that somebody is connected for. Every peer is looked at.
    pub(crate) fn flows(&self) -> HashMap<InfoHash, Flow> {
        let mut flows: HashMap<_, Flow> = HashMap::new();
        for Peer { about, counters } in self.peers().by_id.values() {
            let flow = flows.entry(about.info_hash).or_default();
            flow.rate = flow.rate.saturating_add(counters.rate());
            flow.requests = flow.requests.saturating_add(counters.requests().into());
        }
        flows
    }

    /// The tally of a torrent that a connection is for; where there is none it begins.
    pub(crate) fn join(&self, info_hash: InfoHash) -> Arc<Tally> {
        let mut torrents = self.torrents();
        if !torrents.contains_key(&info_hash)
            && torrents.len() >= MAX_TALLIES
            && let Some(idle) = torrents.values().position(|tally| tally.connections() == 0)
        {
            torrents.swap_remove_index(idle);
        }
        let tally = torrents.entry(info_hash).or_default();
        tally.add_connection();
        Arc::clone(tally)
    }

    /// A connection for a torrent has ended. A torrent of which nothing was taken is forgotten with the last.
    pub(crate) fn leave(&self, info_hash: &InfoHash) {
        let mut torrents = self.torrents();
        let Some(tally) = torrents.get(info_hash) else { return };
        if tally.remove_connection() == 0 && tally.uploaded() == 0 {
            torrents.swap_remove(info_hash);
        }
    }

    /// What was counted for a torrent, if anything was.
    pub(crate) fn tally(&self, info_hash: &InfoHash) -> Option<Arc<Tally>> {
        self.torrents().get(info_hash).cloned()
    }
}

/// One peer's place among those that are shown; left when dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    id: u64,
    traffic: Arc<Traffic>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.traffic.peers().by_id.remove(&self.id);
    }
}

/// How often [`Counters::sample`] is to be called.
pub(crate) const SAMPLING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Instant, SystemTime};

    use distributor_proto::PeerId;

    const TORRENT: InfoHash = InfoHash::new([1; 20]);

    fn peer_of(info_hash: InfoHash) -> PeerAbout {
        PeerAbout {
            addr: ([127, 0, 0, 1], 6881).into(),
            info_hash,
            peer_id: PeerId::new([b'x'; 20]),
            piece_len: 16_384,
            since: SystemTime::UNIX_EPOCH,
            dialled: false,
            encrypted: false,
        }
    }

    #[test]
    fn what_goes_out_of_a_torrent_is_the_sum_over_its_peers() {
        let traffic = Arc::new(Traffic::default());
        let other = InfoHash::new([2; 20]);
        let start = Instant::now();
        let enter = |info_hash, bytes, requests| {
            let counters = Arc::default();
            let entry = traffic.enter(peer_of(info_hash), &counters);
            counters.sample(start);
            counters.add_uploaded(bytes);
            counters.set_requests(requests);
            // So long after that the mean is what it was in all of the time.
            counters.sample(start + 100 * SAMPLING);
            (entry, counters.rate())
        };
        let (first, second, third) =
            (enter(TORRENT, 1_000_000, 3), enter(TORRENT, 3_000_000, 4), enter(other, 5_000_000, 5));
        assert_eq!(traffic.flows()[&TORRENT], Flow { rate: first.1 + second.1, requests: 7 });
        assert_eq!(traffic.flows()[&other], Flow { rate: third.1, requests: 5 });
        assert!(first.1 > 0 && second.1 > first.1);
        drop(third);
        assert_eq!(traffic.flows().len(), 1, "nobody is connected for the other");
    }

    #[test]
    fn keeps_a_tally_only_of_what_was_taken() {
        let traffic = Traffic::default();
        let first = traffic.join(TORRENT);
        traffic.join(TORRENT);
        assert_eq!(first.connections(), 2);
        traffic.leave(&TORRENT);
        assert!(traffic.tally(&TORRENT).is_some());
        traffic.leave(&TORRENT);
        assert!(traffic.tally(&TORRENT).is_none(), "nobody took anything");
        traffic.join(TORRENT).add_uploaded(1);
        traffic.leave(&TORRENT);
        assert_eq!(traffic.tally(&TORRENT).map(|tally| tally.uploaded()), Some(1));
    }

    #[test]
    fn keeps_no_more_tallies_than_it_may_and_forgets_none_that_is_in_use() {
        let traffic = Traffic::default();
        let torrent = |n: usize| {
            let mut bytes = [0; 20];
            bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
            InfoHash::new(bytes)
        };
        traffic.join(torrent(0)).add_uploaded(1);
        for n in 1..=MAX_TALLIES {
            traffic.join(torrent(n)).add_uploaded(1);
            traffic.leave(&torrent(n));
        }
        assert_eq!(traffic.torrents().len(), MAX_TALLIES);
        assert!(traffic.tally(&torrent(0)).is_some());
        assert!(traffic.tally(&torrent(MAX_TALLIES)).is_some());
    }
}
