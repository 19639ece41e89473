//! One host of a swarm: what it says of itself, what the origin sees of it, and whether it gets anywhere. Knows nothing
//! of other hosts.

use std::time::Instant;

use distributor_proto::{AnnounceRequest, PeerId};

use crate::steering::{Host, Rack, STALL, Standing};

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: PeerId,
    pub(super) rack: Rack,
    pub(super) standing: Standing,
    pub(super) is_gateway: bool,
    /// When it announced itself last.
    pub(super) announced: Instant,
    pub(super) reports: Reports,
    /// What it lacks, by its own account.
    left: Option<u64>,
    /// Since when it says that it lacks so much.
    left_since: Instant,
    /// It said so again when [`STALL`] had passed.
    says_stalled: bool,
    /// What the origin saw of it when it last got something, where they are connected.
    seen: Option<Seen>,
    /// When it joined, or was last seen or heard to have got something.
    progressed: Instant,
}

/// What the origin sees of a host over its connections to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How many pieces it says that it has. aria2 tells nobody of those that it had from them.
    pub(crate) pieces: u32,
    /// Bytes that the origin sent to it.
    pub(crate) sent: u64,
}

/// So many bytes from the origin are something: other messages than blocks are not as long together.
const SOMETHING: u64 = 16 * 1024;

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.pieces = self.pieces.max(other.pieces);
        self.sent = self.sent.saturating_add(other.sent);
    }

    /// Whether it has got something since.
    fn is_past(self, before: Self) -> bool {
        self.pieces > before.pieces || self.sent >= before.sent.saturating_add(SOMETHING)
    }
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
            left: None,
            left_since: now,
            says_stalled: false,
            seen: None,
            progressed: now,
        }
    }

    /// Takes note of its announce. Gives what it had reported before, if it has started anew since.
    pub(super) fn announces(&mut self, request: &AnnounceRequest, now: Instant) -> Reports {
        let reports = Reports { downloaded: request.downloaded, uploaded: request.uploaded };
        let before = std::mem::replace(&mut self.reports, reports);
        let is_anew = reports.downloaded < before.downloaded || reports.uploaded < before.uploaded;
        if request.peer_id != self.id || !self.standing.is_here() {
            // What the one before it did says nothing of this one.
            (self.left, self.says_stalled, self.progressed) = (None, false, now);
        }
        self.id = request.peer_id;
        self.standing = if request.is_seed() { Standing::Seeds } else { Standing::Downloads };
        self.announced = now;
        if request.left == self.left {
            self.says_stalled |=
                self.left.is_some() && now.saturating_duration_since(self.left_since) >= STALL;
        } else {
            if self.left.zip(request.left).is_some_and(|(before, left)| left < before) {
                self.progressed = now;
            }
            (self.left, self.left_since, self.says_stalled) = (request.left, now, false);
        }
        if is_anew { before } else { Reports::default() }
    }

    /// The origin is connected to it and sees this, or isn't.
    pub(super) fn is_seen(&mut self, now_seen: Option<Seen>, now: Instant) {
        match (self.seen, now_seen) {
            // Of another connection than before, which has sent nothing yet.
            (Some(before), Some(seen)) if !seen.is_past(before) => {
                self.seen = Some(Seen { sent: before.sent.min(seen.sent), ..before });
            }
            (_, seen) => {
                // Also when it has just connected: until then there was nothing to be seen.
                if seen.is_some() {
                    (self.progressed, self.says_stalled) = (now, false);
                }
                self.seen = seen;
            }
        }
    }

    /// What it lacks by its own account.
    pub(super) fn left(&self) -> Option<u64> {
        if self.standing == Standing::Seeds { Some(0) } else { self.left }
    }

    /// It downloads and gets nothing. Where the origin isn't connected to it, only its own word says so.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.standing == Standing::Downloads
            && now.saturating_duration_since(self.progressed) >= STALL
            && (self.seen.is_some() || self.says_stalled)
    }

    /// As the policy judges it.
    pub(super) fn as_host<Id>(&self, id: Id, now: Instant) -> Host<Id> {
        // Of one that nobody watches and that says nothing against it the best is assumed.
        let progressed = if self.is_stalled(now) { self.progressed } else { now };
        Host { id, is_gateway: self.is_gateway, standing: self.standing, progressed }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use distributor_proto::{AnnounceEvent, InfoHash, PeerFormat};

    use super::*;

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
    fn one_that_nobody_watches_stalls_when_it_says_so_and_not_before() {
        let start = Instant::now();
        let mut member = member(start);
        assert!(!member.is_stalled(start + 100 * STALL), "it has not said anything");
        let just_before = start + STALL - Duration::from_millis(1);
        member.announces(&request(10, 0), just_before);
        assert!(!member.is_stalled(start + STALL), "it asked too soon to tell");
        member.announces(&request(10, 0), start + STALL);
        assert!(member.is_stalled(start + STALL));
        member.announces(&request(9, 1), start + 2 * STALL);
        assert!(!member.is_stalled(start + 100 * STALL));
    }

    #[test]
    fn one_that_the_origin_sees_stalls_when_it_gets_no_piece() {
        let start = Instant::now();
        let mut member = member(start);
        let seen = |pieces, sent| Some(Seen { pieces, sent });
        member.is_seen(seen(0, 0), start);
        assert!(!member.is_stalled(start + STALL - Duration::from_millis(1)));
        assert!(member.is_stalled(start + STALL));
        member.is_seen(seen(0, SOMETHING - 1), start + STALL);
        assert!(member.is_stalled(start + STALL), "that is no block");
        member.is_seen(seen(1, SOMETHING - 1), start + STALL);
        assert!(!member.is_stalled(start + STALL));
        member.is_seen(seen(1, 2 * SOMETHING - 1), start + 2 * STALL);
        assert!(!member.is_stalled(start + 2 * STALL), "it has not said what became of it");
        member.is_seen(seen(1, 0), start + 3 * STALL);
        assert!(member.is_stalled(start + 3 * STALL), "that is another connection");
        member.is_seen(seen(1, SOMETHING), start + 3 * STALL);
        assert!(!member.is_stalled(start + 3 * STALL));
        member.is_seen(None, start + 3 * STALL);
        assert!(!member.is_stalled(start + 100 * STALL), "now nobody watches it");
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
