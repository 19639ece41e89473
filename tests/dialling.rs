//! The origin dials downloaders that have announced themselves and don't come by: stock clients that can't reach it,
//! and scripted ones that only wait.

use crate::support::clients::{Cipher, Client, Launch};
use crate::support::files::{Contents, KIB, MIB};
use crate::support::net::Host;
use crate::support::swarm::{Said, Swarm, Way};
use crate::support::wait_for;
use crate::support::wire::{Door, HANDSHAKE_LEN, Peer, handshake, id};

/// On the network of the tests, and nobody's.
const NOBODY: &str = "10.69.69.250";

/// A client is told of an origin that it can't reach, is dialled, and downloads.
#[track_caller]
fn downloads_dialled(policy: &str, client: impl Into<Launch>, expected: Said) {
    let swarm = Swarm::with(1, |setup| setup.option("--advertise", NOBODY).option("--encryption", policy));
    let contents = Contents::new(31, 2 * MIB + 1);
    contents.write(swarm.path("file.iso"));
    let mut download = swarm.start(client, &swarm.hosts()[0], "file.iso");
    contents.assert_same(download.finish(), "the client");
    let opened = [Said::InTheClear, Said::Encrypted].map(|said| swarm.opened(Way::Dialled, said));
    let expected = if expected == Said::InTheClear { [true, false] } else { [false, true] };
    assert_eq!(opened.map(|count| count > 0), expected, "{opened:?} connections in the clear and encrypted");
    assert_eq!(
        swarm.opened(Way::Accepted, Said::InTheClear) + swarm.opened(Way::Accepted, Said::Encrypted),
        0
    );
}

/// A module for each client, a test for each way.
macro_rules! matrix {
    ($($name:ident = $client:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn downloads_when_dialled() {
                downloads_dialled("allow", $client, Said::InTheClear);
            }

            #[test]
            fn downloads_when_dialled_encrypted() {
                downloads_dialled("require", $client, Said::Encrypted);
            }

            #[test]
            fn is_dialled_again_encrypted_where_it_insists() {
                downloads_dialled("allow", $client.requiring(Cipher::Rc4), Said::Encrypted);
            }
        }
    )*};
}

matrix! {
    aria2 = Client::Aria2;
    deluge = Client::Deluge;
    libtorrent = Client::Libtorrent;
    qbittorrent = Client::Qbittorrent;
    rtorrent = Client::Rtorrent;
    transmission = Client::Transmission;
}

#[test]
fn ctorrent_downloads_when_dialled() {
    downloads_dialled("allow", Client::Ctorrent, Said::InTheClear);
}

#[test]
fn ctorrent_is_dialled_again_in_the_clear_where_encryption_is_preferred() {
    downloads_dialled("prefer", Client::Ctorrent, Said::InTheClear);
}

/// A client that comes by in the clear, is closed, and would try encryption a minute later.
#[track_caller]
fn is_dialled_before_it_encrypts(client: Client) {
    let swarm = Swarm::with(1, |setup| setup.option("--encryption", "require"));
    let contents = Contents::new(31, 2 * MIB + 1);
    contents.write(swarm.path("file.iso"));
    let mut download = swarm.start(client, &swarm.hosts()[0], "file.iso");
    contents.assert_same(download.finish(), "the client");
    assert_eq!(swarm.opened(Way::Dialled, Said::Encrypted), 1);
    assert_eq!(swarm.opened(Way::Accepted, Said::Encrypted), 0);
}

#[test]
fn deluge_is_dialled_before_it_encrypts() {
    is_dialled_before_it_encrypts(Client::Deluge);
}

#[test]
fn libtorrent_is_dialled_before_it_encrypts() {
    is_dialled_before_it_encrypts(Client::Libtorrent);
}

#[test]
fn qbittorrent_is_dialled_before_it_encrypts() {
    is_dialled_before_it_encrypts(Client::Qbittorrent);
}

/// A swarm with a file for scripted peers.
struct Scripted {
    swarm: Swarm,
    contents: Contents,
    info_hash: [u8; 20],
}

impl Scripted {
    fn new(hosts: u8, options: &[&str]) -> Self {
        let swarm = Swarm::with(hosts, |setup| options.iter().fold(setup, |setup, flag| setup.flag(flag)));
        let contents = Contents::new(32, 100 * KIB);
        contents.write(swarm.path("file"));
        let info_hash = swarm.torrent(swarm.origin(), "file").info_hash;
        Self { swarm, contents, info_hash }
    }

    /// Opens a door on a host and announces it.
    fn announce(&self, host: &Host) -> Door {
        let door = Door::open(host);
        self.swarm.announce(host, self.info_hash, door.port());
        door
    }

    /// A host dials the origin.
    fn dial(&self, host: &Host) -> Peer {
        let origin = (self.swarm.origin().address(), self.swarm.server.peers().port()).into();
        host.inside(|| Peer::connect(origin))
    }

    /// Reads our handshake on a connection that we have made, and answers.
    #[track_caller]
    fn greet(&self, peer: &mut Peer) {
        let ours = peer.read(HANDSHAKE_LEN);
        assert_eq!(ours[28..48], self.info_hash, "the torrent that was announced");
        peer.send(&handshake(self.info_hash));
        assert_eq!(peer.message().0, id::BITFIELD);
    }

    #[track_caller]
    fn assert_serves(&self, peer: &mut Peer) {
        peer.send(&[0, 0, 0, 1, id::INTERESTED]);
        assert_eq!(peer.message(), (id::UNCHOKE, Vec::new()));
        assert!(peer.fetch(0, 0, 16 * 1024) == self.contents.bytes()[..16 * KIB]);
    }
}

#[test]
fn dials_a_downloader_that_only_waits() {
    let script = Scripted::new(1, &[]);
    let door = script.announce(&script.swarm.hosts()[0]);
    let mut peer = door.accept();
    script.greet(&mut peer);
    script.assert_serves(&mut peer);
    assert_eq!(script.swarm.opened(Way::Dialled, Said::InTheClear), 1);
}

#[test]
fn keeps_the_dialled_connection_of_a_peer_that_dials_too() {
    let script = Scripted::new(1, &[]);
    let host = &script.swarm.hosts()[0];
    let door = script.announce(host);
    let mut dialled = door.accept();
    script.greet(&mut dialled);
    script.dial(host).shake_hands_in_vain(script.info_hash);
    script.assert_serves(&mut dialled);
}

#[test]
fn keeps_the_accepted_connection_of_a_peer_that_answers_a_dial_later() {
    let script = Scripted::new(1, &[]);
    let host = &script.swarm.hosts()[0];
    let door = script.announce(host);
    // It comes by while the dial is on its way.
    let dialled = door.accept();
    let (mut accepted, _) = script.dial(host).shake_hands(script.info_hash);
    dialled.shake_hands_in_vain(script.info_hash);
    script.assert_serves(&mut accepted);
}

#[test]
fn leaves_a_downloader_alone_that_has_come_by() {
    let script = Scripted::new(2, &[]);
    let [host, later] = script.swarm.hosts() else { panic!("there are two") };
    let door = script.announce(host);
    let (_peer, _) = script.dial(host).shake_hands(script.info_hash);
    // Who announced itself later is dialled later.
    script.announce(later).accept();
    assert!(!door.is_knocked_at());
}

#[test]
fn dials_nobody_where_that_is_off() {
    let silent = Scripted::new(1, &["--no-dial"]);
    let other = Scripted::new(1, &[]);
    let door = silent.announce(&silent.swarm.hosts()[0]);
    other.announce(&other.swarm.hosts()[0]).accept();
    assert!(!door.is_knocked_at());
}

#[test]
fn does_not_dial_again_soon_where_nobody_answers() {
    let script = Scripted::new(2, &[]);
    let [host, later] = script.swarm.hosts() else { panic!("there are two") };
    let closed = Door::open(host).port();
    let attempts =
        || script.swarm.server.count_logged(&format!("dialling peer={}:{closed} ", host.address()));
    script.swarm.announce(host, script.info_hash, closed);
    wait_for("the first attempt", || (attempts() > 0).then_some(()));
    for _ in 0..100 {
        script.swarm.announce(host, script.info_hash, closed);
    }
    script.announce(later).accept();
    assert_eq!(attempts(), 1);
}
