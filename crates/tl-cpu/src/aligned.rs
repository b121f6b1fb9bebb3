//! Growable memory that starts on a cache line.
//!
//! Vectors that lie across two lines cost twice; everything that kernels read over and over stands here.

#![expect(unsafe_code, reason = "a run of lines is seen as a slice of numbers")]

use std::alloc::{Layout, alloc_zeroed};
use std::ops::{Deref, DerefMut};

/// A cache line of bytes, as zeros.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Types that any bytes are a value of.
///
/// # Safety
/// No padding that matters, no invalid bit patterns, alignment at most 64, `Copy`.
pub(crate) unsafe trait Plain: Copy + Default {}

// SAFETY: Numbers.
unsafe impl Plain for f32 {}
// SAFETY: Numbers.
unsafe impl Plain for i16 {}
// SAFETY: Numbers.
unsafe impl Plain for i32 {}
// SAFETY: A struct of numbers, aligned to 32.
unsafe impl Plain for crate::kernels::matmul::GroupMeta {}

/// A slice on its own cache lines.
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    kind: std::marker::PhantomData<T>,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), len: 0, kind: std::marker::PhantomData }
    }
}

impl<T: Plain> Aligned<T> {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut new = Self::default();
        new.grow(len);
        new
    }

    /// `len` zeros; `None` if there is not enough memory. What is never touched takes none.
    pub(crate) fn try_zeros(len: usize) -> Option<Self> {
        let count = len.checked_mul(size_of::<T>())?.div_ceil(64);
        let layout = Layout::array::<Line>(count).ok().filter(|layout| layout.size() > 0);
        let Some(layout) = layout else { return (count == 0).then(Self::default) };
        // SAFETY: The layout has at least one byte.
        let start = unsafe { alloc_zeroed(layout) }.cast::<Line>();
        if start.is_null() {
            return None;
        }
        // SAFETY: Allocated just now as so many lines, and all zeros are lines.
        let lines = unsafe { Vec::from_raw_parts(start, count, count) };
        Some(Self { lines, len, kind: std::marker::PhantomData })
    }

    /// Makes the length at least `len`. Values before stay, new ones are 0. Never shrinks.
    pub(crate) fn grow(&mut self, len: usize) {
        if len > self.len {
            let bytes = len.checked_mul(size_of::<T>()).expect("the size of a buffer fits the address space");
            self.lines.resize(bytes.div_ceil(64), Line([0; 64]));
            self.len = len;
        }
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: The lines hold `len` values, initialised, and any bytes are a `T`; their alignment is enough.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: As for `deref`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
