//! GGUF, the container of ggml models: metadata, tensor descriptions, and tensor bytes that are used where they lie.
//!
//! The layout (all numbers little-endian, <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>):
//!
//! ```text
//! header    "GGUF"  version u32  n_tensors u64  n_kv u64
//! n_kv ×    key: string   type u32   value            string = length u64, bytes
//! n_tensors × name: string  n_dims u32  n_dims × u64  type u32  offset u64
//! padding to `general.alignment` (32)
//! data      tensor bytes, each at its offset from here, each offset a multiple of the alignment
//! ```
//!
//! There are two layers. [`File`] reads the container and knows no architecture; [`hyperparameters`] checks metadata and
//! tensors against each other as any family of models needs it.
//!
//! Invariant: nothing is allocated by a count of the file before `count × smallest record ≤ bytes left` was checked, and
//! a [`File`] that exists has tensors that lie inside it and don't overlap.

mod check;
mod cursor;
mod file;
pub mod hyperparameters;
mod layout;
mod metadata;
mod parse;
mod sniff;
mod source;
mod split;
mod value;
mod warnings;
mod weight;
mod writer;

pub use check::WeightCheck;
pub use file::{File, OpenOptions};
pub use layout::TensorInfo;
pub use metadata::{Entry, FromValue, Metadata, Mismatch};
pub use value::{Array, Strings, Value, ValueType};
pub use weight::{FALLBACKS, Fallback, Weight, WeightNote, WeightReason};
pub use writer::{Stream, Writer};

/// What a file may ask of its reader. Real models stay far below each of these.
pub mod limits {
    /// Metadata entries in a file.
    pub const ENTRIES: u64 = 65_536;
    /// Tensors in a file.
    pub const TENSORS: u64 = 65_536;
    /// Bytes of a key.
    pub const KEY: u64 = 65_535;
    /// Bytes of all keys together.
    pub const KEYS: u64 = 16 << 20;
    /// Bytes of a string.
    pub const STRING: u64 = 16 << 20;
    /// Elements of an array.
    pub const ARRAY: u64 = 64 << 20;
    /// Arrays within arrays, all together.
    pub const NESTED_ARRAYS: u64 = 65_536;
    /// Bytes of header and metadata together.
    pub const METADATA: u64 = 128 << 20;
    /// Strings of all arrays together: as many empty ones as metadata can hold.
    pub const STRINGS: u64 = METADATA / 8;
    /// Bytes of a tensor's name.
    pub const NAME: u64 = 255;
    /// Axes of a tensor.
    pub const DIMS: u32 = 4;
    /// The largest alignment.
    pub const ALIGNMENT: u64 = 64 << 10;
}

/// The alignment of a file that doesn't name one.
pub const DEFAULT_ALIGNMENT: u64 = 32;
