//! Downloads from any seeder over many connections at once, and says what that took: MB/s, the seeder's processor
//! seconds for a gigabyte, the latency of a block, and the seeder's memory.
//!
//! One thread does it all, and no more with the data than is asked for, so that one processor is enough to keep a
//! seeder busy on another:
//!
//! ```text
//! load 127.0.0.1:6881 file.torrent --connections 8 --depth 128 --seconds 10 --pid "$(pidof distributor)"
//! ```
//!
//! | file | what it owns |
//! |---|---|
//! | `options` | the command line |
//! | `fleet` | the loop over connections that are ready, and which part of the run counts |
//! | `connection` | one socket |
//! | `conversation` | what a protocol is to the fleet |
//! | `peer` | one connection's side of BitTorrent |
//! | `http` | one connection's side of HTTP |
//! | `walk` | which blocks a connection asks for, in which order |
//! | `check` | whether what came are the file's pieces |
//! | `report` | the figures, for people and for scripts |

mod check;
mod connection;
mod conversation;
mod fleet;
mod http;
mod options;
mod peer;
mod report;
mod walk;

use clap::Parser;
use distributor_load::Torrent;

use fleet::Fleet;
use options::Options;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let torrent = Torrent::read(&options.torrent)?;
    let report = Fleet::connect(&options, &torrent)?.run()?;
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    anyhow::ensure!(report.wrong_pieces == 0, "{} pieces are not the file's", report.wrong_pieces);
    Ok(())
}
