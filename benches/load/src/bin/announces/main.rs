//! Announces to any tracker, over HTTP or UDP, from many hosts at once, and says what that took: announces for each of
//! the tracker's processor seconds, and how long an answer was waited for.
//!
//! A host has an address of its own and is a peer of every swarm. It asks for one swarm after the other, each time as
//! soon as the last answer is there, or at a steady pace. One thread does it all:
//!
//! ```text
//! announces 127.0.0.1:6969 hashes --over http --hosts 100 --seconds 5 --pid "$(pidof distributor)"
//! ```
//!
//! | file | what it owns |
//! |---|---|
//! | `options` | the command line |
//! | `crowd` | the loop over hosts whose answers come or whose time has come, and which part of the run counts |
//! | `host` | one host: its socket, and what it waits for |
//! | `question` | announces as bytes |
//! | `answer` | whether bytes are a whole answer, and which one |
//! | `report` | the figures, for people and for scripts |

mod answer;
mod crowd;
mod host;
mod options;
mod question;
mod report;

use clap::Parser;

use crowd::Crowd;
use options::Options;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let report = Crowd::new(&options)?.run()?;
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}
