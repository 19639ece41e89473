//! The stock clients, as a user would run them, on hosts of a test network. What each is told is in `launch`; here is
//! what a test may ask of any of them, and when its download is done.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::launch;
use super::net::Host;
use super::process::Running;

/// 200 MiB on a busy machine with two cores, and Transmission's ten seconds before it asks for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

/// What stat(2) counts in, whatever the blocks of a file system are.
const SECTOR: u64 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Aria2,
    Ctorrent,
    Deluge,
    Libtorrent,
    Qbittorrent,
    Rtorrent,
    Transmission,
}

/// What a client is given.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Torrent(&'a [u8]),
    /// Of a torrent, or a magnet link.
    Url(&'a str),
}

/// What a client insists on that encrypts its connections, whoever begins them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// Everything is encrypted.
    Rc4,
    /// Keys are agreed on, and then all is said in the clear.
    Plaintext,
    /// Either will do.
    Any,
}

/// A client, and how it differs from what it is by default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    pub(super) client: Client,
    pub(super) cipher: Option<Cipher>,
    pub(super) rate: Option<u32>,
    pub(super) udp: bool,
}

/// A client at work.
pub(crate) struct Download {
    client: Client,
    command: Command,
    process: Running,
    /// Holds its settings, its output, and `files`, where nothing else lies than what it downloads.
    home: TempDir,
}

impl Client {
    pub(crate) const ALL: [Self; 7] = [
        Self::Aria2,
        Self::Ctorrent,
        Self::Deluge,
        Self::Libtorrent,
        Self::Qbittorrent,
        Self::Rtorrent,
        Self::Transmission,
    ];

    /// Starts downloading.
    pub(crate) fn start(self, host: &Host, source: Source<'_>) -> Download {
        Launch::from(self).start(host, source)
    }

    /// Not but over encrypted connections. ctorrent can't.
    pub(crate) fn requiring(self, cipher: Cipher) -> Launch {
        Launch { cipher: Some(cipher), ..self.into() }
    }

    /// At so many bytes a second at most. aria2 and libtorrent only.
    pub(crate) fn slowed_to(self, rate: u32) -> Launch {
        Launch { rate: Some(rate), ..self.into() }
    }

    /// Whether it ends once the file is complete. The others say so (see `launch`) and go on.
    fn ends_by_itself(self) -> bool {
        matches!(self, Self::Aria2 | Self::Libtorrent)
    }

    /// Whether it may hold some of the file in memory until it ends.
    fn writes_as_it_ends(self) -> bool {
        matches!(self, Self::Deluge | Self::Qbittorrent | Self::Transmission)
    }
}

impl From<Client> for Launch {
    fn from(client: Client) -> Self {
        Self { client, cipher: None, rate: None, udp: false }
    }
}

impl Launch {
    /// With what aria2 takes to announce over UDP; the others do so anyway.
    pub(crate) fn with_udp(self) -> Self {
        Self { udp: true, ..self }
    }

    /// Starts downloading.
    pub(crate) fn start(self, host: &Host, source: Source<'_>) -> Download {
        let home = TempDir::new().expect("a temporary directory can be made");
        let mut command = launch::command_for(self, host, source, home.path());
        let what = format!("{:?} on {}", self.client, host.address());
        let process = Running::start(&what, &mut command, home.path());
        Download { client: self.client, command, process, home }
    }
}

impl Download {
    /// Waits until the client says that the file is complete, and gives the file, whatever the client called it.
    pub(crate) fn finish(&mut self) -> PathBuf {
        if self.client.ends_by_itself() {
            let mut status = self.process.wait(DEADLINE);
            if self.client == Client::Libtorrent && status.signal() == Some(Signal::SEGV.as_raw()) {
                // Debian's Python binding does that once in a thousand times; it is not what is tested.
                self.process = Running::start("libtorrent, again", &mut self.command, self.home.path());
                status = self.process.wait(DEADLINE);
            }
            assert!(status.success(), "{:?} ended with {status}\n{}", self.client, self.story());
        } else {
            let (complete, files) =
                (launch::completion_mark(self.home.path()), launch::files(self.home.path()));
            let may_forget = self.client == Client::Qbittorrent;
            // transmission-cli ends where it finds its torrent stopped, which that of a magnet link is for a moment, when
            // its metadata has come.
            let mut again = if self.client == Client::Transmission { 5 } else { 0 };
            loop {
                let ended = self.process.wait_until(DEADLINE, |process| {
                    let is_complete = complete.exists() || may_forget && has_no_holes(&files);
                    if is_complete { Some(None) } else { process.exited().map(Some) }
                });
                match ended {
                    None => break,
                    Some(status) if status.success() && again > 0 => {
                        again -= 1;
                        self.process =
                            Running::start("Transmission, again", &mut self.command, self.home.path());
                    }
                    Some(status) => {
                        panic!("it ended with {status} before the download did\n{}", self.process.story())
                    }
                }
            }
        }
        if self.client.writes_as_it_ends() {
            self.process.signal(Signal::TERM);
            self.process.wait(DEADLINE);
        }
        self.file().unwrap_or_else(|| panic!("{:?} left no file\n{}", self.client, self.story()))
    }

    /// The one file that it downloads into, once that is there.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let mut files = Vec::new();
        list_files(&launch::files(self.home.path()), &mut files);
        // rtorrent keeps the metadata that it fetched for a magnet link.
        files.retain(|file| file.extension().is_none_or(|extension| extension != "meta"));
        assert!(files.len() <= 1, "{:?} left more than the file: {files:?}", self.client);
        files.pop()
    }

    /// Waits until it has said this.
    pub(crate) fn wait_for_word(&mut self, word: &str) {
        self.process.wait_until(DEADLINE, |process| process.stdout().contains(word).then_some(()));
    }

    /// Whether it has said this anywhere, also long ago.
    pub(crate) fn has_said(&self, word: &str) -> bool {
        self.process.stdout().contains(word) || self.process.stderr().contains(word)
    }

    /// Which client it is, for messages.
    pub(crate) fn name(&self) -> String {
        format!("{:?}", self.client)
    }

    pub(crate) fn story(&self) -> String {
        self.process.story()
    }
}

/// Whether a file is there and no part of it is still to be written. qBittorrent 4.5 runs nothing at the end of a
/// download that was done before it first looked how far it is, which is after a second or two: it takes such a file for
/// one that it had all along.
fn has_no_holes(directory: &Path) -> bool {
    let mut files = Vec::new();
    list_files(directory, &mut files);
    files.iter().any(|file| {
        fs::metadata(file).is_ok_and(|file| file.len() > 0 && file.blocks() * SECTOR >= file.len())
    })
}

fn list_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            list_files(&path, files);
        } else {
            files.push(path);
        }
    }
}
