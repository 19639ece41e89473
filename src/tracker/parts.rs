//! A hash table that grows in parts, so that no growth takes longer than one part does: whoever waits for a swarm of a
//! million waits a fraction of a millisecond, where a table of one piece would hold it up for a tenth of a second.

use hashbrown::HashTable;

/// How many parts a large table has.
const PARTS: usize = 256;
/// How many entries it has when it is taken apart.
const SPLIT: usize = 4096;

#[derive(Debug)]
pub(super) struct Parts<T> {
    /// All there is, while that is little: it is found without a look at a list of parts.
    whole: HashTable<T>,
    /// None, or [`PARTS`].
    parts: Vec<HashTable<T>>,
    len: usize,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self { whole: HashTable::new(), parts: Vec::new(), len: 0 }
    }
}

impl<T> Parts<T> {
    fn part(&self, hash: u64) -> &HashTable<T> {
        self.parts.get(place(hash)).unwrap_or(&self.whole)
    }

    fn part_mut(&mut self, hash: u64) -> &mut HashTable<T> {
        self.parts.get_mut(place(hash)).unwrap_or(&mut self.whole)
    }

    pub(super) fn find(&self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&T> {
        self.part(hash).find(hash, eq)
    }

    pub(super) fn find_mut(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.part_mut(hash).find_mut(hash, eq)
    }

    /// Puts in what isn't there yet. All that is there must have the hash that it came with.
    pub(super) fn insert(&mut self, hash: u64, value: T, hasher: impl Fn(&T) -> u64) {
        if self.parts.is_empty() && self.len >= SPLIT {
            self.split(&hasher);
        }
        self.part_mut(hash).insert_unique(hash, value, hasher);
        self.len += 1;
    }

    pub(super) fn remove(
        &mut self,
        hash: u64,
        eq: impl FnMut(&T) -> bool,
        hasher: impl Fn(&T) -> u64,
    ) -> bool {
        let part = self.part_mut(hash);
        let Ok(found) = part.find_entry(hash, eq) else { return false };
        found.remove();
        if part.len() < part.capacity() / 8 {
            // It is moved as often as it halves.
            part.shrink_to(2 * part.len(), hasher);
        }
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        }
        true
    }

    fn split(&mut self, hasher: &impl Fn(&T) -> u64) {
        let whole = std::mem::take(&mut self.whole);
        self.parts.resize_with(PARTS, HashTable::new);
        for value in whole {
            let hash = hasher(&value);
            self.part_mut(hash).insert_unique(hash, value, hasher);
        }
    }
}

/// The part of a large table that a hash belongs to.
fn place(hash: u64) -> usize {
    // Neither the lowest bits nor the highest seven, which choose the place in a part.
    (hash >> 40) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};

    #[test]
    fn finds_what_is_there_before_and_after_it_is_taken_apart_and_shrinks_to_nothing() {
        let seed = RandomState::new();
        let hash = |n: &usize| seed.hash_one(n);
        let mut parts = Parts::default();
        let all = 3 * SPLIT;
        for n in 0..all {
            parts.insert(hash(&n), n, hash);
            assert_eq!(parts.parts.len(), if n < SPLIT { 0 } else { PARTS });
        }
        assert!((0..all).all(|n| parts.find(hash(&n), |other| *other == n).is_some()));
        for n in 0..all {
            assert!(parts.remove(hash(&n), |other| *other == n, hash));
            assert!(!parts.remove(hash(&n), |other| *other == n, hash));
            assert!(parts.find(hash(&n), |other| *other == n).is_none());
            let left = all - 1;
            assert_eq!(parts.find(hash(&left), |other| *other == left).is_some(), n < left);
        }
        assert!(parts.parts.is_empty() && parts.whole.capacity() == 0);
    }
}
