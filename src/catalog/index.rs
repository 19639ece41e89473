//! Torrents by info hash, and by what peers who encrypt ask with.

use std::collections::HashMap;
use std::sync::Arc;

use distributor_proto::{InfoHash, TorrentDigest};

use super::torrent::Torrent;

#[derive(Debug, Default)]
pub(super) struct Index {
    by_info_hash: HashMap<InfoHash, Same>,
    by_digest: HashMap<TorrentDigest, InfoHash>,
}

/// The torrents of one info hash. Equal files of equal name in several places share it, and any of them can be served;
/// but of nearly all there is one.
#[derive(Debug)]
struct Same {
    first: Arc<Torrent>,
    #[expect(clippy::box_collection, reason = "a vector would take thrice the room where there is none")]
    others: Option<Box<Vec<Arc<Torrent>>>>,
}

impl Same {
    fn push(&mut self, torrent: &Arc<Torrent>) {
        self.others.get_or_insert_default().push(Arc::clone(torrent));
    }

    /// Whether any is left without this one.
    fn remove(&mut self, torrent: &Arc<Torrent>) -> bool {
        let others = self.others.get_or_insert_default();
        if Arc::ptr_eq(&self.first, torrent) {
            let Some(next) = others.pop() else { return false };
            self.first = next;
        } else {
            others.retain(|other| !Arc::ptr_eq(other, torrent));
        }
        true
    }
}

impl Index {
    pub(super) fn add(&mut self, torrent: &Arc<Torrent>) {
        let info_hash = torrent.info_hash();
        self.by_digest.insert(TorrentDigest::of(&info_hash), info_hash);
        self.by_info_hash
            .entry(info_hash)
            .and_modify(|same| same.push(torrent))
            .or_insert_with(|| Same { first: Arc::clone(torrent), others: None });
    }

    pub(super) fn remove(&mut self, torrent: &Arc<Torrent>) {
        let info_hash = torrent.info_hash();
        if let Some(same) = self.by_info_hash.get_mut(&info_hash)
            && !same.remove(torrent)
        {
            self.by_info_hash.remove(&info_hash);
            self.by_digest.remove(&TorrentDigest::of(&info_hash));
        }
    }

    /// One of the torrents of this info hash.
    pub(super) fn get(&self, info_hash: &InfoHash) -> Option<&Arc<Torrent>> {
        self.by_info_hash.get(info_hash).map(|same| &same.first)
    }

    /// The info hash of this digest, if there is a torrent of it.
    pub(super) fn named_by(&self, digest: &TorrentDigest) -> Option<InfoHash> {
        self.by_digest.get(digest).copied()
    }
}
