//! What a request means: by the name of a file, or as the newest of a directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Catalog, Entry, Inner, RequestedPath, Torrent};
use crate::files::{FilePath, RootId};

/// How many of the newest files are looked through for one of a directory, before the directory itself is.
pub(super) const NEWEST_LOOKED_THROUGH: usize = 1000;

/// What is known of a name.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    Ready(Arc<Torrent>),
    /// Worth waiting for: look again once this is cancelled.
    Pending(CancellationToken),
    Unknown,
}

impl Inner {
    pub(super) fn lookup(&self, at: &FilePath) -> Lookup {
        match self.files.get(at) {
            None => Lookup::Unknown,
            Some(Entry::Ready(torrent)) => Lookup::Ready(Arc::clone(torrent)),
            Some(Entry::Coming(coming)) => {
                Lookup::Pending(coming.over.get_or_init(CancellationToken::new).clone())
            }
        }
    }
}

impl Catalog {
    /// The places that a requested path can mean.
    pub(crate) fn places(&self, requested: &RequestedPath) -> impl Iterator<Item = FilePath> {
        let (first, others) = self.ranked_places(requested);
        first.into_iter().chain(others)
    }

    /// The place that goes before all others, and those others. With several directories `DIRNAME/path` names one
    /// place exactly; with one, its name in front of a path is understood but not needed.
    pub(crate) fn ranked_places(&self, requested: &RequestedPath) -> (Option<FilePath>, Vec<FilePath>) {
        let mut components = requested.as_path().components();
        let dirname = components.next().map(|first| first.as_os_str());
        let below = components.as_path();
        let named = dirname
            .filter(|_| !below.as_os_str().is_empty())
            .and_then(|dirname| self.root_named(dirname))
            .map(|root| FilePath::new(root, below));
        let mut bare = self.roots.iter().map(|(root, _)| FilePath::new(root, requested.as_path()));
        match self.roots.len() {
            1 => (bare.next(), named.into_iter().collect()),
            _ => (named, bare.collect()),
        }
    }

    fn root_named(&self, name: &OsStr) -> Option<RootId> {
        self.roots.iter().find_map(|(id, root)| (root.name() == name).then_some(id))
    }

    /// The file that a request means, as far as is known: at the place that goes before all others, else the newest
    /// of those that the path fits.
    pub(crate) fn find(&self, requested: &RequestedPath) -> Lookup {
        let (first, others) = self.ranked_places(requested);
        let inner = self.read();
        let known = |place: &&FilePath| inner.files.contains_key(*place);
        if let Some(place) = first.iter().find(known) {
            return inner.lookup(place);
        }
        // A file without a settled mtime is being written now: there is none newer.
        let newest = others.iter().filter(known).max_by_key(|place| {
            let mtime = inner.files.get(*place).and_then(Entry::mtime);
            (mtime.is_none(), mtime)
        });
        newest.map_or(Lookup::Unknown, |place| inner.lookup(place))
    }

    /// The file modified last among those in `scope` (everything, if there is none). A new one that is still being
    /// written doesn't count; one that was only found does, as one that is being hashed does and one that was ready and
    /// is being changed.
    /// They are worth waiting for, as is anything when there is nothing else.
    pub(crate) fn latest(&self, scope: Option<&RequestedPath>) -> Lookup {
        let scopes = match scope {
            Some(requested) => self.scopes(requested),
            None => self.roots.iter().map(|(root, _)| FilePath::new(root, "")).collect(),
        };
        let inner = self.read();
        let in_scope = |at: &FilePath| {
            scopes.iter().any(|scope| scope.root == at.root && at.path.starts_with(&scope.path))
        };
        let below =
            || scopes.iter().flat_map(|scope| inner.files.range(scope..).take_while(|(at, _)| in_scope(at)));
        // Found in no time, and then there is no need to look through other files for it.
        let Some((any, _)) = below().next() else { return Lookup::Unknown };
        let newest =
            inner.by_mtime.iter().rev().take(NEWEST_LOOKED_THROUGH).map(|(_, at)| at).find(|at| in_scope(at));
        let newest = newest
            .or_else(|| below().filter_map(|(at, entry)| Some((entry.mtime()?, at))).max().map(|(_, at)| at));
        inner.lookup(newest.unwrap_or(any))
    }

    /// The directories that a request means: a watched one by its name, or one below any of them.
    fn scopes(&self, requested: &RequestedPath) -> Vec<FilePath> {
        let whole = self.root_named(requested.as_path().as_os_str()).map(|root| FilePath::new(root, ""));
        self.places(requested).chain(whole).collect()
    }

    /// The name by which a request gets exactly this file: `DIRNAME/path`, or the path alone if only one directory is
    /// watched.
    pub(crate) fn exact_name(&self, at: &FilePath) -> PathBuf {
        match self.roots.len() {
            1 => at.path.to_path_buf(),
            _ => Path::new(self.roots.get(at.root).name()).join(&at.path),
        }
    }
}
