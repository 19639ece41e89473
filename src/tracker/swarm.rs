//! One swarm: who is in it, and by what rules one comes in, moves and goes. Chooses nobody for anybody.

use std::net::{IpAddr, SocketAddr};

use distributor_proto::PeerId;

use super::address::{Address, V4, V6};
use super::census::Census;
use super::clock::Seconds;
use super::table::{Peer, Pool, Table};

/// All peers of one torrent.
#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) v4: Table<V4>,
    pub(super) v6: Table<V6>,
    /// How often the download was completed.
    downloads: u32,
    /// When somebody came last.
    joined: Seconds,
    /// Since when the torrent was found not to be served.
    pub(super) unserved: Option<Seconds>,
    pub(super) about: About,
}

/// Whether what is no peer's is what was saved of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) changed: bool,
    pub(super) saved: bool,
}

/// What an announce was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// By one that is known; whether it was a seed.
    Again {
        was_seed: bool,
    },
    Joined,
    /// There is no room for it.
    Refused,
}

impl Swarm {
    pub(super) fn new(now: Seconds) -> Self {
        Self {
            v4: Table::default(),
            v6: Table::default(),
            downloads: 0,
            joined: now,
            unserved: None,
            about: About::default(),
        }
    }

    pub(super) fn downloads(&self) -> u32 {
        self.downloads
    }

    pub(super) fn set_downloads(&mut self, downloads: u32) {
        self.about.changed |= self.downloads != downloads;
        self.downloads = downloads;
    }

    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// How long nobody has come.
    pub(super) fn quiet(&self, now: Seconds) -> u32 {
        now.since(self.joined)
    }

    /// Seeders and downloaders, as announces call them: complete and incomplete.
    pub(super) fn counts(&self) -> (u32, u32) {
        let count = |seeds: bool| {
            let of = |pool: &Pool| self.v4.pool(*pool).len() + self.v6.pool(*pool).len();
            u32::try_from(Pool::ALL.iter().filter(|pool| pool.seeds == seeds).map(of).sum::<usize>())
                .unwrap_or(u32::MAX)
        };
        (count(true), count(false))
    }

    /// There is nothing that anybody would miss, and nothing that a saved state should say of it.
    pub(super) fn is_nothing(&self) -> bool {
        self.len() == 0 && self.downloads == 0 && !self.is_anything_saved()
    }

    pub(super) fn get(&self, addr: SocketAddr) -> Option<Peer> {
        let v4 = V4::of(addr).and_then(|addr| self.v4.get(&addr));
        v4.or_else(|| V6::of(addr).and_then(|addr| self.v6.get(&addr)))
    }

    /// Takes note of a peer that has announced itself. `completed` says that it did so because it has just got the last
    /// piece.
    ///
    /// A download is counted when a peer says so that wasn't a seed before, and also when one that we know as a
    /// downloader just turns out to lack nothing: rqbit never says it, and where others' word was lost they don't
    /// repeat it. One that comes with everything has brought it. A host with both families says all twice.
    pub(super) fn announced(&mut self, peer: &Peer, completed: bool, census: &Census) {
        let admission = match peer.addr {
            SocketAddr::V4(_) => admit(&mut self.v4, peer, census),
            SocketAddr::V6(_) => admit(&mut self.v6, peer, census),
        };
        let is_download = match admission {
            Admission::Again { was_seed } => !was_seed,
            Admission::Joined => completed,
            Admission::Refused => false,
        };
        if peer.is_seed && is_download && !self.is_seed_by_other_family(peer) {
            self.set_downloads(self.downloads.saturating_add(1));
        }
        if admission == Admission::Joined {
            self.joined = peer.announced;
        }
    }

    fn is_seed_by_other_family(&self, peer: &Peer) -> bool {
        fn is_seed<A: Address>(table: &Table<A>, peer: &Peer) -> bool {
            let same = table.same_as(&peer.id, peer.key).and_then(|addr| table.get(&addr));
            same.is_some_and(|same| same.is_seed)
        }
        if peer.addr.is_ipv4() { is_seed(&self.v6, peer) } else { is_seed(&self.v4, peer) }
    }

    /// Takes back a peer that was saved, unless it has announced itself since.
    pub(super) fn restore(&mut self, peer: &Peer, census: &Census) {
        fn restore<A: Address>(table: &mut Table<A>, peer: &Peer, census: &Census) {
            if A::of(peer.addr).is_some_and(|addr| table.get(&addr).is_none()) {
                admit(table, peer, census);
            }
        }
        match peer.addr {
            SocketAddr::V4(_) => restore(&mut self.v4, peer, census),
            SocketAddr::V6(_) => restore(&mut self.v6, peer, census),
        }
    }

    /// A peer is gone if it is the one that is `meant`.
    pub(super) fn remove_if(&mut self, addr: SocketAddr, census: &Census, meant: impl Fn(&Peer) -> bool) {
        fn remove<A: Address>(table: &mut Table<A>, addr: SocketAddr, meant: impl Fn(&Peer) -> bool) -> bool {
            let Some(addr) = A::of(addr) else { return false };
            table.get(&addr).is_some_and(|peer| meant(&peer)) && table.remove(&addr).is_some()
        }
        if remove(&mut self.v4, addr, &meant) || remove(&mut self.v6, addr, &meant) {
            census.leave(addr.ip());
        }
    }

    /// Where the peer that is connected from an address says that it can be dialled there: the one that announced under
    /// this id, or else the only one at the address, since libtorrent shakes hands under other ids than it announces.
    pub(super) fn door_of(&self, ip: IpAddr, id: &PeerId) -> Option<SocketAddr> {
        fn find<A: Address>(table: &Table<A>, ip: IpAddr, id: &PeerId) -> Option<SocketAddr> {
            let addr = A::of(SocketAddr::new(ip, 0))?;
            let there = || table.beside(&addr).filter(|peer| peer.addr.ip() == ip);
            let known = there().find(|peer| peer.id == *id);
            let only = || there().next().filter(|_| there().nth(1).is_none());
            known.or_else(only).map(|peer| peer.addr)
        }
        find(&self.v4, ip, id).or_else(|| find(&self.v6, ip, id))
    }

    /// Of a pool's page, counted through all pools, whoever has expired is gone; all are where the swarm is given up.
    pub(super) fn sweep_page(
        &mut self,
        pool: Pool,
        page: usize,
        now: Seconds,
        give_up: bool,
        census: &Census,
    ) {
        let leave = |addr: SocketAddr| census.leave(addr.ip());
        self.v4.sweep(pool, page, |face| give_up || face.is_expired(now), leave);
        self.v6.sweep(pool, page, |face| give_up || face.is_expired(now), leave);
    }
}

/// Puts a peer in, where it belongs.
///
/// It is known again by its address; or by its id and its key, which nobody else is told, and then its new address
/// takes the place of the old one: it has got another port, or its host another address. Each family has a place of its
/// own, since a host with both announces itself by both. The id alone says nothing: all peers are told of it, and could
/// push its owner out.
fn admit<A: Address>(table: &mut Table<A>, peer: &Peer, census: &Census) -> Admission {
    let Some(addr) = A::of(peer.addr) else { return Admission::Refused };
    let known = table.get(&addr);
    // One that shows here what it would be known by elsewhere has come from nowhere else, and need not be looked for.
    let is_as_before = known.is_some_and(|known| known.id == peer.id && known.key == peer.key);
    let before = if is_as_before { None } else { table.same_as(&peer.id, peer.key) };
    let moved = before.filter(|before| *before != addr).and_then(|before| table.remove(&before));
    if let Some(moved) = moved {
        census.leave(moved.addr.ip());
    }
    if let Some(known) = known {
        table.insert(addr, peer);
        return Admission::Again { was_seed: known.is_seed };
    }
    let leave_oldest = |table: &mut Table<A>| {
        let oldest = table.oldest_beside(&addr).and_then(|oldest| table.remove(&oldest));
        oldest.is_some_and(|oldest| {
            census.leave(oldest.addr.ip());
            true
        })
    };
    let mut in_place_of_its_own = table.places(&addr) >= A::MAX_PLACES && leave_oldest(table);
    if !census.enter(peer.addr.ip()) {
        // Whoever shares the address has had its share; so one of those makes room, and nobody else.
        in_place_of_its_own = leave_oldest(table);
        if !in_place_of_its_own || !census.enter(peer.addr.ip()) {
            return Admission::Refused;
        }
    }
    table.insert(addr, peer);
    match moved {
        Some(moved) => Admission::Again { was_seed: moved.is_seed },
        // That they come and go is no growth that others should hear of.
        None if in_place_of_its_own => Admission::Again { was_seed: true },
        None => Admission::Joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn peer(text: &str, id: u8, key: u32, announced: u32) -> Peer {
        let (id, announced) = (PeerId::new([id; 20]), Seconds::new(announced));
        Peer { addr: addr(text), id, key, announced, patience: 100, is_seed: false }
    }

    struct Room {
        swarm: Swarm,
        census: Census,
    }

    impl Room {
        fn new() -> Self {
            Self { swarm: Swarm::new(Seconds::new(0)), census: Census::default() }
        }

        fn announced(&mut self, peer: &Peer) {
            self.swarm.announced(peer, false, &self.census);
            assert_eq!(self.census.peers(), self.swarm.len());
        }

        fn has(&self, text: &str) -> bool {
            self.swarm.get(addr(text)).is_some()
        }
    }

    #[test]
    fn a_peer_with_another_port_takes_its_own_old_place() {
        let mut room = Room::new();
        room.announced(&peer("10.0.0.1:1", 1, 7, 0));
        room.announced(&peer("10.0.0.1:2", 1, 7, 1));
        assert!(!room.has("10.0.0.1:1") && room.has("10.0.0.1:2"));
    }

    #[test]
    fn a_peer_with_another_address_takes_its_own_old_place_in_that_family() {
        let mut room = Room::new();
        room.announced(&peer("10.0.0.1:1", 1, 7, 0));
        room.announced(&peer("[fd69::1]:1", 1, 7, 0));
        assert_eq!(room.swarm.len(), 2, "it is told of by both");
        room.announced(&peer("10.0.0.9:1", 1, 7, 1));
        assert!(!room.has("10.0.0.1:1") && room.has("10.0.0.9:1") && room.has("[fd69::1]:1"));
    }

    #[test]
    fn nobody_is_pushed_out_by_one_that_knows_no_more_than_its_id() {
        for key in [8, 0] {
            let mut room = Room::new();
            room.announced(&peer("10.0.0.1:1", 1, 7, 0));
            room.announced(&peer("10.0.0.9:1", 1, key, 1));
            room.announced(&peer("10.0.0.1:2", 1, key, 1));
            assert!(room.has("10.0.0.1:1"));
        }
        let mut room = Room::new();
        room.announced(&peer("10.0.0.1:1", 1, 0, 0));
        room.announced(&peer("10.0.0.9:1", 1, 0, 1));
        assert!(room.has("10.0.0.1:1"), "no key is no proof");
    }

    #[test]
    fn an_address_has_so_many_places_and_its_own_oldest_goes_for_the_next() {
        for (max, host, other) in [
            (V4::MAX_PLACES, "10.0.0.1", "10.0.0.2:1"),
            // All of a /64 are one.
            (V6::MAX_PLACES, "[fd69::1]", "[fd69:0:0:1::1]:1"),
        ] {
            let mut room = Room::new();
            room.announced(&peer(other, 9, 0, 0));
            for port in 1..=max + 1 {
                room.announced(&peer(&format!("{host}:{port}"), 1, 0, port));
                assert_eq!(room.swarm.len() as u32, port.min(max) + 1);
            }
            assert!(!room.has(&format!("{host}:1")) && room.has(&format!("{host}:2")) && room.has(other));
            assert_eq!(room.swarm.joined, Seconds::new(max), "that is no growth");
        }
    }

    #[test]
    fn one_that_finds_no_room_takes_the_place_of_its_own_or_none() {
        let mut room = Room { census: Census::of(2), ..Room::new() };
        room.announced(&peer("10.0.0.1:1", 1, 0, 0));
        room.announced(&peer("10.0.0.2:1", 2, 0, 0));
        room.announced(&peer("10.0.0.3:1", 3, 0, 0));
        assert!(!room.has("10.0.0.3:1"));
        room.announced(&peer("10.0.0.2:2", 4, 0, 0));
        assert!(room.has("10.0.0.1:1") && room.has("10.0.0.2:2") && !room.has("10.0.0.2:1"));
    }

    #[test]
    fn counts_what_was_downloaded_here_and_once() {
        let mut room = Room::new();
        let mut count = |text: &str, is_seed, completed| {
            let peer = Peer { is_seed, ..peer(text, text.as_bytes()[7], 0, 0) };
            room.swarm.announced(&peer, completed, &room.census);
            room.swarm.downloads()
        };
        assert_eq!(count("10.0.0.1:1", true, false), 0, "it has brought what it has");
        assert_eq!(count("10.0.0.2:1", false, false), 0);
        assert_eq!(count("10.0.0.2:1", true, true), 1);
        assert_eq!(count("10.0.0.2:1", true, true), 1, "it has said so already");
        assert_eq!(count("10.0.0.3:1", false, false), 1);
        assert_eq!(count("10.0.0.3:1", true, false), 2, "it doesn't say so, but so it is");
        assert_eq!(count("10.0.0.3:1", true, true), 2);
        assert_eq!(count("10.0.0.4:1", true, true), 3, "we have not seen it before");
    }

    #[test]
    fn counts_a_download_once_of_a_host_that_announces_it_by_both_families() {
        let mut room = Room::new();
        for (is_seed, completed) in [(false, false), (true, true)] {
            for text in ["10.0.0.1:1", "[fd69::1]:1"] {
                let peer = Peer { is_seed, ..peer(text, 1, 7, 0) };
                room.swarm.announced(&peer, completed, &room.census);
            }
        }
        assert_eq!(room.swarm.downloads(), 1);
    }

    #[test]
    fn knows_where_a_peer_can_be_dialled_by_where_it_is_and_who() {
        let mut room = Room::new();
        for text in ["10.0.0.1:1", "[fd69::1]:2"] {
            room.announced(&peer(text, 1, 7, 0));
        }
        room.announced(&peer("10.0.0.3:3", 3, 7, 0));
        room.announced(&peer("10.0.0.3:4", 4, 8, 0));
        let door = |ip: &str, id| room.swarm.door_of(ip.parse().unwrap(), &PeerId::new([id; 20]));
        assert_eq!(door("10.0.0.1", 1), Some(addr("10.0.0.1:1")));
        assert_eq!(door("fd69::1", 1), Some(addr("[fd69::1]:2")));
        assert_eq!(door("10.0.0.1", 2), Some(addr("10.0.0.1:1")), "nobody else is there");
        assert_eq!(door("10.0.0.3", 4), Some(addr("10.0.0.3:4")));
        assert_eq!([door("10.0.0.3", 5), door("10.0.0.2", 1), door("fd69::2", 1)], [None; 3]);
    }
}
