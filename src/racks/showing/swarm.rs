//! The connections of one torrent, and what they were shown.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use distributor_proto::{Bitfield, Geometry, PieceIndex};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Ledger, Mailbox, Manner, Post};
use crate::steering::{SuperSeed, Window};

/// How many connections of a torrent are shown pieces one by one; all are looked at for each piece. With more of them
/// there is a crowd that has enough to trade, and the torrent is plainly seeded.
pub(super) const MAX_SHOWN: usize = 4096;

#[derive(Debug)]
pub(super) struct Swarm {
    geometry: Geometry,
    members: HashMap<u64, Member>,
    next: u64,
    state: State,
    window: Window,
    rng: SmallRng,
    ledger: Arc<Ledger>,
    /// How much of its room is taken.
    taken: usize,
    /// In which manner its pieces were shown when that was told last.
    told: Manner,
}

#[derive(Debug)]
enum State {
    /// Everybody sees everything, so far.
    Open,
    /// Some are shown pieces one by one.
    Showing(Box<SuperSeed<u64>>),
    /// There were too many for that: everybody sees everything, until all have left.
    Plain,
}

/// A connection.
#[derive(Debug)]
struct Member {
    ip: IpAddr,
    post: Post,
    mailbox: Arc<Mailbox>,
    /// It sees everything.
    sees_everything: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It hasn't said who it is.
    Entered,
    /// Nor what it has.
    Introduced,
    /// It has these, while nobody is shown pieces one by one.
    Known(Bitfield),
    /// The policy knows it.
    Joined,
}

impl Swarm {
    pub(super) fn new(geometry: Geometry, ledger: Arc<Ledger>, now: Instant) -> Self {
        Self {
            geometry,
            members: HashMap::new(),
            next: 0,
            state: State::Open,
            window: Window::new(geometry.piece_len(), now),
            rng: SmallRng::from_rng(&mut rand::rng()),
            ledger,
            taken: 0,
            told: Manner::Open,
        }
    }

    pub(super) fn is_there_another_than(&self, ip: IpAddr) -> bool {
        self.members.values().any(|member| member.ip != ip)
    }

    /// A connection begins; its id, and whether it really begins with nothing.
    pub(super) fn enter(
        &mut self,
        ip: IpAddr,
        post: Post,
        begins_empty: bool,
        mailbox: Arc<Mailbox>,
        now: Instant,
    ) -> (u64, bool) {
        let begins_empty = begins_empty && self.begin(now);
        let id = self.next;
        self.next += 1;
        let member = Member { ip, post, mailbox, sees_everything: !begins_empty, stage: Stage::Entered };
        self.members.insert(id, member);
        if self.members.len() > MAX_SHOWN {
            self.give_up();
        }
        (id, begins_empty)
    }

    /// A connection has ended; whether it was the last.
    pub(super) fn leave(&mut self, id: u64) -> bool {
        self.members.remove(&id);
        if let State::Showing(seed) = &mut self.state {
            seed.leave(&id);
        }
        self.members.is_empty()
    }

    pub(super) fn introduced(&mut self, id: u64) {
        if let Some(member) = self.members.get_mut(&id)
            && matches!(member.stage, Stage::Entered)
        {
            member.stage = Stage::Introduced;
        }
    }

    pub(super) fn has_all(&mut self, id: u64, pieces: &Bitfield, now: Instant) {
        match (&mut self.state, self.members.get_mut(&id)) {
            (State::Showing(seed), Some(Member { stage: Stage::Joined, .. })) => {
                for piece in self.geometry.pieces().filter(|piece| pieces.contains(*piece)) {
                    if seed.is_unshown(&id, piece) {
                        self.ledger.add_passed_on();
                    }
                    seed.has(id, piece, now);
                }
            }
            (State::Showing(_), Some(_)) => self.join(id, pieces.clone(), now),
            (State::Open, Some(member)) => member.stage = Stage::Known(pieces.clone()),
            (State::Plain, _) | (_, None) => {}
        }
        self.reveal(now);
    }

    pub(super) fn has(&mut self, id: u64, piece: PieceIndex, now: Instant) {
        match (&mut self.state, self.members.get_mut(&id)) {
            (State::Showing(seed), _) => {
                if seed.is_unshown(&id, piece) {
                    self.ledger.add_passed_on();
                }
                // What it had from others makes no room for more, and comes thousands of times a second.
                let makes_room = seed.has(id, piece, now);
                if makes_room {
                    self.reveal(now);
                }
            }
            (State::Open, Some(Member { stage: Stage::Known(has), .. })) => {
                has.insert(piece);
            }
            _ => {}
        }
    }

    pub(super) fn sent(&mut self, id: u64, piece: PieceIndex, now: Instant) {
        match &mut self.state {
            State::Showing(seed) => {
                if let Some(waited) = seed.sent(id, piece, now) {
                    self.window.sent(waited);
                    self.reveal(now);
                }
            }
            // aria2 doesn't say that it has what it had from here.
            State::Open => self.has(id, piece, now),
            State::Plain => {}
        }
    }

    /// The addresses of its connections.
    pub(super) fn ips(&self) -> Vec<IpAddr> {
        self.members.values().map(|member| member.ip).collect()
    }

    /// Hosts may be elsewhere now, or something else there. Who has come since they were asked after is in its place.
    pub(super) fn place(&mut self, posts: &HashMap<IpAddr, Post>) {
        let mut spares_uplinks = false;
        for (id, member) in &mut self.members {
            let post = posts.get(&member.ip).copied().unwrap_or(member.post);
            let before = std::mem::replace(&mut member.post, post);
            let Post { rack, is_gateway, is_guessed } = member.post;
            spares_uplinks |= !is_guessed;
            if let State::Showing(seed) = &mut self.state {
                if rack != before.rack {
                    seed.move_to(id, rack);
                }
                seed.set_gateway(id, is_gateway);
            }
        }
        if let State::Showing(seed) = &mut self.state {
            seed.spare_uplinks(spares_uplinks);
        }
        self.count();
    }

    pub(super) fn manner(&self) -> Manner {
        match self.state {
            State::Open => Manner::Open,
            State::Showing(_) => Manner::Showing,
            State::Plain => Manner::Plain,
        }
    }

    /// In which manner its pieces are shown, and whether in another when that was told last.
    pub(super) fn tell_manner(&mut self) -> (Manner, bool) {
        let manner = self.manner();
        (manner, std::mem::replace(&mut self.told, manner) != manner)
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if !matches!(self.state, State::Showing(_)) {
            return;
        }
        let is_silent =
            |(id, member): (&u64, &Member)| matches!(member.stage, Stage::Introduced).then_some(*id);
        let silent: Vec<u64> = self.members.iter().filter_map(is_silent).collect();
        for id in silent {
            self.join(id, Bitfield::empty(self.geometry.piece_count()), now);
        }
        self.window.settle(now);
        self.reveal(now);
    }

    /// Whether pieces are shown one by one from now on, as they may be already.
    fn begin(&mut self, now: Instant) -> bool {
        match self.state {
            State::Showing(_) => return true,
            State::Plain => return false,
            State::Open => {}
        }
        let pieces = self.geometry.piece_count() as usize;
        if self.members.len() >= MAX_SHOWN || !self.ledger.take(pieces) {
            return false;
        }
        self.taken = pieces;
        let mut seed = SuperSeed::new(self.geometry);
        seed.spare_uplinks(false);
        self.state = State::Showing(Box::new(seed));
        let known: Vec<(u64, Bitfield)> = self
            .members
            .iter_mut()
            .filter_map(|(id, member)| match std::mem::replace(&mut member.stage, Stage::Joined) {
                Stage::Known(has) => Some((*id, has)),
                other => {
                    member.stage = other;
                    None
                }
            })
            .collect();
        for (id, has) in known {
            self.join(id, has, now);
        }
        matches!(self.state, State::Showing(_))
    }

    /// It is known what a connection's peer has.
    fn join(&mut self, id: u64, has: Bitfield, now: Instant) {
        let State::Showing(seed) = &mut self.state else { return };
        let Some(member) = self.members.get_mut(&id) else { return };
        member.stage = Stage::Joined;
        seed.join(id, member.post.rack, has, now);
        seed.set_gateway(&id, member.post.is_gateway);
        if member.sees_everything {
            seed.sees_everything(&id);
        }
        if !member.post.is_guessed {
            seed.spare_uplinks(true);
        }
        self.count();
    }

    /// Takes room for what is counted now.
    fn count(&mut self) {
        let State::Showing(seed) = &self.state else { return };
        let counted = (self.geometry.piece_count() as usize).saturating_mul(seed.rack_count() + 1);
        let more = counted.saturating_sub(self.taken);
        if self.ledger.take(more) {
            self.taken += more;
        } else {
            self.give_up();
        }
    }

    /// There are too many: everybody sees everything.
    fn give_up(&mut self) {
        if matches!(self.state, State::Plain) {
            return;
        }
        self.state = State::Plain;
        self.ledger.give_back(std::mem::take(&mut self.taken));
        for member in self.members.values_mut().filter(|member| !member.sees_everything) {
            member.sees_everything = true;
            member.mailbox.put_everything();
        }
    }

    fn reveal(&mut self, now: Instant) {
        let State::Showing(seed) = &mut self.state else { return };
        let shown = seed.reveal(self.window.pieces(), now, &mut self.rng);
        self.ledger.add_shown(shown.len());
        for (id, piece) in shown {
            if let Some(member) = self.members.get(&id) {
                member.mailbox.put(piece);
            }
        }
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.ledger.give_back(self.taken);
    }
}
