//! Whether a file is one that is remembered. A pure function of what is there and what the record says, but for one
//! look at the disk where a file seems to have been moved.

use std::path::Path;

use super::record::Record;
use crate::files::{InodeId, SettledFile, Timestamp};

/// What a record says of a file with the same inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds what it held.
    Known,
    /// It holds what it held, if it was moved and nothing else. Whether it was moved at all [`was_moved`] says; that
    /// there was nothing else, its bytes.
    Moved,
    /// It may hold anything.
    Unknown,
}

/// Of a file whose inode lies at `path`.
///
/// While size, mtime and ctime are what they were, so are the bytes, whatever path leads there: another hard link, a
/// directory above that was renamed, another watched directory. Where only ctime differs, it is the path that tells: a
/// rename moves ctime, and leaves the inode at another path. At the same path it was a chmod or the like, or a write
/// whose mtime was set back (`cp -p`, `rsync --inplace`), which look the same; it is hashed anew. So is one that was
/// moved away and back.
pub(super) fn judge(record: &Record, file: &SettledFile, path: &Path, piece_len: u32) -> Verdict {
    if !record.binding.same_contents(&file.binding) || record.piece_len != piece_len {
        Verdict::Unknown
    } else if record.binding == file.binding {
        Verdict::Known
    } else if record.path != path {
        Verdict::Moved
    } else {
        Verdict::Unknown
    }
}

/// Whether the inode at `path` is the one of the record, gone from where it was. One that still is there was not moved:
/// `path` is another link to it, and something else moved its ctime. And one that was born at another time is another
/// one, that got the number of the first when that was deleted; its size and mtime can well be the same where tools
/// set all mtimes to one date. Waits for the disk.
pub(super) fn was_moved(record: &Record, path: &Path) -> bool {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return false };
    let is_it = InodeId::of(&metadata) == record.binding.id();
    let is_as_old = record.birth.is_some() && Timestamp::of_birth(&metadata) == record.birth;
    let is_still_there =
        std::fs::symlink_metadata(&record.path).is_ok_and(|there| InodeId::of(&there) == record.binding.id());
    is_it && is_as_old && !is_still_there
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::files::{Binding, FilePath, Roots};

    fn record(binding: Binding, path: &Path, birth: Option<Timestamp>) -> Record {
        Record { path: path.to_owned(), birth, ..Record::for_test(binding) }
    }

    #[test]
    fn a_path_is_asked_for_only_where_nothing_but_ctime_differs() {
        let roots = Roots::open(&[std::env::temp_dir()]).unwrap();
        let (root, _) = roots.iter().next().unwrap();
        let (here, there) = (Path::new("/srv/here"), Path::new("/srv/there"));
        let record = record(Binding::for_test(7, 100, 10, 20), here, None);
        let verdict = |binding, path, piece_len| {
            let file = SettledFile::new(FilePath::new(root, "file"), Path::new("file"), binding);
            judge(&record, &file, path, piece_len)
        };
        for (binding, at_home, elsewhere) in [
            (Binding::for_test(7, 100, 10, 20), Verdict::Known, Verdict::Known),
            (Binding::for_test(7, 100, 10, 21), Verdict::Unknown, Verdict::Moved),
            (Binding::for_test(7, 100, 11, 20), Verdict::Unknown, Verdict::Unknown),
            (Binding::for_test(7, 101, 10, 20), Verdict::Unknown, Verdict::Unknown),
            (Binding::for_test(8, 100, 10, 20), Verdict::Unknown, Verdict::Unknown),
        ] {
            assert_eq!(verdict(binding, here, 65_536), at_home);
            assert_eq!(verdict(binding, there, 65_536), elsewhere);
            assert_eq!(verdict(binding, here, 131_072), Verdict::Unknown, "it would be cut otherwise");
        }
    }

    #[test]
    fn only_an_inode_that_left_its_place_and_is_as_old_was_moved() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, b"contents").unwrap();
        let metadata = old.metadata().unwrap();
        let birth = Timestamp::of_birth(&metadata);
        let record = |birth| record(Binding::of(&metadata), &old, birth);
        fs::hard_link(&old, &new).unwrap();
        assert!(!was_moved(&record(birth), &new), "it still is where it was");
        fs::remove_file(&old).unwrap();
        // Where the file system tells no births, nothing tells a moved file from another one.
        assert_eq!(was_moved(&record(birth), &new), birth.is_some());
        assert!(!was_moved(&record(None), &new));
        assert!(!was_moved(&record(Some(Timestamp::from_parts(1, 0))), &new), "it was another one");
        assert!(!was_moved(&record(birth), &old), "nothing is there");
    }
}
