//! Which pieces the origin shows to whom, for each torrent with connections: carries what its peers say to the policy, and
//! what the policy decides to the connections.
//!
//! A peer is told that there is nothing yet, or everything, before anything is known of it but its address; so that is
//! decided here (`begins_empty`), and can't be taken back. Where hosts are is others' to say; the wire is the seeder's.
//!
//! One lock for each torrent, which nobody holds while it waits for anything, and one for the table of torrents. Whoever
//! takes both takes the table's first.

mod ledger;
mod mailbox;
mod presence;
mod swarm;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributor_proto::{Geometry, InfoHash};

use self::ledger::Ledger;
pub(crate) use self::ledger::{Manner, Survey};
pub(crate) use self::mailbox::Mailbox;
pub(crate) use self::presence::Presence;
use self::swarm::Swarm;
use crate::config::SuperSeeding;
use crate::steering::Rack;

/// How often to look for pieces that may be shown because time has passed.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// A file of fewer pieces is had before there was anything to trade: everybody sees all of it, unless nothing else was
/// said.
const FEW_PIECES: u32 = 32;

/// Where a host is, and what it is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Post {
    pub(super) rack: Rack,
    pub(super) is_gateway: bool,
    /// Nobody said that it is there.
    pub(super) is_guessed: bool,
}

/// Those of all torrents.
#[derive(Debug)]
pub(super) struct Showings {
    mode: SuperSeeding,
    by_torrent: Mutex<HashMap<InfoHash, Arc<Mutex<Swarm>>>>,
    ledger: Arc<Ledger>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Showings {
    pub(super) fn new(mode: SuperSeeding) -> Arc<Self> {
        Arc::new(Self { mode, by_torrent: Mutex::default(), ledger: Arc::default() })
    }

    /// A peer is connected; nothing where nobody is ever shown pieces one by one.
    pub(super) fn connect(
        self: &Arc<Self>,
        info_hash: InfoHash,
        geometry: Geometry,
        ip: IpAddr,
        post: Post,
        now: Instant,
    ) -> Option<Presence> {
        if self.mode == SuperSeeding::Off {
            return None;
        }
        let mut table = lock(&self.by_torrent);
        let swarm = table
            .entry(info_hash)
            .or_insert_with(|| Arc::new(Mutex::new(Swarm::new(geometry, Arc::clone(&self.ledger), now))));
        let mailbox = Arc::default();
        let (id, begins_empty) = {
            let mut swarm = lock(swarm);
            let begins_empty = begins_empty(self.mode, &geometry, &post, swarm.is_there_another_than(ip));
            swarm.enter(ip, post, begins_empty, Arc::clone(&mailbox), now)
        };
        let swarm = Arc::clone(swarm);
        Some(Presence::new(id, info_hash, geometry, begins_empty, mailbox, swarm, Arc::clone(self)))
    }

    /// Hosts may be elsewhere now, or something else there: `posts` says it of those at these addresses, while nothing
    /// is locked.
    pub(super) fn place(&self, posts: impl Fn(&InfoHash, &[IpAddr]) -> HashMap<IpAddr, Post>) {
        for (info_hash, swarm) in self.swarms() {
            let ips = lock(&swarm).ips();
            let posts = posts(&info_hash, &ips);
            lock(&swarm).place(&posts);
        }
    }

    /// What there is to tell of all, and has changed since it was told last.
    pub(super) fn survey(&self) -> Survey {
        let mut survey = self.ledger.survey();
        for (info_hash, swarm) in self.swarms() {
            let (manner, is_news) = lock(&swarm).tell_manner();
            survey.count(manner);
            survey.news.extend(is_news.then_some((info_hash, manner)));
        }
        survey
    }

    /// How the pieces of a torrent are shown; nothing where nobody is connected for it.
    pub(super) fn manner_of(&self, info_hash: &InfoHash) -> Option<Manner> {
        let swarm = lock(&self.by_torrent).get(info_hash).cloned()?;
        let manner = lock(&swarm).manner();
        Some(manner)
    }

    fn swarms(&self) -> Vec<(InfoHash, Arc<Mutex<Swarm>>)> {
        lock(&self.by_torrent).iter().map(|(info_hash, swarm)| (*info_hash, Arc::clone(swarm))).collect()
    }

    pub(super) fn tick(&self, now: Instant) {
        self.swarms().iter().for_each(|(_, swarm)| lock(swarm).tick(now));
    }

    /// A connection has ended.
    fn leave(&self, info_hash: &InfoHash, id: u64) {
        let mut table = lock(&self.by_torrent);
        let Some(swarm) = table.get(info_hash) else { return };
        if lock(swarm).leave(id) {
            table.remove(info_hash);
        }
    }
}

/// Whether a peer is told at first that there is nothing.
///
/// By itself (`auto`) the origin must never be worse than a plain seed. A host that is alone has nobody to pass pieces on
/// to, and sees everything from the first byte; except where the operator has said where hosts are, for then there are
/// more to come, and the first of them would take what it likes through all that follows. It is not held up by that: it
/// is shown pieces as fast as it takes them.
fn begins_empty(mode: SuperSeeding, geometry: &Geometry, post: &Post, others_are_there: bool) -> bool {
    match mode {
        SuperSeeding::Off => false,
        SuperSeeding::On => true,
        SuperSeeding::Auto => geometry.piece_count() >= FEW_PIECES && (others_are_there || !post.is_guessed),
    }
}

#[cfg(test)]
mod tests;
