//! The life of a thread that watches: waits for news, requests and times, and sends the survey wherever one of them says. Decides
//! nothing about files and reads no directory itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::WatchEvent;
use super::handle::Check;
use super::inbox::{Bell, News};
use super::outlet::Stopped;
use super::settle::Heard;
use super::survey::Survey;
use super::sweep::Sweep;

/// How long inotify may take to tell of what it was made to. More is the way of a machine that is stuck.
const MARK_PATIENCE: Duration = Duration::from_secs(1);
/// How often to see whether the watched directories themselves are still there.
const ROOT_CHECK: Duration = Duration::from_secs(5);
/// How often to read the directories that no event, or not every event, is told of.
pub(super) const POLL: Duration = Duration::from_secs(10);
/// While directories are read again, they get a turn at least so often, whatever else there is to do.
const SWEEP_TURN: Duration = Duration::from_millis(5);
/// Reading directories again takes no more than a tenth of the time: it is followed by a pause of so many times as
/// long as it took.
const REST: u32 = 9;

/// How long to wait before directories are read again that took so long to read.
fn pause(period: Duration, took: Duration) -> Duration {
    period.max(took.saturating_mul(REST))
}

/// The thread's life.
pub(super) struct Rounds {
    survey: Survey,
    /// None if nothing tells of anything.
    news: Option<mpsc::Receiver<News>>,
    requests: mpsc::Receiver<Check>,
    bell: Arc<Bell>,
    sweeping: Option<Sweeping>,
    sweep_turn: Instant,
    root_check: Instant,
    poll: Instant,
    /// None if never.
    rescan: Option<Instant>,
    rescan_period: Duration,
}

/// Directories are being read again, whatever is told of them.
struct Sweeping {
    sweep: Sweep,
    all: bool,
    began: Instant,
}

enum Call {
    News(News),
    Check(Check),
    /// The bell rang, or a time has come.
    Look,
    Stop,
}

impl Rounds {
    /// Looks at everything again after each `rescan` period, or never if that is zero.
    pub(super) fn new(
        survey: Survey,
        news: Option<mpsc::Receiver<News>>,
        requests: mpsc::Receiver<Check>,
        bell: Arc<Bell>,
        rescan: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            survey,
            news,
            requests,
            bell,
            sweeping: None,
            sweep_turn: now,
            root_check: now + ROOT_CHECK,
            poll: now + POLL,
            // What no clock can tell is never.
            rescan: now.checked_add(rescan).filter(|_| !rescan.is_zero()),
            rescan_period: rescan,
        }
    }

    pub(super) fn walk(&mut self) -> Result<std::convert::Infallible, Stopped> {
        let began = Instant::now();
        self.survey.scan_all(Heard::Looked)?;
        self.survey.out().send(WatchEvent::Scanned(self.survey.root_ids()))?;
        self.all_read(began);
        loop {
            self.turn()?;
        }
    }

    fn turn(&mut self) -> Result<(), Stopped> {
        let call = if self.sweeping.is_some() { self.call_at_hand() } else { self.next_call()? };
        let idle = matches!(call, Call::Look);
        match call {
            Call::News(news) => self.survey.hear(&news)?,
            // Nobody waits for it any more.
            Call::Check(Check { done, .. }) if done.is_closed() => {}
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
        if now >= self.root_check {
            self.survey.check_roots()?;
            self.root_check = now + ROOT_CHECK;
        }
        match self.sweeping.take() {
            Some(sweeping) if idle || now >= self.sweep_turn => self.sweep_on(sweeping),
            None => {
                self.sweeping = self.sweep_due(now);
                Ok(())
            }
            waiting => {
                self.sweeping = waiting;
                Ok(())
            }
        }
    }

    /// What is to be read again by now.
    fn sweep_due(&mut self, now: Instant) -> Option<Sweeping> {
        let all = self.rescan.is_some_and(|rescan| now >= rescan);
        let sweep = if all {
            tracing::debug!("looking at all files again");
            Sweep::through_all(&mut self.survey)
        } else if now >= self.poll && !self.survey.polled.is_empty() {
            Sweep::through_polled(&mut self.survey)
        } else {
            return None;
        };
        Some(Sweeping { sweep, all, began: now })
    }

    fn sweep_on(&mut self, mut sweeping: Sweeping) -> Result<(), Stopped> {
        if self.survey.go_on(&mut sweeping.sweep)? {
            self.sweeping = Some(sweeping);
        } else if sweeping.all {
            tracing::debug!("looked at all files again");
            self.all_read(sweeping.began);
        } else {
            self.polled_read(sweeping.began);
        }
        self.sweep_turn = Instant::now() + SWEEP_TURN;
        Ok(())
    }

    fn all_read(&mut self, began: Instant) {
        self.rescan =
            self.rescan.and_then(|_| Instant::now().checked_add(pause(self.rescan_period, began.elapsed())));
        self.polled_read(began);
    }

    fn polled_read(&mut self, began: Instant) {
        self.poll = Instant::now() + pause(POLL, began.elapsed());
    }

    /// Events were lost. Those that were not come first, since they know more than a scan can find out.
    fn catch_up(&mut self) -> Result<(), Stopped> {
        tracing::warn!(
            "file events came too fast, so some were lost; reading all directories again, that nothing is missed; if \
             this is often so: sysctl fs.inotify.max_queued_events=131072"
        );
        self.hear_all()?;
        self.sweeping = None;
        let began = Instant::now();
        self.survey.scan_all(Heard::Lost)?;
        self.all_read(began);
        Ok(())
    }

    /// All that happened on the disk until now, even if inotify has yet to tell.
    fn hear_until_now(&mut self) -> Result<(), Stopped> {
        let Some(mark) = self.survey.mark() else { return self.hear_all() };
        let end = tokio::time::Instant::now() + MARK_PATIENCE;
        while !self.bell.is_lost() {
            let Self { survey, news: Some(news), .. } = self else { break };
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
        let Some(news) = &mut self.news else { return Ok(()) };
        for _ in 0..news.len() {
            if let Ok(news) = news.try_recv() {
                self.survey.hear(&news)?;
            }
        }
        Ok(())
    }

    /// When there is something to do though nothing calls. Times of what isn't done are none: they would pass again and
    /// again.
    fn next_time(&self) -> Instant {
        let poll = (!self.survey.polled.is_empty()).then_some(self.poll);
        [self.survey.next_due(), self.rescan, poll].into_iter().flatten().fold(self.root_check, Instant::min)
    }

    /// The next one, which is waited for until a time comes.
    fn next_call(&mut self) -> Result<Call, Stopped> {
        let next = self.next_time();
        let Self { survey, news, requests, bell, .. } = self;
        let news = async {
            match news {
                Some(news) => news.recv().await,
                None => std::future::pending().await,
            }
        };
        survey.out().wait(async {
            tokio::select! {
                news = news => news.map_or(Call::Stop, Call::News),
                request = requests.recv() => request.map_or(Call::Stop, Call::Check),
                () = bell.rung() => Call::Look,
                () = tokio::time::sleep_until(next.into()) => Call::Look,
            }
        })
    }

    /// One that need not be waited for, if there is one.
    fn call_at_hand(&mut self) -> Call {
        match self.requests.try_recv() {
            Ok(request) => return Call::Check(request),
            Err(TryRecvError::Disconnected) => return Call::Stop,
            Err(TryRecvError::Empty) => {}
        }
        match self.news.as_mut().map(mpsc::Receiver::try_recv) {
            Some(Ok(news)) => Call::News(news),
            Some(Err(TryRecvError::Disconnected)) => Call::Stop,
            Some(Err(TryRecvError::Empty)) | None => Call::Look,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    use super::super::inbox::inbox;
    use super::super::outlet::Outlet;
    use super::super::sweep::NAMES_AT_ONCE;
    use super::super::tests::{ground, plan};
    use super::super::watches::Watches;
    use super::*;
    use crate::files::{FilePath, RootId, Roots};

    #[test]
    fn rests_for_nine_tenths_of_the_time_but_no_less_than_was_set() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(POLL, Duration::ZERO), POLL);
        assert_eq!(pause(POLL, second), POLL);
        assert_eq!(pause(POLL, 2 * second), 18 * second);
        assert_eq!(pause(POLL, Duration::MAX), Duration::MAX);
    }

    struct Ground {
        temp: tempfile::TempDir,
        root: RootId,
        asks: mpsc::Sender<Check>,
        said: mpsc::Receiver<WatchEvent>,
    }

    /// With so many files, which have been met.
    fn rounds(files: usize, rescan: Duration) -> (Rounds, Ground) {
        let temp = ground();
        for name in 0..files {
            std::fs::File::create(temp.path().join(format!("root/{name}"))).expect("created");
        }
        let roots = Arc::new(Roots::open(&[temp.path().join("root")]).expect("a directory"));
        let root = roots.iter().next().expect("one").0;
        let bell = Arc::new(Bell::default());
        let (handler, news) = inbox(Arc::clone(&bell));
        let (events, said) = mpsc::channel(10);
        let out = Outlet::new(events, CancellationToken::new()).expect("a runtime");
        let mut survey = Survey::new(roots, vec![root], Watches::new(handler).expect("inotify"), plan(), out);
        survey.scan_all(Heard::Looked).expect("goes on");
        let (asks, requests) = mpsc::channel(1);
        let rounds = Rounds::new(survey, Some(news), requests, bell, rescan);
        (rounds, Ground { temp, root, asks, said })
    }

    #[test]
    fn sleeps_past_the_time_for_polling_where_nothing_is_polled() {
        let (mut rounds, Ground { root, .. }) = rounds(0, Duration::ZERO);
        rounds.poll = Instant::now();
        assert_eq!(rounds.next_time(), rounds.root_check);
        rounds.survey.polled.insert(FilePath::new(root, ""));
        assert_eq!(rounds.next_time(), rounds.poll);
    }

    #[test]
    fn a_check_is_answered_while_everything_is_looked_at_again() {
        let (mut rounds, Ground { temp, root, asks, mut said }) =
            rounds(10 * NAMES_AT_ONCE, Duration::from_nanos(1));
        while rounds.sweeping.is_none() {
            rounds.turn().expect("goes on");
        }
        std::fs::write(temp.path().join("root/new"), "x").expect("written");
        let at = FilePath::new(root, "new");
        let (done, mut answered) = oneshot::channel();
        asks.try_send(Check { at: at.clone(), done }).expect("there is room");
        rounds.turn().expect("goes on");
        assert_eq!(answered.try_recv(), Ok(()), "it is the next thing that is done");
        assert!(matches!(said.try_recv(), Ok(WatchEvent::Found(found, _)) if found == at));
        assert!(rounds.sweeping.is_some(), "there is more to look at");
        rounds.rescan = None;
        while rounds.sweeping.is_some() {
            rounds.turn().expect("goes on");
        }
    }
}
