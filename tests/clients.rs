//! Stock clients download real files: each client, each size that a piece or a block could get wrong, and many at
//! once.

use crate::support::clients::{Client, Download, Source};
use crate::support::files::{Contents, KIB, MIB, PIECE};
use crate::support::net::Net;
use crate::support::swarm::Swarm;

/// One client downloads one file, whose bytes arrive.
#[track_caller]
fn downloads(client: Client, contents: &Contents) {
    let swarm = Swarm::new(1);
    contents.write(swarm.path("file.iso"));
    let mut download = swarm.start(client, &swarm.hosts()[0], "file.iso");
    let file = download.finish();
    assert_eq!(file.file_name().and_then(|name| name.to_str()), Some("file.iso"));
    contents.assert_same(file, &format!("{client:?}"));
    drop(download);
    swarm.server.stop();
}

/// A module for each client, a test for each size.
macro_rules! matrix {
    ($($name:ident = $client:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn downloads_a_file_of_one_byte() {
                downloads($client, &Contents::new(1, 1));
            }

            #[test]
            fn downloads_a_file_of_one_block() {
                downloads($client, &Contents::new(2, 16 * KIB));
            }

            #[test]
            fn downloads_a_file_of_exactly_one_piece() {
                downloads($client, &Contents::new(3, PIECE));
            }

            #[test]
            fn downloads_a_file_of_one_piece_and_a_byte() {
                downloads($client, &Contents::new(4, PIECE + 1));
            }

            #[test]
            fn downloads_a_file_of_200_mib() {
                downloads($client, Contents::big());
            }
        }
    )*};
}

matrix! {
    aria2 = Client::Aria2;
    ctorrent = Client::Ctorrent;
    deluge = Client::Deluge;
    libtorrent = Client::Libtorrent;
    qbittorrent = Client::Qbittorrent;
    rtorrent = Client::Rtorrent;
    transmission = Client::Transmission;
}

#[test]
fn aria2_downloads_from_the_url_alone() {
    let swarm = Swarm::new(1);
    let contents = Contents::new(5, 3 * MIB + 7);
    contents.write(swarm.path("file.iso"));
    let mut download = Client::Aria2.start(&swarm.hosts()[0], Source::Url(&swarm.url("file.iso")));
    contents.assert_same(download.finish(), "aria2");
}

#[test]
fn ten_clients_of_all_kinds_download_at_once_and_all_finish() {
    let swarm = Swarm::new(10);
    let contents = Contents::new(6, 40 * MIB + 1);
    contents.write(swarm.path("file.iso"));
    let kinds = Client::ALL.iter().cycle();
    let mut downloads: Vec<Download> = swarm
        .hosts()
        .iter()
        .zip(kinds)
        .map(|(host, client)| swarm.start(*client, host, "file.iso"))
        .collect();
    for download in &mut downloads {
        contents.assert_same(download.finish(), "one of ten");
    }
}

/// On hosts that have no IPv4 address at all.
fn downloads_over_ipv6(client: Client) {
    let swarm = Swarm::on(Net::v6_only(2));
    let contents = Contents::new(7, 2 * MIB);
    contents.write(swarm.path("file.iso"));
    let mut download = swarm.start(client, &swarm.hosts()[0], "file.iso");
    contents.assert_same(download.finish(), &format!("{client:?}"));
}

#[test]
fn aria2_downloads_over_ipv6() {
    downloads_over_ipv6(Client::Aria2);
}

#[test]
fn libtorrent_downloads_over_ipv6() {
    downloads_over_ipv6(Client::Libtorrent);
}

#[test]
fn transmission_downloads_over_ipv6() {
    downloads_over_ipv6(Client::Transmission);
}
