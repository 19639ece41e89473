//! What inotify says, in this program's words, in a bounded queue that never blocks the one who fills it: the thread
//! that reads inotify is also the one that answers when a watch is added. What does not fit is not lost in silence,
//! it becomes "look at everything again". Reads no directory and decides nothing about files.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind};
use tokio::sync::{Notify, mpsc};

use super::settle::Heard;
use crate::files::FilePath;

/// About what the kernel queues by default; each entry is a path and a few bytes.
const NEWS_QUEUE: usize = 16_384;

/// Something happened to a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    /// Absolute, below a directory that is watched, links resolved.
    pub(super) path: PathBuf,
    pub(super) heard: Heard,
}

impl News {
    fn of(mut event: Event) -> Option<Self> {
        let heard = match event.kind {
            EventKind::Create(_) => Heard::Looked,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Heard::Removed,
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Heard::MovedIn,
            // Both ends of a rename together: each was told of before, by itself.
            EventKind::Modify(ModifyKind::Name(_)) => return None,
            EventKind::Modify(ModifyKind::Metadata(_)) => Heard::Touched,
            EventKind::Modify(_) => Heard::Written,
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Heard::Closed,
            // Opening and reading are what this program itself does all day.
            EventKind::Access(_) | EventKind::Any | EventKind::Other => return None,
        };
        let path = event.paths.pop()?;
        Some(Self { path, heard })
    }
}

/// What reaches the watcher's thread beside its queues. Nothing here can fill up.
#[derive(Debug, Default)]
pub(super) struct Bell {
    lost: AtomicBool,
    /// No more than the files that were settled, each once.
    unsettled: Mutex<HashSet<FilePath>>,
    rung: Notify,
}

impl Bell {
    /// Events were lost: everything must be looked at.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.rung.notify_one();
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(super) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Acquire)
    }

    pub(super) fn unsettle(&self, file: FilePath) {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).insert(file);
        self.rung.notify_one();
    }

    pub(super) fn take_unsettled(&self) -> HashSet<FilePath> {
        std::mem::take(&mut self.unsettled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }
}

/// The queue of news, and the handler that fills it from inotify's thread.
pub(super) fn inbox(bell: Arc<Bell>) -> (impl notify::EventHandler, mpsc::Receiver<News>) {
    let (sender, receiver) = mpsc::channel(NEWS_QUEUE);
    let handler = move |event: notify::Result<Event>| match event {
        Ok(event) if event.need_rescan() => bell.lose(),
        Ok(event) => {
            if let Some(news) = News::of(event)
                && let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(news)
            {
                bell.lose();
            }
        }
        Err(error) => {
            tracing::warn!(%error, "reading inotify failed; looking at everything again");
            bell.lose();
        }
    };
    (handler, receiver)
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Flag};

    use super::*;

    fn written(path: &str) -> Event {
        Event::new(EventKind::Modify(ModifyKind::Data(DataChange::Any))).add_path(path.into())
    }

    #[test]
    fn tells_a_close_after_writing_from_an_open() {
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let news = News::of(Event::new(closed).add_path("/a".into()));
        assert_eq!(news, Some(News { path: "/a".into(), heard: Heard::Closed }));
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert_eq!(News::of(Event::new(opened).add_path("/a".into())), None);
    }

    #[test]
    fn takes_each_end_of_a_rename_once() {
        let renamed = |mode| EventKind::Modify(ModifyKind::Name(mode));
        let from = News::of(Event::new(renamed(RenameMode::From)).add_path("/a".into()));
        assert_eq!(from, Some(News { path: "/a".into(), heard: Heard::Removed }));
        let to = News::of(Event::new(renamed(RenameMode::To)).add_path("/b".into()));
        assert_eq!(to, Some(News { path: "/b".into(), heard: Heard::MovedIn }));
        let both = Event::new(renamed(RenameMode::Both)).add_path("/a".into()).add_path("/b".into());
        assert_eq!(News::of(both), None);
    }

    #[test]
    fn ignores_an_event_without_a_path() {
        assert_eq!(News::of(Event::new(EventKind::Create(CreateKind::File))), None);
    }

    #[test]
    fn a_full_queue_never_blocks_and_asks_for_a_look_at_everything() {
        let bell = Arc::new(Bell::default());
        let (mut handler, mut news) = inbox(Arc::clone(&bell));
        for _ in 0..NEWS_QUEUE {
            notify::EventHandler::handle_event(&mut handler, Ok(written("/a")));
        }
        assert!(!bell.take_lost());
        notify::EventHandler::handle_event(&mut handler, Ok(written("/b")));
        assert!(bell.take_lost());
        assert!(!bell.take_lost(), "taken once");
        assert_eq!(news.try_recv().map(|news| news.path).ok(), Some("/a".into()));
    }

    #[test]
    fn an_overflow_in_the_kernel_asks_for_a_look_at_everything() {
        let bell = Arc::new(Bell::default());
        let (mut handler, _news) = inbox(Arc::clone(&bell));
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        notify::EventHandler::handle_event(&mut handler, Ok(overflow));
        assert!(bell.take_lost());
    }
}
