//! What is counted of one connection, and of one torrent. Written relaxed by whoever does it, read at any time: numbers
//! of the same moment may be of slightly different ones.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Instant, SystemTime};

use distributor_proto::{InfoHash, PeerId};

use super::{FirstSent, rate};

/// What is known of a peer and doesn't change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAbout {
    pub(crate) addr: SocketAddr,
    pub(crate) info_hash: InfoHash,
    /// How long the torrent's pieces are, in bytes.
    pub(crate) piece_len: u32,
    pub(crate) peer_id: PeerId,
    pub(crate) since: SystemTime,
    pub(crate) dialled: bool,
    pub(crate) encrypted: bool,
}

/// One connection's counters, on a cache line of their own: nobody else's writes slow its own down.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counters {
    uploaded: AtomicU64,
    requests: AtomicU32,
    /// Pieces that the peer has, and that there are.
    have: AtomicU32,
    pieces: AtomicU32,
    interested: AtomicBool,
    unchoked: AtomicBool,
    is_shown_pieces: AtomicBool,
    shown: AtomicU32,
    /// Bytes a second.
    rate: AtomicU64,
    sampled: Mutex<Option<(Instant, u64, f64)>>,
}

impl Counters {
    pub(crate) fn add_uploaded(&self, bytes: u64) {
        // One connection writes.
        self.uploaded.store(self.uploaded().wrapping_add(bytes), Relaxed);
    }

    pub(crate) fn set_requests(&self, requests: usize) {
        self.requests.store(u32::try_from(requests).unwrap_or(u32::MAX), Relaxed);
    }

    pub(crate) fn set_pieces(&self, pieces: u32) {
        self.pieces.store(pieces, Relaxed);
    }

    pub(crate) fn set_have(&self, have: u32) {
        self.have.store(have, Relaxed);
    }

    pub(crate) fn set_standing(&self, interested: bool, unchoked: bool) {
        self.interested.store(interested, Relaxed);
        self.unchoked.store(unchoked, Relaxed);
    }

    /// It is shown pieces one by one from now on, or sees everything.
    pub(crate) fn set_shown_pieces(&self, is: bool) {
        self.is_shown_pieces.store(is, Relaxed);
    }

    pub(crate) fn add_shown(&self, pieces: usize) {
        self.shown.fetch_add(u32::try_from(pieces).unwrap_or(u32::MAX), Relaxed);
    }

    /// How many pieces it was shown; nothing where it sees everything.
    pub(crate) fn shown(&self) -> Option<u32> {
        self.is_shown_pieces.load(Relaxed).then(|| self.shown.load(Relaxed))
    }

    /// Bytes that were written to its socket since its handshake.
    pub(crate) fn uploaded(&self) -> u64 {
        self.uploaded.load(Relaxed)
    }

    /// Requests that wait for their blocks.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// Pieces that the peer has, by its own account.
    pub(crate) fn have(&self) -> u32 {
        self.have.load(Relaxed)
    }

    /// Thousandths of the torrent that it has.
    pub(crate) fn share(&self) -> u32 {
        let (have, pieces) = (u64::from(self.have()), u64::from(self.pieces.load(Relaxed)));
        u32::try_from((have * 1000).checked_div(pieces).unwrap_or(0)).unwrap_or(1000).min(1000)
    }

    pub(crate) fn is_interested(&self) -> bool {
        self.interested.load(Relaxed)
    }

    pub(crate) fn is_unchoked(&self) -> bool {
        self.unchoked.load(Relaxed)
    }

    /// Bytes a second, lately.
    pub(crate) fn rate(&self) -> u64 {
        self.rate.load(Relaxed)
    }

    /// Brings the rate up to date; to be called about every [`SAMPLING`](super::SAMPLING).
    pub(crate) fn sample(&self, now: Instant) {
        let uploaded = self.uploaded();
        let mut sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = sampled.map_or(0.0, |(at, before, mean)| {
            let seconds = now.saturating_duration_since(at).as_secs_f64();
            rate::mean(mean, uploaded.wrapping_sub(before), seconds)
        });
        *sampled = Some((now, uploaded, mean));
        self.rate.store(mean as u64, Relaxed);
    }
}

/// One torrent's counters.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    connections: AtomicU32,
    uploaded: AtomicU64,
    pieces_sent: AtomicU32,
    /// Milliseconds of Unix time; 0 is never.
    last_first: AtomicU64,
    /// Those of the swarm, for as long as that is there.
    first_sent: Mutex<Weak<FirstSent>>,
}

impl Tally {
    pub(super) fn add_connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// How many are left.
    pub(super) fn remove_connection(&self) -> u32 {
        self.connections.fetch_sub(1, Relaxed).saturating_sub(1)
    }

    pub(crate) fn add_uploaded(&self, bytes: u64) {
        self.uploaded.fetch_add(bytes, Relaxed);
    }

    /// A swarm begins anew: nobody is there who was given anything.
    pub(crate) fn begin(&self, first_sent: &Arc<FirstSent>) {
        self.pieces_sent.store(0, Relaxed);
        self.last_first.store(0, Relaxed);
        *self.first_sent.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(first_sent);
    }

    /// A piece went to somebody that had gone to nobody in this swarm; when, in milliseconds of Unix time.
    pub(crate) fn add_piece(&self, millis: u64) {
        self.pieces_sent.fetch_add(1, Relaxed);
        self.last_first.fetch_max(millis, Relaxed);
    }

    /// When each piece went out for the first time; nothing while nobody is connected.
    pub(crate) fn first_sent(&self) -> Option<Arc<FirstSent>> {
        self.first_sent.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Connections for it now.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Bytes that were written to its peers' sockets since the program began.
    pub(crate) fn uploaded(&self) -> u64 {
        self.uploaded.load(Relaxed)
    }

    /// How many pieces went out since the first of those came who are connected now, or were last.
    pub(crate) fn pieces_sent(&self) -> u32 {
        self.pieces_sent.load(Relaxed)
    }

    /// When the latest of them did so for the first time, in milliseconds of Unix time.
    pub(crate) fn last_first_sent(&self) -> Option<u64> {
        Some(self.last_first.load(Relaxed)).filter(|millis| *millis > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn counts_what_is_sent_and_how_fast() {
        let start = Instant::now();
        let counters = Counters::default();
        for second in 0..20 {
            counters.sample(start + Duration::from_secs(second));
            counters.add_uploaded(1_000_000);
        }
        assert_eq!(counters.uploaded(), 20_000_000);
        assert!((980_000..=1_000_000).contains(&counters.rate()), "{}", counters.rate());
    }

    #[test]
    fn knows_the_share_of_a_file_that_a_peer_has() {
        let counters = Counters::default();
        assert_eq!(counters.share(), 0, "before it is known how many pieces there are");
        counters.set_pieces(3);
        counters.set_have(1);
        assert_eq!(counters.share(), 333);
        counters.set_have(u32::MAX);
        assert_eq!(counters.share(), 1000);
    }
}
