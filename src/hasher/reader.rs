//! Bytes of a file into a buffer of the caller's: by `pread`, never from a map, which a user may truncate. Owns what
//! the system is told of the ranges that come next, so that they are on their way while others are hashed. Remembers
//! no contents.
//!
//! Pieces are taken in order, many at a time. Short ones lie side by side: all of them are asked for ahead in one
//! stretch, which a disk reads from end to end. Of long ones each has its own window.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, fadvise};

/// Pieces up to this length are asked for as one stretch; of longer ones, so much at a time.
const WINDOW: u64 = 2 * 1024 * 1024;
/// How far the stretch reaches beyond the piece that was taken last: the lanes of two threads in windows.
const AHEAD: u64 = 64 * 1024 * 1024;

/// A file that is read from several places at once.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    len: u64,
    /// How far the stretch has been asked for.
    asked: AtomicU64,
}

impl Reader {
    pub(super) fn new(file: File, len: u64) -> Self {
        Self { file, len, asked: AtomicU64::new(0) }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// A piece is about to be read from its start.
    pub(super) fn expect(&self, piece: &Range<u64>) {
        if piece.end - piece.start > WINDOW {
            self.ask(piece.start..piece.start + WINDOW);
            return;
        }
        // One read brings a short file.
        if self.len <= WINDOW {
            return;
        }
        // In steps: a hint for each piece would cost as many system calls as there are pieces.
        let asked = self.asked.load(Ordering::Relaxed);
        let end = self.len.min(piece.end + AHEAD);
        if end > asked
            && (end - asked >= AHEAD / 2 || end == self.len)
            && self.asked.compare_exchange(asked, end, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.ask(asked.max(piece.start)..end);
        }
    }

    /// Fills the buffer from this offset, which lies in `piece`. A file that has no more bytes there gives
    /// [`io::ErrorKind::UnexpectedEof`].
    pub(super) fn read(&self, piece: &Range<u64>, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        if piece.end - piece.start > WINDOW {
            // Lanes read from the piece's start in steps that divide the window: while one is read, the next is asked
            // for.
            let offset = at - piece.start;
            if offset.is_multiple_of(WINDOW) {
                let next = at + WINDOW;
                self.ask(next..piece.end.min(next + WINDOW));
            }
        }
        self.file.read_exact_at(buffer, at)
    }

    /// A hint that can't be given costs time and nothing else.
    fn ask(&self, range: Range<u64>) {
        if let Some(length) = range.end.checked_sub(range.start).and_then(NonZeroU64::new) {
            let _ = fadvise(&self.file, range.start, Some(length), Advice::WillNeed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_any_range_and_says_when_there_is_less() {
        let dir = tempfile::tempdir().unwrap();
        let contents: Vec<u8> = (0..9 * 1024 * 1024u32).map(|n| (n % 251) as u8).collect();
        let path = dir.path().join("file");
        std::fs::write(&path, &contents).unwrap();
        let len = contents.len() as u64;
        let reader = Reader::new(File::open(&path).unwrap(), len);
        for piece_len in [64 * 1024, WINDOW, 2 * WINDOW] {
            for start in (0..len).step_by(usize::try_from(piece_len).unwrap()) {
                let piece = start..len.min(start + piece_len);
                reader.expect(&piece);
                let mut at = piece.start;
                while at < piece.end {
                    let mut buffer = vec![0; usize::try_from((piece.end - at).min(50_000)).unwrap()];
                    reader.read(&piece, at, &mut buffer).unwrap();
                    let from = usize::try_from(at).unwrap();
                    assert!(buffer == contents[from..from + buffer.len()]);
                    at += buffer.len() as u64;
                }
            }
        }
        let error = reader.read(&(len - 1..len + 1), len - 1, &mut [0; 2]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
