//! One host of a swarm: what it says of itself, whether the origin can come to its help, and how the policies see it.
//! Knows nothing of other hosts.

use std::time::Instant;

use distributor_proto::{AnnounceRequest, PeerId};

use super::progress::{Progress, Seen};
use crate::steering::{Host, Rack, Standing};

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: PeerId,
    pub(super) rack: Rack,
    pub(super) standing: Standing,
    pub(super) is_gateway: bool,
    /// When it announced itself last.
    pub(super) announced: Instant,
    pub(super) reports: Reports,
    progress: Progress,
    /// It has answered when the origin dialled it.
    answers: bool,
}

/// What hosts say that they have got from anybody, and given to anybody, since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reports {
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
}

impl Reports {
    pub(super) fn add(&mut self, other: Self) {
        self.downloaded = self.downloaded.saturating_add(other.downloaded);
        self.uploaded = self.uploaded.saturating_add(other.uploaded);
    }
}

impl Member {
    pub(super) fn new(id: PeerId, rack: Rack, is_seed: bool, now: Instant) -> Self {
        Self {
            id,
            rack,
            standing: if is_seed { Standing::Seeds } else { Standing::Downloads },
            is_gateway: false,
            announced: now,
            reports: Reports::default(),
            progress: Progress::new(now),
            answers: false,
        }
    }

    /// Takes note of its announce. Gives what it had reported before, if it has started anew since.
    pub(super) fn announces(&mut self, request: &AnnounceRequest, now: Instant) -> Reports {
        let reports = Reports { downloaded: request.downloaded, uploaded: request.uploaded };
        let before = std::mem::replace(&mut self.reports, reports);
        let is_anew = reports.downloaded < before.downloaded || reports.uploaded < before.uploaded;
        if request.peer_id != self.id || !self.standing.is_here() {
            self.progress.begin_anew(now);
            self.answers = false;
        }
        self.id = request.peer_id;
        self.standing = if request.is_seed() { Standing::Seeds } else { Standing::Downloads };
        self.announced = now;
        self.progress.says(request.left, now);
        if is_anew { before } else { Reports::default() }
    }

    /// The origin is connected to it and sees this, or isn't.
    pub(super) fn is_seen(&mut self, seen: Option<Seen>, now: Instant) {
        self.answers |= seen.is_some_and(|seen| seen.dialled);
        self.progress.is_seen(seen, now);
    }

    /// Whether the origin can come to its help: they are connected, or it can be dialled.
    pub(super) fn is_in_reach(&self) -> bool {
        self.answers || self.progress.is_watched()
    }

    /// What it lacks by its own account.
    pub(super) fn left(&self) -> Option<u64> {
        if self.standing == Standing::Seeds { Some(0) } else { self.progress.left() }
    }

    /// It downloads and gets nothing.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.standing == Standing::Downloads && self.progress.is_stalled(now)
    }

    /// As the policy judges it.
    pub(super) fn as_host<Id>(&self, id: Id, now: Instant) -> Host<Id> {
        // Of one that nobody watches and that says nothing against it the best is assumed.
        let progressed = if self.is_stalled(now) { self.progress.made() } else { now };
        Host { id, is_gateway: self.is_gateway, standing: self.standing, progressed }
    }
}

#[cfg(test)]
mod tests {
    use distributor_proto::{AnnounceEvent, InfoHash, PeerFormat};

    use super::*;
    use crate::steering::STALL;

    fn request(left: u64, downloaded: u64) -> AnnounceRequest {
        AnnounceRequest {
            info_hash: InfoHash::new([1; 20]),
            peer_id: PeerId::new([1; 20]),
            port: 6881,
            uploaded: 0,
            downloaded,
            left: Some(left),
            event: AnnounceEvent::Periodic,
            numwant: None,
            key: None,
            format: PeerFormat::Compact,
        }
    }

    fn member(now: Instant) -> Member {
        let mut member = Member::new(PeerId::new([1; 20]), Rack(1), false, now);
        member.announces(&request(10, 0), now);
        member
    }

    #[test]
    fn takes_as_little_as_it_says() {
        // Beside its address, twice, and what a tree of them has to spare.
        assert!(size_of::<Member>() <= 160, "{}", size_of::<Member>());
    }

    #[test]
    fn one_is_in_reach_while_it_is_connected_and_once_it_has_answered() {
        let start = Instant::now();
        let mut member = member(start);
        assert!(!member.is_in_reach());
        let seen = |dialled| Some(Seen { dialled, ..Seen::default() });
        for (dialled, is_in_reach_then) in [(false, false), (true, true)] {
            member.is_seen(seen(dialled), start);
            assert!(member.is_in_reach());
            member.is_seen(None, start);
            assert_eq!(member.is_in_reach(), is_in_reach_then);
        }
        member.announces(&AnnounceRequest { peer_id: PeerId::new([2; 20]), ..request(10, 0) }, start);
        assert!(!member.is_in_reach(), "that is another client");
    }

    #[test]
    fn one_that_has_it_all_never_stalls() {
        let start = Instant::now();
        let mut member = member(start);
        member.is_seen(Some(Seen::default()), start);
        member.announces(&request(0, 10), start);
        assert!(!member.is_stalled(start + 100 * STALL));
        assert_eq!(member.left(), Some(0));
    }

    #[test]
    fn one_that_starts_anew_leaves_what_it_had_reported() {
        let start = Instant::now();
        let mut member = member(start);
        assert_eq!(member.announces(&request(3, 7), start), Reports::default());
        let left = member.announces(&request(10, 0), start);
        assert_eq!(left, Reports { downloaded: 7, uploaded: 0 });
    }

    #[test]
    fn another_client_at_the_same_address_begins_afresh() {
        let start = Instant::now();
        let mut member = member(start);
        member.announces(&request(10, 0), start + STALL);
        assert!(member.is_stalled(start + STALL));
        let other = AnnounceRequest { peer_id: PeerId::new([2; 20]), ..request(10, 0) };
        member.announces(&other, start + 2 * STALL);
        assert!(!member.is_stalled(start + 2 * STALL));
    }
}
