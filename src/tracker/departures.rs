//! Why torrents are no longer tracked, for those who still announce them. A plain table with an end; that they left, and
//! why, is for others to say.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use distributor_proto::{InfoHash, percent_encode};

/// Torrents whose end is remembered; the one that left first is forgotten for the next.
const MAX_DEPARTURES: usize = 10_000;

/// What became of a torrent's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// There are other contents by this name now, or will be soon.
    Changed(PathBuf),
    /// There is nothing by its name.
    Gone,
}

/// As a client's user reads it.
impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(name) => {
                let name = percent_encode(name.as_os_str().as_bytes());
                write!(f, "the file was changed; fetch its torrent again from /serve?{name}")
            }
            Self::Gone => f.write_str("the file is gone"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Departures {
    by_info_hash: HashMap<InfoHash, Departure>,
    /// The same info hashes, in the order in which they left.
    order: VecDeque<InfoHash>,
}

impl Departures {
    pub(super) fn insert(&mut self, info_hash: InfoHash, departure: Departure) {
        if self.by_info_hash.insert(info_hash, departure).is_some() {
            self.order.retain(|other| *other != info_hash);
        }
        self.order.push_back(info_hash);
        while self.order.len() > MAX_DEPARTURES
            && let Some(first) = self.order.pop_front()
        {
            self.by_info_hash.remove(&first);
        }
    }

    pub(super) fn get(&self, info_hash: &InfoHash) -> Option<&Departure> {
        self.by_info_hash.get(info_hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: usize) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        InfoHash::new(bytes)
    }

    #[test]
    fn forgets_the_one_that_left_first_past_its_bound() {
        let mut departures = Departures::default();
        for n in 0..MAX_DEPARTURES {
            departures.insert(hash(n), Departure::Gone);
        }
        assert!(departures.get(&hash(0)).is_some());
        // It came back and left anew: now another one was the first.
        departures.insert(hash(0), Departure::Changed("a".into()));
        departures.insert(hash(MAX_DEPARTURES), Departure::Gone);
        assert_eq!(departures.get(&hash(0)), Some(&Departure::Changed("a".into())));
        assert_eq!(departures.get(&hash(1)), None);
        assert_eq!((departures.by_info_hash.len(), departures.order.len()), (MAX_DEPARTURES, MAX_DEPARTURES));
    }

    #[test]
    fn says_where_to_fetch_what_took_the_place() {
        let changed = Departure::Changed("d/a file#1".into());
        assert_eq!(
            changed.to_string(),
            "the file was changed; fetch its torrent again from /serve?d/a%20file%231"
        );
    }
}
