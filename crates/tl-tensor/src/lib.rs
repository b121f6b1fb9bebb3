//! Element types, quantization formats, layouts, buffers and tensors.
//!
//! A [`Tensor`] is an element type, a [`Layout`] (shape and strides) and a shared, immutable run of bytes. Shapes are
//! written slowest axis first (row-major); a quantized tensor packs blocks along its last axis. Bytes are never copied to
//! be read: a [`Buffer`] may be memory that we own or a part of a mapped file, and transposing, slicing and reshaping
//! give views.
//!
//! Invariant: [`DType::info`] is the one table of element types. Every size, name, decoder and encoder comes from it.

mod buffer;
mod display;
mod dtype;
mod half;
mod layout;
mod plain;
pub mod quant;
mod read;
mod stats;
mod tensor;

pub use buffer::{ALIGNMENT, Buffer, Plain};
pub use dtype::{DType, DTypeInfo, Decode, Encode, Kind, Scan};
pub use half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
pub use layout::Layout;
pub use stats::Stats;
pub use tensor::{Element, Tensor, TensorError};
