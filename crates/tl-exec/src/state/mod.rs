//! What a sequence remembers: stores of rows, in pages that sequences share.
//!
//! A [`State`] is a value. Cloning it is a fork and copies no row: pages are reference-counted and copied when a sharer writes to one.
//! Truncating it is a rewind. A store with a window drops the pages that no later row can read. A state is written to a file and read again
//! as bytes, and the bytes of all pages that are alive are counted.
//!
//! Kernels read rows of `f32` where they stand ([`Store::rows_from`]), rows of any other element type as bytes ([`Store::packed_from`]) or one at a time
//! ([`Store::read`]).

mod file;
mod page;
mod store;

pub use page::Meter;
pub use store::{PAGE_ROWS, Store};

use crate::kernel::Plan;

/// Everything that one sequence remembers, after `len` rows.
#[derive(Clone, Debug)]
pub struct State {
    stores: Vec<Store>,
    len: usize,
}

impl State {
    /// The state of an empty sequence.
    pub fn new(plan: &Plan) -> Self {
        Self::metered(plan, &Meter::default())
    }

    /// The state of an empty sequence whose pages are counted by `meter`.
    pub fn metered(plan: &Plan, meter: &Meter) -> Self {
        Self { stores: plan.stores.iter().map(|spec| Store::new(spec, meter)).collect(), len: 0 }
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

    /// Bytes of pages that appending `rows` rows in steps of up to `step` takes beyond those that there are: at most so many.
    pub fn growth(&self, rows: usize, step: usize) -> usize {
        self.stores.iter().map(|s| s.growth(rows, step)).sum()
    }

    /// Says that a step has appended `rows` rows to every store, and drops what no later row can read.
    pub fn advance(&mut self, rows: usize) {
        self.len += rows;
        for store in &mut self.stores {
            debug_assert_eq!(store.len(), self.len, "each store has the rows of the step");
            store.forget();
        }
    }

    /// Whether the rows are there that a truncation to `len` rows needs.
    pub fn can_truncate(&self, len: usize) -> bool {
        len <= self.len && self.stores.iter().all(|s| s.can_truncate(len))
    }

    /// Takes the sequence back to `len` rows. `false`, and nothing changed, if rows that it would need were dropped.
    #[must_use]
    pub fn truncate(&mut self, len: usize) -> bool {
        let possible = self.can_truncate(len);
        if possible {
            self.stores.iter_mut().for_each(|s| s.truncate(len));
            self.len = len;
        }
        possible
    }

    /// Whether a truncation to the present length will be possible after so many more rows.
    pub fn can_return_after(&self, rows: usize) -> bool {
        self.stores.iter().all(|s| s.can_return_after(rows))
    }

    /// Bytes of the pages, those that are shared or reserved included.
    pub fn bytes(&self) -> usize {
        self.stores.iter().map(Store::bytes).sum()
    }
}
