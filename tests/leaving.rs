//! What becomes of those who have the torrent of a file that is replaced, changed or deleted: they are served to its end,
//! or to that of the grace time, and then told why not.

use std::fs;

use crate::support::files::{Contents, KIB, MIB};
use crate::support::torrent::Torrent;
use crate::support::tracker::LOCALHOST;
use crate::support::udp::{Announce, Asker};
use crate::support::watched::{NO_SWARM, Watched};
use crate::support::wire::Peer;

const GONE: &str = "the file is gone";
const CHANGED: &str = "the file was changed; fetch its torrent again from /serve?a%20file";

fn contents() -> Contents {
    Contents::new(1, MIB)
}

/// A served file, and a peer in the middle of it.
fn download(watched: &Watched) -> (Torrent, Peer) {
    contents().write(watched.path("a file"));
    let torrent = watched.assert_serves("a file", &contents());
    let peer = joined(watched, &torrent);
    (torrent, peer)
}

/// A peer that has got a block.
fn joined(watched: &Watched, torrent: &Torrent) -> Peer {
    let mut peer = Peer::join_unchoked(watched.server.peers(), torrent.info_hash);
    assert!(peer.fetch(0, 0, 1024) == contents().bytes()[..KIB]);
    peer
}

fn replace(watched: &Watched) -> Contents {
    let new = Contents::new(2, MIB);
    new.write(watched.path(".next"));
    fs::rename(watched.path(".next"), watched.path("a file")).expect("a file can be replaced");
    new
}

/// The tracker names the origin still, and there it is still served, also to one who lost his connection.
#[track_caller]
fn assert_still_served(watched: &Watched, torrent: &Torrent, peer: Peer) {
    let peers = watched.announce(torrent).peers();
    assert!(peers.contains(&watched.server.peers()), "{peers:?}");
    assert_ne!(watched.scrape(torrent), NO_SWARM);
    drop(peer);
    let mut again = joined(watched, torrent);
    assert!(again.fetch(15, 0, 1024) == contents().bytes()[15 * 64 * KIB..][..KIB]);
}

#[test]
fn a_deleted_file_is_served_on_to_those_who_download_it() {
    let watched = Watched::new();
    let (torrent, peer) = download(&watched);
    fs::remove_file(watched.path("a file")).expect("a file can be deleted");
    watched.assert_gone("a file");
    assert_still_served(&watched, &torrent, peer);
}

#[test]
fn a_replaced_file_is_served_on_to_those_who_download_it() {
    let watched = Watched::new();
    let (torrent, peer) = download(&watched);
    let new = replace(&watched);
    watched.assert_serves("a file", &new);
    assert_still_served(&watched, &torrent, peer);
}

#[test]
fn the_grace_time_ends() {
    for (grace, why) in [("0", GONE), ("1", GONE), ("0", CHANGED), ("1", CHANGED)] {
        let watched = Watched::with(|setup| setup.option("--grace", grace));
        let (torrent, peer) = download(&watched);
        if why == GONE {
            fs::remove_file(watched.path("a file")).expect("a file can be deleted");
            watched.assert_gone("a file");
        } else {
            let new = replace(&watched);
            watched.assert_serves("a file", &new);
        }
        peer.expect_close();
        assert_eq!(watched.refusal(&torrent), why);
        watched.assert_untracked(&torrent);
    }
}

#[test]
fn who_has_the_torrent_of_a_file_changed_in_place_is_told_so_at_once() {
    let watched = Watched::new();
    let (torrent, peer) = download(&watched);
    let new = Contents::new(2, MIB);
    new.write(watched.path("a file"));
    peer.expect_close();
    assert_eq!(watched.refusal(&torrent), CHANGED);
    let next = watched.assert_serves("a file", &new);
    // And the next one, though nobody downloads it when it goes.
    fs::remove_file(watched.path("a file")).expect("a file can be deleted");
    assert_eq!(watched.refusal(&next), GONE);
    assert_eq!(watched.refusal(&torrent), CHANGED, "each has its own reason");
    let asker = Asker::new(LOCALHOST, watched.server.http());
    let announce = Announce::of(torrent.info_hash, 1001).packet(asker.id(), 1);
    assert_eq!(asker.refusal(&announce), CHANGED, "over UDP, too");
}

#[test]
fn a_torrent_that_comes_back_is_tracked_again() {
    let watched = Watched::new();
    let (torrent, peer) = download(&watched);
    drop(peer);
    Contents::new(2, MIB).write(watched.path("a file"));
    assert_eq!(watched.refusal(&torrent), CHANGED);
    contents().write(watched.path("a file"));
    assert_eq!(watched.assert_serves("a file", &contents()).info_hash, torrent.info_hash);
    assert!(watched.announce(&torrent).peers().contains(&watched.server.peers()));
}
