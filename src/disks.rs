//! How many threads may wait for a disk on behalf of downloads and requests: a few for each file, and no more for each
//! disk than leave the others theirs. A mount that hangs must not take all threads there are with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many threads may wait for one device. The runtime has 512 for such work.
const MAX_WAITS: usize = 32;
/// From how many devices on those are forgotten that nobody waits for; mounts come and go.
const MANY: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Disks {
    by_device: Mutex<HashMap<u64, Arc<Semaphore>>>,
}

/// To be held by a thread while it waits for the disk, even if nobody waits for the thread any more.
#[derive(Debug)]
pub(crate) struct DiskTurn {
    _of_file: OwnedSemaphorePermit,
    _of_device: OwnedSemaphorePermit,
}

impl Disks {
    /// Waits until one more thread may wait for a file: `file` has a permit for each that may, `device` is what it lies
    /// on. None if it is no longer to be waited for.
    pub(crate) async fn turn(&self, file: &Arc<Semaphore>, device: u64) -> Option<DiskTurn> {
        let of_file = Arc::clone(file).acquire_owned().await.ok()?;
        let of_device = self.of(device).acquire_owned().await.ok()?;
        Some(DiskTurn { _of_file: of_file, _of_device: of_device })
    }

    fn of(&self, device: u64) -> Arc<Semaphore> {
        let mut by_device = self.by_device.lock().unwrap_or_else(PoisonError::into_inner);
        if by_device.len() >= MANY {
            by_device
                .retain(|_, waits| waits.available_permits() < MAX_WAITS || Arc::strong_count(waits) > 1);
        }
        Arc::clone(by_device.entry(device).or_insert_with(|| Arc::new(Semaphore::new(MAX_WAITS))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_one_device_leave_the_others_theirs() {
        let disks = Disks::default();
        let files: Vec<_> = (0..MAX_WAITS).map(|_| Arc::new(Semaphore::new(4))).collect();
        let mut turns = Vec::new();
        for file in &files {
            turns.push(disks.turn(file, 1).await.unwrap());
        }
        assert_eq!(disks.of(1).available_permits(), 0);
        assert!(disks.turn(&files[0], 2).await.is_some());
        turns.pop();
        assert!(disks.turn(&files[0], 1).await.is_some());
    }

    #[tokio::test]
    async fn forgets_devices_that_nobody_waits_for() {
        let disks = Disks::default();
        let file = Arc::new(Semaphore::new(4));
        let held = disks.turn(&file, 0).await.unwrap();
        for device in 1..=MANY as u64 {
            disks.of(device);
        }
        let known = disks.by_device.lock().unwrap().len();
        assert!(known <= MANY, "{known}");
        assert_eq!(disks.of(0).available_permits(), MAX_WAITS - 1, "that one is in use");
        drop(held);
    }
}
