//! Messages of unequal length through the lanes of a kernel: what each lane has read, its padding, and which lanes go
//! together. Owns the buffers that are read into, all of them in [`BUFFER_LEN`] bytes. Refuses to know where the bytes
//! come from and whose digest it makes.
//!
//! A lane whose message ends takes the next one at once, so that pieces of one file and small files of many keep all
//! lanes busy. Where few have a message, each is compressed by itself. A message can be put aside in the middle, for
//! one that is wanted sooner.

use std::ops::Range;

use super::kernel::{Block, Kernel, MAX_LANES, Plan, State, States};

/// How much is read for a lane at a time: enough that system calls don't count, little enough that what sixteen lanes
/// read is still in the caches when it is hashed. On Zen 4 2 GiB took one thread 0.60 s with 16 KiB, 0.55 s with 32,
/// 0.51 s with 64 and 0.49 s with 128, which is too much for smaller caches.
pub(crate) const READ_LEN: usize = 64 * 1024;
const READ_BLOCKS: usize = READ_LEN / size_of::<Block>();

/// What a lane has in the buffer. The padding of a message fits behind a whole read; and the lanes start two lines of
/// the cache apart, where they would all contend for the same few at a distance of a power of two.
const LANE_BLOCKS: usize = READ_BLOCKS + 2;

/// The memory that lanes read into, in bytes.
pub(crate) const BUFFER_LEN: usize = MAX_LANES * LANE_BLOCKS * size_of::<Block>();

/// How many messages may lie aside.
pub(crate) const MAX_PARKED: usize = MAX_LANES;

/// The digest of a message.
pub(crate) type Digest = [u8; 20];

/// The lanes of one thread; `M` says which message is which.
#[derive(Debug)]
pub(crate) struct Lanes<M> {
    plan: Plan,
    states: States,
    lanes: Vec<Lane<M>>,
    buffer: Vec<Block>,
    /// Messages that gave way to others, at most [`MAX_PARKED`].
    parked: Vec<(Message<M>, State)>,
}

#[derive(Debug)]
struct Lane<M> {
    message: Option<Message<M>>,
    /// Which of the lane's blocks in the buffer are still to be compressed.
    ready: Range<usize>,
}

#[derive(Debug)]
struct Message<M> {
    which: M,
    len: u64,
    read: u64,
}

impl<M> Lanes<M> {
    pub(crate) fn new(plan: Plan) -> Self {
        let count = plan.kernel.lanes();
        Self {
            plan,
            states: States::new(),
            lanes: (0..count).map(|_| Lane { message: None, ready: 0..0 }).collect(),
            buffer: vec![[0; size_of::<Block>()]; count * LANE_BLOCKS],
            parked: Vec::new(),
        }
    }

    /// Whether a lane has no message.
    pub(crate) fn has_room(&self) -> bool {
        self.lanes.iter().any(|lane| lane.message.is_none())
    }

    /// Whether there is no message, in a lane or aside.
    pub(crate) fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.lanes.iter().all(|lane| lane.message.is_none())
    }

    /// Puts the message of the least rank aside, if that is below this one, so that its lane can take another: a long
    /// one would hold it for a while. Only where nothing of it waits in the buffer, which is so for some lane after
    /// each turn. Says whether there is room now.
    pub(crate) fn park<R: Ord>(&mut self, rank: impl Fn(&M) -> R, below: &R) -> bool {
        if self.parked.len() == MAX_PARKED {
            return false;
        }
        let ranked = self.lanes.iter().enumerate().filter(|(_, lane)| lane.ready.is_empty());
        let ranked = ranked.filter_map(|(index, lane)| Some((rank(&lane.message.as_ref()?.which), index)));
        let Some((least, index)) = ranked.min() else { return false };
        if least < *below
            && let Some(message) = self.lanes[index].message.take()
        {
            self.parked.push((message, self.states.get(index)));
            return true;
        }
        false
    }

    /// The highest rank of those that lie aside.
    pub(crate) fn parked<R: Ord>(&self, rank: impl Fn(&M) -> R) -> Option<R> {
        self.parked.iter().map(|(message, _)| rank(&message.which)).max()
    }

    /// Goes on with the one of the highest rank of those that lie aside, if there is one and a lane for it.
    pub(crate) fn resume<R: Ord>(&mut self, rank: impl Fn(&M) -> R) -> bool {
        let Some(lane) = self.lanes.iter().position(|lane| lane.message.is_none()) else { return false };
        let highest = (0..self.parked.len()).max_by_key(|&at| rank(&self.parked[at].0.which));
        let Some((message, state)) = highest.map(|at| self.parked.swap_remove(at)) else { return false };
        self.states.set(lane, state);
        self.lanes[lane] = Lane { message: Some(message), ready: 0..0 };
        true
    }

    /// Takes all messages out, wherever they are.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = M> {
        let lanes = self.lanes.iter_mut().filter_map(|lane| {
            lane.ready = 0..0;
            lane.message.take()
        });
        lanes.chain(self.parked.drain(..).map(|(message, _)| message)).map(|message| message.which)
    }

    /// Gives a message of `len` bytes to a lane that has none; gives it back where there is no such lane.
    pub(crate) fn start(&mut self, which: M, len: u64) -> Result<(), M> {
        let Some(index) = self.lanes.iter().position(|lane| lane.message.is_none()) else {
            return Err(which);
        };
        self.states.reset(index);
        self.lanes[index] = Lane { message: Some(Message { which, len, read: 0 }), ready: 0..0 };
        Ok(())
    }

    /// Reads on where a lane has nothing left to compress, then compresses as much as all lanes have.
    ///
    /// `read` fills a slice with what stands at an offset of a message. What `permit` gives is held while it
    /// compresses and neither while it reads nor while `done` is called. That gets each message that has its digest,
    /// and each that can't be read, which leaves its lane.
    pub(crate) fn turn<E, P>(
        &mut self,
        mut read: impl FnMut(&M, u64, &mut [u8]) -> Result<(), E>,
        permit: impl FnOnce() -> P,
        mut done: impl FnMut(M, Result<Digest, E>),
    ) {
        for (lane, blocks) in self.lanes.iter_mut().zip(self.buffer.chunks_exact_mut(LANE_BLOCKS)) {
            if let Err((which, error)) = lane.read_on(blocks.as_flattened_mut(), &mut read) {
                done(which, Err(error));
            }
        }
        let permit = permit();
        self.compress();
        drop(permit);
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if lane.ready.is_empty()
                && let Some(message) = lane.message.take_if(|message| message.read == message.len)
            {
                let mut digest = [0; 20];
                for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.states.get(index)) {
                    *bytes = word.to_be_bytes();
                }
                done(message.which, Ok(digest));
            }
        }
    }

    fn compress(&mut self) {
        let busy = self.lanes.iter().filter(|lane| !lane.ready.is_empty()).count();
        if busy < self.plan.worth_from {
            for (index, lane) in self.lanes.iter_mut().enumerate() {
                let blocks = &self.buffer[index * LANE_BLOCKS..][lane.ready.clone()];
                Kernel::compress_one(&mut self.states, index, blocks);
                lane.ready = 0..0;
            }
            return;
        }
        let mut blocks: [&[Block]; MAX_LANES] = [&[]; MAX_LANES];
        let mut any: &[Block] = &[];
        for (index, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| !lane.ready.is_empty()) {
            blocks[index] = &self.buffer[index * LANE_BLOCKS..][lane.ready.clone()];
            any = blocks[index];
        }
        for idle in blocks.iter_mut().filter(|blocks| blocks.is_empty()) {
            *idle = any;
        }
        let compressed = self.plan.kernel.compress(&mut self.states, &blocks);
        for lane in self.lanes.iter_mut().filter(|lane| !lane.ready.is_empty()) {
            lane.ready.start += compressed;
        }
    }
}

impl<M> Lane<M> {
    fn read_on<E>(
        &mut self,
        buffer: &mut [u8],
        read: &mut impl FnMut(&M, u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), (M, E)> {
        if !self.ready.is_empty() {
            return Ok(());
        }
        let Some(message) = &mut self.message else { return Ok(()) };
        let left = message.len - message.read;
        let want = usize::try_from(left).map_or(READ_LEN, |left| left.min(READ_LEN));
        match read(&message.which, message.read, &mut buffer[..want]) {
            Ok(()) => {
                message.read += want as u64;
                let end = message.read == message.len;
                self.ready = 0..if end { pad(buffer, want, message.len) } else { READ_BLOCKS };
                Ok(())
            }
            Err(error) => match self.message.take() {
                Some(message) => Err((message.which, error)),
                None => Ok(()),
            },
        }
    }
}

/// Ends a message of `len` bytes, the last `at` of which lie in the buffer (FIPS 180-4, 5.1.1), and says how many
/// blocks lie there now.
fn pad(buffer: &mut [u8], at: usize, len: u64) -> usize {
    let blocks = (at + 1 + size_of::<u64>()).div_ceil(size_of::<Block>());
    let end = blocks * size_of::<Block>();
    let length_at = end - size_of::<u64>();
    buffer[at] = 0x80;
    buffer[at + 1..length_at].fill(0);
    buffer[length_at..end].copy_from_slice(&len.wrapping_mul(8).to_be_bytes());
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, RngExt, SeedableRng};
    use sha1::{Digest as _, Sha1};

    fn plans() -> impl Iterator<Item = Plan> {
        let together = Kernel::available().into_iter().map(Plan::forced);
        let mixed = Kernel::available().into_iter().map(|kernel| Plan { kernel, worth_from: 3 });
        together.chain(mixed).chain([Plan::measured()])
    }

    /// Hashes the messages, at most `at_a_time` of them together, and checks every digest.
    fn check(plan: Plan, messages: &[Vec<u8>], at_a_time: usize) {
        let mut lanes = Lanes::new(plan);
        let (mut next, mut under_way, mut digests) = (0, 0, vec![None; messages.len()]);
        while digests.iter().any(Option::is_none) {
            while lanes.has_room() && under_way < at_a_time && next < messages.len() {
                assert_eq!(lanes.start(next, messages[next].len() as u64), Ok(()));
                (next, under_way) = (next + 1, under_way + 1);
            }
            lanes.turn(
                |&which, offset, buffer| {
                    let at = usize::try_from(offset).unwrap();
                    buffer.copy_from_slice(&messages[which][at..at + buffer.len()]);
                    Ok::<_, ()>(())
                },
                || (),
                |which, digest| {
                    under_way -= 1;
                    assert!(digests[which].replace(digest.unwrap()).is_none());
                },
            );
        }
        assert!(lanes.is_empty());
        for (message, digest) in messages.iter().zip(digests) {
            let expected: Digest = Sha1::digest(message).into();
            assert_eq!(digest, Some(expected), "{plan:?}, {} bytes of {at_a_time}", message.len());
        }
    }

    fn messages(rng: &mut SmallRng, lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
        let message = |length| {
            let mut message = vec![0; length];
            rng.fill_bytes(&mut message);
            message
        };
        lengths.into_iter().map(message).collect()
    }

    #[test]
    fn random_lengths_agree_with_the_crate_for_every_number_of_lanes() {
        let mut rng = SmallRng::seed_from_u64(2);
        for plan in plans() {
            for at_a_time in 1..=MAX_LANES {
                let lengths: Vec<usize> =
                    (0..2 * at_a_time).map(|_| rng.random_range(0..3 * READ_LEN)).collect();
                check(plan, &messages(&mut rng, lengths), at_a_time);
            }
        }
    }

    #[test]
    fn every_tail_agrees_with_the_crate() {
        let mut rng = SmallRng::seed_from_u64(3);
        let around = |length: usize| length.saturating_sub(70)..length + 70;
        let messages = messages(&mut rng, (0..200).chain(around(READ_LEN)).chain(around(2 * READ_LEN)));
        for plan in plans() {
            check(plan, &messages, MAX_LANES);
        }
    }

    #[test]
    fn a_message_that_gave_way_goes_on_where_it_was() {
        let mut rng = SmallRng::seed_from_u64(4);
        for plan in plans() {
            let count = plan.kernel.lanes();
            let messages = messages(&mut rng, (0..3 * count).map(|n| 4 * READ_LEN + n));
            let mut lanes = Lanes::new(plan);
            let mut digests = vec![None; messages.len()];
            let mut turn = |lanes: &mut Lanes<usize>| {
                lanes.turn(
                    |&which, offset, buffer| {
                        let at = usize::try_from(offset).unwrap();
                        buffer.copy_from_slice(&messages[which][at..at + buffer.len()]);
                        Ok::<_, ()>(())
                    },
                    || (),
                    |which, digest| digests[which] = Some(digest.unwrap()),
                );
            };
            for (which, message) in messages.iter().enumerate() {
                if !lanes.has_room() && !lanes.park(|&which| which, &which) {
                    assert_eq!(lanes.parked(|&which| which), Some(MAX_PARKED.min(which) - 1));
                    while !lanes.has_room() {
                        turn(&mut lanes);
                    }
                }
                assert_eq!(lanes.start(which, message.len() as u64), Ok(()));
                turn(&mut lanes);
            }
            assert!(!lanes.park(|&which| which, &0), "none is below the least");
            while !lanes.is_empty() {
                while lanes.resume(|&which| which) {}
                turn(&mut lanes);
            }
            for (message, digest) in messages.iter().zip(digests) {
                assert_eq!(digest, Some(Sha1::digest(message).into()), "{plan:?}");
            }
        }
    }

    #[test]
    fn a_message_that_cannot_be_read_leaves_the_others_alone() {
        let text = b"one of many";
        for plan in plans() {
            let mut lanes = Lanes::new(plan);
            let mut count = 0;
            while lanes.start(count, text.len() as u64).is_ok() {
                count += 1;
            }
            assert_eq!(count, plan.kernel.lanes());
            let read = |&which: &usize, _: u64, buffer: &mut [u8]| {
                buffer.copy_from_slice(text);
                if which == 0 { Err("broken") } else { Ok(()) }
            };
            let mut ended = Vec::new();
            lanes.turn(read, || (), |which, digest| ended.push((which, digest)));
            ended.sort();
            let expected: Digest = Sha1::digest(text).into();
            assert_eq!(ended.len(), count);
            assert_eq!(ended[0], (0, Err("broken")));
            assert!(ended[1..].iter().all(|(_, digest)| *digest == Ok(expected)));
            assert!(lanes.is_empty());
        }
    }
}
