//! What a packet is answered: from the packet, the addresses that it came by, the time and chance. Knows no socket.
//!
//! Who has not shown that it hears us (BEP 15: by a connection id) is given such an id and nothing else, in no more
//! bytes than it sent: a forged sender makes neither work nor traffic for anybody, and can announce nobody.

use std::sync::Arc;
use std::time::Instant;

use distributor_proto::{
    AnnounceRequest, AnnounceResponse, ConnectionIds, MAX_UDP_ANSWER_LEN, MAX_UDP_PEERS_V4, MAX_UDP_PEERS_V6,
    TransactionId, UdpQuestion, UdpRequest, encode_udp_announce, encode_udp_connect, encode_udp_error,
    encode_udp_scrape,
};
use rand::Rng;

use crate::announce::{Announces, Ends};
use crate::tracker::Families;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its sender was given an id.
    Connected,
    Announced,
    Scraped,
    /// Its sender was told why not.
    Refused,
    /// It showed an id that was not its sender's; dropped.
    Stranger,
    /// It was no question; dropped.
    Malformed,
    /// There was an answer that could not be sent.
    Unsent,
}

impl Fate {
    /// All of them, in the order of their discriminants.
    pub(super) const ALL: [Self; 7] = [
        Self::Connected,
        Self::Announced,
        Self::Scraped,
        Self::Refused,
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
    /// What was said last, and its bytes: both are filled anew each time, and take no memory then.
    response: AnnounceResponse,
    answer: Vec<u8>,
}

impl Desk {
    /// Ids are given by `secret`, and from `now` on.
    pub(super) fn new(announces: Arc<Announces>, secret: [u8; 16], now: Instant) -> Self {
        Self {
            announces,
            ids: ConnectionIds::new(secret, now),
            response: AnnounceResponse::default(),
            answer: Vec::with_capacity(MAX_UDP_ANSWER_LEN),
        }
    }

    /// Takes a packet; says what became of it, and what is to be sent back.
    pub(super) fn answer(
        &mut self,
        packet: &[u8],
        ends: Ends,
        now: Instant,
        rng: &mut impl Rng,
    ) -> (Fate, Option<&[u8]>) {
        self.answer.clear();
        let asker = ends.remote.ip();
        let claim = match UdpRequest::parse(packet) {
            Ok(UdpRequest::Claim(claim)) => claim,
            Ok(UdpRequest::Connect(transaction)) => {
                encode_udp_connect(transaction, self.ids.issue(asker, now), &mut self.answer);
                return (Fate::Connected, Some(&self.answer));
            }
            Err(_) => return (Fate::Malformed, None),
        };
        if !self.ids.accepts(claim.connection, asker, now) {
            return (Fate::Stranger, None);
        }
        let fate = match claim.read() {
            Ok(UdpQuestion::Announce { request, .. }) => {
                self.announce(claim.transaction, request, ends, now, rng)
            }
            Ok(UdpQuestion::Scrape(hashes)) => {
                // Numbers go by their place: a torrent that isn't served has some, too.
                let stats =
                    hashes.iter().map(|info_hash| self.announces.scrape(&info_hash).unwrap_or_default());
                encode_udp_scrape(claim.transaction, stats, &mut self.answer);
                Fate::Scraped
            }
            Err(error) => {
                encode_udp_error(claim.transaction, &error.to_string(), &mut self.answer);
                Fate::Refused
            }
        };
        (fate, Some(&self.answer))
    }

    fn announce(
        &mut self,
        transaction: TransactionId,
        mut request: AnnounceRequest,
        ends: Ends,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Fate {
        let asker = ends.remote.ip();
        // Who asks for more than fits is not searched for more.
        let room = if asker.is_ipv4() { MAX_UDP_PEERS_V4 } else { MAX_UDP_PEERS_V6 };
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        request.numwant = request.numwant.map(|wanted| wanted.min(room));
        match self.announces.announce(&request, ends, Families::Own, now, rng, &mut self.response) {
            Ok(()) => {
                encode_udp_announce(transaction, &self.response, asker, &mut self.answer);
                Fate::Announced
            }
            Err(not_served) => {
                encode_udp_error(transaction, &not_served.to_string(), &mut self.answer);
                Fate::Refused
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_fate_in_its_place() {
        for (place, fate) in Fate::ALL.into_iter().enumerate() {
            assert_eq!(fate as usize, place, "{fate:?}");
        }
    }
}
