//! Command lines and settings of the stock clients. All that would let them find peers past the tracker is off; those
//! that would stay after the download leave a file, the completion mark, when it is complete.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::clients::{Cipher, Client, Launch, Source};
use super::net::Host;
use super::process::command;
use super::torrent::Torrent;

/// The directory that a client downloads into.
pub(super) fn files(home: &Path) -> PathBuf {
    home.join("files")
}

/// The file that is there once the download is complete.
pub(super) fn completion_mark(home: &Path) -> PathBuf {
    home.join("complete")
}

/// The command that makes a client download into `home`, with whatever settings it has to find there.
pub(super) fn command_for(launch: Launch, host: &Host, source: Source<'_>, home: &Path) -> Command {
    fs::create_dir(files(home)).expect("a directory can be made");
    let Launch { client, cipher, rate, udp } = launch;
    let limits = matches!(client, Client::Aria2 | Client::Libtorrent);
    assert!(rate.is_none() || limits, "no other client's rate is limited here");
    let mut command = command(program(client), Some(host));
    command.env("HOME", home).current_dir(files(home));
    if client == Client::Deluge {
        deluge(&mut command, cipher, &source, home);
        return command;
    }
    if let (Client::Transmission, Source::Torrent(bytes)) = (client, source) {
        make_known_to_transmission(bytes, home);
    }
    let source = match source {
        Source::Url(url) => url.to_owned(),
        Source::Torrent(bytes) => written(&home.join("its.torrent"), bytes),
    };
    match client {
        Client::Aria2 => aria2(&mut command, cipher, rate, udp, &source),
        Client::Ctorrent => ctorrent(&mut command, cipher, &source, home),
        Client::Deluge => unreachable!("it is given files only"),
        Client::Libtorrent => libtorrent(&mut command, cipher, rate, &source),
        Client::Qbittorrent => qbittorrent(&mut command, cipher, &source, home),
        Client::Rtorrent => rtorrent(&mut command, cipher, &source, home),
        Client::Transmission => transmission(&mut command, cipher, &source, home),
    }
    command
}

fn program(client: Client) -> &'static str {
    match client {
        Client::Aria2 => "aria2c",
        Client::Ctorrent => "ctorrent",
        Client::Deluge => "deluged",
        // Debian's own: its libtorrent is not to be found by any other Python.
        Client::Libtorrent => "/usr/bin/python3",
        Client::Qbittorrent => "qbittorrent-nox",
        Client::Rtorrent => "rtorrent",
        Client::Transmission => "transmission-cli",
    }
}

fn aria2(command: &mut Command, cipher: Option<Cipher>, rate: Option<u32>, udp: bool, source: &str) {
    command.args(["--no-conf", "--seed-time=0", "--follow-torrent=mem", "--summary-interval=0"]);
    // It announces over UDP through the socket that it has for DHT.
    command.arg(format!("--enable-dht={udp}"));
    command.args(["--enable-dht6=false", "--enable-peer-exchange=false"]);
    if let Some(rate) = rate {
        command.arg(format!("--max-download-limit={rate}"));
    }
    command.args(["--bt-enable-lpd=false", "--console-log-level=info", "--dir=."]);
    command.args(match cipher {
        None => &[][..],
        Some(Cipher::Rc4) => &["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"],
        Some(Cipher::Any) => &["--bt-require-crypto=true", "--bt-min-crypto-level=plain"],
        Some(Cipher::Plaintext) => panic!("aria2 always offers RC4 too"),
    });
    command.arg(source);
}

fn ctorrent(command: &mut Command, cipher: Option<Cipher>, source: &str, home: &Path) {
    assert_eq!(cipher, None, "ctorrent has no encryption");
    // It would take up to 15 s to leave after completion (`-e 0`).
    command.arg("-X").arg(format!("touch {}", completion_mark(home).display()));
    command.args(["-e", "1", source]);
}

fn deluge(command: &mut Command, cipher: Option<Cipher>, source: &Source<'_>, home: &Path) {
    let (settings, watched) = (home.join("settings"), home.join("watched"));
    fs::create_dir(&settings).expect("a directory can be made");
    fs::create_dir(&watched).expect("a directory can be made");
    match source {
        Source::Torrent(bytes) => written(&watched.join("its.torrent"), bytes),
        Source::Url(url) => written(&watched.join("its.magnet"), url.as_bytes()),
    };
    // 0 is forced, 1 enabled; of the levels 0 is the handshake's, 1 the whole stream's, 2 either.
    let (policy, level) = match cipher {
        None => (1, 2),
        Some(Cipher::Plaintext) => (0, 0),
        Some(Cipher::Rc4) => (0, 1),
        Some(Cipher::Any) => (0, 2),
    };
    let (files, watched, mark) = (files(home), watched.display(), mark_script(home));
    let core = format!(
        r#""download_location": "{}", "listen_ports": [6881, 6881], "random_port": false, "dht": false, "lsd": false,
        "utpex": false, "upnp": false, "natpmp": false, "new_release_check": false, "enc_in_policy": {policy},
        "enc_out_policy": {policy}, "enc_level": {level}, "enabled_plugins": ["AutoAdd", "Execute"]"#,
        files.display()
    );
    let add = format!(
        r#""next_id": 2, "watchdirs": {{"1": {{"path": "{watched}", "abspath": "{watched}", "enabled": true,
        "owner": "localclient"}}}}"#
    );
    let execute = format!(r#""commands": [["1", "complete", "{}"]]"#, mark.display());
    for (name, version, text) in [("core", 1, core), ("autoadd", 2, add), ("execute", 1, execute)] {
        let text = format!(r#"{{"file": {version}, "format": 1}}{{{text}}}"#);
        written(&settings.join(name).with_extension("conf"), text.as_bytes());
    }
    command.args(["--do-not-daemonize", "--loglevel", "info", "--config"]).arg(settings);
}

fn libtorrent(command: &mut Command, cipher: Option<Cipher>, rate: Option<u32>, source: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/libtorrent_client.py");
    command.args(["-I", script, source, "."]);
    if let Some(rate) = rate {
        command.args(["--rate", &rate.to_string()]);
    }
    if let Some(cipher) = cipher {
        command.args([
            "--encryption",
            match cipher {
                Cipher::Rc4 => "rc4",
                Cipher::Plaintext => "plaintext",
                Cipher::Any => "both",
            },
        ]);
    }
}

fn qbittorrent(command: &mut Command, cipher: Option<Cipher>, source: &str, home: &Path) {
    let encryption = match cipher {
        None => 0,
        Some(Cipher::Rc4) => 1,
        Some(cipher) => panic!("qBittorrent can't be told to require {cipher:?}"),
    };
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n\
         [Preferences]\nWebUI\\Enabled=false\n\
         [AutoRun]\nenabled=true\nprogram={mark}\n\
         [BitTorrent]\nSession\\DHTEnabled=false\nSession\\PeXEnabled=false\nSession\\LSDEnabled=false\n\
         Session\\BTProtocol=TCP\nSession\\Port=6881\nSession\\Encryption={encryption}\n\
         [Network]\nPortForwardingEnabled=false\n",
        mark = mark_script(home).display(),
    );
    let directory = home.join("qBittorrent/config");
    fs::create_dir_all(&directory).expect("a directory can be made");
    written(&directory.join("qBittorrent.conf"), settings.as_bytes());
    command.arg(format!("--profile={}", home.display()));
    command.arg(format!("--save-path={}", files(home).display())).arg(source);
}

fn rtorrent(command: &mut Command, cipher: Option<Cipher>, source: &str, home: &Path) {
    let encryption = match cipher {
        None => "allow_incoming,try_outgoing,enable_retry",
        Some(Cipher::Any) => "allow_incoming,try_outgoing,require",
        Some(Cipher::Rc4) => "allow_incoming,try_outgoing,require,require_RC4",
        Some(Cipher::Plaintext) => panic!("rtorrent always offers RC4 too"),
    };
    let session = home.join("session");
    fs::create_dir(&session).expect("a directory can be made");
    let settings = format!(
        "system.daemon.set = true\n\
         directory.default.set = {files}\n\
         session.path.set = {session}\n\
         network.port_range.set = 6881-6881\n\
         network.port_random.set = no\n\
         dht.mode.set = disable\n\
         protocol.pex.set = no\n\
         protocol.encryption.set = {encryption}\n\
         method.set_key = event.download.finished, complete, \"execute.nothrow={mark}\"\n\
         load.start = \"{source}\"\n",
        files = files(home).display(),
        session = session.display(),
        mark = mark_script(home).display(),
    );
    let settings = written(&home.join("settings"), settings.as_bytes());
    command.args(["-n", "-o", &format!("import={settings}")]);
}

/// Where Transmission has its settings.
fn transmission_settings(home: &Path) -> PathBuf {
    home.join("settings")
}

/// A torrent that it doesn't know has it look for its files first. `transmission-cli` 3.00 asks five times a second
/// whether it is stopped, and between looking and starting it is: then it ends, with code 0. On a busy machine that
/// happens to one in thirty.
fn make_known_to_transmission(torrent: &[u8], home: &Path) {
    let known = transmission_settings(home).join("torrents");
    fs::create_dir_all(&known).expect("a directory can be made");
    let name: String = Torrent::read(torrent).info_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    written(&known.join(name).with_extension("torrent"), torrent);
}

fn transmission(command: &mut Command, cipher: Option<Cipher>, source: &str, home: &Path) {
    let settings = transmission_settings(home);
    fs::create_dir_all(&settings).expect("a directory can be made");
    let off = br#"{"dht-enabled":false,"pex-enabled":false,"lpd-enabled":false,"utp-enabled":false}"#;
    written(&settings.join("settings.json"), off);
    match cipher {
        None => {}
        Some(Cipher::Rc4) => {
            command.arg("--encryption-required");
        }
        Some(cipher) => panic!("Transmission can't be told to require {cipher:?}"),
    }
    command.args(["--no-portmap", "--download-dir", ".", "--config-dir"]).arg(settings);
    command.arg("--finish").arg(mark_script(home)).arg(source);
}

/// A script that makes the completion mark, for clients that run one and nothing else.
fn mark_script(home: &Path) -> PathBuf {
    let script = home.join("finish");
    written(&script, format!("#!/bin/sh\ntouch '{}'\n", completion_mark(home).display()).as_bytes());
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("permissions can be set");
    script
}

/// Writes a file and returns its path as text.
fn written(path: &Path, bytes: &[u8]) -> String {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("can't write {}: {error}", path.display()));
    path.display().to_string()
}
