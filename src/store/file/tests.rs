//! The store with real files, to which happens what happens to files.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use sha1::{Digest, Sha1};

use super::*;
use crate::files::{FilePath, Roots, SettledFile};
use crate::store::{MAX_SEGMENTS, Store, send};

struct Fixture {
    dir: tempfile::TempDir,
    roots: Arc<Roots>,
    store: Store,
}

fn fixture(contents: &[u8]) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), contents).unwrap();
    let roots = Arc::new(Roots::open(&[dir.path().to_owned()]).unwrap());
    Fixture { dir, store: Store::new(Arc::clone(&roots)), roots }
}

impl Fixture {
    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("file")
    }

    fn settled(&self) -> SettledFile {
        let binding = Binding::of(&std::fs::metadata(self.path()).unwrap());
        let (root, _) = self.roots.iter().next().unwrap();
        SettledFile::new(FilePath::new(root, "file"), Path::new("file"), binding)
    }
}

#[test]
fn sends_bytes_and_mapped_ranges_in_one_call() {
    let fixture = fixture(b"0123456789");
    let open = fixture.store.open(&fixture.settled(), false).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let segments = [
        Segment::Bytes(b"head "),
        Segment::Mapped { file: &open, range: 2..5 },
        Segment::Bytes(b" tail "),
        Segment::Mapped { file: &open, range: 9..10 },
    ];
    assert_eq!(send(ours.as_fd(), segments).unwrap(), 15);
    drop(ours);
    let mut got = Vec::new();
    theirs.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"head 234 tail 9");
}

#[test]
fn survives_a_file_that_is_truncated_under_its_map() {
    let fixture = fixture(&vec![7; 256 * 1024]);
    let open = fixture.store.open(&fixture.settled(), false).unwrap();
    open.prepare(&(0..256 * 1024), Geometry::for_len(256 * 1024).unwrap(), nothing).unwrap();
    File::options().write(true).open(fixture.path()).unwrap().set_len(10).unwrap();

    let (ours, _theirs) = UnixStream::pair().unwrap();
    let gone = [Segment::Mapped { file: &open, range: 128 * 1024..144 * 1024 }];
    assert!(matches!(send(ours.as_fd(), gone), Err(StoreError::Changed)));
    assert!(matches!(open.verify(), Err(StoreError::Changed)));
    assert!(matches!(
        open.prepare(&(0..256 * 1024), Geometry::for_len(256 * 1024).unwrap(), nothing),
        Err(StoreError::Changed)
    ));
}

#[test]
fn refuses_ranges_outside_the_file() {
    let fixture = fixture(b"0123456789");
    let open = fixture.store.open(&fixture.settled(), false).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    for range in [5..11, 11..12, u64::MAX - 1..u64::MAX] {
        let outside = [Segment::Mapped { file: &open, range: range.clone() }];
        assert!(matches!(send(ours.as_fd(), outside), Err(StoreError::Changed)), "{range:?}");
    }
}

#[test]
fn leaves_segments_past_the_maximum_for_the_next_call() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let segments = vec![Segment::Bytes(b"x"); MAX_SEGMENTS + 1];
    assert_eq!(send(ours.as_fd(), segments).unwrap(), MAX_SEGMENTS);
}

#[test]
fn shares_one_map_and_drops_it_with_its_last_user() {
    let fixture = fixture(b"0123456789");
    let settled = fixture.settled();
    let first = fixture.store.open(&settled, false).unwrap();
    let second = fixture.store.open(&settled, false).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    drop(first);
    assert!(fixture.store.find_open(&settled.binding).is_some());
    drop(second);
    assert!(fixture.store.find_open(&settled.binding).is_none());
}

#[test]
fn goes_on_serving_an_inode_that_was_replaced_by_rename() {
    let fixture = fixture(b"0123456789");
    let open = fixture.store.open(&fixture.settled(), false).unwrap();
    let other = fixture.dir.path().join("other");
    std::fs::write(&other, b"new").unwrap();
    std::fs::rename(&other, fixture.path()).unwrap();
    assert_eq!(open.verify().unwrap(), Sameness::Unlinked);
}

#[test]
fn does_not_vouch_for_a_file_whose_mtime_may_have_been_set_back() {
    let fixture = fixture(b"0123456789");
    let open = fixture.store.open(&fixture.settled(), false).unwrap();
    let mtime = std::fs::metadata(fixture.path()).unwrap().modified().unwrap();
    std::fs::write(fixture.path(), b"9876543210").unwrap();
    File::options().write(true).open(fixture.path()).unwrap().set_modified(mtime).unwrap();
    assert_eq!(open.verify().unwrap(), Sameness::Touched);
}

#[test]
fn notices_a_file_that_is_written_to_in_place() {
    let fixture = fixture(b"0123456789");
    let settled = fixture.settled();
    let open = fixture.store.open(&settled, false).unwrap();
    File::options().append(true).open(fixture.path()).unwrap().write_all(b"x").unwrap();
    assert!(matches!(open.verify(), Err(StoreError::Changed)));
    drop(open);
    assert!(matches!(fixture.store.open(&settled, false), Err(StoreError::Changed)));
}

#[test]
fn is_ready_only_within_the_second_in_which_the_inode_was_looked_at() {
    let fixture = fixture(b"0123456789");
    let open = fixture.store.open(&fixture.settled(), false).unwrap();
    let now = open.record.now();
    assert!(!open.record.is_fresh(now));
    open.record.mark_fresh(now);
    assert!(open.record.is_fresh(now));
    assert!(!open.record.is_fresh(now + 1));
}

const LEN: usize = 100_000;

fn geometry() -> Geometry {
    Geometry::for_len(LEN as u64).unwrap()
}

/// Of a file that is not to be compared with any.
fn nothing() -> Result<Bytes, StoreError> {
    Err(StoreError::Unproven)
}

fn digests_of(contents: &[u8]) -> Bytes {
    let pieces = contents.chunks(geometry().piece_len() as usize);
    pieces.flat_map(|piece| Sha1::digest(piece).to_vec()).collect::<Vec<_>>().into()
}

#[test]
fn sends_nothing_of_a_moved_file_before_it_is_what_it_was() {
    let contents = vec![7; LEN];
    let fixture = fixture(&contents);
    let settled = fixture.settled();
    let end = 99_000..99_100;
    // That others were sent it as what it is proves nothing.
    let hashed = fixture.store.open(&settled, false).unwrap();
    hashed.prepare(&(0..100), geometry(), nothing).unwrap();
    let mut before = contents.clone();
    before[99_999] = 8;
    let moved = fixture.store.open(&settled, true).unwrap();
    let unproven = moved.prepare(&end, geometry(), nothing);
    assert!(matches!(unproven, Err(StoreError::Unproven)));
    assert!(moved.ready().is_none_or(|ready| !ready.covers(&end)));
    let other = moved.prepare(&end, geometry(), || Ok(digests_of(&before)));
    assert!(matches!(other, Err(StoreError::Changed)));
    assert!(moved.ready().is_none_or(|ready| !ready.covers(&end)));
    assert!(moved.verify().is_err(), "and nobody goes on with it");
    hashed.prepare(&end, geometry(), nothing).unwrap();
    drop(moved);
    let moved = fixture.store.open(&settled, true).unwrap();
    moved.prepare(&end, geometry(), || Ok(digests_of(&contents))).unwrap();
}

#[test]
fn goes_on_with_a_touched_file_only_as_far_as_it_is_what_it_was() {
    let contents: Vec<u8> = (0..LEN).map(|n| (n % 251) as u8).collect();
    let fixture = fixture(&contents);
    let open = fixture.store.open(&fixture.settled(), false).unwrap();
    let all = 0..LEN as u64;
    let prepare = || open.prepare(&all, geometry(), || Ok(digests_of(&contents)));
    let covers = || {
        open.record.mark_fresh(open.record.now());
        open.ready().is_some_and(|ready| ready.covers(&all))
    };
    open.prepare(&all, geometry(), nothing).unwrap();
    assert!(covers());
    let (here, there) = (fixture.path(), fixture.dir.path().join("there"));
    std::fs::rename(&here, &there).unwrap();
    assert!(open.prepare(&all, geometry(), nothing).is_err(), "its digests are asked for");
    assert_eq!(open.verify().unwrap(), Sameness::Touched);
    assert!(open.ready().is_none(), "nobody goes on as if nothing had happened");
    assert_eq!(prepare().unwrap(), Sameness::Touched);
    assert!(covers(), "it was renamed and nothing else");

    let mtime = std::fs::metadata(&there).unwrap().modified().unwrap();
    let file = File::options().write(true).open(&there).unwrap();
    file.write_all_at(b"other", 99_000).unwrap();
    file.set_modified(mtime).unwrap();
    std::fs::remove_file(&there).unwrap();
    assert!(matches!(prepare(), Err(StoreError::Changed)));
    assert!(!covers(), "what was proven before counts no more");
    assert!(open.verify().is_err());
}
