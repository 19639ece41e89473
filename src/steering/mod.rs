//! Who is told of whom, which hosts of a rack fetch for it, and which piece the origin gives to whom.
//!
//! Owns these policies and no more: pure functions of plain values, and one value that is told what happens. Addresses,
//! connections and where hosts stand are others' business; times and chance are arguments. Why the policies are as they
//! are, and what did not work, is in `docs/topology.md`; `simulation` runs whole swarms by them.
//!
//! | policy | decides |
//! |---|---|
//! | `selection` | whom an asker is told of: its rack, and somebody far if it is a gateway |
//! | `gateways` | which hosts of a rack are gateways, and who takes the place of one that does nothing |
//! | `super_seed` | which piece the origin shows to which gateway |
//! | `window` | how many pieces are on their way from the origin at a time |

mod gateways;
mod selection;
mod super_seed;
mod window;

pub(crate) use self::gateways::{Host, STALL, Standing, Why, review, wants_gateway};
pub(crate) use self::selection::{Asker, Racks, choose};
pub(crate) use self::super_seed::SuperSeed;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use self::super_seed::window;
pub(crate) use self::window::Window;

/// Hosts that stand so near each other that what passes between them costs nobody else anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rack(pub(crate) u32);
