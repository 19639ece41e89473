//! Where the database lies: a directory of its own, never in one that is served. Makes it; opens nothing in it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::files::Roots;

/// What others may do with it: nothing. The database names every file, unreadable directories included.
const MODE: u32 = 0o700;

/// The directory that is named can't be used, and going on without would not be what was asked for.
#[derive(Debug, thiserror::Error)]
#[error(
    "the state directory {} lies in {}, which is served and never written to; name another one with --state DIR, or \
     remember nothing with --no-state", directory.display(), served.display()
)]
pub struct StateError {
    directory: PathBuf,
    served: PathBuf,
}

/// Refuses a directory that is served or lies below one that is, be it there yet or not.
pub(super) fn refuse_served(directory: &Path, roots: &Roots) -> Result<(), StateError> {
    // What a relative path or one through links leads to; what isn't there yet can't be a link.
    let Ok(absolute) = std::path::absolute(directory) else { return Ok(()) };
    let existing = absolute.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let real = existing.map_or_else(
        || absolute.clone(),
        |(above, real)| absolute.strip_prefix(above).map_or(real.clone(), |rest| real.join(rest)),
    );
    match roots.iter().find(|(_, root)| real.starts_with(root.path())) {
        None => Ok(()),
        Some((_, root)) => {
            Err(StateError { directory: directory.to_owned(), served: root.path().to_owned() })
        }
    }
}

/// Makes it, and what is missing above it, for this user alone. One that is there is left as it is.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn refuses_what_is_served_however_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["served", "beside"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        symlink(path("served"), path("link")).unwrap();
        let roots = Roots::open(&[path("served")]).unwrap();
        for inside in
            ["served", "served/state", "served/not/yet/there", "link", "link/state", "beside/../served"]
        {
            assert!(refuse_served(&path(inside), &roots).is_err(), "{inside}");
        }
        for outside in ["beside", "beside/state", ".", "served-too", "none/at/all"] {
            assert!(refuse_served(&path(outside), &roots).is_ok(), "{outside}");
        }
        assert!(!path("served/not").exists(), "nothing is made in a served directory");
    }

    #[test]
    fn makes_a_directory_for_this_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        make(&state).unwrap();
        make(&state).unwrap();
        assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
}
