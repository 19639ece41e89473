//! File names that scripts and clients trip over, through `/serve` and each stock client. Compared is what arrives: a
//! client may call the file what it likes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::support::clients::{Client, Download};
use crate::support::files::{Contents, KIB};
use crate::support::swarm::Swarm;

const NAMES: [&[u8]; 12] = [
    b"with spaces in it.iso",
    "gr\u{fc}\u{df}e \u{1f4be} \u{65e5}\u{672c}.iso".as_bytes(),
    b"invalid \xff\xfe utf-8 \xc3.iso",
    b"100%.iso",
    b"%41%2F.iso",
    b"a+b.iso",
    b"this&that=other.iso",
    b"number #1.iso",
    b"\"double\" and 'single'.iso",
    b"back\\slash; semicolon?.iso",
    b"[brackets] {braces} <angles> |$`*~.iso",
    b"-leading-dash.iso",
];

/// One client downloads all of them, each on a host of its own, and each in a directory of a bad name too.
fn downloads_files_of_any_name(client: Client) {
    let swarm = Swarm::new(u8::try_from(NAMES.len()).expect("there are few names"));
    let contents: Vec<Contents> =
        (0..NAMES.len() as u64).map(|seed| Contents::new(100 + seed, 70 * KIB + 1)).collect();
    for (name, contents) in NAMES.iter().zip(&contents) {
        contents.write(swarm.path(OsStr::from_bytes(name)));
    }
    let mut downloads: Vec<Download> = NAMES
        .iter()
        .zip(swarm.hosts())
        .map(|(name, host)| swarm.start(client, host, OsStr::from_bytes(name)))
        .collect();
    for ((name, contents), download) in NAMES.iter().zip(&contents).zip(&mut downloads) {
        contents.assert_same(download.finish(), &format!("{client:?}, asked for {}", name.escape_ascii()));
    }
}

#[test]
fn aria2_downloads_files_of_any_name() {
    downloads_files_of_any_name(Client::Aria2);
}

#[test]
fn ctorrent_downloads_files_of_any_name() {
    downloads_files_of_any_name(Client::Ctorrent);
}

#[test]
fn libtorrent_downloads_files_of_any_name() {
    downloads_files_of_any_name(Client::Libtorrent);
}

#[test]
fn transmission_downloads_files_of_any_name() {
    downloads_files_of_any_name(Client::Transmission);
}

#[test]
fn a_torrent_gives_the_file_its_own_name_byte_for_byte() {
    let swarm = Swarm::new(1);
    for (seed, name) in NAMES.iter().enumerate() {
        let below = Path::new(OsStr::from_bytes(b"d\xefr %2e+&#")).join(OsStr::from_bytes(name));
        std::fs::create_dir_all(swarm.path(&below).parent().expect("it has one"))
            .expect("a directory can be made");
        let contents = Contents::new(seed as u64, 1000);
        contents.write(swarm.path(&below));
        let torrent = swarm.torrent(&swarm.hosts()[0], &below);
        assert_eq!(torrent.name, *name, "{}", name.escape_ascii());
        torrent.assert_describes(&contents);
    }
}
