//! What a sequence remembers: stores of rows, in pages that sequences share.
//!
//! A [`State`] is a value. Cloning it is a fork and copies no row: pages are reference-counted and copied when a sharer writes to one.
//! Truncating it is a rewind. A store with a window drops the pages that no later row can read.
//!
//! Invariant: [`Store::append`] allocates only when a page begins and no page was reserved.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::kernel::{Plan, StoreSpec};

/// How many rows a page holds.
pub const PAGE_ROWS: usize = 64;

/// The rows of one tensor that a sequence remembers.
#[derive(Clone, Debug)]
pub struct Store {
    width: usize,
    window: Option<usize>,
    pages: VecDeque<Arc<[f32]>>,
    /// Number of the page that `pages` begins with.
    first_page: usize,
    /// Rows that were appended, dropped ones included.
    len: usize,
    spare: Vec<Arc<[f32]>>,
}

/// Everything that one sequence remembers, after `len` rows.
#[derive(Clone, Debug)]
pub struct State {
    stores: Vec<Store>,
    len: usize,
}

impl State {
    /// The state of an empty sequence.
    pub fn new(plan: &Plan) -> Self {
        Self { stores: plan.stores.iter().map(Store::new).collect(), len: 0 }
    }

    /// How many rows the sequence has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the sequence has no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The stores, in the plan's order.
    pub fn stores(&self) -> &[Store] {
        &self.stores
    }

    /// The stores, to append to.
    pub fn stores_mut(&mut self) -> &mut [Store] {
        &mut self.stores
    }

    /// Sets memory aside for `rows` more rows, so that appending them allocates nothing.
    pub fn reserve(&mut self, rows: usize) {
        self.stores.iter_mut().for_each(|s| s.reserve(rows));
    }

    /// Says that a step has appended `rows` rows to every store, and drops what no later row can read.
    pub fn advance(&mut self, rows: usize) {
        self.len += rows;
        for store in &mut self.stores {
            debug_assert_eq!(store.len, self.len, "each store has the rows of the step");
            store.forget();
        }
    }

    /// Takes the sequence back to `len` rows. `false`, and nothing changed, if rows that it would need were dropped.
    #[must_use]
    pub fn truncate(&mut self, len: usize) -> bool {
        if len > self.len || !self.stores.iter().all(|s| s.can_truncate(len)) {
            return false;
        }
        self.stores.iter_mut().for_each(|s| s.truncate(len));
        self.len = len;
        true
    }

    /// Whether a truncation to the present length will be possible after so many more rows.
    pub fn can_return_after(&self, rows: usize) -> bool {
        self.stores.iter().all(|s| s.can_return_after(rows))
    }

    /// Bytes of the pages, those that are shared included.
    pub fn bytes(&self) -> usize {
        self.stores.iter().map(Store::bytes).sum()
    }
}

impl Store {
    /// An empty store.
    pub fn new(spec: &StoreSpec) -> Self {
        let (width, window) = (spec.width, spec.window);
        Self { width, window, pages: VecDeque::new(), first_page: 0, len: 0, spare: Vec::new() }
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows that were appended.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first row that is still there.
    pub fn first(&self) -> usize {
        self.first_page * PAGE_ROWS
    }

    /// Row `t`, if it is still there.
    pub fn row(&self, t: usize) -> Option<&[f32]> {
        if t >= self.len {
            return None;
        }
        let page = self.pages.get((t / PAGE_ROWS).checked_sub(self.first_page)?)?;
        Some(&page[t % PAGE_ROWS * self.width..][..self.width])
    }

    /// The rows from `t` to the end of its page or of the store: as many whole rows as there are. Empty if there are none.
    pub fn rows_from(&self, t: usize) -> &[f32] {
        let page = (t / PAGE_ROWS).checked_sub(self.first_page).and_then(|p| self.pages.get(p));
        match page {
            Some(page) if t < self.len => {
                let end = (self.len - t / PAGE_ROWS * PAGE_ROWS).min(PAGE_ROWS);
                &page[t % PAGE_ROWS * self.width..end * self.width]
            }
            _ => &[],
        }
    }

    /// Appends rows: a multiple of the width.
    pub fn append(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.width) {
            let at = self.len % PAGE_ROWS;
            if at == 0 {
                let page = self.spare.pop().unwrap_or_else(|| empty_page(self.width));
                self.pages.push_back(page);
            }
            let page = self.pages.back_mut().expect("a page was pushed for its first row");
            let writable = Arc::make_mut(page);
            writable[at * self.width..][..self.width].copy_from_slice(row);
            self.len += 1;
        }
    }

    fn reserve(&mut self, rows: usize) {
        let kept = self.window.map_or(rows, |w| rows.min(w + 2 * PAGE_ROWS));
        let needed = (self.len % PAGE_ROWS + kept).div_ceil(PAGE_ROWS);
        let width = self.width;
        let missing = needed.saturating_sub(self.spare.len());
        self.spare.reserve(missing);
        self.spare.extend((0..missing).map(|_| empty_page(width)));
        self.pages.reserve(needed);
    }

    /// The first page that the row after `len` rows needs.
    fn page_needed_after(&self, len: usize) -> usize {
        self.window.map_or(0, |w| (len + 1).saturating_sub(w)) / PAGE_ROWS
    }

    /// Drops the pages that lie before the window of the next row; those that are not shared serve again.
    fn forget(&mut self) {
        let needed = self.page_needed_after(self.len);
        while self.first_page < needed && self.pages.len() > 1 {
            let page = self.pages.pop_front().expect("there is more than one page");
            self.first_page += 1;
            if Arc::strong_count(&page) == 1 && self.spare.len() < self.spare.capacity() {
                self.spare.push(page);
            }
        }
    }

    fn can_truncate(&self, len: usize) -> bool {
        self.can_truncate_from(len, self.first_page)
    }

    /// Whether a truncation would be possible if the rows began at that page.
    fn can_truncate_from(&self, len: usize, first_page: usize) -> bool {
        let needed = self.window.map_or(0, |w| (len + 1).saturating_sub(w));
        let first = first_page * PAGE_ROWS;
        first == 0 || (len > first && needed >= first)
    }

    fn can_return_after(&self, rows: usize) -> bool {
        let dropped = self.page_needed_after(self.len + rows);
        self.can_truncate_from(self.len, self.first_page.max(dropped))
    }

    fn truncate(&mut self, len: usize) {
        self.pages.truncate((len.div_ceil(PAGE_ROWS)).saturating_sub(self.first_page));
        self.len = len;
        if len == 0 {
            self.first_page = 0;
        }
    }

    fn bytes(&self) -> usize {
        (self.pages.len() + self.spare.len()) * PAGE_ROWS * self.width * size_of::<f32>()
    }
}

fn empty_page(width: usize) -> Arc<[f32]> {
    vec![0.0; PAGE_ROWS * width].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(window: Option<usize>) -> Store {
        Store::new(&StoreSpec { name: "k".into(), width: 2, window })
    }

    fn fill(store: &mut Store, upto: usize) {
        for t in store.len()..upto {
            store.append(&[t as f32, -(t as f32)]);
            store.forget();
        }
    }

    #[test]
    fn rows_are_found_again_across_pages() {
        let mut s = store(None);
        fill(&mut s, 200);
        assert!((0..200).all(|t| s.row(t) == Some(&[t as f32, -(t as f32)][..])));
        assert_eq!(s.row(200), None);
        assert_eq!(s.rows_from(130).len(), 2 * (192 - 130));
        assert_eq!(s.rows_from(192).len(), 2 * 8);
    }

    #[test]
    fn a_window_bounds_the_memory_and_keeps_what_is_read() {
        let mut s = store(Some(100));
        fill(&mut s, 1000);
        assert!(s.bytes() <= 3 * PAGE_ROWS * 2 * 4);
        assert!((901..1000).all(|t| s.row(t).is_some()));
    }

    #[test]
    fn a_fork_shares_pages_until_it_writes() {
        let mut a = store(None);
        fill(&mut a, 70);
        let mut b = a.clone();
        b.append(&[7.0, 7.0]);
        a.append(&[8.0, 8.0]);
        assert_eq!((a.row(70), b.row(70)), (Some(&[8.0, 8.0][..]), Some(&[7.0, 7.0][..])));
        assert!(Arc::ptr_eq(&a.pages[0], &b.pages[0]) && !Arc::ptr_eq(&a.pages[1], &b.pages[1]));
    }

    #[test]
    fn whether_there_is_a_way_back_is_known_before() {
        for (window, rows) in [(None, 100), (Some(2), 3), (Some(2), 70), (Some(100), 40)] {
            let mut s = store(window);
            for len in 0..300 {
                fill(&mut s, len);
                let mut later = s.clone();
                fill(&mut later, len + rows);
                assert_eq!(s.can_return_after(rows), later.can_truncate(len), "{window:?} {rows} {len}");
            }
        }
    }

    #[test]
    fn a_rewind_gives_the_same_rows_again() {
        let mut s = store(Some(10));
        fill(&mut s, 300);
        assert!(!s.can_truncate(200) && s.can_truncate(290));
        s.truncate(290);
        fill(&mut s, 295);
        assert_eq!(s.row(294), Some(&[294.0, -294.0][..]));
    }
}
