//! What is counted of all torrents together: for how much there is room, and what an operator wants to know.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use distributor_proto::InfoHash;

/// How many copies of pieces are counted at a time, of all torrents and in all racks: 8 bytes each. Torrents that would
/// take more are plainly seeded.
pub(super) const MAX_COUNTED: usize = 16 << 20;

/// How the pieces of a torrent are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Everybody sees everything, so far.
    Open,
    /// Some are shown pieces one by one.
    Showing,
    /// Everybody sees everything, because there were too many to show them pieces one by one.
    Plain,
}

impl Manner {
    pub(crate) const ALL: [Self; 3] = [Self::Open, Self::Showing, Self::Plain];

    /// One word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Showing => "showing",
            Self::Plain => "plain",
        }
    }
}

/// What there is to tell.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    torrents: [usize; Manner::ALL.len()],
    /// The torrents that are shown in another manner than when that was told last.
    pub(crate) news: Vec<(InfoHash, Manner)>,
    /// How many pieces were shown, to one peer each, since the program began.
    pub(crate) shown: u64,
    /// How many pieces peers have got to whom they were not shown: from each other, then.
    pub(crate) passed_on: u64,
}

impl Survey {
    pub(super) fn count(&mut self, manner: Manner) {
        self.torrents[manner as usize] += 1;
    }

    /// How many torrents with connections are shown in this manner.
    pub(crate) fn torrents(&self, manner: Manner) -> usize {
        self.torrents[manner as usize]
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// In copies of pieces.
    counted: AtomicUsize,
    shown: AtomicU64,
    passed_on: AtomicU64,
}

impl Ledger {
    /// Room for counting so many more copies, if there is.
    pub(super) fn take(&self, more: usize) -> bool {
        let grown = |counted: usize| counted.checked_add(more).filter(|counted| *counted <= MAX_COUNTED);
        self.counted.fetch_update(Relaxed, Relaxed, grown).is_ok()
    }

    pub(super) fn give_back(&self, counted: usize) {
        self.counted.fetch_sub(counted, Relaxed);
    }

    /// How many are counted.
    #[cfg(test)]
    pub(super) fn counted(&self) -> usize {
        self.counted.load(Relaxed)
    }

    pub(super) fn add_shown(&self, pieces: usize) {
        self.shown.fetch_add(pieces as u64, Relaxed);
    }

    pub(super) fn add_passed_on(&self) {
        self.passed_on.fetch_add(1, Relaxed);
    }

    /// What was counted, of no torrent yet.
    pub(super) fn survey(&self) -> Survey {
        Survey {
            shown: self.shown.load(Relaxed),
            passed_on: self.passed_on.load(Relaxed),
            ..Survey::default()
        }
    }
}
