//! Flags as they are typed or stand in a file, and what becomes of them: a [`Config`], or one sentence and an exit code.

mod file;
mod limits;
mod places;
mod reload;
mod remembering;
mod uploading;
mod watching;

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::file::ConfigFile;
pub use self::file::{FileError, FileProblem};
use self::limits::LimitArgs;
use self::places::PlaceArgs;
pub use self::places::{Answer, WhereArgs};
use self::reload::Origin;
pub use self::reload::Reload;
use self::remembering::RememberingArgs;
use self::uploading::UploadArgs;
use self::watching::WatchingArgs;
use crate::config::{
    AdvertisedAddr, AnnounceUrl, Config, Encryption, HashingConfig, HttpConfig, ListenAddr, Sha1Kernel,
    TrustedProxy,
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

In the file of --config each flag without its dashes is a key, as in wait = 60, public = true or
ignore = [\"*.log\"], DIR is directories = [\"DIR\"], and hosts near each other are a table:
  [[place]]
  at = \"dc1/row3/rack7\"
  networks = [\"10.1.7.0/24\"]

The log goes to stderr; RUST_LOG=debug makes it talkative, RUST_LOG=error quiet.")]
    Serve(Box<ServeArgs>),
    /// Say where a host is by its address: its place, and what says so
    #[command(
        after_help = "Exit codes: 0 for what was configured, 1 for a guess, 2 for a mistake in either."
    )]
    Where(WhereArgs),
    /// Make a torrent of one file, the same that serving it would make
    Torrent(TorrentArgs),
}

/// The flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Directories to serve, with everything below them
    #[arg(required_unless_present = "config", value_name = "DIR")]
    directories: Vec<PathBuf>,

    /// Where to answer HTTP: IP:PORT, an IP, or a port on all addresses; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "6969")]
    http: ListenAddr,

    /// Answer announces over HTTP only, not over UDP on the same port
    #[arg(long)]
    no_udp: bool,

    /// Where to accept peers, written likewise
    #[arg(long, value_name = "ADDR", default_value = "6881")]
    peers: ListenAddr,

    /// Tracker address written into torrents, http:// or udp:// [default: made from each request's Host]
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

    /// Whether peers' connections are encrypted: allow, prefer, require or off
    #[arg(long, value_name = "POLICY", default_value_t)]
    encryption: Encryption,

    /// Never dial: wait for downloaders to come by themselves
    #[arg(long)]
    no_dial: bool,

    /// Announces a second that all peers together are asked for; the more peers, the less often each
    #[arg(long, value_name = "N", default_value_t = HttpConfig::default().max_announce_rate)]
    max_announce_rate: NonZeroU32,

    /// Announces a second that one address may make (of IPv6, one /64); 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_announce_rate_per_address: u32,

    /// Address or network of reverse proxies whose X-Forwarded-For says who asks; repeat for each
    #[arg(long, value_name = "NETWORK")]
    trusted_proxy: Vec<TrustedProxy>,

    /// Connections from trusted proxies begin with a PROXY header (version 1 or 2) that says who asks
    #[arg(long, requires = "trusted_proxy")]
    proxy_protocol: bool,

    /// Read settings from this file too (TOML); what is typed wins. On SIGHUP it is read again
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    uploading: UploadArgs,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    watching: WatchingArgs,

    #[command(flatten)]
    remembering: RememberingArgs,

    #[command(flatten)]
    hashing: HashingArgs,

    #[command(flatten)]
    places: PlaceArgs,

    #[arg(skip)]
    origin: Origin,
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
#[command(next_help_heading = "Hashing")]
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

impl From<ServeArgs> for Config {
    fn from(args: ServeArgs) -> Self {
        let mut config = Self::new(args.directories);
        config.state = args.remembering.directory(|name| std::env::var_os(name));
        config.torrents.private = !args.public;
        config.torrents.grace = args.watching.grace();
        config.watch = args.watching.config();
        config.hashing = args.hashing.config();
        config.http.listen = args.http;
        config.http.udp = !args.no_udp;
        config.http.announce_url = args.announce_url;
        config.http.wait = Duration::from_secs(args.wait);
        config.http.max_announce_rate = args.max_announce_rate;
        config.http.max_announce_rate_per_address = NonZeroU32::new(args.max_announce_rate_per_address);
        config.http.trusted_proxies = args.trusted_proxy;
        config.http.proxy_protocol = args.proxy_protocol;
        config.seeder.listen = args.peers;
        args.uploading.set(&mut config.seeder);
        config.seeder.advertise = args.advertise;
        config.seeder.encryption = args.encryption;
        config.seeder.dial = !args.no_dial;
        config.seeder.limits = args.limits.into();
        config.topology = Arc::new(args.places.topology());
        config
    }
}

/// Why it can't be known what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A command line that can't be understood, or that asks for help.
    #[error("{}", usage_sentence(.0))]
    Arguments(#[from] clap::Error),
    /// A file that can't be used.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Cli {
    /// What a command line says, program name first, and the file that it names.
    ///
    /// # Errors
    ///
    /// Either can't be understood.
    pub fn read(arguments: Vec<OsString>) -> Result<Self, CliError> {
        let typed = Self::command().try_get_matches_from(&arguments)?;
        let Some((name, chosen)) = typed.subcommand() else { return Ok(Self::from_arg_matches(&typed)?) };
        let path = chosen.try_get_one::<PathBuf>("config").ok().flatten();
        let Some(path) = path else { return Ok(Self::from_arg_matches(&typed)?) };
        let file = ConfigFile::read(path, &serve_command())?;
        let command = Self::command().mut_subcommand(name, |command| file.set_defaults(command, chosen));
        let matches = command.try_get_matches_from(&arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        match &mut cli.command {
            Command::Serve(args) if args.directories.is_empty() => {
                let problem = FileProblem::NoDirectory;
                return Err(FileError { path: path.clone(), line: None, problem }.into());
            }
            Command::Serve(args) => {
                args.places.table = file.table;
                args.origin =
                    Origin::new(arguments, matches.subcommand().map_or(&matches, |(_, serve)| serve));
            }
            Command::Where(args) => args.places.table = file.table,
            Command::Torrent(_) => {}
        }
        Ok(cli)
    }
}

/// What `serve` takes, as clap knows it.
fn serve_command() -> clap::Command {
    ServeArgs::augment_args(clap::Command::new("serve"))
}

/// One sentence for flags that can't be understood; clap's own text spreads over several lines.
fn usage_sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "nothing to do was named, such as 'distributor serve DIR'; see 'distributor --help'".into();
    }
    let text = error.render().to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    format!("{}; see 'distributor --help'", said.strip_prefix("error: ").unwrap_or(&said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
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
            &["distributor", "serve", "--max-announce-rate", "0", "."],
            &["distributor", "serve", "--upload-slots", "0", "."],
            &["distributor", "serve", "--optimistic-slots", "0", "."],
            &["distributor", "serve", "--choking", "mine", "."],
            &["distributor", "serve", "--super-seeding", "yes", "."],
            &["distributor", "serve", "--max-upload-rate", "fast", "."],
            &["distributor", "serve", "--rack-prefix-v4", "33", "."],
            &["distributor", "serve", "--dscp", "64", "."],
            &["distributor", "serve", "--max-requests", "65537", "."],
            &["distributor", "serve", "--watch", "closely", "."],
            &["distributor", "serve", "--rescan", "-1", "."],
            &["distributor", "serve", "--settle", "86401", "."],
            &["distributor", "serve", "--grace", "soon", "."],
            &["distributor", "serve", "--ignore", "a[", "."],
            &["distributor", "serve", "--ignore", "", "."],
            &["distributor", "torrent", "--sha1", "md5", "file"],
            &["distributor", "serve", "--state", "a", "--no-state", "."],
            &["distributor", "serve", "--trusted-proxy", "proxy", "."],
            &["distributor", "serve", "--proxy-protocol", "."],
            &["distributor", "torrent"],
            &["distributor", "sevre", "."],
        ] {
            let sentence = Cli::read(wrong.iter().map(OsString::from).collect()).unwrap_err().to_string();
            assert!(!sentence.contains('\n'), "{sentence}");
            assert!(!sentence.starts_with("error: "), "{wrong:?}: {sentence}");
            assert!(sentence.len() > "; see 'distributor --help'".len(), "{wrong:?}: {sentence}");
        }
    }
}
