//! A watched directory on two disks: one that is well, and below it a faulty one. Whatever is wrong with that, what
//! lies on the other is served as ever.

use std::path::PathBuf;

use tempfile::TempDir;

use super::faulty_fs::FaultyFs;
use super::files::{Contents, PIECE};
use super::server::{Server, Setup};
use super::torrent::Torrent;
use super::tracker::{Answer, DOWNLOADER, announce_target, encode_all};
use super::wait_for;
use super::wire::Peer;

pub(crate) struct TwoDisks {
    // In this order, for the server must end before its disks do.
    pub(crate) server: Server,
    /// Its files are served as `faulty/NAME`.
    pub(crate) faulty: FaultyFs,
    directory: TempDir,
    well: Contents,
    well_torrent: Torrent,
}

impl TwoDisks {
    pub(crate) fn new(faulty: &[(&str, &Contents)]) -> Self {
        Self::with(faulty, |_| {}, |setup| setup)
    }

    /// `before` makes what faults there are to be when the server starts.
    pub(crate) fn with<'a>(
        faulty: &[(&str, &Contents)],
        before: impl FnOnce(&FaultyFs),
        options: impl FnOnce(Setup<'a>) -> Setup<'a>,
    ) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let well = Contents::new(0, 20 * PIECE);
        // Older than what is on the other disk: the newest of all is there.
        well.write_aged(directory.path().join("well"), 100_000);
        let faulty = FaultyFs::mount(directory.path().join("faulty"), faulty);
        before(&faulty);
        let server = options(Server::serving(directory.path())).start();
        let well_torrent = wait_for("the well file", || {
            let answer = server.serve("well");
            (answer.status == 200).then(|| Torrent::read(&answer.body))
        });
        Self { server, faulty, directory, well, well_torrent }
    }

    /// Ends the server by SIGTERM while the disks are as they are; panics unless it ends well.
    pub(crate) fn stop(self) {
        let Self { server, faulty: _faulty, directory: _directory, .. } = self;
        server.stop();
    }

    /// A path on the disk that is well.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Peers of a torrent, each of whom may ask for blocks.
    pub(crate) fn join(&self, torrent: &Torrent, peers: usize) -> Vec<Peer> {
        (0..peers).map(|_| Peer::join_unchoked(self.server.peers(), torrent.info_hash)).collect()
    }

    /// A peer of the file that is on no faulty disk.
    pub(crate) fn join_well(&self) -> WellPeer<'_> {
        WellPeer { peer: self.join(&self.well_torrent, 1).remove(0), contents: &self.well, next: 0 }
    }

    /// Panics unless all goes on for those who want nothing of the faulty disk: a torrent is served and announced,
    /// and a newcomer gets the whole file.
    pub(crate) fn assert_well(&self) {
        self.server.torrent("well").assert_describes(&self.well);
        let info_hash = encode_all(&self.well_torrent.info_hash);
        let announce = self.server.get(announce_target(&info_hash, 1001, DOWNLOADER)).expect(200);
        Answer::read(announce.body).peers();
        let mut newcomer = self.join_well();
        for _ in 0..self.well_torrent.piece_count() {
            newcomer.goes_on();
        }
    }

    /// As [`Self::assert_well`], for a file that comes only now.
    pub(crate) fn assert_takes(&self, name: &str, contents: &Contents) {
        contents.write(self.path(name));
        let torrent = self.server.torrent(name);
        torrent.assert_describes(contents);
        let block = self.join(&torrent, 1).remove(0).fetch(0, 0, 1024);
        assert!(block == contents.bytes()[..1024]);
    }
}

/// A download that is to go on whatever happens elsewhere.
pub(crate) struct WellPeer<'a> {
    peer: Peer,
    contents: &'a Contents,
    next: usize,
}

impl WellPeer<'_> {
    /// Takes the next piece, the first one after the last.
    pub(crate) fn goes_on(&mut self) {
        let pieces = self.contents.bytes().chunks_exact(PIECE);
        let index = self.next % pieces.len();
        self.next += 1;
        let piece = self.peer.fetch(u32::try_from(index).expect("an index fits"), 0, 65536);
        assert!(Some(&piece[..]) == pieces.clone().nth(index), "piece {index} is another one");
    }
}
