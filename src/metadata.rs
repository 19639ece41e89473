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
    let metadata = Arc::new(encode(torrent, state)?);
    *torrent.shared_metadata().lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&metadata);
    Ok(Bytes::from_owner(Shared(metadata)))
}

fn encode(torrent: &Torrent, state: Option<&State>) -> Result<Bytes, MetadataError> {
    let binding = &torrent.file().binding;
    // In this order: they leave the memory once they are on the disk.
    if let Some(digests) = torrent.pieces().and_then(|pieces| pieces.digests()) {
        return encode_with(torrent, digests).ok_or(MetadataError::Lost);
    }
    let state = state.ok_or(MetadataError::Lost)?;
    let found = state.digests(binding.id()).map_err(|error| {
        debug!(info_hash = %torrent.info_hash(), %error);
        MetadataError::Unavailable
    })?;
    found.clone().and_then(|digests| encode_with(torrent, digests)).ok_or_else(|| {
        // Else it would be recalled again.
        state.forget(binding, found.as_deref());
        MetadataError::Lost
    })
}

/// Nothing unless these are the torrent's digests: no damage of the database gets past this.
fn encode_with(torrent: &Torrent, digests: Bytes) -> Option<Bytes> {
    let info = Info::new(torrent.file().name(), torrent.geometry(), digests, torrent.is_private());
    let encoded = info.ok()?.encode();
    (InfoHash::of_info(&encoded) == torrent.info_hash()).then_some(encoded)
}
