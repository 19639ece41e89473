//! One file on its way to an info dictionary: opened, found to be as it settled, its digests collected from whichever
//! lane made them, found to be as it settled still. Owns what is true of one file; refuses to know which comes first.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use distributor_proto::{Geometry, GeometryError, Info, MetainfoError, PieceIndex};

use super::lanes::Digest;
use super::progress::Share;
use super::reader::Reader;
use crate::files::{Binding, Roots, SettledFile};

/// Why a file has no torrent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("it changed while it was hashed")]
    Changed,
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    #[error("it can't be cut into pieces: {0}")]
    Geometry(#[from] GeometryError),
    #[error("no torrent can describe it: {0}")]
    Metainfo(#[from] MetainfoError),
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) file: SettledFile,
    pub(super) private: bool,
    pub(super) share: Share,
    /// Set once its result is known or nobody wants it any more: what is left of it is dropped.
    over: AtomicBool,
    /// Counts the jobs of a pool of threads by being held.
    _counted: Arc<()>,
}

impl Job {
    pub(super) fn new(file: SettledFile, private: bool, share: Share, counted: Arc<()>) -> Self {
        Self { file, private, share, over: AtomicBool::new(false), _counted: counted }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether this call ended it: of all that come to an end of it, one says so.
    pub(super) fn end(&self) -> bool {
        let first = !self.over.swap(true, Ordering::Relaxed);
        if first {
            self.share.end();
        }
        first
    }
}

/// A job whose file is open.
#[derive(Debug)]
pub(super) struct OpenFile {
    geometry: Geometry,
    reader: Reader,
    digests: Mutex<Digests>,
    /// Behind the reader: while a disk takes its time to close the file, the job counts still.
    pub(super) job: Arc<Job>,
    /// Counts the open files by being held.
    _open: Arc<()>,
}

#[derive(Debug)]
struct Digests {
    bytes: Vec<Digest>,
    missing: usize,
}

impl OpenFile {
    pub(super) fn open(roots: &Roots, job: Arc<Job>, counted: Arc<()>) -> Result<Self, HashError> {
        let file = roots.get(job.file.at.root).open(&job.file.target)?;
        let geometry = Geometry::for_len(job.file.binding.size())?;
        verify(&file, &job.file.binding)?;
        let count = geometry.piece_count() as usize;
        let digests = Mutex::new(Digests { bytes: vec![[0; 20]; count], missing: count });
        let reader = Reader::new(file, geometry.total_len());
        Ok(Self { geometry, reader, digests, job, _open: counted })
    }

    pub(super) fn piece_count(&self) -> u32 {
        self.geometry.piece_count()
    }
}

fn verify(file: &File, binding: &Binding) -> Result<(), HashError> {
    match Binding::of(&file.metadata()?) == *binding {
        true => Ok(()),
        false => Err(HashError::Changed),
    }
}

/// One piece of an open file.
#[derive(Debug)]
pub(super) struct Piece {
    of: Arc<OpenFile>,
    index: PieceIndex,
    range: Range<u64>,
}

impl Piece {
    /// The piece of that index, if there is one.
    pub(super) fn new(of: Arc<OpenFile>, index: u32) -> Option<Self> {
        let index = of.geometry.piece(index)?;
        let range = of.geometry.piece_range(index);
        Some(Self { of, index, range })
    }

    pub(super) fn job(&self) -> &Job {
        &self.of.job
    }

    pub(super) fn shared_job(&self) -> Arc<Job> {
        Arc::clone(&self.of.job)
    }

    pub(super) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// It is about to be read.
    pub(super) fn expect(&self) {
        self.of.reader.expect(&self.range);
    }

    /// Fills the buffer from an offset of the piece.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), HashError> {
        self.of.reader.read(&self.range, self.range.start + offset, buffer).map_err(|error| {
            match error.kind() {
                io::ErrorKind::UnexpectedEof => HashError::Changed,
                _ => HashError::Io(error),
            }
        })?;
        self.of.job.share.add(buffer.len() as u64);
        Ok(())
    }

    /// Takes the piece's digest; with the last one comes what the torrent says, if the file is still the same.
    pub(super) fn hashed(self, digest: Digest) -> Option<Result<Info, HashError>> {
        let pieces = {
            let mut digests = self.of.digests.lock().unwrap_or_else(PoisonError::into_inner);
            digests.bytes[self.index.get() as usize] = digest;
            digests.missing -= 1;
            (digests.missing == 0).then(|| std::mem::take(&mut digests.bytes).into_flattened())
        }?;
        let job = &self.of.job;
        let info = verify(self.of.reader.file(), &job.file.binding)
            .and_then(|()| Ok(Info::new(job.file.name(), self.of.geometry, pieces.into(), job.private)?));
        Some(info)
    }
}
