//! The making of a [`Topology`], network by network, so that whoever reads them from somewhere can say where a wrong one
//! stands.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::places::{Named, Register};
use super::ranges::Ranges;
use super::{Network, PlaceName, Prefixes, Topology};

/// How many networks a table may have: as the largest sites have racks, and as many again for what is carved out of them.
pub const MAX_NETWORKS: usize = 1 << 18;

/// A [`Topology`] in the making.
#[derive(Clone, Debug, Default)]
pub struct TopologyBuilder {
    places: Register,
    networks: HashMap<Network, Named>,
    prefixes: Prefixes,
}

/// What can't be in the table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Whichever counted, the other would be there in vain.
    #[error("{network} is at {at} already; leave one of them out")]
    Duplicate {
        /// What is there twice.
        network: Network,
        /// Where it was said to be first.
        at: String,
    },
    /// There are as many as can be.
    #[error("there are more than {MAX_NETWORKS} networks; leave some out, or join them to wider ones")]
    TooManyNetworks,
}

impl TopologyBuilder {
    /// Hosts in this network are at this place, but for those in a narrower one of the table.
    ///
    /// # Errors
    ///
    /// It is in the table already, or one too many.
    pub fn add(&mut self, network: Network, at: &PlaceName) -> Result<(), TopologyError> {
        let count = self.networks.len();
        match self.networks.entry(network) {
            Entry::Occupied(known) => {
                let at = self.places.places().written(*known.get());
                return Err(TopologyError::Duplicate { network, at });
            }
            Entry::Vacant(_) if count >= MAX_NETWORKS => return Err(TopologyError::TooManyNetworks),
            Entry::Vacant(new) => {
                // It has a level at least.
                if let Some(named) = self.places.name(at) {
                    new.insert(named);
                }
            }
        }
        Ok(())
    }

    /// Hosts that the table doesn't have are at the same place where their IPv4 addresses begin with the same so many
    /// bits; more than 32 are 32.
    pub fn rack_prefix_v4(&mut self, bits: u8) {
        self.prefixes.v4 = Some(bits);
    }

    /// The same for IPv6 addresses; more than 128 are 128.
    pub fn rack_prefix_v6(&mut self, bits: u8) {
        self.prefixes.v6 = Some(bits);
    }

    /// What was said so far.
    pub fn build(self) -> Topology {
        let (v4, v6): (Vec<_>, Vec<_>) =
            self.networks.into_iter().partition(|(network, _)| network.first().is_ipv4());
        Topology {
            places: self.places.into_places(),
            v4: Ranges::new(v4),
            v6: Ranges::new(v6),
            prefixes: self.prefixes,
        }
    }
}
