//! What the rest of the program asks of the watcher: finds the thread that a question is for. Answers nothing itself.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::inbox::Bell;
use crate::files::{FilePath, RootId};

/// A look at a path that somebody waits for.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) at: FilePath,
    pub(super) done: oneshot::Sender<()>,
}

/// The thread that would have to look waits for a disk that doesn't answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk does not answer")]
pub(crate) struct DiskHangs;

/// How to reach one thread, and the directories that it watches.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) roots: Vec<RootId>,
    pub(super) checks: mpsc::Sender<Check>,
    pub(super) bell: Arc<Bell>,
    pub(super) hangs: watch::Receiver<bool>,
}

impl Desk {
    async fn hangs(&self) {
        let mut hangs = self.hangs.clone();
        if hangs.wait_for(|hangs| *hangs).await.is_err() {
            // Nobody watches over it any more, for it is to end.
            std::future::pending().await
        }
    }
}

/// Asks the watcher for things. Cheap to clone; when all are dropped the watcher ends.
#[derive(Clone, Debug)]
pub(crate) struct WatcherHandle {
    desks: Arc<[Desk]>,
    /// Which of them, in the order of the roots.
    of_root: Arc<[usize]>,
}

impl WatcherHandle {
    /// Together they have each root.
    pub(super) fn new(desks: Vec<Desk>) -> Self {
        let mut of_root = Vec::new();
        for (index, desk) in desks.iter().enumerate() {
            of_root.extend(desk.roots.iter().map(|root| (*root, index)));
        }
        of_root.sort_unstable();
        Self { desks: desks.into(), of_root: of_root.into_iter().map(|(_, index)| index).collect() }
    }

    fn desk(&self, root: RootId) -> Option<&Desk> {
        self.desks.get(*self.of_root.get(root.index())?)
    }

    /// Looks at a path on the disk now. Ends when the events that follow from what is there have been sent; at once
    /// if the watcher has stopped, or its disk is known to hang. The path may be anything that a network sent: what is
    /// not eligible yields nothing.
    pub(crate) async fn check(&self, at: FilePath) -> Result<(), DiskHangs> {
        let Some(desk) = self.desk(at.root) else { return Ok(()) };
        let answer = async {
            let (done, finished) = oneshot::channel();
            if desk.checks.send(Check { at, done }).await.is_ok() {
                // An error says that the watcher has stopped.
                let _ = finished.await;
            }
        };
        tokio::select! {
            biased;
            () = desk.hangs() => Err(DiskHangs),
            () = answer => Ok(()),
        }
    }

    /// A settled file changed while it was hashed: it is `Pending` again, and settled anew after a back-off. Never
    /// blocks; may be called from anywhere.
    pub(crate) fn unsettled(&self, at: FilePath) {
        if let Some(desk) = self.desk(at.root) {
            desk.bell.unsettle(at);
        }
    }

    /// Ends once a disk hangs that keeps what happens in a watched directory from being noticed.
    pub(crate) async fn hangs(&self, root: RootId) {
        match self.desk(root) {
            Some(desk) => desk.hangs().await,
            None => std::future::pending().await,
        }
    }

    /// One watched directory of each thread. To [check](Self::check) anything in one is to bring in what has happened
    /// in all that its thread watches.
    pub(crate) fn one_of_each_thread(&self) -> impl Iterator<Item = RootId> {
        self.desks.iter().filter_map(|desk| desk.roots.first().copied())
    }

    #[cfg(test)]
    pub(super) fn lose_events(&self, root: RootId) {
        if let Some(desk) = self.desk(root) {
            desk.bell.lose();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::files::Roots;

    /// Far more than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Nobody answers at this desk.
    fn desk() -> (FilePath, WatcherHandle, watch::Sender<bool>, mpsc::Receiver<Check>) {
        let roots = Roots::open(&[std::env::temp_dir()]).expect("a directory");
        let root = roots.iter().next().expect("one").0;
        let (checks, asked) = mpsc::channel(1);
        let (hangs, told) = watch::channel(false);
        let desk = Desk { roots: vec![root], checks, bell: Arc::default(), hangs: told };
        (FilePath::new(root, "a"), WatcherHandle::new(vec![desk]), hangs, asked)
    }

    #[tokio::test]
    async fn who_waits_for_a_disk_is_told_when_it_hangs() {
        let (at, handle, hangs, mut asked) = desk();
        let check = tokio::spawn(async move { handle.check(at).await });
        let check_asked = asked.recv().await.expect("a check");
        assert!(!check_asked.done.is_closed());
        hangs.send_replace(true);
        let answer = tokio::time::timeout(PATIENCE, check).await.expect("in time").expect("no panic");
        assert_eq!(answer, Err(DiskHangs));
        assert!(check_asked.done.is_closed(), "nobody waits for it any more");
    }

    #[tokio::test]
    async fn who_asks_a_disk_that_hangs_does_not_queue_for_it() {
        let (at, handle, hangs, mut asked) = desk();
        hangs.send_replace(true);
        for _ in 0..3 {
            assert_eq!(handle.check(at.clone()).await, Err(DiskHangs));
        }
        assert!(asked.try_recv().is_err(), "nothing is asked");
        hangs.send_replace(false);
        let check = tokio::spawn(async move { handle.check(at).await });
        let Check { done, .. } = asked.recv().await.expect("a check");
        done.send(()).expect("it waits");
        assert_eq!(check.await.expect("no panic"), Ok(()));
    }
}
