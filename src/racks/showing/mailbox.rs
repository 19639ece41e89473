//! What one connection is to show to its peer, and how it learns of it.

use std::sync::Mutex;

use distributor_proto::PieceIndex;
use tokio::sync::Notify;

use super::lock;

/// Pieces to be shown that its connection has not yet heard of: no more than the torrent has.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    letters: Mutex<Letters>,
    news: Notify,
}

/// What is to be shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Letters {
    pub(crate) pieces: Vec<PieceIndex>,
    /// And all others.
    pub(crate) everything: bool,
}

impl Mailbox {
    pub(super) fn put(&self, piece: PieceIndex) {
        lock(&self.letters).pieces.push(piece);
        self.news.notify_one();
    }

    pub(super) fn put_everything(&self) {
        lock(&self.letters).everything = true;
        self.news.notify_one();
    }

    /// Waits for something to be in it. One connection does.
    pub(crate) async fn wait(&self) {
        self.news.notified().await;
    }

    /// What is in it, which may be nothing.
    pub(crate) fn take(&self) -> Letters {
        std::mem::take(&mut lock(&self.letters))
    }
}
