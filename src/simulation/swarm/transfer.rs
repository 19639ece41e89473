//! What moves in a step of time: who asks for which blocks, how far they come, and who hears of a piece.

use super::{COMMITTED_BLOCKS, ConnectionId, Got, HostId, MAX_PIPELINE, MIN_PIPELINE, Swarm};
use crate::simulation::links::Flow;
use crate::simulation::pieces::{Block, Picking};

impl Swarm {
    /// Moves what goes over all connections in a while, and gives what pieces came.
    pub(in crate::simulation) fn advance(&mut self, seconds: f32) -> Vec<Got> {
        self.flows.clear();
        self.ways.clear();
        for sender in 0..self.hosts.len() {
            let mut uploads = std::mem::take(&mut self.hosts[sender].uploads);
            for id in &uploads {
                let id = *id;
                let end = 1 - self.connection(id).end_of(sender);
                self.ask(id, end);
                if !self.connection(id).sides[end].asked.is_empty() {
                    self.flows.push(self.way(id, end));
                    self.ways.push((id, end));
                }
            }
            uploads.retain(|id| {
                let connection = self.connection(*id);
                let end = 1 - connection.end_of(sender);
                let (host, side) = (&self.hosts[connection.ends[end]], &connection.sides[end]);
                let shown = side.shown.as_ref().unwrap_or(&self.hosts[sender].holding.has);
                side.unchoked || shown.has_any(&host.fast, &host.holding.has)
            });
            self.hosts[sender].uploads = uploads;
        }
        let mut flows = std::mem::take(&mut self.flows);
        let ways = std::mem::take(&mut self.ways);
        self.links.share(&mut flows);
        for (flow, (id, end)) in flows.iter().zip(&ways) {
            self.carry(*id, *end, flow, seconds);
        }
        (self.flows, self.ways) = (flows, ways);
        std::mem::take(&mut self.got)
    }

    fn way(&self, id: ConnectionId, end: usize) -> Flow {
        let ends = self.connection(id).ends;
        let (to, from) = (&self.hosts[ends[end]], &self.hosts[ends[1 - end]]);
        let (leaves, enters) = if to.rack == from.rack { (None, None) } else { (from.rack, to.rack) };
        let links = [
            Some(from.up),
            leaves.map(|rack| self.uplinks[rack].up),
            enters.map(|rack| self.uplinks[rack].down),
            Some(to.down),
        ];
        Flow::over(links.into_iter().flatten())
    }

    /// Keeps as many requests under way as the rate calls for.
    fn ask(&mut self, id: ConnectionId, end: usize) {
        let connection =
            self.connections[id as usize].as_mut().expect("a connection that a host has is there");
        let (host, peer) = (connection.ends[end], connection.ends[1 - end]);
        let side = &mut connection.sides[end];
        let [host, peer] = self.hosts.get_disjoint_mut([host, peer]).expect("nobody is connected to itself");
        let block_len = self.piece_len / f32::from(self.blocks);
        let depth = (side.rate * host.habits.pipeline as f32 / block_len) as usize;
        let depth = depth.clamp(MIN_PIPELINE, MAX_PIPELINE);
        let how = Picking {
            blocks: self.blocks,
            keeps_pieces_apart: host.habits.keeps_pieces_apart,
            endgame_pieces: host.habits.endgame_pieces,
        };
        let shown = side.shown.as_ref().unwrap_or(&peer.holding.has);
        if !side.unchoked && !shown.has_any(&host.fast, &host.holding.has) {
            return;
        }
        let fast = (!side.unchoked).then(|| shown.and(&host.fast));
        let shown = fast.as_ref().unwrap_or(shown);
        while side.wanted > 0 && side.asked.len() < depth {
            let Some((block, doubled)) = host.holding.pick(id, shown, &side.asked, how) else { break };
            host.in_endgame |= doubled;
            side.asked.push_back(block);
        }
    }

    fn carry(&mut self, id: ConnectionId, end: usize, flow: &Flow, seconds: f32) {
        let block_len = self.piece_len / f32::from(self.blocks);
        let side = &mut self.connection_mut(id).sides[end];
        side.rate = flow.rate;
        side.credit += flow.rate * seconds;
        let mut moved = flow.rate * seconds;
        loop {
            let connection = self.connection_mut(id);
            let host = connection.ends[end];
            let side = &mut connection.sides[end];
            if side.credit < block_len {
                break;
            }
            let Some(block) = side.asked.pop_front() else {
                moved -= side.credit;
                side.credit = 0.0;
                break;
            };
            side.credit -= block_len;
            side.received += block_len;
            let (new, complete) = self.hosts[host].holding.receive(block, self.blocks);
            if !new {
                self.wasted += f64::from(block_len);
            }
            if self.hosts[host].in_endgame {
                self.cancel(host, block);
            }
            if complete {
                self.have(host, block.piece);
            }
            self.ask(id, end);
        }
        self.links.carry(flow, moved);
    }

    /// What came from one peer is not needed from another.
    fn cancel(&mut self, host: HostId, block: Block) {
        for at in 0..self.hosts[host].connections.len() {
            let id = self.hosts[host].connections[at];
            let connection = self.connection_mut(id);
            let end = connection.end_of(host);
            let asked = &mut connection.sides[end].asked;
            if let Some(place) = asked.iter().skip(COMMITTED_BLOCKS).position(|other| *other == block) {
                asked.remove(place + COMMITTED_BLOCKS);
            }
        }
    }

    /// A host has a piece, and says so.
    fn have(&mut self, host: HostId, piece: u32) {
        self.got.push(Got { host, piece });
        for at in 0..self.hosts[host].connections.len() {
            let id = self.hosts[host].connections[at];
            let connection =
                self.connections[id as usize].as_mut().expect("a connection that a host has is there");
            let end = connection.end_of(host);
            let peer = connection.ends[1 - end];
            let shown = connection.sides[end].shown.as_ref().unwrap_or(&self.hosts[peer].holding.has);
            if shown.has(piece) {
                connection.sides[end].wanted -= 1;
            }
            let theirs = &mut self.hosts[peer].holding;
            theirs.shows(piece);
            let is_new = !theirs.has.has(piece);
            let side = &mut connection.sides[1 - end];
            side.wanted += u32::from(is_new);
            if is_new && !side.unchoked && self.hosts[peer].fast.has(piece) {
                let uploads = &mut self.hosts[host].uploads;
                if !uploads.contains(&id) {
                    uploads.push(id);
                }
            }
        }
    }
}
