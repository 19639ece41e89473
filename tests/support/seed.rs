//! A server of one file, asked on the peer wire.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::files::{Contents, KIB};
use super::server::{Server, Setup};
use super::wire::Peer;

/// A server of one file, and that file.
pub(crate) struct Seed {
    pub(crate) server: Server,
    pub(crate) contents: Contents,
    pub(crate) info_hash: [u8; 20],
    directory: TempDir,
}

impl Seed {
    pub(crate) fn of(len: usize) -> Self {
        Self::with(len, |setup| setup)
    }

    pub(crate) fn with<'a>(len: usize, options: impl FnOnce(Setup<'a>) -> Setup<'a>) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let contents = Contents::new(len as u64, len);
        contents.write(directory.path().join("file"));
        let server = options(Server::serving(directory.path())).start();
        let info_hash = server.torrent("file").info_hash;
        Self { server, contents, info_hash, directory }
    }

    /// Where the file lies.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("file")
    }

    /// Has another file appear, whole.
    pub(crate) fn rename_in(&self, contents: &Contents, name: &str) {
        let [hidden, shown] = [".next", name].map(|name| self.directory.path().join(name));
        contents.write(&hidden);
        fs::rename(hidden, shown).expect("a file can be renamed");
    }

    /// What it watches.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn join(&self) -> Peer {
        Peer::join(self.server.peers(), self.info_hash).0
    }

    pub(crate) fn join_unchoked(&self) -> Peer {
        Peer::join_unchoked(self.server.peers(), self.info_hash)
    }

    /// Panics unless a block of the file's first piece can still be had.
    pub(crate) fn assert_serves(&self) {
        let len = self.contents.len().min(16 * KIB);
        let block = self.join_unchoked().fetch(0, 0, u32::try_from(len).expect("a block's length fits"));
        assert!(block == self.contents.bytes()[..len]);
    }
}
