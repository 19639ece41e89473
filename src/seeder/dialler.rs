//! Whom the origin dials, and when: downloaders that have announced themselves and not come by. A client may have asked
//! for no peers, or its way here may be blocked while ours there isn't. Plain values; who is connected by the time it
//! comes to it, the caller knows.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::tracker::Downloader;

/// How long a downloader has to come by itself: stock clients dial within a second or two of the tracker's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long until the same one may be dialled again. Clients that want to be reached announce more often.
const RETRY: Duration = Duration::from_secs(60);
/// How many downloaders are kept in mind; further ones are left to come by themselves.
const MAX_DOWNLOADERS: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct Dialler {
    /// When each is to be dialled, or, if it was, to be forgotten.
    known: HashMap<Downloader, Stage>,
    due: BTreeSet<(Instant, Downloader)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Dialled,
}

impl Dialler {
    /// A downloader has announced itself.
    pub(super) fn announced(&mut self, downloader: Downloader, now: Instant) {
        if self.known.len() < MAX_DOWNLOADERS && !self.known.contains_key(&downloader) {
            self.plan(downloader, Stage::Waiting, now + PATIENCE);
        }
    }

    /// When there is something to do next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// One that is to be dialled by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Downloader> {
        while let Some(first) = self.due.first().filter(|(due, _)| *due <= now).copied() {
            self.due.remove(&first);
            let (_, downloader) = first;
            if self.known.remove(&downloader) == Some(Stage::Waiting) {
                self.plan(downloader, Stage::Dialled, now + RETRY);
                return Some(downloader);
            }
        }
        None
    }

    fn plan(&mut self, downloader: Downloader, stage: Stage, at: Instant) {
        self.known.insert(downloader, stage);
        self.due.insert((at, downloader));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributor_proto::InfoHash;

    fn downloader(port: u16) -> Downloader {
        Downloader { info_hash: InfoHash::new([1; 20]), addr: ([10, 0, 0, 1], port).into() }
    }

    #[test]
    fn gives_a_downloader_time_to_come_by_itself() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        dialler.announced(downloader(1), start);
        dialler.announced(downloader(2), start + PATIENCE / 2);
        assert_eq!(dialler.next_due(), Some(start + PATIENCE));
        assert_eq!(dialler.take_due(start + PATIENCE - Duration::from_nanos(1)), None);
        assert_eq!(dialler.take_due(start + PATIENCE), Some(downloader(1)));
        assert_eq!(dialler.take_due(start + PATIENCE), None);
    }

    #[test]
    fn dials_nobody_again_before_its_time() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        dialler.announced(downloader(1), start);
        assert_eq!(dialler.take_due(start + PATIENCE), Some(downloader(1)));
        dialler.announced(downloader(1), start + PATIENCE);
        assert_eq!(dialler.take_due(start + PATIENCE + RETRY), None, "it is forgotten now");
        dialler.announced(downloader(1), start + PATIENCE + RETRY);
        assert_eq!(dialler.take_due(start + 2 * PATIENCE + RETRY), Some(downloader(1)));
    }

    #[test]
    fn keeps_no_more_in_mind_than_it_may() {
        let start = Instant::now();
        let mut dialler = Dialler::default();
        for port in 1..=MAX_DOWNLOADERS as u16 + 1 {
            dialler.announced(downloader(port), start);
        }
        assert_eq!(dialler.known.len(), MAX_DOWNLOADERS);
        assert_eq!(dialler.due.len(), MAX_DOWNLOADERS);
    }
}
