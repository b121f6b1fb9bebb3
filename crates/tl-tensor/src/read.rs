//! Reading tensors of any type and layout as plain numbers.
//!
//! A view is read in the order in which its values are stored, a run of neighbours at a time, and each run is put where
//! the view's own order has it. So a transposed matrix costs one pass over its bytes, and no block is decoded twice.

use crate::{DType, Layout, Tensor, TensorError};

/// How many values are decoded at a time where they aren't all kept. A multiple of every block's size.
const CHUNK: usize = 4096;

/// The largest block of any format.
const LARGEST_BLOCK: usize = 256;

impl Tensor {
    /// All values in row-major order, decoded.
    pub fn to_f32(&self) -> Vec<f32> {
        if let Some(values) = self.as_f32() {
            return values.to_vec();
        }
        let mut out = vec![0.0; self.len()];
        if self.is_contiguous() {
            (self.dtype().info().decode)(self.data(), &mut out);
        } else {
            self.each_run(|start, step, run| {
                for (i, &value) in run.iter().enumerate() {
                    out[start + i * step] = value;
                }
            });
        }
        out
    }

    /// All values in row-major order; exact for every type but `I64` beyond 2^53.
    pub fn to_f64(&self) -> Vec<f64> {
        if !self.is_wide() {
            return self.to_f32().into_iter().map(f64::from).collect();
        }
        let mut out = Vec::with_capacity(self.len());
        self.each_position(|position| out.push(self.wide(position)));
        out
    }

    /// All values of an integer or `Bool` tensor in row-major order.
    ///
    /// # Errors
    /// [`TensorError::Unsupported`] for other types.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        let dtype = self.dtype();
        if !dtype.is_integer() && dtype != DType::Bool {
            return Err(TensorError::Unsupported { dtype, what: "read as integers" });
        }
        let mut out = Vec::with_capacity(self.len());
        self.each_position(|position| out.extend(self.integer(position)));
        Ok(out)
    }

    /// The value at an index; `None` where the index lies outside.
    pub fn get(&self, index: &[usize]) -> Option<f64> {
        let position = self.layout().position(index)?;
        if self.is_wide() {
            return Some(self.wide(position));
        }
        let mut value = [0.0];
        self.decode_span(position, &mut value);
        Some(f64::from(value[0]))
    }

    /// The value of a tensor that has exactly one, whatever its rank.
    pub fn item(&self) -> Option<f64> {
        (self.len() == 1).then(|| self.get(&vec![0; self.rank()]))?
    }

    /// Decodes row `row` into `out`, where the tensor is seen as a matrix whose rows are all runs along its last axis, in
    /// row-major order. `out` has the size of the last axis.
    ///
    /// # Errors
    /// [`TensorError::Range`] where there is no such row; [`TensorError::Size`], in bytes of `f32`, where `out` has
    /// another size.
    pub fn row_f32(&self, row: usize, out: &mut [f32]) -> Result<(), TensorError> {
        let size = self.shape().last().copied().unwrap_or(1);
        if size != out.len() {
            return Err(TensorError::Size { needed: size.saturating_mul(4), given: size_of_val(out) });
        }
        let rows = self.len().checked_div(size).unwrap_or(0);
        if row >= rows {
            return Err(TensorError::Range { range: row..row.saturating_add(1), size: rows });
        }
        let position = self.layout().row_position(row);
        match self.layout().strides().last() {
            Some(&stride) if stride != 1 && size > 1 => {
                for (i, value) in out.iter_mut().enumerate() {
                    self.decode_span(position + i * stride, std::slice::from_mut(value));
                }
            }
            _ => self.decode_span(position, out),
        }
        Ok(())
    }

    /// The same values as another element type, in row-major order; the tensor itself where nothing changes.
    ///
    /// Integers and truth values become integers exactly, where these can hold them, and saturate otherwise; all else
    /// is rounded to nearest.
    ///
    /// # Errors
    /// [`TensorError::Unsupported`] where the type has no encoder; [`TensorError::Blocks`] where rows are not whole
    /// blocks of it.
    pub fn cast(&self, dtype: DType) -> Result<Self, TensorError> {
        if dtype == self.dtype() {
            return Ok(self.contiguous());
        }
        let shape = self.shape();
        match (self.to_i64(), dtype) {
            (_, DType::F64) => Self::from_vec(shape, self.to_f64()),
            (Ok(values), DType::I64) => Self::from_vec(shape, values),
            (Ok(values), DType::I32) => Self::from_vec(shape, narrow(values, i32::MIN, i32::MAX)),
            (Ok(values), DType::I16) => Self::from_vec(shape, narrow(values, i16::MIN, i16::MAX)),
            (Ok(values), DType::I8) => Self::from_vec(shape, narrow(values, i8::MIN, i8::MAX)),
            (Ok(values), DType::U8) => Self::from_vec(shape, narrow(values, u8::MIN, u8::MAX)),
            (_, DType::I64) if self.dtype() == DType::F64 => {
                Self::from_vec(shape, self.to_f64().iter().map(|v| v.round_ties_even() as i64).collect())
            }
            (_, DType::I32) if self.dtype() == DType::F64 => {
                Self::from_vec(shape, self.to_f64().iter().map(|v| v.round_ties_even() as i32).collect())
            }
            (_, DType::F32) => Self::from_vec(shape, self.to_f32()),
            _ => Self::encode(dtype, shape, &self.to_f32()),
        }
    }

    /// Whether some values of the type are no `f32`.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.dtype(), DType::F64 | DType::I32 | DType::I64)
    }

    /// The value of a wide type at a stored position.
    pub(crate) fn wide(&self, position: usize) -> f64 {
        let bytes = &self.data()[self.byte_at(position)..];
        match self.dtype() {
            DType::F64 => f64::from_le_bytes(eight(bytes)),
            DType::I32 => f64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            _ => i64::from_le_bytes(eight(bytes)) as f64,
        }
    }

    /// The value of an integer or `Bool` tensor at a stored position; `None` for other types.
    pub(crate) fn integer(&self, position: usize) -> Option<i64> {
        let b = &self.data()[self.byte_at(position)..];
        Some(match self.dtype() {
            DType::I8 => i64::from(b[0].cast_signed()),
            DType::I16 => i64::from(i16::from_le_bytes([b[0], b[1]])),
            DType::I32 => i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            DType::I64 => i64::from_le_bytes(eight(b)),
            DType::U8 => i64::from(b[0]),
            DType::Bool => i64::from(b[0] != 0),
            _ => return None,
        })
    }

    /// Calls `visit` with the stored position of each value, in row-major order.
    pub(crate) fn each_position(&self, mut visit: impl FnMut(usize)) {
        let layout = self.layout();
        odometer(layout.shape(), [layout.strides()], |[position]| visit(position));
    }

    /// Calls `visit` with all values, decoded, in runs of at most [`CHUNK`]: the row-major index of the first, how far
    /// apart the indices of neighbours are, and the values. Contiguous tensors come in order; others in an order that
    /// suits how they are stored.
    pub(crate) fn each_run(&self, mut visit: impl FnMut(usize, usize, &[f32])) {
        if self.is_empty() {
            return;
        }
        let flat = Layout::row_major([self.len()]).filter(|_| self.is_contiguous());
        let layout = flat.as_ref().unwrap_or(self.layout());
        let logical =
            Layout::row_major(layout.shape()).expect("the layout belongs to a tensor, so its size fits");
        let mut axes: Vec<usize> = (0..layout.rank()).filter(|&a| layout.shape()[a] > 1).collect();
        axes.sort_by_key(|&a| std::cmp::Reverse(layout.strides()[a]));
        // Values are neighbours where the last axis of this order has stride 1, unless the tensor repeats values.
        let inner = axes.pop_if(|a| layout.strides()[*a] == 1);
        let (size, step) = inner.map_or((1, 1), |a| (layout.shape()[a], logical.strides()[a]));
        let of = |all: &[usize]| axes.iter().map(|&a| all[a]).collect::<Vec<_>>();
        let mut values = vec![0.0; size.min(CHUNK)];
        odometer(
            &of(layout.shape()),
            [&of(layout.strides()), &of(logical.strides())],
            |[position, start]| {
                for first in (0..size).step_by(CHUNK) {
                    let run = &mut values[..CHUNK.min(size - first)];
                    self.decode_span(position + first, run);
                    visit(start + first * step, step, run);
                }
            },
        );
    }

    /// Decodes values at neighbouring stored positions, from `position` on.
    pub(crate) fn decode_span(&self, position: usize, out: &mut [f32]) {
        let (block, bytes) = (self.dtype().block(), self.dtype().bytes());
        let decode = self.dtype().info().decode;
        let (mut at, mut skip, mut rest) = (self.byte_at(position), position % block, out);
        let mut scratch = [0.0; LARGEST_BLOCK];
        while !rest.is_empty() {
            let whole = if skip == 0 { rest.len() / block } else { 0 };
            let taken = if whole > 0 {
                decode(&self.data()[at..at + whole * bytes], &mut rest[..whole * block]);
                whole * block
            } else {
                decode(&self.data()[at..at + bytes], &mut scratch[..block]);
                let taken = rest.len().min(block - skip);
                rest[..taken].copy_from_slice(&scratch[skip..skip + taken]);
                taken
            };
            at += whole.max(1) * bytes;
            skip = 0;
            rest = &mut rest[taken..];
        }
    }
}

/// Calls `visit` for each index of a shape, in row-major order, with the sums of the index times each of the strides.
fn odometer<const N: usize>(shape: &[usize], strides: [&[usize]; N], mut visit: impl FnMut([usize; N])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    let mut sums = [0; N];
    loop {
        visit(sums);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
            for (sum, strides) in sums.iter_mut().zip(strides) {
                *sum -= strides[axis] * (shape[axis] - 1);
            }
        }
        for (sum, strides) in sums.iter_mut().zip(strides) {
            *sum += strides[axis];
        }
    }
}

/// Integers brought into the range of a narrower type.
fn narrow<T: TryFrom<i64> + Into<i64> + Copy>(values: Vec<i64>, min: T, max: T) -> Vec<T> {
    let narrowed = |v: i64| T::try_from(v).unwrap_or(if v < 0 { min } else { max });
    values.into_iter().map(narrowed).collect()
}

/// The first eight bytes.
fn eight(bytes: &[u8]) -> [u8; 8] {
    std::array::from_fn(|i| bytes[i])
}
