//! Where the database lies: a directory of its own, never in one that is served. Makes it; opens nothing in it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

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
    let Ok(absolute) = std::path::absolute(directory) else { return Ok(()) };
    let touched = what_making_touches(&absolute);
    match roots.iter().find(|(_, root)| touched.iter().any(|path| path.starts_with(root.path()))) {
        None => Ok(()),
        Some((_, root)) => {
            Err(StateError { directory: directory.to_owned(), served: root.path().to_owned() })
        }
    }
}

/// The directories that [making](make) an absolute path would make, and last the one that it leads to; all free of
/// links and of `..`. A component at a time, as making it goes: what isn't there yet becomes a directory, and no link,
/// so that a `..` behind it leads back to where it lies.
fn what_making_touches(absolute: &Path) -> Vec<PathBuf> {
    let mut touched = Vec::new();
    let mut real = PathBuf::new();
    for component in absolute.components() {
        if component == Component::ParentDir {
            real.pop();
            continue;
        }
        real.push(component);
        match real.canonicalize() {
            Ok(resolved) => real = resolved,
            Err(_) => touched.push(real.clone()),
        }
    }
    touched.push(real);
    touched
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
        for name in ["served/sub", "beside"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        symlink(path("served"), path("link")).unwrap();
        symlink(path("served/sub"), path("sub")).unwrap();
        let roots = Roots::open(&[path("served")]).unwrap();
        for inside in [
            "served",
            "served/state",
            "served/not/yet/there",
            "link",
            "link/state",
            "beside/../served",
            "missing/../served/state",
            "missing/and/more/../../../served",
            "missing/../link/state",
            "sub/..",
            "sub/../state",
            "served/missing/../../beside",
        ] {
            assert!(refuse_served(&path(inside), &roots).is_err(), "{inside}");
        }
        for outside in
            ["beside", "beside/state", ".", "served-too", "none/at/all", "served/../beside", "link/../state"]
        {
            assert!(refuse_served(&path(outside), &roots).is_ok(), "{outside}");
        }
        assert!(!path("served/not").exists(), "nothing is made in a served directory");
    }

    #[test]
    fn tells_where_a_directory_will_be_that_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("there/sub")).unwrap();
        symlink(path("there/sub"), path("link")).unwrap();
        for name in ["missing/../there/a", "link/../b", "link/c/../../d", "e/f/.././../link/g"] {
            let told = what_making_touches(&path(name));
            make(&path(name)).unwrap();
            assert_eq!(told.last(), path(name).canonicalize().ok().as_ref(), "{name}");
        }
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
