//! One mapped file, bound to the state of its inode: what of it can be sent now, and what makes more of it so.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use distributor_proto::Geometry;
use memmap2::{MmapOptions, MmapRaw};

use super::closer::Closer;
use super::proof::Proof;
use super::record::Record;
use super::send::Segment;
use super::{Key, StoreError};
use crate::files::{Binding, Sameness, Timestamp};

/// A mapped file, bound to the state of its inode.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// Until it is given to whoever closes it.
    file: Option<File>,
    map: MmapRaw,
    binding: Binding,
    moved: bool,
    /// Where it is to be seen first that the file holds what its torrent says; of the inode as it was last seen.
    proof: Mutex<Option<Arc<Proof>>>,
    record: Record,
    closer: Closer,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.closer.close(file);
        }
    }
}

impl OpenFile {
    pub(super) fn map(
        file: File,
        Key { binding, moved }: Key,
        epoch: Instant,
        closer: Closer,
    ) -> Result<Self, StoreError> {
        let len =
            usize::try_from(binding.size()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let map = MmapOptions::new().len(len).map_raw_read_only(&file)?;
        let record = Record::new(binding.size(), epoch);
        let open = Self { file: Some(file), map, binding, moved, proof: Mutex::default(), record, closer };
        open.verify()?;
        Ok(open)
    }

    /// It is there until the drop.
    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What has become of the inode since it was hashed, unless it was certainly written to; one `fstat`.
    pub(crate) fn verify(&self) -> Result<Sameness, StoreError> {
        Ok(self.look()?.0)
    }

    /// As [`verify`](Self::verify), and the ctime that was seen.
    fn look(&self) -> Result<(Sameness, Timestamp), StoreError> {
        if self.proof().as_ref().is_some_and(|proof| proof.is_refuted()) {
            return Err(StoreError::Changed);
        }
        let metadata = self.file()?.metadata()?;
        match self.binding.compare(&metadata) {
            Sameness::Other => Err(StoreError::Changed),
            sameness => {
                let ctime = Binding::of(&metadata).ctime();
                if !self.is_known_as_of(ctime) {
                    self.record.mark_stale();
                }
                Ok((sameness, ctime))
            }
        }
    }

    /// Whether nothing has happened to the inode that what was made ready doesn't take into account.
    fn is_known_as_of(&self, ctime: Timestamp) -> bool {
        match &*self.proof() {
            Some(proof) => proof.is_as_of(ctime),
            None => ctime == self.binding.ctime(),
        }
    }

    fn proof(&self) -> MutexGuard<'_, Option<Arc<Proof>>> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be sent now; nothing unless the inode was looked at within this second.
    pub(crate) fn ready(&self) -> Option<Ready<'_>> {
        let now = self.record.now();
        // In this order: whoever sees that something has happened to the inode says so before he calls it fresh.
        let fresh = self.record.is_fresh(now);
        fresh.then(|| Ready { file: self, now, age: self.record.age() })
    }

    /// Looks at the inode again, and brings the range and what lies beside it into memory. Waits for the disk.
    ///
    /// Of a file that was moved, and of one whose ctime has moved since it was hashed, no byte of a piece counts as ready
    /// before the piece was seen to have its digest; all of it once more whenever ctime moves again. An unlink and a
    /// rename move it, but so does a write whose mtime was set back.
    pub(crate) fn prepare(
        &self,
        range: &Range<u64>,
        geometry: Geometry,
        digests: impl FnOnce() -> Result<Bytes, StoreError>,
    ) -> Result<Sameness, StoreError> {
        let (sameness, ctime) = self.look()?;
        let (proof, age) = self.proof_as_of(ctime, geometry, digests)?;
        let now = self.record.now();
        self.record.mark_fresh(now);
        if !self.record.is_warm(range, now, age) {
            let whole = self.record.widen(range);
            self.populate(&whole)?;
            if let Some(proof) = proof {
                proof.check(&whole, |offset, into| self.read(offset, into))?;
            }
            self.record.mark_warm(&whole, self.record.now(), age);
        }
        Ok(sameness)
    }

    /// What the file is to be compared with, if with anything, and the age that what was compared belongs to.
    fn proof_as_of(
        &self,
        ctime: Timestamp,
        geometry: Geometry,
        digests: impl FnOnce() -> Result<Bytes, StoreError>,
    ) -> Result<(Option<Arc<Proof>>, u32), StoreError> {
        let mut held = self.proof();
        let is_untouched = !self.moved && ctime == self.binding.ctime();
        let next = match &*held {
            Some(proof) if proof.is_as_of(ctime) => return Ok((Some(Arc::clone(proof)), self.record.age())),
            None if is_untouched => return Ok((None, self.record.age())),
            Some(proof) => proof.anew(ctime),
            None => Proof::new(ctime, geometry, digests()?),
        };
        let next = Arc::new(next);
        *held = Some(Arc::clone(&next));
        Ok((Some(next), self.record.begin_age()))
    }

    fn populate(&self, range: &Range<u64>) -> Result<(), StoreError> {
        let Some((address, len)) = self.address_of(range) else { return Err(StoreError::Changed) };
        // SAFETY: the range lies within our own map, which outlives the call; the advice only makes the kernel read
        // pages in, and fails where it can't.
        let advised = unsafe { libc::madvise(address.cast_mut().cast(), len, libc::MADV_POPULATE_READ) };
        if advised == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            // Linux before 5.14 doesn't know this advice: reading the file warms the page cache as well.
            error if error.raw_os_error() == Some(libc::EINVAL) => self.read_through(range),
            // To touch the pages would raise SIGBUS: they are gone, or the disk can't give them.
            error if error.raw_os_error() == Some(libc::EFAULT) => {
                self.verify()?;
                Err(StoreError::Io(io::Error::from_raw_os_error(libc::EIO)))
            }
            error => Err(StoreError::Io(error)),
        }
    }

    fn read_through(&self, range: &Range<u64>) -> Result<(), StoreError> {
        let mut scratch = vec![0; 64 * 1024];
        let mut at = range.start;
        while at < range.end {
            match self.file()?.read_at(&mut scratch, at)? {
                0 => return Err(StoreError::Changed),
                read => at = at.saturating_add(read as u64),
            }
        }
        Ok(())
    }

    /// Fills the buffer from an offset of the file.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), StoreError> {
        self.file()?.read_exact_at(into, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => StoreError::Changed,
            _ => StoreError::Io(error),
        })
    }

    /// Where a range of the file lies in memory, as an address that is not to be dereferenced, and its length. None
    /// if any of it lies outside.
    pub(super) fn address_of(&self, range: &Range<u64>) -> Option<(*const u8, usize)> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        let len = end.checked_sub(start)?;
        (end <= self.map.len()).then(|| (self.map.as_ptr().wrapping_add(start), len))
    }
}

/// A file at a moment at which it was fresh. Answers don't change while somebody decides by them what to do next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready<'a> {
    file: &'a OpenFile,
    now: u32,
    age: u32,
}

impl<'a> Ready<'a> {
    /// Whether the bytes were brought into memory, so that sending them makes no worker wait for the disk.
    pub(crate) fn covers(&self, range: &Range<u64>) -> bool {
        self.file.record.is_warm(range, self.now, self.age)
    }

    pub(crate) fn segment(&self, range: Range<u64>) -> Segment<'a> {
        Segment::Mapped { file: self.file, range }
    }
}

#[cfg(test)]
mod tests;
