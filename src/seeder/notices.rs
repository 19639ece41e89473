//! What a connection is told from elsewhere in the program. It comes seldom, and each connection's data all the time:
//! so whoever waits for both looks here only when there is news. To ask each time would be to lock, for every message
//! of every peer, what all connections share.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::slots::Decisions;
use crate::racks::Mailbox;

/// What is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The program ends.
    Shutdown,
    /// The torrent is served no longer.
    Revoked,
    /// A newcomer has taken the place among those whose handshake isn't complete.
    Displaced,
    /// The choker has decided; whether the peer is to be unchoked.
    Decision(bool),
    /// There is something in the mailbox.
    Letters,
}

/// One connection's notices.
#[derive(Debug)]
pub(super) struct Notices {
    /// Each is polled only when it was woken.
    waits: FuturesUnordered<Wait>,
}

type Wait = Pin<Box<dyn Future<Output = (Notice, Option<Source>)> + Send>>;

/// What there is more to hear from.
#[derive(Debug)]
enum Source {
    Decisions(Decisions),
    Mailbox(Arc<Mailbox>),
}

impl Notices {
    pub(super) fn new(
        shutdown: &CancellationToken,
        displaced: impl Future<Output = ()> + Send + 'static,
        decisions: Decisions,
    ) -> Self {
        let notices = Self { waits: FuturesUnordered::new() };
        notices.wait(shutdown.clone().cancelled_owned(), Notice::Shutdown);
        notices.wait(displaced, Notice::Displaced);
        notices.wait_for_decision(decisions);
        notices
    }

    /// From now on it is told when the torrent is served no longer.
    pub(super) fn wait_for_revocation(&self, revoked: &CancellationToken) {
        self.wait(revoked.clone().cancelled_owned(), Notice::Revoked);
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Notice {
        match self.waits.next().await {
            Some((notice, source)) => {
                match source {
                    Some(Source::Decisions(decisions)) => self.wait_for_decision(decisions),
                    Some(Source::Mailbox(mailbox)) => self.wait_for_letters(mailbox),
                    None => {}
                }
                notice
            }
            // There is always one that waits.
            None => std::future::pending().await,
        }
    }

    fn wait(&self, until: impl Future<Output = ()> + Send + 'static, notice: Notice) {
        self.waits.push(Box::pin(async {
            until.await;
            (notice, None)
        }));
    }

    fn wait_for_decision(&self, mut decisions: Decisions) {
        self.waits.push(Box::pin(async {
            let unchoked = decisions.next().await;
            (Notice::Decision(unchoked), Some(Source::Decisions(decisions)))
        }));
    }

    /// From now on it is told when something comes into its mailbox, or has come.
    pub(super) fn wait_for_letters(&self, mailbox: Arc<Mailbox>) {
        self.waits.push(Box::pin(async {
            mailbox.wait().await;
            (Notice::Letters, Some(Source::Mailbox(mailbox)))
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Instant;

    use super::*;
    use crate::seeder::slots::Slots;

    #[tokio::test]
    async fn tells_of_one_decision_after_the_other_and_of_the_end() {
        let (slots, shutdown, revoked) = (Slots::one(), CancellationToken::new(), CancellationToken::new());
        let seat = slots.take_seat([10, 0, 0, 1].into());
        let mut notices = Notices::new(&shutdown, pending(), seat.decisions());
        for interested in [true, false, true] {
            seat.set_interested(interested, Instant::now());
            assert_eq!(notices.next().await, Notice::Decision(interested));
        }
        notices.wait_for_revocation(&revoked);
        revoked.cancel();
        assert_eq!(notices.next().await, Notice::Revoked);
        shutdown.cancel();
        assert_eq!(notices.next().await, Notice::Shutdown);
    }
}
