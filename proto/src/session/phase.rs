//! Where a conversation is between its first byte and its end. Owns the states; refuses to change them: that is for
//! those who know what has happened.

use super::{Seeding, SessionError};
use crate::id::InfoHash;

/// Where the conversation stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// The peer's handshake up to its info hash is due. Where we dialled it, ours is on its way.
    InfoHash { dialled: Option<Seeding> },
    /// The driver's answer is due.
    Accept { info_hash: InfoHash },
    /// The rest of the peer's handshake is due; ours and our greeting are on their way.
    PeerId { seeding: Seeding },
    /// Messages, both ways.
    Open { seeding: Seeding },
}

/// How far the end of the peer's stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer may send more.
    NotYet,
    /// It won't.
    Seen,
    /// It won't, and the driver knows that nothing is left to send.
    Reported,
}

/// Why a session failed, and whether the driver has been told.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: SessionError,
    pub(super) told: bool,
}
