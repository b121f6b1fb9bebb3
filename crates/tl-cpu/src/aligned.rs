//! Growable memory that starts on a cache line.
//!
//! Vectors that lie across two lines cost twice; everything that kernels read over and over stands here.

#![expect(unsafe_code, reason = "a run of bytes is seen as a slice of numbers")]

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

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
unsafe impl Plain for u8 {}
// SAFETY: Numbers.
unsafe impl Plain for i16 {}
// SAFETY: Numbers.
unsafe impl Plain for i32 {}
// SAFETY: A struct of numbers, aligned to 32.
unsafe impl Plain for crate::kernels::matmul::GroupMeta {}

/// From so many bytes on, memory is asked of the system in pages, most of it in huge ones if it has them: it need not be cleared, and walks over columns find
/// their pages. Less is served faster by an allocator that keeps what was freed.
const LARGE: usize = 32 << 20;

enum Memory {
    Lines(Vec<Line>),
    Pages(MmapMut),
}

/// A slice on its own cache lines.
pub(crate) struct Aligned<T> {
    memory: Memory,
    len: usize,
    kind: std::marker::PhantomData<T>,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self { memory: Memory::Lines(Vec::new()), len: 0, kind: std::marker::PhantomData }
    }
}

impl Memory {
    /// So many bytes at least, all 0; `None` if there is not enough memory. Large memory that is never touched takes none.
    fn zeros(bytes: usize) -> Option<Self> {
        if bytes >= LARGE {
            let pages = MmapMut::map_anon(bytes).ok()?;
            // A kernel without huge pages says no, and small ones do.
            #[cfg(target_os = "linux")]
            let _ = pages.advise(memmap2::Advice::HugePage);
            return Some(Memory::Pages(pages));
        }
        let count = bytes.div_ceil(64);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line([0; 64]));
        Some(Memory::Lines(lines))
    }

    fn start(&self) -> *const u8 {
        match self {
            Memory::Lines(lines) => lines.as_ptr().cast(),
            Memory::Pages(pages) => pages.as_ptr(),
        }
    }

    fn start_mut(&mut self) -> *mut u8 {
        match self {
            Memory::Lines(lines) => lines.as_mut_ptr().cast(),
            Memory::Pages(pages) => pages.as_mut_ptr(),
        }
    }
}

impl<T: Plain> Aligned<T> {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut new = Self::default();
        new.grow(len);
        new
    }

    /// `len` zeros; `None` if there is not enough memory.
    pub(crate) fn try_zeros(len: usize) -> Option<Self> {
        let memory = Memory::zeros(len.checked_mul(size_of::<T>())?)?;
        Some(Self { memory, len, kind: std::marker::PhantomData })
    }

    /// Makes the length at least `len`. Values before stay, new ones are 0. Never shrinks.
    pub(crate) fn grow(&mut self, len: usize) {
        if len <= self.len {
            return;
        }
        let bytes = len.checked_mul(size_of::<T>()).expect("the size of a buffer fits the address space");
        match &mut self.memory {
            Memory::Lines(lines) if bytes < LARGE => lines.resize(bytes.div_ceil(64), Line([0; 64])),
            _ => {
                let mut new = Self::try_zeros(len).expect("there is memory for a buffer");
                new[..self.len].copy_from_slice(self);
                *self = new;
            }
        }
        self.len = len;
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: The memory holds `len` values, initialised, and any bytes are a `T`; lines and pages are aligned enough.
        unsafe { std::slice::from_raw_parts(self.memory.start().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: As for `deref`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start_mut().cast(), self.len) }
    }
}
