//! Products of rows of activations with the rows of a weight matrix: `out[r][n] = Σ_k x[r][k] · w[n][k]`.
//!
//! Quantized weights of the formats below meet activations in 16 bits and integer arithmetic (`integer`); everything else is
//! multiplied as `f32` (`float`). Both have one order of operations for each element of the product, whatever the number of
//! rows and the cut into columns.

mod activations;
mod float;
mod formats;
mod integer;
mod packed;
mod panel;

use std::ops::Range;

use tl_tensor::DType;

pub use activations::QuantizedRows;
pub(crate) use activations::{GROUP, GroupMeta, Layout, Quantize, RowWriter, layouts};
pub(crate) use float::FloatRows;
use formats::{iq4, k_quants, mxfp4, q4, q5, q8};
pub use integer::Scratch;
pub(crate) use integer::{Out, Rows};
pub(crate) use packed::{PackFn, packed_bytes};

use crate::simd::Simd;

/// Columns of a product of quantized weights: weights, columns, activations, which of their rows, result, scratch.
///
/// Safety: the weights have rows of as many values as the activations, in the format, packed into tiles; the columns are of their rows; the
/// result has the columns in as many rows as are asked for, and nobody else uses these columns.
pub(crate) type IntegerFn = unsafe fn(Rows, Range<usize>, &QuantizedRows, Range<usize>, Out, &mut Scratch);

/// How weights of a format are multiplied as integers.
#[derive(Clone, Copy)]
pub(crate) struct IntegerKernel {
    /// Brings them into the order that the product reads.
    pub pack: PackFn,
    pub run: IntegerFn,
}

/// Columns of a product of weights as floating point: weights, their type, `k`, columns, activations, result, scratch.
///
/// Safety: as for [`IntegerFn`], with rows one after the other.
pub(crate) type FloatFn = unsafe fn(Rows, DType, usize, Range<usize>, FloatRows, Out, &mut Scratch);

/// The kernel for weights of this type, if they are multiplied as integers.
pub(crate) fn integer_kernel<S: Simd>(dtype: DType) -> Option<IntegerKernel> {
    Some(match dtype {
        DType::Q4_0 => kernel_of::<S, q4::Q4_0>(),
        DType::Q4_1 => kernel_of::<S, q4::Q4_1>(),
        DType::Q5_0 => kernel_of::<S, q5::Q5_0>(),
        DType::Q5_1 => kernel_of::<S, q5::Q5_1>(),
        DType::Q8_0 => kernel_of::<S, q8::Q8_0>(),
        DType::Q2_K => kernel_of::<S, k_quants::Q2K>(),
        DType::Q3_K => kernel_of::<S, k_quants::Q3K>(),
        DType::Q4_K => kernel_of::<S, k_quants::Q4K>(),
        DType::Q5_K => kernel_of::<S, k_quants::Q5K>(),
        DType::Q6_K => kernel_of::<S, k_quants::Q6K>(),
        DType::IQ4_NL => kernel_of::<S, iq4::Iq4Nl>(),
        DType::IQ4_XS => kernel_of::<S, iq4::Iq4Xs>(),
        DType::MXFP4 => kernel_of::<S, mxfp4::Mxfp4>(),
        _ => return None,
    })
}

fn kernel_of<S: Simd, Fmt: formats::Format>() -> IntegerKernel {
    IntegerKernel { pack: run_pack::<S, Fmt>, run: run_integer::<S, Fmt> }
}

#[expect(unsafe_code, reason = "an entry of the table of function pointers")]
fn run_pack<S: Simd, Fmt: formats::Format>(rows: &[u8], row_bytes: usize, tiles: &mut [u8]) {
    // SAFETY: The table that this is an entry of was made from a token.
    let s = unsafe { S::assume() };
    s.vectorize(packed::Pack { rows, row_bytes, tiles, format: std::marker::PhantomData::<Fmt> });
}

#[expect(unsafe_code, reason = "an entry of the table of function pointers")]
unsafe fn run_integer<S: Simd, Fmt: formats::Format>(
    weights: Rows,
    columns: Range<usize>,
    x: &QuantizedRows,
    rows: Range<usize>,
    out: Out,
    scratch: &mut Scratch,
) {
    // SAFETY: The table that this is an entry of was made from a token.
    let s = unsafe { S::assume() };
    let format = std::marker::PhantomData::<Fmt>;
    s.vectorize(integer::Integer { weights, columns, x, rows, out, scratch, format });
}

#[expect(unsafe_code, reason = "an entry of the table of function pointers")]
pub(crate) unsafe fn run_float<S: Simd>(
    weights: Rows,
    dtype: DType,
    k: usize,
    columns: Range<usize>,
    x: FloatRows,
    out: Out,
    scratch: &mut Scratch,
) {
    // SAFETY: The table that this is an entry of was made from a token.
    let s = unsafe { S::assume() };
    s.vectorize(float::Float { weights, dtype, k, columns, x, out, scratch: &mut scratch.float });
}

#[expect(unsafe_code, reason = "an entry of the table of function pointers")]
pub(crate) fn run_quantize<S: Simd>(x: &[f32], row: usize, to: RowWriter) {
    // SAFETY: The table that this is an entry of was made from a token.
    let s = unsafe { S::assume() };
    s.vectorize(Quantize { x, row, to });
}
