//! Paths as requests name them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
        let requested = |path: &str| RequestedPath::new(path.as_bytes()).unwrap();
        assert_eq!(requested("./a//b/"), requested("a/b"));
        assert_eq!(requested("a..b/..c").as_path(), Path::new("a..b/..c"));
    }
}
