//! Stock clients download over encrypted connections (MSE), as each policy of `--encryption` says. Nobody is dialled:
//! how peers come by themselves is what is tested.

use crate::support::clients::{Cipher, Client};
use crate::support::files::{Contents, MIB};
use crate::support::swarm::{Said, Swarm, Way};
use crate::support::wait_for;

/// A swarm with a file, under a policy.
fn swarm(policy: &str, clients: u8) -> (Swarm, Contents) {
    let swarm = Swarm::with(clients, |setup| setup.flag("--no-dial").option("--encryption", policy));
    let contents = Contents::new(11, 3 * MIB + 7);
    contents.write(swarm.path("file.iso"));
    (swarm, contents)
}

/// One client downloads from a server under this policy, and all connections went on like that.
#[track_caller]
fn downloads(policy: &str, client: Client, cipher: Option<Cipher>, expected: Said) {
    let (swarm, contents) = swarm(policy, 1);
    let launch = cipher.map_or(client.into(), |cipher| client.requiring(cipher));
    let mut download = swarm.start(launch, &swarm.hosts()[0], "file.iso");
    contents.assert_same(download.finish(), &format!("{client:?}"));
    let [clear, encrypted] =
        [Said::InTheClear, Said::Encrypted].map(|said| swarm.opened(Way::Accepted, said));
    let opened = format!("{clear} connections in the clear, {encrypted} encrypted");
    match expected {
        Said::InTheClear => assert!(clear > 0 && encrypted == 0, "{opened}"),
        Said::Encrypted => assert!(clear == 0 && encrypted > 0, "{opened}"),
    }
}

/// One client comes by, is told nothing, and the log says why. Then another downloads.
#[track_caller]
fn gets_nothing(policy: &str, client: Client, cipher: Option<Cipher>, reason: &str, other: Client) {
    let (swarm, contents) = swarm(policy, 2);
    let launch = cipher.map_or(client.into(), |cipher| client.requiring(cipher));
    let download = swarm.start(launch, &swarm.hosts()[0], "file.iso");
    let peer = format!("peer={}:", swarm.hosts()[0].address());
    wait_for("the line in the log", || {
        swarm.server.log().lines().any(|line| line.contains(&peer) && line.contains(reason)).then_some(())
    });
    assert_eq!(swarm.uploaded(), 0, "{client:?} was told something");
    let mut other = swarm.start(other, &swarm.hosts()[1], "file.iso");
    contents.assert_same(other.finish(), "the other client");
    drop(download);
    swarm.server.stop();
}

const REQUIRED: &str = "the peer doesn't encrypt, and encryption is required here";
const OFF: &str = "the peer encrypts, and encryption is off here";

/// A module for each client that can be told to have everything encrypted.
macro_rules! matrix {
    ($($name:ident = $client:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn downloads_encrypted_where_it_insists() {
                downloads("allow", $client, Some(Cipher::Rc4), Said::Encrypted);
            }

            #[test]
            fn downloads_where_both_sides_insist() {
                downloads("require", $client, Some(Cipher::Rc4), Said::Encrypted);
            }

            #[test]
            fn downloads_where_encryption_is_preferred() {
                downloads("prefer", $client, Some(Cipher::Rc4), Said::Encrypted);
            }

            #[test]
            fn downloads_in_the_clear_where_encryption_is_off() {
                downloads("off", $client, None, Said::InTheClear);
            }
        }
    )*};
}

matrix! {
    aria2 = Client::Aria2;
    libtorrent = Client::Libtorrent;
    rtorrent = Client::Rtorrent;
    transmission = Client::Transmission;
}

#[test]
fn aria2_downloads_with_its_own_settings_where_the_server_insists() {
    downloads("require", Client::Aria2, None, Said::Encrypted);
}

#[test]
fn rtorrent_downloads_with_its_own_settings_where_the_server_insists() {
    downloads("require", Client::Rtorrent, None, Said::Encrypted);
}

#[test]
fn transmission_downloads_with_its_own_settings_where_the_server_insists() {
    downloads("require", Client::Transmission, None, Said::Encrypted);
}

#[test]
fn libtorrent_downloads_in_the_clear_behind_an_encrypted_handshake() {
    downloads("allow", Client::Libtorrent, Some(Cipher::Plaintext), Said::InTheClear);
}

#[test]
fn a_client_that_offers_both_is_told_to_go_on_in_the_clear_by_default() {
    downloads("allow", Client::Libtorrent, Some(Cipher::Any), Said::InTheClear);
}

#[test]
fn a_client_that_offers_both_is_told_to_encrypt_where_that_is_preferred() {
    downloads("prefer", Client::Libtorrent, Some(Cipher::Any), Said::Encrypted);
}

#[test]
fn a_client_that_offers_both_is_told_to_encrypt_where_that_is_required() {
    downloads("require", Client::Aria2, Some(Cipher::Any), Said::Encrypted);
}

#[test]
fn ctorrent_downloads_where_encryption_is_preferred() {
    downloads("prefer", Client::Ctorrent, None, Said::InTheClear);
}

#[test]
fn ctorrent_gets_nothing_where_encryption_is_required() {
    gets_nothing("require", Client::Ctorrent, None, REQUIRED, Client::Aria2);
}

#[test]
fn aria2_gets_nothing_where_it_insists_and_encryption_is_off() {
    gets_nothing("off", Client::Aria2, Some(Cipher::Rc4), OFF, Client::Ctorrent);
}

#[test]
fn libtorrent_gets_nothing_where_it_insists_and_encryption_is_off() {
    gets_nothing("off", Client::Libtorrent, Some(Cipher::Rc4), OFF, Client::Libtorrent);
}

#[test]
fn libtorrent_gets_nothing_where_it_wants_the_clear_and_encryption_is_required() {
    gets_nothing("require", Client::Libtorrent, Some(Cipher::Plaintext), "encryption: ", Client::Aria2);
}
