//! Clients of all kinds in one swarm, each with its own dialect, its own way to choose pieces and peers.

use super::{LEN, RATE, exchange};
use crate::support::clients::{Client, Launch};
use crate::support::files::Contents;
use crate::support::swarm::Swarm;

#[test]
fn seven_clients_of_seven_kinds_help_each_other_where_the_origin_sends_too_slowly() {
    let swarm = Swarm::with(7, |setup| setup.option("--max-upload-rate", RATE));
    exchange(&swarm, &Client::ALL.map(Launch::from), &Contents::new(1, LEN));
}
