//! Everybody who is there, for whoever has to look at all of them: copied out a page at a time, so that no announce
//! waits for long. Changes nothing.

use std::net::SocketAddr;
use std::time::Instant;

use distributor_proto::{InfoHash, PeerId};

use super::address::Address;
use super::clock::Seconds;
use super::table::{Pool, Table};
use super::{Tracker, lock};

/// A peer that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    /// Where it says that it can be dialled.
    pub(crate) addr: SocketAddr,
    pub(crate) id: PeerId,
    pub(crate) is_seed: bool,
}

impl Tracker {
    /// Tells of everybody who is there, in lists of some of one swarm, while nothing is locked. Who becomes a seed just
    /// then, or takes the place of one that leaves, may be left out.
    pub(crate) fn call_roll(&self, now: Instant, mut tell: impl FnMut(InfoHash, &[Present])) {
        let now = self.clock.at(now);
        let mut present = Vec::new();
        for shard in &self.shards {
            let swarms: Vec<InfoHash> = lock(shard).keys().copied().collect();
            for info_hash in swarms {
                for (pool, is_v4) in Pool::ALL.into_iter().flat_map(|pool| [(pool, true), (pool, false)]) {
                    for page in 0.. {
                        let is_there = self.with(&info_hash, |swarm| match is_v4 {
                            true => copy_page(&swarm.v4, pool, page, now, &mut present),
                            false => copy_page(&swarm.v6, pool, page, now, &mut present),
                        });
                        if is_there != Some(true) {
                            break;
                        }
                        tell(info_hash, &present);
                        present.clear();
                    }
                }
            }
        }
    }
}

/// Copies out who is there of a page; whether there is such a page.
fn copy_page<A: Address>(
    table: &Table<A>,
    pool: Pool,
    page: usize,
    now: Seconds,
    present: &mut Vec<Present>,
) -> bool {
    let entries = table.pool(pool);
    if page >= entries.page_count() {
        return false;
    }
    let there = entries.page(page).filter_map(|index| Some((entries.get(index)?, entries.rest(index))));
    let there = there.filter(|(face, _)| !face.is_expired(now));
    present.extend(there.map(|(face, rest)| Present { addr: face.addr(), id: rest.id, is_seed: pool.seeds }));
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use distributor_proto::AnnounceEvent;

    use crate::tracker::tests::{HASH, Room};

    fn roll(room: &Room) -> Vec<(String, bool)> {
        let mut roll = Vec::new();
        room.tracker.call_roll(room.now, |info_hash, present| {
            assert_eq!(info_hash, HASH);
            roll.extend(present.iter().map(|peer| (peer.addr.ip().to_string(), peer.is_seed)));
        });
        roll
    }

    #[test]
    fn everybody_is_told_of_once_who_is_there() {
        let mut room = Room::new();
        (1..=200).for_each(|host| drop(room.announce(host, 10, AnnounceEvent::Started)));
        room.announce(7, 0, AnnounceEvent::Completed);
        room.announce(8, 10, AnnounceEvent::Stopped);
        let told = roll(&room);
        assert_eq!(told.len(), 199);
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 199);
        assert_eq!(told.iter().filter(|(_, is_seed)| *is_seed).count(), 1);
        room.now += Duration::from_secs(24 * 3600);
        assert!(roll(&room).is_empty());
    }
}
