use std::collections::HashSet;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

const WINDOW: usize = 16;

/// An origin and gateways, whose host 10 is the first of rack 1.
struct Room {
    seed: SuperSeed<u32>,
    geometry: Geometry,
    now: Instant,
    rng: SmallRng,
}

impl Room {
    fn new(pieces: u64, gateways: &[u32]) -> Self {
        let geometry = Geometry::new(pieces * 16_384, 16_384).unwrap();
        let mut room = Self {
            seed: SuperSeed::new(geometry),
            geometry,
            now: Instant::now(),
            rng: SmallRng::seed_from_u64(1),
        };
        gateways.iter().for_each(|id| room.join(*id, true));
        room
    }

    fn join(&mut self, id: u32, is_gateway: bool) {
        self.seed.join(id, Rack(id / 10), Bitfield::empty(self.geometry.piece_count()), self.now);
        self.seed.set_gateway(&id, is_gateway);
    }

    fn reveal(&mut self, window: usize) -> Vec<(u32, PieceIndex)> {
        self.seed.reveal(window, self.now, &mut self.rng)
    }

    fn has(&mut self, id: u32, piece: PieceIndex) {
        self.seed.has(id, piece, self.now);
    }
}

#[test]
fn shows_each_piece_to_one_gateway_first() {
    let mut room = Room::new(64, &[10, 11, 20, 21]);
    let mut shown = Vec::new();
    while shown.len() < 64 {
        let step = room.reveal(WINDOW);
        assert!(!step.is_empty(), "the pipes are kept full");
        step.iter().for_each(|(id, piece)| room.has(*id, *piece));
        shown.extend(step);
    }
    let pieces: HashSet<PieceIndex> = shown.iter().map(|(_, piece)| *piece).collect();
    assert_eq!(pieces.len(), 64, "no piece twice before each was shown once");
    for gateway in [10, 11, 20, 21] {
        let share = shown.iter().filter(|(id, _)| *id == gateway).count();
        assert!((12..=20).contains(&share), "{gateway}: {share}");
    }
}

#[test]
fn shows_no_more_at_a_time_than_the_window_and_goes_on_when_a_piece_has_come() {
    let mut room = Room::new(1000, &[10, 20]);
    let shown = room.reveal(WINDOW);
    assert_eq!(shown.len(), WINDOW);
    assert_eq!(room.reveal(WINDOW), []);
    let (id, piece) = shown[0];
    room.has(id, piece);
    assert_eq!(room.reveal(WINDOW).len(), 1);
}

#[test]
fn gives_a_host_that_is_alone_the_whole_window() {
    let mut room = Room::new(1000, &[10]);
    assert_eq!(room.reveal(WINDOW).len(), WINDOW);
}

#[test]
fn shows_nothing_to_those_who_are_no_gateways() {
    let mut room = Room::new(100, &[]);
    room.join(10, false);
    assert_eq!(room.reveal(WINDOW), []);
}

#[test]
fn shows_a_piece_again_only_to_racks_that_lack_it() {
    let mut room = Room::new(1, &[10, 11, 20]);
    let shown = room.reveal(WINDOW);
    let racks: Vec<u32> = shown.iter().map(|(id, _)| id / 10).collect();
    assert!(racks == [1, 2] || racks == [2, 1], "{racks:?}");
    shown.into_iter().for_each(|(id, piece)| room.has(id, piece));
    assert_eq!(room.reveal(WINDOW), [], "a rack that has it has it for all its hosts");
}

#[test]
fn prefers_those_whose_pieces_have_spread() {
    let mut room = Room::new(1000, &[10, 11]);
    let shown: Vec<_> = (0..6)
        .flat_map(|_| {
            let step = room.reveal(WINDOW);
            step.iter().for_each(|(id, piece)| room.has(*id, *piece));
            step
        })
        .collect();
    // What host 10 got from the origin the other one gets from it, and not the other way round.
    shown.iter().filter(|(id, _)| *id == 10).for_each(|(_, piece)| room.has(11, *piece));
    let next = room.reveal(4);
    assert_eq!(next.first().map(|(id, _)| *id), Some(10));
}

#[test]
fn promises_to_others_what_one_who_leaves_was_shown() {
    let mut room = Room::new(8, &[10, 20]);
    let pieces: HashSet<PieceIndex> = room.geometry.pieces().collect();
    room.reveal(WINDOW);
    room.seed.leave(&10);
    let shown: HashSet<PieceIndex> = room.seed.peers[&20].promised.iter().map(|(piece, _)| *piece).collect();
    let again: HashSet<PieceIndex> = room.reveal(WINDOW).into_iter().map(|(_, piece)| piece).collect();
    assert_eq!(shown.union(&again).copied().collect::<HashSet<_>>(), pieces);
}

#[test]
fn promises_to_others_what_one_who_gets_nothing_was_shown() {
    let mut room = Room::new(8, &[10]);
    assert_eq!(room.reveal(WINDOW).len(), 8);
    room.now += PATIENCE;
    room.join(11, true);
    let shown = room.reveal(WINDOW);
    assert_eq!(shown.iter().filter(|(id, _)| *id == 11).count(), 8);
}

#[test]
fn is_not_held_up_by_the_slow() {
    let mut room = Room::new(1000, &[10, 11, 12, 13, 14, 15, 16, 17, 18, 20]);
    let shown = room.reveal(WINDOW);
    assert_eq!(shown.len(), WINDOW);
    assert_eq!(room.reveal(WINDOW), []);
    room.now += SLOW;
    assert!(!room.reveal(WINDOW).is_empty(), "what is slow to come doesn't fill the window");
}

#[test]
fn shows_everything_to_one_who_gets_nothing_from_its_rack() {
    let mut room = Room::new(32, &[10, 11]);
    for piece in room.geometry.pieces() {
        room.has(10, piece);
    }
    assert_eq!(room.reveal(WINDOW), [], "its rack has it all");
    room.now += PATIENCE;
    let mut got = 0;
    while got < 32 {
        let step = room.reveal(WINDOW);
        assert!(!step.is_empty(), "after {got}");
        got += step.len();
        step.into_iter().for_each(|(id, piece)| room.has(id, piece));
    }
}

#[test]
fn forgets_nothing_and_counts_nothing_twice() {
    let mut room = Room::new(20, &[]);
    for turn in 0..2000_u32 {
        let id = room.rng.random_range(10..40);
        match room.rng.random_range(0..8) {
            0 => room.join(id, turn.is_multiple_of(3)),
            1 => room.seed.leave(&id),
            2 => room.now += Duration::from_secs(1),
            3 => {
                room.reveal(WINDOW);
            }
            _ => {
                let piece = room.geometry.piece(room.rng.random_range(0..20)).unwrap();
                room.has(id, piece);
            }
        }
        for piece in room.geometry.pieces() {
            let copies =
                |of: &dyn Fn(&Peer) -> bool| room.seed.peers.values().filter(|peer| of(peer)).count() as u32;
            let copies_now = room.seed.everywhere.of(piece);
            assert_eq!(copies_now.held, copies(&|peer| peer.has.contains(piece)));
            assert_eq!(
                copies_now.promised,
                copies(&|peer| peer.promised.iter().any(|(other, _)| *other == piece))
            );
            for (rack, census) in &room.seed.racks {
                assert_eq!(
                    census.of(piece).held,
                    copies(&|peer| peer.rack == *rack && peer.has.contains(piece))
                );
            }
        }
        for (id, peer) in &room.seed.peers {
            assert_eq!(peer.unspread, room.seed.only.values().filter(|first| *first == id).count());
        }
    }
}

#[test]
fn keeps_a_second_or_two_of_the_origins_rate_on_the_way() {
    assert_eq!(window(3_000_000, 128 << 10), 32);
    assert_eq!(window(0, 128 << 10), MIN_WINDOW);
    assert_eq!(window(u64::MAX, 0), usize::MAX);
}

#[test]
fn takes_what_was_sent_for_got_after_a_while_and_shows_more_at_once() {
    let mut room = Room::new(100, &[10, 11]);
    let shown = room.reveal(WINDOW);
    let (id, piece) = shown[0];
    room.now += SLOW / 4;
    assert_eq!(room.seed.sent(id, piece, room.now), Some(SLOW / 4));
    assert_eq!(room.seed.everywhere.of(piece).held, 0);
    assert_eq!(room.reveal(WINDOW).len(), 1, "there is room on the link");
    room.now += LANDED;
    room.reveal(WINDOW);
    let copies = room.seed.everywhere.of(piece);
    assert_eq!((copies.held, copies.promised), (1, 0));
    assert_eq!(room.seed.sent(id, piece, room.now), None, "again, for whatever reason");
}

#[test]
fn counts_what_was_sent_unasked_and_takes_back_what_a_leaving_peer_was_sent() {
    let mut room = Room::new(100, &[10, 11]);
    let piece = room.geometry.piece(7).unwrap();
    assert_eq!(room.seed.sent(10, piece, room.now), None);
    assert_eq!(room.seed.everywhere.of(piece).held, 1);
    for (id, piece) in room.reveal(WINDOW) {
        room.seed.sent(id, piece, room.now);
    }
    room.seed.leave(&10);
    room.seed.leave(&11);
    assert!(room.geometry.pieces().all(|piece| {
        let copies = room.seed.everywhere.of(piece);
        (copies.held, copies.promised) == (0, 0)
    }));
}

#[test]
fn promises_nothing_to_one_who_sees_everything() {
    let mut room = Room::new(8, &[10, 11]);
    room.reveal(WINDOW);
    room.seed.sees_everything(&10);
    assert_eq!(room.seed.peers[&10].promised, []);
    assert!(room.reveal(WINDOW).iter().all(|(id, _)| *id == 11));
}

#[test]
fn goes_on_with_the_rarest_where_uplinks_need_not_be_spared() {
    let mut room = Room::new(8, &[10, 11]);
    for piece in room.geometry.pieces().skip(1) {
        room.has(10, piece);
    }
    room.seed.spare_uplinks(false);
    let shown = room.reveal(WINDOW);
    assert_eq!(shown[0].1.get(), 0, "what nobody has goes first");
    assert_eq!(shown.len(), 9, "then what the other lacks, and the first piece again");
}
