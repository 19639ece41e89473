//! One file that somebody names to its .torrent, by the same threads and lanes, and hence with the same info hash as
//! when it is served. Owns finding the file; where the torrent goes is the caller's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use distributor_proto::{InfoHash, encode_torrent};
use tokio::sync::mpsc;

use super::{HashError, Hashed, Hasher, HashingError, HashingProgress, Ticket};
use crate::config::{AnnounceUrl, HashingConfig};
use crate::files::{Binding, FilePath, RootError, Roots, SettledFile};

/// A torrent in the making.
///
/// ```
/// use distributor::{HashingConfig, MakingTorrent};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("file.iso");
/// # std::fs::write(&path, b"contents")?;
/// let making = MakingTorrent::start(&path, true, &HashingConfig::default())?;
/// println!("{} bytes to go", making.progress().status().bytes_left);
/// let torrent = making.finish(Some(&"http://origin:6969/announce".parse()?))?;
/// # assert!(torrent.bytes.starts_with(b"d8:announce"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MakingTorrent {
    path: PathBuf,
    hasher: Hasher,
    results: mpsc::Receiver<Hashed>,
    ticket: Ticket,
}

/// A torrent that is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MadeTorrent {
    /// The metainfo file (BEP 3).
    pub bytes: Vec<u8>,
    /// What the torrent is known by.
    pub info_hash: InfoHash,
}

/// Why a file has no torrent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeTorrentError {
    /// It isn't there, or it or its directory can't be opened.
    #[error("can't open {}: {source}; name a file that exists and can be read", path.display())]
    Open {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory or a device.
    #[error("{} is not a regular file; name a file", path.display())]
    NotAFile {
        /// As it was named.
        path: PathBuf,
    },
    /// The directory that it lies in can't be opened.
    #[error(transparent)]
    Directory(#[from] RootError),
    /// Nothing can be hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// It can't be read, has no bytes, or changed meanwhile.
    #[error("can't make a torrent of {}: {reason}", path.display())]
    File {
        /// As it was named.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl MakingTorrent {
    /// Begins to hash the file on threads of its own. The torrent has the last component of `path` for its name, and is
    /// `private` (BEP 27) or not.
    ///
    /// # Errors
    ///
    /// When the file can't be opened or is no regular file, or no thread can be started.
    pub fn start(path: &Path, private: bool, config: &HashingConfig) -> Result<Self, MakeTorrentError> {
        let open = |source| MakeTorrentError::Open { path: path.to_owned(), source };
        let real = path.canonicalize().map_err(open)?;
        let metadata = real.metadata().map_err(open)?;
        let (true, Some(directory), Some(target)) = (metadata.is_file(), real.parent(), real.file_name())
        else {
            return Err(MakeTorrentError::NotAFile { path: path.to_owned() });
        };
        let roots = Roots::open(&[directory.to_owned()])?;
        let (root, _) = roots.iter().next().ok_or(RootError::None)?;
        let file = SettledFile {
            // A file that is named through a link keeps the link's name.
            at: FilePath::new(root, path.file_name().unwrap_or(target)),
            target: Path::new(target).into(),
            binding: Binding::of(&metadata),
        };
        let (hasher, results) = Hasher::start(config, Arc::new(roots))?;
        let ticket = hasher.submit(file, private);
        Ok(Self { path: path.to_owned(), hasher, results, ticket })
    }

    /// How far it is.
    pub fn progress(&self) -> HashingProgress {
        self.hasher.progress()
    }

    /// Waits until it is done. Must not be called on a thread of an asynchronous runtime.
    ///
    /// # Errors
    ///
    /// When the file is empty, can't be read or was written to meanwhile.
    pub fn finish(mut self, announce: Option<&AnnounceUrl>) -> Result<MadeTorrent, MakeTorrentError> {
        let failed = |reason: String| MakeTorrentError::File { path: self.path.clone(), reason };
        let hashed = self.results.blocking_recv().ok_or_else(|| failed("hashing was called off".into()))?;
        drop(self.ticket);
        let info = hashed.result.map_err(|error| match error {
            HashError::Changed => failed(format!("{error}; try again once nobody writes to it")),
            error => failed(error.to_string()),
        })?;
        let info = info.encode();
        let bytes = match announce {
            Some(announce) => encode_torrent(announce.as_str(), &info),
            None => [b"d4:info", &info[..], b"e"].concat(),
        };
        Ok(MadeTorrent { bytes, info_hash: InfoHash::of_info(&info) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributor_proto::{Info, Metainfo};

    #[test]
    fn makes_the_torrent_that_serving_the_file_would_make() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        let make = |name: &str, private, announce: Option<&str>| {
            let announce = announce.map(|url| url.parse().unwrap());
            let making = MakingTorrent::start(&dir.path().join(name), private, &HashingConfig::default());
            making.unwrap().finish(announce.as_ref()).unwrap()
        };
        let torrent = make("file", true, Some("http://origin:6969/announce"));
        let metainfo = Metainfo::decode(&torrent.bytes).unwrap();
        assert_eq!(metainfo.info_hash(), torrent.info_hash);
        assert_eq!((metainfo.info.name(), metainfo.info.is_private()), (&b"file"[..], true));
        assert_eq!(metainfo.info.geometry().total_len(), 100_000);

        let bare = make("link", false, None);
        let info = bare.bytes.strip_prefix(b"d4:info").and_then(|rest| rest.strip_suffix(b"e")).unwrap();
        let info = Info::decode(info).unwrap();
        assert_eq!((info.name(), info.is_private()), (&b"link"[..], false));
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let start =
            |name: &str| MakingTorrent::start(&dir.path().join(name), true, &HashingConfig::default());
        assert!(matches!(start("nothing"), Err(MakeTorrentError::Open { .. })));
        assert!(matches!(start("."), Err(MakeTorrentError::NotAFile { .. })));
        std::fs::write(dir.path().join("empty"), b"").unwrap();
        let error = start("empty").unwrap().finish(None).unwrap_err().to_string();
        assert!(error.ends_with("an empty file has no pieces"), "{error}");
    }
}
