//! Why connections end, and which ends are the peer's fault. What follows from that is for the room to do.

use std::io;
use std::sync::Arc;

use distributor_proto::{InfoHash, MseError, SessionError};

use super::opening::OpeningError;
use crate::catalog::Torrent;
use crate::metadata::MetadataError;
use crate::store::StoreError;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    #[error("the peer left")]
    Finished,
    #[error("the peer has everything")]
    BothSeeds,
    #[error("shutting down")]
    Shutdown,
    #[error("no file with the info hash {0} is served")]
    Unknown(InfoHash),
    #[error("the file with the info hash {0} is no longer served")]
    Revoked(InfoHash),
    #[error("as many peers as may be are connected for {0}")]
    Crowded(InfoHash),
    #[error("the peer and we have dialled each other; the other connection is kept")]
    Duplicate,
    #[error("others came while its handshake took its time")]
    Displaced,
    #[error("the peer's keys were made from one torrent and its handshake names another")]
    OtherTorrent,
    #[error("the peer took too long to agree on keys")]
    OpeningTimedOut,
    #[error("the peer can't be reached: {0}")]
    Unreachable(io::Error),
    #[error(transparent)]
    Opening(#[from] OpeningError),
    #[error("{0}")]
    Store(StoreError, Arc<Torrent>),
    #[error("{0}")]
    Metadata(MetadataError, Arc<Torrent>),
    #[error(transparent)]
    Protocol(#[from] SessionError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Closed {
    /// Whether the peer did what no peer may do.
    pub(super) fn is_violation(&self) -> bool {
        match self {
            Self::Opening(OpeningError::Mse(error)) if are_policies_apart(error) => false,
            _ if self.is_chance() => false,
            Self::OtherTorrent | Self::Opening(OpeningError::Mse(_)) => true,
            Self::Protocol(error) => error.is_violation(),
            _ => false,
        }
    }

    /// Whether nobody listens where we dialled. That there was no answer at all would say less.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Whether the peer's system knew nothing of the connection any more, or its program threw it away.
    pub(super) fn is_reset(&self) -> bool {
        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        matches!(self, Self::Io(error) if kinds.contains(&error.kind()))
    }

    /// Whether it was chance alone: another connection, with other keys, will do.
    pub(super) fn is_chance(&self) -> bool {
        matches!(self, Self::Opening(OpeningError::Mse(MseError::LeadingZero)))
    }

    /// The torrent whose file the connection found fault with.
    pub(super) fn doubted(&self) -> Option<&Arc<Torrent>> {
        match self {
            Self::Store(StoreError::Unproven | StoreError::NoDescriptor, _)
            | Self::Metadata(MetadataError::Unavailable, _) => None,
            Self::Store(_, torrent) | Self::Metadata(MetadataError::Lost, torrent) => Some(torrent),
            _ => None,
        }
    }

    /// One of few words, for counting.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::BothSeeds => "seed",
            Self::Shutdown => "shutdown",
            Self::Unknown(_) | Self::Opening(OpeningError::UnknownTorrent) => "unknown_torrent",
            Self::Revoked(_) => "revoked",
            Self::Crowded(_) => "crowded",
            Self::Duplicate => "duplicate",
            Self::Displaced => "displaced",
            Self::Opening(OpeningError::InTheClear | OpeningError::Encrypted) => "encryption_policy",
            Self::Opening(OpeningError::Mse(error)) if are_policies_apart(error) => "encryption_policy",
            Self::Protocol(SessionError::OwnPeerId) => "ourselves",
            Self::Protocol(SessionError::Eof) => "network",
            Self::Store(StoreError::NoDescriptor, _) => "no_descriptor",
            Self::Store(..) | Self::Metadata(..) => "file",
            Self::Opening(OpeningError::Mse(MseError::LeadingZero)) => "keys",
            Self::OtherTorrent | Self::Opening(OpeningError::Mse(_)) => "violation",
            Self::Protocol(error) if error.is_violation() => "violation",
            Self::OpeningTimedOut | Self::Protocol(_) => "timeout",
            Self::Unreachable(_) | Self::Opening(OpeningError::Io(_) | OpeningError::Eof) | Self::Io(_) => {
                "network"
            }
        }
    }
}

/// Whether the peer offers what there is, but nothing that is allowed here.
fn are_policies_apart(error: &MseError) -> bool {
    /// Plaintext and RC4, as crypto_provide has them.
    const KNOWN: u32 = 0b11;
    matches!(error, MseError::NothingInCommon { provided } if provided & KNOWN != 0)
}
