//! A hash table that grows in parts, so that no growth takes longer than one part does: whoever waits for a swarm of a
//! million waits a fraction of a millisecond, where a table of one piece would hold it up for a tenth of a second.

use hashbrown::HashTable;

/// How many parts a large table has.
const PARTS: usize = 256;
/// How many entries it has when it is taken apart.
const SPLIT: usize = 4096;

#[derive(Debug)]
pub(super) struct Parts<T> {
    /// None, one, or [`PARTS`].
    parts: Vec<HashTable<T>>,
    len: usize,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self { parts: Vec::new(), len: 0 }
    }
}

impl<T> Parts<T> {
    fn place(&self, hash: u64) -> usize {
        // Neither the lowest bits nor the highest seven, which choose the place in a part.
        if self.parts.len() > 1 { (hash >> 40) as usize % PARTS } else { 0 }
    }

    pub(super) fn find(&self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts.get(self.place(hash))?.find(hash, eq)
    }

    pub(super) fn find_mut(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let place = self.place(hash);
        self.parts.get_mut(place)?.find_mut(hash, eq)
    }

    /// Puts in what isn't there yet. All that is there must have the hash that it came with.
    pub(super) fn insert(&mut self, hash: u64, value: T, hasher: impl Fn(&T) -> u64) {
        match self.parts.len() {
            0 => self.parts.push(HashTable::new()),
            1 if self.len >= SPLIT => self.split(&hasher),
            _ => {}
        }
        let place = self.place(hash);
        if let Some(part) = self.parts.get_mut(place) {
            part.insert_unique(hash, value, hasher);
            self.len += 1;
        }
    }

    pub(super) fn remove(
        &mut self,
        hash: u64,
        eq: impl FnMut(&T) -> bool,
        hasher: impl Fn(&T) -> u64,
    ) -> bool {
        let place = self.place(hash);
        let Some(part) = self.parts.get_mut(place) else { return false };
        let Ok(found) = part.find_entry(hash, eq) else { return false };
        found.remove();
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else if part.len() < part.capacity() / 8 {
            // It is moved as often as it halves.
            part.shrink_to(2 * part.len(), hasher);
        }
        true
    }

    fn split(&mut self, hasher: &impl Fn(&T) -> u64) {
        let whole = std::mem::take(&mut self.parts);
        self.parts.resize_with(PARTS, HashTable::new);
        for value in whole.into_iter().flatten() {
            let hash = hasher(&value);
            let place = self.place(hash);
            self.parts[place].insert_unique(hash, value, hasher);
        }
    }
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
            assert_eq!(parts.parts.len(), if n < SPLIT { 1 } else { PARTS });
        }
        assert!((0..all).all(|n| parts.find(hash(&n), |other| *other == n).is_some()));
        for n in 0..all {
            assert!(parts.remove(hash(&n), |other| *other == n, hash));
            assert!(!parts.remove(hash(&n), |other| *other == n, hash));
            assert!(parts.find(hash(&n), |other| *other == n).is_none());
            let left = all - 1;
            assert_eq!(parts.find(hash(&left), |other| *other == left).is_some(), n < left);
        }
        assert!(parts.parts.is_empty());
    }
}
