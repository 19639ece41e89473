//! A peer that means harm, in as many ways as we could think of. After each the program must be up, serve honest peers,
//! and have nothing to say of a panic.
//!
//! Some attacks are where the rules are that they break: `wire`, `regression_load`.

mod attacks;
mod dialled;
mod hold_off;
mod limits;
mod standing;
mod storm;
mod tables;

use std::net::{IpAddr, Ipv4Addr};

use crate::support::seed::Seed;

/// Where no violations were counted yet: each of these is a host of its own to the server.
fn host(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 77, number))
}

/// Panics unless the program is up, serves newcomers, and has nothing to say of a panic.
#[track_caller]
fn assert_unharmed(seed: &Seed) {
    seed.assert_serves();
    let said = seed.server.log_lines("panic");
    assert!(said.is_empty(), "{said:?}");
}
