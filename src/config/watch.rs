//! How directories are watched, what is left out, and when a file counts as finished, as settings. Matches nothing and
//! watches nothing.

use std::str::FromStr;
use std::time::Duration;

use globset::{Glob, GlobBuilder};

use super::named::read_and_written_by_name;

/// Settings of watching.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WatchConfig {
    /// How changes are noticed.
    pub mode: WatchMode,
    /// How long what no event told of may go unnoticed: everything is looked at again so often, 300 s by default, or
    /// never if zero.
    pub rescan: Duration,
    /// How long a file must be unchanged to count as finished, whether its writer has closed it or not. By default,
    /// zero, to be closed is enough.
    pub settle: Duration,
    /// What is left out; [`IgnoreGlob::defaults`] by default.
    pub ignore: Vec<IgnoreGlob>,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            mode: WatchMode::default(),
            rescan: Duration::from_secs(300),
            settle: Duration::ZERO,
            ignore: IgnoreGlob::defaults(),
        }
    }
}

/// How changes in the directories are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchMode {
    /// By inotify, and where that does not tell of all (NFS, FUSE and their like) by reading the directories every
    /// few seconds as well.
    #[default]
    Auto,
    /// By inotify alone, wherever that can be had.
    Inotify,
    /// By reading all directories every few seconds alone.
    Poll,
}

impl WatchMode {
    const ALL: [Self; 3] = [Self::Auto, Self::Inotify, Self::Poll];

    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Inotify => "inotify",
            Self::Poll => "poll",
        }
    }
}

/// What was given is no way to watch.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no way to watch; write auto, inotify or poll")]
pub struct WatchModeError(String);

read_and_written_by_name!(WatchMode, WatchModeError);

/// Names or paths that are left out, files and directories alike. Without a slash it is matched against each name;
/// with one against the path below the served directory, where `*` stays within a name and `**` does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreGlob {
    glob: Glob,
    of_path: bool,
}

impl IgnoreGlob {
    /// What programs call a file that they have yet to finish, and what editors call one that they keep.
    const DEFAULTS: [&str; 5] = ["*.part", "*.tmp", "*.aria2", "*.crdownload", "*~"];

    /// Partial downloads and editors' backups: `*.part`, `*.tmp`, `*.aria2`, `*.crdownload`, `*~`.
    pub fn defaults() -> Vec<Self> {
        Self::DEFAULTS.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(crate) fn glob(&self) -> &Glob {
        &self.glob
    }

    /// Whether it is of paths rather than names.
    pub(crate) fn is_of_path(&self) -> bool {
        self.of_path
    }
}

/// Why a pattern can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreGlobError {
    /// It names nothing.
    #[error("the pattern is empty; write something like *.iso or sub/dir")]
    Empty,
    /// It is no glob.
    #[error("{0:?} is not a pattern: {1}; write something like *.iso or sub/dir")]
    Invalid(String, String),
}

impl FromStr for IgnoreGlob {
    type Err = IgnoreGlobError;

    fn from_str(text: &str) -> Result<Self, IgnoreGlobError> {
        // `/a` is a path, though one of a single name; `a/` is what completion makes of a directory's name.
        let of_path = text.trim_end_matches('/').contains('/');
        let pattern = text.trim_matches('/');
        if pattern.is_empty() {
            return Err(IgnoreGlobError::Empty);
        }
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|error| IgnoreGlobError::Invalid(text.to_owned(), error.kind().to_string()))?;
        Ok(Self { glob, of_path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_of_ways_to_watch() {
        for mode in WatchMode::ALL {
            assert_eq!(mode.to_string().parse::<WatchMode>().unwrap(), mode);
        }
        assert!("Poll".parse::<WatchMode>().is_err());
    }

    #[test]
    fn tells_patterns_of_names_from_patterns_of_paths() {
        for (text, of_path) in
            [("*.iso", false), ("sub/", false), ("/sub", true), ("a/*.iso", true), ("**/a", true)]
        {
            assert_eq!(text.parse::<IgnoreGlob>().unwrap().is_of_path(), of_path, "{text}");
        }
        for wrong in ["", "/", "//", "[", "a[", "{a", "a}", "[z-a]", "\\"] {
            let error = wrong.parse::<IgnoreGlob>().unwrap_err().to_string();
            assert!(!error.contains('\n') && error.contains("write something like"), "{wrong}: {error}");
        }
        assert_eq!(IgnoreGlob::defaults().len(), IgnoreGlob::DEFAULTS.len(), "each is a pattern");
    }
}
