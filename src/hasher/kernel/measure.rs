//! Which kernel to take, and for how many messages: measured on this CPU, once. A table of CPU models would be wrong
//! about the next one: SHA extensions beat eight lanes on some and lose by half on others, and wide vectors lower some
//! clocks. Takes about two milliseconds and changes nothing but the time that hashing takes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::{Block, Kernel, MAX_LANES, States};

/// Of each lane, at a time: with sixteen lanes as much as a small L2 cache holds.
const SAMPLE: usize = 8 * 1024 / size_of::<Block>();
/// The least of so many takes counts; whatever else runs can only make one longer.
const TAKES: usize = 5;

/// What to compress lanes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// For lanes together.
    pub(crate) kernel: Kernel,
    /// From so many lanes with a message on, `kernel` beats compressing each by itself.
    pub(crate) worth_from: usize,
}

impl Plan {
    /// What is fastest here.
    pub(crate) fn measured() -> Self {
        let one = time_of(Kernel::SCALAR);
        let per_lane =
            |&(kernel, time): &(Kernel, Duration)| time / u32::try_from(kernel.lanes()).unwrap_or(1);
        let fastest = Kernel::available()
            .into_iter()
            .map(|kernel| (kernel, if kernel == Kernel::SCALAR { one } else { time_of(kernel) }))
            .min_by_key(per_lane);
        let (kernel, time) = fastest.unwrap_or((Kernel::SCALAR, one));
        let worth_from = time.as_nanos().div_ceil(one.as_nanos().max(1));
        Self { kernel, worth_from: usize::try_from(worth_from).unwrap_or(MAX_LANES).max(1) }
    }

    /// This kernel whatever is faster, for tests of it: also where a single lane has a message.
    pub(crate) fn forced(kernel: Kernel) -> Self {
        Self { kernel, worth_from: 1 }
    }
}

/// How long a kernel takes for a sample of each of its lanes.
fn time_of(kernel: Kernel) -> Duration {
    let sample = vec![[0x5a; size_of::<Block>()]; SAMPLE];
    let mut states = States::new();
    let takes = (0..TAKES).map(|_| {
        let started = Instant::now();
        kernel.compress(black_box(&mut states), black_box(&[&sample[..]; MAX_LANES]));
        started.elapsed()
    });
    takes.min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_kernel_that_is_there() {
        let plan = Plan::measured();
        assert!(Kernel::available().contains(&plan.kernel));
        assert!((1..=plan.kernel.lanes().max(1)).contains(&plan.worth_from), "{plan:?}");
    }
}
