//! The watched directories that one thread looks after: whether each is in its place, and what is known of it. A plain
//! table.

use std::ops::{Index, IndexMut};

use super::tree::Tree;
use crate::files::RootId;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RootState {
    InPlace,
    Lost,
    /// Lost, and something else is in its place.
    Replaced,
}

pub(super) struct Watched {
    pub(super) state: RootState,
    pub(super) tree: Tree,
}

/// By id, in the order of the roots. To name one that isn't among them is a mistake in this program.
pub(super) struct Trees(Vec<(RootId, Watched)>);

impl Trees {
    /// Of directories that nothing is known of; in the order of the roots.
    pub(super) fn new(roots: Vec<RootId>) -> Self {
        let unknown = |id| (id, Watched { state: RootState::InPlace, tree: Tree::default() });
        Self(roots.into_iter().map(unknown).collect())
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = RootId> {
        self.0.iter().map(|(id, _)| *id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RootId, &Tree)> {
        self.0.iter().map(|(id, watched)| (*id, &watched.tree))
    }

    fn position(&self, id: RootId) -> Option<usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id).ok()
    }
}

impl Index<RootId> for Trees {
    type Output = Watched;

    fn index(&self, id: RootId) -> &Watched {
        let position = self.position(id);
        &self.0[position.expect("a root is asked about where it is watched")].1
    }
}

impl IndexMut<RootId> for Trees {
    fn index_mut(&mut self, id: RootId) -> &mut Watched {
        let position = self.position(id);
        &mut self.0[position.expect("a root is asked about where it is watched")].1
    }
}
