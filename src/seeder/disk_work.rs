//! What a connection waits for the disk for, on the blocking pool: its file is opened, or a range of it made ready. One
//! such work at a time; where the system has no descriptor left it is tried again, and holds no turn of the disk
//! meanwhile. What the outcome means for the peer is the connection's business.

use std::future::pending;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use super::lack::Lack;
use crate::catalog::Torrent;
use crate::files::Sameness;
use crate::metadata::MetadataError;
use crate::store::{OpenFile, StoreError};

/// The file, open and with the range at hand, and what has become of its inode.
pub(super) type Done = Result<(Arc<OpenFile>, Sameness), StoreError>;

/// One connection's work, if any is under way.
#[derive(Default)]
pub(super) struct DiskWork(Option<Pin<Box<dyn Future<Output = Done> + Send>>>);

impl DiskWork {
    pub(super) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Has a range of the torrent's file made ready, and the file opened if that wasn't done yet; unless another range
    /// is under way.
    pub(super) fn start(
        &mut self,
        shared: &Shared,
        torrent: &Arc<Torrent>,
        file: Option<&Arc<OpenFile>>,
        range: Range<u64>,
    ) {
        if self.is_under_way() {
            return;
        }
        let (store, disks) = (Arc::clone(&shared.store), Arc::clone(&shared.disks));
        let (torrent, metadata) = (Arc::clone(torrent), shared.metadata.clone());
        let file = file.cloned();
        self.0 = Some(Box::pin(async move {
            let device = torrent.file().binding.device();
            let mut lack = Lack::default();
            loop {
                let turn = disks.turn(torrent.disk(), device).await.ok_or(StoreError::Changed)?;
                let (store, metadata, torrent) = (Arc::clone(&store), metadata.clone(), Arc::clone(&torrent));
                let (file, range) = (file.clone(), range.clone());
                let work = move || {
                    let _turn = turn;
                    let file = match file {
                        Some(file) => file,
                        None => store.open(torrent.file(), torrent.is_moved())?,
                    };
                    let digests = || metadata.digests(&torrent).map_err(unproven);
                    let sameness = file.prepare(&range, torrent.geometry(), digests)?;
                    Ok((file, sameness))
                };
                let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
                let Err(StoreError::NoDescriptor) = done else { return done };
                // Others have the turn meanwhile.
                let Some(next) = lack.retry(Instant::now()) else { return done };
                tokio::time::sleep_until(next.into()).await;
            }
        }));
    }

    /// Waits until it is done; for ever, if none is under way.
    pub(super) async fn done(&mut self) -> Done {
        let Some(work) = &mut self.0 else { return pending().await };
        let done = work.await;
        self.0 = None;
        done
    }
}

/// Why a file can't be sent that is to be compared with its digests, when these can't be had.
fn unproven(error: MetadataError) -> StoreError {
    match error {
        MetadataError::Lost => StoreError::Changed,
        MetadataError::Unavailable => StoreError::Unproven,
    }
}
