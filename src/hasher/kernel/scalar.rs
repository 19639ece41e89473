//! One message at a time by the `sha1` crate: the kernel for every other CPU, for a few messages among many lanes, and
//! the judge of the others. Owns no arithmetic.

use super::{Block, States};

pub(super) fn compress(states: &mut States, lane: usize, blocks: &[Block]) {
    let mut state = states.get(lane);
    sha1::block_api::compress(&mut state, blocks);
    states.set(lane, state);
}
