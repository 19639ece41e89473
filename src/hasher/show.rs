//! Shows people how far hashing is: a bar on a terminal, a line in the log every few seconds otherwise. Owns the bar,
//! and keeps log lines from being drawn over; the numbers are `progress`'s.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use tracing::info;

use super::{HashingProgress, HashingStatus};

/// How often it is looked.
const PERIOD: Duration = Duration::from_millis(200);
/// What takes less isn't worth a word.
const SILENT: Duration = Duration::from_secs(1);
/// How often a line is logged.
const LINE_PERIOD: Duration = Duration::from_secs(5);

const BAR: &str = "hashing [{bar:32}] {binary_bytes} of {binary_total_bytes}, {msg}";

/// Stderr with a line at its end for the bar. Clones share it: hand one to whoever logs.
#[derive(Clone, Debug)]
pub struct Stderr {
    bars: MultiProgress,
}

impl Stderr {
    /// Stderr, which may or may not be a terminal.
    pub fn new() -> Self {
        Self { bars: MultiProgress::new() }
    }

    /// Shows this progress until what is returned is dropped.
    pub fn show(&self, progress: HashingProgress) -> Showing {
        let (stop, stopped) = mpsc::channel::<()>();
        let bars = io::stderr().is_terminal().then(|| self.bars.clone());
        let show = move || {
            let mut show = Show { bars, bar: None, since: None, logged: Instant::now() };
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PERIOD) {
                show.look(Instant::now(), progress.status());
            }
            show.end();
        };
        // Without a thread nothing is shown, which harms nobody.
        let thread = thread::Builder::new().name("progress".into()).spawn(show).ok();
        Showing { stop: Some(stop), thread }
    }
}

impl Default for Stderr {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Progress is shown until this is dropped.
#[derive(Debug)]
pub struct Showing {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Showing {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Show {
    bars: Option<MultiProgress>,
    bar: Option<ProgressBar>,
    /// Since when there has been something to hash.
    since: Option<Instant>,
    logged: Instant,
}

impl Show {
    fn look(&mut self, now: Instant, status: HashingStatus) {
        if status.files_left == 0 {
            self.end();
            return;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) < SILENT {
            return;
        }
        if let Some(bars) = &self.bars {
            let bar = self.bar.get_or_insert_with(|| {
                let style =
                    ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
                bars.add(ProgressBar::new(0).with_style(style.progress_chars("=> ")))
            });
            bar.set_length(status.bytes_done + status.bytes_left);
            bar.set_position(status.bytes_done);
            bar.set_message(in_words(&status));
        } else if now.saturating_duration_since(since.max(self.logged)) >= LINE_PERIOD {
            self.logged = now;
            info!("hashing: {} to go, {}", HumanBytes(status.bytes_left), in_words(&status));
        }
    }

    fn end(&mut self) {
        self.since = None;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn in_words(status: &HashingStatus) -> String {
    let files = match status.files_left {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    let rate = status.rate.map(|rate| format!(", {}/s", HumanBytes(rate))).unwrap_or_default();
    let left = status.time_left.map(|left| format!(", {} left", HumanDuration(left))).unwrap_or_default();
    format!("{files}{rate}{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_known() {
        let mut status = HashingStatus { files_left: 1, ..Default::default() };
        assert_eq!(in_words(&status), "1 file");
        status = HashingStatus {
            files_left: 3,
            rate: Some(2 << 30),
            time_left: Some(Duration::from_secs(7200)),
            ..status
        };
        assert_eq!(in_words(&status), "3 files, 2.00 GiB/s, 2 hours left");
    }

    #[test]
    fn the_bar_has_a_template_that_can_be_read() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
