//! A list without gaps, in pages: it grows by a page and moves nothing, and knows which pages are not what was saved of
//! them.
//!
//! Entries lie in two parts, so that a look at what is wanted of many brings in nothing that is wanted of few.

use std::ops::{Index, IndexMut};

/// Entries of one page.
pub(super) const PAGE: usize = 1024;

/// Of each entry there is a face, which the list is indexed for, and the rest.
#[derive(Debug)]
pub(super) struct Pages<F, R> {
    pages: Vec<Page<F, R>>,
    /// How many pages may have been saved.
    saved: usize,
}

/// Its two lists are of one length.
#[derive(Debug)]
struct Page<F, R> {
    faces: Vec<F>,
    rests: Vec<R>,
    changed: bool,
}

impl<F, R> Default for Pages<F, R> {
    fn default() -> Self {
        Self { pages: Vec::new(), saved: 0 }
    }
}

impl<F, R> Pages<F, R> {
    pub(super) fn len(&self) -> usize {
        let last = self.pages.last().map_or(0, |page| page.faces.len());
        self.pages.len().saturating_sub(1) * PAGE + last
    }

    /// How many pages there are.
    pub(super) fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// The indices of the entries of a page.
    pub(super) fn page(&self, page: usize) -> std::ops::Range<usize> {
        let len = self.pages.get(page).map_or(0, |page| page.faces.len());
        page * PAGE..page * PAGE + len
    }

    pub(super) fn get(&self, index: usize) -> Option<&F> {
        self.pages.get(index / PAGE)?.faces.get(index % PAGE)
    }

    pub(super) fn rest(&self, index: usize) -> &R {
        &self.pages[index / PAGE].rests[index % PAGE]
    }

    pub(super) fn rest_mut(&mut self, index: usize) -> &mut R {
        &mut self.pages[index / PAGE].rests[index % PAGE]
    }

    /// Puts an entry at the end; gives its index.
    pub(super) fn push(&mut self, face: F, rest: R) -> usize {
        let index = self.len();
        if index.is_multiple_of(PAGE) {
            // The first one is most likely the only one, and small.
            let room = if self.pages.is_empty() { 1 } else { PAGE };
            let (faces, rests) = (Vec::with_capacity(room), Vec::with_capacity(room));
            self.pages.push(Page { faces, rests, changed: false });
        }
        let page = &mut self.pages[index / PAGE];
        page.faces.push(face);
        page.rests.push(rest);
        page.changed = true;
        index
    }

    /// Takes an entry out; the last one comes in its place.
    pub(super) fn swap_remove(&mut self, index: usize) -> (F, R) {
        let last = self.len() - 1;
        if index != last {
            let (from, to) = (last / PAGE, index / PAGE);
            let (from_at, to_at) = (last % PAGE, index % PAGE);
            if from == to {
                let page = &mut self.pages[to];
                page.faces.swap(from_at, to_at);
                page.rests.swap(from_at, to_at);
            } else {
                let (front, back) = self.pages.split_at_mut(from);
                std::mem::swap(&mut front[to].faces[to_at], &mut back[0].faces[from_at]);
                std::mem::swap(&mut front[to].rests[to_at], &mut back[0].rests[from_at]);
            }
            self.changed(index);
        }
        self.changed(last);
        let page = &mut self.pages[last / PAGE];
        let removed = (page.faces.swap_remove(last % PAGE), page.rests.swap_remove(last % PAGE));
        self.shrink_last();
        removed
    }

    fn shrink_last(&mut self) {
        let only = self.pages.len() == 1;
        let Some(Page { faces, rests, .. }) = self.pages.last_mut() else { return };
        if faces.is_empty() {
            self.pages.pop();
        } else if only && faces.len() < faces.capacity() / 4 {
            // It is copied as often as it halves.
            faces.shrink_to(2 * faces.len());
            rests.shrink_to(2 * rests.len());
        }
    }

    /// An entry is no longer what was saved of it.
    pub(super) fn changed(&mut self, index: usize) {
        self.pages[index / PAGE].changed = true;
    }

    /// All are to be saved anew.
    pub(super) fn all_changed(&mut self) {
        self.pages.iter_mut().for_each(|page| page.changed = true);
    }

    /// So many pages were found saved, of contents that may lie in others by now.
    pub(super) fn found_saved(&mut self, pages: usize) {
        self.saved = self.saved.max(pages);
        self.all_changed();
    }

    pub(super) fn is_saved(&self) -> bool {
        self.saved == self.pages.len() && self.pages.iter().all(|page| !page.changed)
    }

    /// Whether anything of it may have been saved.
    pub(super) fn is_anything_saved(&self) -> bool {
        self.saved > 0
    }

    /// The number of a page from `next` on that is not what was saved of it, and its entries, empty where it is gone;
    /// it counts as saved from now on, and `next` is behind it: what changes meanwhile waits for another round.
    pub(super) fn take_unsaved(&mut self, next: &mut usize) -> Option<(usize, &[F], &[R])> {
        if self.saved > self.pages.len() {
            self.saved -= 1;
            return Some((self.saved, &[], &[]));
        }
        let number = *next + self.pages.iter().skip(*next).position(|page| page.changed)?;
        *next = number + 1;
        self.saved = self.saved.max(number + 1);
        let page = &mut self.pages[number];
        page.changed = false;
        Some((number, &page.faces, &page.rests))
    }
}

impl<F, R> Index<usize> for Pages<F, R> {
    type Output = F;

    fn index(&self, index: usize) -> &F {
        &self.pages[index / PAGE].faces[index % PAGE]
    }
}

/// What is changed by this and is to be saved must be [said](Pages::changed) to be.
impl<F, R> IndexMut<usize> for Pages<F, R> {
    fn index_mut(&mut self, index: usize) -> &mut F {
        &mut self.pages[index / PAGE].faces[index % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(len: usize) -> Pages<usize, usize> {
        let mut pages = Pages::default();
        (0..len).for_each(|n| assert_eq!(pages.push(n, n), n));
        pages
    }

    fn save(pages: &mut Pages<usize, usize>) -> Vec<(usize, usize)> {
        let (mut saved, mut next) = (Vec::new(), 0);
        while let Some((number, faces, rests)) = pages.take_unsaved(&mut next) {
            assert_eq!(faces.len(), rests.len());
            saved.push((number, faces.len()));
        }
        assert!(pages.is_saved());
        saved
    }

    #[test]
    fn keeps_no_gaps_whatever_is_taken_out() {
        let mut pages = filled(2 * PAGE + 2);
        assert_eq!(pages.swap_remove(5), (5, 5));
        assert_eq!((pages[5], *pages.rest(5), pages.len()), (2 * PAGE + 1, 2 * PAGE + 1, 2 * PAGE + 1));
        assert_eq!(pages.swap_remove(2 * PAGE), (2 * PAGE, 2 * PAGE));
        assert_eq!((pages.len(), pages.page_count(), pages.get(2 * PAGE)), (2 * PAGE, 2, None));
        for _ in 0..2 * PAGE {
            pages.swap_remove(0);
        }
        assert_eq!((pages.len(), pages.page_count()), (0, 0));
    }

    #[test]
    fn gives_back_the_memory_of_a_crowd_that_left() {
        let mut pages = filled(PAGE);
        for _ in 0..PAGE - 8 {
            pages.swap_remove(0);
        }
        assert!(pages.pages[0].faces.capacity() <= 32 && pages.pages[0].rests.capacity() <= 32);
    }

    #[test]
    fn is_saved_page_by_page_as_it_changes_and_where_it_is_gone() {
        let mut pages = filled(2 * PAGE + 1);
        assert!(!pages.is_anything_saved());
        assert_eq!(save(&mut pages), [(0, PAGE), (1, PAGE), (2, 1)]);
        pages[PAGE] = 7;
        pages.changed(PAGE);
        assert_eq!(save(&mut pages), [(1, PAGE)]);
        pages.swap_remove(3);
        assert_eq!(save(&mut pages), [(2, 0), (0, PAGE)]);
        assert_eq!(save(&mut pages), []);
    }

    #[test]
    fn a_round_of_saving_ends_however_fast_pages_change() {
        let (mut pages, mut next) = (filled(2 * PAGE), 0);
        for number in 0..2 {
            assert_eq!(pages.take_unsaved(&mut next).map(|(number, ..)| number), Some(number));
            pages.changed(0);
        }
        assert!(pages.take_unsaved(&mut next).is_none() && !pages.is_saved());
    }

    #[test]
    fn what_was_found_saved_is_written_over_or_taken_away() {
        let mut pages = filled(1);
        pages.found_saved(3);
        assert_eq!(save(&mut pages), [(2, 0), (1, 0), (0, 1)]);
    }
}
