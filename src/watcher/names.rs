//! Which names are left out: those that begin with a dot, and those that the operator's patterns match. Of a path it
//! judges only the last name, for nobody comes by the rest of it who was not let in there. Touches no disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobSet, GlobSetBuilder};

use crate::config::IgnoreGlob;

/// What is as if it were not there, with all that lies below.
#[derive(Debug)]
pub(super) struct LeftOut {
    by_name: GlobSet,
    by_path: GlobSet,
}

impl LeftOut {
    pub(super) fn new(patterns: &[IgnoreGlob]) -> Result<Self, globset::Error> {
        let set = |of_path| {
            let mut set = GlobSetBuilder::new();
            for pattern in patterns.iter().filter(|pattern| pattern.is_of_path() == of_path) {
                set.add(pattern.glob().clone());
            }
            set.build()
        };
        Ok(Self { by_name: set(false)?, by_path: set(true)? })
    }

    /// Whether what lies at `path`, relative to a watched directory, is left out, its parent not being so.
    pub(super) fn leaves_out(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| is_hidden(name) || self.by_name.is_match(name))
            || self.by_path.is_match(path)
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().first() == Some(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(patterns: &[&str]) -> LeftOut {
        let patterns: Vec<IgnoreGlob> =
            patterns.iter().map(|text| text.parse().expect("a pattern")).collect();
        LeftOut::new(&patterns).expect("a set")
    }

    #[track_caller]
    fn assert_leaves_out(patterns: &[&str], out: &[&str], others: &[&str]) {
        let set = left_out(patterns);
        for path in out {
            assert!(set.leaves_out(Path::new(path)), "{path} by {patterns:?}");
        }
        for path in others {
            assert!(!set.leaves_out(Path::new(path)), "{path} by {patterns:?}");
        }
    }

    #[test]
    fn matches_a_pattern_without_a_slash_against_the_name_anywhere() {
        assert_leaves_out(
            &["*.iso"],
            &["a.iso", "d/a.iso", ".iso"],
            &["a.iso.gz", "a.iso/b", "iso", "a.ISO"],
        );
        assert_leaves_out(&["cache/"], &["cache", "d/cache"], &["cache2", "d/cache/a"]);
        assert_leaves_out(&["?[0-9]"], &["a1", "d/b2"], &["a", "a11", "ab"]);
    }

    #[test]
    fn matches_a_pattern_with_a_slash_against_the_path() {
        assert_leaves_out(&["d/*.iso"], &["d/a.iso"], &["a.iso", "d/e/a.iso", "e/d/a.iso"]);
        assert_leaves_out(&["/a"], &["a"], &["d/a"]);
        assert_leaves_out(&["**/d/a"], &["d/a", "e/d/a"], &["a", "d/b"]);
        assert_leaves_out(&["d/**"], &["d/a", "d/e/a"], &["d", "e/d"]);
    }

    #[test]
    fn always_leaves_out_names_that_begin_with_a_dot() {
        assert_leaves_out(&[], &[".a", "d/.a"], &["a", "a.b", ".d/a"]);
    }

    #[test]
    fn matches_names_that_are_no_text() {
        let set = left_out(&["*.part"]);
        assert!(set.leaves_out(Path::new(OsStr::from_bytes(b"d/\xff\xfe.part"))));
        assert!(!set.leaves_out(Path::new(OsStr::from_bytes(b"d/\xff.part\xff"))));
    }
}
