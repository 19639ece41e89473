//! Messages of any lengths through the lanes of any kernel: each gets the digest that the `sha1` crate gives, whatever
//! gave way to it or it gave way to, and one that can't be read leaves the others alone.
//!
//! The kernels and the lanes are taken in by path: nothing of them is part of the program's interface.
#![no_main]
// Not all that the program uses is used here.
#![allow(dead_code)]

#[path = "../../src/hasher/kernel/mod.rs"]
mod kernel;
#[path = "../../src/hasher/lanes.rs"]
mod lanes;

use arbitrary::Arbitrary;
use kernel::{Kernel, MAX_LANES, Plan};
use lanes::{Lanes, READ_LEN};
use libfuzzer_sys::fuzz_target;
use sha1::{Digest, Sha1};

/// Enough that every lane gets several.
const MAX_MESSAGES: usize = 3 * MAX_LANES;

#[derive(Arbitrary, Debug)]
struct Load {
    kernel: u8,
    worth_from: u8,
    at_a_time: u8,
    /// Each with where in `text` it begins, and whether a later read of it fails.
    messages: Vec<(u32, u8, bool)>,
    text: Vec<u8>,
}

fn contents(load: &Load, len: usize, start: u8) -> Vec<u8> {
    // Never the same in two blocks, lest a block in the place of another goes unseen.
    (0..len)
        .map(|n| {
            load.text.get((n + usize::from(start)) % load.text.len().max(1)).unwrap_or(&0) ^ (n / 64) as u8
        })
        .collect()
}

fuzz_target!(|load: Load| {
    let kernels = Kernel::available();
    let kernel = kernels[usize::from(load.kernel) % kernels.len()];
    let mut lanes = Lanes::new(Plan { kernel, worth_from: usize::from(load.worth_from) % (MAX_LANES + 2) });
    let at_a_time = 1 + usize::from(load.at_a_time) % MAX_MESSAGES;
    let messages: Vec<(Vec<u8>, bool)> = (load.messages.iter().take(MAX_MESSAGES))
        .map(|&(len, start, fails)| (contents(&load, len as usize % (2 * READ_LEN + 200), start), fails))
        .collect();

    // Which gives way to which; a prime, so that it is another order than that in which they come.
    let rank = |which: &usize| *which * 31 % 47;
    let (mut next, mut under_way, mut ended) = (0, 0, vec![false; messages.len()]);
    while ended.contains(&false) {
        while under_way < at_a_time && next < messages.len() {
            if !lanes.has_room() && !lanes.park(rank, &rank(&next)) {
                break;
            }
            lanes.start(next, messages[next].0.len() as u64).expect("there is room");
            (next, under_way) = (next + 1, under_way + 1);
        }
        while lanes.resume(rank) {}
        lanes.turn(
            |&which, offset, buffer| {
                let (text, fails) = &messages[which];
                let offset = offset as usize;
                buffer.copy_from_slice(&text[offset..offset + buffer.len()]);
                if *fails && offset > 0 { Err(()) } else { Ok(()) }
            },
            || (),
            |which, digest| {
                under_way -= 1;
                let (text, fails) = &messages[which];
                match digest {
                    Ok(digest) => assert_eq!(
                        digest[..],
                        Sha1::digest(text)[..],
                        "{} bytes by {}",
                        text.len(),
                        kernel.name()
                    ),
                    Err(()) => assert!(fails),
                }
                assert!(!std::mem::replace(&mut ended[which], true), "once");
            },
        );
    }
    assert!(lanes.is_empty());
});
