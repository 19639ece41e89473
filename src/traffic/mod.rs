//! What goes out to whom: counted by those who send, read by whoever asks; and how fast it may. Nothing is decided
//! here.
//!
//! Counters are written by the one connection that they are about, relaxed and without a lock. Torrents that nobody is
//! connected for and nobody ever took anything of have no counters.

mod control;
mod counters;
mod rate;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use distributor_proto::InfoHash;
use indexmap::IndexMap;

pub use self::control::RateControl;
pub(crate) use self::counters::{Counters, PeerAbout, Tally};

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

    const TORRENT: InfoHash = InfoHash::new([1; 20]);

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
