//! Files through the whole room: what comes out, and what is left out.

use super::*;
use std::path::Path;
use std::time::Duration;

use sha1::{Digest, Sha1};
use tempfile::TempDir;

use crate::files::{Binding, FilePath};

struct Bench {
    /// The first of the roots.
    dir: TempDir,
    roots: Arc<Roots>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let roots = Arc::new(Roots::open(&[dir.path().to_owned()]).unwrap());
        Self { dir, roots }
    }

    fn write(&self, name: &str, contents: &[u8]) -> SettledFile {
        let path = self.dir.path().join(name);
        std::fs::write(&path, contents).unwrap();
        self.settled(name, &path)
    }

    fn settled(&self, name: &str, path: &Path) -> SettledFile {
        let (root, _) = self.roots.iter().find(|(_, root)| path.starts_with(root.path())).unwrap();
        let binding = Binding::of(&std::fs::metadata(path).unwrap());
        SettledFile { at: FilePath::new(root, name), target: Path::new(name).into(), binding }
    }

    fn start(&self, config: HashingConfig) -> (Hasher, mpsc::Receiver<Hashed>) {
        Hasher::start(&config, Arc::clone(&self.roots)).unwrap()
    }
}

fn contents(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|n| ((n + seed) % 251) as u8).collect()
}

#[track_caller]
fn assert_describes(info: &Info, contents: &[u8]) {
    let piece_len = info.geometry().piece_len() as usize;
    assert_eq!(info.geometry().piece_count() as usize, contents.len().div_ceil(piece_len));
    for (piece, chunk) in info.geometry().pieces().zip(contents.chunks(piece_len)) {
        let expected: [u8; 20] = Sha1::digest(chunk).into();
        assert_eq!(info.piece_hash(piece).unwrap()[..], expected, "piece {piece}");
    }
}

/// Every kernel that this CPU has, on one thread and on several.
fn configs() -> Vec<HashingConfig> {
    let mut configs = Vec::new();
    for kernel in [Sha1Kernel::Fastest, Sha1Kernel::Avx512, Sha1Kernel::Avx2, Sha1Kernel::Scalar] {
        for threads in [1, 3] {
            if plan(kernel).is_ok() {
                configs.push(HashingConfig {
                    threads: NonZeroUsize::new(threads),
                    idle_io: threads == 3,
                    kernel,
                });
            }
        }
    }
    configs
}

#[test]
fn every_piece_of_every_file_is_hashed_by_itself() {
    let bench = Bench::new();
    // Fewer and more pieces than lanes, short files among them, ends on and off every boundary.
    let lengths = [1, 55, 56, 64, 65_535, 65_536, 65_537, 150_000, 1 << 20, (1 << 20) + 1, 3_333_333];
    let files: Vec<_> = (lengths.into_iter().enumerate())
        .map(|(seed, len)| (bench.write(&seed.to_string(), &contents(seed, len)), contents(seed, len)))
        .collect();
    for config in configs() {
        let (hasher, mut results) = bench.start(config);
        let tickets: Vec<_> = files.iter().map(|(file, _)| hasher.submit(file.clone(), true)).collect();
        for _ in &files {
            let Hashed { file, result } = results.blocking_recv().unwrap();
            let info = result.unwrap();
            let (_, contents) = files.iter().find(|(submitted, _)| *submitted == file).unwrap();
            assert_describes(&info, contents);
            assert_eq!(info.name(), file.name());
            assert!(info.is_private());
        }
        assert!(results.try_recv().is_err());
        let status = hasher.progress().status();
        assert_eq!((status.files_left, status.bytes_left), (0, 0));
        // It counts from when there was nothing left, which may have been between two of them.
        assert!((1..=lengths.iter().sum::<usize>() as u64).contains(&status.bytes_done));
        drop(tickets);
    }
}

#[test]
fn many_small_files_go_together() {
    let bench = Bench::new();
    let files: Vec<_> = (0..500).map(|n| bench.write(&n.to_string(), &contents(n, 1 + n * 37))).collect();
    let (hasher, mut results) = bench.start(HashingConfig::default());
    let _tickets: Vec<_> = files.iter().map(|file| hasher.submit(file.clone(), false)).collect();
    for _ in &files {
        let Hashed { file, result } = results.blocking_recv().unwrap();
        let n: usize = std::str::from_utf8(file.name()).unwrap().parse().unwrap();
        assert_describes(&result.unwrap(), &contents(n, 1 + n * 37));
    }
}

#[test]
fn a_file_that_cannot_be_hashed_leaves_the_others_alone() {
    let bench = Bench::new();
    let good = bench.write("good", &contents(0, 400_000));
    let changed = bench.write("changed", &contents(1, 400_000));
    bench.write("changed", b"shorter");
    let gone = bench.write("gone", b"soon");
    std::fs::remove_file(bench.dir.path().join("gone")).unwrap();
    let empty = bench.write("empty", b"");
    for config in configs() {
        let (hasher, mut results) = bench.start(config);
        let files = [&good, &changed, &gone, &empty];
        let _tickets = files.map(|file| hasher.submit(file.clone(), true));
        for _ in files {
            let Hashed { file, result } = results.blocking_recv().unwrap();
            match (file.name(), result) {
                (b"good", Ok(info)) => assert_describes(&info, &contents(0, 400_000)),
                (b"changed", Err(HashError::Changed))
                | (b"gone", Err(HashError::Io(_)))
                | (b"empty", Err(HashError::Geometry(_))) => {}
                (name, result) => panic!("{}: {result:?}", String::from_utf8_lossy(name)),
            }
        }
        assert_eq!(hasher.progress().status().bytes_left, 0);
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_hashed_has_changed() {
    let bench = Bench::new();
    let file = bench.write("file", &contents(0, 1 << 20));
    let job = Arc::new(Job::new(
        file,
        true,
        HashingProgress::default().begin(1 << 20, Instant::now()),
        Arc::default(),
    ));
    let open = Arc::new(job::OpenFile::open(&bench.roots, job, Arc::default()).unwrap());
    let piece = job::Piece::new(Arc::clone(&open), 15).unwrap();
    let mut buffer = [0; 1000];
    piece.read(0, &mut buffer).unwrap();
    bench.write("file", b"short");
    assert!(matches!(piece.read(1000, &mut buffer), Err(HashError::Changed)));
}

#[test]
fn a_file_that_is_written_to_while_it_is_hashed_has_changed() {
    let bench = Bench::new();
    let file = bench.write("file", &contents(0, 1000));
    let job = Arc::new(Job::new(
        file,
        true,
        HashingProgress::default().begin(1000, Instant::now()),
        Arc::default(),
    ));
    let open = Arc::new(job::OpenFile::open(&bench.roots, job, Arc::default()).unwrap());
    let piece = job::Piece::new(Arc::clone(&open), 0).unwrap();
    bench.write("file", &contents(1, 1001));
    assert!(matches!(piece.hashed([0; 20]), Some(Err(HashError::Changed))));
}

#[test]
fn what_is_called_off_has_no_result() {
    let bench = Bench::new();
    let (hasher, mut results) =
        bench.start(HashingConfig { threads: NonZeroUsize::new(1), ..Default::default() });
    // A sparse file that takes longer than anybody waits.
    let path = bench.dir.path().join("large");
    std::fs::File::create(&path).unwrap().set_len(1 << 42).unwrap();
    let large = hasher.submit(bench.settled("large", &path), true);
    while hasher.progress().status().bytes_done == 0 {
        std::thread::yield_now();
    }
    drop(large);
    assert_eq!(hasher.progress().status().files_left, 0);
    let small = bench.write("small", b"text");
    let _ticket = hasher.submit(small.clone(), true);
    let hashed = results.blocking_recv().unwrap();
    assert_eq!(hashed.file, small);
    assert!(hashed.result.is_ok());
}

#[test]
fn a_new_file_does_not_wait_for_an_old_one_to_end() {
    let bench = Bench::new();
    let path = bench.dir.path().join("large");
    let large = std::fs::File::create(&path).unwrap();
    large.set_len(1 << 42).unwrap();
    large.set_modified(std::time::SystemTime::now() - Duration::from_secs(1000)).unwrap();
    let (hasher, mut results) =
        bench.start(HashingConfig { threads: NonZeroUsize::new(1), ..Default::default() });
    let _old = hasher.submit(bench.settled("large", &path), true);
    while hasher.progress().status().bytes_done == 0 {
        std::thread::yield_now();
    }
    let small = bench.write("small", b"text");
    let _new = hasher.submit(small.clone(), true);
    assert_eq!(results.blocking_recv().unwrap().file, small);
}

/// A disk that is slow for ever could hold it up for ever.
#[test]
fn a_file_does_not_wait_for_newer_ones_on_another_device() {
    let (dir, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    let roots = Arc::new(Roots::open(&[dir.path().to_owned(), memory.path().to_owned()]).unwrap());
    let bench = Bench { dir, roots };
    let path = memory.path().join("old");
    std::fs::write(&path, contents(0, 400_000)).unwrap();
    let old = bench.settled("old", &path);
    // They take longer than anybody waits.
    let newer: Vec<_> = (0..3)
        .map(|n| {
            let path = bench.dir.path().join(n.to_string());
            std::fs::File::create(&path).unwrap().set_len(1 << 42).unwrap();
            bench.settled(&n.to_string(), &path)
        })
        .collect();
    assert_ne!(
        old.binding.device(),
        newer[0].binding.device(),
        "they are on one device, and nothing is shown"
    );
    for threads in [1, 3] {
        let (hasher, mut results) =
            bench.start(HashingConfig { threads: NonZeroUsize::new(threads), ..Default::default() });
        let _newer: Vec<_> = newer.iter().map(|file| hasher.submit(file.clone(), true)).collect();
        while hasher.progress().status().bytes_done == 0 {
            std::thread::yield_now();
        }
        let _old = hasher.submit(old.clone(), true);
        let Hashed { file, result } = results.blocking_recv().unwrap();
        assert_eq!(file, old);
        assert_describes(&result.unwrap(), &contents(0, 400_000));
    }
}

#[test]
fn a_kernel_that_this_cpu_lacks_is_refused_in_words() {
    let available = Kernel::available().into_iter().map(Kernel::name).collect();
    let error = HashingError::Kernel { kernel: Sha1Kernel::Avx512, available };
    assert!(error.to_string().contains("scalar"), "{error}");
    assert!(plan(Sha1Kernel::Scalar).is_ok());
}
