//! A tensor: a shape, an element type, and bytes.

use crate::{Buffer, DType};

/// An immutable tensor. `shape` is slowest axis first; the last axis is contiguous.
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Buffer,
}

/// Why bytes can't be a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TensorError {
    /// The shape needs another number of bytes than there are.
    Size {
        /// Bytes that the shape needs.
        needed: usize,
        /// Bytes that there are.
        given: usize,
    },
}

impl Tensor {
    /// A tensor of `f32` values.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "the shape's size is the number of values");
        Self { dtype: DType::F32, shape: shape.to_vec(), data: Buffer::from_f32(values) }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the axes, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The bytes, in the layout of the element type.
    pub fn data(&self) -> &Buffer {
        &self.data
    }
}
