//! What a session may use and how long it waits. Owns the defaults; refuses nothing: the values are the
//! operator's.

use std::time::Duration;

use crate::id::PeerId;

/// The settings of one session. A [`Duration::MAX`] means "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// What we call ourselves. A peer of that name is ourselves, and refused.
    pub our_id: PeerId,
    /// The most requests that wait for their blocks; 0 counts as 1. Beyond it the session stops reading.
    pub max_queued_requests: usize,
    /// How long the peer may take for its whole handshake.
    pub handshake_timeout: Duration,
    /// How long the peer may say nothing at all, keep-alives included, while we read.
    pub idle_timeout: Duration,
    /// After how long without anything sent we send a keep-alive.
    pub keep_alive: Duration,
    /// How long our writes may make no progress.
    pub stall_timeout: Duration,
}

impl SessionConfig {
    /// The defaults, as `our_id`.
    ///
    /// 512 requests are 8 MiB of ordinary blocks, more than goes out in one write; further ones wait in the
    /// socket, and a cancel has no more to look through. Clients send keep-alives every two minutes and give
    /// up after about that long, so ours come sooner and their silence is borne for twice the time.
    #[must_use]
    pub const fn new(our_id: PeerId) -> Self {
        Self {
            our_id,
            max_queued_requests: 512,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(4 * 60),
            keep_alive: Duration::from_secs(100),
            stall_timeout: Duration::from_secs(60),
        }
    }
}
