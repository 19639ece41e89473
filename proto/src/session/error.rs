//! Why a session ends. Owns one sentence for each way, and which of them are the peer's fault; refuses to say
//! what to do about it beyond "close".

use crate::{
    bencode::BencodeError, bitfield::BitfieldError, geometry::BlockError, id::InfoHash, message::MessageError,
};

/// Why the connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The first bytes aren't BitTorrent's (BEP 3); an encrypted handshake looks like this too.
    #[error("the peer doesn't speak BitTorrent")]
    Protocol,
    /// The peer that we dialled answers for another torrent.
    #[error("the peer answered with the info hash {theirs} when asked for {ours}")]
    WrongTorrent {
        /// The one that we dialled it for.
        ours: InfoHash,
        /// The one that it answered with.
        theirs: InfoHash,
    },
    /// The peer has our own id: we dialled ourselves.
    #[error("the peer is this program itself")]
    OwnPeerId,
    /// A message breaks the protocol, or is one too many.
    #[error("message {ordinal} ({name}): {violation}")]
    Message {
        /// Which message since the handshake, from 1.
        ordinal: u64,
        /// What BEPs call it; `unread` where its length alone is too much.
        name: &'static str,
        /// What is wrong with it.
        violation: Violation,
    },
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

impl SessionError {
    /// Whether the peer broke the protocol, which may be counted against its address. Not where it was slow,
    /// left, or turned out to be ourselves. Stock clients try encryption first: whether a stream
    /// [begins in the clear](crate::begins_in_the_clear) is for the driver to see before a session sees the stream.
    #[must_use]
    pub const fn is_violation(&self) -> bool {
        matches!(self, Self::Protocol | Self::WrongTorrent { .. } | Self::Message { .. })
    }
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A frame is too long, or is no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A bitfield isn't one of this torrent.
    #[error(transparent)]
    Bitfield(#[from] BitfieldError),
    /// A `have`, `suggest piece` or `allowed fast` names a piece that doesn't exist.
    #[error("there is no piece {index} of {pieces}")]
    NoSuchPiece {
        /// The index that it named.
        index: u32,
        /// How many pieces there are.
        pieces: u32,
    },
    /// BEP 6: `have none` goes first or not at all.
    #[error("the peer had already said which pieces it has")]
    HaveOutOfTurn,
    /// A request names no block of this torrent, and can't be rejected for lack of BEP 6.
    #[error(transparent)]
    Request(#[from] BlockError),
    /// A `piece` or `reject request`: we have everything and ask for nothing.
    #[error("an answer to a request that nobody made")]
    Unrequested,
    /// An extended message isn't what its extension asks for (BEP 9, 10).
    #[error(transparent)]
    Extended(#[from] BencodeError),
    /// Too many messages that change nothing.
    #[error("more than {limit} messages in ten seconds that change nothing")]
    Flood {
        /// How many are borne.
        limit: u32,
    },
    /// Too many requests that had to be refused.
    #[error("more than {limit} requests in ten seconds that had to be refused")]
    RequestFlood {
        /// How many are borne.
        limit: u32,
    },
}
