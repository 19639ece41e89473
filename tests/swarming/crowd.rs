//! Twenty thousand hosts that are switched on in the same second.

use std::collections::BTreeMap;

use crate::support::crowd::{Told, announces_over_http, announces_over_udp};
use crate::support::tracker::{LOCALHOST, Tracker};

const HOSTS: u16 = 20_000;
/// How many peers an answer holds for those who don't say how many they want, the origin included.
const PEERS: usize = 50;
/// How many hosts may be told to come again after the same number of seconds.
const MAX_BACK_IN_ONE_SECOND: usize = HOSTS as usize / 10;

#[track_caller]
fn assert_all_well_answered(tracker: &Tracker, crowd: &[Told]) {
    assert_eq!(crowd.len(), usize::from(HOSTS));
    let origin = tracker.origin(LOCALHOST);
    let mut come_again = BTreeMap::<i64, usize>::new();
    let mut few = 0;
    for Told { host, interval, peers } in crowd {
        assert!(!peers.contains(host), "{host} is told of itself");
        assert!(peers.contains(&origin), "{host} isn't told of the origin");
        few += usize::from(peers.len() < PEERS);
        *come_again.entry(*interval).or_default() += 1;
    }
    // The first ones, before whom there were no others.
    assert!(few < PEERS, "{few} are told of fewer than {PEERS} peers");
    let most = come_again.values().max().copied().unwrap_or(0);
    assert!(most <= MAX_BACK_IN_ONE_SECOND, "{most} are to come again in the same second: {come_again:?}");
    assert_eq!(tracker.scrape(), [1, HOSTS.into(), 0], "each is counted once");
}

#[test]
fn a_crowd_that_announces_itself_over_http_at_once_is_answered_and_spread() {
    // Nobody listens where they are said to be.
    let tracker = Tracker::with(|setup| setup.quiet());
    assert_all_well_answered(&tracker, &announces_over_http(&tracker, HOSTS));
}

#[test]
fn a_crowd_that_announces_itself_over_udp_at_once_is_answered_and_spread() {
    let tracker = Tracker::with(|setup| setup.quiet());
    assert_all_well_answered(&tracker, &announces_over_udp(&tracker, HOSTS));
}
