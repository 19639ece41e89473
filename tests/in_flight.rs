//! What befalls a file just before and while clients download it: they get the file that their torrent stands for,
//! or nothing; never other bytes, and never the end of the program.

use std::fs::{self, File};
use std::path::Path;

use tempfile::TempDir;

use crate::support::clients::{Client, Source};
use crate::support::files::{Contents, KIB, MIB};
use crate::support::process::run;
use crate::support::swarm::Swarm;
use crate::support::wait_for;

#[test]
fn a_copied_file_and_a_moved_file_are_downloaded_by_a_client() {
    let swarm = Swarm::new(2);
    let outside = TempDir::new().expect("a temporary directory can be made");
    for ((seed, program), host) in [(1, "cp"), (2, "mv")].into_iter().zip(swarm.hosts()) {
        let contents = Contents::new(seed, MIB);
        contents.write(outside.path().join("source"));
        fs::create_dir(swarm.path(program)).expect("a directory can be made");
        run(program, &outside.path().join("source"), &swarm.path(format!("{program}/file.iso")));
        let mut download = swarm.start(Client::Aria2, host, format!("{program}/file.iso"));
        contents.assert_same(download.finish(), "aria2");
    }
}

#[test]
fn a_download_ends_from_the_old_file_when_that_is_replaced_by_rename() {
    let swarm = Swarm::new(1);
    let [old, new] = [Contents::new(1, 40 * MIB), Contents::new(2, 40 * MIB)];
    old.write(swarm.path("file"));
    let host = &swarm.hosts()[0];
    let torrent = swarm.torrent(host, "file");
    let mut download =
        Client::Libtorrent.slowed_to(8 * 1024 * 1024).start(host, Source::Torrent(&torrent.bytes));
    download.wait_for_word("piece");
    new.write(swarm.path(".next"));
    fs::rename(swarm.path(".next"), swarm.path("file")).expect("a file can be replaced");
    wait_for("the replacement", || swarm.torrent(host, "file").is_of(&new).then_some(()));
    old.assert_same(download.finish(), "libtorrent");
}

/// While a client downloads, `change` befalls the file; then `new` lies there.
fn survives(change: impl FnOnce(&Path), new: &Contents) {
    let mut swarm = Swarm::new(2);
    let old = Contents::new(1, 40 * MIB);
    let path = swarm.path("file");
    old.write(&path);
    Contents::new(3, KIB).write(swarm.path("other"));
    let torrent = swarm.torrent(&swarm.hosts()[0], "file");
    let source = Source::Torrent(&torrent.bytes);
    let mut download = Client::Libtorrent.slowed_to(4 * 1024 * 1024).start(&swarm.hosts()[0], source);
    download.wait_for_word("piece");
    change(&path);
    let host = &swarm.hosts()[1];
    swarm.torrent(host, "other");
    new.write(&path);
    wait_for("the new contents", || swarm.torrent(host, "file").is_of(new).then_some(()));
    let mut next = swarm.start(Client::Aria2, host, "file");
    new.assert_same(next.finish(), "aria2");
    assert!(!download.has_said("hash failed"), "{}", download.story());
    swarm.server.assert_alive();
}

#[test]
fn survives_a_file_that_is_overwritten_while_it_is_downloaded() {
    let new = Contents::new(2, 40 * MIB);
    survives(|path| new.write(path), &Contents::new(4, 41 * MIB));
}

#[test]
fn survives_a_file_that_is_truncated_while_it_is_downloaded() {
    let truncate = |path: &Path| {
        let file = File::options().write(true).open(path).expect("the file can be opened");
        file.set_len(100).expect("a file can be truncated");
    };
    survives(truncate, &Contents::new(2, 3 * MIB));
}
