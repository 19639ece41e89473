//! What is dropped, and when: the records of files that nobody has seen for [`KEEP_DAYS`]. Works in slices, so that what
//! was hashed just now needn't wait for it to be written down; reads no clock.
//!
//! First all files that are offered are marked as seen, then what is too old is dropped. A round that fails or is killed
//! half-way has dropped nothing that was to be kept, and the next one begins anew.

use super::database::{Database, Fate};
use super::file::Trouble;
use super::record::{Day, Record};
use crate::files::InodeId;

/// How long a file that nobody sees any more is remembered: its mount may be back tomorrow.
pub(super) const KEEP_DAYS: u32 = 30;
/// How many records one slice looks at, and one transaction changes.
const SLICE: usize = 1024;

/// One round through all records.
#[derive(Debug)]
pub(super) struct Cleaning {
    today: Day,
    /// Of the files that are offered, those that are still to be marked; in the order of the tables.
    seen: Vec<InodeId>,
    /// The last record that was looked at.
    behind: Option<InodeId>,
    dropped: usize,
}

impl Cleaning {
    pub(super) fn new(mut seen: Vec<InodeId>, today: Day) -> Self {
        seen.sort_unstable();
        seen.dedup();
        Self { today, seen, behind: None, dropped: 0 }
    }

    /// Does one slice. After the last one it says how many records were dropped in all.
    pub(super) fn go_on(&mut self, database: &Database) -> Result<Option<usize>, Trouble> {
        if self.seen.is_empty() { self.drop_old(database) } else { self.mark(database) }
    }

    fn mark(&mut self, database: &Database) -> Result<Option<usize>, Trouble> {
        let ids = self.seen.split_off(self.seen.len().saturating_sub(SLICE));
        database.revise(&ids, |id, record| {
            let seen = Record::decode(id, record).filter(|record| record.day.is_outdated(self.today));
            let seen = seen.and_then(|record| Record { day: self.today, ..record }.encode());
            seen.map_or(Fate::Stay, Fate::Replace)
        })?;
        Ok(None)
    }

    fn drop_old(&mut self, database: &Database) -> Result<Option<usize>, Trouble> {
        let records = database.records_behind(self.behind, SLICE)?;
        let Some((last, _)) = records.last() else { return Ok(Some(self.dropped)) };
        self.behind = Some(*last);
        let oldest = self.today.before(KEEP_DAYS);
        let is_old = |id, record: &[u8]| Record::decode(id, record).is_none_or(|record| record.day < oldest);
        let old: Vec<InodeId> =
            records.iter().filter(|(id, record)| is_old(*id, record)).map(|(id, _)| *id).collect();
        if !old.is_empty() {
            // It may have been written anew since it was read.
            let fate = |id, record: &[u8]| if is_old(id, record) { Fate::Drop } else { Fate::Stay };
            self.dropped = self.dropped.saturating_add(database.revise(&old, fate)?);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use bytes::Bytes;

    use crate::files::Binding;
    use crate::state::database::Change;

    const TODAY: Day = Day::from_days(20_000);

    fn id(inode: u64) -> InodeId {
        Binding::for_test(inode, 1, 1, 1).id()
    }

    fn change(inode: u64, day: Day) -> Change {
        let record = Record { day, ..Record::for_test(Binding::for_test(inode, 1, 1, 1)) };
        Change {
            id: id(inode),
            record: record.encode().unwrap(),
            digests: Some(Bytes::from_static(b"digests")),
        }
    }

    fn day(database: &Database, inode: u64) -> Option<Day> {
        let record = database.records(&[id(inode)]).unwrap().pop().unwrap()?;
        Some(Record::decode(id(inode), &record).unwrap().day)
    }

    /// Goes through with it; says how many were dropped.
    fn clean(database: &Database, mut cleaning: Cleaning) -> usize {
        loop {
            if let Some(dropped) = cleaning.go_on(database).unwrap() {
                return dropped;
            }
        }
    }

    #[test]
    fn keeps_what_is_offered_however_old_and_drops_the_rest_after_its_days() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        let long_ago = TODAY.before(400);
        database
            .write(&[
                change(1, long_ago),
                change(2, long_ago),
                change(3, TODAY.before(KEEP_DAYS)),
                change(4, TODAY.before(KEEP_DAYS + 1)),
                Change { record: b"no record".to_vec(), ..change(5, TODAY) },
            ])
            .unwrap();
        assert_eq!(clean(&database, Cleaning::new(vec![id(2), id(9), id(2)], TODAY)), 3);
        let days = [1, 2, 3, 4, 5].map(|inode| day(&database, inode));
        assert_eq!(days, [None, Some(TODAY), Some(TODAY.before(KEEP_DAYS)), None, None]);
        assert!(database.digests(id(1)).unwrap().is_none());
        assert!(database.digests(id(2)).unwrap().is_some());
    }

    #[test]
    fn goes_on_in_slices_and_drops_nothing_before_all_that_is_offered_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        let all = 2 * SLICE as u64 + 1;
        let changes: Vec<_> = (0..2 * all).map(|inode| change(inode, TODAY.before(400))).collect();
        database.write(&changes).unwrap();
        let mut cleaning = Cleaning::new((0..all).map(id).collect(), TODAY);
        for marked in [SLICE as u64, 2 * SLICE as u64, all] {
            assert_eq!(cleaning.go_on(&database).unwrap(), None);
            let is_marked = |inode: &u64| day(&database, *inode) == Some(TODAY);
            assert_eq!((0..2 * all).filter(is_marked).count() as u64, marked);
            assert!((0..2 * all).all(|inode| day(&database, inode).is_some()), "and none is dropped");
        }
        // As a process that is killed here would do it after its next start.
        assert_eq!(clean(&database, Cleaning::new((0..all).map(id).collect(), TODAY)) as u64, all);
        assert!((0..all).all(|inode| day(&database, inode) == Some(TODAY)));
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_keep_a_file_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        database.write(&[change(1, Day::from_days(40_000))]).unwrap();
        clean(&database, Cleaning::new(vec![id(1)], TODAY));
        assert_eq!(day(&database, 1), Some(TODAY));
    }
}
