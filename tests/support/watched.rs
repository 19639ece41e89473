//! A directory and the program that watches it: what a user does there is done by the test, what follows is waited for.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::files::Contents;
use super::server::{Server, Setup};
use super::torrent::Torrent;
use super::tracker::{Answer, DOWNLOADER, announce_target, encode_all};
use super::wait_for;
use super::wire::{Peer, handshake};

/// A directory and the program that watches it.
pub(crate) struct Watched {
    pub(crate) server: Server,
    directory: TempDir,
    /// On the same file system, but not watched.
    outside: TempDir,
}

impl Watched {
    pub(crate) fn new() -> Self {
        Self::with(|setup| setup)
    }

    pub(crate) fn with<'a>(options: impl FnOnce(Setup<'a>) -> Setup<'a>) -> Self {
        Self::on(|directory| options(Server::serving(directory)).start())
    }

    /// With a program that is started once the directory is as it should be.
    pub(crate) fn on(start: impl FnOnce(&Path) -> Server) -> Self {
        let [directory, outside] =
            [(); 2].map(|()| TempDir::new().expect("a temporary directory can be made"));
        let server = start(directory.path());
        Self { server, directory, outside }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    pub(crate) fn make_directory(&self, name: &str) {
        fs::create_dir_all(self.path(name)).expect("a directory can be made");
    }

    /// Waits until the name is known, then until it stands for these bytes. inotify needs its milliseconds.
    #[track_caller]
    pub(crate) fn assert_serves(&self, name: &str, contents: &Contents) -> Torrent {
        let torrent = wait_for(&format!("{name} to be served anew"), || {
            let answer = self.server.serve(name);
            let torrent = (answer.status == 200).then(|| Torrent::read(&answer.body))?;
            (torrent.length == contents.len() && torrent.is_of(contents)).then_some(torrent)
        });
        assert!(torrent.name == name.rsplit('/').next().expect("a name").as_bytes());
        torrent
    }

    #[track_caller]
    pub(crate) fn assert_gone(&self, name: &str) {
        wait_for(&format!("{name} to be gone"), || (self.server.serve(name).status == 404).then_some(()));
    }

    /// What an announce of this torrent is answered.
    pub(crate) fn announce(&self, torrent: &Torrent) -> Answer {
        let target = announce_target(&encode_all(&torrent.info_hash), 1001, DOWNLOADER);
        Answer::read(self.server.get(target).expect(200).body)
    }

    /// Waits until an announce of this torrent is refused; says why.
    #[track_caller]
    pub(crate) fn refusal(&self, torrent: &Torrent) -> String {
        wait_for("the announce to be refused", || {
            let reason = self.announce(torrent).value.find("failure reason")?.text();
            Some(reason)
        })
    }

    /// What is said of its swarm.
    pub(crate) fn scrape(&self, torrent: &Torrent) -> String {
        self.server.get(format!("/scrape?info_hash={}", encode_all(&torrent.info_hash))).text()
    }

    /// The torrent isn't tracked, and peers who ask for it are hung up on.
    #[track_caller]
    pub(crate) fn assert_untracked(&self, torrent: &Torrent) {
        self.refusal(torrent);
        assert_eq!(self.scrape(torrent), NO_SWARM);
        Peer::connect(self.server.peers()).send_and_expect_close(&handshake(torrent.info_hash));
    }
}

/// What is said of the swarm of a torrent that is not served.
pub(crate) const NO_SWARM: &str = "d5:filesdee";
