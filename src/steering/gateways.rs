//! Which hosts of a rack are its gateways: those that the origin gives pieces to and that know hosts of other racks.
//!
//! A single gateway would have to carry everything into its rack and its share out to others, two copies over one link;
//! so a rack has several, which get different pieces. Too many ask for the same pieces at the same time, each copy over
//! the uplink that all of them share.

use std::time::{Duration, Instant};

/// In racks no larger than this all hosts are gateways; larger ones have so many.
const MAX_GATEWAYS: usize = 8;
/// A host that got no piece for so long gets none: another takes its place, and it gets help itself.
pub(crate) const STALL: Duration = Duration::from_secs(10);

/// How a host stands, as far as the origin and the tracker can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Downloads,
    Seeds,
    /// It said that it leaves.
    Stopped,
    /// It broke off, or can't be reached.
    Vanished,
}

impl Standing {
    pub(crate) const fn is_here(self) -> bool {
        matches!(self, Self::Downloads | Self::Seeds)
    }
}

/// A host of one rack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host<Id> {
    pub(crate) id: Id,
    pub(crate) is_gateway: bool,
    pub(crate) standing: Standing,
    /// When it joined, or was last seen to have got a piece.
    pub(crate) progressed: Instant,
}

/// Why a gateway is one no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Stopped,
    Vanished,
    Stalled,
}

impl Why {
    /// One word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Vanished => "vanished",
            Self::Stalled => "stalled",
        }
    }
}

/// What is to change in a rack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Review<Id> {
    pub(crate) dismissed: Vec<(Id, Why)>,
    /// The origin dials these at once: some clients don't ask again for five minutes.
    pub(crate) appointed: Vec<Id>,
}

/// Whether a newcomer to a rack with so many gateways is one at once. The next review would say the same.
pub(crate) const fn wants_gateway(gateways: usize) -> bool {
    gateways < MAX_GATEWAYS
}

/// Looks at a rack, whose hosts are given in the order in which they joined. Gateways that left are replaced, and those
/// that stalled where another does better: first by who makes progress, then by who has it all. And whoever gets
/// nothing though it isn't a gateway becomes one, however many there are: nobody is cut off because its neighbours are.
/// As one that stalled is helped so after it was replaced, it isn't replaced again while as many others as should be do
/// better: otherwise, one after another, all hosts of its rack became gateways.
pub(crate) fn review<Id: Copy>(rack: &[Host<Id>], now: Instant) -> Review<Id> {
    let here = |host: &&Host<Id>| host.standing.is_here();
    let stalled = |host: &Host<Id>| {
        host.standing == Standing::Downloads && now.saturating_duration_since(host.progressed) >= STALL
    };
    let gateways = || rack.iter().filter(|host| host.is_gateway);
    let others = || rack.iter().filter(here).filter(|host| !host.is_gateway);
    let mut able: Vec<&Host<Id>> = others().filter(|host| !stalled(host)).collect();
    able.sort_by_key(|host| host.standing == Standing::Seeds);
    let mut able = able.into_iter().map(|host| host.id);

    let wanted = rack.iter().filter(here).count().min(MAX_GATEWAYS);
    let working = gateways().filter(here).filter(|host| !stalled(host)).count();
    let mut lacking = wanted.saturating_sub(working);
    let mut review = Review { dismissed: Vec::new(), appointed: Vec::new() };
    for host in gateways() {
        match host.standing {
            Standing::Stopped => review.dismissed.push((host.id, Why::Stopped)),
            Standing::Vanished => review.dismissed.push((host.id, Why::Vanished)),
            Standing::Downloads if lacking > 0 && stalled(host) => {
                if let Some(better) = able.next() {
                    review.dismissed.push((host.id, Why::Stalled));
                    review.appointed.push(better);
                    lacking -= 1;
                }
            }
            Standing::Downloads | Standing::Seeds => {}
        }
    }
    review.appointed.extend(able.take(lacking));
    review.appointed.extend(others().filter(|host| stalled(host)).map(|host| host.id));
    review
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rack(now: Instant, hosts: u32) -> Vec<Host<u32>> {
        (0..hosts)
            .map(|id| Host { id, is_gateway: false, standing: Standing::Downloads, progressed: now })
            .collect()
    }

    /// Does what a review says.
    fn apply(rack: &mut [Host<u32>], review: &Review<u32>) {
        for host in rack {
            host.is_gateway &= !review.dismissed.iter().any(|(id, _)| *id == host.id);
            host.is_gateway |= review.appointed.contains(&host.id);
        }
    }

    #[test]
    fn makes_gateways_of_all_hosts_of_a_small_rack_and_of_the_first_of_a_large_one() {
        let now = Instant::now();
        assert_eq!(review(&rack(now, 0), now).appointed, [0; 0]);
        assert_eq!(review(&rack(now, 1), now).appointed, [0]);
        assert_eq!(review(&rack(now, 8), now).appointed, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(review(&rack(now, 9), now).appointed, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn has_nothing_to_say_about_a_rack_that_is_as_it_should_be() {
        let now = Instant::now();
        let mut rack = rack(now, 40);
        let first = review(&rack, now);
        apply(&mut rack, &first);
        assert_eq!(review(&rack, now), Review { dismissed: vec![], appointed: vec![] });
    }

    #[test]
    fn replaces_gateways_that_leave_and_says_why() {
        let now = Instant::now();
        let mut rack = rack(now, 12);
        let first = review(&rack, now);
        apply(&mut rack, &first);
        rack[0].standing = Standing::Stopped;
        rack[3].standing = Standing::Vanished;
        let then = review(&rack, now);
        assert_eq!(then.dismissed, [(0, Why::Stopped), (3, Why::Vanished)]);
        assert_eq!(then.appointed, [8, 9]);
    }

    #[test]
    fn replaces_a_gateway_that_stalls_by_one_that_does_not() {
        let start = Instant::now();
        let mut rack = rack(start, 10);
        let first = review(&rack, start);
        apply(&mut rack, &first);
        let now = start + STALL;
        rack.iter_mut().filter(|host| host.id != 2 && host.id != 8).for_each(|host| host.progressed = now);
        let then = review(&rack, now);
        assert_eq!(then.dismissed, [(2, Why::Stalled)]);
        assert_eq!(then.appointed, [9, 8], "who is able, and who is stuck");
    }

    #[test]
    fn helps_one_that_stalls_for_long_and_replaces_it_once() {
        let start = Instant::now();
        let mut rack = rack(start, 40);
        let first = review(&rack, start);
        apply(&mut rack, &first);
        let mut dismissed = Vec::new();
        for second in 10..60 {
            let now = start + Duration::from_secs(second);
            rack.iter_mut().filter(|host| host.id != 2).for_each(|host| host.progressed = now);
            let then = review(&rack, now);
            dismissed.extend_from_slice(&then.dismissed);
            apply(&mut rack, &then);
        }
        assert_eq!(dismissed, [(2, Why::Stalled)]);
        let gateways: Vec<u32> = rack.iter().filter(|host| host.is_gateway).map(|host| host.id).collect();
        assert_eq!(gateways, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn keeps_gateways_that_stall_where_nobody_does_better() {
        let start = Instant::now();
        let mut rack = rack(start, 6);
        let first = review(&rack, start);
        apply(&mut rack, &first);
        assert_eq!(review(&rack, start + 2 * STALL), Review { dismissed: vec![], appointed: vec![] });
    }

    #[test]
    fn takes_those_that_have_it_all_only_when_nobody_downloads() {
        let now = Instant::now();
        let mut rack = rack(now, 10);
        rack.iter_mut().take(4).for_each(|host| host.standing = Standing::Seeds);
        assert_eq!(review(&rack, now).appointed, [4, 5, 6, 7, 8, 9, 0, 1]);
    }
}
