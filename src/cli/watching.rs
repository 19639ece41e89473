//! The flags that say how changes are noticed, which files are meant, and when they are finished.

use std::time::Duration;

use clap::Args;

use crate::config::{IgnoreGlob, WatchConfig, WatchMode};

/// What `serve` takes to know which files there are, and which are finished.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(super) struct WatchingArgs {
    /// How to notice changes: by inotify, by reading all directories every 10 seconds (poll), or by inotify and, where
    /// that doesn't tell of all (NFS, CIFS, FUSE), both (auto)
    #[arg(long, value_name = "HOW", default_value_t)]
    watch: WatchMode,

    /// Look at all files again every so many seconds, for changes that no event told of; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86_400))]
    rescan: u64,

    /// Leave out files and directories of this name or, with a "/" in it, path: *.iso, sub/dir; repeat for more
    #[arg(long, value_name = "GLOB")]
    ignore: Vec<IgnoreGlob>,

    /// Offer *.part, *.tmp, *.aria2, *.crdownload and *~ too, which are left out otherwise
    #[arg(long)]
    no_default_ignores: bool,

    /// Offer a file only when nothing changed it for so many seconds, be it closed or still open; one that is renamed
    /// into place is offered at once. 0: when it is closed
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86_400))]
    settle: u64,

    /// Serve a file that was replaced or deleted for so many more seconds to those who are downloading it
    #[arg(long, value_name = "SECONDS", default_value_t = 600, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86_400))]
    grace: u64,
}

impl WatchingArgs {
    pub(super) fn config(self) -> WatchConfig {
        let mut ignore = if self.no_default_ignores { Vec::new() } else { WatchConfig::default().ignore };
        ignore.extend(self.ignore);
        WatchConfig {
            mode: self.watch,
            rescan: Duration::from_secs(self.rescan),
            settle: Duration::from_secs(self.settle),
            ignore,
        }
    }

    pub(super) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace)
    }
}
