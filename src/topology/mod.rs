//! Where hosts are, as far as their addresses tell: a table of networks and the places that they are at, or how many
//! bits the addresses of a rack have in common; and how far places are from each other. Values in, values out: it
//! neither reads files nor knows any peer.

mod builder;
mod control;
mod name;
mod network;
mod places;
mod ranges;

use std::net::IpAddr;

pub use self::builder::{MAX_NETWORKS, TopologyBuilder, TopologyError};
pub use self::control::TopologyControl;
pub use self::name::{MAX_LEVEL_LEN, MAX_LEVELS, PlaceName, PlaceNameError};
pub use self::network::{Network, NetworkError};
use self::places::{Named, Places};
use self::ranges::Ranges;

/// How many bits the IPv4 addresses of a rack are taken to have in common where nobody said.
pub const GUESSED_RACK_PREFIX_V4: u8 = 24;
/// How many of IPv6 addresses.
pub const GUESSED_RACK_PREFIX_V6: u8 = 64;

/// Where every address is. It doesn't change: another takes its [place](TopologyControl).
///
/// An address that the table has is where its longest prefix there says; any other is in the network of the addresses
/// that begin with the same bits, which is a place of its own, with nothing around it. What that is good for,
/// its [`Basis`] says.
///
/// ```
/// use distributor::{Basis, TopologyBuilder};
///
/// let mut table = TopologyBuilder::default();
/// table.add("10.1.0.0/16".parse()?, &"dc1".parse()?)?;
/// table.add("10.1.7.0/24".parse()?, &"dc1/row3/rack7".parse()?)?;
/// table.add("10.1.8.0/24".parse()?, &"dc1/row3/rack8".parse()?)?;
/// let topology = table.build();
///
/// let [a, b] = ["10.1.7.1", "10.1.8.1"].map(|ip| topology.place_of(ip.parse().unwrap()));
/// assert_eq!(topology.written(a), "dc1/row3/rack7");
/// assert_eq!(topology.distance(a, b), 1);
/// assert_eq!(topology.locate("10.2.0.1".parse()?).basis, Basis::Guess);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Topology {
    places: Places,
    v4: Ranges<Named>,
    v6: Ranges<Named>,
    prefixes: Prefixes,
}

/// How many bits the addresses of a rack have in common, where the operator said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Prefixes {
    v4: Option<u8>,
    v6: Option<u8>,
}

/// Where a host is, for the [`Topology`] that says so and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Named(Named),
    Network(Network),
}

/// Where an address is, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location {
    /// The place.
    pub place: Place,
    /// The network by which it is there.
    pub network: Network,
    /// What says so.
    pub basis: Basis,
}

/// What says that a host is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The operator's table.
    Table,
    /// The operator's word that racks are networks of some size.
    Prefix,
    /// Nobody: networks are often of that size. Good enough to prefer some peers to others, and never to keep any from
    /// each other.
    Guess,
}

impl Topology {
    /// Where an address is.
    pub fn place_of(&self, ip: IpAddr) -> Place {
        self.locate(ip).place
    }

    /// Where an address is, by which network, and what says so.
    pub fn locate(&self, ip: IpAddr) -> Location {
        let ip = ip.to_canonical();
        let (table, prefix, guess) = match ip {
            IpAddr::V4(_) => (&self.v4, self.prefixes.v4, GUESSED_RACK_PREFIX_V4),
            IpAddr::V6(_) => (&self.v6, self.prefixes.v6, GUESSED_RACK_PREFIX_V6),
        };
        if let Some((bits, named)) = table.find(ip) {
            let network = Network::around(ip, bits);
            return Location { place: Place(Kind::Named(named)), network, basis: Basis::Table };
        }
        let network = Network::around(ip, prefix.unwrap_or(guess));
        let basis = if prefix.is_some() { Basis::Prefix } else { Basis::Guess };
        Location { place: Place(Kind::Network(network)), network, basis }
    }

    /// A place and all that it lies in, from itself to the widest.
    pub fn ancestors(&self, place: Place) -> impl Iterator<Item = Place> {
        let (named, alone) = match place.0 {
            Kind::Named(named) => (Some(named), None),
            Kind::Network(_) => (None, Some(place)),
        };
        let named = named.into_iter().flat_map(|named| self.places.ancestors(named));
        alone.into_iter().chain(named.map(|named| Place(Kind::Named(named))))
    }

    /// How many levels are to be climbed, from the deeper of two places, to one that both lie in: 0 for a place and
    /// itself, 1 for racks of one row. Around the widest places is one more, which all lie in.
    pub fn distance(&self, a: Place, b: Place) -> u8 {
        let common = self.ancestors(a).find(|of_a| self.ancestors(b).any(|of_b| of_b == *of_a));
        let depth = self.depth(a).max(self.depth(b));
        depth.saturating_sub(common.map_or(0, |common| self.depth(common)))
    }

    /// A place as it is written: its levels from the widest, or its network.
    pub fn written(&self, place: Place) -> String {
        match place.0 {
            Kind::Named(named) => self.places.written(named),
            Kind::Network(network) => network.to_string(),
        }
    }

    fn depth(&self, place: Place) -> u8 {
        match place.0 {
            Kind::Named(named) => self.places.depth(named),
            Kind::Network(_) => 1,
        }
    }
}

/// Nothing is known: places are guessed.
impl Default for Topology {
    fn default() -> Self {
        TopologyBuilder::default().build()
    }
}

#[cfg(test)]
mod tests;
