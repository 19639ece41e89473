//! Whom a client uploads to: who gives most, and somebody by chance.

use rand::Rng;
use rand::seq::SliceRandom;

use super::swarm::{ConnectionId, HostId, Side, Swarm};

/// One round of a host. `round` counts them; what came in before it counts for half in the next.
pub(super) fn decide(swarm: &mut Swarm, host: HostId, round: u32, rng: &mut impl Rng) {
    let habits = swarm.hosts[host].habits;
    let seeds = swarm.hosts[host].holding.is_complete();
    let mut interested = interested(swarm, host);
    interested.shuffle(rng);
    let draws = round.is_multiple_of(habits.optimistic_rounds);
    let current: Vec<ConnectionId> = unchoked(swarm, host).collect();
    let slots = habits.regular_slots + habits.optimistic_slots;
    let mut chosen: Vec<ConnectionId> = Vec::with_capacity(slots);
    if seeds {
        // It gets nothing from anybody: turns last as long as an optimistic one.
        if !draws {
            chosen.extend(interested.iter().filter(|id| current.contains(id)));
        }
    } else {
        let given = |id: &ConnectionId| received(swarm, host, *id);
        let mut givers: Vec<_> = interested.iter().copied().filter(|id| given(id) > 0.0).collect();
        givers.sort_by(|a, b| given(b).total_cmp(&given(a)));
        chosen.extend(givers.iter().take(habits.regular_slots));
        if !draws {
            // Whoever was drawn and didn't come to give stays to the end of its turn.
            let kept = interested.iter().filter(|id| current.contains(id) && !chosen.contains(id));
            chosen.extend(kept.take(habits.optimistic_slots).copied().collect::<Vec<_>>());
        }
    }
    // aria2 also leaves those unchoked who want nothing yet: about one more that chance has chosen, where givers are few.
    let by_chance =
        if seeds || habits.fills_free_slots { slots } else { chosen.len() + habits.optimistic_slots };
    for id in interested {
        if chosen.len() >= by_chance.min(slots) {
            break;
        }
        if !chosen.contains(&id) {
            chosen.push(id);
        }
    }
    for id in current.iter().filter(|id| !chosen.contains(id)) {
        let end = 1 - swarm.connection(*id).end_of(host);
        swarm.choke(*id, end);
    }
    for id in chosen {
        let end = 1 - swarm.connection(id).end_of(host);
        swarm.unchoke(id, end);
        let side = &mut swarm.connection_mut(id).sides[end];
        side.was_interested = side.wanted > 0;
    }
    for at in 0..swarm.hosts[host].connections.len() {
        let id = swarm.hosts[host].connections[at];
        let connection = swarm.connection_mut(id);
        let end = connection.end_of(host);
        connection.sides[end].received *= 0.5;
    }
}

/// Whether somebody who is uploaded to lost or gained interest: aria2 has a round at once then.
pub(super) fn is_due(swarm: &mut Swarm, host: HostId) -> bool {
    let mut due = false;
    for at in 0..swarm.hosts[host].uploads.len() {
        let id = swarm.hosts[host].uploads[at];
        let connection = swarm.connection_mut(id);
        let end = 1 - connection.end_of(host);
        let side = &mut connection.sides[end];
        due |= side.unchoked && side.was_interested != (side.wanted > 0);
        side.was_interested = side.wanted > 0;
    }
    due && !swarm.hosts[host].habits.fills_free_slots
}

/// Gives slots that are free to those who want them, for clients that don't wait for the next round.
pub(super) fn fill(swarm: &mut Swarm, host: HostId, rng: &mut impl Rng) {
    let habits = swarm.hosts[host].habits;
    let slots = habits.regular_slots + habits.optimistic_slots;
    // A slot is free if nobody has it, or one who wants nothing.
    let uploads = unchoked(swarm, host).filter(|id| is_interested(swarm, host, *id)).count();
    if !habits.fills_free_slots || uploads >= slots {
        return;
    }
    let mut waiting = interested(swarm, host);
    waiting.retain(|id| !other_side(swarm, host, *id).unchoked);
    waiting.shuffle(rng);
    for id in waiting.into_iter().take(slots - uploads) {
        let end = 1 - swarm.connection(id).end_of(host);
        swarm.unchoke(id, end);
    }
}

/// The connections whose other end wants something.
fn interested(swarm: &Swarm, host: HostId) -> Vec<ConnectionId> {
    let connections = swarm.hosts[host].connections.iter().copied();
    connections.filter(|id| is_interested(swarm, host, *id)).collect()
}

/// The connections whose other end it uploads to.
fn unchoked(swarm: &Swarm, host: HostId) -> impl Iterator<Item = ConnectionId> {
    let uploads = swarm.hosts[host].uploads.iter().copied();
    uploads.filter(move |id| other_side(swarm, host, *id).unchoked)
}

fn is_interested(swarm: &Swarm, host: HostId, id: ConnectionId) -> bool {
    other_side(swarm, host, id).wanted > 0
}

/// The end of a connection that isn't `host`.
fn other_side(swarm: &Swarm, host: HostId, id: ConnectionId) -> &Side {
    let connection = swarm.connection(id);
    &connection.sides[1 - connection.end_of(host)]
}

/// What came over a connection lately.
fn received(swarm: &Swarm, host: HostId, id: ConnectionId) -> f32 {
    let connection = swarm.connection(id);
    connection.sides[connection.end_of(host)].received
}
