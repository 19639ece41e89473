//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Downloads from a seeder and measures it.
#[derive(Debug, clap::Parser)]
pub(crate) struct Options {
    /// Where the seeder listens.
    pub(crate) seeder: SocketAddr,
    /// The .torrent of the file that it seeds.
    pub(crate) torrent: PathBuf,
    /// How many connections there are.
    #[arg(long, short = 'n', default_value_t = 1, value_name = "N")]
    pub(crate) connections: u32,
    /// How many requests each connection has under way, where the seeder says that it takes as many. With none, what is
    /// measured is what connections cost that are interested and ask for nothing.
    #[arg(long, short, default_value_t = 128, value_name = "N")]
    pub(crate) depth: u32,
    /// How long is measured, from when every connection has its first block (or `--patience` is over, as it has to be
    /// where nothing is asked for).
    #[arg(long, short, default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Download the file once, each connection its part, in place of `--seconds`; measured from the first byte.
    #[arg(long)]
    pub(crate) once: bool,
    /// How long to wait for the last connection's first block before measuring without it.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) patience: Duration,
    /// Speak HTTP, and fetch the file from this path; there are no blocks then, nor is anything checked.
    #[arg(long, value_name = "PATH", conflicts_with = "check")]
    pub(crate) http: Option<String>,
    /// Check the SHA-1 of every piece.
    #[arg(long)]
    pub(crate) check: bool,
    /// The seeder's process; more than once if it has several.
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Vec<i32>,
    /// Connect from this address and those that follow it, one for each connection, since many seeders take few
    /// connections from one.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<IpAddr>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
