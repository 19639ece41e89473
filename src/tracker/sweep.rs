//! That peers go who fell silent, and swarms whose torrents are gone: all of them in turn, a page under the lock at a
//! time, so that no announce waits for more than that.

use std::time::Instant;

use distributor_proto::InfoHash;

use super::clock::Seconds;
use super::swarm::Swarm;
use super::table::Pool;
use super::{Tracker, lock};

/// For how many seconds the swarm of a torrent is kept that is not served: its file may have been touched and be hashed
/// anew, or, after a restart, not have been found yet.
const UNSERVED_GRACE: u32 = 3600;

/// What a round has to do with one swarm.
struct Round {
    /// Nobody will ask for it any more.
    give_up: bool,
    pages: [usize; Pool::ALL.len()],
}

impl Tracker {
    /// Drops the peers that have not announced for too long, and the swarms of what is no longer served. Takes time for
    /// each peer, but holds up nobody.
    pub(crate) fn sweep(&self, now: Instant, is_served: impl Fn(&InfoHash) -> bool) {
        let now = self.clock.at(now);
        for shard in &self.shards {
            let swarms: Vec<InfoHash> = lock(shard).keys().copied().collect();
            for info_hash in swarms {
                self.sweep_swarm(&info_hash, is_served(&info_hash), now);
            }
        }
    }

    fn sweep_swarm(&self, info_hash: &InfoHash, is_served: bool, now: Seconds) {
        let Some(round) = self.with(info_hash, |swarm| Round::begin(swarm, is_served, now)) else { return };
        for pool in Pool::ALL {
            // From behind, since the last ones come in the place of those that go.
            for page in (0..round.pages[pool.number()]).rev() {
                self.with(info_hash, |swarm| {
                    swarm.sweep_page(pool, page, now, round.give_up, &self.census);
                });
            }
        }
    }
}

impl Round {
    fn begin(swarm: &mut Swarm, is_served: bool, now: Seconds) -> Self {
        let since = *swarm.unserved.get_or_insert(now);
        if is_served {
            swarm.unserved = None;
        }
        let give_up = !is_served && now.since(since) >= UNSERVED_GRACE;
        if give_up {
            swarm.set_downloads(0);
        }
        let pages = Pool::ALL.map(|pool| {
            let (v4, v6) = (swarm.v4.pool(pool), swarm.v6.pool(pool));
            v4.page_count().max(v6.page_count())
        });
        Self { give_up, pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::tests::{HASH, Room, hosts};
    use distributor_proto::AnnounceEvent;
    use std::time::Duration;

    #[test]
    fn drops_peers_that_fell_silent_each_by_its_own_time() {
        let mut room = Room::new();
        // One of a client that keeps to what it is told, one of those that announce every ten minutes at most.
        room.client = *b"-TR3000-";
        room.announce(1, 10, AnnounceEvent::Started);
        room.client = *b"-lt0D98-";
        room.announce(2, 10, AnnounceEvent::Started);
        room.now += Duration::from_secs(5 * 60);
        assert_eq!(hosts(&room.announce(3, 10, AnnounceEvent::Started)), [2], "not even before it is swept");
        room.tracker.sweep(room.now, |_| true);
        assert_eq!(room.tracker.scrape(&HASH).incomplete, 2);
        room.now += Duration::from_secs(3600);
        room.tracker.sweep(room.now, |_| true);
        assert_eq!(room.tracker.size(), (0, 0), "there is nothing to be said of it");
    }

    #[test]
    fn keeps_the_swarm_of_what_is_not_served_for_a_while() {
        let mut room = Room::new();
        room.announce(1, 10, AnnounceEvent::Started);
        room.announce(1, 0, AnnounceEvent::Completed);
        let none = |_: &InfoHash| false;
        room.tracker.sweep(room.now, none);
        room.now += Duration::from_secs(60);
        room.tracker.sweep(room.now, none);
        assert_eq!(room.tracker.scrape(&HASH).complete, 1);
        // It is back, and goes anew: its time begins again.
        room.tracker.sweep(room.now, |_| true);
        room.now += Duration::from_secs(60);
        room.tracker.sweep(room.now, none);
        for (later, left) in [(UNSERVED_GRACE - 1, 1), (1, 0)] {
            room.now += Duration::from_secs(later.into());
            room.tracker.sweep(room.now, none);
            assert_eq!(room.tracker.size().0, left);
        }
    }

    #[test]
    fn keeps_the_count_of_downloads_of_what_is_served() {
        let mut room = Room::new();
        room.announce(1, 10, AnnounceEvent::Started);
        room.announce(1, 0, AnnounceEvent::Completed);
        room.now += Duration::from_secs(24 * 3600);
        room.tracker.sweep(room.now, |_| true);
        assert_eq!((room.tracker.size(), room.tracker.scrape(&HASH).downloaded), ((1, 0), 1));
    }
}
