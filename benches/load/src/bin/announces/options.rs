//! The command line.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

/// How announces are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Over {
    /// HTTP/1.1, a connection for each, as libtorrent does.
    Http,
    /// HTTP/1.1, one connection a host, as libcurl does.
    KeepAlive,
    /// UDP (BEP 15).
    Udp,
}

/// Announces to a tracker and measures it.
#[derive(Debug, clap::Parser)]
pub(crate) struct Options {
    /// Where the tracker answers.
    pub(crate) tracker: SocketAddrV4,
    /// A file of info hashes in hexadecimal, a line each.
    pub(crate) hashes: PathBuf,
    /// How announces are made.
    #[arg(long, value_enum, default_value_t = Over::Http)]
    pub(crate) over: Over,
    /// How many hosts there are, each a peer of every swarm with one announce under way.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50_000))]
    pub(crate) hosts: u16,
    /// How many peers each asks for.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) numwant: u32,
    /// The first host's address; the others follow it.
    #[arg(long, default_value = "127.0.64.1", value_name = "ADDRESS")]
    pub(crate) from: Ipv4Addr,
    /// All hosts share the first one's address, as behind a translated one.
    #[arg(long)]
    pub(crate) one_address: bool,
    /// How many announces a second each host makes, whether the last was answered in time or not; waiting counts from
    /// when one was due. Without it each asks as soon as it is answered.
    #[arg(long, value_name = "N")]
    pub(crate) pace: Option<f64>,
    /// How long is measured, from when each host has joined every swarm.
    #[arg(long, short, default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Measure no more than so many announces.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true, value_name = "N")]
    pub(crate) announces: u64,
    /// Measure at once, without having all hosts join first.
    #[arg(long)]
    pub(crate) at_once: bool,
    /// The tracker's process; more than once if it has several.
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Vec<i32>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
