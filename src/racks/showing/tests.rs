use std::collections::BTreeSet;

use distributor_proto::{Bitfield, PieceIndex};

use super::ledger::MAX_COUNTED;
use super::mailbox::Letters;
use super::swarm::MAX_SHOWN;
use super::*;

const TORRENT: InfoHash = InfoHash::new([1; 20]);
const PIECE_LEN: u32 = 1 << 20;

/// An origin whose hosts stand in racks of ten, as nobody has said.
struct Origin {
    showings: Arc<Showings>,
    geometry: Geometry,
    now: Instant,
}

impl Origin {
    fn new(mode: SuperSeeding, pieces: u32) -> Self {
        let geometry = Geometry::new(u64::from(pieces) * u64::from(PIECE_LEN), PIECE_LEN).unwrap();
        Self { showings: Showings::new(mode), geometry, now: Instant::now() }
    }

    fn connect_at(&self, host: u32, is_guessed: bool) -> Presence {
        let post = Post { rack: Rack(host / 10), is_gateway: true, is_guessed };
        self.showings
            .connect(TORRENT, self.geometry, IpAddr::from(host.to_be_bytes()), post, self.now)
            .unwrap()
    }

    fn connect(&self, host: u32) -> Presence {
        self.connect_at(host, true)
    }

    /// One that has said what it has, which is nothing.
    fn join(&self, host: u32) -> Presence {
        let peer = self.connect(host);
        peer.introduced();
        peer.pieces(&Bitfield::empty(self.geometry.piece_count()), self.now);
        peer
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.showings.tick(self.now);
    }

    fn piece(&self, index: u32) -> PieceIndex {
        self.geometry.piece(index).unwrap()
    }

    /// Sends a whole piece.
    fn send(&self, peer: &mut Presence, piece: PieceIndex) {
        for begin in (0..PIECE_LEN).step_by(16 << 10) {
            let block = self.geometry.block(piece.get(), begin, 16 << 10).unwrap();
            peer.sent(block, || self.now);
        }
    }

    fn place(&self, post: impl Fn(IpAddr) -> Post) {
        self.showings.place(|_, ips| ips.iter().map(|ip| (*ip, post(*ip))).collect());
    }

    fn census(&self) -> usize {
        self.showings.ledger.counted()
    }
}

/// What a peer was shown since it was last asked for.
fn shown(peer: &Presence) -> Vec<PieceIndex> {
    let Letters { pieces, everything } = peer.mailbox().take();
    assert!(!everything);
    pieces
}

#[test]
fn off_has_nothing_to_do() {
    let origin = Origin::new(SuperSeeding::Off, 1000);
    let post = Post { rack: Rack(1), is_gateway: true, is_guessed: false };
    let ip = IpAddr::from([10, 0, 0, 1]);
    assert!(origin.showings.connect(TORRENT, origin.geometry, ip, post, origin.now).is_none());
}

#[test]
fn a_host_that_is_alone_sees_everything_and_whoever_comes_then_begins_with_nothing() {
    let origin = Origin::new(SuperSeeding::Auto, 1000);
    let first = origin.join(1);
    assert!(!first.begins_empty());
    assert!(!origin.join(1).begins_empty(), "another connection of the same host");
    let second = origin.join(2);
    assert!(second.begins_empty());
    assert!(!shown(&second).is_empty());
    assert_eq!(shown(&first), [], "it sees everything");
}

#[test]
fn begins_with_nothing_wherever_it_is_to_and_where_hosts_were_placed() {
    assert!(Origin::new(SuperSeeding::On, 1).connect(1).begins_empty());
    let origin = Origin::new(SuperSeeding::Auto, 1000);
    assert!(origin.connect_at(1, false).begins_empty());
}

#[test]
fn everybody_sees_all_of_a_file_of_few_pieces() {
    for (pieces, begins_empty) in [(FEW_PIECES - 1, false), (FEW_PIECES, true)] {
        let origin = Origin::new(SuperSeeding::Auto, pieces);
        let _first = origin.join(1);
        assert_eq!(origin.connect(2).begins_empty(), begins_empty);
    }
}

#[test]
fn shows_each_piece_to_one_host_first() {
    let mut origin = Origin::new(SuperSeeding::On, 64);
    let mut peers = [1, 2, 11].map(|host| origin.join(host));
    let mut seen = BTreeSet::new();
    while seen.len() < 64 {
        let step = peers.each_ref().map(shown);
        assert!(step.iter().any(|pieces| !pieces.is_empty()), "stuck after {}", seen.len());
        // So slowly that it is shown no more at a time.
        origin.now += Duration::from_secs(1);
        for (peer, pieces) in peers.iter_mut().zip(step) {
            for piece in pieces {
                assert!(seen.insert(piece) || seen.len() == 64, "{piece:?} is shown again");
                origin.send(peer, piece);
            }
        }
    }
}

#[test]
fn a_peer_that_says_nothing_of_its_pieces_has_none() {
    let mut origin = Origin::new(SuperSeeding::On, 1000);
    let silent = origin.connect(1);
    origin.tick();
    assert_eq!(shown(&silent), [], "nor who it is");
    silent.introduced();
    assert_eq!(shown(&silent), []);
    origin.tick();
    assert!(!shown(&silent).is_empty());
}

#[test]
fn what_a_peer_says_to_have_is_not_shown_to_it() {
    let mut origin = Origin::new(SuperSeeding::On, 100);
    let peer = origin.connect(1);
    peer.introduced();
    let mut has = Bitfield::empty(100);
    (0..98).for_each(|index| assert!(has.insert(origin.piece(index))));
    peer.pieces(&has, origin.now);
    let shown: BTreeSet<_> = shown(&peer).into_iter().collect();
    assert_eq!(shown, BTreeSet::from([origin.piece(98), origin.piece(99)]));
    // Again, in mid-stream.
    assert!(has.insert(origin.piece(98)));
    peer.pieces(&has, origin.now);
    origin.tick();
}

/// What aria2 had from here it doesn't tell of.
#[test]
fn goes_on_where_nobody_says_that_pieces_have_come() {
    let mut origin = Origin::new(SuperSeeding::On, 400);
    let mut peer = origin.join(1);
    let mut got = 0;
    while got < 400 {
        let pieces = shown(&peer);
        assert!(!pieces.is_empty(), "stuck after {got}");
        got += pieces.len();
        pieces.into_iter().for_each(|piece| origin.send(&mut peer, piece));
        origin.tick();
    }
}

#[test]
fn one_fast_peer_is_shown_ten_gigabits_a_second_within_one_or_two() {
    let mut origin = Origin::new(SuperSeeding::On, 4000);
    let mut peer = origin.join(1);
    let (start, turn) = (origin.now, Duration::from_millis(5));
    let mut sent = 0_u64;
    while sent < 1_250_000_000 {
        // What it was shown it asks for, and has a round trip later; it says so to nobody.
        origin.now += turn;
        assert!(origin.now < start + Duration::from_secs(1), "{sent} bytes");
        for piece in shown(&peer) {
            origin.send(&mut peer, piece);
            sent += u64::from(PIECE_LEN);
        }
    }
}

#[test]
fn shows_to_others_what_one_that_left_was_shown() {
    let mut origin = Origin::new(SuperSeeding::On, 8);
    let leaving = origin.join(1);
    assert_eq!(shown(&leaving).len(), 8);
    let staying = origin.join(2);
    assert_eq!(shown(&staying), [], "all is on its way");
    drop(leaving);
    origin.tick();
    assert_eq!(shown(&staying).len(), 8);
}

#[test]
fn what_one_got_that_sees_everything_is_not_shown_first() {
    let origin = Origin::new(SuperSeeding::Auto, 100);
    let mut first = origin.join(1);
    for index in 0..50 {
        origin.send(&mut first, origin.piece(index));
    }
    (50..96).for_each(|index| first.got(origin.piece(index), origin.now));
    let second = origin.join(2);
    let shown = shown(&second);
    assert!((0..4).all(|n| shown[n].get() >= 96), "{shown:?}");
}

#[test]
fn shows_pieces_to_gateways_only() {
    let mut origin = Origin::new(SuperSeeding::On, 1000);
    let peer = origin.join(1);
    shown(&peer);
    let standing = |is_gateway| Post { rack: Rack(0), is_gateway, is_guessed: true };
    origin.place(|_| standing(false));
    origin.now += Duration::from_secs(60);
    origin.tick();
    assert_eq!(shown(&peer), []);
    origin.place(|_| standing(true));
    origin.tick();
    assert!(!shown(&peer).is_empty());
}

#[test]
fn spares_uplinks_of_racks_that_the_operator_named_and_of_no_others() {
    for (is_guessed, in_all) in [(true, 16), (false, 8)] {
        let mut origin = Origin::new(SuperSeeding::On, 8);
        let mut peers = [1, 2].map(|host| {
            let peer = origin.connect_at(host, is_guessed);
            peer.pieces(&Bitfield::empty(8), origin.now);
            peer
        });
        let mut count = 0;
        for _ in 0..20 {
            for peer in &mut peers {
                let pieces = shown(peer);
                count += pieces.len();
                pieces.into_iter().for_each(|piece| origin.send(peer, piece));
            }
            origin.tick();
        }
        assert_eq!(count, in_all);
    }
}

#[test]
fn a_host_that_moves_to_another_rack_is_counted_there() {
    let mut origin = Origin::new(SuperSeeding::On, 8);
    let mut peers = [1, 2].map(|host| {
        let peer = origin.connect_at(host, false);
        peer.pieces(&Bitfield::empty(8), origin.now);
        peer
    });
    for _ in 0..20 {
        for peer in &mut peers {
            shown(peer).into_iter().for_each(|piece| origin.send(peer, piece));
        }
        origin.tick();
    }
    // Each rack lacks what the other host has now.
    let apart = |ip: IpAddr| {
        let host = match ip {
            IpAddr::V4(ip) => u32::from(ip),
            IpAddr::V6(_) => 0,
        };
        Post { rack: Rack(host), is_gateway: true, is_guessed: false }
    };
    origin.place(apart);
    origin.tick();
    assert_eq!(peers.each_ref().map(|peer| shown(peer).len()).iter().sum::<usize>(), 8);
}

#[test]
fn a_crowd_sees_everything() {
    let origin = Origin::new(SuperSeeding::On, 8);
    let mut crowd: Vec<Presence> = (0..MAX_SHOWN as u32).map(|host| origin.connect(host)).collect();
    assert!(crowd.iter().all(Presence::begins_empty));
    crowd.push(origin.connect(1_000_000));
    assert!(crowd.iter().all(|peer| !peer.begins_empty() || peer.mailbox().take().everything));
    assert!(!origin.connect(1_000_001).begins_empty());
    assert_eq!(origin.census(), 0);
    drop(crowd);
    assert!(lock(&origin.showings.by_torrent).is_empty());
    assert!(origin.connect(1).begins_empty(), "it begins anew");
}

#[test]
fn counts_no_more_than_it_has_room_for() {
    let origin = Origin::new(SuperSeeding::On, 100_000);
    let racks = MAX_COUNTED / 100_000 - 1;
    let mut peers: Vec<Presence> = (0..racks as u32).map(|rack| origin.join(rack * 10)).collect();
    assert_eq!(origin.census(), (racks + 1) * 100_000);
    assert!(peers.iter().all(|peer| !peer.mailbox().take().everything));
    peers.push(origin.join(racks as u32 * 10));
    assert!(peers.iter().all(|peer| !peer.begins_empty() || peer.mailbox().take().everything));
    assert_eq!(origin.census(), 0);
    // So much for one torrent; others begin as long as there is room.
    assert!(origin.showings.ledger.take(MAX_COUNTED));
    let post = Post { rack: Rack(0), is_gateway: true, is_guessed: true };
    let other = origin.showings.connect(
        InfoHash::new([2; 20]),
        origin.geometry,
        [10, 0, 0, 1].into(),
        post,
        origin.now,
    );
    assert!(!other.unwrap().begins_empty());
}

#[test]
fn leaves_nothing_behind() {
    let origin = Origin::new(SuperSeeding::On, 100);
    let peers = [1, 2, 11].map(|host| origin.join(host));
    assert_eq!(origin.census(), 300);
    drop(peers);
    assert_eq!(origin.census(), 0);
    assert!(lock(&origin.showings.by_torrent).is_empty());
}

#[test]
fn tells_what_was_shown_and_what_peers_gave_to_each_other() {
    let origin = Origin::new(SuperSeeding::On, 100);
    let peers = [1, 2].map(|host| origin.join(host));
    let [of_one, of_other] = peers.each_ref().map(shown);
    let survey = origin.showings.survey();
    assert_eq!(survey.shown, (of_one.len() + of_other.len()) as u64);
    assert_eq!(survey.passed_on, 0);
    peers[0].got(of_one[0], origin.now);
    peers[1].got(of_one[0], origin.now);
    peers[1].got(of_one[0], origin.now);
    let mut has = Bitfield::empty(100);
    of_one[..2].iter().chain(&of_other).for_each(|piece| _ = has.insert(*piece));
    peers[1].pieces(&has, origin.now);
    assert_eq!(origin.showings.survey().passed_on, 2, "each once, and none that was shown to it");
}

#[test]
fn tells_once_in_which_manner_pieces_are_shown() {
    let origin = Origin::new(SuperSeeding::Auto, 100);
    let told = || {
        let survey = origin.showings.survey();
        (Manner::ALL.map(|manner| survey.torrents(manner)), survey.news)
    };
    assert_eq!((told(), origin.showings.manner_of(&TORRENT)), (([0, 0, 0], vec![]), None));
    let first = origin.join(1);
    assert_eq!(told(), ([1, 0, 0], vec![]));
    let mut crowd = vec![first, origin.join(2)];
    assert_eq!(origin.showings.manner_of(&TORRENT), Some(Manner::Showing));
    assert_eq!(told(), ([0, 1, 0], vec![(TORRENT, Manner::Showing)]));
    assert_eq!(told(), ([0, 1, 0], vec![]));
    crowd.extend((2..=MAX_SHOWN as u32).map(|host| origin.connect(host)));
    assert_eq!(told(), ([0, 0, 1], vec![(TORRENT, Manner::Plain)]));
    drop(crowd);
    assert_eq!(told(), ([0, 0, 0], vec![]));
}
