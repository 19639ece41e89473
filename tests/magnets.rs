//! Stock clients download from a magnet link alone: they fetch the info dictionary from the seeder (BEP 9).

use crate::support::clients::{Cipher, Client, Launch, Source};
use crate::support::files::{Contents, KIB, MIB, PIECE};
use crate::support::swarm::Swarm;

/// BEP 9: "The metadata is handled in blocks of 16KiB (16384 Bytes)."
const METADATA_PIECE: usize = 16 * KIB;

#[track_caller]
fn downloads_from_a_magnet_link(client: impl Into<Launch>, contents: &Contents) {
    downloads_under("allow", client, contents);
}

#[track_caller]
fn downloads_under(policy: &str, client: impl Into<Launch>, contents: &Contents) {
    let swarm = Swarm::with(1, |setup| setup.flag("--no-dial").option("--encryption", policy));
    contents.write(swarm.path("file.iso"));
    let host = &swarm.hosts()[0];
    let mut download = client.into().start(host, Source::Url(swarm.magnet(host, "file.iso").trim_end()));
    contents.assert_same(download.finish(), "the client");
}

/// A torrent whose info dictionary takes two pieces of metadata and a part of a third.
fn of_many_pieces() -> Contents {
    let contents = Contents::new(22, 1650 * PIECE + 1);
    assert!(contents.len().div_ceil(PIECE) * 20 > 2 * METADATA_PIECE);
    contents
}

#[test]
fn aria2_downloads_from_a_magnet_link() {
    downloads_from_a_magnet_link(Client::Aria2, &Contents::new(21, 2 * MIB + 1));
}

#[test]
fn deluge_downloads_from_a_magnet_link() {
    downloads_from_a_magnet_link(Client::Deluge, &Contents::new(21, 2 * MIB + 1));
}

#[test]
fn libtorrent_downloads_from_a_magnet_link() {
    downloads_from_a_magnet_link(Client::Libtorrent, &Contents::new(21, 2 * MIB + 1));
}

#[test]
fn qbittorrent_downloads_from_a_magnet_link() {
    downloads_from_a_magnet_link(Client::Qbittorrent, &Contents::new(21, 2 * MIB + 1));
}

/// In the clear: where the seeder's first messages come in one piece with the end of the encrypted handshake, rtorrent
/// 0.9.8 asks for no metadata before its next keep-alive, 100 s later.
#[test]
fn rtorrent_downloads_from_a_magnet_link() {
    downloads_under("off", Client::Rtorrent, &Contents::new(21, 2 * MIB + 1));
}

#[test]
fn transmission_downloads_from_a_magnet_link() {
    downloads_from_a_magnet_link(Client::Transmission, &Contents::new(21, 2 * MIB + 1));
}

#[test]
fn aria2_downloads_from_a_magnet_link_encrypted() {
    downloads_from_a_magnet_link(Client::Aria2.requiring(Cipher::Rc4), &Contents::new(21, 2 * MIB + 1));
}

#[test]
fn libtorrent_downloads_from_a_magnet_link_encrypted() {
    downloads_from_a_magnet_link(Client::Libtorrent.requiring(Cipher::Rc4), &Contents::new(21, 2 * MIB + 1));
}

#[test]
fn aria2_downloads_from_a_magnet_link_with_metadata_of_several_pieces() {
    downloads_from_a_magnet_link(Client::Aria2, &of_many_pieces());
}

#[test]
fn libtorrent_downloads_from_a_magnet_link_with_metadata_of_several_pieces() {
    downloads_from_a_magnet_link(Client::Libtorrent, &of_many_pieces());
}

#[test]
fn libtorrent_downloads_encrypted_from_a_magnet_link_with_metadata_of_several_pieces() {
    downloads_from_a_magnet_link(Client::Libtorrent.requiring(Cipher::Rc4), &of_many_pieces());
}
