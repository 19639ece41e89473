//! The room as those above it use it, on files that are real so that their bindings are.

use std::fs;
use std::time::Duration;

use super::*;
use crate::files::{Binding, FilePath};
use crate::state::swarms::tests::page;

struct Fixture {
    dir: tempfile::TempDir,
    roots: Arc<Roots>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("served")).unwrap();
        let roots = Arc::new(Roots::open(&[dir.path().join("served")]).unwrap());
        Self { dir, roots }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("served").join(name)
    }

    fn settled(&self, name: &str) -> SettledFile {
        let (root, _) = self.roots.iter().next().unwrap();
        let binding = Binding::of(&fs::metadata(self.path(name)).unwrap());
        SettledFile::new(FilePath::new(root, name), Path::new(name), binding)
    }

    fn open(&self) -> (Arc<State>, Writer) {
        State::open(&self.dir.path().join("state"), &self.roots).unwrap().unwrap()
    }

    /// Remembers a file of one piece, whose digest is told by its name.
    fn remember(&self, state: &State, name: &str) -> (SettledFile, InfoHash) {
        fs::write(self.path(name), name).unwrap();
        let file = self.settled(name);
        let info = info(&file, name, true);
        let encoded = info.encode();
        let info_hash = InfoHash::of_info(&encoded);
        let pieces = Pieces::new(info.pieces().clone());
        assert!(state.remember(&file, &info, info_hash, encoded.len() as u32, &pieces));
        (file, info_hash)
    }
}

fn info(file: &SettledFile, digest_of: &str, private: bool) -> Info {
    let digest = Bytes::copy_from_slice(InfoHash::of_info(digest_of.as_bytes()).as_bytes());
    Info::new(file.name(), Geometry::for_len(file.binding.size()).unwrap(), digest, private).unwrap()
}

fn recall(state: &State, file: &SettledFile, private: bool) -> Option<Recalled> {
    state.recall(std::slice::from_ref(file), private).pop().unwrap()
}

fn digests(state: &State, file: &SettledFile) -> Option<Bytes> {
    state.digests(file.binding.id()).unwrap()
}

#[test]
fn knows_a_file_at_once_and_after_a_restart() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    let (file, info_hash) = fixture.remember(&state, "file");
    assert_eq!(recall(&state, &file, true).map(|known| known.info_hash), Some(info_hash));
    drop((state, writer));
    let (state, _writer) = fixture.open();
    let known = recall(&state, &file, true).unwrap();
    assert_eq!(known.info_hash, info_hash);
    assert!(known.pieces.is_none(), "the disk has them");
    assert!(!known.moved);
    assert_eq!(digests(&state, &file).as_ref(), Some(info(&file, "file", true).pieces()));
}

#[test]
fn makes_another_info_hash_of_the_same_digests_for_another_name_or_flag() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    fixture.remember(&state, "file");
    fs::hard_link(fixture.path("file"), fixture.path("link")).unwrap();
    drop((state, writer));
    let (state, _writer) = fixture.open();
    // Two links to one inode, of which one is new: its ctime is not the recorded one.
    assert!(recall(&state, &fixture.settled("link"), true).is_none());
    let (file, _) = fixture.remember(&state, "other");
    let public = recall(&state, &file, false).unwrap();
    let encoded = info(&file, "other", false).encode();
    assert_eq!(public.info_hash, InfoHash::of_info(&encoded));
    assert_eq!(public.metadata_len as usize, encoded.len());
}

#[test]
fn a_moved_file_is_known_but_not_trusted_however_often_it_is_recalled() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    let (file, info_hash) = fixture.remember(&state, "file");
    drop((state, writer));
    fs::create_dir(fixture.path("sub")).unwrap();
    fs::rename(fixture.path("file"), fixture.path("sub/file")).unwrap();
    for _ in 0..2 {
        let (state, _writer) = fixture.open();
        let (root, _) = fixture.roots.iter().next().unwrap();
        let binding = Binding::of(&fs::metadata(fixture.path("sub/file")).unwrap());
        assert_ne!(binding, file.binding);
        let at = FilePath::new(root, "sub/file");
        let known = recall(&state, &SettledFile::new(at, Path::new("sub/file"), binding), true).unwrap();
        assert_eq!(known.info_hash, info_hash);
        assert!(known.moved, "it may have been written to before");
    }
}

#[test]
fn keeps_digests_in_memory_until_the_disk_has_them() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    let (file, _) = fixture.remember(&state, "file");
    let pieces = recall(&state, &file, true).unwrap().pieces.expect("they wait");
    drop(writer);
    assert!(pieces.digests().is_none());
    assert!(digests(&state, &file).is_some());
}

#[test]
fn does_not_vouch_for_a_file_that_changed_before_it_was_written_down() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    let (file, _) = fixture.remember(&state, "file");
    let pieces = recall(&state, &file, true).unwrap().pieces.expect("they wait");
    fs::write(fixture.path("file"), "longer than before").unwrap();
    drop(writer);
    assert!(digests(&state, &file).is_none());
    assert!(pieces.digests().is_some(), "whoever has the old torrent still has its digests");
}

#[test]
fn forgets_what_turned_out_to_be_wrong_and_nothing_that_came_since() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    let (file, _) = fixture.remember(&state, "file");
    drop((state, writer));
    let (state, _writer) = fixture.open();
    let found = digests(&state, &file).unwrap();
    let other = Binding::new(file.binding.id(), 1, file.binding.mtime(), file.binding.ctime());
    for (binding, found) in
        [(&file.binding, None), (&file.binding, Some(&b"other"[..])), (&other, Some(&found[..]))]
    {
        state.forget(binding, found);
        assert!(recall(&state, &file, true).is_some(), "that is another one");
    }
    state.forget(&file.binding, Some(&found));
    assert!(recall(&state, &file, true).is_none());
    assert!(digests(&state, &file).is_none());
}

#[test]
fn a_database_that_cannot_be_read_has_lost_nothing() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    let (file, info_hash) = fixture.remember(&state, "file");
    drop(writer);
    state.set_unreadable(true);
    assert!(state.digests(file.binding.id()).is_err());
    state.set_unreadable(false);
    assert!(digests(&state, &file).is_some());
    assert_eq!(recall(&state, &file, true).map(|known| known.info_hash), Some(info_hash));
}

#[test]
fn lets_the_digests_of_both_links_to_an_inode_go() {
    let fixture = Fixture::new();
    fs::write(fixture.path("file"), "contents").unwrap();
    fs::hard_link(fixture.path("file"), fixture.path("link")).unwrap();
    let (state, writer) = fixture.open();
    let hashed = ["file", "link"].map(|name| {
        let file = fixture.settled(name);
        let info = info(&file, "contents", true);
        let pieces = Pieces::new(info.pieces().clone());
        let encoded = info.encode();
        assert!(state.remember(&file, &info, InfoHash::of_info(&encoded), encoded.len() as u32, &pieces));
        pieces
    });
    drop(writer);
    for (name, pieces) in ["file", "link"].iter().zip(hashed) {
        assert!(pieces.digests().is_none(), "{name}");
    }
}

#[test]
fn months_of_running_drop_what_is_gone_and_never_what_is_offered() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    let (stays, _) = fixture.remember(&state, "stays");
    let (goes, _) = fixture.remember(&state, "goes");
    drop(writer);
    let day = |days: u64| SystemTime::now() + Duration::from_secs(days * 86_400);
    let clean = |now| {
        let mut cleaning = Cleaning::new(vec![stays.binding.id()], Day::of(now));
        while cleaning.go_on(&state.database).unwrap().is_none() {}
    };
    for days in 1..=30 {
        clean(day(days));
    }
    assert!(digests(&state, &goes).is_some());
    for days in 31..100 {
        clean(day(days));
    }
    assert!(digests(&state, &goes).is_none());
    assert!(digests(&state, &stays).is_some());
}

#[test]
fn the_writer_cleans_when_it_is_told_so() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    let (file, _) = fixture.remember(&state, "file");
    drop((state, writer));
    let (state, writer) = fixture.open();
    state.clean(Vec::new(), SystemTime::now() + Duration::from_secs(86_400 * 40));
    while digests(&state, &file).is_some() {
        std::thread::yield_now();
    }
    drop(writer);
}

#[test]
fn keeps_swarms_across_a_restart_and_drops_what_is_damaged_of_them() {
    let fixture = Fixture::new();
    let (state, writer) = fixture.open();
    let pages = [page(1, 6881), page(2, 6882), page(3, 6883)];
    state.keep_swarms(&pages).unwrap();
    let gone = SwarmPage { peers: Vec::new(), downloads: 0, ..pages[2].clone() };
    state.keep_swarms(&[gone]).unwrap();
    state.database.write_swarms(&[(pages[1].key(), Some(b"damaged".to_vec()))]).unwrap();
    drop((state, writer));
    let (state, _writer) = fixture.open();
    let mut found = Vec::new();
    assert_eq!(state.swarms(|page| found.push(page)).unwrap(), 1);
    let empty = SwarmPage { peers: Vec::new(), downloads: 0, ..pages[1].clone() };
    assert_eq!(found, [pages[0].clone(), empty], "that it is there is known, so that it can be taken away");
}
