//! Files to download: their contents follow from a seed, and what arrives is compared by SHA-256.

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// The smallest piece that the program makes.
pub(crate) const PIECE: usize = 64 * KIB;

/// Bytes and what they hash to.
pub(crate) struct Contents {
    bytes: Vec<u8>,
    digest: String,
}

impl Contents {
    /// Bytes that look random; another seed gives others.
    pub(crate) fn new(seed: u64, len: usize) -> Self {
        // xorshift64*: https://doi.org/10.1145/2845077. Its state must not be zero.
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        bytes.truncate(len);
        bytes.into()
    }

    /// 200 MiB, made once for all tests.
    pub(crate) fn big() -> &'static Self {
        static BIG: OnceLock<Contents> = OnceLock::new();
        BIG.get_or_init(|| Self::new(200, 200 * MIB))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn write(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        fs::write(path, &self.bytes)
            .unwrap_or_else(|error| panic!("can't write {}: {error}", path.display()));
    }

    /// Writes it and dates it so many seconds back.
    pub(crate) fn write_aged(&self, path: impl AsRef<Path>, seconds: u64) {
        self.write(&path);
        let date = SystemTime::now() - Duration::from_secs(seconds);
        let file = File::options().write(true).open(path).expect("the file can be opened");
        file.set_times(FileTimes::new().set_modified(date)).expect("the file can be dated");
    }

    /// Panics unless the file at `path` holds these bytes and no others.
    pub(crate) fn assert_same(&self, path: impl AsRef<Path>, who: &str) {
        let path = path.as_ref();
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("can't read {}: {error}", path.display()));
        assert_eq!(bytes.len(), self.bytes.len(), "{who} got a file of another length");
        assert_eq!(digest(&bytes), self.digest, "{who} got other bytes than the file holds");
    }
}

impl From<Vec<u8>> for Contents {
    fn from(bytes: Vec<u8>) -> Self {
        let digest = digest(&bytes);
        Self { bytes, digest }
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
