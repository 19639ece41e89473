//! What a packet is answered: from the packet, the addresses that it came by, the time and chance. Knows no socket.
//!
//! Who has not shown that it hears us (BEP 15: by a connection id) is given such an id and nothing else, in no more
//! bytes than it sent: a forged sender makes neither work nor traffic for anybody, and can announce nobody.

use std::sync::Arc;
use std::time::Instant;

use distributor_proto::{
    AnnounceRequest, AnnounceResponse, ConnectionIds, MAX_UDP_PEERS_V4, MAX_UDP_PEERS_V6, TransactionId,
    UdpQuestion, UdpRequest, encode_udp_announce, encode_udp_connect, encode_udp_error, encode_udp_scrape,
};
use rand::Rng;

use crate::announce::{Announces, Ends};
use crate::tracker::{AsksTooMuch, Families};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its sender was given an id.
    Connected,
    Announced,
    Scraped,
    /// Its sender was told why not.
    Refused,
    /// Its sender asks too much; dropped.
    OverLimit,
    /// It showed an id that was not its sender's; dropped.
    Stranger,
    /// It was no question; dropped.
    Malformed,
    /// There was an answer that could not be sent.
    Unsent,
}

impl Fate {
    /// All of them, in the order of their discriminants.
    pub(super) const ALL: [Self; 8] = [
        Self::Connected,
        Self::Announced,
        Self::Scraped,
        Self::Refused,
        Self::OverLimit,
        Self::Stranger,
        Self::Malformed,
        Self::Unsent,
    ];

    /// As it is counted.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Announced => "announced",
            Self::Scraped => "scraped",
            Self::Refused => "refused",
            Self::OverLimit => "over_limit",
            Self::Stranger => "stranger",
            Self::Malformed => "malformed",
            Self::Unsent => "unsent",
        }
    }
}

/// Answers one packet after the other.
#[derive(Debug)]
pub(super) struct Desk {
    announces: Arc<Announces>,
    ids: ConnectionIds,
    /// What was said last: it is filled anew each time, and takes no memory then.
    response: AnnounceResponse,
}

impl Desk {
    /// Ids are given by `secret`, and from `now` on.
    pub(super) fn new(announces: Arc<Announces>, secret: [u8; 16], now: Instant) -> Self {
        Self { announces, ids: ConnectionIds::new(secret, now), response: AnnounceResponse::default() }
    }

    /// Takes a packet, and appends what is to be sent back, if anything is. Says what became of it.
    pub(super) fn answer(
        &mut self,
        packet: &[u8],
        ends: Ends,
        now: Instant,
        rng: &mut impl Rng,
        out: &mut Vec<u8>,
    ) -> Fate {
        let asker = ends.remote.ip();
        let claim = match UdpRequest::parse(packet) {
            Ok(UdpRequest::Claim(claim)) => claim,
            Ok(UdpRequest::Connect(transaction)) => {
                encode_udp_connect(transaction, self.ids.issue(asker, now), out);
                return Fate::Connected;
            }
            Err(_) => return Fate::Malformed,
        };
        if !self.ids.accepts(claim.connection, asker, now) {
            return Fate::Stranger;
        }
        // Not before: nobody pays for what was sent in his name.
        if let Err(error) = self.announces.allowances.pay(asker, now) {
            return refuse(claim.transaction, error, packet.len(), out);
        }
        match claim.read() {
            Ok(UdpQuestion::Announce { request, .. }) => {
                self.announce(claim.transaction, request, ends, now, rng, out)
            }
            Ok(UdpQuestion::Scrape(hashes)) => {
                // Numbers go by their place: a torrent that isn't served has some, too.
                let stats =
                    hashes.iter().map(|info_hash| self.announces.scrape(&info_hash).unwrap_or_default());
                encode_udp_scrape(claim.transaction, stats, out);
                Fate::Scraped
            }
            Err(error) => {
                encode_udp_error(claim.transaction, &error.to_string(), out);
                Fate::Refused
            }
        }
    }

    fn announce(
        &mut self,
        transaction: TransactionId,
        mut request: AnnounceRequest,
        ends: Ends,
        now: Instant,
        rng: &mut impl Rng,
        out: &mut Vec<u8>,
    ) -> Fate {
        let asker = ends.remote.ip();
        // Who asks for more than fits is not searched for more.
        let room = if asker.is_ipv4() { MAX_UDP_PEERS_V4 } else { MAX_UDP_PEERS_V6 };
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        request.numwant = request.numwant.map(|wanted| wanted.min(room));
        match self.announces.announce(&request, ends, Families::Own, now, rng, &mut self.response) {
            Ok(()) => {
                encode_udp_announce(transaction, &self.response, asker, out);
                Fate::Announced
            }
            Err(not_served) => {
                encode_udp_error(transaction, &not_served.to_string(), out);
                Fate::Refused
            }
        }
    }
}

/// Says once a second to an address that it asks too much, in no more bytes than it asks. Silence, else: it costs least,
/// and clients ask ever more seldom then.
fn refuse(transaction: TransactionId, error: AsksTooMuch, len: usize, out: &mut Vec<u8>) -> Fate {
    if error.is_news {
        let start = out.len();
        encode_udp_error(transaction, &error.to_string(), out);
        if out.len() - start <= len {
            return Fate::Refused;
        }
        out.truncate(start);
    }
    Fate::OverLimit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::tests::of_nothing;
    use crate::tracker::Allowances;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use std::num::NonZeroU32;
    use std::time::Duration;

    /// What an address may ask at once where it may ask one question a second.
    const AT_ONCE: usize = 4;

    struct Room {
        desk: Desk,
        now: Instant,
    }

    impl Room {
        fn new() -> Self {
            let now = Instant::now();
            let announces = of_nothing(Allowances::new(NonZeroU32::new(1), now), now);
            Self { desk: Desk::new(announces.into(), [1; 16], now), now }
        }

        fn hear(&mut self, from: &str, packet: &[u8]) -> (Fate, Vec<u8>) {
            let remote = format!("{from}:5000").parse().unwrap();
            let ends = Ends { local: "10.0.0.1:6969".parse().unwrap(), remote };
            let mut answer = Vec::new();
            let fate = self.desk.answer(packet, ends, self.now, &mut SmallRng::seed_from_u64(1), &mut answer);
            (fate, answer)
        }

        /// A scrape of so many torrents, under the id that its sender was given.
        fn question(&mut self, from: &str, torrents: usize) -> Vec<u8> {
            let connect = [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 8]].concat();
            let (fate, answer) = self.hear(from, &connect);
            assert_eq!(fate, Fate::Connected);
            [&answer[8..], &[0, 0, 0, 2, 9, 9, 9, 9], &vec![7; 20 * torrents]].concat()
        }
    }

    #[test]
    fn who_asks_too_much_is_told_so_once_a_second_in_no_more_than_he_asked() {
        let mut room = Room::new();
        let [long, short] = [3, 1].map(|torrents| room.question("10.0.0.2", torrents));
        for _ in 0..AT_ONCE {
            assert_eq!(room.hear("10.0.0.2", &long).0, Fate::Scraped);
        }
        let (fate, answer) = room.hear("10.0.0.2", &long);
        assert_eq!((fate, answer.len() <= long.len()), (Fate::Refused, true));
        assert_eq!(answer[..8], [0, 0, 0, 3, 9, 9, 9, 9]);
        assert_eq!(room.hear("10.0.0.2", &long), (Fate::OverLimit, Vec::new()));
        room.now += Duration::from_secs(1);
        assert_eq!(room.hear("10.0.0.2", &short).0, Fate::Scraped);
        assert_eq!(room.hear("10.0.0.2", &short), (Fate::OverLimit, Vec::new()), "it doesn't fit");
        let others = room.question("10.0.0.3", 1);
        assert_eq!(room.hear("10.0.0.3", &others).0, Fate::Scraped);
    }

    #[test]
    fn nobody_pays_for_what_was_sent_in_his_name() {
        let mut room = Room::new();
        let stolen = room.question("10.0.0.2", 1);
        for _ in 0..10 * AT_ONCE {
            assert_eq!(room.hear("10.0.0.3", &stolen), (Fate::Stranger, Vec::new()));
            room.question("10.0.0.3", 1);
        }
        let own = room.question("10.0.0.3", 1);
        assert_eq!(room.hear("10.0.0.3", &own).0, Fate::Scraped);
    }

    #[test]
    fn counts_each_fate_in_its_place() {
        for (place, fate) in Fate::ALL.into_iter().enumerate() {
            assert_eq!(fate as usize, place, "{fate:?}");
        }
    }
}
