//! `kill -9` at any moment: whatever was hashed or written just then, what is served afterwards is what lies there, and
//! the next start needs no help.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::files::{Contents, KIB};
use crate::support::server::Server;
use crate::support::torrent::Torrent;
use crate::support::wait_for;

const ROUNDS: u64 = 100;
const FILES: u64 = 40;

/// The same story for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// One thing that a user does to a file, whose contents are new ones.
fn change(directory: &Path, outside: &Path, dice: &mut Dice, seed: u64) {
    let path = directory.join(format!("file-{}", dice.below(FILES)));
    let len = 1 + usize::try_from(dice.below(200)).expect("a length fits") * KIB / 2;
    let contents = Contents::new(seed, len);
    match dice.below(4) {
        // In place, a new one included.
        0 => contents.write(&path),
        1 => contents.write_aged(&path, 1000 + seed),
        2 => {
            let other = directory.join(format!("file-{}", dice.below(FILES)));
            if path.exists() {
                fs::rename(path, other).expect("a file can be renamed");
            }
        }
        _ => {
            contents.write_aged(outside.join("next"), 1000 + seed);
            fs::rename(outside.join("next"), &path).expect("a file can be moved");
        }
    }
}

#[test]
fn no_kill_leaves_a_torrent_of_other_bytes_than_the_file_has() {
    let [directory, outside, home] =
        [(); 3].map(|()| TempDir::new().expect("a temporary directory can be made"));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut remembered_in_all = 0;
    for round in 0..ROUNDS {
        let server = Server::serving(directory.path()).home(home.path()).start();
        // Sometimes the death comes before anything is known, at others in the midst of hashing, or of writing.
        if dice.below(3) > 0 {
            server.wait_until_scanned();
        }
        for n in 0..dice.below(12) {
            change(directory.path(), outside.path(), &mut dice, round * 100 + n);
        }
        match dice.below(6) {
            0..=2 => {}
            3 | 4 => drop(server.get("/serve_last_updated")),
            _ => {
                for n in 0..FILES {
                    check(&server, directory.path(), &format!("file-{n}"));
                }
                remembered_in_all += usize::from(server.has_logged("as remembered"));
            }
        }
        assert!(!server.has_logged("set aside"), "round {round}: a kill damages nothing");
        server.kill();
    }
    assert!(remembered_in_all > 0, "some of what was hashed was remembered");
    let server = Server::serving(directory.path()).home(home.path()).start();
    for n in 0..FILES {
        check(&server, directory.path(), &format!("file-{n}"));
    }
    server.stop();
}

/// What is served by a name is what lies there.
#[track_caller]
fn check(server: &Server, directory: &Path, name: &str) {
    let Ok(bytes) = fs::read(directory.join(name)) else { return };
    let torrent = wait_for(name, || {
        let answer = server.serve(name);
        (answer.status == 200).then(|| Torrent::read(&answer.body))
    });
    assert!(torrent.is_of_bytes(&bytes), "{name} is served with hashes of other bytes");
}
