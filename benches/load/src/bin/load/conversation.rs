//! One connection's side of whatever protocol it speaks, without its socket.

use std::time::Instant;

use distributor_load::Torrent;

use crate::report::Tally;
use crate::walk::Walk;

/// What came goes in, what is to be sent piles up in [`out`](Self::out).
pub(crate) trait Conversation {
    /// Still to be written to the socket.
    fn out(&mut self) -> &mut Vec<u8>;

    /// Takes what came, and asks for more.
    ///
    /// # Errors
    ///
    /// When the seeder breaks the protocol.
    fn received(
        &mut self,
        torrent: &Torrent,
        bytes: &[u8],
        now: Instant,
        tally: &mut Tally,
    ) -> anyhow::Result<()>;

    /// To be called now and then, and when there is more to ask for.
    fn tick(&mut self, _torrent: &Torrent, _now: Instant) {}

    /// Whether everything came that it was to download.
    fn is_over(&self) -> bool;

    /// What it has still to ask for, where that may be divided.
    fn walk(&mut self) -> Option<&mut Walk> {
        None
    }

    /// How many pieces were right and wrong, of those that were checked.
    fn checked(&self) -> (u64, u64) {
        (0, 0)
    }
}
