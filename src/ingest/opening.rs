//! The account of the files that were there at the start: a hundred thousand of them are summed up in one line, once
//! the last of them is served. Counts, and nothing else.

use tracing::info;

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
    waiting: usize,
    remembered: usize,
    hashed: usize,
}

impl Opening {
    /// Whether a file that settles now was there at the start.
    pub(super) fn is_on(&self) -> bool {
        !self.scanned
    }

    pub(super) fn begin(&mut self) {
        self.waiting += 1;
    }

    /// One that [began](Self::begin) is done with; `true` if it was the last of all.
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
        if self.waiting > 0 {
            info!(
                remembered = self.remembered,
                waiting = self.waiting,
                "all directories are read; the files that wait are hashed as soon as may be"
            );
        }
        self.scanned = true;
        self.sum_up()
    }

    fn sum_up(&self) -> bool {
        let over = self.scanned && self.waiting == 0;
        if over {
            let Self { remembered, hashed, .. } = self;
            info!(remembered, hashed, "serving all files that were there at the start");
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_over_once_with_the_last_file_and_the_scan() {
        let mut opening = Opening::default();
        opening.begin();
        assert!(!opening.end(Outcome::Remembered), "there may be more to come");
        opening.begin();
        opening.begin();
        assert!(opening.is_on());
        assert!(!opening.scanned());
        assert!(!opening.is_on());
        assert!(!opening.end(Outcome::LeftOut));
        assert!(opening.end(Outcome::Hashed));
        assert_eq!(opening, Opening { scanned: true, waiting: 0, remembered: 1, hashed: 1 });
    }

    #[test]
    fn is_over_with_the_scan_where_there_was_nothing_to_do() {
        assert!(Opening::default().scanned());
    }
}
