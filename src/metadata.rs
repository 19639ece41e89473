//! The info dictionaries of torrents (BEP 9 calls them the metadata), for those who ask: made from the digests of the
//! pieces, wherever these are, and shared while anybody has them. Nothing of it stays in memory when nobody does.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use distributor_proto::{Info, InfoHash};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::catalog::Torrent;
use crate::state::State;

/// Why there is no info dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    /// The digests of the pieces aren't there any more, or are those of other bytes: the file must be hashed anew.
    #[error("what was remembered of the file is lost; it is hashed anew")]
    Lost,
    /// They can't be read now, which is no fault of the file's; they may be there another time.
    #[error("what is remembered of the file can't be read now")]
    Unavailable,
}

/// Hands out info dictionaries. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    state: Option<Arc<State>>,
    /// A permit for each thread that may wait for the disk that the state lies on: not those of the files, whose disks
    /// may be well when that one isn't.
    turns: Arc<Semaphore>,
}

/// How many threads may wait for the state.
const MAX_WAITS: usize = 16;

impl Metadata {
    /// Without a state, torrents keep their digests themselves.
    pub(crate) fn new(state: Option<Arc<State>>) -> Self {
        Self { state, turns: Arc::new(Semaphore::new(MAX_WAITS)) }
    }

    /// The bencoded info dictionary of a torrent, [`Torrent::metadata_len`] bytes whose SHA-1 is its info hash. No
    /// worker waits for the disk by this.
    pub(crate) async fn of(&self, torrent: &Arc<Torrent>) -> Result<Bytes, MetadataError> {
        if let Some(shared) = shared(torrent) {
            return Ok(shared);
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| MetadataError::Unavailable)?;
        let (state, torrent) = (self.state.clone(), Arc::clone(torrent));
        let work = move || {
            let _permit = permit;
            // Others may have had the same wish.
            shared(&torrent).map_or_else(|| share(&torrent, state.as_deref()), Ok)
        };
        // An error says that we are shutting down.
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(MetadataError::Unavailable))
    }

    /// The SHA-1 of every piece of a torrent, one after the other. Waits for the disk.
    pub(crate) fn digests(&self, torrent: &Torrent) -> Result<Bytes, MetadataError> {
        Ok(info(torrent, self.state.as_deref())?.0.pieces().clone())
    }
}

fn shared(torrent: &Torrent) -> Option<Bytes> {
    let shared = torrent.shared_metadata().lock().unwrap_or_else(PoisonError::into_inner).upgrade();
    shared.map(|metadata| Bytes::from_owner(Shared(metadata)))
}

/// Keeps the bytes for others to find while it is held. A weak reference holds on to what it points at: to no more than
/// this handle of the bytes.
struct Shared(Arc<Bytes>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn share(torrent: &Torrent, state: Option<&State>) -> Result<Bytes, MetadataError> {
    let (_, encoded) = info(torrent, state)?;
    let metadata = Arc::new(encoded);
    *torrent.shared_metadata().lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&metadata);
    Ok(Bytes::from_owner(Shared(metadata)))
}

/// The info dictionary, and as it is encoded.
fn info(torrent: &Torrent, state: Option<&State>) -> Result<(Info, Bytes), MetadataError> {
    let binding = &torrent.file().binding;
    // In this order: they leave the memory once they are on the disk.
    if let Some(digests) = torrent.pieces().and_then(|pieces| pieces.digests()) {
        return info_of(torrent, digests).ok_or(MetadataError::Lost);
    }
    let state = state.ok_or(MetadataError::Lost)?;
    let found = state.digests(binding.id()).map_err(|error| {
        debug!(info_hash = %torrent.info_hash(), %error);
        MetadataError::Unavailable
    })?;
    found.clone().and_then(|digests| info_of(torrent, digests)).ok_or_else(|| {
        // Else it would be recalled again.
        state.forget(binding, found.as_deref());
        MetadataError::Lost
    })
}

/// Nothing unless these are the torrent's digests: no damage of the database gets past this.
fn info_of(torrent: &Torrent, digests: Bytes) -> Option<(Info, Bytes)> {
    let info = Info::new(torrent.file().name(), torrent.geometry(), digests, torrent.is_private()).ok()?;
    let encoded = info.encode();
    (InfoHash::of_info(&encoded) == torrent.info_hash()).then_some((info, encoded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    use distributor_proto::Geometry;

    use crate::files::{Binding, FilePath, Roots, SettledFile};
    use crate::state::{Pieces, Writer};

    /// A torrent whose digests are remembered and nowhere else, as after a restart.
    fn remembered(dir: &Path) -> (Arc<State>, Writer, Arc<Torrent>) {
        fs::create_dir(dir.join("served")).unwrap();
        fs::write(dir.join("served/file"), b"contents").unwrap();
        let roots = Arc::new(Roots::open(&[dir.join("served")]).unwrap());
        let open = || State::open(&dir.join("state"), &roots).unwrap().unwrap();
        let (root, _) = roots.iter().next().unwrap();
        let binding = Binding::of(&fs::metadata(dir.join("served/file")).unwrap());
        let file = SettledFile::new(FilePath::new(root, "file"), Path::new("file"), binding);
        let geometry = Geometry::for_len(binding.size()).unwrap();
        let info = Info::new(file.name(), geometry, Bytes::from_static(&[7; 20]), true).unwrap();
        let hashed = Torrent::hashed(file.clone(), &info);
        let (state, writer) = open();
        let pieces = Pieces::new(info.pieces().clone());
        assert!(state.remember(&file, &info, hashed.info_hash(), hashed.metadata_len(), &pieces));
        drop((state, writer));
        let (state, writer) = open();
        let known = state.recall(std::slice::from_ref(&file), true).pop().unwrap().unwrap();
        (state, writer, Arc::new(Torrent::recalled(file, true, known).unwrap()))
    }

    #[tokio::test]
    async fn what_cannot_be_read_now_is_there_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let (state, _writer, torrent) = remembered(dir.path());
        let metadata = Metadata::new(Some(Arc::clone(&state)));
        state.set_unreadable(true);
        assert_eq!(metadata.of(&torrent).await, Err(MetadataError::Unavailable));
        state.set_unreadable(false);
        assert_eq!(metadata.of(&torrent).await.unwrap().len(), torrent.metadata_len() as usize);
    }

    #[tokio::test]
    async fn what_is_not_there_is_lost_and_no_longer_recalled() {
        let dir = tempfile::tempdir().unwrap();
        let (state, _writer, torrent) = remembered(dir.path());
        let binding = &torrent.file().binding;
        state.forget(binding, state.digests(binding.id()).unwrap().as_deref());
        let metadata = Metadata::new(Some(Arc::clone(&state)));
        assert_eq!(metadata.of(&torrent).await, Err(MetadataError::Lost));
        assert!(state.recall(std::slice::from_ref(torrent.file()), true).pop().unwrap().is_none());
    }
}
