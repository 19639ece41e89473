//! What is remembered, as tables: every transaction on them, and what to do when one fails. Knows records as bytes, and
//! nothing of the files that they are about.
//!
//! Whatever is wrong with it, the program goes on: a damaged one is set aside and a fresh one begun, one that can't be
//! read or written is tried again later. Nothing in it can't be had again by hashing.
//!
//! No record is without its digests: both come and go in one transaction.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redb::{AccessGuard, ReadableDatabase, ReadableTable, StorageError, Table, TableError};

use super::file::{
    self, DIGESTS, FILES, Key, SWARMS, SwarmKey, Trouble, begin_write, guarded, open_or_renew, set_aside,
};
use super::place;
use crate::files::InodeId;

/// When a database that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What is to be written of one file.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) id: InodeId,
    pub(super) record: Vec<u8>,
    /// None leaves those that are there.
    pub(super) digests: Option<Bytes>,
}

/// What becomes of a record.
#[derive(Debug)]
pub(super) enum Fate {
    Stay,
    Replace(Vec<u8>),
    /// With its digests.
    Drop,
}

pub(super) struct Database {
    path: PathBuf,
    open: RwLock<Open>,
    /// When it was last tried to open it again.
    tried: Mutex<Option<Instant>>,
}

struct Open {
    /// None after an error, until it can be opened anew.
    database: Option<redb::Database>,
    /// How often that was.
    generation: u64,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the database of a directory, or begins one. Waits for the disk.
    pub(super) fn open(directory: &Path) -> Result<Self, Trouble> {
        let path = directory.join(file::NAME);
        let open = Open { database: Some(open_or_renew(&path)?), generation: 0 };
        Ok(Self { path, open: RwLock::new(open), tried: Mutex::default() })
    }

    /// Writes all of it or, if the machine or the program dies, nothing. On the disk when this returns.
    pub(super) fn write(&self, changes: &[Change]) -> Result<(), Trouble> {
        let write = |files: &mut Table<'_, Key, &[u8]>, digests: &mut Table<'_, Key, &[u8]>| {
            for change in changes {
                let key = key(change.id);
                match &change.digests {
                    Some(bytes) => drop(digests.insert(key, &bytes[..])?),
                    // It was forgotten meanwhile: a record without them would be recalled for nothing.
                    None if digests.get(key)?.is_none() => continue,
                    None => {}
                }
                files.insert(key, &change.record[..])?;
            }
            Ok(changes.len())
        };
        self.change(write).map(drop)
    }

    /// The records of some inodes, in their order, all as of one moment.
    pub(super) fn records(&self, ids: &[InodeId]) -> Result<Vec<Option<Vec<u8>>>, Trouble> {
        self.with(|database| {
            let files = database.begin_read()?.open_table(FILES)?;
            let get = |id: &InodeId| Ok(files.get(key(*id))?.map(|record| record.value().to_vec()));
            ids.iter().map(get).collect()
        })
    }

    pub(super) fn digests(&self, id: InodeId) -> Result<Option<Bytes>, Trouble> {
        self.with(|database| {
            let digests = database.begin_read()?.open_table(DIGESTS)?;
            Ok(digests.get(key(id))?.map(|digests| Bytes::copy_from_slice(digests.value())))
        })
    }

    /// Up to so many records in the order of their inodes, beginning behind one of them.
    pub(super) fn records_behind(
        &self,
        behind: Option<InodeId>,
        at_most: usize,
    ) -> Result<Vec<(InodeId, Vec<u8>)>, Trouble> {
        self.with(|database| {
            let files = database.begin_read()?.open_table(FILES)?;
            let from = behind.map_or(Bound::Unbounded, |id| Bound::Excluded(key(id)));
            let records = files.range::<Key>((from, Bound::Unbounded))?.take(at_most);
            let owned = |entry: Result<(AccessGuard<'_, Key>, AccessGuard<'_, &[u8]>), StorageError>| {
                let (key, record) = entry?;
                Ok((id_of(key.value()), record.value().to_vec()))
            };
            records.map(owned).collect()
        })
    }

    /// Decides the fate of the records of some inodes, all at one moment; says how many are no longer what they were.
    pub(super) fn revise(
        &self,
        ids: &[InodeId],
        fate: impl Fn(InodeId, &[u8]) -> Fate,
    ) -> Result<usize, Trouble> {
        self.change(|files, digests| {
            let mut revised = 0;
            for id in ids {
                let key = key(*id);
                let fate = files.get(key)?.map_or(Fate::Stay, |record| fate(*id, record.value()));
                match fate {
                    Fate::Stay => continue,
                    Fate::Replace(record) => drop(files.insert(key, &record[..])?),
                    Fate::Drop => drop((files.remove(key)?, digests.remove(key)?)),
                }
                revised += 1;
            }
            Ok(revised)
        })
    }

    /// Drops one file if that is to be done with what is there of it by now: its record and its digests.
    pub(super) fn remove_if(
        &self,
        id: InodeId,
        is_meant: impl FnOnce(&[u8], Option<&[u8]>) -> bool,
    ) -> Result<usize, Trouble> {
        self.change(|files, digests| {
            let key = key(id);
            let meant = match (files.get(key)?, digests.get(key)?) {
                (None, _) => false,
                (Some(record), found) => is_meant(record.value(), found.as_ref().map(|found| found.value())),
            };
            if meant {
                drop((files.remove(key)?, digests.remove(key)?));
            }
            Ok(usize::from(meant))
        })
    }

    /// Writes pages of swarms, or takes those away that have no bytes: all or, if the machine or the program dies,
    /// none.
    pub(super) fn write_swarms(&self, pages: &[(SwarmKey, Option<Vec<u8>>)]) -> Result<(), Trouble> {
        self.with(|database| {
            let transaction = begin_write(database)?;
            {
                let mut swarms = transaction.open_table(SWARMS)?;
                for (key, page) in pages {
                    match page {
                        Some(page) => drop(swarms.insert(key, &page[..])?),
                        None => drop(swarms.remove(key)?),
                    }
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// Up to so many pages of swarms in the order of their keys, beginning behind one of them.
    pub(super) fn swarms_behind(
        &self,
        behind: Option<SwarmKey>,
        at_most: usize,
    ) -> Result<Vec<(SwarmKey, Vec<u8>)>, Trouble> {
        self.with(|database| {
            let swarms = match database.begin_read()?.open_table(SWARMS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                opened => opened?,
            };
            let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
            let pages = swarms.range::<SwarmKey>((from, Bound::Unbounded))?.take(at_most);
            pages
                .map(|page| page.map(|(key, page)| (key.value(), page.value().to_vec())))
                .map(|page| Ok(page?))
                .collect()
        })
    }

    /// Writes what `work` does to both tables or, if it says that it did nothing, nothing.
    fn change(
        &self,
        work: impl FnOnce(&mut Table<'_, Key, &[u8]>, &mut Table<'_, Key, &[u8]>) -> Result<usize, redb::Error>,
    ) -> Result<usize, Trouble> {
        self.with(|database| {
            let transaction = begin_write(database)?;
            let changed = {
                let mut files = transaction.open_table(FILES)?;
                let mut digests = transaction.open_table(DIGESTS)?;
                work(&mut files, &mut digests)?
            };
            if changed > 0 {
                transaction.commit()?
            } else {
                transaction.abort()?
            }
            Ok(changed)
        })
    }

    /// As after errors of a disk that isn't well yet, or is again.
    #[cfg(test)]
    pub(super) fn set_unreadable(&self, unreadable: bool) {
        if unreadable {
            let _ = self.with(|_| -> Result<(), _> { Err(redb::Error::Io(io::ErrorKind::Other.into())) });
        }
        *self.tried.lock().unwrap() = unreadable.then(Instant::now);
    }

    /// Works on the database if it can be had. After an error the next call finds it opened anew, or a fresh one.
    fn with<T>(&self, work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>) -> Result<T, Trouble> {
        self.open_again_if_closed()?;
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &open.database else {
            return Err(Trouble::Io(io::ErrorKind::NotConnected.into()));
        };
        let result = guarded(|| work(database));
        let generation = open.generation;
        drop(open);
        if let Err(trouble) = &result {
            self.give_up(generation, trouble);
        }
        result
    }

    /// After an error of the disk it answers nothing any more until it is opened anew. A damaged one is replaced.
    fn give_up(&self, generation: u64, trouble: &Trouble) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Others may have met the same and seen to it already.
        if open.generation != generation {
            return;
        }
        open.generation += 1;
        let database = open.database.take();
        let _ = guarded(|| {
            drop(database);
            Ok(())
        });
        if let Trouble::Damaged(reason) = trouble {
            set_aside(&self.path, "corrupt", reason);
            open.database = open_or_renew(&self.path).ok();
        }
    }

    fn open_again_if_closed(&self) -> Result<(), Trouble> {
        if self.open.read().unwrap_or_else(PoisonError::into_inner).database.is_some() {
            return Ok(());
        }
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return Ok(());
        }
        *tried = Some(Instant::now());
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.database.is_none() {
            // It can be deleted at any time, with all that it lies in.
            if let Some(directory) = self.path.parent() {
                place::make(directory).map_err(Trouble::Io)?;
            }
            open.database = Some(open_or_renew(&self.path)?);
        }
        Ok(())
    }
}

fn key(id: InodeId) -> Key {
    let mut key = Key::default();
    let (device, inode) = key.split_at_mut(8);
    device.copy_from_slice(&id.device.to_be_bytes());
    inode.copy_from_slice(&id.inode.to_be_bytes());
    key
}

fn id_of(key: Key) -> InodeId {
    let number = u128::from_be_bytes(key);
    // The halves of what `key` put together.
    #[expect(clippy::cast_possible_truncation)]
    InodeId { device: (number >> 64) as u64, inode: number as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn id(inode: u64) -> InodeId {
        InodeId { device: 1 << 40, inode }
    }

    fn change(inode: u64, record: &[u8]) -> Change {
        Change { id: id(inode), record: record.to_vec(), digests: Some(Bytes::copy_from_slice(record)) }
    }

    /// Names that lie beside the database.
    fn beside(directory: &Path) -> Vec<String> {
        let names =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != file::NAME).collect()
    }

    #[test]
    fn finds_what_was_written_and_keeps_digests_that_are_not_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        database.write(&[change(1, b"one"), change(u64::MAX, b"two")]).unwrap();
        database.write(&[Change { digests: None, ..change(1, b"three") }]).unwrap();
        let records = database.records(&[id(u64::MAX), id(2), id(1)]).unwrap();
        assert_eq!(records, [Some(b"two".to_vec()), None, Some(b"three".to_vec())]);
        assert_eq!(database.digests(id(1)).unwrap().as_deref(), Some(&b"one"[..]));
        drop(database);
        let database = Database::open(dir.path()).unwrap();
        assert_eq!(database.records(&[id(1)]).unwrap(), [Some(b"three".to_vec())]);
    }

    #[test]
    fn begins_anew_where_damage_shows_only_later() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        database.write(&[change(1, b"one")]).unwrap();
        let damage = database.with(|_| -> Result<(), redb::Error> { panic!("as a damaged page makes it") });
        assert!(matches!(damage, Err(Trouble::Damaged(_))));
        assert_eq!(database.records(&[id(1)]).unwrap(), [None]);
        database.write(&[change(1, b"again")]).unwrap();
        assert_eq!(beside(dir.path()).len(), 1);
    }

    #[test]
    fn is_opened_anew_after_an_error_of_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        database.write(&[change(1, b"one")]).unwrap();
        let full =
            database.with(|_| -> Result<(), _> { Err(redb::Error::Io(io::ErrorKind::StorageFull.into())) });
        assert!(matches!(full, Err(Trouble::Io(_))));
        assert_eq!(database.records(&[id(1)]).unwrap(), [Some(b"one".to_vec())]);
        assert!(beside(dir.path()).is_empty());
    }

    #[test]
    fn keeps_swarms_in_pages_and_has_none_before_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        assert_eq!(database.swarms_behind(None, 10).unwrap(), []);
        let page = |n: u8, text: &[u8]| ([n; 24], Some(text.to_vec()));
        database.write_swarms(&[page(1, b"one"), page(2, b"two"), page(3, b"three")]).unwrap();
        database.write_swarms(&[page(2, b"anew"), ([1; 24], None), ([9; 24], None)]).unwrap();
        assert_eq!(database.swarms_behind(None, 1).unwrap(), [([2; 24], b"anew".to_vec())]);
        assert_eq!(database.swarms_behind(Some([2; 24]), 10).unwrap(), [([3; 24], b"three".to_vec())]);
    }

    #[test]
    fn a_record_comes_with_its_digests_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        database.write(&[Change { digests: None, ..change(1, b"one") }]).unwrap();
        assert_eq!(database.records(&[id(1)]).unwrap(), [None]);
    }

    #[test]
    fn revises_what_is_there_and_leaves_digests_only_to_what_stays() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        database.write(&(0..4).map(|inode| change(inode, b"x")).collect::<Vec<_>>()).unwrap();
        let fate = |id: InodeId, record: &[u8]| match id.inode {
            1 => Fate::Replace([record, b"y"].concat()),
            2 | 9 => Fate::Drop,
            _ => Fate::Stay,
        };
        assert_eq!(database.revise(&[id(0), id(1), id(2), id(9)], fate).unwrap(), 2);
        let left = database.records_behind(None, 10).unwrap();
        assert_eq!(left, [(id(0), b"x".to_vec()), (id(1), b"xy".to_vec()), (id(3), b"x".to_vec())]);
        assert!(database.digests(id(1)).unwrap().is_some());
        assert!(database.digests(id(2)).unwrap().is_none());
    }

    #[test]
    fn goes_through_the_records_in_pages() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        database.write(&[5, 3, u64::MAX, 4].map(|inode| change(inode, b"x"))).unwrap();
        let mut behind = None;
        let mut pages = Vec::new();
        loop {
            let page: Vec<_> =
                database.records_behind(behind, 2).unwrap().into_iter().map(|(id, _)| id).collect();
            let Some(last) = page.last() else { break };
            behind = Some(*last);
            pages.push(page);
        }
        assert_eq!(pages, [vec![id(3), id(4)], vec![id(5), id(u64::MAX)]]);
    }

    #[test]
    fn removes_a_file_only_if_it_is_the_one_that_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        database.write(&[change(1, b"one")]).unwrap();
        assert_eq!(database.remove_if(id(1), |record, _| record == b"other").unwrap(), 0);
        assert_eq!(database.remove_if(id(2), |_, _| true).unwrap(), 0);
        assert!(database.digests(id(1)).unwrap().is_some());
        let meant = |record: &[u8], digests: Option<&[u8]>| record == b"one" && digests == Some(b"one");
        assert_eq!(database.remove_if(id(1), meant).unwrap(), 1);
        assert_eq!(database.records(&[id(1)]).unwrap(), [None]);
        assert!(database.digests(id(1)).unwrap().is_none());
    }
}
