//! The database file: tables, transactions, and what to do when it is damaged, of another version, taken or full.
//! Knows records as bytes, and nothing of the files that they are about.
//!
//! Whatever is wrong with it, the program goes on: a damaged one is set aside and a fresh one begun, one that can't be
//! read or written is tried again later. Nothing in it can't be had again by hashing.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use tracing::{error, warn};

use crate::files::InodeId;

/// Device and inode, big-endian.
type Key = [u8; 16];
/// By inode, what [`Record`](super::record::Record) encodes.
const FILES: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("files");
/// By inode, the SHA-1 of every piece, one after the other. A table of its own, so that going through the records
/// doesn't read them.
const DIGESTS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("digests");
const ABOUT: TableDefinition<'_, &str, u32> = TableDefinition::new("about");
const VERSION_KEY: &str = "version";
/// Of the tables and what they hold.
const VERSION: u32 = 1;

const FILE_NAME: &str = "hashes.redb";
/// What the database keeps in memory. The system's page cache holds the rest.
const CACHE_LEN: usize = 4 * 1024 * 1024;
/// When a database that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How many records go at a time when those are dropped that nobody needs.
const DROP_AT_ONCE: usize = 4096;

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it is damaged ({0})")]
    Damaged(String),
    #[error("another version of this program made it")]
    OtherVersion,
    #[error("another process has it")]
    Taken,
    #[error("{0}")]
    Io(io::Error),
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::Taken,
            redb::Error::UpgradeRequired(_) => Self::OtherVersion,
            // What a file that was cut short or isn't a database gives.
            redb::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged(error.to_string())
            }
            redb::Error::Io(error) => Self::Io(error),
            error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed) => {
                Self::Io(io::Error::other(error.to_string()))
            }
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// What is to be written of one file.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) id: InodeId,
    pub(super) record: Vec<u8>,
    /// None leaves those that are there.
    pub(super) digests: Option<Bytes>,
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
        let path = directory.join(FILE_NAME);
        let open = Open { database: Some(open_or_renew(&path)?), generation: 0 };
        Ok(Self { path, open: RwLock::new(open), tried: Mutex::default() })
    }

    /// Writes all of it or, if the machine or the program dies, nothing. On the disk when this returns.
    pub(super) fn write(&self, changes: &[Change]) -> Result<(), Trouble> {
        self.with(|database| {
            let transaction = begin_write(database)?;
            {
                let mut files = transaction.open_table(FILES)?;
                let mut digests = transaction.open_table(DIGESTS)?;
                for change in changes {
                    let key = key(change.id);
                    files.insert(key, &change.record[..])?;
                    if let Some(bytes) = &change.digests {
                        digests.insert(key, &bytes[..])?;
                    }
                }
            }
            Ok(transaction.commit()?)
        })
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

    /// Drops the files whose record is not to be kept; says how many.
    pub(super) fn retain(&self, keep: impl Fn(InodeId, &[u8]) -> bool) -> Result<usize, Trouble> {
        let dropped = self.with(|database| {
            let files = database.begin_read()?.open_table(FILES)?;
            let mut dropped = Vec::new();
            for entry in files.iter()? {
                let (key, record) = entry?;
                let id = id_of(key.value());
                if !keep(id, record.value()) {
                    dropped.push(id);
                }
            }
            Ok(dropped)
        })?;
        dropped.chunks(DROP_AT_ONCE).try_for_each(|ids| self.remove(ids))?;
        Ok(dropped.len())
    }

    pub(super) fn remove(&self, ids: &[InodeId]) -> Result<(), Trouble> {
        self.with(|database| {
            let transaction = begin_write(database)?;
            {
                let mut files = transaction.open_table(FILES)?;
                let mut digests = transaction.open_table(DIGESTS)?;
                for id in ids {
                    files.remove(key(*id))?;
                    digests.remove(key(*id))?;
                }
            }
            Ok(transaction.commit()?)
        })
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
            open.database = Some(open_or_renew(&self.path)?);
        }
        Ok(())
    }
}

/// A transaction whose commit leaves what it takes to open the file at once after a crash: without, all of it is read
/// then, gigabytes where there are many large files. No commit is torn either way.
fn begin_write(database: &redb::Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Pages are taken as they are, except after a crash: a damaged one may well make the library panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Trouble::from),
        Err(_) => Err(Trouble::Damaged("reading it panicked".to_owned())),
    }
}

fn open_or_renew(path: &Path) -> Result<redb::Database, Trouble> {
    match open(path) {
        Err(Trouble::Damaged(reason)) => set_aside(path, "corrupt", &reason),
        Err(trouble @ Trouble::OtherVersion) => set_aside(path, "other-version", &trouble.to_string()),
        opened => return opened,
    }
    open(path)
}

fn open(path: &Path) -> Result<redb::Database, Trouble> {
    let version = |transaction: &ReadTransaction| -> Result<Option<u32>, redb::Error> {
        match transaction.open_table(ABOUT) {
            Ok(about) => Ok(about.get(VERSION_KEY)?.map(|version| version.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let (database, version) = guarded(|| {
        let database = redb::Database::builder().set_cache_size(CACHE_LEN).create(path)?;
        let version = version(&database.begin_read()?)?;
        if version.is_none() {
            // New, or of a process that died before it came this far.
            let transaction = begin_write(&database)?;
            transaction.open_table(ABOUT)?.insert(VERSION_KEY, VERSION)?;
            transaction.open_table(FILES)?;
            transaction.open_table(DIGESTS)?;
            transaction.commit()?;
        }
        Ok((database, version.unwrap_or(VERSION)))
    })?;
    if version == VERSION { Ok(database) } else { Err(Trouble::OtherVersion) }
}

/// Renames it, so that whoever wants to can look what has become of it.
fn set_aside(path: &Path, suffix: &str, reason: &str) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let aside = path.with_file_name(format!("{FILE_NAME}.{suffix}-{seconds}"));
    match std::fs::rename(path, &aside) {
        Ok(()) => warn!(
            "what was remembered of files can't be used: {reason}; it is set aside as {}, and files are hashed anew",
            aside.display()
        ),
        Err(error) => error!("{}: {reason}; and it can't be renamed: {error}", path.display()),
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
        names.filter(|name| name != FILE_NAME).collect()
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
    fn drops_what_is_not_to_be_kept_with_its_digests() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).unwrap();
        let all: Vec<Change> = (0..10_000).map(|inode| change(inode, b"x")).collect();
        database.write(&all).unwrap();
        assert_eq!(database.retain(|id, record| id.inode == 7 && record == b"x").unwrap(), 9_999);
        assert_eq!(database.records(&[id(6), id(7)]).unwrap(), [None, Some(b"x".to_vec())]);
        assert!(database.digests(id(6)).unwrap().is_none());
        assert!(database.digests(id(7)).unwrap().is_some());
    }

    #[test]
    fn sets_one_of_another_version_aside() {
        let dir = tempfile::tempdir().unwrap();
        let database = redb::Database::create(dir.path().join(FILE_NAME)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(ABOUT).unwrap().insert(VERSION_KEY, VERSION + 1).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let database = Database::open(dir.path()).unwrap();
        database.write(&[change(1, b"one")]).unwrap();
        let beside = beside(dir.path());
        assert!(beside.len() == 1 && beside[0].starts_with("hashes.redb.other-version-"), "{beside:?}");
    }

    #[test]
    fn leaves_one_that_is_taken_alone() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Database::open(dir.path()).unwrap();
        assert!(matches!(Database::open(dir.path()), Err(Trouble::Taken)));
        assert!(beside(dir.path()).is_empty());
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
}
