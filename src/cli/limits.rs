//! The flags that bound what peers may use.

use std::time::Duration;

use clap::Args;

use crate::config::PeerLimits;

/// What peers may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits on peers")]
pub(super) struct LimitArgs {
    /// Connections at a time; further ones wait to be accepted
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().connections, value_parser = count)]
    max_peers: usize,

    /// Connections from one address
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().per_address, value_parser = count)]
    max_peers_per_address: usize,

    /// Connections for one torrent
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().per_torrent, value_parser = count)]
    max_peers_per_torrent: usize,

    /// Connections whose handshake isn't complete; a further one takes the place of the oldest
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().half_open, value_parser = count)]
    max_handshakes: usize,

    /// How many seconds a handshake may take
    #[arg(long, value_name = "SECONDS", default_value_t = PeerLimits::default().handshake.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    handshake_timeout: u64,

    /// How many seconds a peer may say nothing
    #[arg(long, value_name = "SECONDS", default_value_t = PeerLimits::default().silence.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle_timeout: u64,

    /// Requests of one peer that wait; those beyond are rejected
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().requests, value_parser = requests)]
    max_requests: usize,

    /// Bytes of one peer's stream that are kept until they can be understood
    #[arg(long, value_name = "BYTES", default_value_t = PeerLimits::default().unparsed)]
    #[arg(value_parser = |text: &str| bytes(text, 64 * 1024))]
    max_unparsed: usize,

    /// Bytes that wait for one peer that reads slowly
    #[arg(long, value_name = "BYTES", default_value_t = PeerLimits::default().unsent)]
    #[arg(value_parser = |text: &str| bytes(text, 4096))]
    max_unsent: usize,

    /// Messages a second of one peer that change nothing
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().idle_messages)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_idle_messages: u32,

    /// Violations of the protocol within ten minutes after which an address is held off for as long
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().violations)]
    max_violations: u32,
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("write a number from 1 up".to_owned()),
    }
}

/// Each takes a few bytes while it waits; a peer has no use for more.
const MAX_MAX_REQUESTS: usize = 65_536;

fn requests(text: &str) -> Result<usize, String> {
    match count(text) {
        Ok(requests) if requests <= MAX_MAX_REQUESTS => Ok(requests),
        _ => Err(format!("write a number from 1 to {MAX_MAX_REQUESTS}")),
    }
}

/// More for each connection is a slip of the finger.
const MAX_BYTES: usize = 16 * 1024 * 1024;

fn bytes(text: &str, min: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (min..=MAX_BYTES).contains(&bytes) => Ok(bytes),
        _ => Err(format!("write a number from {min} to {MAX_BYTES}")),
    }
}

impl From<LimitArgs> for PeerLimits {
    fn from(args: LimitArgs) -> Self {
        Self {
            connections: args.max_peers,
            per_address: args.max_peers_per_address,
            per_torrent: args.max_peers_per_torrent,
            half_open: args.max_handshakes,
            handshake: Duration::from_secs(args.handshake_timeout),
            silence: Duration::from_secs(args.idle_timeout),
            requests: args.max_requests,
            unparsed: args.max_unparsed,
            unsent: args.max_unsent,
            idle_messages: args.max_idle_messages,
            violations: args.max_violations,
        }
    }
}
