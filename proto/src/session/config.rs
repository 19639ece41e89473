//! What a session may use, how long it waits and what it says of us. Owns the defaults; refuses nothing: the
//! values are the operator's.

use std::time::Duration;

use crate::{geometry::Geometry, id::PeerId, message::MAX_MESSAGE_LEN};

/// How many times what may wait is borne in refused requests in ten seconds. Clients that don't look at `reqq` have
/// more of them in flight, and all may cross with a choke.
const REFUSED_QUEUES: u32 = 4;

/// The fewest refused requests that are borne in ten seconds, however short the queue.
const MIN_REFUSED: u32 = 2048;

/// How many bytes are kept by default: room for a read of 128 KiB that begins in the middle of the longest frame.
pub const MAX_KEPT_LEN: usize = 256 * 1024;
const _: () = assert!(4 + MAX_MESSAGE_LEN + 128 * 1024 <= MAX_KEPT_LEN);

/// How much may wait to be sent by default: thousands of rejects.
pub const MAX_CONTROL_LEN: usize = 64 * 1024;

/// The settings of one session. A [`Duration::MAX`] means "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// What we call ourselves. A peer of that name is ourselves, and refused.
    pub our_id: PeerId,
    /// Our name and version, for people (BEP 10's `v`).
    pub client: &'static str,
    /// Where we take connections, for peers that we dialled (BEP 10's `p`).
    pub listen_port: Option<u16>,
    /// The most requests that wait for their blocks; 0 counts as 1. Those beyond it are rejected or, without BEP
    /// 6, not read. Peers are told (BEP 10's `reqq`).
    pub max_queued_requests: usize,
    /// How many pieces a peer may have while it is choked (BEP 6); 0 is none, and
    /// [`MAX_ALLOWED_FAST`](crate::MAX_ALLOWED_FAST) the most.
    pub allowed_fast: u32,
    /// How many messages a second that change nothing are borne, on average over ten seconds; 0 counts as 1.
    /// Requests that are refused count apart, and more are borne.
    pub max_idle_messages: u32,
    /// The most bytes of a peer's stream that are kept until they can be parsed. A driver that reads so many bytes at a
    /// time less [`MAX_MESSAGE_LEN`](crate::MAX_MESSAGE_LEN) and 4, and heeds
    /// [`wants_input`](crate::Session::wants_input), never gets there.
    pub max_kept_len: usize,
    /// How many bytes of what waits to be sent, blocks apart, are borne before nothing more is read: a peer that
    /// reads no answers asks for no more of them. One message can add a reject for each request that waits.
    pub max_control_len: usize,
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
    /// 1,024 requests are 16 MiB of ordinary blocks: peers that heed it ask for no more at a time, and 10 Gbit/s over
    /// 10 ms hold 12 MiB. Here they take 24 KiB, and a cancel has no more to look through. Clients send keep-alives
    /// every two minutes and give up after about that long, so ours come sooner and their silence is borne for
    /// twice the time.
    #[must_use]
    pub const fn new(our_id: PeerId) -> Self {
        Self {
            our_id,
            client: concat!("distributor ", env!("CARGO_PKG_VERSION")),
            listen_port: None,
            max_queued_requests: 1024,
            allowed_fast: 2,
            max_idle_messages: 100,
            max_kept_len: MAX_KEPT_LEN,
            max_control_len: MAX_CONTROL_LEN,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(4 * 60),
            keep_alive: Duration::from_secs(100),
            stall_timeout: Duration::from_secs(60),
        }
    }

    /// How many messages that change nothing are borne in ten seconds.
    pub(super) fn idle_burst(&self) -> u32 {
        self.max_idle_messages.max(1).saturating_mul(10)
    }

    /// How many refused requests are borne in ten seconds.
    pub(super) fn refused_burst(&self) -> u32 {
        let queue = u32::try_from(self.max_queued_requests).unwrap_or(u32::MAX);
        queue.saturating_mul(REFUSED_QUEUES).max(MIN_REFUSED)
    }
}

/// What the driver knows of a torrent that we seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeding {
    /// The torrent's pieces.
    pub geometry: Geometry,
    /// Bytes in the bencoded info dictionary.
    pub metadata_len: u32,
    /// Whether the peer is told at first that we have nothing, and of pieces only as they are
    /// [shown](crate::Input::Show) to it (super-seeding).
    pub begins_empty: bool,
}
