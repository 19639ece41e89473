//! Which watched directories share a thread: those that lie on one device, so that a disk that hangs holds up noticing
//! on no other. Starts no thread and asks no disk.

use crate::files::{RootId, Roots};

/// Threads that watch, each with an inotify instance of its own, of which a user has 128 by default.
pub(super) const MAX_GROUPS: usize = 16;

/// The watched directories by device, each group in their order; at most `max` groups, the last of which has those of
/// all further devices too.
pub(super) fn by_device(roots: &Roots, max: usize) -> Vec<Vec<RootId>> {
    group(roots.iter().map(|(id, root)| (id, root.device())), max)
}

fn group<T>(devices: impl Iterator<Item = (T, u64)>, max: usize) -> Vec<Vec<T>> {
    let mut groups: Vec<(u64, Vec<T>)> = Vec::new();
    for (member, device) in devices {
        let known = groups.iter().position(|(of, _)| *of == device);
        let last = groups.len().checked_sub(1).filter(|_| groups.len() >= max);
        match known.or(last) {
            Some(index) => groups[index].1.push(member),
            None => groups.push((device, vec![member])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped(devices: &[u64], max: usize) -> Vec<Vec<usize>> {
        group(devices.iter().copied().enumerate(), max)
    }

    #[test]
    fn directories_of_one_device_are_together_in_their_order() {
        assert_eq!(grouped(&[7, 8, 7, 9, 8], MAX_GROUPS), [vec![0, 2], vec![1, 4], vec![3]]);
    }

    #[test]
    fn devices_beyond_the_bound_share_the_last_group() {
        let devices: Vec<u64> = (0..MAX_GROUPS as u64 + 2).chain([0]).collect();
        let groups = grouped(&devices, MAX_GROUPS);
        assert_eq!(groups.len(), MAX_GROUPS);
        assert_eq!(groups[0], [0, MAX_GROUPS + 2]);
        assert_eq!(groups[MAX_GROUPS - 1], [MAX_GROUPS - 1, MAX_GROUPS, MAX_GROUPS + 1]);
        assert_eq!(grouped(&[1, 2, 3], 1), [[0, 1, 2]]);
    }
}
