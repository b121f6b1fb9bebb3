//! Shared, immutable bytes: owned memory or a part of a mapped file.
//!
//! A buffer is a reference-counted owner and a range in it, so slicing and cloning copy nothing, and a part keeps the
//! whole alive. Numbers in a buffer are little-endian on every machine, as they are in files; a typed view
//! ([`Buffer::as_slice`]) exists only where the machine's own layout is that one and the address is aligned.
//!
//! Invariant: bytes never change while a buffer can see them, and the range lies inside the owner's bytes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The alignment, in bytes, of memory that buffers allocate: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;

/// A shared, immutable run of bytes.
#[derive(Clone)]
pub struct Buffer {
    owner: Arc<dyn Owner>,
    range: Range<usize>,
}

/// A plain number that may lie in a buffer: every bit pattern is a value, and there is no padding.
///
/// Sealed: the types are `f32`, `f64`, `u8`, `i8`, `i16`, `i32`, `i64`, and `u16` for the bits of half-precision numbers.
pub trait Plain: sealed::Plain + Copy + Send + Sync + 'static {}

mod sealed {
    /// Holds the types of [`super::Plain`] and what differs between them: the conversion to little-endian.
    pub trait Plain: Copy {
        /// Rearranges the bytes of a number in place so that memory holds it in little-endian order.
        fn to_le(self) -> Self;
    }
}

/// What can own a buffer's bytes for as long as any slice of them lives.
trait Owner: Send + Sync {
    /// The bytes; always the same ones.
    fn bytes(&self) -> &[u8];

    /// See [`Buffer::release`].
    fn release(&self, _: Range<usize>) {}
}

/// An owner that the caller brought.
struct Foreign<T>(T);

/// A file in memory.
struct Mapped(memmap2::Mmap);

/// Numbers whose memory is given out as bytes.
struct Numbers<T>(Box<[T]>);

/// Memory in units of [`ALIGNMENT`] bytes, of which the first `len` bytes count.
struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

impl Buffer {
    /// Takes the bytes over, without a copy.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self::from_values(bytes)
    }

    /// A copy of `values` as little-endian bytes.
    pub fn from_f32(values: &[f32]) -> Self {
        Self::from_values(values.to_vec())
    }

    /// Takes numbers over as little-endian bytes; on little-endian machines without a copy.
    pub fn from_values<T: Plain>(mut values: Vec<T>) -> Self {
        if cfg!(target_endian = "big") {
            values.iter_mut().for_each(|v| *v = sealed::Plain::to_le(*v));
        }
        Self::over(Numbers(values.into_boxed_slice()))
    }

    /// The bytes of any owner, kept alive by the buffer.
    ///
    /// The owner's `as_ref` must give the same bytes each time; if it gives fewer, reading the buffer panics.
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self::over(Foreign(owner))
    }

    /// New memory of `len` bytes, aligned to [`ALIGNMENT`], zeroed and then written by `fill`.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`] where the memory can't be had, or what `fill` answers.
    pub fn build(len: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Self> {
        let mut memory = Aligned::zeroed(len)?;
        fill(memory.as_mut_slice())?;
        Ok(Self::over(memory))
    }

    /// Reads a whole file, from its first byte, into aligned memory.
    ///
    /// # Errors
    /// What the operating system says; `InvalidInput` where the file is not a regular one; `UnexpectedEof` where it
    /// is shortened while it is read.
    pub fn read_file(mut file: &File) -> io::Result<Self> {
        let len = regular_file_len(file)?;
        file.seek(SeekFrom::Start(0))?;
        Self::build(len, |bytes| file.read_exact(bytes))
    }

    /// Maps a whole file into memory, read-only.
    ///
    /// # Errors
    /// What the operating system says when the file can't be mapped; `InvalidInput` where it is not a regular one.
    #[expect(unsafe_code, reason = "memory-mapping a file")]
    pub fn map_file(file: &File) -> io::Result<Self> {
        if regular_file_len(file)? == 0 {
            return Ok(Self::default());
        }
        // SAFETY: The map is private and read-only. That the file is not shortened while it is mapped is asked of the
        // user, as every memory-mapping reader does; `read_file` serves those who can't promise it.
        let map = unsafe { memmap2::MmapOptions::new().map(file)? };
        Ok(Self::over(Mapped(map)))
    }

    /// The part `range` of this buffer; `None` where it reaches outside.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        let start = self.range.start + range.start;
        Some(Self { owner: Arc::clone(&self.owner), range: start..start + range.len() })
    }

    /// Says that part `range` of the bytes will not be read for some time. Of a mapped file, the memory is given back to the system, which reads it again
    /// where it is needed; other memory stays.
    pub fn release(&self, range: Range<usize>) {
        if range.start < range.end && range.end <= self.range.len() {
            let start = self.range.start;
            self.owner.release(start + range.start..start + range.end);
        }
    }

    /// The bytes as numbers, without a copy.
    ///
    /// `None` where the address is not aligned for `T`, where the length is not a multiple of its size, or where the
    /// machine is big-endian.
    #[expect(unsafe_code, reason = "bytes seen as numbers")]
    pub fn as_slice<T: Plain>(&self) -> Option<&[T]> {
        if cfg!(target_endian = "big") {
            return None;
        }
        // SAFETY: `Plain` is sealed to number types without padding, for which every bit pattern is a value; `align_to`
        // sees to the alignment and the length.
        let (before, values, after) = unsafe { self.align_to::<T>() };
        (before.is_empty() && after.is_empty()).then_some(values)
    }

    /// Whether the first byte's address is a multiple of `alignment`; false for 0.
    pub fn is_aligned(&self, alignment: usize) -> bool {
        self.as_ptr().addr().checked_rem(alignment) == Some(0)
    }

    fn over(owner: impl Owner + 'static) -> Self {
        let range = 0..owner.bytes().len();
        Self { owner: Arc::new(owner), range }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::from_vec(Vec::new())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.range.clone()]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

impl<T: AsRef<[u8]> + Send + Sync> Owner for Foreign<T> {
    fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl Owner for Mapped {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(unix)]
    #[expect(unsafe_code, reason = "pages of a map are dropped")]
    fn release(&self, range: Range<usize>) {
        // SAFETY: The map is private and nobody writes to it, so dropped pages are read from the file again, the same bytes. A system that can't drop them
        // keeps them.
        let _ = unsafe {
            self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
        };
    }
}

impl<T: Plain> Owner for Numbers<T> {
    #[expect(unsafe_code, reason = "numbers seen as bytes")]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `Plain` is sealed to number types without padding, so all their bytes are initialised; the pointer
        // and the length in bytes are those of one live slice, and a byte has no alignment.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), size_of_val(&*self.0)) }
    }
}

impl Owner for Aligned {
    #[expect(unsafe_code, reason = "aligned lines seen as bytes")]
    fn bytes(&self) -> &[u8] {
        let len = self.lines.len() * ALIGNMENT;
        // SAFETY: As in `as_mut_slice`, with a shared borrow.
        let bytes = unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), len) };
        &bytes[..self.len]
    }
}

impl Aligned {
    /// `len` bytes of zero, or `OutOfMemory`.
    fn zeroed(len: usize) -> io::Result<Self> {
        let count = len.div_ceil(ALIGNMENT);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| io::ErrorKind::OutOfMemory)?;
        lines.resize(count, Line([0; ALIGNMENT]));
        Ok(Self { lines, len })
    }

    #[expect(unsafe_code, reason = "aligned lines seen as bytes")]
    fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.lines.len() * ALIGNMENT;
        // SAFETY: `Line` is an array of bytes of exactly its own size and alignment, so there is no padding; pointer and
        // length are those of the vector, borrowed mutably for as long as the slice lives.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) };
        &mut bytes[..self.len]
    }
}

/// The length of a regular file; other files have no length that could be trusted.
fn regular_file_len(file: &File) -> io::Result<usize> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    usize::try_from(metadata.len()).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

macro_rules! plain {
    ($($int:ty),*; $($float:ty),*) => {
        $(impl sealed::Plain for $int {
            fn to_le(self) -> Self {
                <$int>::to_le(self)
            }
        }
        impl Plain for $int {})*
        $(impl sealed::Plain for $float {
            fn to_le(self) -> Self {
                <$float>::from_bits(self.to_bits().to_le())
            }
        }
        impl Plain for $float {})*
    };
}
plain!(u8, i8, u16, i16, i32, i64; f32, f64);
