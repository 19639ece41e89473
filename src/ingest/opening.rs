//! The account of the files that were there at the start: a hundred thousand of them are summed up in one line, once
//! the last of them is served, those included that did not hold still at first. Counts, and nothing else.

use std::collections::HashSet;

use tracing::info;

use crate::files::FilePath;

/// When a file came to hold still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It did when all files were read for the first time.
    Found,
    /// It was there then, and did later.
    Late,
    /// It was not there at the start, or was changed since.
    New,
}

/// How a file that was there at the start ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Remembered,
    Hashed,
    /// It changed meanwhile, went, or can't be read; what becomes of it then is news of its own.
    LeftOut,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opening {
    scanned: bool,
    /// Those that don't hold still yet.
    unsettled: HashSet<FilePath>,
    /// How many of them are looked up or hashed.
    waiting: usize,
    remembered: usize,
    hashed: usize,
}

impl Opening {
    /// A file doesn't hold still. `scanning`: where it lies is being read for the first time.
    pub(super) fn unsettled(&mut self, at: &FilePath, scanning: bool) {
        if scanning {
            self.unsettled.insert(at.clone());
        }
    }

    /// A file holds still. Unless it is new, it is to [end](Self::end).
    pub(super) fn settled(&mut self, at: &FilePath, scanning: bool) -> Arrival {
        let arrival = match (scanning, self.unsettled.remove(at)) {
            (true, _) => Arrival::Found,
            (false, true) => Arrival::Late,
            (false, false) => Arrival::New,
        };
        self.waiting += usize::from(arrival != Arrival::New);
        arrival
    }

    /// A file is there no more; `true` if it was the last of all.
    pub(super) fn gone(&mut self, at: &FilePath) -> bool {
        self.unsettled.remove(at) && self.sum_up()
    }

    /// One that [settled](Self::settled) is done with; `true` if it was the last of all.
    pub(super) fn end(&mut self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Remembered => self.remembered += 1,
            Outcome::Hashed => self.hashed += 1,
            Outcome::LeftOut => {}
        }
        self.waiting = self.waiting.saturating_sub(1);
        self.sum_up()
    }

    /// No more will begin; `true` if none is left.
    pub(super) fn scanned(&mut self) -> bool {
        let waiting = self.waiting + self.unsettled.len();
        if waiting > 0 {
            info!(
                remembered = self.remembered,
                waiting, "all directories are read; the files that wait are hashed as soon as may be"
            );
        }
        self.scanned = true;
        self.sum_up()
    }

    fn sum_up(&mut self) -> bool {
        let over = self.scanned && self.waiting == 0 && self.unsettled.is_empty();
        if over {
            // Tens of thousands may have been in it.
            self.unsettled.shrink_to_fit();
            let Self { remembered, hashed, .. } = self;
            info!(remembered, hashed, "serving all files that were there at the start");
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::files::Roots;

    fn at(name: &str) -> FilePath {
        let roots = Roots::open(&[std::env::temp_dir()]).unwrap();
        let (root, _) = roots.iter().next().unwrap();
        FilePath::new(root, name)
    }

    #[test]
    fn is_over_once_with_the_last_file_and_the_scan() {
        let mut opening = Opening::default();
        assert_eq!(opening.settled(&at("a"), true), Arrival::Found);
        assert!(!opening.end(Outcome::Remembered), "there may be more to come");
        assert_eq!(opening.settled(&at("b"), true), Arrival::Found);
        assert_eq!(opening.settled(&at("c"), true), Arrival::Found);
        assert!(!opening.scanned());
        assert_eq!(opening.settled(&at("d"), false), Arrival::New);
        assert!(!opening.end(Outcome::LeftOut));
        assert!(opening.end(Outcome::Hashed));
        assert_eq!(opening, Opening { scanned: true, remembered: 1, hashed: 1, ..Opening::default() });
    }

    #[test]
    fn is_over_with_the_scan_where_there_was_nothing_to_do() {
        assert!(Opening::default().scanned());
    }

    #[test]
    fn is_not_over_while_a_file_of_the_start_does_not_hold_still() {
        let mut opening = Opening::default();
        opening.unsettled(&at("written"), true);
        opening.unsettled(&at("deleted"), true);
        assert!(!opening.scanned());
        opening.unsettled(&at("new"), false);
        assert!(!opening.gone(&at("new")) && !opening.gone(&at("deleted")));
        assert_eq!(opening.settled(&at("written"), false), Arrival::Late);
        assert!(opening.end(Outcome::Hashed));
    }

    #[test]
    fn is_over_when_the_last_that_did_not_hold_still_goes() {
        let mut opening = Opening::default();
        opening.unsettled(&at("deleted"), true);
        assert!(!opening.scanned());
        assert!(opening.gone(&at("deleted")));
    }
}
