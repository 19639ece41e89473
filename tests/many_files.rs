//! Tens of thousands of files: what each takes while nobody asks for it, and that nothing grows when somebody does.
//! How long a start takes, `benches/many-files` measures.

use std::fs::{self, File};
use std::path::Path;

use tempfile::TempDir;

use crate::support::files::{Contents, KIB};
use crate::support::server::Server;
use crate::support::wait_for;
use crate::support::wire::Peer;

const FILES: usize = 20_000;
/// What README promises for each.
const BYTES_A_FILE: usize = KIB;
/// What there is without any file.
const BASE: usize = 16 * KIB * KIB;

fn name(n: usize) -> String {
    format!("release-{:03}/images/host-{n:06}.config.tar", n / 1000)
}

fn fill(directory: &Path, len: usize) {
    for n in 0..FILES {
        let path = directory.join(name(n));
        if n % 1000 == 0 {
            fs::create_dir_all(path.parent().expect("it lies in one")).expect("a directory can be made");
        }
        fs::write(&path, format!("{n:>width$}", width = len.min(KIB))).expect("a file can be written");
        // The rest is a hole.
        File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(len as u64))
            .expect("it can grow");
    }
}

#[test]
fn a_file_that_nobody_asks_for_takes_less_than_a_kibibyte() {
    let [directory, home] = [(); 2].map(|()| TempDir::new().expect("a temporary directory can be made"));
    // Twenty pieces: their digests alone would be 400 bytes.
    fill(directory.path(), 20 * 64 * KIB);
    let setup = || Server::serving(directory.path()).home(home.path()).quiet();
    let server = setup().start();
    for n in 0..FILES {
        server.serve(name(n)).expect(200);
    }
    server.stop();
    let server = setup().start();
    server.wait_until_scanned();
    let in_one_line = "serving all files that were there at the start";
    wait_for(in_one_line, || server.has_logged(in_one_line).then_some(()));
    assert!(
        !server.has_logged(" INFO distributor::ingest: serving file"),
        "there is no line for each of them"
    );
    for n in (0..FILES).step_by(97) {
        server.serve(name(n)).expect(200);
    }
    let used = server.memory();
    assert!(used < (BASE + FILES * BYTES_A_FILE) as u64, "{used} bytes for {FILES} files");
    server.stop();
}

#[test]
fn ten_thousand_downloads_leave_nothing_behind() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let contents = Contents::new(1, 64 * KIB);
    contents.write(directory.path().join("file"));
    let server = Server::serving(directory.path()).quiet().start();
    let info_hash = server.torrent("file").info_hash;
    let download = || {
        server.serve("file").expect(200);
        let mut peer = Peer::join_unchoked(server.peers(), info_hash);
        for begin in [0, 16 * 1024] {
            assert_eq!(peer.fetch(0, begin, 16 * 1024).len(), 16 * KIB);
        }
    };
    for _ in 0..1000 {
        download();
    }
    let (before, open_before) = (server.memory(), server.open_descriptors());
    for _ in 0..9000 {
        download();
    }
    let grown = server.memory().saturating_sub(before);
    // 100 bytes a download would be 900 KiB, and a connection that is kept far more.
    assert!(grown < (4 * KIB * KIB) as u64, "{grown} bytes more after 9,000 downloads");
    // The last one's are closed once the server has seen it leave.
    wait_for("all that was opened to be closed", || (server.open_descriptors() <= open_before).then_some(()));
}
