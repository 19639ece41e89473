//! Why a session ends. Owns one sentence for each way; refuses to say what to do about it beyond "close".

use crate::{bitfield::BitfieldError, geometry::BlockError, message::MessageError};

/// Why the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The first bytes aren't BitTorrent's (BEP 3); an encrypted handshake looks like this too.
    #[error("the peer doesn't speak BitTorrent")]
    Protocol,
    /// The peer has our own id: we dialled ourselves.
    #[error("the peer is this program itself")]
    OwnPeerId,
    /// A frame is too long, or is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A bitfield isn't one of this torrent.
    #[error(transparent)]
    Bitfield(#[from] BitfieldError),
    /// A `have` names a piece that doesn't exist.
    #[error("the peer says that it has piece {index} and there are {pieces}")]
    Have {
        /// The index that it named.
        index: u32,
        /// How many pieces there are.
        pieces: u32,
    },
    /// A request names no block of this torrent.
    #[error("bad request: {0}")]
    Request(#[from] BlockError),
    /// A `piece` message: we have everything and asked for nothing.
    #[error("the peer sent a block that nobody asked for")]
    UnrequestedPiece,
    /// The whole handshake wasn't there in time.
    #[error("the peer didn't finish its handshake in time")]
    HandshakeTimedOut,
    /// Nothing was heard for too long.
    #[error("the peer was silent for too long")]
    Idle,
    /// Our writes made no progress for too long.
    #[error("the peer read nothing for too long")]
    Stalled,
    /// The stream ended before it named a torrent.
    #[error("the peer closed the connection before it named a torrent")]
    Eof,
    /// The driver went on reading after [`wants_input`](crate::Session::wants_input) said no.
    #[error("more was read from the peer than the session can keep")]
    Overrun,
    /// The driver sent [`Accept`](crate::Input::Accept) when no info hash was waiting for an answer.
    #[error("a torrent was accepted that the peer hadn't asked for")]
    AcceptOutOfTurn,
}
