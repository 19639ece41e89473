//! Swarms of stock clients that need each other: the origin sends too slowly for all of them, speaks another family than
//! some do, or goes away and comes back. And what a crowd is told that comes all at once.

mod crowd;
mod families;
mod kinds;
mod over_udp;
mod restart;
mod vanishing;

use crate::support::clients::{Download, Launch};
use crate::support::files::{Contents, MIB};
use crate::support::swarm::Swarm;

/// What all of them download.
const FILE: &str = "file.iso";

/// How much that is, and how many bytes a second the origin sends where it is to be too few: one copy takes longer than
/// Transmission does to begin (see CLIENTS), and a copy for each client minutes.
const LEN: usize = 12 * MIB;
const RATE: &str = "1MiB";

/// Each client downloads on a host of its own, all at once. Panics unless all finish, and part of what they have came
/// from each other.
#[track_caller]
fn exchange(swarm: &Swarm, clients: &[Launch], contents: &Contents) {
    contents.write(swarm.path(FILE));
    let mut downloads = start(swarm, clients);
    for download in &mut downloads {
        let file = download.finish();
        contents.assert_same(file, &download.name());
    }
    let copies = swarm.copies();
    // To each its own would be as many as they are.
    assert!(copies <= clients.len() as f64 - 1.0, "the origin sent {copies} copies to {}", clients.len());
}

/// Starts each client on a host of its own.
fn start(swarm: &Swarm, clients: &[Launch]) -> Vec<Download> {
    assert_eq!(swarm.hosts().len(), clients.len());
    swarm.hosts().iter().zip(clients).map(|(host, client)| swarm.start(*client, host, FILE)).collect()
}
