//! For how long a peer counts as present: by what it was told, and by what its client makes of that. A pure function.

use std::time::Duration;

use distributor_proto::PeerId;

/// How seldom clients announce of their own accord, whatever they are told (BEP 20 says who is who): libtorrent and
/// those made of it never sooner than this, rtorrent when it isn't short of peers, aria2 while it has no connection at
/// all.
const FLOORS: [(&[u8], u32); 9] = [
    (b"-LT", 300),
    (b"-qB", 300),
    (b"-DE", 300),
    (b"-lt", 600),
    (b"A2-", 120),
    (b"-TR", 0),
    (b"-CD", 0),
    (b"-rQ", 0),
    (b"-WW", 0),
];
/// That of clients that we don't know: the largest known.
const UNKNOWN_FLOOR: u32 = 600;
/// What a retry takes, or a restart of ours.
const GRACE: u32 = 60;

/// How many seconds from its announce on a peer counts as present that was told `interval`: one lost announce is
/// forgiven.
pub(super) fn patience(interval: Duration, id: &PeerId) -> u16 {
    let known = FLOORS.iter().find(|(prefix, _)| id.as_bytes().starts_with(prefix));
    let floor = known.map_or(UNKNOWN_FLOOR, |(_, floor)| *floor);
    let told = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX);
    let patience = told.max(floor).saturating_mul(2).saturating_add(GRACE);
    u16::try_from(patience).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_each_as_long_as_its_client_takes() {
        let waits = |id: &[u8; 20], told| patience(Duration::from_secs(told), &PeerId::new(*id));
        assert_eq!(waits(b"-TR3000-abcdefghijkl", 30), 120);
        assert_eq!(waits(b"A2-1-36-0-abcdefghij", 30), 300);
        assert_eq!(waits(b"-qB4520-abcdefghijkl", 30), 660);
        assert_eq!(waits(b"-LT2080-abcdefghijkl", 900), 1860);
        assert_eq!(waits(b"-lt0D98-abcdefghijkl", 30), 1260);
        assert_eq!(waits(b"-XX0001-abcdefghijkl", 30), 1260, "it may be any client");
        assert_eq!(waits(b"-XX0001-abcdefghijkl", u64::MAX), u16::MAX);
    }
}
