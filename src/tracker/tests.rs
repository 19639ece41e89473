//! The tracker as those who announce meet it.

use super::census::MAX_SHARE;
use super::*;
use distributor_proto::PeerFormat;
use rand::SeedableRng;
use rand::rngs::SmallRng;

pub(super) const HASH: InfoHash = InfoHash::new([7; 20]);
/// More announces a second than any test makes.
pub(super) const RATE: u32 = 1_000_000;

pub(super) struct Told {
    pub(super) answer: Answer,
    pub(super) peers: Vec<PeerAddr>,
}

pub(super) struct Room {
    pub(super) tracker: Tracker,
    pub(super) now: Instant,
    /// What peers call their client.
    pub(super) client: [u8; 8],
    rng: SmallRng,
}

impl Room {
    pub(super) fn new() -> Self {
        let (now, rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        Self { tracker: Tracker::new(RATE, now), now, client: *b"-XX0001-", rng }
    }

    pub(super) fn announce(&mut self, host: u8, left: u64, event: AnnounceEvent) -> Told {
        self.announce_for(host, 6881, left, event, None)
    }

    fn announce_for(
        &mut self,
        host: u8,
        port: u16,
        left: u64,
        event: AnnounceEvent,
        numwant: Option<u32>,
    ) -> Told {
        let request = self.request(host, port, left, event, numwant);
        let (ip, mut peers) = (IpAddr::from([10, 0, 0, host]), Vec::new());
        let answer = self.tracker.announce(
            &request,
            ip,
            Choice { families: Families::Both, whom: Whom::ByChance },
            self.now,
            &mut self.rng,
            &mut peers,
        );
        Told { answer, peers }
    }

    fn request(
        &self,
        host: u8,
        port: u16,
        left: u64,
        event: AnnounceEvent,
        numwant: Option<u32>,
    ) -> AnnounceRequest {
        let mut id = [host; 20];
        id[..8].copy_from_slice(&self.client);
        AnnounceRequest {
            info_hash: HASH,
            peer_id: PeerId::new(id),
            port,
            uploaded: 0,
            downloaded: u64::from(left == 0),
            left: Some(left),
            event,
            numwant,
            key: None,
            format: PeerFormat::Compact,
        }
    }
}

pub(super) fn hosts(told: &Told) -> Vec<u8> {
    let mut hosts: Vec<u8> = told
        .peers
        .iter()
        .map(|peer| match peer.addr.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => panic!("a v6 peer in a v4 swarm"),
        })
        .collect();
    hosts.sort_unstable();
    hosts
}

#[test]
fn gives_a_downloader_everyone_but_itself() {
    let mut room = Room::new();
    assert_eq!(hosts(&room.announce(1, 10, AnnounceEvent::Started)), [0; 0]);
    assert_eq!(hosts(&room.announce(2, 0, AnnounceEvent::Started)), [1]);
    let told = room.announce(3, 10, AnnounceEvent::Started);
    assert_eq!(hosts(&told), [1, 2]);
    assert_eq!((told.answer.complete, told.answer.incomplete), (1, 2));
}

#[test]
fn gives_a_seeder_no_seeders() {
    let mut room = Room::new();
    room.announce(1, 10, AnnounceEvent::Started);
    room.announce(2, 0, AnnounceEvent::Started);
    assert_eq!(hosts(&room.announce(3, 0, AnnounceEvent::Started)), [1]);
}

#[test]
fn moves_a_peer_that_completed_and_counts_its_download_once() {
    let mut room = Room::new();
    room.announce(1, 10, AnnounceEvent::Started);
    room.announce(1, 0, AnnounceEvent::Completed);
    let Told { answer, .. } = room.announce(1, 0, AnnounceEvent::Completed);
    assert_eq!((answer.complete, answer.incomplete), (1, 0));
    let stats = room.tracker.scrape(&HASH);
    assert_eq!((stats.complete, stats.downloaded, stats.incomplete), (1, 1, 0));
}

#[test]
fn forgets_a_peer_that_stops_and_gives_it_nobody() {
    let mut room = Room::new();
    room.announce(1, 10, AnnounceEvent::Started);
    room.announce(2, 10, AnnounceEvent::Started);
    assert_eq!(hosts(&room.announce(1, 10, AnnounceEvent::Stopped)), [0; 0]);
    assert_eq!(hosts(&room.announce(2, 10, AnnounceEvent::Periodic)), [0; 0]);
    room.announce(2, 10, AnnounceEvent::Stopped);
    assert_eq!(room.tracker.size(), (0, 0));
}

#[test]
fn knows_peers_by_address_and_port() {
    let mut room = Room::new();
    room.announce_for(1, 6881, 10, AnnounceEvent::Started, None);
    room.announce_for(1, 6882, 10, AnnounceEvent::Started, None);
    let told = room.announce_for(1, 6881, 10, AnnounceEvent::Periodic, None);
    assert_eq!(hosts(&told), [1]);
    assert_eq!(told.answer.incomplete, 2);
}

#[test]
fn answers_but_never_names_a_peer_without_a_port() {
    let mut room = Room::new();
    room.announce(1, 10, AnnounceEvent::Started);
    assert_eq!(hosts(&room.announce_for(2, 0, 10, AnnounceEvent::Started, None)), [1]);
    assert_eq!(hosts(&room.announce(1, 10, AnnounceEvent::Periodic)), [0; 0]);
}

#[test]
fn holds_numwant_within_its_bounds() {
    let mut room = Room::new();
    for host in 0..=255 {
        room.announce(host, 10, AnnounceEvent::Started);
    }
    let mut ask = |numwant| room.announce_for(1, 6881, 10, AnnounceEvent::Periodic, numwant).peers.len();
    assert_eq!(ask(None), DEFAULT_NUMWANT);
    assert_eq!(ask(Some(0)), 0);
    assert_eq!(ask(Some(3)), 3);
    assert_eq!(ask(Some(u32::MAX)), MAX_NUMWANT);
}

#[test]
fn the_word_of_one_that_had_the_port_before_sends_nobody_away() {
    let mut room = Room::new();
    room.announce(1, 10, AnnounceEvent::Started);
    room.client = *b"-YY0001-";
    room.announce(1, 10, AnnounceEvent::Started);
    room.client = *b"-XX0001-";
    room.announce(1, 10, AnnounceEvent::Stopped);
    assert_eq!(hosts(&room.announce(2, 10, AnnounceEvent::Started)), [1]);
}

#[test]
fn nobody_is_sent_to_one_that_refused_to_be_dialled_until_it_announces_again() {
    let mut room = Room::new();
    room.announce(1, 10, AnnounceEvent::Started);
    room.now += Duration::from_secs(5);
    let door = SocketAddr::from(([10, 0, 0, 1], 6881));
    room.tracker.unreachable(&HASH, SocketAddr::from(([10, 0, 0, 1], 6882)), room.now);
    assert_eq!(hosts(&room.announce(2, 10, AnnounceEvent::Started)), [1], "that was another");
    let dialled = room.now;
    room.tracker.unreachable(&HASH, door, dialled);
    assert_eq!(hosts(&room.announce(2, 10, AnnounceEvent::Periodic)), [0; 0]);
    room.now += Duration::from_secs(1);
    room.announce(1, 10, AnnounceEvent::Periodic);
    // What became of the dial is heard late.
    room.tracker.unreachable(&HASH, door, dialled);
    assert_eq!(hosts(&room.announce(2, 10, AnnounceEvent::Periodic)), [1]);
}

#[test]
fn asks_to_be_left_alone_when_a_swarm_rests() {
    let mut room = Room::new();
    let young = room.announce(1, 10, AnnounceEvent::Started).answer;
    assert!(young.min_interval.as_secs() <= 15 && young.interval.as_secs() <= 45, "{young:?}");
    room.now += Duration::from_secs(3600);
    let old = room.announce(1, 10, AnnounceEvent::Periodic).answer;
    assert!(old.min_interval.as_secs() >= 60 && old.interval.as_secs() >= 300, "{old:?}");
    let woken = [
        room.announce(2, 10, AnnounceEvent::Started).answer,
        room.announce(1, 10, AnnounceEvent::Periodic).answer,
    ];
    assert!(woken.iter().all(|answer| answer.min_interval.as_secs() <= 15), "{woken:?}");
}

#[test]
fn all_peers_together_are_asked_for_no_more_announces_than_may_be() {
    let mut room = Room::new();
    room.tracker = Tracker::new(1, room.now);
    for host in 0..=255 {
        room.announce(host, 10, AnnounceEvent::Started);
    }
    assert!(room.announce(0, 10, AnnounceEvent::Periodic).answer.min_interval.as_secs() >= 256);
}

#[test]
fn one_address_has_no_more_than_its_share_of_all_swarms_together() {
    let room = Room::new();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut announce = |swarm: u32, host, port| {
        let mut info_hash = [0; 20];
        info_hash[16..].copy_from_slice(&swarm.to_be_bytes());
        let request = AnnounceRequest {
            info_hash: InfoHash::new(info_hash),
            ..room.request(host, port, 10, AnnounceEvent::Started, Some(0))
        };
        let ip = IpAddr::from([10, 0, 0, host]);
        room.tracker.announce(
            &request,
            ip,
            Choice { families: Families::Both, whom: Whom::ByChance },
            room.now,
            &mut rng,
            &mut Vec::new(),
        );
        room.tracker.size().1
    };
    let swarms = MAX_SHARE / 100;
    for swarm in 0..swarms {
        for port in 1..=100 {
            announce(swarm, 1, port);
        }
    }
    let full = announce(swarms, 1, 1);
    for swarm in swarms..swarms + 2 {
        assert_eq!((1..=100).map(|port| announce(swarm, 1, port)).max(), Some(MAX_SHARE as usize));
    }
    assert!(full <= MAX_SHARE as usize);
    assert_eq!(announce(swarms, 2, 1), MAX_SHARE as usize + 1, "there is room for others");
}

#[test]
fn a_key_is_known_again_and_none_is_none() {
    let key = |bytes: &[u8]| digest(&AnnounceKey::new(bytes).unwrap());
    assert_eq!(key(b"a1b2c3d4"), key(b"a1b2c3d4"));
    assert_ne!(key(b"a1b2c3d4"), key(b"a1b2c3d5"));
    assert_eq!([key(b""), key(&[0; 4])], [0, 0]);
}
