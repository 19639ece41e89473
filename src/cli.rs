//! Flags as they are typed, and what becomes of them: a [`Config`], or one sentence and an exit code.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::config::{AdvertisedAddr, AnnounceUrl, Config, ListenAddr, UploadSlots};

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
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=86_400))]
    wait: u64,

    /// How many peers to upload to at a time, or "unlimited"
    #[arg(long, value_name = "N", default_value_t)]
    upload_slots: UploadSlots,
}

impl From<ServeArgs> for Config {
    fn from(args: ServeArgs) -> Self {
        let mut config = Self::new(args.directories);
        config.torrents.private = !args.public;
        config.http.listen = args.http;
        config.http.announce_url = args.announce_url;
        config.http.wait = Duration::from_secs(args.wait);
        config.seeder.listen = args.peers;
        config.seeder.upload_slots = args.upload_slots;
        config.seeder.advertise = args.advertise;
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
    fn says_in_one_line_what_is_wrong_with_a_flag() {
        for wrong in [
            &["distributor"][..],
            &["distributor", "serve"],
            &["distributor", "serve", "--colour", "."],
            &["distributor", "serve", "--http", "nowhere", "."],
            &["distributor", "serve", "--wait", "-1", "."],
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
