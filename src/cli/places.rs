//! The flags that say which hosts are near each other, and the question where one is.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use crate::topology::{Basis, Topology, TopologyBuilder};

/// Where hosts are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Places")]
pub(super) struct PlaceArgs {
    /// Hosts whose IPv4 addresses begin with the same so many bits are in one rack, where the file says nothing of them
    /// [default: 24, as a guess]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(..=32))]
    rack_prefix_v4: Option<u8>,

    /// The same for IPv6 addresses [default: 64, as a guess]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(..=128))]
    rack_prefix_v6: Option<u8>,

    /// What the file says.
    #[arg(skip)]
    pub(super) table: TopologyBuilder,
}

impl PlaceArgs {
    pub(super) fn topology(&self) -> Topology {
        let mut topology = self.table.clone();
        if let Some(bits) = self.rack_prefix_v4 {
            topology.rack_prefix_v4(bits);
        }
        if let Some(bits) = self.rack_prefix_v6 {
            topology.rack_prefix_v6(bits);
        }
        topology.build()
    }
}

/// The arguments of `where`.
#[derive(Debug, Args)]
pub struct WhereArgs {
    /// An address of the host
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,

    /// The file that says so
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    pub(super) places: PlaceArgs,
}

/// Where a host is.
#[derive(Debug)]
pub struct Answer {
    /// The place, and after a blank what says so.
    pub text: String,
    /// Whether anybody said so, or it is a guess.
    pub is_known: bool,
}

impl WhereArgs {
    /// Where the host is.
    pub fn answer(&self) -> Answer {
        let topology = self.places.topology();
        let found = topology.locate(self.address);
        let place = topology.written(found.place);
        let text = match found.basis {
            Basis::Table => format!("{place} by {}", found.network),
            Basis::Prefix => format!("{place} by its first {} bits", found.network.bits()),
            Basis::Guess => format!("{place} by a guess: nobody said where {} is", self.address),
        };
        Answer { text, is_known: found.basis != Basis::Guess }
    }
}
