//! Element types, quantization formats, buffers and tensors.
//!
//! A [`Tensor`] is a shape, an element type and a shared, immutable run of bytes. Shapes are written slowest axis first
//! (row-major), so the last axis is contiguous; a quantized tensor packs blocks along that last axis. Bytes are never
//! copied to be read: a [`Buffer`] may be memory that we own or a part of a mapped file.
//!
//! Invariant: [`DType::info`] is the one table of element types. Every size, name and decoder comes from it.

mod buffer;
mod dtype;
pub mod quant;
mod tensor;

pub use buffer::Buffer;
pub use dtype::{DType, DTypeInfo};
pub use tensor::{Tensor, TensorError};
