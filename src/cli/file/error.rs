//! What can be wrong with a configuration file, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::MAX_FILE_LEN;
use crate::topology::{NetworkError, PlaceNameError, TopologyError};

/// A configuration file can't be used.
#[derive(Debug, thiserror::Error)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// The line, where it is a line's fault.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: FileProblem,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// It isn't there, or can't be read.
    #[error("it can't be read ({0}); name another with --config")]
    Unreadable(io::Error),
    /// It can only be meant for something else.
    #[error("it has more than {MAX_FILE_LEN} bytes; name another with --config")]
    TooLong,
    /// It isn't TOML.
    #[error("this is no TOML: {0}")]
    Syntax(String),
    /// There is no such setting.
    #[error(
        "there is no setting {0:?}; each has the name of its flag, which 'distributor serve --help' tells"
    )]
    UnknownKey(String),
    /// A setting has a value of another kind.
    #[error("{key} takes {expected}")]
    Kind {
        /// The setting.
        key: String,
        /// Which kind it should be.
        expected: &'static str,
    },
    /// A setting can't have this value.
    #[error("{key} can't be {value:?}: {why}")]
    Value {
        /// The setting.
        key: String,
        /// As it was written.
        value: String,
        /// What its flag says of it.
        why: String,
    },
    /// A setting is at odds with one that was there before.
    #[error("{0} and {1} exclude each other; leave one of them out")]
    Conflict(String, String),
    /// There is no directory to serve, and none was typed.
    #[error("there is nothing to serve; name directories = [\"DIR\"] there, or DIR on the command line")]
    NoDirectory,
    /// Something else than tables of places.
    #[error(
        "places are written [[place]], each with at = \"dc1/row3/rack7\" and networks = [\"10.1.7.0/24\"]"
    )]
    NoPlace,
    /// A place has a key that it can't have.
    #[error("a place has no {0:?}; it has at and networks")]
    UnknownPlaceKey(String),
    /// A place's name can't be one.
    #[error(transparent)]
    Name(#[from] PlaceNameError),
    /// A network of a place isn't one.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A network can't be in the table.
    #[error(transparent)]
    Table(#[from] TopologyError),
}

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(super) struct Misplaced {
    pub(super) at: usize,
    pub(super) problem: FileProblem,
}
