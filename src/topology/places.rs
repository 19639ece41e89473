//! The places of a table, each once, with what it lies in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::iter::successors;

use super::name::PlaceName;

/// A place of the table, by its number.
pub(super) type Named = u32;

/// All that lie in each other, none before what it lies in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(Vec<Level>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    name: Box<str>,
    /// What it lies in, if it isn't one of the widest.
    within: Option<Named>,
    /// How many levels it has, itself included.
    depth: u8,
}

impl Places {
    fn get(&self, named: Named) -> Option<&Level> {
        self.0.get(usize::try_from(named).ok()?)
    }

    /// A place and all that it lies in, from itself to the widest.
    pub(super) fn ancestors(&self, named: Named) -> impl Iterator<Item = Named> {
        successors(Some(named), |named| self.get(*named)?.within)
    }

    /// How many levels a place has, itself included.
    pub(super) fn depth(&self, named: Named) -> u8 {
        self.get(named).map_or(0, |level| level.depth)
    }

    /// A place as it is written, all of its levels.
    pub(super) fn written(&self, named: Named) -> String {
        let mut names: Vec<&str> =
            self.ancestors(named).filter_map(|named| Some(&*self.get(named)?.name)).collect();
        names.reverse();
        names.join("/")
    }
}

/// The places of a table that is being made, to be found by their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Register {
    places: Places,
    /// Each by what it lies in and its own name.
    by_name: HashMap<(Option<Named>, Box<str>), Named>,
}

impl Register {
    /// The place of this name, and what it lies in, which are new unless they have been named before. There are never
    /// more than all levels of all networks.
    pub(super) fn name(&mut self, name: &PlaceName) -> Option<Named> {
        name.levels().fold(None, |within, name| Some(self.level(within, name)))
    }

    fn level(&mut self, within: Option<Named>, name: &str) -> Named {
        match self.by_name.entry((within, name.into())) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let Places(levels) = &mut self.places;
                let named = Named::try_from(levels.len()).unwrap_or(Named::MAX);
                let depth = within.map_or(0, |within| self.places.depth(within)).saturating_add(1);
                self.places.0.push(Level { name: name.into(), within, depth });
                *new.insert(named)
            }
        }
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    pub(super) fn into_places(self) -> Places {
        self.places
    }
}
