//! Bytes that were received and not yet dealt with.
//!
//! Owns taking them off the front in whole parts, and the search for the end of a padding. Refuses to grow
//! beyond [`MAX_MSE_KEPT_LEN`] while it waits.

use bytes::{Buf, BytesMut};

use super::{MAX_MSE_KEPT_LEN, MAX_MSE_PADDING, error::MseError};

#[derive(Default)]
pub(super) struct Inbox {
    bytes: BytesMut,
    /// At how many positions from the front on the mark that is searched for is known not to be, so that bytes
    /// that come singly aren't compared again and again.
    searched: usize,
}

impl Inbox {
    pub(super) fn extend(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
    }

    /// Takes `N` bytes if there are that many.
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.first_chunk()?;
        self.bytes.advance(N);
        Some(taken)
    }

    /// Takes `len` bytes if there are that many.
    pub(super) fn take_len(&mut self, len: usize) -> Option<BytesMut> {
        (self.bytes.len() >= len).then(|| self.bytes.split_to(len))
    }

    /// Takes all there is.
    pub(super) fn take_all(&mut self) -> BytesMut {
        self.bytes.split()
    }

    /// Takes a padding of unknown length and the mark behind it; whether they were there. Until they are, it is
    /// always the same mark that is searched for.
    ///
    /// # Errors
    ///
    /// When the mark doesn't come behind [`MAX_MSE_PADDING`] bytes at the latest.
    pub(super) fn take_through(&mut self, mark: &[u8]) -> Result<bool, MseError> {
        let found = self
            .bytes
            .windows(mark.len())
            .take(MAX_MSE_PADDING + 1)
            .enumerate()
            .skip(self.searched)
            .find(|(_, window)| *window == mark);
        if let Some((position, _)) = found {
            self.bytes.advance(position + mark.len());
            self.searched = 0;
            return Ok(true);
        }
        self.searched = (self.bytes.len() + 1).saturating_sub(mark.len());
        if self.searched > MAX_MSE_PADDING { Err(MseError::NotSynchronised) } else { Ok(false) }
    }

    /// # Errors
    ///
    /// When more is kept than a peer may send before it is answered.
    pub(super) fn check_bound(&self) -> Result<(), MseError> {
        if self.bytes.len() > MAX_MSE_KEPT_LEN { Err(MseError::Overrun) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_no_place_twice() {
        let mut inbox = Inbox::default();
        inbox.extend(b"padding");
        assert_eq!(inbox.take_through(b"mark"), Ok(false));
        inbox.bytes[..4].copy_from_slice(b"mark");
        inbox.extend(b", ma");
        assert_eq!(inbox.take_through(b"mark"), Ok(false));
        inbox.extend(b"rk, rest");
        assert_eq!(inbox.take_through(b"mark"), Ok(true));
        assert_eq!(&inbox.take_all()[..], b", rest");
    }
}
