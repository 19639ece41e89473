//! The figures: counted while the run counts, then put into words or JSON.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::answer::Answer;

/// What takes longer counts as this: a minute.
const MAX_LATENCY_US: u64 = 60_000_000;

/// What is counted while answers come.
pub(crate) struct Tally {
    answered: u64,
    refused: u64,
    wrong: u64,
    peers: u64,
    bytes: u64,
    /// Of answers with peers, in microseconds.
    latency: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        // To one in a thousand.
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)?;
        Ok(Self { answered: 0, refused: 0, wrong: 0, peers: 0, bytes: 0, latency })
    }

    pub(crate) fn count(&mut self, answer: Answer, waited: Duration) {
        match answer {
            Answer::Peers { peers, len } => {
                self.answered += 1;
                self.peers += peers as u64;
                self.bytes += len as u64;
                self.latency.saturating_record(waited.as_micros() as u64);
            }
            Answer::Refused => self.refused += 1,
            Answer::Connection(_) | Answer::Wrong => self.wrong += 1,
        }
    }

    /// Of any kind.
    pub(crate) fn answers(&self) -> u64 {
        self.answered + self.refused + self.wrong
    }

    pub(crate) fn reset(&mut self) {
        (self.answered, self.refused, self.wrong, self.peers, self.bytes) = (0, 0, 0, 0, 0);
        self.latency.reset();
    }

    /// `cpu` is the tracker's, `own` this program's.
    pub(crate) fn report(&self, seconds: f64, cpu: Option<f64>, own: f64) -> Report {
        let each = |sum: u64| sum as f64 / (self.answered as f64).max(1.0);
        Report {
            answered: self.answered,
            refused: self.refused,
            wrong: self.wrong,
            peers: each(self.peers),
            bytes: each(self.bytes),
            a_second: self.answered as f64 / seconds,
            a_cpu_second: cpu.map(|cpu| self.answered as f64 / cpu).filter(|figure| figure.is_finite()),
            p50_us: self.latency.value_at_quantile(0.5),
            p99_us: self.latency.value_at_quantile(0.99),
            cpu_share: cpu.map(|cpu| cpu / seconds),
            own_cpu_share: own / seconds,
        }
    }
}

/// What a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Announces that were answered with peers; all figures but the next two are of these.
    answered: u64,
    /// Announces that were answered with a reason why not.
    refused: u64,
    /// Announces that had no answer that a client would understand, or none within five seconds.
    wrong: u64,
    /// Peers and bytes (HTTP's head included) of an answer.
    peers: f64,
    bytes: f64,
    a_second: f64,
    /// For each of the tracker's processor seconds, where its process is known.
    a_cpu_second: Option<f64>,
    /// From when it was asked, connecting included.
    p50_us: u64,
    p99_us: u64,
    /// How much of a processor the tracker took, and this program.
    cpu_share: Option<f64>,
    own_cpu_share: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} announces answered, {} refused, {} wrong", self.answered, self.refused, self.wrong)?;
        writeln!(f, "{:.1} peers and {:.0} bytes an answer", self.peers, self.bytes)?;
        writeln!(
            f,
            "{:.0} a second; waited for {} µs (p50), {} µs (p99)",
            self.a_second, self.p50_us, self.p99_us
        )?;
        if let (Some(figure), Some(share)) = (self.a_cpu_second, self.cpu_share) {
            writeln!(
                f,
                "{figure:.0} a processor second of the tracker, which took {share:.2} of a processor"
            )?;
        }
        write!(f, "this program took {:.2} of a processor", self.own_cpu_share)
    }
}
