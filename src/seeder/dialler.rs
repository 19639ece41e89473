//! Whom the origin dials, and when: downloaders that have announced themselves and not come by. A client may have asked
//! for no peers, or its way here may be blocked while ours there isn't. Plain values; who is connected by the time it
//! comes to it, the caller knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use distributor_proto::InfoHash;

use crate::tracker::Downloader;

/// How long a downloader has to come by itself: stock clients dial within a second or two of the tracker's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long until the same one may be dialled again. Clients that want to be reached announce more often.
const RETRY: Duration = Duration::from_secs(60);
/// How long until it is tried again where there was no room to dial or nothing to serve, and how often.
const PUT_OFF: Duration = Duration::from_secs(1);
const MAX_PUT_OFF: u8 = 60;
/// How many downloaders are kept in mind; further ones are left to come by themselves.
const MAX_DOWNLOADERS: usize = 8192;
/// How many of them at one address, which can announce any number of ports.
const MAX_PER_ADDRESS: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Dialler {
    /// When each is to be dialled, or, if it was, to be forgotten.
    known: BTreeMap<Downloader, (Stage, Instant)>,
    due: BTreeSet<(Instant, Downloader)>,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Put off so many times.
    Waiting(u8),
    Dialled,
}

impl Dialler {
    /// A downloader that isn't connected has announced itself.
    pub(super) fn announced(&mut self, downloader: Downloader, now: Instant) {
        if self.has_room(downloader.addr.ip()) && !self.known.contains_key(&downloader) {
            self.plan(downloader, Stage::Waiting(0), now + PATIENCE);
        }
    }

    /// A downloader is to be connected at once, whatever was planned for it.
    pub(super) fn appointed(&mut self, downloader: Downloader, now: Instant) {
        if self.forget(&downloader).is_some() || self.has_room(downloader.addr.ip()) {
            self.plan(downloader, Stage::Waiting(0), now);
        }
    }

    /// Downloaders of a torrent have come by from this address, however soon they leave again.
    pub(super) fn came(&mut self, info_hash: InfoHash, ip: IpAddr) {
        let at = |port| Downloader { info_hash, addr: SocketAddr::new(ip, port) };
        let waiting: Vec<Downloader> = self
            .known
            .range(at(0)..=at(u16::MAX))
            .filter(|(_, (stage, _))| matches!(stage, Stage::Waiting(_)))
            .map(|(downloader, _)| *downloader)
            .collect();
        for downloader in waiting {
            self.forget(&downloader);
        }
    }

    /// When there is something to do next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// One that is to be dialled by now, and how often it was put off.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Downloader, u8)> {
        while let Some((_, downloader)) = self.due.first().filter(|(due, _)| *due <= now).copied() {
            if let Some(Stage::Waiting(put_off)) = self.forget(&downloader) {
                self.plan(downloader, Stage::Dialled, now + RETRY);
                return Some((downloader, put_off));
            }
        }
        None
    }

    /// One that was [taken](Self::take_due) could not be dialled now, for no fault of its own.
    pub(super) fn put_off(&mut self, downloader: Downloader, times: u8, now: Instant) {
        if times < MAX_PUT_OFF {
            self.forget(&downloader);
            self.plan(downloader, Stage::Waiting(times + 1), now + PUT_OFF);
        }
    }

    fn has_room(&self, ip: IpAddr) -> bool {
        let at_address = self.by_address.get(&ip).copied().unwrap_or(0);
        self.known.len() < MAX_DOWNLOADERS && at_address < MAX_PER_ADDRESS
    }

    fn plan(&mut self, downloader: Downloader, stage: Stage, at: Instant) {
        self.known.insert(downloader, (stage, at));
        self.due.insert((at, downloader));
        *self.by_address.entry(downloader.addr.ip()).or_default() += 1;
    }

    fn forget(&mut self, downloader: &Downloader) -> Option<Stage> {
        let (stage, at) = self.known.remove(downloader)?;
        self.due.remove(&(at, *downloader));
        let ip = downloader.addr.ip();
        if let Some(count) = self.by_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&ip);
            }
        }
        Some(stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TORRENT: InfoHash = InfoHash::new([1; 20]);

    fn downloader(port: u16) -> Downloader {
        Downloader { info_hash: TORRENT, addr: ([10, 0, 0, 1], port).into() }
    }

    #[test]
    fn gives_a_downloader_time_to_come_by_itself() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        dialler.announced(downloader(1), start);
        dialler.announced(downloader(2), start + PATIENCE / 2);
        assert_eq!(dialler.next_due(), Some(start + PATIENCE));
        assert_eq!(dialler.take_due(start + PATIENCE - Duration::from_nanos(1)), None);
        assert_eq!(dialler.take_due(start + PATIENCE), Some((downloader(1), 0)));
        assert_eq!(dialler.take_due(start + PATIENCE), None);
    }

    #[test]
    fn dials_at_once_who_is_appointed_whatever_was_planned() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        dialler.announced(downloader(1), start);
        for port in [1, 2] {
            dialler.appointed(downloader(port), start);
            assert_eq!(dialler.take_due(start), Some((downloader(port), 0)));
        }
        assert_eq!(dialler.take_due(start + PATIENCE), None, "once");
        dialler.appointed(downloader(1), start + PATIENCE);
        assert_eq!(dialler.take_due(start + PATIENCE), Some((downloader(1), 0)), "also where it was dialled");
        for port in 3..=MAX_PER_ADDRESS as u16 + 1 {
            dialler.appointed(downloader(port), start + PATIENCE);
        }
        assert_eq!(dialler.known.len(), MAX_PER_ADDRESS);
    }

    #[test]
    fn dials_nobody_again_before_its_time() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        dialler.announced(downloader(1), start);
        assert_eq!(dialler.take_due(start + PATIENCE), Some((downloader(1), 0)));
        dialler.announced(downloader(1), start + PATIENCE);
        assert_eq!(dialler.take_due(start + PATIENCE + RETRY), None, "it is forgotten now");
        dialler.announced(downloader(1), start + PATIENCE + RETRY);
        assert_eq!(dialler.take_due(start + 2 * PATIENCE + RETRY), Some((downloader(1), 0)));
    }

    #[test]
    fn leaves_those_alone_who_came_by_themselves() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        let elsewhere = Downloader { addr: ([10, 0, 0, 2], 1).into(), ..downloader(1) };
        let other_torrent = Downloader { info_hash: InfoHash::new([2; 20]), ..downloader(1) };
        for announced in [downloader(1), downloader(2), elsewhere, other_torrent] {
            dialler.announced(announced, start);
        }
        dialler.came(TORRENT, downloader(1).addr.ip());
        let mut due = Vec::new();
        while let Some((downloader, _)) = dialler.take_due(start + PATIENCE) {
            due.push(downloader);
        }
        assert_eq!(due, [elsewhere, other_torrent]);
    }

    #[test]
    fn tries_again_soon_where_there_was_no_room() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        dialler.announced(downloader(1), start);
        let mut now = start + PATIENCE;
        for times in 0..MAX_PUT_OFF {
            assert_eq!(dialler.take_due(now), Some((downloader(1), times)));
            dialler.put_off(downloader(1), times, now);
            assert_eq!(dialler.take_due(now), None);
            now += PUT_OFF;
        }
        assert_eq!(dialler.take_due(now), Some((downloader(1), MAX_PUT_OFF)));
        dialler.put_off(downloader(1), MAX_PUT_OFF, now);
        assert_eq!(dialler.take_due(now + PUT_OFF), None, "it has left long ago");
    }

    #[test]
    fn keeps_no_more_in_mind_than_it_may() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        for n in 0..=MAX_DOWNLOADERS {
            let [.., high, low] = u32::try_from(n).unwrap().to_be_bytes();
            dialler.announced(Downloader { addr: ([10, 0, high, low], 1).into(), ..downloader(1) }, start);
        }
        assert_eq!([dialler.known.len(), dialler.due.len(), dialler.by_address.len()], [MAX_DOWNLOADERS; 3]);
    }

    #[test]
    fn keeps_no_more_of_one_address_in_mind_than_it_may() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        for port in 1..=MAX_PER_ADDRESS as u16 + 1 {
            dialler.announced(downloader(port), start);
        }
        assert_eq!(dialler.known.len(), MAX_PER_ADDRESS);
        let now = start + PATIENCE;
        while dialler.take_due(now).is_some() {}
        assert_eq!(dialler.take_due(now + RETRY), None);
        assert!(dialler.known.is_empty() && dialler.due.is_empty() && dialler.by_address.is_empty());
    }
}
