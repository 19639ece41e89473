//! The watcher's thread: waits for news, requests and times, and sends the survey wherever one of them says. Decides
//! nothing about files and reads no directory itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::inbox::{Bell, News};
use super::outlet::Stopped;
use super::settle::Heard;
use super::survey::Survey;
use super::{Check, WatchEvent};

/// How long inotify may take to tell of what it was made to. More is the way of a machine that is stuck.
const MARK_PATIENCE: Duration = Duration::from_secs(1);
/// How often to see whether the watched directories themselves are still there.
const ROOT_CHECK: Duration = Duration::from_secs(5);
/// How often to read the directories that can't be watched.
const POLL: Duration = Duration::from_secs(30);

/// The thread's life.
pub(super) struct Rounds {
    pub(super) survey: Survey,
    pub(super) news: mpsc::Receiver<News>,
    pub(super) requests: mpsc::Receiver<Check>,
    pub(super) bell: Arc<Bell>,
}

enum Call {
    News(News),
    Check(Check),
    /// The bell rang, or a time has come.
    Look,
    Stop,
}

impl Rounds {
    pub(super) fn walk(&mut self) -> Result<std::convert::Infallible, Stopped> {
        self.survey.scan_all(Heard::Looked)?;
        self.survey.out().send(WatchEvent::Scanned)?;
        let mut root_check = Instant::now() + ROOT_CHECK;
        let mut poll = Instant::now() + POLL;
        loop {
            let next = self.survey.next_due().map_or(root_check, |due| due.min(root_check).min(poll));
            match self.next_call(next)? {
                Call::News(news) => self.survey.hear(&news)?,
                Call::Check(Check { at, done }) => {
                    self.hear_until_now()?;
                    if self.bell.take_lost() {
                        self.catch_up()?;
                    }
                    self.survey.check(&at)?;
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                }
                Call::Look => {}
                Call::Stop => return Err(Stopped),
            }
            if self.bell.take_lost() {
                self.catch_up()?;
            }
            for at in self.bell.take_unsettled() {
                self.survey.unsettle(&at)?;
            }
            let now = Instant::now();
            self.survey.look_at_due(now)?;
            if now >= root_check {
                self.survey.check_roots()?;
                root_check = now + ROOT_CHECK;
            }
            if now >= poll {
                self.survey.poll_unwatched()?;
                poll = now + POLL;
            }
        }
    }

    /// Events were lost. Those that were not come first, since they know more than a scan can find out.
    fn catch_up(&mut self) -> Result<(), Stopped> {
        tracing::warn!("file events came too fast; reading all directories again");
        self.hear_all()?;
        self.survey.scan_all(Heard::Lost)
    }

    /// All that happened on the disk until now, even if inotify has yet to tell.
    fn hear_until_now(&mut self) -> Result<(), Stopped> {
        let Some(mark) = self.survey.mark() else { return self.hear_all() };
        let end = tokio::time::Instant::now() + MARK_PATIENCE;
        while !self.bell.is_lost() {
            let Self { survey, news, .. } = self;
            match survey.out().wait(async { tokio::time::timeout_at(end, news.recv()).await })? {
                Ok(Some(news)) if news.path == mark => return Ok(()),
                Ok(Some(news)) => self.survey.hear(&news)?,
                Ok(None) => return Err(Stopped),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// All that has come so far.
    fn hear_all(&mut self) -> Result<(), Stopped> {
        for _ in 0..self.news.len() {
            if let Ok(news) = self.news.try_recv() {
                self.survey.hear(&news)?;
            }
        }
        Ok(())
    }

    fn next_call(&mut self, next: Instant) -> Result<Call, Stopped> {
        let Self { survey, news, requests, bell } = self;
        survey.out().wait(async {
            tokio::select! {
                news = news.recv() => news.map_or(Call::Stop, Call::News),
                request = requests.recv() => request.map_or(Call::Stop, Call::Check),
                () = bell.rung() => Call::Look,
                () = tokio::time::sleep_until(next.into()) => Call::Look,
            }
        })
    }
}
