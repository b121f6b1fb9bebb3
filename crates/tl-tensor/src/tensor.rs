//! A tensor: an element type, a layout, and bytes; and the views that share the bytes.
//!
//! Invariant: every position of the layout lies inside the bytes, and in a quantized tensor every axis either has stride
//! 1 and whole blocks, or strides that are whole blocks (or a single place). So no index can reach outside, and no view
//! cuts a block.

use std::fmt;
use std::ops::Range;

use crate::{Buffer, DType, Layout, Plain};

/// An immutable tensor. The shape is slowest axis first; clones and views share the bytes.
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    layout: Layout,
    data: Buffer,
}

/// Why bytes can't be a tensor, or a tensor can't be seen or read in some way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TensorError {
    /// The shape needs another number of bytes than there are.
    Size {
        /// Bytes that the shape needs.
        needed: usize,
        /// Bytes that there are.
        given: usize,
    },
    /// The number of values or of bytes doesn't fit in the machine's word.
    TooLarge {
        /// The element type.
        dtype: DType,
        /// The shape.
        shape: Vec<usize>,
    },
    /// A row, or a slice of one, doesn't fill whole blocks of a quantized type.
    Blocks {
        /// The element type.
        dtype: DType,
        /// The place in the row that is no multiple of the block's size.
        row: usize,
    },
    /// A shape with another number of values than the tensor has.
    Reshape {
        /// The tensor's shape.
        from: Vec<usize>,
        /// The shape asked for.
        to: Vec<usize>,
    },
    /// The tensor has no such axis, or an order of axes doesn't name each once.
    Axes {
        /// The axes asked for.
        axes: Vec<usize>,
        /// How many axes the tensor has.
        rank: usize,
    },
    /// A range or a row that reaches outside of an axis.
    Range {
        /// The range asked for.
        range: Range<usize>,
        /// The size of the axis.
        size: usize,
    },
    /// The element type can't be read or written in the way asked for.
    Unsupported {
        /// The element type.
        dtype: DType,
        /// What was asked for, "read as integers".
        what: &'static str,
    },
}

/// A number type of Rust that is also an element type.
pub trait Element: Plain {
    /// The element type.
    const DTYPE: DType;
}

impl Tensor {
    /// A tensor over bytes, which must be exactly as many as the shape needs.
    ///
    /// # Errors
    /// [`TensorError::Blocks`] where a row is not made of whole blocks, [`TensorError::TooLarge`] where a size
    /// overflows, [`TensorError::Size`] where the number of bytes is another one.
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>, data: Buffer) -> Result<Self, TensorError> {
        let (layout, needed) = sized(dtype, shape.into())?;
        if needed != data.len() {
            return Err(TensorError::Size { needed, given: data.len() });
        }
        Ok(Self { dtype, layout, data })
    }

    /// A tensor of a copy of `values`.
    ///
    /// # Panics
    /// Where the number of values is not the shape's; [`Tensor::from_vec`] answers with an error.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        Self::from_vec(shape, values.to_vec()).expect("the number of values is the product of the shape")
    }

    /// A tensor of numbers, taken over without a copy.
    ///
    /// # Errors
    /// [`TensorError::Size`] where the number of values is not the shape's.
    pub fn from_vec<T: Element>(shape: impl Into<Vec<usize>>, values: Vec<T>) -> Result<Self, TensorError> {
        Self::new(T::DTYPE, shape, Buffer::from_values(values))
    }

    /// A tensor of truth values.
    ///
    /// # Errors
    /// [`TensorError::Size`] where the number of values is not the shape's.
    pub fn from_bools(shape: impl Into<Vec<usize>>, values: &[bool]) -> Result<Self, TensorError> {
        Self::new(DType::Bool, shape, Buffer::from_vec(values.iter().map(|&v| u8::from(v)).collect()))
    }

    /// A tensor without axes: one number.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self { dtype: T::DTYPE, layout: row_major(Vec::new()), data: Buffer::from_values(vec![value]) }
    }

    /// A tensor whose bytes are all zero, which is the value 0 in most types.
    ///
    /// # Errors
    /// [`TensorError::Blocks`] and [`TensorError::TooLarge`] as for [`Tensor::new`]; the latter too where there is not
    /// enough memory.
    pub fn zeros(dtype: DType, shape: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        let (layout, bytes) = sized(dtype, shape.into())?;
        let data = Buffer::build(bytes, |_| Ok(())).map_err(|_| too_large(dtype, layout.shape()))?;
        Ok(Self { dtype, layout, data })
    }

    /// Encodes `f32` values as a tensor of any type that can be written.
    ///
    /// # Errors
    /// As for [`Tensor::zeros`]; [`TensorError::Size`] where the number of values is not the shape's, and
    /// [`TensorError::Unsupported`] where the type has no encoder.
    pub fn encode(dtype: DType, shape: impl Into<Vec<usize>>, values: &[f32]) -> Result<Self, TensorError> {
        let (layout, bytes) = sized(dtype, shape.into())?;
        if layout.len() != values.len() {
            let given = values.len().saturating_mul(dtype.bytes()) / dtype.block();
            return Err(TensorError::Size { needed: bytes, given });
        }
        let unsupported = TensorError::Unsupported { dtype, what: "written" };
        let encode = dtype.info().encode.ok_or(unsupported)?;
        let data = Buffer::build(bytes, |out| {
            encode(values, out);
            Ok(())
        });
        Ok(Self { dtype, data: data.map_err(|_| too_large(dtype, layout.shape()))?, layout })
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the axes, slowest first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// Shape and strides.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many axes there are; 0 for a single number.
    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.layout.is_empty()
    }

    /// The bytes from the first value on, in the layout of the element type. Of a contiguous tensor these are exactly its
    /// values in row-major order.
    pub fn data(&self) -> &Buffer {
        &self.data
    }

    /// Whether the bytes are the values in row-major order, in rows of whole blocks.
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_row_major() && whole_rows(self.dtype, self.shape())
    }

    /// The values as numbers in row-major order, without a copy; `None` where the element type is another one, the
    /// tensor is not contiguous, or the bytes are not aligned (or not little-endian).
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        (self.dtype == T::DTYPE && self.is_contiguous()).then(|| self.data.as_slice())?
    }

    /// As [`Tensor::as_slice`], for `f32`.
    pub fn as_f32(&self) -> Option<&[f32]> {
        self.as_slice()
    }

    /// A view with the last two axes exchanged; of tensors with fewer axes, the tensor itself.
    pub fn transpose(&self) -> Self {
        let mut order: Vec<usize> = (0..self.rank()).collect();
        if let [.., a, b] = order.as_mut_slice() {
            std::mem::swap(a, b);
        }
        self.permute(&order).expect("exchanging two axes is a permutation")
    }

    /// A view with the axes in another order: axis `k` of the result is axis `order[k]` of this tensor.
    ///
    /// # Errors
    /// [`TensorError::Axes`] where `order` does not name each axis once.
    pub fn permute(&self, order: &[usize]) -> Result<Self, TensorError> {
        let wrong = || TensorError::Axes { axes: order.to_vec(), rank: self.rank() };
        let layout = self.layout.permute(order).ok_or_else(wrong)?;
        Ok(Self { layout, ..self.clone() })
    }

    /// The same values, in row-major order, under another shape. A view where this tensor is contiguous.
    ///
    /// # Errors
    /// [`TensorError::Reshape`] where the number of values differs; [`TensorError::Blocks`] where a quantized tensor's
    /// new rows would not be whole blocks.
    pub fn reshape(&self, shape: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        let shape = shape.into();
        let fits = Layout::row_major(shape.as_slice()).filter(|l| l.len() == self.len());
        let layout =
            fits.ok_or_else(|| TensorError::Reshape { from: self.shape().to_vec(), to: shape.clone() })?;
        let contiguous = self.contiguous();
        if !whole_rows(contiguous.dtype, &shape) {
            return Err(TensorError::Blocks { dtype: self.dtype, row: row_len(&shape) });
        }
        Ok(Self { layout, ..contiguous })
    }

    /// A view of a part of one axis. Along the slowest axis of a contiguous tensor the view is contiguous too.
    ///
    /// # Errors
    /// [`TensorError::Axes`] and [`TensorError::Range`] where axis or range lie outside; [`TensorError::Blocks`] where
    /// the range would cut a block of a quantized tensor.
    pub fn slice(&self, axis: usize, range: Range<usize>) -> Result<Self, TensorError> {
        let missing = || TensorError::Axes { axes: vec![axis], rank: self.rank() };
        let size = *self.shape().get(axis).ok_or_else(missing)?;
        if range.start > range.end || range.end > size {
            return Err(TensorError::Range { range, size });
        }
        let (stride, block) = (self.layout.strides()[axis], self.dtype.block());
        if stride == 1 && size > 1 {
            let cut = [range.start, range.end].into_iter().find(|end| !end.is_multiple_of(block));
            cut.map_or(Ok(()), |row| Err(TensorError::Blocks { dtype: self.dtype, row }))?;
        }
        let layout = self.layout.shorten(axis, range.len());
        let start = if layout.is_empty() { 0 } else { self.byte_at(range.start * stride) };
        let end = start + self.bytes_of_span(layout.span());
        let data = self.data.slice(start..end).expect("a part of an axis lies inside the tensor's bytes");
        Ok(Self { dtype: self.dtype, layout, data })
    }

    /// A view of one place of the slowest axis, without that axis: row `index` of a matrix.
    ///
    /// # Errors
    /// [`TensorError::Axes`] where there is no axis; [`TensorError::Range`] where the index lies outside;
    /// [`TensorError::Blocks`] for a single value of a quantized vector.
    pub fn row(&self, index: usize) -> Result<Self, TensorError> {
        let size = self.shape().first().copied().unwrap_or(0);
        if self.rank() > 0 && index >= size {
            return Err(TensorError::Range { range: index..index.saturating_add(1), size });
        }
        let one = self.slice(0, index..index.saturating_add(1))?;
        Ok(Self { layout: one.layout.without(0), ..one })
    }

    /// The same values with bytes in row-major order: the tensor itself where it is contiguous already, else a copy. The
    /// copy of a quantized tensor whose blocks don't run along its last axis is `F32`.
    pub fn contiguous(&self) -> Self {
        if self.is_contiguous() {
            return self.clone();
        }
        let (bytes, block) = (self.dtype.bytes(), self.dtype.block());
        let packed = self.layout.strides().last() == Some(&1) && whole_rows(self.dtype, self.shape());
        if block > 1 && !packed {
            let layout = row_major(self.shape().to_vec());
            return Self { dtype: DType::F32, layout, data: Buffer::from_values(self.to_f32()) };
        }
        let mut copy = Vec::with_capacity(self.len() / block * bytes);
        self.each_position(|position| {
            if position.is_multiple_of(block) {
                let at = self.byte_at(position);
                copy.extend_from_slice(&self.data[at..at + bytes]);
            }
        });
        Self { dtype: self.dtype, layout: row_major(self.shape().to_vec()), data: Buffer::from_vec(copy) }
    }

    /// The byte at which the block that begins at stored position `position` begins.
    pub(crate) fn byte_at(&self, position: usize) -> usize {
        position / self.dtype.block() * self.dtype.bytes()
    }

    /// How many bytes hold `span` stored values.
    fn bytes_of_span(&self, span: usize) -> usize {
        span.div_ceil(self.dtype.block()) * self.dtype.bytes()
    }
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { needed, given } => write!(f, "the shape needs {needed} bytes and there are {given}"),
            Self::TooLarge { dtype, shape } => {
                write!(f, "a {dtype} tensor of shape {shape:?} does not fit in memory")
            }
            Self::Blocks { dtype, row } => {
                let block = dtype.block();
                write!(
                    f,
                    "{dtype} packs {block} values in a block along a row, and {row} is no multiple of {block}"
                )
            }
            Self::Reshape { from, to } => {
                write!(f, "shape {from:?} can't become {to:?}: another number of values")
            }
            Self::Axes { axes, rank } => write!(f, "axes {axes:?} don't fit a tensor that has {rank}"),
            Self::Range { range, size } => {
                write!(f, "{}..{} reaches outside of an axis of size {size}", range.start, range.end)
            }
            Self::Unsupported { dtype, what } => write!(f, "{dtype} values can't be {what}"),
        }
    }
}

impl std::error::Error for TensorError {}

macro_rules! elements {
    ($($number:ty => $dtype:ident),*) => {
        $(impl Element for $number {
            const DTYPE: DType = DType::$dtype;
        })*
    };
}
elements!(f32 => F32, f64 => F64, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8);

/// The layout of a shape whose number of values is known to fit.
fn row_major(shape: Vec<usize>) -> Layout {
    Layout::row_major(shape).expect("the shape belongs to a tensor, so its size fits")
}

/// The row-major layout of a shape and the bytes that it needs.
fn sized(dtype: DType, shape: Vec<usize>) -> Result<(Layout, usize), TensorError> {
    if !whole_rows(dtype, &shape) {
        return Err(TensorError::Blocks { dtype, row: row_len(&shape) });
    }
    let layout = Layout::row_major(shape.as_slice()).ok_or_else(|| too_large(dtype, &shape))?;
    let bytes = dtype.row_bytes(layout.len()).ok_or_else(|| too_large(dtype, &shape))?;
    Ok((layout, bytes))
}

/// Whether the last axis is made of whole blocks.
fn whole_rows(dtype: DType, shape: &[usize]) -> bool {
    row_len(shape).is_multiple_of(dtype.block())
}

/// The size of the last axis; 1 where there is none.
fn row_len(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1)
}

#[cold]
fn too_large(dtype: DType, shape: &[usize]) -> TensorError {
    TensorError::TooLarge { dtype, shape: shape.to_vec() }
}
