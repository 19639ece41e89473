//! What is offered: paths and info hashes to torrents, and which file of a directory is the newest. Knows nothing of
//! disks; whoever watches them tells it.

mod index;
mod page;
mod torrent;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use distributor_proto::{InfoHash, TorrentDigest};
use tokio_util::sync::CancellationToken;

use self::index::Index;
pub(crate) use self::torrent::Torrent;
use crate::files::{FilePath, RootId, Roots, SettledFile, Timestamp};

/// How many of the newest files are looked through for one of a directory, before the directory itself is.
const NEWEST_LOOKED_THROUGH: usize = 1000;

/// A word and a tag, for there is one of each file; what only those on their way have is elsewhere.
#[derive(Debug)]
enum Entry {
    Coming(Box<Coming>),
    Ready(Arc<Torrent>),
}

/// A file that is not ready.
#[derive(Debug)]
struct Coming {
    stage: Stage,
    /// When the file was modified, as far as that was ever settled.
    mtime: Option<Timestamp>,
    /// Made for the first who waits: at a start there are as many as files, and hardly anybody does.
    over: OnceLock<CancellationToken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is there, but isn't known to hold still.
    Unsettled,
    /// It held still, and is being hashed or waits for its turn.
    Hashing,
}

impl Entry {
    fn coming(stage: Stage, mtime: Option<Timestamp>) -> Self {
        Self::Coming(Box::new(Coming { stage, mtime, over: OnceLock::new() }))
    }

    /// When the file was modified, as far as that was ever settled.
    fn mtime(&self) -> Option<Timestamp> {
        match self {
            Self::Coming(coming) => coming.mtime,
            Self::Ready(torrent) => Some(torrent.file().binding.mtime()),
        }
    }
}

/// What is known of a name.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    Ready(Arc<Torrent>),
    /// Worth waiting for: look again once this is cancelled.
    Pending(CancellationToken),
    Unknown,
}

/// All files that are offered or about to be.
#[derive(Debug)]
pub(crate) struct Catalog {
    roots: Arc<Roots>,
    /// Of each root: cancelled once everything that was there at start is known.
    scanned: Vec<CancellationToken>,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<FilePath, Entry>,
    /// The entries whose mtime is known, newest last.
    by_mtime: BTreeSet<(Timestamp, FilePath)>,
    offered: Index,
    /// No longer offered, but still served to those who have them.
    leaving: Index,
}

impl Inner {
    /// Puts an entry in the place of what was there, and wakes those who waited for that.
    fn replace(&mut self, at: &FilePath, entry: Option<Entry>) -> Option<Arc<Torrent>> {
        let new_mtime = entry.as_ref().and_then(Entry::mtime);
        if let Some(Entry::Ready(torrent)) = &entry {
            self.offered.add(torrent);
        }
        let old = match entry {
            Some(entry) => self.files.insert(at.clone(), entry),
            None => self.files.remove(at),
        };
        let old_mtime = old.as_ref().and_then(Entry::mtime);
        if old_mtime != new_mtime {
            if let Some(mtime) = old_mtime {
                self.by_mtime.remove(&(mtime, at.clone()));
            }
            if let Some(mtime) = new_mtime {
                self.by_mtime.insert((mtime, at.clone()));
            }
        }
        match old? {
            Entry::Coming(coming) => {
                if let Some(over) = coming.over.get() {
                    over.cancel();
                }
                None
            }
            Entry::Ready(torrent) => {
                self.offered.remove(&torrent);
                Some(torrent)
            }
        }
    }

    fn lookup(&self, at: &FilePath) -> Lookup {
        match self.files.get(at) {
            None => Lookup::Unknown,
            Some(Entry::Ready(torrent)) => Lookup::Ready(Arc::clone(torrent)),
            Some(Entry::Coming(coming)) => {
                Lookup::Pending(coming.over.get_or_init(CancellationToken::new).clone())
            }
        }
    }
}

impl Catalog {
    pub(crate) fn new(roots: Arc<Roots>) -> Self {
        let scanned = roots.iter().map(|_| CancellationToken::new()).collect();
        Self { roots, scanned, inner: RwLock::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was there at start in this watched directory is known from now on.
    pub(crate) fn set_scanned(&self, root: RootId) {
        self.scanned(root).cancel();
    }

    pub(crate) fn scanned(&self, root: RootId) -> &CancellationToken {
        &self.scanned[root.index()]
    }

    pub(crate) fn are_all_scanned(&self) -> bool {
        self.scanned.iter().all(CancellationToken::is_cancelled)
    }

    /// The file is there but can't be offered now. Returns the torrent that is withdrawn by this.
    pub(crate) fn set_unsettled(&self, at: &FilePath) -> Option<Arc<Torrent>> {
        let mut inner = self.write();
        // Those who wait for a file that is still not ready go on waiting for the same thing.
        let before = inner.files.get(at);
        if let Some(Entry::Coming(coming)) = before
            && coming.stage == Stage::Unsettled
        {
            return None;
        }
        let mtime = before.and_then(Entry::mtime);
        inner.replace(at, Some(Entry::coming(Stage::Unsettled, mtime)))
    }

    /// The file is about to be hashed. Returns the torrent that is withdrawn by this: even if nothing but the inode's
    /// ctime has moved, it isn't known whether its bytes are what they were.
    pub(crate) fn set_hashing(&self, file: &SettledFile) -> Option<Arc<Torrent>> {
        let hashing = Entry::coming(Stage::Hashing, Some(file.binding.mtime()));
        self.write().replace(&file.at, Some(hashing))
    }

    /// The torrent is offered from now on. Returns the one that was in its place.
    pub(crate) fn insert(&self, torrent: Arc<Torrent>) -> Option<Arc<Torrent>> {
        let at = torrent.file().at.clone();
        self.write().replace(&at, Some(Entry::Ready(torrent)))
    }

    /// The file is not offered any more. Returns the torrent that is withdrawn by this.
    pub(crate) fn remove(&self, at: &FilePath) -> Option<Arc<Torrent>> {
        self.write().replace(at, None)
    }

    /// The torrent that is offered at exactly this place.
    pub(crate) fn at(&self, at: &FilePath) -> Option<Arc<Torrent>> {
        match self.read().lookup(at) {
            Lookup::Ready(torrent) => Some(torrent),
            Lookup::Pending(_) | Lookup::Unknown => None,
        }
    }

    /// A withdrawn torrent is served on to those who have it, until it is [released](Self::release).
    pub(crate) fn serve_on(&self, torrent: &Arc<Torrent>) {
        self.write().leaving.add(torrent);
    }

    pub(crate) fn release(&self, torrent: &Arc<Torrent>) {
        self.write().leaving.remove(torrent);
    }

    /// A torrent of this info hash whose file is offered, or else one that is served on.
    pub(crate) fn by_info_hash(&self, info_hash: &InfoHash) -> Option<Arc<Torrent>> {
        let inner = self.read();
        inner.offered.get(info_hash).or_else(|| inner.leaving.get(info_hash)).cloned()
    }

    /// The info hash of this digest, if there is a torrent of it that anybody is served.
    pub(crate) fn by_digest(&self, digest: &TorrentDigest) -> Option<InfoHash> {
        let inner = self.read();
        inner.offered.named_by(digest).or_else(|| inner.leaving.named_by(digest))
    }

    /// Whether there is a torrent of this info hash that anybody is served.
    pub(crate) fn is_served(&self, info_hash: &InfoHash) -> bool {
        let inner = self.read();
        inner.offered.get(info_hash).or_else(|| inner.leaving.get(info_hash)).is_some()
    }

    /// The places that a requested path can mean.
    pub(crate) fn places(&self, requested: &RequestedPath) -> impl Iterator<Item = FilePath> {
        let (first, others) = self.ranked_places(requested);
        first.into_iter().chain(others)
    }

    /// The place that goes before all others, and those others. With several directories `DIRNAME/path` names one
    /// place exactly; with one, its name in front of a path is understood but not needed.
    pub(crate) fn ranked_places(&self, requested: &RequestedPath) -> (Option<FilePath>, Vec<FilePath>) {
        let mut components = requested.as_path().components();
        let dirname = components.next().map(|first| first.as_os_str());
        let below = components.as_path();
        let named = dirname
            .filter(|_| !below.as_os_str().is_empty())
            .and_then(|dirname| self.root_named(dirname))
            .map(|root| FilePath::new(root, below));
        let mut bare = self.roots.iter().map(|(root, _)| FilePath::new(root, requested.as_path()));
        match self.roots.len() {
            1 => (bare.next(), named.into_iter().collect()),
            _ => (named, bare.collect()),
        }
    }

    fn root_named(&self, name: &OsStr) -> Option<RootId> {
        self.roots.iter().find_map(|(id, root)| (root.name() == name).then_some(id))
    }

    /// The file that a request means, as far as is known: at the place that goes before all others, else the newest
    /// of those that the path fits.
    pub(crate) fn find(&self, requested: &RequestedPath) -> Lookup {
        let (first, others) = self.ranked_places(requested);
        let inner = self.read();
        let known = |place: &&FilePath| inner.files.contains_key(*place);
        if let Some(place) = first.iter().find(known) {
            return inner.lookup(place);
        }
        // A file without a settled mtime is being written now: there is none newer.
        let newest = others.iter().filter(known).max_by_key(|place| {
            let mtime = inner.files.get(*place).and_then(Entry::mtime);
            (mtime.is_none(), mtime)
        });
        newest.map_or(Lookup::Unknown, |place| inner.lookup(place))
    }

    /// The file modified last among those in `scope` (everything, if there is none). A new one that is still being
    /// written doesn't count; one that is being hashed does, and so does one that was ready and is being changed.
    /// They are worth waiting for, as is anything when there is nothing else.
    pub(crate) fn latest(&self, scope: Option<&RequestedPath>) -> Lookup {
        let scopes = match scope {
            Some(requested) => self.scopes(requested),
            None => self.roots.iter().map(|(root, _)| FilePath::new(root, "")).collect(),
        };
        let inner = self.read();
        let in_scope = |at: &FilePath| {
            scopes.iter().any(|scope| scope.root == at.root && at.path.starts_with(&scope.path))
        };
        let below =
            || scopes.iter().flat_map(|scope| inner.files.range(scope..).take_while(|(at, _)| in_scope(at)));
        // Found in no time, and then there is no need to look through other files for it.
        let Some((any, _)) = below().next() else { return Lookup::Unknown };
        let newest =
            inner.by_mtime.iter().rev().take(NEWEST_LOOKED_THROUGH).map(|(_, at)| at).find(|at| in_scope(at));
        let newest = newest
            .or_else(|| below().filter_map(|(at, entry)| Some((entry.mtime()?, at))).max().map(|(_, at)| at));
        inner.lookup(newest.unwrap_or(any))
    }

    /// The directories that a request means: a watched one by its name, or one below any of them.
    fn scopes(&self, requested: &RequestedPath) -> Vec<FilePath> {
        let whole = self.root_named(requested.as_path().as_os_str()).map(|root| FilePath::new(root, ""));
        self.places(requested).chain(whole).collect()
    }

    /// The name by which a request gets exactly this file: `DIRNAME/path`, or the path alone if only one directory is
    /// watched.
    pub(crate) fn exact_name(&self, at: &FilePath) -> PathBuf {
        match self.roots.len() {
            1 => at.path.to_path_buf(),
            _ => Path::new(self.roots.get(at.root).name()).join(&at.path),
        }
    }
}

/// Linux's PATH_MAX.
const MAX_PATH_LEN: usize = 4096;

/// A path that came with a request: relative, and never a way out of a watched directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestedPath(PathBuf);

/// Why a requested path can't mean a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("no file was named; write its path after the question mark")]
    Empty,
    #[error("the path is absolute; write it relative to the served directory")]
    Absolute,
    #[error("the path has a \"..\" in it; write it without")]
    Parent,
    #[error("the path has a NUL byte in it, which no file name has")]
    Nul,
    #[error("the path is longer than {MAX_PATH_LEN} bytes, which no path is")]
    TooLong,
}

impl RequestedPath {
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes.len() > MAX_PATH_LEN {
            return Err(PathError::TooLong);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        if bytes.starts_with(b"/") {
            return Err(PathError::Absolute);
        }
        if bytes.split(|byte| *byte == b'/').any(|component| component == b"..") {
            return Err(PathError::Parent);
        }
        // Rebuilt from its components, lest `a//b`, `./a/b` and `a/b/` be other names than `a/b`.
        let path: PathBuf =
            Path::new(OsStr::from_bytes(bytes)).components().filter(|c| c.as_os_str() != ".").collect();
        if path.as_os_str().is_empty() { Err(PathError::Empty) } else { Ok(Self(path)) }
    }

    pub(crate) fn as_path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use distributor_proto::{Geometry, Info};

    use crate::files::Binding;

    /// Two directories, `north` and `south`, whose files are real so that their bindings are.
    struct Fixture {
        dir: tempfile::TempDir,
        roots: Arc<Roots>,
        catalog: Catalog,
    }

    impl Fixture {
        fn new(names: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let paths: Vec<_> = names.iter().map(|name| dir.path().join(name)).collect();
            paths.iter().for_each(|path| std::fs::create_dir(path).unwrap());
            let roots = Arc::new(Roots::open(&paths).unwrap());
            Self { dir, catalog: Catalog::new(Arc::clone(&roots)), roots }
        }

        fn settled(&self, root: &str, path: &str, mtime: u64) -> SettledFile {
            let (id, found) = self.roots.iter().find(|(_, r)| r.name() == root).unwrap();
            let full = found.path().join(path);
            std::fs::create_dir_all(full.parent().unwrap()).unwrap();
            std::fs::write(&full, path).unwrap();
            let file = std::fs::File::options().write(true).open(&full).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(mtime)).unwrap();
            let binding = Binding::of(&file.metadata().unwrap());
            SettledFile::new(FilePath::new(id, path), Path::new(path), binding)
        }

        fn torrent(&self, root: &str, path: &str, mtime: u64) -> Arc<Torrent> {
            let file = self.settled(root, path, mtime);
            let geometry = Geometry::for_len(file.binding.size()).unwrap();
            let pieces = Bytes::from(vec![0; 20 * geometry.piece_count() as usize]);
            let info = Info::new(file.name(), geometry, pieces, true).unwrap();
            Arc::new(Torrent::hashed(file, &info))
        }

        fn offer(&self, root: &str, path: &str, mtime: u64) -> Arc<Torrent> {
            let torrent = self.torrent(root, path, mtime);
            self.catalog.insert(Arc::clone(&torrent));
            torrent
        }

        fn found(&self, path: &str) -> Option<PathBuf> {
            name_of(&self.catalog, self.catalog.find(&requested(path)))
        }

        fn latest(&self, scope: Option<&str>) -> Option<PathBuf> {
            name_of(&self.catalog, self.catalog.latest(scope.map(requested).as_ref()))
        }
    }

    fn name_of(catalog: &Catalog, lookup: Lookup) -> Option<PathBuf> {
        match lookup {
            Lookup::Ready(torrent) => Some(catalog.exact_name(&torrent.file().at)),
            Lookup::Pending(_) => Some("pending".into()),
            Lookup::Unknown => None,
        }
    }

    fn requested(path: &str) -> RequestedPath {
        RequestedPath::new(path.as_bytes()).unwrap()
    }

    fn some(path: &str) -> Option<PathBuf> {
        Some(path.into())
    }

    #[test]
    fn pages_through_all_that_is_offered_in_order() {
        let fixture = Fixture::new(&["north", "south"]);
        for (root, path) in [("south", "b"), ("north", "b/c"), ("south", "a"), ("north", "a")] {
            fixture.offer(root, path, 10);
        }
        fixture.catalog.set_unsettled(&fixture.settled("north", "c", 10).at);
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = fixture.catalog.page(after.as_ref(), 3);
            let Some(last) = page.last() else { break };
            after = Some(last.file().at.clone());
            seen.extend(page.iter().map(|torrent| fixture.catalog.exact_name(&torrent.file().at)));
        }
        let all = ["north/a", "north/b/c", "south/a", "south/b"];
        assert_eq!(seen, all.map(PathBuf::from));
    }

    #[test]
    fn finds_by_the_exact_name_and_else_the_newest_that_fits() {
        let fixture = Fixture::new(&["north", "south"]);
        fixture.offer("north", "a", 20);
        fixture.offer("south", "a", 10);
        fixture.offer("south", "b", 10);
        assert_eq!(fixture.found("a"), some("north/a"));
        assert_eq!(fixture.found("south/a"), some("south/a"));
        assert_eq!(fixture.found("b"), some("south/b"));
        assert_eq!(fixture.found("north/b"), None);
        // A directory's name goes before a path that happens to begin likewise.
        fixture.offer("north", "south/a", 30);
        assert_eq!(fixture.found("south/a"), some("south/a"));
        assert_eq!(fixture.found("north/south/a"), some("north/south/a"));
    }

    #[test]
    fn understands_the_name_of_an_only_directory_but_prefers_paths_below_it() {
        let fixture = Fixture::new(&["files"]);
        fixture.offer("files", "a", 1);
        assert_eq!(fixture.found("a"), some("a"));
        assert_eq!(fixture.found("files/a"), some("a"));
        fixture.offer("files", "files/a", 1);
        assert_eq!(fixture.found("files/a"), some("files/a"));
    }

    #[test]
    fn knows_the_newest_of_all_and_of_each_directory() {
        let fixture = Fixture::new(&["north", "south"]);
        assert_eq!(fixture.latest(None), None);
        fixture.offer("north", "a", 30);
        fixture.offer("north", "sub/b", 20);
        fixture.offer("south", "c", 40);
        assert_eq!(fixture.latest(None), some("south/c"));
        assert_eq!(fixture.latest(Some("north")), some("north/a"));
        assert_eq!(fixture.latest(Some("sub")), some("north/sub/b"));
        assert_eq!(fixture.latest(Some("north/sub")), some("north/sub/b"));
        assert_eq!(fixture.latest(Some("south/sub")), None);
        assert_eq!(fixture.latest(Some("su")), None, "half a name is no name");
    }

    #[test]
    fn counts_a_file_as_the_newest_once_it_has_settled() {
        let fixture = Fixture::new(&["files"]);
        fixture.offer("files", "old", 10);
        let new = fixture.torrent("files", "new", 20);
        fixture.catalog.set_unsettled(&new.file().at);
        assert_eq!(fixture.latest(None), some("old"), "what is being written is not modified last yet");
        fixture.catalog.set_hashing(new.file());
        assert_eq!(fixture.latest(None), some("pending"));
        fixture.catalog.insert(Arc::clone(&new));
        assert_eq!(fixture.latest(None), some("new"));
        fixture.catalog.remove(&new.file().at);
        assert_eq!(fixture.latest(None), some("old"));
    }

    #[test]
    fn waits_for_the_only_file_even_while_it_is_written() {
        let fixture = Fixture::new(&["files"]);
        let file = fixture.settled("files", "sub/a", 1);
        fixture.catalog.set_unsettled(&file.at);
        assert_eq!(fixture.latest(None), some("pending"));
        assert_eq!(fixture.latest(Some("sub")), some("pending"));
        assert_eq!(fixture.latest(Some("other")), None);
    }

    #[test]
    fn wakes_those_who_wait_when_the_state_changes() {
        let fixture = Fixture::new(&["files"]);
        let torrent = fixture.torrent("files", "a", 1);
        let wait = || match fixture.catalog.find(&requested("a")) {
            Lookup::Pending(over) => over,
            other => panic!("{other:?}"),
        };
        fixture.catalog.set_unsettled(&torrent.file().at);
        let unsettled = wait();
        fixture.catalog.set_unsettled(&torrent.file().at);
        assert!(!unsettled.is_cancelled());
        fixture.catalog.set_hashing(torrent.file());
        assert!(unsettled.is_cancelled());
        let hashing = wait();
        fixture.catalog.insert(torrent);
        assert!(hashing.is_cancelled());
    }

    #[test]
    fn does_not_fall_back_to_an_older_file_while_the_newest_is_changed() {
        let fixture = Fixture::new(&["files"]);
        fixture.offer("files", "old", 10);
        let newest = fixture.offer("files", "new", 20);
        assert!(fixture.catalog.set_unsettled(&newest.file().at).is_some());
        assert_eq!(fixture.latest(None), some("pending"));
        assert!(!fixture.catalog.is_served(&newest.info_hash()));
    }

    #[test]
    fn finds_the_newest_of_a_directory_behind_many_newer_ones_elsewhere() {
        let fixture = Fixture::new(&["files"]);
        fixture.offer("files", "sub/a", 10);
        fixture.offer("files", "sub/b", 20);
        let newer = fixture.settled("files", "c", 30);
        for n in 0..=NEWEST_LOOKED_THROUGH {
            let at = FilePath::new(newer.at.root, format!("other/{n}"));
            fixture.catalog.set_hashing(&SettledFile { at, ..newer.clone() });
        }
        assert_eq!(fixture.latest(Some("sub")), some("sub/b"));
    }

    #[test]
    fn offers_an_info_hash_while_any_file_has_it() {
        let fixture = Fixture::new(&["files"]);
        let geometry = Geometry::for_len(1).unwrap();
        let info = Info::new(b"same", geometry, Bytes::from_static(&[0; 20]), true).unwrap();
        let torrents: Vec<_> = ["x/same", "y/same"]
            .map(|path| Arc::new(Torrent::hashed(fixture.settled("files", path, 1), &info)))
            .into();
        let info_hash = torrents[0].info_hash();
        for torrent in &torrents {
            fixture.catalog.insert(Arc::clone(torrent));
        }
        fixture.catalog.remove(&torrents[0].file().at);
        assert!(Arc::ptr_eq(&fixture.catalog.by_info_hash(&info_hash).unwrap(), &torrents[1]));
        fixture.catalog.remove(&torrents[1].file().at);
        assert!(!fixture.catalog.is_served(&info_hash));
        assert!(fixture.dir.path().exists());
    }

    #[test]
    fn serves_a_withdrawn_torrent_on_until_it_is_released() {
        let fixture = Fixture::new(&["files"]);
        let torrent = fixture.offer("files", "a", 1);
        let withdrawn = fixture.catalog.remove(&torrent.file().at).unwrap();
        fixture.catalog.serve_on(&withdrawn);
        assert!(fixture.catalog.is_served(&torrent.info_hash()));
        assert_eq!(fixture.found("a"), None, "but it is handed out no more");
        let again = fixture.offer("files", "a", 1);
        let served = fixture.catalog.by_info_hash(&torrent.info_hash()).unwrap();
        assert!(Arc::ptr_eq(&served, &again), "what is offered goes first");
        fixture.catalog.release(&withdrawn);
        assert!(fixture.catalog.is_served(&torrent.info_hash()));
        fixture.catalog.remove(&torrent.file().at);
        assert!(!fixture.catalog.is_served(&torrent.info_hash()));
    }

    #[test]
    fn tells_the_inodes_of_all_that_is_offered_and_of_nothing_else() {
        let fixture = Fixture::new(&["north", "south"]);
        let all = page::FILES_AT_ONCE + 10;
        let offered = fixture.torrent("north", "a", 1);
        for n in 0..all {
            let file = SettledFile {
                at: FilePath::new(offered.file().at.root, format!("{n}")),
                ..offered.file().clone()
            };
            fixture.catalog.set_hashing(&file);
        }
        assert!(fixture.catalog.offered_inodes().is_empty());
        let torrents = [offered, fixture.torrent("south", "b", 2)];
        torrents.iter().for_each(|torrent| drop(fixture.catalog.insert(Arc::clone(torrent))));
        let inodes = torrents.map(|torrent| torrent.file().binding.id());
        assert_eq!(fixture.catalog.offered_inodes(), inodes);
    }

    #[test]
    fn refuses_paths_that_could_lead_outside() {
        let refused = |bytes: &[u8]| RequestedPath::new(bytes).unwrap_err();
        assert_eq!(refused(b""), PathError::Empty);
        assert_eq!(refused(b"."), PathError::Empty);
        assert_eq!(refused(b"/etc/passwd"), PathError::Absolute);
        assert_eq!(refused(b".."), PathError::Parent);
        assert_eq!(refused(b"a/../b"), PathError::Parent);
        assert_eq!(refused(b"a/.."), PathError::Parent);
        assert_eq!(refused(b"a\0b"), PathError::Nul);
        assert_eq!(refused(&[b'a'; MAX_PATH_LEN + 1]), PathError::TooLong);
        assert!(RequestedPath::new(&[b'a'; MAX_PATH_LEN]).is_ok());
        assert_eq!(requested("./a//b/"), requested("a/b"));
        assert_eq!(requested("a..b/..c").as_path(), Path::new("a..b/..c"));
    }
}
