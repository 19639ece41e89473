//! The torrents in the order of their places, a few at a time.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::{Catalog, Entry, Torrent};
use crate::files::{FilePath, InodeId};

/// How many files are gone through at a time where that may be done with all.
pub(super) const FILES_AT_ONCE: usize = 4096;

impl Catalog {
    /// Up to `max` of the torrents that are offered, from the first place after `after` on, or from the very first.
    pub(crate) fn page(&self, after: Option<&FilePath>, max: usize) -> Vec<Arc<Torrent>> {
        let mut page = Vec::new();
        self.go_through(after.cloned(), |torrent| {
            if page.len() >= max {
                return ControlFlow::Break(());
            }
            page.push(Arc::clone(torrent));
            ControlFlow::Continue(())
        });
        page
    }

    /// The inodes of all files that are offered.
    pub(crate) fn offered_inodes(&self) -> Vec<InodeId> {
        let mut inodes = Vec::new();
        self.go_through(None, |torrent| {
            inodes.push(torrent.file().binding.id());
            ControlFlow::Continue(())
        });
        inodes
    }

    /// All that are offered after a place. However many are not ready, others are held up by no more than a slice of it.
    fn go_through(
        &self,
        mut after: Option<FilePath>,
        mut visit: impl FnMut(&Arc<Torrent>) -> ControlFlow<()>,
    ) {
        loop {
            let inner = self.read();
            let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut last = None;
            for (at, entry) in inner.files.range::<FilePath, _>((from, Bound::Unbounded)).take(FILES_AT_ONCE)
            {
                if let Entry::Ready(torrent) = entry
                    && visit(torrent).is_break()
                {
                    return;
                }
                last = Some(at);
            }
            let Some(last) = last.cloned() else { return };
            after = Some(last);
        }
    }
}
