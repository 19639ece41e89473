//! The database's file: its tables and their version, how it is opened, begun and set aside, and what can be wrong with
//! it. Reads and writes no records.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction};
use tracing::{error, warn};

/// Device and inode, big-endian.
pub(super) type Key = [u8; 16];
/// By inode, what [`Record`](super::record::Record) encodes.
pub(super) const FILES: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("files");
/// By inode, the SHA-1 of every piece, one after the other. A table of its own, so that going through the records
/// doesn't read them.
pub(super) const DIGESTS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("digests");
/// Info hash and number of a page, big-endian.
pub(super) type SwarmKey = [u8; 24];
/// Who was in which swarm: what [`SwarmPage`](super::swarms::SwarmPage) encodes. Not there before the first is written.
pub(super) const SWARMS: TableDefinition<'_, SwarmKey, &[u8]> = TableDefinition::new("swarms");
const ABOUT: TableDefinition<'_, &str, u32> = TableDefinition::new("about");
const VERSION_KEY: &str = "version";
/// Of the tables and what they hold.
const VERSION: u32 = 1;

pub(super) const NAME: &str = "hashes.redb";
/// What the database keeps in memory. The system's page cache holds the rest.
const CACHE_LEN: usize = 4 * 1024 * 1024;

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

/// A transaction whose commit leaves what it takes to open the file at once after a crash: without, all of it is read
/// then, gigabytes where there are many large files. No commit is torn either way.
pub(super) fn begin_write(database: &redb::Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Pages are taken as they are, except after a crash: a damaged one may well make the library panic.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Trouble::from),
        Err(_) => Err(Trouble::Damaged("reading it panicked".to_owned())),
    }
}

pub(super) fn open_or_renew(path: &Path) -> Result<redb::Database, Trouble> {
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
pub(super) fn set_aside(path: &Path, suffix: &str, reason: &str) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let aside = path.with_file_name(format!("{NAME}.{suffix}-{seconds}"));
    match std::fs::rename(path, &aside) {
        Ok(()) => warn!(
            "what was remembered of files can't be used: {reason}; it is set aside as {}, and files are hashed anew",
            aside.display()
        ),
        Err(error) => error!("{}: {reason}; and it can't be renamed: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Names that lie beside the database.
    fn beside(directory: &Path) -> Vec<String> {
        let names =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != NAME).collect()
    }

    #[test]
    fn sets_one_of_another_version_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(ABOUT).unwrap().insert(VERSION_KEY, VERSION + 1).unwrap();
        transaction.commit().unwrap();
        drop(database);
        open_or_renew(&path).unwrap();
        let beside = beside(dir.path());
        assert!(beside.len() == 1 && beside[0].starts_with("hashes.redb.other-version-"), "{beside:?}");
    }

    #[test]
    fn leaves_one_that_is_taken_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let _first = open_or_renew(&path).unwrap();
        assert!(matches!(open_or_renew(&path), Err(Trouble::Taken)));
        assert!(beside(dir.path()).is_empty());
    }
}
