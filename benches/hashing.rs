//! How fast files are hashed, beside the limits: the kernels over a buffer that stays in the caches, and `pread` from
//! the page cache.
//!
//! ```text
//! cargo bench --bench hashing [-- MIB]        # a file of 2,048 MiB unless said otherwise, in $TMPDIR
//! ```
//!
//! `benches/hashing-peers` sets it beside what others do.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

// By path: nothing of it is part of the program's interface, and not all of it is used here.
#[allow(dead_code, unused_imports)]
#[path = "../src/hasher/kernel/mod.rs"]
mod kernel;
#[allow(dead_code, unused_imports)]
#[path = "../src/hasher/lanes.rs"]
mod lanes;

use kernel::{Block, Kernel, MAX_LANES, Plan, States};
use lanes::READ_LEN;

const MIB: u64 = 1024 * 1024;
const TAKES: usize = 3;
/// For the bare kernels, of each lane.
const SAMPLE: usize = 64 * 1024 * 1024;

fn main() {
    // Tests of all targets run this too; they have no time for it.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("to measure: cargo bench --bench hashing");
        return;
    }
    let size = arguments.iter().find_map(|argument| argument.parse::<u64>().ok()).unwrap_or(2048) * MIB;

    let (plan, took) = timed(Plan::measured);
    println!("chosen here: {}, from {} lanes on (in {took:.1?})", plan.kernel.name(), plan.worth_from);
    println!("\nkernels over {} KiB a lane, one thread", READ_LEN / 1024);
    for kernel in Kernel::available() {
        report(kernel.name(), bare(kernel), (SAMPLE * kernel.lanes()) as u64);
    }

    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("file");
    fill(&path, size);
    println!("\na file of {} MiB in the page cache", size / MIB);
    let file = File::open(&path).expect("it was made");
    let read = least(|| read_in_lanes(&file, size));
    report("pread alone, one thread, 16 ranges", read, size);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    for kernel in Kernel::available() {
        for threads in std::iter::successors(Some(1), |threads| Some(threads * 2))
            .take_while(|threads| *threads <= processors)
        {
            let hashing = least(|| torrent(&path, kernel, threads));
            report(&format!("distributor torrent, {}, {threads} threads", kernel.name()), hashing, size);
        }
    }
}

fn report(what: &str, time: Duration, bytes: u64) {
    println!("{what:48} {:8.3} s {:8.0} MB/s", time.as_secs_f64(), bytes as f64 / 1e6 / time.as_secs_f64());
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

fn least(mut work: impl FnMut()) -> Duration {
    (0..TAKES).map(|_| timed(&mut work).1).min().unwrap_or_default()
}

fn bare(kernel: Kernel) -> Duration {
    let blocks = READ_LEN / size_of::<Block>();
    // As the lanes lie in their buffer: two lines apart.
    let stride = blocks + 2;
    let buffer = vec![[0x5a; size_of::<Block>()]; MAX_LANES * stride];
    let lanes: [&[Block]; MAX_LANES] = std::array::from_fn(|lane| &buffer[lane * stride..][..blocks]);
    let mut states = States::new();
    least(|| {
        for _ in 0..SAMPLE / READ_LEN {
            kernel.compress(black_box(&mut states), black_box(&lanes));
        }
    })
}

fn fill(path: &Path, size: u64) {
    let mut file = File::create(path).expect("a file can be made");
    let mut rng = SmallRng::seed_from_u64(1);
    let mut buffer = vec![0; MIB as usize];
    for _ in 0..size / MIB {
        rng.fill_bytes(&mut buffer);
        file.write_all(&buffer).expect("there is room for the file");
    }
    // Written back now, lest that be measured.
    file.sync_all().expect("it can be written back");
}

/// Reads as the lanes of one thread do: sixteen pieces side by side, a little of each in turn.
fn read_in_lanes(file: &File, size: u64) {
    let piece = 2 * MIB;
    let mut buffer = vec![0; MAX_LANES * (READ_LEN + 128)];
    for start in (0..size).step_by(piece as usize * MAX_LANES) {
        for offset in (0..piece).step_by(READ_LEN) {
            for (lane, buffer) in buffer.chunks_exact_mut(READ_LEN + 128).enumerate() {
                let at = start + lane as u64 * piece + offset;
                if at < size {
                    file.read_exact_at(&mut buffer[..READ_LEN], at).expect("it can be read");
                }
            }
        }
    }
    black_box(buffer);
}

fn torrent(path: &Path, kernel: Kernel, threads: usize) {
    let status = Command::new(env!("CARGO_BIN_EXE_distributor"))
        .args(["torrent", "--output", "-", "--hash-threads", &threads.to_string(), "--sha1", kernel.name()])
        .arg(path)
        .stdout(Stdio::null())
        .status()
        .expect("the program can be run");
    assert!(status.success());
}
