//! What is found by which name, as files come, change and go.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use distributor_proto::{Geometry, Info};

use super::find::NEWEST_LOOKED_THROUGH;
use super::*;
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
fn counts_a_file_that_was_only_found_until_somebody_writes_to_it() {
    let fixture = Fixture::new(&["files"]);
    fixture.offer("files", "old", 10);
    let new = fixture.torrent("files", "new", 20);
    fixture.catalog.set_found(&new.file().at, new.file().binding.mtime());
    assert_eq!(fixture.latest(None), some("pending"), "it may have been there all along");
    let Lookup::Pending(over) = fixture.catalog.latest(None) else { panic!("it is not ready") };
    fixture.catalog.set_unsettled(&new.file().at);
    assert!(over.is_cancelled());
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
    // First the one, then the other: at no moment is it refused.
    fixture.catalog.serve_on(&torrent);
    assert!(fixture.catalog.is_served(&torrent.info_hash()));
    assert_eq!(fixture.found("a"), Some("a".into()));
    let withdrawn = fixture.catalog.remove(&torrent.file().at).unwrap();
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
