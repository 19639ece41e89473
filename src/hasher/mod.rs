//! Pieces of a file to SHA-1. Reads with `pread` into a buffer of the caller's, never from a map, and vouches that
//! the file was the same before and after. Knows no queue and no threads: whoever calls it lets it block.

mod kernel;
mod lanes;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::{Bytes, BytesMut};
use distributor_proto::{Geometry, GeometryError, Info, MetainfoError};
use sha1::{Digest, Sha1};
use tokio_util::sync::CancellationToken;

use crate::files::{Binding, Roots, SettledFile};

/// How much is read at a time: enough that system calls don't count, little enough to stay in the L2 cache.
const READ_LEN: usize = 512 * 1024;

/// Why a file has no torrent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("it changed while it was hashed")]
    Changed,
    #[error("hashing was called off")]
    Cancelled,
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    #[error("it can't be cut into pieces: {0}")]
    Geometry(#[from] GeometryError),
    #[error("no torrent can describe it: {0}")]
    Metainfo(#[from] MetainfoError),
}

/// Hashes a settled file into the info dictionary of its torrent, `private` or not. Blocks while it reads.
pub(crate) fn hash(
    roots: &Roots,
    file: &SettledFile,
    private: bool,
    cancel: &CancellationToken,
) -> Result<Info, HashError> {
    let opened = roots.get(file.at.root).open(&file.target)?;
    let geometry = Geometry::for_len(file.binding.size())?;
    verify(&opened, &file.binding)?;
    let pieces = hash_pieces(&opened, geometry, cancel)?;
    verify(&opened, &file.binding)?;
    Ok(Info::new(file.name(), geometry, pieces, private)?)
}

fn verify(file: &File, binding: &Binding) -> Result<(), HashError> {
    match Binding::of(&file.metadata()?) == *binding {
        true => Ok(()),
        false => Err(HashError::Changed),
    }
}

/// The concatenated SHA-1 of each piece, 20 bytes a piece.
fn hash_pieces(file: &File, geometry: Geometry, cancel: &CancellationToken) -> Result<Bytes, HashError> {
    let mut buffer = vec![0; READ_LEN];
    let mut hashes = BytesMut::new();
    for piece in geometry.pieces() {
        let mut sha1 = Sha1::new();
        let range = geometry.piece_range(piece);
        let mut at = range.start;
        while at < range.end {
            if cancel.is_cancelled() {
                return Err(HashError::Cancelled);
            }
            let want = usize::try_from(range.end - at).unwrap_or(READ_LEN).min(READ_LEN);
            match file.read_at(&mut buffer[..want], at) {
                Ok(0) => return Err(HashError::Changed),
                Ok(read) => {
                    sha1.update(&buffer[..read]);
                    at += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        hashes.extend_from_slice(&sha1.finalize());
    }
    Ok(hashes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    use crate::files::FilePath;

    fn settled(dir: &Path) -> (Roots, SettledFile) {
        let roots = Roots::open(&[dir.to_owned()]).unwrap();
        let (root, _) = roots.iter().next().unwrap();
        let binding = Binding::of(&std::fs::metadata(dir.join("file")).unwrap());
        let file = SettledFile { at: FilePath::new(root, "file"), target: PathBuf::from("file"), binding };
        (roots, file)
    }

    #[test]
    fn hashes_each_piece_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let contents: Vec<u8> = (0..150_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(dir.path().join("file"), &contents).unwrap();
        let (roots, file) = settled(dir.path());
        let info = hash(&roots, &file, true, &CancellationToken::new()).unwrap();
        assert_eq!(info.geometry().piece_len(), 64 * 1024);
        for (piece, chunk) in info.geometry().pieces().zip(contents.chunks(64 * 1024)) {
            let expected: [u8; 20] = Sha1::digest(chunk).into();
            assert_eq!(info.piece_hash(piece).unwrap()[..], expected);
        }
        assert_eq!(info.geometry().piece_count(), 3);
        assert_eq!(info.name(), b"file");
        assert!(info.is_private());
    }

    #[test]
    fn refuses_a_file_that_is_not_as_it_settled() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"one").unwrap();
        let (roots, file) = settled(dir.path());
        std::fs::write(dir.path().join("file"), b"other").unwrap();
        let error = hash(&roots, &file, true, &CancellationToken::new()).unwrap_err();
        assert!(matches!(error, HashError::Changed), "{error}");
    }

    #[test]
    fn stops_when_called_off() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"one").unwrap();
        let (roots, file) = settled(dir.path());
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert!(matches!(hash(&roots, &file, true, &cancel), Err(HashError::Cancelled)));
    }
}
