//! What passes between a session and its driver. Owns the contract in types; refuses anything that does I/O.

use std::{ops::Range, time::Instant};

use bytes::Bytes;

use super::{Event, Seeding};
use crate::{
    geometry::{Block, PieceIndex},
    message::BLOCK_HEADER_LEN,
};

/// What the driver tells a session.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Bytes from the socket, split in any way. Read at most 128 KiB at a time, and only while
    /// [`Session::wants_input`](crate::Session::wants_input); see [`MAX_KEPT_LEN`](crate::MAX_KEPT_LEN).
    Received(&'a [u8]),
    /// The answer to [`Event::InfoHash`]: we seed that torrent.
    Accept {
        /// What it is like.
        seeding: Seeding,
    },
    /// The choker lets the peer ask. Ignored while the peer isn't interested: webtorrent takes no notice of
    /// an `unchoke` that comes before its `interested`, and never asks.
    Unchoke,
    /// The choker lets the peer ask no longer. Requests that wait are rejected, but for allowed-fast pieces;
    /// without BEP 6 they are dropped and nobody tells the peer.
    Choke,
    /// It would help others if the peer took this piece next. Without BEP 6, where the peer has it, or while much
    /// else waits to be sent, nothing is said: it is advice. Nor where pieces are [shown](Self::Show).
    Suggest(PieceIndex),
    /// The peer may ask for these pieces too, where it [began with nothing](Seeding::begins_empty): it is told that we
    /// have them, in steps where they are many. What isn't shown is refused.
    Show(&'a [PieceIndex]),
    /// Likewise for all pieces that it wasn't shown yet.
    ShowEverything,
    /// The driver's write buffer is full because the peer doesn't read: no [`Transmit`] until
    /// [`Input::Writable`], and the session ends where that takes too long. A driver that keeps to a
    /// rate [holds blocks](crate::Session::hold_blocks) instead.
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
    /// A `data` message of `ut_metadata` (BEP 9): this header, then bytes of the info dictionary.
    Metadata {
        /// Length prefix, ids and the message's own dictionary.
        header: Bytes,
        /// Which bytes of the bencoded info dictionary follow; within its length, never empty.
        range: Range<u32>,
    },
}
