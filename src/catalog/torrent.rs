//! One torrent: a file that is offered, and what is said of it to clients.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use bytes::Bytes;
use distributor_proto::{Geometry, GeometryError, Info, InfoHash};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::files::SettledFile;
use crate::state::{Pieces, Recalled};

/// A file that is offered. There may be a hundred thousand that nobody ever asks for: what only those who ask need is
/// not here, or not before.
#[derive(Debug)]
pub(crate) struct Torrent {
    file: SettledFile,
    info_hash: InfoHash,
    metadata_len: u32,
    geometry: Geometry,
    private: bool,
    moved: bool,
    /// None where what is remembered has them.
    pieces: Option<Arc<Pieces>>,
    in_use: OnceLock<Box<InUse>>,
}

/// What a torrent has from its first use on.
#[derive(Debug)]
struct InUse {
    revoked: CancellationToken,
    disk: Arc<Semaphore>,
    metadata: Mutex<Weak<Bytes>>,
}

/// How many threads may wait for the disk on behalf of one torrent's downloads. A mount that hangs must not take all
/// threads there are with it; a few at a time read ahead of each other.
const MAX_DISK_WAITS: usize = 4;
impl Torrent {
    /// Of a file that was just hashed.
    pub(crate) fn hashed(file: SettledFile, info: &Info) -> Self {
        let metadata = info.encode();
        Self {
            file,
            info_hash: InfoHash::of_info(&metadata),
            // No info dictionary comes near to 4 GiB: see MAX_PIECES.
            metadata_len: u32::try_from(metadata.len()).unwrap_or(u32::MAX),
            geometry: info.geometry(),
            private: info.is_private(),
            moved: false,
            pieces: Some(Pieces::new(info.pieces().clone())),
            in_use: OnceLock::new(),
        }
    }

    /// Of a file that was hashed some other time.
    pub(crate) fn recalled(file: SettledFile, private: bool, known: Recalled) -> Result<Self, GeometryError> {
        let geometry = Geometry::for_len(file.binding.size())?;
        let Recalled { info_hash, metadata_len, pieces, moved } = known;
        Ok(Self { file, info_hash, metadata_len, geometry, private, moved, pieces, in_use: OnceLock::new() })
    }

    pub(crate) fn file(&self) -> &SettledFile {
        &self.file
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Bytes in the encoded info dictionary, which BEP 9 calls the metadata.
    pub(crate) fn metadata_len(&self) -> u32 {
        self.metadata_len
    }

    pub(crate) fn is_private(&self) -> bool {
        self.private
    }

    /// Whether its file was moved since it was hashed: what it holds is to be seen before it is sent.
    pub(crate) fn is_moved(&self) -> bool {
        self.moved
    }

    /// The digests of its pieces, where they are kept in memory.
    pub(crate) fn pieces(&self) -> Option<&Arc<Pieces>> {
        self.pieces.as_ref()
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Cancelled when not even those who have the torrent are to be served from this file any more.
    pub(crate) fn revoked(&self) -> &CancellationToken {
        &self.in_use().revoked
    }

    /// To be held by a thread while it waits for the disk.
    pub(crate) fn disk(&self) -> &Arc<Semaphore> {
        &self.in_use().disk
    }

    /// The encoded info dictionary, where somebody has it: see [`Metadata`](crate::metadata).
    pub(crate) fn shared_metadata(&self) -> &Mutex<Weak<Bytes>> {
        &self.in_use().metadata
    }

    fn in_use(&self) -> &InUse {
        self.in_use.get_or_init(|| {
            Box::new(InUse {
                revoked: CancellationToken::new(),
                disk: Arc::new(Semaphore::new(MAX_DISK_WAITS)),
                metadata: Mutex::new(Weak::new()),
            })
        })
    }
}
