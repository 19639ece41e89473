//! The stock clients, as a user would run them, on hosts of a test network. All that would let them find peers past
//! the tracker is off.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::net::Host;
use super::process::{Running, command};

/// 200 MiB on a busy machine with two cores, and Transmission's ten seconds before it asks for anything.
const DEADLINE: Duration = Duration::from_secs(240);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Aria2,
    Ctorrent,
    Libtorrent,
    Transmission,
}

/// What a client is given.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Torrent(&'a [u8]),
    Url(&'a str),
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
    pub(crate) const ALL: [Self; 4] = [Self::Aria2, Self::Ctorrent, Self::Libtorrent, Self::Transmission];

    /// Starts downloading.
    pub(crate) fn start(self, host: &Host, source: Source<'_>) -> Download {
        self.start_with(host, source, None)
    }

    /// As [`Self::start`], at so many bytes a second at most. libtorrent only.
    pub(crate) fn start_slowly(self, host: &Host, source: Source<'_>, rate: u32) -> Download {
        assert_eq!(self, Self::Libtorrent, "no other client's rate is limited here");
        self.start_with(host, source, Some(rate))
    }

    fn start_with(self, host: &Host, source: Source<'_>, rate: Option<u32>) -> Download {
        let home = TempDir::new().expect("a temporary directory can be made");
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("files")).expect("a directory can be made");
        let source = match source {
            Source::Url(url) => url.to_owned(),
            Source::Torrent(bytes) => {
                fs::write(at("its.torrent"), bytes).expect("a torrent can be written");
                at("its.torrent").display().to_string()
            }
        };
        let mut command = command(self.program(), Some(host));
        command.env("HOME", home.path()).current_dir(at("files"));
        match self {
            Self::Aria2 => {
                command.args(["--no-conf", "--seed-time=0", "--follow-torrent=mem", "--summary-interval=0"]);
                command.args(["--enable-dht=false", "--enable-dht6=false", "--enable-peer-exchange=false"]);
                command.args(["--bt-enable-lpd=false", "--console-log-level=info", "--dir=.", &source]);
            }
            Self::Ctorrent => {
                // It would take up to 15 s to leave after completion (`-e 0`): it says when the file is complete,
                // and is killed.
                let marker = format!("touch {}", at("complete").display());
                command.args(["-X", &marker, "-e", "1", &source]);
            }
            Self::Libtorrent => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/libtorrent_client.py");
                command.args(["-I", script, &source, "."]).args(rate.map(|rate| rate.to_string()));
            }
            Self::Transmission => {
                let off =
                    r#"{"dht-enabled":false,"pex-enabled":false,"lpd-enabled":false,"utp-enabled":false}"#;
                fs::create_dir(at("settings")).expect("a directory can be made");
                fs::write(at("settings/settings.json"), off).expect("settings can be written");
                let script = at("finish");
                fs::write(&script, "#!/bin/sh\ntouch \"${0%/*}/complete\"\n")
                    .expect("a script can be written");
                fs::set_permissions(&script, PermissionsExt::from_mode(0o755))
                    .expect("permissions can be set");
                command.args([
                    "--no-portmap",
                    "--encryption-tolerated",
                    "--download-dir",
                    ".",
                    "--config-dir",
                ]);
                command.arg(at("settings")).arg("--finish").arg(script).arg(&source);
            }
        }
        let what = format!("{self:?} on {}", host.address());
        let process = Running::start(&what, &mut command, home.path());
        Download { client: self, command, process, home }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Aria2 => "aria2c",
            Self::Ctorrent => "ctorrent",
            // Debian's own: its libtorrent is not to be found by any other Python.
            Self::Libtorrent => "/usr/bin/python3",
            Self::Transmission => "transmission-cli",
        }
    }
}

impl Download {
    /// Waits until the client says that the file is complete, and gives the file, whatever the client called it.
    pub(crate) fn finish(&mut self) -> PathBuf {
        let marker = self.home.path().join("complete");
        match self.client {
            Client::Aria2 | Client::Libtorrent => {
                let mut status = self.process.wait(DEADLINE);
                if self.client == Client::Libtorrent && status.signal() == Some(Signal::SEGV.as_raw()) {
                    // Debian's Python binding does that once in a thousand times; it is not what is tested.
                    self.process = Running::start("libtorrent, again", &mut self.command, self.home.path());
                    status = self.process.wait(DEADLINE);
                }
                assert!(status.success(), "{:?} ended with {status}\n{}", self.client, self.story());
            }
            Client::Ctorrent | Client::Transmission => self.process.wait_until(DEADLINE, |process| {
                if let Some(status) = process.exited() {
                    panic!("it ended with {status} before the download did\n{}", process.story());
                }
                marker.exists().then_some(())
            }),
        }
        if self.client == Client::Transmission {
            // It writes what it holds in memory as it ends.
            self.process.signal(Signal::TERM);
            self.process.wait(DEADLINE);
        }
        self.file().unwrap_or_else(|| panic!("{:?} left no file\n{}", self.client, self.story()))
    }

    /// The one file that it downloads into, once that is there.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let mut files = Vec::new();
        list_files(&self.home.path().join("files"), &mut files);
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

    pub(crate) fn story(&self) -> String {
        self.process.story()
    }
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
