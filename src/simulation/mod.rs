//! Swarms on paper: hosts with stock clients, racks and their uplinks, a tracker and an origin, moved on in small steps
//! of time. The steered ones run by the very policies of `steering`. Seeded: the same scenario has the same outcome.
//!
//! Owns the model. What it leaves out: round-trip times, TCP's slow start and losses, and messages that wait behind
//! data. How near it comes to real swarms is in `docs/topology.md`.
//!
//! | part | models |
//! |---|---|
//! | `links` | what links carry, shared fairly |
//! | `client` | the habits of stock clients |
//! | `pieces` | what a host has, and what it asks for next |
//! | `swarm` | hosts, their connections, and blocks that move |
//! | `choking` | whom a client uploads to |
//! | `plain` | a tracker that answers by chance, and a seed like any other |
//! | `steered` | the tracker and the origin that know the racks |
//! | `run` | who comes and goes when, and what came of it |

mod choking;
mod client;
mod links;
mod pieces;
mod plain;
mod run;
mod scenario;
mod steered;
mod swarm;

#[cfg(test)]
mod tests;

pub use self::client::Client;
pub use self::run::run;
pub use self::scenario::{Disturbance, Outcome, Scenario, Steering};
