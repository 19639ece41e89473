//! Says when a thread that watches has waited for its disk for too long, and when it goes on. Touches no disk itself,
//! and can't do more about one that hangs than to tell: the operator, and those who wait for that thread.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::disk::Disk;

/// How long a disk may take to answer one question; a disk that spins up, or a server that fails over, may take some
/// seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to see what the threads wait for.
const TICK: Duration = Duration::from_secs(1);
/// Directories that one line names.
const MAX_NAMED: usize = 8;

/// A thread that watches, as the watchdog sees it.
#[derive(Debug)]
pub(super) struct Ward {
    disk: Arc<Disk>,
    /// The directories that it watches, as text.
    roots: String,
    /// What was said to hang, until the thread was seen without a question.
    said: Option<PathBuf>,
}

impl Ward {
    pub(super) fn new<'a>(disk: Arc<Disk>, roots: impl Iterator<Item = &'a Path>) -> Self {
        Self { disk, roots: names(roots), said: None }
    }

    fn look(&mut self) {
        self.judge(self.disk.unanswered(PATIENCE));
    }

    /// A disk that takes as long for each answer is said to hang once, not for each: to answer again is to leave
    /// no question open.
    fn judge(&mut self, unanswered: Option<(PathBuf, Duration)>) {
        match (unanswered, &self.said) {
            (Some((path, waited)), None) if waited >= PATIENCE => {
                tracing::error!(
                    "{path:?} has not answered for {} s; what happens in {} isn't noticed until it does",
                    waited.as_secs(),
                    self.roots
                );
                self.said = Some(path);
            }
            (None, Some(path)) => {
                tracing::info!("{path:?} answers again; what happens in {} is noticed", self.roots);
                self.said = None;
            }
            _ => {}
        }
    }
}

fn names<'a>(mut roots: impl Iterator<Item = &'a Path>) -> String {
    let mut names = String::new();
    for (number, root) in roots.by_ref().take(MAX_NAMED).enumerate() {
        let _ = write!(names, "{}{root:?}", if number > 0 { ", " } else { "" });
    }
    match roots.count() {
        0 => names,
        more => names + &format!(" and {more} more"),
    }
}

/// Watches over threads until it is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// None once it is to end.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(super) fn start(mut wards: Vec<Ward>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            while goes_on(&stopped) {
                wards.iter_mut().for_each(Ward::look);
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

/// After the next tick, or at once if not.
fn goes_on(stopped: &Receiver<()>) -> bool {
    stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout)
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches over the watchers panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ward() -> Ward {
        Ward::new(Arc::default(), [Path::new("/served")].into_iter())
    }

    fn waiting(path: &str, waited: Duration) -> Option<(PathBuf, Duration)> {
        Some((path.into(), waited))
    }

    #[test]
    fn says_once_that_a_disk_hangs_and_once_that_it_goes_on() {
        let mut ward = ward();
        ward.judge(waiting("/served/a", PATIENCE - Duration::from_millis(1)));
        assert_eq!(ward.said, None);
        for seconds in 0..3 {
            ward.judge(waiting("/served/a", PATIENCE + Duration::from_secs(seconds)));
            assert_eq!(ward.said.as_deref(), Some(Path::new("/served/a")));
        }
        ward.judge(None);
        assert_eq!(ward.said, None);
    }

    #[test]
    fn a_disk_that_hangs_at_each_question_is_said_to_hang_once() {
        let mut ward = ward();
        for path in ["/served/a", "/served/b", "/served/c"] {
            ward.judge(waiting(path, PATIENCE));
            assert_eq!(ward.said.as_deref(), Some(Path::new("/served/a")));
            ward.judge(waiting(path, Duration::ZERO));
            assert_eq!(ward.said.as_deref(), Some(Path::new("/served/a")));
        }
    }

    #[test]
    fn names_no_more_directories_than_fit_a_line() {
        let roots: Vec<PathBuf> = (0..MAX_NAMED + 2).map(|n| format!("/{n}").into()).collect();
        assert_eq!(names(roots[..2].iter().map(AsRef::as_ref)), r#""/0", "/1""#);
        let all = names(roots.iter().map(AsRef::as_ref));
        assert!(all.ends_with(r#""/7" and 2 more"#), "{all}");
    }
}
