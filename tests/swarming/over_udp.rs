//! Clients that find each other by announces over UDP alone: their torrents name no other tracker, and all else by which
//! they could meet is off.

use super::{LEN, RATE, exchange};
use crate::support::clients::{Client, Launch};
use crate::support::files::Contents;
use crate::support::net::Net;
use crate::support::swarm::Swarm;

#[track_caller]
fn meet(net: Net, clients: &[Launch]) {
    let swarm = Swarm::on_with(net, |setup| {
        setup.option("--announce-url", "udp://origin:6969/announce").option("--max-upload-rate", RATE)
    });
    exchange(&swarm, clients, &Contents::new(2, LEN));
}

/// All that can; aria2 not without DHT.
#[test]
fn six_clients_of_six_kinds_meet() {
    let clients = [
        Launch::from(Client::Aria2).with_udp(),
        Client::Deluge.into(),
        Client::Libtorrent.into(),
        Client::Qbittorrent.into(),
        Client::Rtorrent.into(),
        Client::Transmission.into(),
    ];
    meet(Net::new(7), &clients);
}

/// Of the others, rtorrent can't be told of IPv6 peers over UDP, Deluge listens on IPv4 alone, and aria2 announces by
/// that alone.
#[test]
fn clients_meet_over_ipv6() {
    let clients = [
        Client::Libtorrent,
        Client::Libtorrent,
        Client::Qbittorrent,
        Client::Qbittorrent,
        Client::Transmission,
    ];
    meet(Net::v6_global(6), &clients.map(Launch::from));
}
