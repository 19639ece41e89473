//! The origin ends in the middle of downloads and is started again, with the same state and the same ports. Clients
//! find that a connection was closed, and nothing else.

use std::net::SocketAddr;

use tempfile::TempDir;

use super::{FILE, LEN, start};
use crate::support::clients::{self, Client, Launch};
use crate::support::files::{Contents, KIB};
use crate::support::net::Host;
use crate::support::server::Server;
use crate::support::swarm::Swarm;
use crate::support::{wait_for, wait_within};

/// At which nobody is done before all are connected: a copy takes longer than they may.
const SLOWLY: &str = "32KiB";

/// All clients are in the middle of their download as it happens, and all finish.
#[track_caller]
fn all_finish_past(kinds: &[Client], end: impl FnOnce(Server)) {
    let home = TempDir::new().expect("a temporary directory can be made");
    let count = u8::try_from(kinds.len()).expect("few");
    let swarm = Swarm::with(count, |setup| setup.home(home.path()).option("--max-upload-rate", SLOWLY));
    let contents = Contents::new(6, LEN);
    contents.write(swarm.path(FILE));
    let launches: Vec<Launch> = kinds.iter().map(|client| (*client).into()).collect();
    let torrent = swarm.torrent(&swarm.hosts()[0], FILE);
    let mut downloads = start(&swarm, &launches);
    wait_within(clients::DEADLINE, "all to be connected", || {
        let connected = swarm.connected();
        swarm.hosts().iter().all(|host| connected.contains(&host.address())).then_some(())
    });
    wait_for("some of it to be sent", || (swarm.uploaded() > 0).then_some(()));
    assert!(swarm.copies() < 1.0, "nobody can have all of it");

    let swarm = swarm.restarted(end, |setup| setup.home(home.path()));
    let again = swarm.torrent(&swarm.hosts()[0], FILE);
    assert!(again.bytes == torrent.bytes, "the torrent is another one");
    for download in &mut downloads {
        let file = download.finish();
        contents.assert_same(file, &download.name());
    }
}

#[test]
fn clients_of_all_kinds_finish_past_a_restart() {
    all_finish_past(&Client::ALL, Server::stop);
}

#[test]
fn clients_finish_past_a_kill() {
    all_finish_past(&[Client::Ctorrent, Client::Libtorrent, Client::Transmission], Server::kill);
}

/// How fast aria2 takes it, so that it is still there when others come.
const AT_LEISURE: u32 = 16 * 1024;

/// Until a newcomer is told of a host.
#[track_caller]
fn wait_until_known(swarm: &Swarm, newcomer: &Host, info_hash: [u8; 20], host: &Host) {
    let named = || swarm.names(newcomer, info_hash, host).then_some(());
    wait_within(clients::DEADLINE, "it to be known", named);
}

/// aria2 goes by `min interval` while it is connected to anybody.
#[test]
fn clients_make_themselves_known_again_after_a_restart() {
    let home = TempDir::new().expect("a temporary directory can be made");
    let swarm = Swarm::with(3, |setup| setup.home(home.path()));
    let contents = Contents::new(7, LEN);
    contents.write(swarm.path(FILE));
    let [first, second, newcomer] = swarm.hosts() else { panic!("there are three") };
    let info_hash = swarm.torrent(newcomer, FILE).info_hash;
    let at_leisure = Client::Aria2.slowed_to(AT_LEISURE);
    let _first = swarm.start(at_leisure, first, FILE);
    wait_until_known(&swarm, newcomer, info_hash, first);
    let mut connected = swarm.start(at_leisure, second, FILE);
    connected.wait_for_word(&format!("From: {}:", first.address()));

    let swarm = swarm.restarted(Server::stop, |setup| setup.home(home.path()));
    let [first, second, newcomer] = swarm.hosts() else { panic!("there are three") };
    // Until then those who ask for it are refused.
    assert_eq!(swarm.torrent(newcomer, FILE).info_hash, info_hash);
    for host in [first, second] {
        wait_until_known(&swarm, newcomer, info_hash, host);
    }
    let mut download = swarm.start(Client::Ctorrent, newcomer, FILE);
    contents.assert_same(download.finish(), "who came after it");
}

/// A restart is over before its hosts come back by themselves, which takes some of them ten minutes.
#[test]
fn the_first_answer_after_a_restart_names_those_from_before() {
    let home = TempDir::new().expect("a temporary directory can be made");
    // Nobody listens where they are said to be, and that is not to be found out.
    let swarm = Swarm::with(3, |setup| setup.home(home.path()).flag("--no-dial"));
    Contents::new(8, KIB).write(swarm.path(FILE));
    let [first, second, newcomer] = swarm.hosts() else { panic!("there are three") };
    let info_hash = swarm.torrent(newcomer, FILE).info_hash;
    for host in [first, second] {
        swarm.announce(host, info_hash, 6881);
    }
    let swarm = swarm.restarted(Server::stop, |setup| setup.home(home.path()).flag("--no-dial"));
    let [first, second, newcomer] = swarm.hosts() else { panic!("there are three") };
    assert_eq!(swarm.torrent(newcomer, FILE).info_hash, info_hash);
    let named = swarm.peers_named_to(newcomer, info_hash);
    for host in [first, second] {
        assert!(named.contains(&SocketAddr::new(host.address(), 6881)), "{named:?}");
    }
}

/// rtorrent doesn't come back for ten minutes, aria2 and ctorrent for two, libtorrent for one.
#[test]
fn a_client_in_the_midst_of_its_download_is_dialled_after_a_restart() {
    all_finish_past(&[Client::Rtorrent], Server::stop);
}
