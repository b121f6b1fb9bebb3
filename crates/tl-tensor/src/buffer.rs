//! Shared, immutable bytes: owned memory or a part of a mapped file.
//!
//! A buffer is a reference-counted owner and a range in it, so slicing and cloning copy nothing.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// What can own a buffer's bytes for as long as any slice of them lives.
trait Owner: AsRef<[u8]> + Send + Sync {}
impl<T: AsRef<[u8]> + Send + Sync> Owner for T {}

/// A shared, immutable run of bytes.
#[derive(Clone)]
pub struct Buffer {
    owner: Arc<dyn Owner>,
    range: Range<usize>,
}

impl Buffer {
    /// Takes the bytes over.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self::from_owner(bytes)
    }

    /// The little-endian bytes of `values`.
    pub fn from_f32(values: &[f32]) -> Self {
        Self::from_vec(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// The bytes of any owner, kept alive by the buffer.
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let range = 0..owner.as_ref().len();
        Self { owner: Arc::new(owner), range }
    }

    /// Maps a file into memory, read-only.
    ///
    /// # Errors
    /// What the operating system says when the file can't be mapped.
    #[expect(unsafe_code, reason = "memory-mapping a file")]
    pub fn map_file(file: &std::fs::File) -> std::io::Result<Self> {
        // SAFETY: The map is private and read-only. That the file is not shortened while it is mapped is asked of the
        // user, as every memory-mapping reader does; `read_file` serves those who can't promise it.
        let map = unsafe { memmap2::MmapOptions::new().map(file)? };
        Ok(Self::from_owner(map))
    }

    /// The part `range` of this buffer; `None` where it reaches outside.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        let start = self.range.start + range.start;
        Some(Self { owner: Arc::clone(&self.owner), range: start..start + range.len() })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}
