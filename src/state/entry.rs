//! What is to be remembered of one file, while it is on its way: its record, and the digests that are in memory until
//! the database has them. Waits for nothing.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::record::Record;
use crate::files::SettledFile;

/// The digests of a torrent's pieces while no disk has them: 20 bytes a piece that every file would otherwise take.
#[derive(Debug)]
pub(crate) struct Pieces(Mutex<Option<Bytes>>);

impl Pieces {
    pub(crate) fn new(digests: Bytes) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(digests))))
    }

    /// None once they are remembered.
    pub(crate) fn digests(&self) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// They can be had from the database from now on.
    pub(super) fn let_go(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What is to be remembered of one file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) file: SettledFile,
    pub(super) record: Record,
    /// The same digests, as often as there are torrents that have them in memory: one for each path of the inode. None
    /// where the database has them already.
    pieces: Vec<Arc<Pieces>>,
    /// How often the file could not be put on the disk.
    tries: u8,
}

impl Entry {
    pub(super) fn new(file: SettledFile, record: Record, pieces: Option<Arc<Pieces>>) -> Self {
        Self { file, record, pieces: pieces.into_iter().collect(), tries: 0 }
    }

    pub(super) fn pieces(&self) -> Option<&Arc<Pieces>> {
        self.pieces.first()
    }

    pub(super) fn digests(&self) -> Option<Bytes> {
        self.pieces.iter().find_map(|pieces| pieces.digests())
    }

    /// The database has them now.
    pub(super) fn let_go(&self) {
        self.pieces.iter().for_each(|pieces| pieces.let_go());
    }

    /// Whether the disk is not known to have the bytes that the record stands for.
    pub(super) fn is_to_be_vouched_for(&self) -> bool {
        self.record.birth.is_none() || self.digests().is_some()
    }

    /// As it waits for its next try; nothing after so many.
    pub(super) fn once_more(&self, max_tries: u8) -> Option<Self> {
        let tries = self.tries.saturating_add(1);
        (tries < max_tries).then(|| Self { tries, ..self.clone() })
    }

    /// Comes in the place of what waits for the same inode; `false` if that is the newer of both.
    pub(super) fn replace(&mut self, before: &Self) -> bool {
        if before.record.binding != self.record.binding {
            // One with digests was hashed just now, one without was read from the database some time ago.
            return !self.pieces.is_empty() || before.pieces.is_empty();
        }
        if self.pieces.is_empty() {
            self.pieces.clone_from(&before.pieces);
        } else {
            // Those that no torrent has any more go without saying.
            let others = before.pieces.iter().filter(|pieces| Arc::strong_count(pieces) > 1);
            let others = others.filter(|other| self.pieces.iter().all(|own| !Arc::ptr_eq(own, other)));
            self.pieces.extend(others.cloned().collect::<Vec<_>>());
        }
        true
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::Path;

    use crate::files::{Binding, FilePath, Roots};

    pub(crate) fn entry(inode: u64, pieces: Option<Arc<Pieces>>) -> Entry {
        let roots = Roots::open(&[std::env::temp_dir()]).unwrap();
        let (root, _) = roots.iter().next().unwrap();
        let binding = Binding::for_test(inode, 1, 1, 1);
        let record = Record::for_test(binding);
        Entry::new(SettledFile::new(FilePath::new(root, "file"), Path::new("file"), binding), record, pieces)
    }

    /// Of another state of the inode.
    pub(crate) fn changed(mut entry: Entry) -> Entry {
        entry.record.binding = Binding::for_test(entry.record.binding.id().inode, 1, 1, 2);
        entry
    }

    pub(crate) fn pieces() -> Arc<Pieces> {
        Pieces::new(Bytes::from_static(b"digests"))
    }

    #[test]
    fn the_digests_of_all_paths_of_an_inode_are_let_go_together() {
        let [first, second, gone] = [(); 3].map(|()| pieces());
        let mut before = entry(1, Some(gone));
        for path in [&first, &second, &first] {
            let mut next = entry(1, Some(Arc::clone(path)));
            assert!(next.replace(&before));
            before = next;
        }
        assert_eq!(before.pieces.len(), 2, "those that some torrent has");
        before.let_go();
        assert!(first.digests().is_none() && second.digests().is_none());
    }

    #[test]
    fn digests_are_never_joined_to_a_record_of_other_contents() {
        let hashed = changed(entry(1, Some(pieces())));
        // Read from the database before the file changed, and late.
        assert!(!entry(1, None).replace(&hashed));
        let mut newer = entry(1, Some(pieces()));
        let own = newer.pieces.clone();
        assert!(newer.replace(&hashed));
        assert!(newer.pieces.iter().zip(&own).all(|(left, own)| Arc::ptr_eq(left, own)));
        assert_eq!(newer.pieces.len(), own.len());
    }

    #[test]
    fn news_of_the_record_alone_keep_the_digests_that_wait() {
        let hashed = entry(1, Some(pieces()));
        let mut news = entry(1, None);
        assert!(news.replace(&hashed));
        assert!(Arc::ptr_eq(&news.pieces[0], &hashed.pieces[0]));
    }
}
