//! Products of floating-point weights, and of any weights as floating point.
//!
//! A product is one chain of sixteen lanes along `k`, `acc = fma(w, x, acc)`, whose lanes are added at the end. Tiles of rows of weights
//! times rows of activations only decide what stays in registers, so every shape of tile gives the same bits.
//!
//! Weights that are not `f32` are read as they stand when there is one row of activations, and decoded to `f32` a few rows at a time
//! otherwise, or when their type has no vector load.

#![expect(unsafe_code, reason = "the kernels read and write through pointers")]
#![expect(clippy::needless_range_loop, reason = "counted loops over constants keep the arrays in registers")]

use std::ops::Range;

use tl_tensor::DType;

use super::Scratch;
use super::integer::{Out, Rows};
use crate::simd::{LANES, Simd, SimdFn};

/// Rows of weights that are decoded before they are multiplied.
pub(super) const DECODED_ROWS: usize = 8;
/// Rows of activations that are multiplied by all weights of a call before the next are.
const ROW_BLOCK: usize = 64;

/// Rows of `f32` activations.
#[derive(Clone, Copy)]
pub(crate) struct FloatRows {
    /// Of row 0.
    pub data: *const f32,
    /// Elements between rows.
    pub stride: usize,
    /// How many rows there are.
    pub rows: usize,
}

impl FloatRows {
    /// The first `k` values of a row.
    ///
    /// # Safety
    /// The row has so many, and nobody writes them.
    pub unsafe fn row<'a>(&self, row: usize, k: usize) -> &'a [f32] {
        // SAFETY: The caller vouches for the values.
        unsafe { std::slice::from_raw_parts(self.data.add(row * self.stride), k) }
    }
}

// SAFETY: The pointer is to memory that is only read while it is shared.
unsafe impl Send for FloatRows {}
// SAFETY: As above.
unsafe impl Sync for FloatRows {}

/// Columns `from..to` of the products of all activations.
pub(super) struct Float<'a> {
    pub weights: Rows,
    pub dtype: DType,
    pub k: usize,
    pub columns: Range<usize>,
    pub x: FloatRows,
    pub out: Out,
    pub scratch: &'a mut Scratch,
}

/// A type whose values a vector load converts.
trait Element {
    const BYTES: usize;
    /// # Safety
    /// 16 values can be read at `p`.
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F;
}

struct F32;
struct F16;
struct Bf16;

impl Element for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: The caller vouches for 16 values.
        unsafe { s.load(p.cast()) }
    }
}

impl Element for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: The caller vouches for 16 values.
        unsafe { s.load_f16(p) }
    }
}

impl Element for Bf16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: The caller vouches for 16 values.
        unsafe { s.load_bf16(p) }
    }
}

impl SimdFn for Float<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let whole = self.k.is_multiple_of(LANES);
        // SAFETY: The caller of `matmul` vouched for the rows of the weights and of the activations and for the columns of the product.
        unsafe {
            match self.dtype {
                DType::F32 => direct::<S, F32>(s, &self),
                DType::F16 if whole && self.x.rows == 1 => direct::<S, F16>(s, &self),
                DType::BF16 if whole && self.x.rows == 1 => direct::<S, Bf16>(s, &self),
                _ => decoded(s, self),
            }
        }
    }
}

/// All columns, from weights as they stand.
///
/// # Safety
/// See [`Float`]; only `f32` may have a `k` that is not a multiple of 16.
#[inline(always)]
unsafe fn direct<S: Simd, E: Element>(s: S, job: &Float<'_>) {
    for first in (0..job.x.rows).step_by(ROW_BLOCK) {
        let rows = first..job.x.rows.min(first + ROW_BLOCK);
        // SAFETY: The caller vouches for these rows and columns.
        unsafe { multiply::<S, E>(s, job.weights, job.k, job.columns.clone(), 0, job.x, rows, job.out) };
    }
}

/// All columns, from weights that are decoded a few rows at a time.
///
/// # Safety
/// See [`Float`].
#[inline(always)]
unsafe fn decoded<S: Simd>(s: S, job: Float<'_>) {
    let stride = job.k.next_multiple_of(LANES);
    job.scratch.decoded.grow(DECODED_ROWS * stride);
    let bytes = job.weights.stride;
    for first in (0..job.x.rows).step_by(ROW_BLOCK) {
        let rows = first..job.x.rows.min(first + ROW_BLOCK);
        for from in job.columns.clone().step_by(DECODED_ROWS) {
            let to = job.columns.end.min(from + DECODED_ROWS);
            for (n, into) in (from..to).zip(job.scratch.decoded.chunks_exact_mut(stride)) {
                // SAFETY: The caller vouches for row `n` of the weights.
                unsafe {
                    let row = job.weights.data.add(n * bytes);
                    match job.dtype {
                        DType::F16 if job.k == stride => widen_row::<S, F16>(s, row, into),
                        DType::BF16 if job.k == stride => widen_row::<S, Bf16>(s, row, into),
                        other => {
                            (other.info().decode)(std::slice::from_raw_parts(row, bytes), &mut into[..job.k])
                        }
                    }
                }
            }
            let data = job.scratch.decoded.as_ptr().cast();
            let weights = Rows { data, stride: 4 * stride };
            // SAFETY: The scratch holds `to − from` rows of `k` values; the caller vouches for the rest.
            unsafe { multiply::<S, F32>(s, weights, job.k, from..to, from, job.x, rows.clone(), job.out) };
        }
    }
}

/// # Safety
/// `into.len()` values of the type can be read at `row`; it is a multiple of 16.
#[inline(always)]
unsafe fn widen_row<S: Simd, E: Element>(s: S, row: *const u8, into: &mut [f32]) {
    for i in (0..into.len()).step_by(LANES) {
        // SAFETY: Both have 16 values from `i` on.
        unsafe { s.store(into.as_mut_ptr().add(i), E::load(s, row.add(i * E::BYTES))) }
    }
}

/// Columns `columns`, where column `c` has row `c − base` of the weights, of rows `rows`.
///
/// # Safety
/// See [`Float`].
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one loop nest, cut where it is read best")]
unsafe fn multiply<S: Simd, E: Element>(
    s: S,
    weights: Rows,
    k: usize,
    columns: Range<usize>,
    base: usize,
    x: FloatRows,
    rows: Range<usize>,
    out: Out,
) {
    let tile = |column: usize, row: usize| FloatTile {
        w: weights.data.wrapping_add((column - base) * weights.stride),
        w_stride: weights.stride,
        x: x.data.wrapping_add(row * x.stride),
        x_stride: x.stride,
        k,
        out: out.data.wrapping_add(row * out.stride + column),
        out_stride: out.stride,
    };
    // SAFETY: The caller vouches for these columns and rows.
    unsafe {
        if rows.len() == 1 {
            let mut column = columns.start;
            while column + 4 <= columns.end {
                tile(column, rows.start).run::<S, E, 4, 1>(s);
                column += 4;
            }
            while column < columns.end {
                tile(column, rows.start).run::<S, E, 1, 1>(s);
                column += 1;
            }
            return;
        }
        let mut column = columns.start;
        while column < columns.end {
            let pair = column + 2 <= columns.end;
            let mut row = rows.start;
            while row < rows.end {
                let tile = tile(column, row);
                match (pair, rows.end - row) {
                    (true, 3..) => tile.run::<S, E, 2, 3>(s),
                    (true, 2) => tile.run::<S, E, 2, 2>(s),
                    (true, _) => tile.run::<S, E, 2, 1>(s),
                    (false, 3..) => tile.run::<S, E, 1, 3>(s),
                    (false, 2) => tile.run::<S, E, 1, 2>(s),
                    (false, _) => tile.run::<S, E, 1, 1>(s),
                }
                row += 3.min(rows.end - row);
            }
            column += if pair { 2 } else { 1 };
        }
    }
}

/// Some rows of weights times some rows of activations.
struct FloatTile {
    w: *const u8,
    w_stride: usize,
    x: *const f32,
    x_stride: usize,
    k: usize,
    out: *mut f32,
    out_stride: usize,
}

impl FloatTile {
    /// `W` rows of weights times `R` rows of activations.
    ///
    /// # Safety
    /// The pointers are to so many rows.
    #[inline(always)]
    unsafe fn run<S: Simd, E: Element, const W: usize, const R: usize>(&self, s: S) {
        let mut acc = [[s.splat(0.0); R]; W];
        let whole = self.k / LANES * LANES;
        // SAFETY: The caller vouches for `k` values of each row, and for the elements of the product.
        unsafe {
            for i in (0..whole).step_by(LANES) {
                let mut x = [s.splat(0.0); R];
                for r in 0..R {
                    x[r] = s.load(self.x.add(r * self.x_stride + i));
                }
                for w in 0..W {
                    let weight = E::load(s, self.w.add(w * self.w_stride + i * E::BYTES));
                    for r in 0..R {
                        acc[w][r] = s.fma(weight, x[r], acc[w][r]);
                    }
                }
            }
            if whole < self.k {
                let left = self.k - whole;
                for w in 0..W {
                    let weight = s.load_partial(self.w.add(w * self.w_stride).cast::<f32>().add(whole), left);
                    for r in 0..R {
                        let x = s.load_partial(self.x.add(r * self.x_stride + whole), left);
                        acc[w][r] = s.fma(weight, x, acc[w][r]);
                    }
                }
            }
            for w in 0..W {
                for r in 0..R {
                    *self.out.add(r * self.out_stride + w) = s.sum(acc[w][r]);
                }
            }
        }
    }
}
