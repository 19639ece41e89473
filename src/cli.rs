//! Flags as they are typed, and what becomes of them: a [`Config`], or one sentence and an exit code.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use tracing::warn;

use crate::config::{
    AdvertisedAddr, AnnounceUrl, Config, Encryption, HashingConfig, IgnoreGlob, ListenAddr, PeerLimits,
    Sha1Kernel, UploadSlots, WatchMode,
};

/// Point it at a directory: every file in it can be fetched by stock BitTorrent clients within seconds.
#[derive(Debug, Parser)]
#[command(name = "distributor", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch directories and serve every file in them: torrents, tracker and seed in one
    #[command(after_help = "\
On any other host, for a file DIR/sub/file.iso:
  aria2c \"http://ORIGIN:6969/serve?sub/file.iso\"
  wget -O file.torrent \"http://ORIGIN:6969/serve?sub/file.iso\" && ctorrent file.torrent
The file modified last: \"http://ORIGIN:6969/serve_last_updated\"

The log goes to stderr; RUST_LOG=debug makes it talkative, RUST_LOG=error quiet.")]
    Serve(ServeArgs),
    /// Make a torrent of one file, the same that serving it would make
    Torrent(TorrentArgs),
}

/// The flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Directories to serve, with everything below them
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,

    /// Where to answer HTTP: IP:PORT, an IP, or a port on all addresses; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "6969")]
    http: ListenAddr,

    /// Where to accept peers, written likewise
    #[arg(long, value_name = "ADDR", default_value = "6881")]
    peers: ListenAddr,

    /// Tracker address written into torrents [default: made from each request's Host]
    #[arg(long, value_name = "URL")]
    announce_url: Option<AnnounceUrl>,

    /// Leave the private flag out of torrents: clients then use DHT, peer exchange and local discovery too
    #[arg(long)]
    public: bool,

    /// IP or IP:PORT where peers reach this host, if not where HTTP does (proxy, NAT); repeat for v4 and v6
    #[arg(long, value_name = "ADDR")]
    advertise: Vec<AdvertisedAddr>,

    /// How many seconds a request for a file that is still being hashed waits
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86_400))]
    wait: u64,

    /// How many peers to upload to at a time, or "unlimited"
    #[arg(long, value_name = "N", default_value_t)]
    upload_slots: UploadSlots,

    /// Whether peers' connections are encrypted: allow, prefer, require or off
    #[arg(long, value_name = "POLICY", default_value_t)]
    encryption: Encryption,

    /// Never dial: wait for downloaders to come by themselves
    #[arg(long)]
    no_dial: bool,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    watching: WatchingArgs,
    /// Where to remember what was hashed, outside of DIR [default: distributor in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR", conflicts_with = "no_state")]
    state: Option<PathBuf>,

    /// Remember nothing: every start hashes all files
    #[arg(long)]
    no_state: bool,

    #[command(flatten)]
    hashing: HashingArgs,
}

/// What peers may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits on peers")]
struct LimitArgs {
    /// Connections at a time; further ones wait to be accepted
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().connections, value_parser = count)]
    max_peers: usize,

    /// Connections from one address
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().per_address, value_parser = count)]
    max_peers_per_address: usize,

    /// Connections for one torrent
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().per_torrent, value_parser = count)]
    max_peers_per_torrent: usize,

    /// Connections whose handshake isn't complete; a further one takes the place of the oldest
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().half_open, value_parser = count)]
    max_handshakes: usize,

    /// How many seconds a handshake may take
    #[arg(long, value_name = "SECONDS", default_value_t = PeerLimits::default().handshake.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    handshake_timeout: u64,

    /// How many seconds a peer may say nothing
    #[arg(long, value_name = "SECONDS", default_value_t = PeerLimits::default().silence.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle_timeout: u64,

    /// Requests of one peer that wait; those beyond are rejected
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().requests, value_parser = requests)]
    max_requests: usize,

    /// Bytes of one peer's stream that are kept until they can be understood
    #[arg(long, value_name = "BYTES", default_value_t = PeerLimits::default().unparsed)]
    #[arg(value_parser = |text: &str| bytes(text, 64 * 1024))]
    max_unparsed: usize,

    /// Bytes that wait for one peer that reads slowly
    #[arg(long, value_name = "BYTES", default_value_t = PeerLimits::default().unsent)]
    #[arg(value_parser = |text: &str| bytes(text, 4096))]
    max_unsent: usize,

    /// Messages a second of one peer that change nothing
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().idle_messages)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_idle_messages: u32,

    /// Violations of the protocol within ten minutes after which an address is held off for as long
    #[arg(long, value_name = "N", default_value_t = PeerLimits::default().violations)]
    max_violations: u32,
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("write a number from 1 up".to_owned()),
    }
}

/// Each takes a few bytes while it waits; a peer has no use for more.
const MAX_MAX_REQUESTS: usize = 65_536;

fn requests(text: &str) -> Result<usize, String> {
    match count(text) {
        Ok(requests) if requests <= MAX_MAX_REQUESTS => Ok(requests),
        _ => Err(format!("write a number from 1 to {MAX_MAX_REQUESTS}")),
    }
}

/// More for each connection is a slip of the finger.
const MAX_BYTES: usize = 16 * 1024 * 1024;

fn bytes(text: &str, min: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (min..=MAX_BYTES).contains(&bytes) => Ok(bytes),
        _ => Err(format!("write a number from {min} to {MAX_BYTES}")),
    }
}

impl From<LimitArgs> for PeerLimits {
    fn from(args: LimitArgs) -> Self {
        Self {
            connections: args.max_peers,
            per_address: args.max_peers_per_address,
            per_torrent: args.max_peers_per_torrent,
            half_open: args.max_handshakes,
            handshake: Duration::from_secs(args.handshake_timeout),
            silence: Duration::from_secs(args.idle_timeout),
            requests: args.max_requests,
            unparsed: args.max_unparsed,
            unsent: args.max_unsent,
            idle_messages: args.max_idle_messages,
            violations: args.max_violations,
        }
    }
}

/// What `serve` takes to know which files there are, and which are finished.
#[derive(Debug, Args)]
struct WatchingArgs {
    /// How to notice changes: by inotify, by reading all directories every 10 seconds (poll), or by inotify and, where
    /// that doesn't tell of all (NFS, CIFS, FUSE), both (auto)
    #[arg(long, value_name = "HOW", default_value_t)]
    watch: WatchMode,

    /// Look at all files again every so many seconds, for changes that no event told of; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86_400))]
    rescan: u64,

    /// Leave out files and directories of this name or, with a "/" in it, path: *.iso, sub/dir; repeat for more
    #[arg(long, value_name = "GLOB")]
    ignore: Vec<IgnoreGlob>,

    /// Offer *.part, *.tmp, *.aria2, *.crdownload and *~ too, which are left out otherwise
    #[arg(long)]
    no_default_ignores: bool,

    /// Offer a file only when nothing changed it for so many seconds, be it closed or still open; one that is renamed
    /// into place is offered at once. 0: when it is closed
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86_400))]
    settle: u64,

    /// Serve a file that was replaced or deleted for so many more seconds to those who are downloading it
    #[arg(long, value_name = "SECONDS", default_value_t = 600, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=86_400))]
    grace: u64,
}

/// The flags of `torrent`.
#[derive(Debug, Args)]
pub struct TorrentArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Where to write the torrent, which must not exist yet; "-" for stdout [default: NAME.torrent, here]
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,

    /// Tracker address written into it [default: none]
    #[arg(long, value_name = "URL")]
    pub announce_url: Option<AnnounceUrl>,

    /// Leave the private flag out: clients then use DHT, peer exchange and local discovery too
    #[arg(long)]
    pub public: bool,

    #[command(flatten)]
    hashing: HashingArgs,
}

impl TorrentArgs {
    /// How to hash.
    pub fn hashing(&self) -> HashingConfig {
        self.hashing.config()
    }
}

/// What every command that hashes takes.
#[derive(Debug, Args)]
struct HashingArgs {
    /// How many threads hash [default: one a processor]
    #[arg(long = "hash-threads", value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,

    /// Read what is hashed only when nobody else wants the disk (I/O class idle, for bfq and mq-deadline)
    #[arg(long = "hash-idle-io")]
    idle_io: bool,

    /// SHA-1 by this kernel: fastest, avx512, avx2 or scalar
    #[arg(long = "sha1", env = "DISTRIBUTOR_SHA1", value_name = "KERNEL", default_value_t, hide = true)]
    kernel: Sha1Kernel,
}

/// Each has its buffers; more than this is a slip of the finger.
const MAX_HASH_THREADS: usize = 1024;

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(threads) if threads <= NonZeroUsize::new(MAX_HASH_THREADS).unwrap_or(threads) => Ok(threads),
        _ => Err(format!("write a number from 1 to {MAX_HASH_THREADS}")),
    }
}

impl HashingArgs {
    fn config(&self) -> HashingConfig {
        HashingConfig { threads: self.threads, idle_io: self.idle_io, kernel: self.kernel }
    }
}

impl ServeArgs {
    /// Where to remember files, if at all.
    fn state_directory(&self, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        if self.no_state {
            return None;
        }
        let directory = self.state.clone().or_else(|| default_state_directory(variable));
        if directory.is_none() {
            warn!(
                "there is no home directory to remember files in; name one with --state DIR, or every start hashes all"
            );
        }
        directory
    }
}

/// What systemd has made for a service (`StateDirectory=`), else where the XDG base directory specification puts such
/// things.
fn default_state_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // systemd joins several by colons; the specification ignores paths that aren't absolute.
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let of = |name| variable(name).map(PathBuf::from).and_then(absolute);
    let systemd = variable("STATE_DIRECTORY").and_then(|all| {
        all.as_bytes().split(|byte| *byte == b':').next().map(|first| OsStr::from_bytes(first).into())
    });
    systemd.and_then(absolute).or_else(|| {
        let all = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")));
        Some(all?.join("distributor"))
    })
}

impl From<ServeArgs> for Config {
    fn from(args: ServeArgs) -> Self {
        let state = args.state_directory(|name| std::env::var_os(name));
        let mut config = Self::new(args.directories);
        config.watch.mode = args.watching.watch;
        config.watch.rescan = Duration::from_secs(args.watching.rescan);
        config.watch.settle = Duration::from_secs(args.watching.settle);
        if args.watching.no_default_ignores {
            config.watch.ignore.clear();
        }
        config.watch.ignore.extend(args.watching.ignore);
        config.state = state;
        config.torrents.private = !args.public;
        config.torrents.grace = Duration::from_secs(args.watching.grace);
        config.hashing = args.hashing.config();
        config.http.listen = args.http;
        config.http.announce_url = args.announce_url;
        config.http.wait = Duration::from_secs(args.wait);
        config.seeder.listen = args.peers;
        config.seeder.upload_slots = args.upload_slots;
        config.seeder.advertise = args.advertise;
        config.seeder.encryption = args.encryption;
        config.seeder.dial = !args.no_dial;
        config.seeder.limits = args.limits.into();
        config
    }
}

/// One sentence for flags that can't be understood; clap's own text spreads over several lines.
pub fn usage_sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "error: nothing to do was named, such as 'distributor serve DIR'; see 'distributor --help'"
            .into();
    }
    let text = error.render().to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    format!("{}; see 'distributor --help'", said.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn remembers_where_it_was_told_to_or_where_such_things_are_kept() {
        let state = |flags: &[&str], variables: &[(&str, &str)]| {
            let arguments = ["distributor", "serve", "."].iter().chain(flags);
            let Command::Serve(args) = Cli::try_parse_from(arguments).unwrap().command else {
                panic!("serve")
            };
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            };
            args.state_directory(variable).map(|path| path.into_os_string().into_string().unwrap())
        };
        let all = [("STATE_DIRECTORY", "/s:/t"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(state(&["--state", "dir"], &all).as_deref(), Some("dir"));
        assert_eq!(state(&["--no-state"], &all), None);
        assert_eq!(state(&[], &all).as_deref(), Some("/s"));
        assert_eq!(state(&[], &all[1..]).as_deref(), Some("/x/distributor"));
        assert_eq!(state(&[], &all[2..]).as_deref(), Some("/h/.local/state/distributor"));
        assert_eq!(
            state(&[], &[("XDG_STATE_HOME", "x"), ("HOME", "/h")]).as_deref(),
            Some("/h/.local/state/distributor")
        );
        assert_eq!(state(&[], &[("HOME", "")]), None);
        assert_eq!(state(&[], &[]), None);
    }

    #[test]
    fn says_in_one_line_what_is_wrong_with_a_flag() {
        for wrong in [
            &["distributor"][..],
            &["distributor", "serve"],
            &["distributor", "serve", "--colour", "."],
            &["distributor", "serve", "--http", "nowhere", "."],
            &["distributor", "serve", "--wait", "-1", "."],
            &["distributor", "serve", "--hash-threads", "0", "."],
            &["distributor", "serve", "--encryption", "rot13", "."],
            &["distributor", "serve", "--max-peers", "0", "."],
            &["distributor", "serve", "--max-requests", "65537", "."],
            &["distributor", "serve", "--watch", "closely", "."],
            &["distributor", "serve", "--rescan", "-1", "."],
            &["distributor", "serve", "--settle", "86401", "."],
            &["distributor", "serve", "--grace", "soon", "."],
            &["distributor", "serve", "--ignore", "a[", "."],
            &["distributor", "serve", "--ignore", "", "."],
            &["distributor", "torrent", "--sha1", "md5", "file"],
            &["distributor", "serve", "--state", "a", "--no-state", "."],
            &["distributor", "torrent"],
            &["distributor", "sevre", "."],
        ] {
            let error = Cli::try_parse_from(wrong).unwrap_err();
            let sentence = usage_sentence(&error);
            assert!(!sentence.contains('\n'), "{sentence}");
            assert!(sentence.starts_with("error: "), "{wrong:?}: {sentence}");
            assert!(sentence.len() > "error: ; see 'distributor --help'".len(), "{wrong:?}: {sentence}");
        }
    }
}
