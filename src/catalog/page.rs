//! The torrents in the order of their places, a few at a time.

use std::ops::Bound;
use std::sync::Arc;

use super::{Catalog, Entry, Torrent};
use crate::files::FilePath;

impl Catalog {
    /// Up to `max` of the torrents that are offered, from the first place after `after` on, or from the very first. Holds
    /// the catalog for no longer than it takes to go through so many.
    pub(crate) fn page(&self, after: Option<&FilePath>, max: usize) -> Vec<Arc<Torrent>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let inner = self.read();
        let ready =
            inner.files.range::<FilePath, _>((from, Bound::Unbounded)).filter_map(|(_, entry)| match entry {
                Entry::Ready(torrent) => Some(Arc::clone(torrent)),
                Entry::Coming(_) => None,
            });
        ready.take(max).collect()
    }
}
