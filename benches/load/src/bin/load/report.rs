//! The figures: counted while the run counts, then put into words or JSON.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What takes longer counts as this: ten minutes.
const MAX_LATENCY_US: u64 = 600_000_000;

/// What is counted while blocks come.
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    /// From the request to the block's last byte, in microseconds.
    latency: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        // To one in a thousand.
        Ok(Self { bytes: 0, latency: Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)? })
    }

    pub(crate) fn data(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// A block is whole, so long after it was asked for.
    pub(crate) fn block(&mut self, latency: Duration) {
        self.latency.saturating_record(latency.as_micros() as u64);
    }

    pub(crate) fn reset(&mut self) {
        self.bytes = 0;
        self.latency.reset();
    }

    /// `None` where there were no blocks.
    pub(crate) fn latency_ms(&self, quantile: f64) -> Option<f64> {
        (!self.latency.is_empty()).then(|| self.latency.value_at_quantile(quantile) as f64 / 1e3)
    }
}

/// What a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) connections: u32,
    /// Connections that delivered nothing while it counted.
    pub(crate) idle: u32,
    /// Connections that the seeder closed.
    pub(crate) closed: u32,
    pub(crate) depth: u32,
    /// From before the first connection to when it counts: mostly when every connection has its first block.
    pub(crate) waited: f64,
    pub(crate) seconds: f64,
    pub(crate) bytes: u64,
    pub(crate) mb_per_second: f64,
    /// What the seeder took meanwhile, where its process is known.
    pub(crate) cpu_seconds: Option<f64>,
    /// From the request to the block's last byte.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// The seeder's processor seconds for 10⁹ bytes, where its process is known, as for the next three; none
    /// where it did nothing.
    pub(crate) cpu_seconds_per_gb: Option<f64>,
    pub(crate) gb_per_cpu_second: Option<f64>,
    /// Private memory before the first connection, and the most that was seen.
    pub(crate) memory_before: Option<u64>,
    pub(crate) memory_most: Option<u64>,
    /// The generator's own processor seconds: near `seconds`, it was what held things up.
    pub(crate) own_cpu_seconds: f64,
    pub(crate) right_pieces: u64,
    pub(crate) wrong_pieces: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, depth, waited, seconds, mb_per_second, .. } = self;
        write!(f, "{connections} connections of depth {depth}, {seconds:.1} s after {waited:.2} s: ")?;
        write!(f, "{mb_per_second:.0} MB/s")?;
        if let (Some(cpu), Some(rate)) = (self.cpu_seconds_per_gb, self.gb_per_cpu_second) {
            write!(f, ", {cpu:.3} CPU s/GB ({rate:.2} GB per CPU s)")?;
        }
        if let (0, Some(cpu)) = (self.bytes, self.cpu_seconds) {
            write!(f, ", {:.2} CPU ms a second", 1e3 * cpu / seconds)?;
        }
        if let (Some(p50), Some(p99)) = (self.p50_ms, self.p99_ms) {
            write!(f, ", block p50 {p50:.2} ms, p99 {p99:.2} ms")?;
        }
        if let (Some(before), Some(most)) = (self.memory_before, self.memory_most) {
            write!(f, ", RssAnon {:.1} MiB, {:.1} before", mib(most), mib(before))?;
        }
        write!(f, ", generator {:.0}% of a processor", 100.0 * self.own_cpu_seconds / seconds)?;
        if self.right_pieces + self.wrong_pieces > 0 {
            write!(f, ", pieces: {} right, {} wrong", self.right_pieces, self.wrong_pieces)?;
        }
        if self.closed + self.idle > 0 {
            write!(f, "; {} connections were closed, {} brought nothing", self.closed, self.idle)?;
        }
        Ok(())
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
