//! Reading directories, a few names at a time, so that somebody else can have a turn in between however many there are.
//! What is met is looked at, and so is what was known and not met. When to do so is for others to say.

use std::path::Path;
use std::sync::Arc;

use super::look::Found;
use super::outlet::Stopped;
use super::settle::Heard;
use super::survey::{Names, Survey};
use crate::files::FilePath;

/// Names that are looked at in one go: well below a millisecond's work on a local disk.
pub(super) const NAMES_AT_ONCE: usize = 64;

/// A way through directories, as far as it has been gone.
pub(super) struct Sweep {
    /// Its number: what was met before has a lower one.
    scan: u64,
    /// What to think of the files that are met.
    heard: Heard,
    /// Whether it leads into all directories that are met, or only into new ones.
    deep: bool,
    ahead: Vec<FilePath>,
    stage: Option<Stage>,
}

/// Where in a directory it is.
enum Stage {
    Reading(FilePath, Names),
    /// All names were read. Those that were known and not among them come in their order.
    Missing(FilePath, Arc<Path>),
}

impl Sweep {
    /// Through these directories and all below them.
    pub(super) fn through(survey: &mut Survey, tops: Vec<FilePath>, heard: Heard) -> Self {
        survey.scan += 1;
        Self { scan: survey.scan, heard, deep: true, ahead: tops, stage: None }
    }

    /// Through everything, for changes that nobody told of.
    pub(super) fn through_all(survey: &mut Survey) -> Self {
        let tops = survey.root_ids().into_iter().map(|id| FilePath::new(id, "")).collect();
        Self::through(survey, tops, Heard::Looked)
    }

    /// Through the directories that nobody tells of.
    pub(super) fn through_polled(survey: &mut Survey) -> Self {
        let tops = survey.polled.iter().cloned().collect();
        Self { deep: false, ..Self::through(survey, tops, Heard::Looked) }
    }
}

impl Survey {
    /// Goes a part of the way; whether there is more of it.
    pub(super) fn go_on(&mut self, sweep: &mut Sweep) -> Result<bool, Stopped> {
        self.out.check()?;
        for _ in 0..NAMES_AT_ONCE {
            sweep.stage = match sweep.stage.take() {
                Some(Stage::Reading(directory, names)) => Some(self.read_on(sweep, directory, names)?),
                Some(Stage::Missing(directory, last)) => self.miss(sweep, directory, &last)?,
                None => match sweep.ahead.pop() {
                    Some(directory) => self.begin(directory)?,
                    None => return Ok(false),
                },
            };
        }
        Ok(true)
    }

    fn begin(&mut self, directory: FilePath) -> Result<Option<Stage>, Stopped> {
        if directory.path.as_os_str().is_empty() && !self.meet_root(directory.root)? {
            return Ok(None);
        }
        Ok(self.enter(&directory)?.map(|names| Stage::Reading(directory, names)))
    }

    /// Looks at the next name of a directory.
    fn read_on(
        &mut self,
        sweep: &mut Sweep,
        directory: FilePath,
        mut names: Names,
    ) -> Result<Stage, Stopped> {
        let Names { path, entries } = &mut names;
        let name = match self.disk.ask(path, || entries.next()) {
            Some(Ok(entry)) => entry.file_name(),
            end => {
                if let Some(Err(error)) = end {
                    tracing::warn!(?directory, %error, "reading the directory stopped half-way");
                }
                let first = directory.path.clone();
                return Ok(Stage::Missing(directory, first));
            }
        };
        let at = FilePath::new(directory.root, directory.path.join(name));
        if let Found::Directory { new } = self.look(&at, sweep.heard, None)?
            && (new || sweep.deep)
        {
            sweep.ahead.push(at);
        }
        Ok(Stage::Reading(directory, names))
    }

    /// Looks at the next path that is known in a directory, unless it was met.
    fn miss(
        &mut self,
        sweep: &mut Sweep,
        directory: FilePath,
        last: &Path,
    ) -> Result<Option<Stage>, Stopped> {
        let Some((child, met)) = self.tree(directory.root).child_after(&directory.path, last) else {
            return Ok(None);
        };
        if met < sweep.scan {
            let at = FilePath::new(directory.root, child.clone());
            // It may have come back since the names were read.
            if let Found::Directory { new: true } = self.look(&at, sweep.heard, None)? {
                sweep.ahead.push(at);
            }
        }
        Ok(Some(Stage::Missing(directory, child)))
    }
}
