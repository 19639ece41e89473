//! Hosts that are gone without a word: whoever is sent to them waits in vain.

use std::net::SocketAddr;

use super::{FILE, LEN};
use crate::support::clients::{self, Client};
use crate::support::files::Contents;
use crate::support::swarm::Swarm;
use crate::support::wire::Door;
use crate::support::{wait_for, wait_within};

/// At which nobody is done before it is killed.
const AT_LEISURE: u32 = 16 * 1024;

/// Hosts that have to wait, and the one that is killed in the midst of its download.
fn after_a_kill() -> (Swarm, [u8; 20]) {
    let swarm = Swarm::new(2);
    Contents::new(9, LEN).write(swarm.path(FILE));
    let [host, other] = swarm.hosts() else { panic!("there are two") };
    let info_hash = swarm.torrent(other, FILE).info_hash;
    let download = swarm.start(Client::Libtorrent.slowed_to(AT_LEISURE), host, FILE);
    wait_within(clients::DEADLINE, "it to be known and sent something", || {
        (swarm.names(other, info_hash, host) && swarm.uploaded() > 0).then_some(())
    });
    drop(download);
    (swarm, info_hash)
}

#[test]
fn a_client_that_was_killed_is_soon_named_to_nobody() {
    let (swarm, info_hash) = after_a_kill();
    let [host, other] = swarm.hosts() else { panic!("there are two") };
    wait_for("it to be forgotten", || (!swarm.names(other, info_hash, host)).then_some(()));
}

#[test]
fn one_that_comes_back_at_another_port_is_soon_named_there_alone() {
    let (swarm, info_hash) = after_a_kill();
    let [host, other] = swarm.hosts() else { panic!("there are two") };
    let door = Door::open(host);
    swarm.announce(host, info_hash, door.port());
    let back = SocketAddr::new(host.address(), door.port());
    wait_for("it to be there alone", || {
        let mut named = swarm.peers_named_to(other, info_hash);
        named.retain(|peer| peer.ip() == host.address());
        (named == [back]).then_some(())
    });
}
