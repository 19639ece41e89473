//! What survives a restart: which files were hashed, as which inode and with what digests, so that nothing is hashed
//! twice; and who was in which swarm. Owns the database and the thread that writes to it; opens served files only to
//! have their bytes put on the disk, and knows no torrents.
//!
//! ```text
//!  remember ──▶ mailbox ──▶ writer ──▶ database (redb) ◀── keep_swarms
//!                  │                      │  ╰───────────▶ swarms
//!  recall  ◀───────┴──────────────────────╯
//! ```
//!
//! While size, mtime and ctime are the recorded ones, so are the bytes: nobody but the kernel sets ctime. A rename moves
//! it, and so does a write whose mtime was set back; which of them it was, or whether it was both, nothing tells: what
//! the kernel counts of changes (`STATX_CHANGE_COOKIE`) it keeps to itself, and whether anybody wrote while nobody
//! watched it doesn't say. So a file that seems to have been moved, and nothing else, is offered as what it was, without
//! being read; but no byte of it is sent before its piece was read and found to be what it was ([`Recalled::moved`]), and
//! the first that isn't has the file hashed anew. That way a moved terabyte is served at once, and no host gets what its
//! torrent doesn't say. The record stays what it was until the file is hashed: a restart trusts it no more than this.
//! What is left is what a [`Binding`] itself can't tell: a clock that was set back, and a write through a mapping that
//! stays open.
//!
//! | file | what it owns |
//! |---|---|
//! | `record` | one file as bytes |
//! | `recall` | whether a file is one that is remembered |
//! | `swarms` | some peers of a swarm as bytes |
//! | `entry` | what is to be remembered of one file |
//! | `mailbox` | what is on its way to the database |
//! | `writer` | the thread: batches, and that a record never reaches the disk before the bytes that it vouches for |
//! | `cleaning` | what is dropped, and when |
//! | `database` | transactions, and what to do when one fails |
//! | `file` | the database's file: its tables, opening it, every kind of damage |
//! | `place` | the directory |

mod cleaning;
mod database;
mod entry;
mod file;
mod mailbox;
mod place;
mod recall;
mod record;
mod swarms;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use distributor_proto::{Geometry, Info, InfoHash};
use tracing::{debug, warn};

pub(crate) use self::entry::Pieces;
pub use self::place::StateError;
pub(crate) use self::swarms::{SavedPeer, SwarmPage};
pub(crate) use self::writer::Writer;

use self::cleaning::Cleaning;
use self::database::Database;
use self::entry::Entry;
use self::file::Trouble;
use self::mailbox::Mailbox;
use self::recall::{Verdict, judge, was_moved};
use self::record::{Day, Record};
use crate::files::{Binding, InodeId, Roots, SettledFile};

/// Records on their way to the disk, at some hundred bytes each, their digests not counted: these a torrent keeps as
/// long as nobody else does. What comes beyond that is not remembered.
const MAX_WAITING: usize = 1_000_000;

/// How many pages of swarms are read at a time.
const SWARM_PAGES: usize = 64;

/// What is remembered. All that waits for the disk says so.
#[derive(Debug)]
pub(crate) struct State {
    database: Arc<Database>,
    mailbox: Arc<Mailbox>,
    roots: Arc<Roots>,
}

/// What is known of a file without reading it.
#[derive(Debug)]
pub(crate) struct Recalled {
    pub(crate) info_hash: InfoHash,
    /// Bytes in the encoded info dictionary.
    pub(crate) metadata_len: u32,
    /// Where they aren't on the disk yet.
    pub(crate) pieces: Option<Arc<Pieces>>,
    /// The file lies elsewhere by now, and somebody may have written to it first: each piece is to be compared with its
    /// digest before any of it is sent.
    pub(crate) moved: bool,
}

/// What is remembered can't be had now, which says nothing of what it is: it may be there another time.
#[derive(Debug, thiserror::Error)]
#[error("what is remembered of files can't be read now: {0}")]
pub(crate) struct Unavailable(Trouble);

/// It could not be written down.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct NotKept(Trouble);

impl State {
    /// Opens what is remembered in a directory, and makes that if need be. Nothing if it can't be had, which is logged:
    /// files are served all the same. The writer's end is the end of writing.
    pub(crate) fn open(
        directory: &Path,
        roots: &Arc<Roots>,
    ) -> Result<Option<(Arc<Self>, Writer)>, StateError> {
        place::refuse_served(directory, roots)?;
        let start = || {
            place::make(directory).map_err(Trouble::Io)?;
            let database = Arc::new(Database::open(directory)?);
            let mailbox = Arc::new(Mailbox::new(MAX_WAITING));
            let writer = Writer::start(Arc::clone(&database), Arc::clone(&mailbox), Arc::clone(roots));
            let state = Self { database, mailbox, roots: Arc::clone(roots) };
            Ok((Arc::new(state), writer.map_err(Trouble::Io)?))
        };
        match start() {
            Ok(started) => Ok(Some(started)),
            Err(trouble) => {
                let advice = match trouble {
                    Trouble::Taken => "each process needs its own: name another one with --state DIR",
                    _ => "name another one with --state DIR, or --no-state if that is meant",
                };
                let directory = directory.display();
                warn!(
                    "can't remember files in {directory}: {trouble}; all are hashed at every start; {advice}"
                );
                Ok(None)
            }
        }
    }

    /// Remembers a file that was hashed. `false` if too much waits to be written. Waits for nothing.
    pub(crate) fn remember(
        &self,
        file: &SettledFile,
        info: &Info,
        info_hash: InfoHash,
        metadata_len: u32,
        pieces: &Arc<Pieces>,
    ) -> bool {
        let record = Record {
            binding: file.binding,
            birth: None,
            path: self.real_path(file),
            name: info.name().to_vec(),
            private: info.is_private(),
            piece_len: info.geometry().piece_len(),
            metadata_len,
            info_hash,
            day: Day::of(SystemTime::now()),
        };
        self.mailbox.put(Entry::new(file.clone(), record, Some(Arc::clone(pieces))))
    }

    /// What is known of each of some files, whose torrents are to be `private` or not. Waits for the disk.
    pub(crate) fn recall(&self, files: &[SettledFile], private: bool) -> Vec<Option<Recalled>> {
        let ids: Vec<InodeId> = files.iter().map(|file| file.binding.id()).collect();
        let waiting = self.mailbox.get(&ids);
        let stored = self.database.records(&ids).unwrap_or_else(|trouble| {
            debug!(%trouble, "nothing can be recalled");
            Vec::new()
        });
        let mut stored = stored.into_iter();
        let today = Day::of(SystemTime::now());
        let mut recalled = Vec::with_capacity(files.len());
        for (file, waiting) in files.iter().zip(waiting) {
            let stored = stored.next().flatten();
            let (record, pieces) = match waiting {
                Some(entry) => (Some(entry.record.clone()), entry.pieces().cloned()),
                None => (stored.and_then(|bytes| Record::decode(file.binding.id(), &bytes)), None),
            };
            recalled.push(record.and_then(|record| self.recall_one(file, private, record, pieces, today)));
        }
        recalled
    }

    fn recall_one(
        &self,
        file: &SettledFile,
        private: bool,
        before: Record,
        pieces: Option<Arc<Pieces>>,
        today: Day,
    ) -> Option<Recalled> {
        let path = self.real_path(file);
        let geometry = Geometry::for_len(file.binding.size()).ok()?;
        let moved = match judge(&before, file, &path, geometry.piece_len()) {
            Verdict::Known => false,
            Verdict::Moved if was_moved(&before, &path) => true,
            Verdict::Moved | Verdict::Unknown => return None,
        };
        let (mut info_hash, mut metadata_len) = (before.info_hash, before.metadata_len);
        // Both are part of what is hashed.
        if before.name != file.name() || before.private != private {
            let digests = pieces.as_ref().and_then(|pieces| pieces.digests());
            let digests = digests.or_else(|| self.digests(before.binding.id()).ok().flatten())?;
            let as_before = Info::new(&before.name, geometry, digests.clone(), before.private).ok()?;
            if InfoHash::of_info(&as_before.encode()) != before.info_hash {
                return None;
            }
            let encoded = Info::new(file.name(), geometry, digests, private).ok()?.encode();
            info_hash = InfoHash::of_info(&encoded);
            metadata_len = u32::try_from(encoded.len()).ok()?;
        }
        // The path must be the last one: it is what a move is told by.
        let is_news = before.path != path || before.private != private || before.day.is_outdated(today);
        // Of one that was moved nothing new is known.
        if is_news && !moved {
            let name = file.name().to_vec();
            let record = Record { path, name, private, metadata_len, info_hash, day: today, ..before };
            self.mailbox.put(Entry::new(file.clone(), record, pieces.clone()));
        }
        Some(Recalled { info_hash, metadata_len, pieces, moved })
    }

    /// The SHA-1 of every piece of a file that was remembered, one after the other; nothing if the database has lost
    /// it. They may be those of other contents by now: only the info hash that is made of them tells. Waits for the
    /// disk.
    pub(crate) fn digests(&self, id: InodeId) -> Result<Option<Bytes>, Unavailable> {
        self.database.digests(id).map_err(Unavailable)
    }

    /// What is remembered of a file is wrong: these digests were found for it, or none. What was learned of the inode
    /// since then stays. Waits for the disk.
    pub(crate) fn forget(&self, binding: &Binding, found: Option<&[u8]>) {
        self.mailbox.forget(binding);
        let id = binding.id();
        let is_meant = |record: &[u8], digests: Option<&[u8]>| {
            // A file that was moved has the record that it had before.
            let is_of_it = |record: Record| record.binding.same_contents(binding);
            digests == found && Record::decode(id, record).is_none_or(is_of_it)
        };
        if let Err(trouble) = self.database.remove_if(id, is_meant) {
            debug!(%trouble, "a file can't be forgotten");
        }
    }

    /// Writes pages of swarms, all or none; takes away those that have nothing in them. On the disk when this returns:
    /// it waits for that.
    pub(crate) fn keep_swarms(&self, pages: &[SwarmPage]) -> Result<(), NotKept> {
        let pages: Vec<_> = pages.iter().map(|page| (page.key(), page.encode())).collect();
        self.database.write_swarms(&pages).map_err(NotKept)
    }

    /// All pages of swarms that were kept, one after the other; says how many were damaged, or of another version:
    /// those are empty. Waits for the disk.
    pub(crate) fn swarms(&self, mut each: impl FnMut(SwarmPage)) -> Result<usize, Unavailable> {
        let (mut behind, mut damaged) = (None, 0);
        loop {
            let pages = self.database.swarms_behind(behind, SWARM_PAGES).map_err(Unavailable)?;
            let Some((last, _)) = pages.last() else { return Ok(damaged) };
            behind = Some(*last);
            for (key, bytes) in &pages {
                let (page, is_sound) = SwarmPage::decode(key, bytes);
                damaged += usize::from(!is_sound);
                each(page);
            }
        }
    }

    /// Has the files dropped that have not been seen for long; these are seen now. Waits for nothing.
    pub(crate) fn clean(&self, seen: Vec<InodeId>, now: SystemTime) {
        self.mailbox.clean(Cleaning::new(seen, Day::of(now)));
    }

    /// As on a disk that fails for a while.
    #[cfg(test)]
    pub(crate) fn set_unreadable(&self, unreadable: bool) {
        self.database.set_unreadable(unreadable);
    }

    fn real_path(&self, file: &SettledFile) -> PathBuf {
        self.roots.get(file.at.root).path().join(&file.target)
    }
}
