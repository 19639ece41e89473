//! Hosts of one address family or the other, or of both.

use super::{FILE, LEN, RATE, exchange, start};
use crate::support::clients::{Client, Launch};
use crate::support::files::{Contents, MIB};
use crate::support::net::{Families, Net};
use crate::support::swarm::Swarm;

use Families::{Both, V4, V6};

#[test]
fn clients_that_have_ipv4_alone_help_each_other() {
    let clients =
        [Client::Aria2, Client::Ctorrent, Client::Libtorrent, Client::Rtorrent, Client::Transmission];
    let swarm = Swarm::on_with(Net::of(&[V4; 6]), |setup| setup.option("--max-upload-rate", RATE));
    exchange(&swarm, &clients.map(Launch::from), &Contents::new(3, LEN));
}

/// ctorrent has no IPv6, and Deluge listens on IPv4 alone.
#[test]
fn clients_that_have_ipv6_alone_help_each_other() {
    let clients =
        [Client::Aria2, Client::Libtorrent, Client::Qbittorrent, Client::Rtorrent, Client::Transmission];
    let swarm = Swarm::on_with(Net::of(&[V6; 6]), |setup| setup.option("--max-upload-rate", RATE));
    exchange(&swarm, &clients.map(Launch::from), &Contents::new(4, LEN));
}

/// The origin sends over one family alone, though its tracker is asked over both. Hosts that have the other one only
/// get the file all the same: from those that have both.
#[track_caller]
fn reaches_those_who_cannot_reach_the_origin(peers: &str, beyond: Families, clients: [Client; 2]) {
    let near = if beyond == V6 { V4 } else { V6 };
    let net = Net::of(&[Both, near, Both, Both, beyond, beyond]);
    // By name, so that a client may ask it over both.
    let swarm = Swarm::on_with(net, |setup| {
        setup.option("--peers", peers).option("--announce-url", "http://origin:6969/announce")
    });
    let contents = Contents::new(5, 2 * MIB);
    contents.write(swarm.path(FILE));
    let [first, second] = clients;
    let mut downloads =
        start(&swarm, &[Client::Aria2, Client::Qbittorrent, Client::Deluge, first, second].map(Launch::from));
    // Those between come last: once they are done they are told to end.
    for at in [3, 4, 0, 1, 2] {
        let file = downloads[at].finish();
        contents.assert_same(file, &downloads[at].name());
    }
}

#[test]
fn hosts_with_both_families_pass_the_file_on_to_those_with_ipv6_alone() {
    reaches_those_who_cannot_reach_the_origin("10.69.69.1:6881", V6, [Client::Aria2, Client::Transmission]);
}

#[test]
fn hosts_with_both_families_pass_the_file_on_to_those_with_ipv4_alone() {
    reaches_those_who_cannot_reach_the_origin("[fd69::1]:6881", V4, [Client::Ctorrent, Client::Rtorrent]);
}
