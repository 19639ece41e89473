//! What passes between a session and its driver. Owns the contract in types; refuses anything that does I/O.

use std::time::Instant;

use bytes::Bytes;

use super::Event;
use crate::{
    geometry::{Block, Geometry},
    message::BLOCK_HEADER_LEN,
};

/// What the driver tells a session.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Bytes from the socket, split in any way. Read at most 128 KiB at a time, and only while
    /// [`Session::wants_input`](crate::Session::wants_input); see [`MAX_KEPT_LEN`](crate::MAX_KEPT_LEN).
    Received(&'a [u8]),
    /// The answer to [`Event::InfoHash`]: we seed that torrent, and it is cut like this.
    Accept {
        /// The torrent's pieces.
        geometry: Geometry,
    },
    /// The choker lets the peer ask. Ignored while the peer isn't interested: webtorrent takes no notice of
    /// an `unchoke` that comes before its `interested`, and never asks.
    Unchoke,
    /// The choker lets the peer ask no longer. Requests that wait are dropped; without BEP 6 nobody tells the
    /// peer.
    Choke,
    /// The driver's write buffer is full because the peer doesn't read: no [`Transmit`] until
    /// [`Input::Writable`], and the session ends where that takes too long. A driver that holds back for a
    /// rate limit just polls later.
    Blocked,
    /// The driver's writes made progress.
    Writable,
    /// The instant that [`Output::Timeout`] gave has come.
    Timeout,
    /// The peer will send no more. A half-close is no disconnect: what the peer is owed is still given out,
    /// then comes [`Event::Finished`]. Whatever is received after it is ignored.
    Eof,
}

/// What a session wants from its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Something to know.
    Event(Event),
    /// Something to send.
    Transmit(Transmit),
    /// Nothing more to do before this instant or the next input. Then comes [`Input::Timeout`].
    Timeout(Instant),
}

/// Something to send, in the order in which it is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// These bytes.
    Bytes(Bytes),
    /// A `piece` message: this header, then the block's bytes from the file.
    Block {
        /// Length prefix, id, index and begin.
        header: [u8; BLOCK_HEADER_LEN],
        /// Which bytes of the file follow.
        block: Block,
    },
}
