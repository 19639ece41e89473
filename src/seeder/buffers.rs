//! Buffers for bytes that have to be seen before they are sent, since they go out encrypted. Connections that have
//! nothing under way hold none.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// How many unused ones are kept: as many as the workers of any machine have in their hands at a time.
const MAX_SPARE: usize = 64;

#[derive(Debug)]
pub(super) struct Buffers {
    /// The most that is encrypted ahead of the socket; so much, at most, is kept for a peer that doesn't read.
    len: usize,
    spare: Mutex<Vec<Box<[u8]>>>,
}

impl Buffers {
    /// Buffers of `len` bytes; 0 counts as 1.
    pub(super) fn new(len: usize) -> Arc<Self> {
        Arc::new(Self { len: len.max(1), spare: Mutex::default() })
    }

    pub(super) fn take(self: &Arc<Self>) -> Buffer {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = spare.unwrap_or_else(|| vec![0; self.len].into());
        Buffer { bytes, of: Arc::clone(self) }
    }
}

/// Bytes of no meaning; given back when dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    of: Arc<Buffers>,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.of.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MAX_SPARE {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_out_again_what_came_back_and_keeps_no_more_than_it_may() {
        let buffers = Buffers::new(100);
        let held: Vec<Buffer> = (0..=MAX_SPARE).map(|_| buffers.take()).collect();
        assert!(held.iter().all(|buffer| buffer.len() == 100));
        drop(held);
        assert_eq!(buffers.spare.lock().unwrap().len(), MAX_SPARE);
        let _one = buffers.take();
        assert_eq!(buffers.spare.lock().unwrap().len(), MAX_SPARE - 1);
    }
}
