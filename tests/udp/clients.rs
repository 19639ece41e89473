//! Stock clients whose torrents name the tracker by a `udp://` URL and no other.

use std::net::SocketAddr;

use crate::support::clients::{Client, Launch};
use crate::support::files::{Contents, MIB};
use crate::support::net::Net;
use crate::support::swarm::Swarm;
use crate::support::udp::{Announce, Asker};
use crate::support::wait_for;

/// One client announces itself, is named to another host that asks, and gets the file from the origin.
fn downloads(client: impl Into<Launch>, net: Net) {
    let swarm = Swarm::on_with(net, |setup| setup.option("--announce-url", "udp://origin:6969/announce"));
    let contents = Contents::new(1, 2 * MIB + 1);
    contents.write(swarm.path("file.iso"));
    let [host, other] = swarm.hosts() else { panic!("there are two hosts") };
    let torrent = swarm.torrent(host, "file.iso");
    assert_eq!(torrent.announce, "udp://origin:6969/announce");
    let mut download = swarm.start(client, host, "file.iso");

    let origin = SocketAddr::new(swarm.origin().address(), 6969);
    let asker = other.inside(|| Asker::new(other.address(), origin));
    let of_host = |peer: &SocketAddr| peer.ip() == host.address();
    wait_for("the client in the swarm", || {
        let stranger = Announce { numwant: 200, ..Announce::of(torrent.info_hash, 0) };
        asker.announce(stranger).peers.iter().any(of_host).then_some(())
    });
    contents.assert_same(download.finish(), "over UDP");
}

const RATE: u32 = 1 << 20;

#[test]
fn aria2_announces_itself() {
    downloads(Client::Aria2.slowed_to(RATE).with_udp(), Net::new(3));
}

#[test]
fn libtorrent_announces_itself() {
    downloads(Client::Libtorrent.slowed_to(RATE), Net::new(3));
}

#[test]
fn rtorrent_announces_itself() {
    downloads(Client::Rtorrent, Net::new(3));
}

#[test]
fn transmission_announces_itself() {
    downloads(Client::Transmission, Net::new(3));
}

#[test]
fn libtorrent_announces_itself_over_ipv6() {
    downloads(Client::Libtorrent.slowed_to(RATE), Net::v6_only(3));
}

/// From an address that anybody could reach, and where it has a route to the Internet, or it has no IPv6 socket.
#[test]
fn transmission_announces_itself_over_ipv6() {
    downloads(Client::Transmission, Net::v6_global(3));
}

/// It takes the peers that it is told of for IPv4 ones, and is dialled. aria2 doesn't announce over UDP and IPv6 at all.
#[test]
fn rtorrent_announces_itself_over_ipv6() {
    downloads(Client::Rtorrent, Net::v6_only(3));
}
