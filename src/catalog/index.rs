//! Torrents by info hash, and by what peers who encrypt ask with. Each table holds one word a torrent and looks into the
//! torrent for the rest: with a hundred thousand of them, keys of their own would be a sixth of all memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use distributor_proto::{InfoHash, TorrentDigest};
use hashbrown::HashTable;

use super::torrent::Torrent;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Keyed anew in each process: who may write to the directory chooses info hashes.
    seed: RandomState,
    /// One torrent of each info hash.
    by_info_hash: HashTable<Arc<Torrent>>,
    /// The same ones. Their digests are made again wherever they are needed, which takes less than a microsecond.
    by_digest: HashTable<Arc<Torrent>>,
    /// Equal files of equal name in several places share an info hash, and any of them can be served. These are the
    /// others; of nearly all there is none.
    others: HashMap<InfoHash, Vec<Arc<Torrent>>>,
}

impl Index {
    pub(super) fn add(&mut self, torrent: &Arc<Torrent>) {
        let info_hash = torrent.info_hash();
        if self.get(&info_hash).is_some() {
            self.others.entry(info_hash).or_default().push(Arc::clone(torrent));
        } else {
            self.insert(Arc::clone(torrent));
        }
    }

    pub(super) fn remove(&mut self, torrent: &Arc<Torrent>) {
        let info_hash = torrent.info_hash();
        let is_it = |other: &Arc<Torrent>| Arc::ptr_eq(other, torrent);
        let was_first = self.get(&info_hash).is_some_and(is_it);
        if was_first {
            self.take_out(&info_hash);
        }
        let Some(others) = self.others.get_mut(&info_hash) else { return };
        let next = if was_first {
            others.pop()
        } else {
            others.retain(|other| !is_it(other));
            None
        };
        if others.is_empty() {
            self.others.remove(&info_hash);
        }
        if let Some(next) = next {
            self.insert(next);
        }
    }

    /// One of the torrents of this info hash.
    pub(super) fn get(&self, info_hash: &InfoHash) -> Option<&Arc<Torrent>> {
        let is_it = |torrent: &Arc<Torrent>| torrent.info_hash() == *info_hash;
        self.by_info_hash.find(self.seed.hash_one(info_hash), is_it)
    }

    /// The info hash of this digest, if there is a torrent of it.
    pub(super) fn named_by(&self, digest: &TorrentDigest) -> Option<InfoHash> {
        let is_it = |torrent: &Arc<Torrent>| digest_of(torrent) == *digest;
        self.by_digest.find(self.seed.hash_one(digest), is_it).map(|torrent| torrent.info_hash())
    }

    /// There is none of its info hash yet.
    fn insert(&mut self, torrent: Arc<Torrent>) {
        let Self { seed, by_info_hash, by_digest, .. } = self;
        let hash = |torrent: &Arc<Torrent>| seed.hash_one(torrent.info_hash());
        let digest_hash = |torrent: &Arc<Torrent>| seed.hash_one(digest_of(torrent));
        by_digest.insert_unique(digest_hash(&torrent), Arc::clone(&torrent), digest_hash);
        by_info_hash.insert_unique(hash(&torrent), torrent, hash);
    }

    fn take_out(&mut self, info_hash: &InfoHash) {
        let is_it = |torrent: &Arc<Torrent>| torrent.info_hash() == *info_hash;
        if let Ok(found) = self.by_info_hash.find_entry(self.seed.hash_one(info_hash), is_it) {
            found.remove();
        }
        if let Ok(found) = self.by_digest.find_entry(self.seed.hash_one(TorrentDigest::of(info_hash)), is_it)
        {
            found.remove();
        }
    }
}

fn digest_of(torrent: &Torrent) -> TorrentDigest {
    TorrentDigest::of(&torrent.info_hash())
}
