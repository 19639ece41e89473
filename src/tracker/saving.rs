//! Swarms as pages that outlive the process: which are to be written, and what becomes of those that were. A page is
//! copied out under the lock, and written without it: however long that takes, no announce waits. What pages are as
//! bytes, and where they lie, is the state's.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use distributor_proto::InfoHash;

use super::address::Address;
use super::census::MAX_PEERS;
use super::clock::Seconds;
use super::pages::PAGE;
use super::swarm::Swarm;
use super::table::{Peer, Pool, Table};
use super::{Tracker, lock};
use crate::state::{SavedPeer, SwarmPage};

/// A write is of so many pages, or of somewhat more than so many peers.
const MAX_PAGES_AT_ONCE: usize = 1024;
const MAX_PEERS_AT_ONCE: usize = 16 * 1024;
/// As many as there can be of one pool. A number beyond is damaged, and what it names is left alone.
const MAX_PAGES: usize = MAX_PEERS.div_ceil(PAGE);
/// What is no peer's has a page of its own.
const ABOUT: u32 = u32::MAX;
/// The number of any other page: family, pool, and its number there.
const V6: u32 = 1 << 30;
const POOL_SHIFT: u32 = 24;

/// One moment, as the tracker has it and as everybody else does: a restart begins the tracker's anew.
#[derive(Clone, Copy)]
struct Now {
    here: Seconds,
    /// Since 1970.
    everywhere: u64,
}

impl Tracker {
    fn moment(&self, now: Instant, wall: SystemTime) -> Now {
        let everywhere = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        Now { here: self.clock.at(now), everywhere }
    }

    /// Has everything written that isn't saved as it is, some pages at a time, until `write` fails: then nothing of
    /// what was saved before is relied on, and the next time all is written. A page without peers and downloads is to
    /// be taken away.
    pub(crate) fn save<E>(
        &self,
        now: Instant,
        wall: SystemTime,
        mut write: impl FnMut(&[SwarmPage]) -> Result<(), E>,
    ) -> Result<(), E> {
        let now = self.moment(now, wall);
        let is_all = self.is_unsaved.swap(false, Ordering::Relaxed);
        let mut batch = Batch::default();
        for shard in &self.shards {
            let is_due = |swarm: &Swarm| is_all || !swarm.is_saved();
            let swarms: Vec<InfoHash> = lock(shard)
                .iter()
                .filter(|(_, swarm)| is_due(swarm))
                .map(|(info_hash, _)| *info_hash)
                .collect();
            for info_hash in swarms {
                if is_all {
                    self.with(&info_hash, Swarm::all_changed);
                }
                let mut progress = Progress::default();
                while let Some(Some(page)) =
                    self.with(&info_hash, |swarm| swarm.take_unsaved(info_hash, now, &mut progress))
                {
                    batch.push(page);
                    if batch.is_full() {
                        self.write(&mut batch, &mut write)?;
                    }
                }
            }
        }
        self.write(&mut batch, &mut write)
    }

    fn write<E>(
        &self,
        batch: &mut Batch,
        write: &mut impl FnMut(&[SwarmPage]) -> Result<(), E>,
    ) -> Result<(), E> {
        let pages = std::mem::take(batch).pages;
        if pages.is_empty() {
            return Ok(());
        }
        write(&pages).inspect_err(|_| self.is_unsaved.store(true, Ordering::Relaxed))
    }

    /// Takes back a page that was saved. Whoever has announced itself since is known better already. That its torrent
    /// is served is not known yet. `restored` hears of everybody who may be there still, while the swarm is locked.
    pub(crate) fn restore(
        &self,
        page: &SwarmPage,
        now: Instant,
        wall: SystemTime,
        mut restored: impl FnMut(&SavedPeer),
    ) {
        let now = self.moment(now, wall);
        let mut shard = self.shard(&page.info_hash);
        let swarm = shard.entry(page.info_hash).or_insert_with(|| Box::new(Swarm::new(now.here)));
        swarm.unserved.get_or_insert(now.here);
        swarm.found_saved(page.number);
        swarm.set_downloads(swarm.downloads().max(page.downloads));
        for saved in &page.peers {
            // A clock that was set back makes nobody immortal.
            let left = saved.expires.saturating_sub(now.everywhere);
            let patience = u16::try_from(left).unwrap_or(u16::MAX);
            let SavedPeer { addr, id, key, is_seed, .. } = *saved;
            if patience > 0 && addr.port() != 0 {
                let peer = Peer { addr, id, key, announced: now.here, patience, is_seed };
                swarm.restore(&peer, &self.census);
                restored(saved);
            }
        }
    }
}

/// Which pages of a swarm a round has come to: each is written once, however often it changes meanwhile.
#[derive(Default)]
struct Progress {
    is_behind_about: bool,
    v4: [usize; Pool::ALL.len()],
    v6: [usize; Pool::ALL.len()],
}

#[derive(Default)]
struct Batch {
    pages: Vec<SwarmPage>,
    peers: usize,
}

impl Batch {
    fn push(&mut self, page: SwarmPage) {
        self.peers += page.peers.len();
        self.pages.push(page);
    }

    fn is_full(&self) -> bool {
        self.pages.len() >= MAX_PAGES_AT_ONCE || self.peers >= MAX_PEERS_AT_ONCE
    }
}

impl Swarm {
    pub(super) fn is_saved(&self) -> bool {
        let all = |pool: &Pool| self.v4.pool(*pool).is_saved() && self.v6.pool(*pool).is_saved();
        !self.about.changed && Pool::ALL.iter().all(all)
    }

    pub(super) fn is_anything_saved(&self) -> bool {
        let any =
            |pool: &Pool| self.v4.pool(*pool).is_anything_saved() || self.v6.pool(*pool).is_anything_saved();
        self.about.saved || Pool::ALL.iter().any(any)
    }

    fn all_changed(&mut self) {
        self.about.changed = true;
        for pool in Pool::ALL {
            self.v4.pool_mut(pool).all_changed();
            self.v6.pool_mut(pool).all_changed();
        }
    }

    /// There is such a page, of contents that may lie in others by now.
    fn found_saved(&mut self, number: u32) {
        self.about.changed = true;
        if number == ABOUT {
            self.about.saved = true;
            return;
        }
        let page = (number & ((1 << POOL_SHIFT) - 1)) as usize;
        if page >= MAX_PAGES {
            return;
        }
        let pool = Pool::ALL[(number >> POOL_SHIFT) as usize % Pool::ALL.len()];
        if number & V6 == 0 {
            self.v4.pool_mut(pool).found_saved(page + 1);
        } else {
            self.v6.pool_mut(pool).found_saved(page + 1);
        }
    }

    /// A page that is to be written, or to be taken away; it counts as saved from now on.
    fn take_unsaved(&mut self, info_hash: InfoHash, now: Now, progress: &mut Progress) -> Option<SwarmPage> {
        let was_behind_about = std::mem::replace(&mut progress.is_behind_about, true);
        if !was_behind_about && std::mem::take(&mut self.about.changed) {
            let downloads = self.downloads();
            self.about.saved = downloads > 0;
            return Some(SwarmPage { info_hash, number: ABOUT, downloads, peers: Vec::new() });
        }
        let taken = take_unsaved_of(&mut self.v4, now, &mut progress.v4).or_else(|| {
            let (number, peers) = take_unsaved_of(&mut self.v6, now, &mut progress.v6)?;
            Some((number | V6, peers))
        });
        taken.map(|(number, peers)| SwarmPage { info_hash, number, downloads: 0, peers })
    }
}

fn take_unsaved_of<A: Address>(
    table: &mut Table<A>,
    now: Now,
    next: &mut [usize; Pool::ALL.len()],
) -> Option<(u32, Vec<SavedPeer>)> {
    Pool::ALL.into_iter().find_map(|pool| {
        let (page, faces, rests) = table.pool_mut(pool).take_unsaved(&mut next[pool.number()])?;
        let saved = |peer: Peer| {
            let left = u32::from(peer.patience).saturating_sub(now.here.since(peer.announced));
            let expires = now.everywhere.saturating_add(left.into());
            let Peer { addr, id, key, is_seed, .. } = peer;
            SavedPeer { addr, id, key, is_seed, expires }
        };
        // There are a thousand pages where there are as many peers as there may be.
        let number = (pool.number() as u32) << POOL_SHIFT | u32::try_from(page).unwrap_or(ABOUT);
        let peers = faces.iter().zip(rests).map(|(face, rest)| saved(face.peer(rest, pool)));
        Some((number, peers.collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::tests::{HASH, Room, hosts};
    use distributor_proto::AnnounceEvent;
    use std::collections::HashMap;

    const WALL: SystemTime = SystemTime::UNIX_EPOCH;

    /// What is written, as a disk keeps it.
    #[derive(Default)]
    struct Disk {
        pages: HashMap<(InfoHash, u32), SwarmPage>,
        is_full: bool,
    }

    impl Disk {
        /// How many pages that takes.
        fn save(&mut self, room: &Room, wall: SystemTime) -> usize {
            let mut written = 0;
            let _ = room.tracker.save(room.now, wall, |pages| {
                if self.is_full {
                    return Err(());
                }
                for page in pages {
                    written += 1;
                    let key = (page.info_hash, page.number);
                    if page.peers.is_empty() && page.downloads == 0 {
                        self.pages.remove(&key);
                    } else {
                        self.pages.insert(key, page.clone());
                    }
                }
                Ok(())
            });
            written
        }

        fn restored(&self, wall: SystemTime) -> Room {
            let room = Room::new();
            self.pages.values().for_each(|page| room.tracker.restore(page, room.now, wall, |_| {}));
            room
        }
    }

    fn grown() -> Room {
        let mut room = Room::new();
        for host in 1..=3 {
            room.announce(host, 10, AnnounceEvent::Started);
        }
        room.announce(3, 0, AnnounceEvent::Completed);
        room
    }

    #[test]
    fn a_swarm_is_after_a_restart_what_it_was() {
        let (before, mut disk) = (grown(), Disk::default());
        disk.save(&before, WALL);
        let mut after = disk.restored(WALL + Duration::from_secs(60));
        assert_eq!(after.tracker.scrape(&HASH), before.tracker.scrape(&HASH));
        assert_eq!(hosts(&after.announce(4, 10, AnnounceEvent::Started)), [1, 2, 3]);
        // One that has not heard of the restart is known again.
        after.announce(1, 0, AnnounceEvent::Completed);
        let stats = after.tracker.scrape(&HASH);
        assert_eq!((stats.complete, stats.downloaded, stats.incomplete), (2, 2, 2));
    }

    #[test]
    fn time_goes_on_for_its_peers_while_nobody_counts_it() {
        let mut disk = Disk::default();
        disk.save(&grown(), WALL);
        let mut after = disk.restored(WALL + Duration::from_secs(24 * 3600));
        assert_eq!(hosts(&after.announce(4, 10, AnnounceEvent::Started)), [0; 0]);
        assert_eq!(after.tracker.scrape(&HASH).downloaded, 1);
        // And what is left of it is taken from the disk, too.
        disk.save(&after, WALL);
        assert_eq!(disk.pages.values().map(|page| page.peers.len()).sum::<usize>(), 1);
    }

    #[test]
    fn only_what_changed_is_written() {
        let (mut room, mut disk) = (grown(), Disk::default());
        assert_eq!(disk.save(&room, WALL), 3, "downloaders, seeders, and the count of downloads");
        assert_eq!(disk.save(&room, WALL), 0);
        room.announce(1, 10, AnnounceEvent::Periodic);
        assert_eq!(disk.save(&room, WALL), 1);
    }

    #[test]
    fn a_swarm_that_is_over_is_taken_from_the_disk_and_forgotten_then() {
        let (mut room, mut disk) = (grown(), Disk::default());
        disk.save(&room, WALL);
        room.tracker.sweep(room.now, |_| false);
        room.now += Duration::from_secs(24 * 3600);
        room.tracker.sweep(room.now, |_| false);
        assert_eq!(room.tracker.size(), (1, 0), "the disk has not heard of it");
        disk.save(&room, WALL);
        assert_eq!((room.tracker.size(), disk.pages.len()), ((0, 0), 0));
    }

    #[test]
    fn what_could_not_be_written_is_written_once_it_can() {
        let (mut room, mut disk) = (grown(), Disk::default());
        disk.save(&room, WALL);
        disk.is_full = true;
        room.announce(1, 10, AnnounceEvent::Periodic);
        assert_eq!(disk.save(&room, WALL), 0);
        // It may have been set aside, and what it held with it.
        disk = Disk::default();
        disk.save(&room, WALL);
        assert_eq!(disk.restored(WALL).tracker.scrape(&HASH), room.tracker.scrape(&HASH));
    }

    #[test]
    fn who_has_announced_itself_meanwhile_is_known_better_already() {
        let mut disk = Disk::default();
        disk.save(&grown(), WALL);
        let mut room = Room::new();
        room.announce(1, 0, AnnounceEvent::Started);
        disk.pages.values().for_each(|page| room.tracker.restore(page, room.now, WALL, |_| {}));
        let stats = room.tracker.scrape(&HASH);
        assert_eq!((stats.complete, stats.incomplete), (2, 1));
    }

    #[test]
    fn a_page_that_cannot_be_makes_no_others() {
        let (room, mut disk) = (Room::new(), Disk::default());
        let page = |number| SwarmPage { info_hash: HASH, number, downloads: 1, peers: Vec::new() };
        room.tracker.restore(&page((1 << POOL_SHIFT) - 1), room.now, WALL, |_| {});
        assert_eq!(disk.save(&room, WALL), 1, "the count of downloads alone");
        room.tracker.restore(&page(MAX_PAGES as u32 - 1), room.now, WALL, |_| {});
        assert_eq!(disk.save(&room, WALL), 1 + MAX_PAGES);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_for_ever() {
        let mut disk = Disk::default();
        disk.save(&grown(), WALL + Duration::from_secs(1 << 40));
        let mut after = disk.restored(WALL);
        after.now += Duration::from_secs(u16::MAX.into());
        assert_eq!(hosts(&after.announce(4, 10, AnnounceEvent::Started)), [0; 0]);
    }
}
