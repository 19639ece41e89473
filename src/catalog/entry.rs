//! How a file stands: on its way, or ready to be offered.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::Torrent;
use crate::files::Timestamp;

/// A word and a tag, for there is one of each file; what only those on their way have is elsewhere.
#[derive(Debug)]
pub(super) enum Entry {
    Coming(Box<Coming>),
    Ready(Arc<Torrent>),
}

/// A file that is not ready.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) stage: Stage,
    /// When the file was modified, as far as that was ever settled or it was only found.
    mtime: Option<Timestamp>,
    /// Made for the first who waits: at a start there are as many as files, and hardly anybody does.
    pub(super) over: OnceLock<CancellationToken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was come upon, and may hold still.
    Found,
    /// It is there, but isn't known to hold still.
    Unsettled,
    /// It held still, and is being hashed or waits for its turn.
    Hashing,
}

impl Entry {
    pub(super) fn coming(stage: Stage, mtime: Option<Timestamp>) -> Self {
        Self::Coming(Box::new(Coming { stage, mtime, over: OnceLock::new() }))
    }

    /// When the file was modified, as far as that was ever settled or it was only found.
    pub(super) fn mtime(&self) -> Option<Timestamp> {
        match self {
            Self::Coming(coming) => coming.mtime,
            Self::Ready(torrent) => Some(torrent.file().binding.mtime()),
        }
    }
}
