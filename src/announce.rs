//! What an announce or a scrape is answered, whichever way it came: whether its torrent is served and why not, where
//! the asker finds the origin if it is to be told of it, and that the seeder hears of downloaders. Who is in the swarm is
//! the tracker's to know, who is near whom is for `racks`, and bytes are for those who speak HTTP and UDP.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributor_proto::{
    AnnounceEvent, AnnounceRequest, AnnounceResponse, InfoHash, PeerAddr, PeerId, ScrapeStats, canonical,
};
use rand::Rng;
use tokio::sync::mpsc;

use crate::catalog::Catalog;
use crate::config::AdvertisedAddr;
use crate::racks::Racks;
use crate::tracker::{Allowances, Choice, Departure, Downloader, Families, Tracker, Whom, numwant};

/// The origin is a seeder that never announces.
const ORIGIN: u32 = 1;

/// The two ends of what a question came by, v4 addresses as such.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// Where it was asked.
    pub(crate) local: SocketAddr,
    /// Who asks.
    pub(crate) remote: SocketAddr,
}

/// Why an announce is refused, as a client's user reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotServed {
    /// It was served once.
    #[error("{0}")]
    Departed(Departure),
    /// Nothing is known of it.
    #[error("no file of this torrent is served here now, or it is still being hashed")]
    Unknown,
}

impl NotServed {
    /// How many minutes later it may be served (BEP 31). Never "never": whatever left can come back, a file that was
    /// touched as soon as it is hashed.
    pub(crate) fn retry_in(&self) -> u32 {
        match self {
            Self::Departed(_) => 5,
            Self::Unknown => 1,
        }
    }
}

/// Everything that announces are answered from.
#[derive(Debug)]
pub(crate) struct Announces {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) racks: Arc<Racks>,
    /// Whether the origin dials those who aren't told of it. If not, everybody is.
    pub(crate) dials: bool,
    /// How much each address may ask; whoever hears the question sees to it.
    pub(crate) allowances: Allowances,
    /// To whom it is said that a host has begun to download.
    pub(crate) downloaders: mpsc::Sender<Downloader>,
    /// Who the seeder says it is.
    pub(crate) our_id: PeerId,
    /// Where the seeder listens.
    pub(crate) peers_addr: SocketAddr,
    pub(crate) advertise: Vec<AdvertisedAddr>,
}

impl Announces {
    /// Fills in `response`, whose list of peers may be an old one: it is used again.
    ///
    /// # Errors
    ///
    /// When no file of the torrent is served. Nothing is remembered of who asks for what there is not.
    pub(crate) fn announce(
        &self,
        request: &AnnounceRequest,
        ends: Ends,
        families: Families,
        now: Instant,
        rng: &mut impl Rng,
        response: &mut AnnounceResponse,
    ) -> Result<(), NotServed> {
        if !self.catalog.is_served(&request.info_hash) {
            let departure = self.tracker.departure(&request.info_hash);
            return Err(departure.map_or(NotServed::Unknown, NotServed::Departed));
        }
        let ip = ends.remote.ip();
        if !request.is_seed() && request.event != AnnounceEvent::Stopped && request.port != 0 {
            let addr = SocketAddr::new(ip, request.port);
            // When there are too many at once they announce themselves again.
            let _ = self.downloaders.try_send(Downloader { info_hash: request.info_hash, addr });
        }
        let asker = canonical(SocketAddr::new(ip, request.port));
        let admits = |peer: IpAddr| families.introduce(peer, asker.ip());
        let advice = self.racks.announced(request, asker, numwant(request), admits, now, rng);
        let peers = &mut response.peers;
        peers.clear();
        // The origin goes first, and takes the place of another peer if there is no room.
        if request.wants_seeds() && (advice.origin || !self.dials) {
            let origin = origin_for(ends.local.ip(), self.peers_addr, &self.advertise);
            let origin = origin.filter(|addr| families.admit(addr.ip(), ip));
            peers.extend(origin.map(|addr| PeerAddr { addr, id: Some(self.our_id) }));
        }
        let whom = advice.peers.as_deref().map_or(Whom::ByChance, Whom::These);
        let choice = Choice { families, whom };
        let answer = self.tracker.announce(request, ip, choice, now, rng, peers);
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        response.interval = seconds(answer.interval);
        response.min_interval = seconds(answer.min_interval);
        response.complete = answer.complete.saturating_add(ORIGIN);
        response.incomplete = answer.incomplete;
        response.external_ip = Some(ip);
        Ok(())
    }

    /// How a swarm stands, if a file of the torrent is served.
    pub(crate) fn scrape(&self, info_hash: &InfoHash) -> Option<ScrapeStats> {
        self.catalog.is_served(info_hash).then(|| {
            let mut stats = self.tracker.scrape(info_hash);
            stats.complete = stats.complete.saturating_add(ORIGIN);
            stats
        })
    }
}

/// Where an asker that has just reached this host at `local` can reach the seeder, which listens at `listening`.
fn origin_for(local: IpAddr, listening: SocketAddr, advertise: &[AdvertisedAddr]) -> Option<SocketAddr> {
    let port = listening.port();
    if let Some(advertised) = advertise.iter().find(|addr| addr.ip.is_ipv4() == local.is_ipv4()) {
        return Some(SocketAddr::new(advertised.ip, advertised.port.unwrap_or(port)));
    }
    match listening.ip().is_unspecified() {
        false => Some(listening),
        // All v4 addresses are not reachable by v6; all v6 ones stand for both.
        true if listening.is_ipv4() && local.is_ipv6() => None,
        true => Some(SocketAddr::new(local, port)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::SuperSeeding;
    use crate::files::Roots;
    use distributor_proto::PeerFormat;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn origin(local: &str, listening: &str, advertise: &[&str]) -> Option<String> {
        let advertise: Vec<_> = advertise.iter().map(|addr| addr.parse().unwrap()).collect();
        let origin = origin_for(local.parse().unwrap(), listening.parse().unwrap(), &advertise);
        origin.map(|addr| addr.to_string())
    }

    /// Those of a server that has no files.
    pub(crate) fn of_nothing(allowances: Allowances, now: Instant) -> Announces {
        let directory = tempfile::tempdir().unwrap();
        let roots = Arc::new(Roots::open(&[directory.path().to_owned()]).unwrap());
        Announces {
            catalog: Arc::new(Catalog::new(roots)),
            tracker: Arc::new(Tracker::new(1000, now)),
            racks: Arc::new(Racks::new(SuperSeeding::Off, &Arc::default())),
            dials: true,
            allowances,
            downloaders: mpsc::channel(1).0,
            our_id: PeerId::new([1; 20]),
            peers_addr: "10.0.0.1:6881".parse().unwrap(),
            advertise: Vec::new(),
        }
    }

    #[test]
    fn remembers_nothing_of_who_asks_for_what_there_is_not() {
        /// More than there may be of anything that is remembered.
        const MADE_UP: u64 = 10_000_000;
        let (now, (downloaders, mut announced)) = (Instant::now(), mpsc::channel(1));
        let announces = Announces { downloaders, ..of_nothing(Allowances::new(None, now), now) };
        let remote = "10.0.0.2:1".parse().unwrap();
        let ends = Ends { local: announces.peers_addr, remote };
        let mut request = AnnounceRequest {
            info_hash: InfoHash::new([0; 20]),
            peer_id: PeerId::new([2; 20]),
            port: 6881,
            uploaded: 0,
            downloaded: 0,
            left: Some(1),
            event: AnnounceEvent::Started,
            numwant: None,
            key: None,
            format: PeerFormat::Compact,
        };
        let (mut rng, mut response) = (SmallRng::seed_from_u64(1), AnnounceResponse::default());
        for n in 0..MADE_UP {
            let mut info_hash = [0; 20];
            info_hash[..8].copy_from_slice(&n.to_le_bytes());
            request.info_hash = InfoHash::new(info_hash);
            let refused = announces.announce(&request, ends, Families::Both, now, &mut rng, &mut response);
            assert_eq!(refused, Err(NotServed::Unknown));
        }
        assert_eq!(announces.tracker.size(), (0, 0));
        assert!(announces.racks.places(None, None, 1).is_empty());
        assert!(announced.try_recv().is_err());
    }

    #[test]
    fn sends_askers_where_they_reach_the_seeder() {
        let some = |addr: &str| Some(addr.to_owned());
        assert_eq!(origin("10.0.0.1", "[::]:6881", &[]), some("10.0.0.1:6881"));
        assert_eq!(origin("fd69::1", "[::]:6881", &[]), some("[fd69::1]:6881"));
        assert_eq!(origin("10.0.0.1", "0.0.0.0:6881", &[]), some("10.0.0.1:6881"));
        assert_eq!(origin("fd69::1", "0.0.0.0:6881", &[]), None);
        assert_eq!(origin("fd69::1", "10.0.0.2:6881", &[]), some("10.0.0.2:6881"));
    }

    #[test]
    fn sends_askers_of_each_family_where_the_operator_says() {
        let advertise = ["192.0.2.1", "192.0.2.2", "[2001:db8::1]:7000"];
        assert_eq!(origin("10.0.0.1", "[::]:6881", &advertise), Some("192.0.2.1:6881".to_owned()));
        assert_eq!(origin("fd69::1", "[::]:6881", &advertise), Some("[2001:db8::1]:7000".to_owned()));
        assert_eq!(origin("fd69::1", "[::]:6881", &advertise[..1]), Some("[fd69::1]:6881".to_owned()));
    }
}
