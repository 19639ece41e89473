//! The flags that say which hosts are near each other.

use clap::Args;

use crate::topology::{Topology, TopologyBuilder};

/// Where hosts are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Places")]
pub(super) struct PlaceArgs {
    /// Hosts whose IPv4 addresses begin with the same so many bits are in one rack
    /// [default: 24, as a guess]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(..=32))]
    rack_prefix_v4: Option<u8>,

    /// The same for IPv6 addresses [default: 64, as a guess]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(..=128))]
    rack_prefix_v6: Option<u8>,
}

impl PlaceArgs {
    pub(super) fn topology(&self) -> Topology {
        let mut topology = TopologyBuilder::default();
        if let Some(bits) = self.rack_prefix_v4 {
            topology.rack_prefix_v4(bits);
        }
        if let Some(bits) = self.rack_prefix_v6 {
            topology.rack_prefix_v6(bits);
        }
        topology.build()
    }
}
