//! SHA-1 of many independent messages at a time: one 32-bit lane of a vector register each. Owns the compression
//! function in its variants and which of them this CPU can run and runs fastest. Refuses to know of messages: padding
//! and feeding is the caller's, as is everything about files.
//!
//! Names nothing of the crate around it, so that the fuzz target and the benchmark can take it in by path.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod measure;
mod scalar;

pub(crate) use measure::Plan;

/// The most lanes that any kernel has.
pub(crate) const MAX_LANES: usize = 16;

/// What is compressed at a time (FIPS 180-4, 5.2.1).
pub(crate) type Block = [u8; 64];

/// The state of one message: its digest, once its last block is compressed.
pub(crate) type State = [u32; 5];

/// FIPS 180-4, 5.3.1.
const INITIAL: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The constants of rounds 0, 20, 40 and 60 on (FIPS 180-4, 4.2.1).
#[cfg(target_arch = "x86_64")]
const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// The states of all lanes, word by word, as the vectors hold them.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct States([[u32; MAX_LANES]; 5]);

impl States {
    /// Every lane at the start of a message.
    pub(crate) fn new() -> Self {
        Self(INITIAL.map(|word| [word; MAX_LANES]))
    }

    /// Sets a lane to the start of a message.
    pub(crate) fn reset(&mut self, lane: usize) {
        self.set(lane, INITIAL);
    }

    pub(crate) fn get(&self, lane: usize) -> State {
        self.0.map(|words| words[lane])
    }

    pub(crate) fn set(&mut self, lane: usize, state: State) {
        for (words, word) in self.0.iter_mut().zip(state) {
            words[lane] = word;
        }
    }
}

/// A variant of the compression function that this CPU can run: only [`Kernel::find`] and [`Kernel::available`] make
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Scalar,
}

impl Kernel {
    /// One message after the other by the `sha1` crate, which takes the SHA extensions where there are any.
    pub(crate) const SCALAR: Self = Self(Kind::Scalar);

    /// Those that this CPU can run, the widest first.
    pub(crate) fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                kernels.push(Self(Kind::Avx512));
            }
            if is_x86_feature_detected!("avx2") {
                kernels.push(Self(Kind::Avx2));
            }
        }
        kernels.push(Self::SCALAR);
        kernels
    }

    /// The kernel of that name, if this CPU can run it.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|kernel| kernel.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            Kind::Scalar => "scalar",
        }
    }

    /// How many messages it works on at a time.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2::LANES,
            Kind::Scalar => 1,
        }
    }

    /// Compresses as many blocks of every lane as the shortest of its lanes has, and says how many. A lane that has
    /// no message can be given another one's blocks: what becomes of its state is of no interest.
    #[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
    pub(crate) fn compress(self, states: &mut States, lanes: &[&[Block]; MAX_LANES]) -> usize {
        let blocks = lanes[..self.lanes()].iter().map(|lane| lane.len()).min().unwrap_or(0);
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a kernel of this kind is only made where the CPU has AVX-512 F and BW.
            Kind::Avx512 => unsafe { avx512::compress(states, lanes, blocks) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a kernel of this kind is only made where the CPU has AVX2.
            Kind::Avx2 => unsafe { avx2::compress(states, lanes, blocks) },
            Kind::Scalar => scalar::compress(states, 0, &lanes[0][..blocks]),
        }
        blocks
    }

    /// Compresses blocks of a single lane, whichever kernel works on the others.
    pub(crate) fn compress_one(states: &mut States, lane: usize, blocks: &[Block]) {
        scalar::compress(states, lane, blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    /// What the `sha1` crate makes of the same blocks.
    fn judge(state: State, blocks: &[Block]) -> State {
        let mut state = state;
        sha1::block_api::compress(&mut state, blocks);
        state
    }

    #[test]
    fn every_kernel_agrees_with_the_crate_on_every_lane() {
        let mut rng = SmallRng::seed_from_u64(1);
        for kernel in Kernel::available() {
            for blocks in [1, 2, 3, 7, 16, 33] {
                let messages: Vec<Vec<Block>> = (0..MAX_LANES)
                    .map(|_| (0..blocks).map(|_| [(); 64].map(|()| rng.random())).collect())
                    .collect();
                let mut states = States::new();
                for lane in 0..MAX_LANES {
                    states.set(lane, [(); 5].map(|()| rng.random()));
                }
                let before = states.clone();
                let done = kernel.compress(&mut states, &std::array::from_fn(|lane| &messages[lane][..]));
                assert_eq!(done, blocks);
                for (lane, message) in messages.iter().enumerate() {
                    let expected = if lane < kernel.lanes() {
                        judge(before.get(lane), message)
                    } else {
                        before.get(lane)
                    };
                    assert_eq!(states.get(lane), expected, "{} lane {lane}", kernel.name());
                }
            }
        }
    }

    #[test]
    fn the_shortest_lane_says_how_far_to_go() {
        let long = [[1; 64]; 9];
        for kernel in Kernel::available() {
            for shortest in 0..kernel.lanes() {
                let mut states = States::new();
                let mut lanes: [&[Block]; MAX_LANES] = [&long; MAX_LANES];
                lanes[shortest] = &long[..4];
                assert_eq!(kernel.compress(&mut states, &lanes), 4);
                for lane in 0..kernel.lanes() {
                    assert_eq!(states.get(lane), judge(INITIAL, &long[..4]));
                }
                lanes[shortest] = &[];
                let before = states.get(0);
                assert_eq!(kernel.compress(&mut states, &lanes), 0);
                assert_eq!(states.get(0), before);
            }
        }
    }

    #[test]
    fn a_single_lane_leaves_the_others_alone() {
        let blocks = [[7; 64]; 3];
        let mut states = States::new();
        Kernel::compress_one(&mut states, 5, &blocks);
        for lane in 0..MAX_LANES {
            let expected = if lane == 5 { judge(INITIAL, &blocks) } else { INITIAL };
            assert_eq!(states.get(lane), expected);
        }
    }

    #[test]
    fn kernels_are_found_by_name() {
        for kernel in Kernel::available() {
            assert_eq!(Kernel::find(kernel.name()), Some(kernel));
        }
        assert_eq!(Kernel::find("neon"), None);
    }
}
