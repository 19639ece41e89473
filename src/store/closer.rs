//! Where files are closed that nobody sends from any more.

use std::fs::File;
use std::sync::mpsc;

use tracing::warn;

/// Closes files on a thread of its own: on a network file system that may wait for a server as a read does, and the
/// last who holds a file is a worker of the runtime.
#[derive(Clone, Debug)]
pub(super) struct Closer(mpsc::Sender<File>);

impl Closer {
    /// Without a thread for it files are closed by whoever holds them last.
    pub(super) fn start() -> Self {
        let (files, to_close) = mpsc::channel();
        let close_all = move || to_close.into_iter().for_each(drop);
        if let Err(error) = std::thread::Builder::new().name("closer".into()).spawn(close_all) {
            warn!(%error, "no thread can be started to close files on");
        }
        Self(files)
    }

    pub(super) fn close(&self, file: File) {
        let _ = self.0.send(file);
    }
}
