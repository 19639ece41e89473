//! One file as it is remembered, and that as bytes. Owns the format of a record; where records lie is not known here.
//!
//! ```text
//! version 1 | flags 1 | size 8 | mtime 12 | ctime 12 | birth 12 | piece length 4 | metadata length 4
//! | info hash 20 | day 4 | name 2 + n | path 2 + n | check 8
//! ```
//!
//! Numbers are little-endian. The check is the beginning of the SHA-1 of the inode's number and all that goes before:
//! the database vouches for its pages only when it repairs itself, and a record that lies costs a swarm of hosts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use distributor_proto::{InfoHash, MAX_NAME_LEN};
use sha1::{Digest, Sha1};

use crate::files::{Binding, InodeId, Timestamp};

/// The one format that is written and read. Another one is none that we know, and its file is hashed anew.
const VERSION: u8 = 1;
const PRIVATE: u8 = 1;
const HAS_BIRTH: u8 = 2;
/// The path of a watched directory and one below it, each at most PATH_MAX.
const MAX_PATH_LEN: usize = 2 * 4096;
const CHECK_LEN: usize = 8;

/// A file whose pieces are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) binding: Binding,
    /// When the inode came to be, where the file system says so: tells a file that was moved from another one that
    /// got its inode's number.
    pub(super) birth: Option<Timestamp>,
    /// Where the inode itself was last seen: absolute, links resolved.
    pub(super) path: PathBuf,
    /// What the torrent calls it.
    pub(super) name: Vec<u8>,
    pub(super) private: bool,
    pub(super) piece_len: u32,
    /// Bytes in the encoded info dictionary.
    pub(super) metadata_len: u32,
    pub(super) info_hash: InfoHash,
    /// When it was last seen.
    pub(super) day: Day,
}

/// Days since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(u32);

impl Day {
    /// A clock that says nothing sensible says the first day.
    pub(super) fn of(now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self(u32::try_from(seconds / 86_400).unwrap_or(u32::MAX))
    }

    #[cfg(test)]
    pub(super) const fn from_days(days: u32) -> Self {
        Self(days)
    }

    pub(super) fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// Whether what was last seen on this day and is seen today is to be marked. That it was seen yesterday says enough;
    /// a day that is yet to come is of a clock that went wrong.
    pub(super) fn is_outdated(self, today: Self) -> bool {
        self < today.before(1) || self > today
    }
}

impl Record {
    /// Nothing for what no file system has: a path or a name beyond its limits.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let path = self.path.as_os_str().as_bytes();
        if path.len() > MAX_PATH_LEN || self.name.len() > MAX_NAME_LEN {
            return None;
        }
        let (path_len, name_len) = (u16::try_from(path.len()).ok()?, u16::try_from(self.name.len()).ok()?);
        let flags = if self.private { PRIVATE } else { 0 } | if self.birth.is_some() { HAS_BIRTH } else { 0 };
        let mut out = Vec::with_capacity(128 + path.len() + self.name.len());
        out.extend([VERSION, flags]);
        out.extend(self.binding.size().to_le_bytes());
        let birth = self.birth.unwrap_or(Timestamp::from_parts(0, 0));
        for time in [self.binding.mtime(), self.binding.ctime(), birth] {
            let (seconds, nanoseconds) = time.parts();
            out.extend(seconds.to_le_bytes());
            out.extend(nanoseconds.to_le_bytes());
        }
        out.extend(self.piece_len.to_le_bytes());
        out.extend(self.metadata_len.to_le_bytes());
        out.extend(self.info_hash.as_bytes());
        out.extend(self.day.0.to_le_bytes());
        out.extend(name_len.to_le_bytes());
        out.extend(&self.name);
        out.extend(path_len.to_le_bytes());
        out.extend(path);
        out.extend(check(self.binding.id(), &out));
        Some(out)
    }

    /// Nothing for bytes that [`Self::encode`] did not make, or made for another inode.
    pub(super) fn decode(id: InodeId, bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<CHECK_LEN>()?;
        if *sum != check(id, body) {
            return None;
        }
        let mut reader = Reader(body);
        let [version, flags] = reader.array()?;
        if version != VERSION || flags & !(PRIVATE | HAS_BIRTH) != 0 {
            return None;
        }
        let size = reader.number()?;
        let [mtime, ctime, birth] = [reader.time()?, reader.time()?, reader.time()?];
        let (piece_len, metadata_len) = (reader.short()?, reader.short()?);
        let info_hash = InfoHash::try_from(&reader.array::<20>()?[..]).ok()?;
        let day = Day(reader.short()?);
        let name = reader.list(MAX_NAME_LEN)?.to_vec();
        let path = PathBuf::from(OsStr::from_bytes(reader.list(MAX_PATH_LEN)?));
        reader.0.is_empty().then(|| Self {
            binding: Binding::new(id, size, mtime, ctime),
            birth: (flags & HAS_BIRTH != 0).then_some(birth),
            path,
            name,
            private: flags & PRIVATE != 0,
            piece_len,
            metadata_len,
            info_hash,
            day,
        })
    }
}

fn check(id: InodeId, body: &[u8]) -> [u8; CHECK_LEN] {
    let digest = Sha1::new()
        .chain_update(id.device.to_le_bytes())
        .chain_update(id.inode.to_le_bytes())
        .chain_update(body);
    let digest: [u8; 20] = digest.finalize().into();
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&digest[..CHECK_LEN]);
    check
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn short(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let seconds = self.array().map(i64::from_le_bytes)?;
        Some(Timestamp::from_parts(seconds, self.short()?))
    }

    fn list(&mut self, max: usize) -> Option<&'a [u8]> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (list, rest) = self.0.split_at_checked(len).filter(|_| len <= max)?;
        self.0 = rest;
        Some(list)
    }
}

#[cfg(test)]
impl Record {
    /// Of a file in this state, all else being of no account.
    pub(super) fn for_test(binding: Binding) -> Self {
        Self {
            binding,
            birth: None,
            path: "/file".into(),
            name: b"file".to_vec(),
            private: true,
            piece_len: 65_536,
            metadata_len: 1,
            info_hash: InfoHash::of_info(b"de"),
            day: Day::of(SystemTime::UNIX_EPOCH),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            binding: Binding::for_test(7, 100_000, -5, 1_700_000_000),
            birth: Some(Timestamp::from_parts(1_600_000_000, 999_999_999)),
            path: "/srv/images/sub/file.iso".into(),
            name: b"file \xff.iso".to_vec(),
            private: true,
            piece_len: 65_536,
            metadata_len: 140,
            info_hash: InfoHash::of_info(b"de"),
            day: Day(20_000),
        }
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let record = record();
        let id = record.binding.id();
        let public = Record { private: false, birth: None, ..record.clone() };
        for record in [record, public] {
            assert_eq!(Record::decode(id, &record.encode().unwrap()), Some(record));
        }
    }

    #[test]
    fn refuses_every_truncation_every_flipped_bit_and_whatever_follows() {
        let id = record().binding.id();
        let bytes = record().encode().unwrap();
        for len in 0..bytes.len() {
            assert_eq!(Record::decode(id, &bytes[..len]), None);
        }
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(id, &flipped), None);
        }
        assert_eq!(Record::decode(id, &[&bytes[..], b"x"].concat()), None);
        assert_eq!(Record::decode(InodeId { inode: 8, ..id }, &bytes), None);
    }

    /// As [`Record::encode`], of any body: a check that fits makes no record.
    fn sealed(body: &[u8]) -> Vec<u8> {
        let mut bytes = body.to_vec();
        bytes.extend(check(record().binding.id(), body));
        bytes
    }

    #[test]
    fn refuses_lengths_that_lie_and_versions_to_come() {
        let id = record().binding.id();
        let whole = record().encode().unwrap();
        let body = &whole[..whole.len() - CHECK_LEN];
        for len in 0..body.len() {
            assert_eq!(Record::decode(id, &sealed(&body[..len])), None, "cut to {len}");
        }
        assert_eq!(Record::decode(id, &sealed(&[body, b"x"].concat())), None);
        for (at, value) in [(0, VERSION + 1), (1, 4)] {
            let mut other = body.to_vec();
            other[at] = value;
            assert_eq!(Record::decode(id, &sealed(&other)), None);
        }
    }

    #[test]
    fn names_and_paths_have_their_maximum() {
        let id = record().binding.id();
        let with = |name: usize, path: usize| {
            let path = PathBuf::from("p".repeat(path));
            Record { name: vec![b'n'; name], path, ..record() }
        };
        let longest = with(MAX_NAME_LEN, MAX_PATH_LEN);
        assert_eq!(Record::decode(id, &longest.encode().unwrap()), Some(longest));
        assert_eq!(with(MAX_NAME_LEN + 1, 1).encode(), None);
        assert_eq!(with(1, MAX_PATH_LEN + 1).encode(), None);
    }
}
