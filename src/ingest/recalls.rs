//! Settled files that are looked up among those remembered: many at a time, since one by one that would be the longest
//! part of a start. A lookup that hangs, as the state's disk may or that of a file that was moved, holds up no file for
//! long: what it was asked for is hashed, and so is all that comes while it hangs. Offers nothing.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::files::SettledFile;
use crate::state::Recalled;

/// How many files are looked up at a time.
const AT_ONCE: usize = 512;
/// How long that may take. A disk that is merely slow has answered by then.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of some files, in their order.
type Known = Vec<Option<Recalled>>;
/// Finds that out. May wait for a disk.
type LookUp = dyn Fn(&[SettledFile]) -> Known + Send + Sync;

pub(super) struct Recalls {
    look_up: Arc<LookUp>,
    patience: Duration,
    /// What is to be looked up next; what was called off meanwhile is still in it.
    waiting: VecDeque<SettledFile>,
    /// There is one at a time.
    under_way: Option<Lookup>,
    /// One that took too long. Nothing is looked up while there is one, so that it is one thread that hangs.
    hanging: Option<JoinHandle<Known>>,
}

struct Lookup {
    files: Arc<[SettledFile]>,
    known: JoinHandle<Known>,
    end: Instant,
}

impl Recalls {
    pub(super) fn new(look_up: impl Fn(&[SettledFile]) -> Known + Send + Sync + 'static) -> Self {
        Self {
            look_up: Arc::new(look_up),
            patience: PATIENCE,
            waiting: VecDeque::new(),
            under_way: None,
            hanging: None,
        }
    }

    pub(super) fn push(&mut self, file: SettledFile) {
        self.waiting.push_back(file);
    }

    /// The next files of those that were pushed, and what is known of each. Ends only if there are any; whoever stops
    /// waiting loses nothing.
    pub(super) async fn next(&mut self) -> Vec<(SettledFile, Option<Recalled>)> {
        if self.under_way.is_none() && !self.waiting.is_empty() {
            if self.is_hanging() {
                return std::mem::take(&mut self.waiting).into_iter().map(|file| (file, None)).collect();
            }
            self.under_way = Some(self.begin());
        }
        let Some(Lookup { known, end, .. }) = &mut self.under_way else { return pending().await };
        let answer = timeout_at(*end, known).await;
        let Some(Lookup { files, known, .. }) = self.under_way.take() else { return Vec::new() };
        // An error of the thread is a panic, which is logged.
        let answer = answer.map(Result::unwrap_or_default).unwrap_or_else(|_| {
            warn!(
                "looking up files among those remembered takes too long: the disk of the state, or of a file that was \
                 moved, doesn't answer; until it does, all files that come are hashed"
            );
            self.hanging = Some(known);
            Vec::new()
        });
        files.iter().cloned().zip(answer.into_iter().chain(std::iter::repeat_with(|| None))).collect()
    }

    fn begin(&mut self) -> Lookup {
        let files: Arc<[SettledFile]> = self.waiting.drain(..self.waiting.len().min(AT_ONCE)).collect();
        // A hundred thousand may have waited at the start, and hardly any will again.
        if self.waiting.is_empty() {
            self.waiting.shrink_to_fit();
        }
        let (look_up, asked) = (Arc::clone(&self.look_up), Arc::clone(&files));
        let known = spawn_blocking(move || look_up(&asked));
        Lookup { files, known, end: Instant::now() + self.patience }
    }

    fn is_hanging(&mut self) -> bool {
        if self.hanging.take_if(|known| known.is_finished()).is_some() {
            info!("files are looked up again among those remembered");
        }
        self.hanging.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use distributor_proto::InfoHash;

    use crate::files::{Binding, FilePath, Roots};

    fn file(inode: u64) -> SettledFile {
        let roots = Roots::open(&[std::env::temp_dir()]).unwrap();
        let (root, _) = roots.iter().next().unwrap();
        let binding = Binding::for_test(inode, 1, 1, 1);
        SettledFile::new(FilePath::new(root, "file"), Path::new("file"), binding)
    }

    /// Remembers all.
    fn known(files: &[SettledFile]) -> Known {
        let info_hash = InfoHash::of_info(b"de");
        files
            .iter()
            .map(|_| Some(Recalled { info_hash, metadata_len: 2, pieces: None, moved: false }))
            .collect()
    }

    fn count(answer: &[(SettledFile, Option<Recalled>)]) -> (usize, usize) {
        (answer.len(), answer.iter().filter(|(_, known)| known.is_some()).count())
    }

    #[tokio::test]
    async fn looks_up_so_many_at_a_time_in_their_order() {
        let mut recalls = Recalls::new(known);
        let all = AT_ONCE as u64 + 1;
        (0..all).for_each(|inode| recalls.push(file(inode)));
        let mut answers = recalls.next().await;
        assert_eq!(count(&answers), (AT_ONCE, AT_ONCE));
        answers.extend(recalls.next().await);
        assert!((0..all).eq(answers.iter().map(|(file, _)| file.binding.id().inode)));
    }

    #[tokio::test]
    async fn whoever_stops_waiting_loses_nothing() {
        let (go_on, held) = mpsc::channel();
        let held = std::sync::Mutex::new(held);
        let mut recalls = Recalls::new(move |files| {
            held.lock().unwrap().recv().unwrap();
            known(files)
        });
        recalls.push(file(1));
        tokio::select! {
            biased;
            _ = recalls.next() => panic!("it is held"),
            () = std::future::ready(()) => {}
        }
        go_on.send(()).unwrap();
        assert_eq!(count(&recalls.next().await), (1, 1));
    }

    #[tokio::test]
    async fn a_lookup_that_hangs_holds_up_no_file_and_takes_one_thread() {
        let (go_on, held) = mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let mut recalls = Recalls::new(move |files| {
            counted.fetch_add(1, Ordering::Relaxed);
            // Ends with the sender.
            let _ = held.lock().unwrap().recv();
            known(files)
        });
        recalls.patience = Duration::ZERO;
        for inode in 0..5 {
            recalls.push(file(inode));
            assert_eq!(count(&recalls.next().await), (1, 0), "it is hashed");
        }
        assert!(begun.load(Ordering::Relaxed) <= 1);
        drop(go_on);
        recalls.patience = Duration::from_secs(3600);
        while recalls.is_hanging() {
            tokio::task::yield_now().await;
        }
        recalls.push(file(5));
        assert_eq!(count(&recalls.next().await), (1, 1), "the disk is well again");
    }
}
