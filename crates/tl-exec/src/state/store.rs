//! A store: the rows of one tensor that a sequence remembers, in pages that sequences share.
//!
//! Invariant: [`Store::append`] allocates only when a page begins, or a sharer writes to one, and no page was reserved.

use std::collections::VecDeque;
use std::sync::Arc;

use tl_tensor::DType;

use super::page::{Meter, Page, PageLayout};
use crate::kernel::StoreSpec;

/// How many rows a page holds that kernels read in runs.
pub const PAGE_ROWS: usize = 64;

/// The rows of one tensor that a sequence remembers.
#[derive(Debug)]
pub struct Store {
    layout: PageLayout,
    window: Option<usize>,
    pages: VecDeque<Arc<Page>>,
    /// Number of the page that `pages` begins with.
    first_page: usize,
    /// Rows that were appended, dropped ones included.
    len: usize,
    /// Pages that were reserved, each owned by this store alone.
    spare: Vec<Arc<Page>>,
}

impl Clone for Store {
    /// A store with the same rows, in the same pages. What was reserved stays with the first.
    fn clone(&self) -> Self {
        Self {
            layout: self.layout.clone(),
            window: self.window,
            pages: self.pages.clone(),
            first_page: self.first_page,
            len: self.len,
            spare: Vec::new(),
        }
    }
}

impl Store {
    /// An empty store whose pages are counted by `meter`.
    pub fn new(spec: &StoreSpec, meter: &Meter) -> Self {
        // A page holds no more rows than are kept, so that a sequence that remembers one row has small pages.
        let rows = match spec.window {
            Some(window) if !spec.scanned => window.next_power_of_two().min(PAGE_ROWS),
            _ => PAGE_ROWS,
        };
        let layout = PageLayout { width: spec.width, rows, dtype: spec.dtype, meter: meter.clone() };
        let (pages, spare) = (VecDeque::new(), Vec::new());
        Self { layout, window: spec.window, pages, first_page: 0, len: 0, spare }
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.layout.width
    }

    /// The element type of the rows.
    pub fn dtype(&self) -> DType {
        self.layout.dtype
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
        self.first_page * self.layout.rows
    }

    /// Reads row `t`; `false`, and nothing is written, if it is not there (any more).
    #[must_use]
    pub fn read(&self, t: usize, to: &mut [f32]) -> bool {
        let Some((page, at, _)) = self.find(t) else { return false };
        page.read(&self.layout, at, to);
        true
    }

    /// The rows from `t` to the end of its page or of the store: as many whole rows as there are, where they are `f32`. Empty if there are none,
    /// or if they are of another type.
    pub fn rows_from(&self, t: usize) -> &[f32] {
        self.find(t).map_or(&[], |(page, at, end)| page.plain(&self.layout, at, end))
    }

    /// The same as bytes, where the rows are not `f32`: each row for itself in the store's element type.
    pub fn packed_from(&self, t: usize) -> &[u8] {
        self.find(t).map_or(&[], |(page, at, end)| page.packed(&self.layout, at, end))
    }

    /// The page of row `t`, which of its rows that is, and where its rows end.
    fn find(&self, t: usize) -> Option<(&Page, usize, usize)> {
        let rows = self.layout.rows;
        let page = self.pages.get((t / rows).checked_sub(self.first_page)?).filter(|_| t < self.len)?;
        Some((page, t % rows, (self.len - t / rows * rows).min(rows)))
    }

    /// Appends rows: a multiple of the width.
    pub fn append(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.width()) {
            let at = self.len % self.layout.rows;
            if at == 0 {
                let page = self.take_page();
                self.pages.push_back(page);
            } else if self.last_is_shared() {
                let mut own = self.take_page();
                let last = self.pages.back_mut().expect("a page was pushed for its first row");
                let page = Arc::get_mut(&mut own).expect("a page that was taken is not shared");
                page.copy_from(&self.layout, last, at);
                *last = own;
            }
            let last = self.pages.back_mut().expect("a page was pushed for its first row");
            Arc::get_mut(last).expect("a shared page was copied").write(&self.layout, at, row);
            self.len += 1;
        }
    }

    fn last_is_shared(&self) -> bool {
        self.pages.back().is_some_and(|page| Arc::strong_count(page) > 1)
    }

    fn take_page(&mut self) -> Arc<Page> {
        self.spare.pop().unwrap_or_else(|| self.layout.page())
    }

    /// Bytes of the pages that appending so many rows in steps of up to `step` takes beyond those that were reserved. Rows that leave the window
    /// after a step make room for others.
    pub(super) fn growth(&self, rows: usize, step: usize) -> usize {
        let kept = |window| rows.min(window + step + 2 * self.layout.rows);
        let rows = self.window.map_or(rows, kept);
        let at = self.len % self.layout.rows;
        let begun = if at == 0 { 0 } else { self.layout.rows - at };
        let copied = usize::from(rows > 0 && at != 0 && self.last_is_shared());
        let pages = rows.saturating_sub(begun).div_ceil(self.layout.rows) + copied;
        pages.saturating_sub(self.spare.len()) * self.layout.bytes()
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        let page_rows = self.layout.rows;
        let kept = self.window.map_or(rows, |w| rows.min(w + 2 * page_rows));
        let needed = (self.len % page_rows + kept).div_ceil(page_rows);
        let missing = needed.saturating_sub(self.spare.len());
        self.spare.reserve(missing);
        let layout = &self.layout;
        self.spare.extend((0..missing).map(|_| layout.page()));
        self.pages.reserve(needed);
    }

    /// The first page that the row after `len` rows needs.
    fn page_needed_after(&self, len: usize) -> usize {
        self.window.map_or(0, |w| (len + 1).saturating_sub(w)) / self.layout.rows
    }

    /// Drops the pages that lie before the window of the next row; those that are not shared serve again.
    pub(super) fn forget(&mut self) {
        let needed = self.page_needed_after(self.len);
        while self.first_page < needed && self.pages.len() > 1 {
            let page = self.pages.pop_front().expect("there is more than one page");
            self.first_page += 1;
            if Arc::strong_count(&page) == 1 && self.spare.len() < self.spare.capacity() {
                self.spare.push(page);
            }
        }
    }

    pub(super) fn can_truncate(&self, len: usize) -> bool {
        self.can_truncate_from(len, self.first_page)
    }

    /// Whether a truncation would be possible if the rows began at that page.
    fn can_truncate_from(&self, len: usize, first_page: usize) -> bool {
        let needed = self.window.map_or(0, |w| (len + 1).saturating_sub(w));
        let first = first_page * self.layout.rows;
        first == 0 || (len > first && needed >= first)
    }

    pub(super) fn can_return_after(&self, rows: usize) -> bool {
        let dropped = self.page_needed_after(self.len + rows);
        self.can_truncate_from(self.len, self.first_page.max(dropped))
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.pages.truncate((len.div_ceil(self.layout.rows)).saturating_sub(self.first_page));
        self.len = len;
        if len == 0 {
            self.first_page = 0;
        }
    }

    /// Bytes of the pages, those that are shared or reserved included.
    pub(super) fn bytes(&self) -> usize {
        (self.pages.len() + self.spare.len()) * self.layout.bytes()
    }

    /// Number of the first page that is there, and for each page its rows as bytes; the same buffer is used for all.
    pub(super) fn each_page<E>(&self, mut f: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = Vec::new();
        for (number, page) in (self.first_page..).zip(&self.pages) {
            let rows = (self.len - number * self.layout.rows).min(self.layout.rows);
            bytes.clear();
            page.append_bytes(&self.layout, rows, &mut bytes);
            f(&bytes)?;
        }
        Ok(())
    }

    /// Makes an empty store one of `len` rows of which those before page `first_page` were dropped. `f` fills each page's bytes, in order.
    pub(super) fn fill<E>(
        &mut self,
        len: usize,
        first_page: usize,
        mut f: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (page_rows, row_bytes) = (self.layout.rows, self.layout.row_bytes());
        (self.len, self.first_page) = (len, first_page);
        for number in first_page..len.div_ceil(page_rows) {
            let mut bytes = vec![0; (len - number * page_rows).min(page_rows) * row_bytes];
            f(&mut bytes)?;
            let mut page = self.layout.page();
            Arc::get_mut(&mut page).expect("a new page is not shared").take_bytes(&bytes);
            self.pages.push_back(page);
        }
        Ok(())
    }

    /// Which page the rows of a store of `len` rows may begin with at the latest.
    pub(super) fn latest_first_page(&self, len: usize) -> usize {
        self.page_needed_after(len).min(len.div_ceil(self.layout.rows).saturating_sub(1))
    }

    /// Number of the page that the rows begin with.
    pub(super) fn first_page(&self) -> usize {
        self.first_page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(window: Option<usize>, dtype: DType) -> Store {
        Store::new(&StoreSpec { name: "k".into(), width: 2, window, dtype, scanned: true }, &Meter::default())
    }

    #[test]
    fn pages_begin_on_a_cache_line() {
        for dtype in [DType::F32, DType::F16] {
            let mut s = store(None, dtype);
            fill(&mut s, 3 * PAGE_ROWS);
            s.truncate(PAGE_ROWS + 1);
            fill(&mut s, 3 * PAGE_ROWS);
            for first in (0..s.len()).step_by(PAGE_ROWS) {
                let at = if dtype == DType::F32 {
                    s.rows_from(first).as_ptr().addr()
                } else {
                    s.packed_from(first).as_ptr().addr()
                };
                assert!(at.is_multiple_of(64), "{dtype:?}: {at:x}");
                assert!((first..first + PAGE_ROWS).all(|t| s.read(t, &mut [0.0; 2])));
            }
        }
    }

    fn fill(store: &mut Store, upto: usize) {
        for t in store.len()..upto {
            store.append(&[t as f32, -(t as f32)]);
            store.forget();
        }
    }

    fn row(store: &Store, t: usize) -> Option<[f32; 2]> {
        let mut row = [0.0; 2];
        store.read(t, &mut row).then_some(row)
    }

    #[test]
    fn rows_are_found_again_across_pages() {
        for dtype in [DType::F32, DType::F16] {
            let mut s = store(None, dtype);
            fill(&mut s, 200);
            assert!((0..200).all(|t| row(&s, t) == Some([t as f32, -(t as f32)])));
            assert_eq!(row(&s, 200), None);
            let rows = |t| (s.rows_from(t).len() / 2, s.packed_from(t).len() / 4);
            let expected = |n| if dtype == DType::F32 { (n, 0) } else { (0, n) };
            assert_eq!([130, 192, 200].map(rows), [192 - 130, 8, 0].map(expected));
        }
    }

    #[test]
    fn a_window_bounds_the_memory_and_keeps_what_is_read() {
        let mut s = store(Some(100), DType::F32);
        fill(&mut s, 1000);
        assert!(s.bytes() <= 3 * PAGE_ROWS * 2 * 4);
        assert!((901..1000).all(|t| row(&s, t).is_some()));
        let spec =
            StoreSpec { name: "h".into(), width: 2, window: Some(2), dtype: DType::F32, scanned: false };
        let mut one_row = Store::new(&spec, &Meter::default());
        for t in 0..1000 {
            assert!(t == 0 || row(&one_row, t - 1) == Some([t as f32 - 1.0, 1.0 - t as f32]));
            fill(&mut one_row, t + 1);
        }
        assert!(one_row.bytes() <= 2 * 2 * 2 * 4, "{}", one_row.bytes());
    }

    #[test]
    fn a_fork_shares_pages_until_it_writes_and_they_are_counted_once() {
        let mut a = store(None, DType::F32);
        let (meter, page) = (a.layout.meter.clone(), a.layout.bytes());
        fill(&mut a, 70);
        let mut b = a.clone();
        assert_eq!(
            (meter.bytes(), b.growth(0, 9), b.growth(1, 9), b.growth(59, 9)),
            (2 * page, 0, page, 2 * page)
        );
        b.append(&[7.0, 7.0]);
        a.append(&[8.0, 8.0]);
        assert_eq!((row(&a, 70), row(&b, 70)), (Some([8.0, 8.0]), Some([7.0, 7.0])));
        assert!(Arc::ptr_eq(&a.pages[0], &b.pages[0]) && !Arc::ptr_eq(&a.pages[1], &b.pages[1]));
        assert_eq!((meter.bytes(), a.growth(1, 1)), (3 * page, 0));
        drop(a);
        assert_eq!(meter.bytes(), 2 * page);
        drop(b);
        assert_eq!(meter.bytes(), 0);
    }

    #[test]
    fn whether_there_is_a_way_back_is_known_before() {
        for (window, rows) in [(None, 100), (Some(2), 3), (Some(2), 70), (Some(100), 40)] {
            let mut s = store(window, DType::F32);
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
        let mut s = store(Some(10), DType::F32);
        fill(&mut s, 300);
        assert!(!s.can_truncate(200) && s.can_truncate(290));
        s.truncate(290);
        fill(&mut s, 295);
        assert_eq!(row(&s, 294), Some([294.0, -294.0]));
    }
}
