//! Hosts and their connections; `transfer` moves blocks over them. Who is told of whom and who is uploaded to is decided
//! elsewhere.

mod transfer;

use std::collections::{HashMap, VecDeque};

use super::client::Habits;
use super::links::{Flow, LinkId, Links};
use super::pieces::{Block, Holding, PieceSet};

/// A host, by its place in [`Swarm`].
pub(super) type HostId = usize;
/// A connection, by its place in [`Swarm`]; used again when it has ended.
pub(super) type ConnectionId = u32;

/// So many blocks of what a peer was asked for lie in its socket already and come even if they are cancelled.
const COMMITTED_BLOCKS: usize = 4;
/// A client has asked for at least so many blocks at a time.
const MIN_PIPELINE: usize = 6;
/// And for no more than this.
const MAX_PIPELINE: usize = 250;

/// One end of a connection, as the one who downloads over it.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// How many of the pieces that the other end shows it lacks.
    pub(super) wanted: u32,
    /// Whether the other end uploads to it.
    pub(super) unchoked: bool,
    /// What the other end has shown, where that isn't all it has.
    shown: Option<PieceSet>,
    asked: VecDeque<Block>,
    /// Bytes of the first block asked for that have come.
    credit: f32,
    /// Bytes a second.
    rate: f32,
    /// Bytes that came since they were last looked at.
    pub(super) received: f32,
    /// Whether it was interested in what the other end shows when that last looked.
    pub(super) was_interested: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: [HostId; 2],
    pub(super) sides: [Side; 2],
}

impl Connection {
    /// Which end a host is.
    pub(super) fn end_of(&self, host: HostId) -> usize {
        usize::from(self.ends[1] == host)
    }
}

#[derive(Debug)]
pub(super) struct Host {
    /// None for the origin, which is in no rack.
    pub(super) rack: Option<usize>,
    pub(super) up: LinkId,
    pub(super) down: LinkId,
    pub(super) holding: Holding,
    pub(super) habits: Habits,
    pub(super) connections: Vec<ConnectionId>,
    /// Those whose other end it uploads to.
    pub(super) uploads: Vec<ConnectionId>,
    pub(super) is_up: bool,
    /// Pieces that all others give it before they upload to it.
    pub(super) fast: PieceSet,
    /// Whether it shows pieces one by one.
    pub(super) reveals: bool,
    /// Whether it has asked several peers for the same blocks.
    in_endgame: bool,
}

impl Host {
    pub(super) fn new(
        rack: Option<usize>,
        up: LinkId,
        down: LinkId,
        holding: Holding,
        habits: Habits,
        fast: PieceSet,
    ) -> Self {
        Self {
            fast,
            rack,
            up,
            down,
            holding,
            habits,
            connections: Vec::new(),
            uploads: Vec::new(),
            is_up: false,
            reveals: false,
            in_endgame: false,
        }
    }
}

/// The links of a rack's switch to all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uplink {
    pub(super) up: LinkId,
    pub(super) down: LinkId,
}

/// Something the rest of the simulation wants to know of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Got {
    pub(super) host: HostId,
    pub(super) piece: u32,
}

#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) hosts: Vec<Host>,
    pub(super) links: Links,
    pub(super) uplinks: Vec<Uplink>,
    /// Racks whose uplink is cut, and what it carried before.
    cut: HashMap<usize, [f64; 2]>,
    connections: Vec<Option<Connection>>,
    free: Vec<ConnectionId>,
    piece_len: f32,
    blocks: u8,
    flows: Vec<Flow>,
    ways: Vec<(ConnectionId, usize)>,
    got: Vec<Got>,
    /// Bytes of blocks that came twice.
    pub(super) wasted: f64,
}

impl Swarm {
    pub(super) fn new(piece_len: u32, blocks: u8) -> Self {
        Self {
            hosts: Vec::new(),
            links: Links::default(),
            uplinks: Vec::new(),
            cut: HashMap::new(),
            connections: Vec::new(),
            free: Vec::new(),
            piece_len: piece_len as f32,
            blocks,
            flows: Vec::new(),
            ways: Vec::new(),
            got: Vec::new(),
            wasted: 0.0,
        }
    }

    pub(super) fn connection(&self, id: ConnectionId) -> &Connection {
        self.connections[id as usize].as_ref().expect("a connection that a host has is there")
    }

    pub(super) fn connection_mut(&mut self, id: ConnectionId) -> &mut Connection {
        self.connections[id as usize].as_mut().expect("a connection that a host has is there")
    }

    pub(super) fn between(&self, a: HostId, b: HostId) -> Option<ConnectionId> {
        self.hosts[a].connections.iter().copied().find(|id| self.connection(*id).ends.contains(&b))
    }

    /// Whether no link between two hosts is cut.
    pub(super) fn can_reach(&self, a: HostId, b: HostId) -> bool {
        let racks = [self.hosts[a].rack, self.hosts[b].rack];
        racks[0] == racks[1] || !racks.iter().flatten().any(|rack| self.cut.contains_key(rack))
    }

    /// Cuts a rack's uplink, or mends it. Connections over it last.
    pub(super) fn cut(&mut self, rack: usize, is_cut: bool) {
        let links = [self.uplinks[rack].up, self.uplinks[rack].down];
        if is_cut {
            let capacities = links.map(|link| self.links.set_capacity(link, 0.0));
            self.cut.insert(rack, capacities);
        } else if let Some(capacities) = self.cut.remove(&rack) {
            for (link, capacity) in links.into_iter().zip(capacities) {
                self.links.set_capacity(link, capacity);
            }
        }
    }

    /// Connects two hosts, unless they are already, or one is down or has no room.
    pub(super) fn connect(&mut self, a: HostId, b: HostId) -> Option<ConnectionId> {
        let ready = |host: &Host| host.is_up && host.connections.len() < host.habits.max_connections;
        if a == b || !ready(&self.hosts[a]) || !ready(&self.hosts[b]) || !self.can_reach(a, b) {
            return None;
        }
        if self.between(a, b).is_some() {
            return None;
        }
        let sides = [self.begin(a, b), self.begin(b, a)];
        let id = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            (self.connections.len() - 1) as ConnectionId
        });
        self.connections[id as usize] = Some(Connection { ends: [a, b], sides });
        self.hosts[a].connections.push(id);
        self.hosts[b].connections.push(id);
        // Either may ask for pieces that are given to those who are choked, if the other has any.
        self.hosts[a].uploads.push(id);
        self.hosts[b].uploads.push(id);
        Some(id)
    }

    /// What `host` sees of `peer` when they have shaken hands.
    fn begin(&mut self, host: HostId, peer: HostId) -> Side {
        if self.hosts[peer].reveals {
            let shown = PieceSet::empty(self.hosts[peer].holding.pieces());
            return Side { shown: Some(shown), ..Side::default() };
        }
        let theirs: Vec<u32> = self.hosts[peer].holding.has.iter().collect();
        let holding = &mut self.hosts[host].holding;
        theirs.iter().for_each(|piece| holding.shows(*piece));
        let wanted = theirs.iter().filter(|piece| !holding.has.has(**piece)).count() as u32;
        Side { wanted, ..Side::default() }
    }

    pub(super) fn disconnect(&mut self, id: ConnectionId) {
        let ends = self.connection(id).ends;
        for (end, host) in ends.into_iter().enumerate() {
            self.choke(id, end);
            let peer = ends[1 - end];
            let shown = self.connection(id).sides[end].shown.clone();
            let shown = shown.unwrap_or_else(|| self.hosts[peer].holding.has.clone());
            shown.iter().for_each(|piece| self.hosts[host].holding.hides(piece));
            self.hosts[host].connections.retain(|other| *other != id);
            self.hosts[host].uploads.retain(|other| *other != id);
        }
        self.connections[id as usize] = None;
        self.free.push(id);
    }

    /// A host is gone, with all its connections.
    pub(super) fn take_down(&mut self, host: HostId) {
        self.hosts[host].is_up = false;
        for id in self.hosts[host].connections.clone() {
            self.disconnect(id);
        }
    }

    /// The end of a connection may download over it.
    pub(super) fn unchoke(&mut self, id: ConnectionId, end: usize) {
        let connection = self.connection_mut(id);
        if !std::mem::replace(&mut connection.sides[end].unchoked, true) {
            let sender = connection.ends[1 - end];
            if !self.hosts[sender].uploads.contains(&id) {
                self.hosts[sender].uploads.push(id);
            }
        }
    }

    /// And now no longer: what it asked for is forgotten.
    pub(super) fn choke(&mut self, id: ConnectionId, end: usize) {
        let connection = self.connection_mut(id);
        let host = connection.ends[end];
        let side = &mut connection.sides[end];
        side.unchoked = false;
        (side.credit, side.rate) = (0.0, 0.0);
        let asked = std::mem::take(&mut side.asked);
        for block in asked {
            let elsewhere = self.is_asked_elsewhere(host, block);
            self.hosts[host].holding.give_up(block, id, elsewhere);
        }
        self.hosts[host].holding.release(id);
    }

    fn is_asked_elsewhere(&self, host: HostId, block: Block) -> bool {
        let host_of = &self.hosts[host];
        host_of.in_endgame
            && host_of.connections.iter().any(|id| {
                let connection = self.connection(*id);
                connection.sides[connection.end_of(host)].asked.contains(&block)
            })
    }

    /// One who reveals pieces shows one to the end of a connection.
    pub(super) fn show(&mut self, id: ConnectionId, end: usize, piece: u32) {
        let connection =
            self.connections[id as usize].as_mut().expect("a connection that a host has is there");
        let side = &mut connection.sides[end];
        if side.shown.as_mut().is_some_and(|shown| shown.insert(piece)) {
            let holding = &mut self.hosts[connection.ends[end]].holding;
            holding.shows(piece);
            side.wanted += u32::from(!holding.has.has(piece));
        }
    }
}
