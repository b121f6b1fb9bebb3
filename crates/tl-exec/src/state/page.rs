//! Pages: some rows of a store side by side, in one element type, and the count of their bytes.
//!
//! Rows of `f32` stand as they are. Any other element type packs each row for itself, as the table of element types says, so that a row's
//! bytes depend on the row alone.
//!
//! Invariant: a meter shows the bytes of all pages that are alive, each once, however many sequences share it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tl_tensor::DType;

/// Counts the bytes of pages. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<AtomicUsize>);

impl Meter {
    /// The bytes of the pages that are alive.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the pages of a store have in common.
#[derive(Clone, Debug)]
pub(super) struct PageLayout {
    /// Values in a row.
    pub width: usize,
    /// Rows in a page.
    pub rows: usize,
    pub dtype: DType,
    pub meter: Meter,
}

impl PageLayout {
    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.dtype.row_bytes(self.width).expect("a row of a store is whole blocks")
    }

    /// Bytes of a page.
    pub fn bytes(&self) -> usize {
        self.rows * self.row_bytes()
    }

    /// A page with room for its rows, none of them written.
    pub fn page(&self) -> Arc<Page> {
        let values = match self.dtype {
            DType::F32 => Values::Plain(Line::with_room(self.rows * self.width)),
            _ => Values::Packed(Line::with_room(self.bytes())),
        };
        self.meter.0.fetch_add(self.bytes(), Ordering::Relaxed);
        Arc::new(Page { values, bytes: self.bytes(), meter: self.meter.clone() })
    }
}

/// Some rows side by side.
#[derive(Debug)]
pub(super) struct Page {
    values: Values,
    bytes: usize,
    meter: Meter,
}

/// The rows that were written, one after the other.
#[derive(Debug)]
enum Values {
    Plain(Line<f32>),
    Packed(Line<u8>),
}

/// Values that begin on a cache line: kernels read them as vectors, of which one that lies across two lines costs twice.
#[derive(Debug)]
struct Line<T> {
    /// The values, behind as many others as there are before a line begins.
    memory: Vec<T>,
    start: usize,
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl<T: Copy + Default> Line<T> {
    /// No values, and room for so many. More than that may stand anywhere.
    fn with_room(len: usize) -> Self {
        let most = LINE / size_of::<T>() - 1;
        let mut memory = Vec::<T>::with_capacity(most + len);
        let start = memory.as_ptr().align_offset(LINE).min(most);
        memory.resize(start, T::default());
        Self { memory, start }
    }

    /// Leaves the first `len` values.
    fn truncate(&mut self, len: usize) {
        self.memory.truncate(self.start + len);
    }
}

impl<T> Deref for Line<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory[self.start..]
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.meter.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Page {
    /// The values of rows `first..end`, where they are `f32`; else nothing.
    pub fn plain(&self, layout: &PageLayout, first: usize, end: usize) -> &[f32] {
        match &self.values {
            Values::Plain(values) => &values[first * layout.width..end * layout.width],
            Values::Packed(_) => &[],
        }
    }

    /// The bytes of rows `first..end`, where they are packed; else nothing.
    pub fn packed(&self, layout: &PageLayout, first: usize, end: usize) -> &[u8] {
        match &self.values {
            Values::Plain(_) => &[],
            Values::Packed(bytes) => &bytes[first * layout.row_bytes()..end * layout.row_bytes()],
        }
    }

    /// Writes row `at`, which is behind the last or takes the place of it and all after it. There is room.
    pub fn write(&mut self, layout: &PageLayout, at: usize, row: &[f32]) {
        match &mut self.values {
            Values::Plain(values) => {
                values.truncate(at * layout.width);
                values.memory.extend_from_slice(row);
            }
            Values::Packed(bytes) => {
                let from = bytes.start + at * layout.row_bytes();
                let memory = &mut bytes.memory;
                memory.resize(from + layout.row_bytes(), 0);
                layout
                    .dtype
                    .encode(row, &mut memory[from..])
                    .expect("pages are of types that can be written");
            }
        }
    }

    /// Reads row `at`.
    pub fn read(&self, layout: &PageLayout, at: usize, to: &mut [f32]) {
        match &self.values {
            Values::Plain(_) => to.copy_from_slice(self.plain(layout, at, at + 1)),
            Values::Packed(_) => {
                layout.dtype.decode(self.packed(layout, at, at + 1), to).expect("a row is whole blocks");
            }
        }
    }

    /// Makes the rows the first `rows` of another page of the same store.
    pub fn copy_from(&mut self, layout: &PageLayout, other: &Page, rows: usize) {
        match &mut self.values {
            Values::Plain(values) => {
                values.truncate(0);
                values.memory.extend_from_slice(other.plain(layout, 0, rows));
            }
            Values::Packed(bytes) => {
                bytes.truncate(0);
                bytes.memory.extend_from_slice(other.packed(layout, 0, rows));
            }
        }
    }

    /// The bytes of the first `rows` rows, little-endian, appended to `out`.
    pub fn append_bytes(&self, layout: &PageLayout, rows: usize, out: &mut Vec<u8>) {
        out.extend(self.plain(layout, 0, rows).iter().flat_map(|value| value.to_le_bytes()));
        out.extend_from_slice(self.packed(layout, 0, rows));
    }

    /// Makes the rows those of bytes as [`Page::append_bytes`] writes them.
    pub fn take_bytes(&mut self, bytes: &[u8]) {
        match &mut self.values {
            Values::Plain(values) => {
                values.truncate(0);
                values.memory.extend(bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)));
            }
            Values::Packed(own) => {
                own.truncate(0);
                own.memory.extend_from_slice(bytes);
            }
        }
    }
}
