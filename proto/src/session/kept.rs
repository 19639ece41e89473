//! The bytes that a session has to keep between two reads.
//!
//! Owns an unfinished frame or, while the request queue is full, the unread rest of one read. Refuses to grow
//! beyond what it is told, and to hold a large buffer for a peer that has nothing in it.

/// What is not given back when the buffer runs empty: enough for the usual cut through a request, so that a
/// stream of requests doesn't allocate at every read.
const SPARE_CAPACITY: usize = 128;

/// Bytes that wait for more of them, or for room.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// How many at the front have been dealt with. They go when something is added, not one request at a
    /// time.
    done: usize,
}

/// There is no room for that many bytes.
#[derive(Debug)]
pub(super) struct Full;

impl Kept {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Adds bytes, up to `max` in all.
    pub(super) fn extend(&mut self, more: &[u8], max: usize) -> Result<(), Full> {
        if more.len() > max.saturating_sub(self.len()) {
            return Err(Full);
        }
        if !more.is_empty() {
            self.bytes.drain(..self.done);
            self.done = 0;
            self.bytes.extend_from_slice(more);
        }
        Ok(())
    }

    /// Keeps only the last `len` bytes.
    pub(super) fn keep_last(&mut self, len: usize) {
        self.done = self.bytes.len().saturating_sub(len);
        if self.is_empty() {
            self.bytes.clear();
            self.done = 0;
            if self.bytes.capacity() > SPARE_CAPACITY {
                self.bytes = Vec::new();
            }
        }
    }
}
