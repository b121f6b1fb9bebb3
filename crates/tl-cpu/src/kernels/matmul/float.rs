//! Products of floating-point weights, and of any weights as floating point.
//!
//! A product is one chain of sixteen lanes along `k`, `acc = fma(w, x, acc)`, whose lanes are added at the end. Panels of `k`, and tiles of rows
//! of weights times rows of activations, only decide what stays in caches and registers, so every cut gives the same bits.
//!
//! Weights meet one row of activations as they stand in memory. For several rows, or where their type has no vector load, they are decoded to `f32`, a
//! panel of a few rows at a time.

#![expect(unsafe_code, reason = "the kernels read and write through pointers")]
#![expect(clippy::needless_range_loop, reason = "counted loops over constants keep the arrays in registers")]

use std::ops::Range;

use tl_tensor::DType;

use super::integer::{Out, Rows};
use crate::aligned::Aligned;
use crate::simd::{AHEAD, LANES, LINE, Simd, SimdFn, prefetch_far};

/// Rows of weights that are decoded together, at most, before they are multiplied.
const COLUMNS: usize = 8;
/// Values of each of them: they stay in the first cache, and as many of `ROW_BLOCK` rows of activations in the second. Whole blocks of every type.
const PANEL: usize = 512;
/// Rows of activations that are multiplied by all weights of a call before the next are.
const ROW_BLOCK: usize = 64;
/// Rows of weights that meet one row of activations together.
const PAIR: usize = 2;

/// Memory of one worker for these products.
pub(super) struct FloatScratch {
    /// `[column][value]`, a panel.
    decoded: Aligned<f32>,
    /// `[row][column][lane]`, the chains.
    chains: Aligned<f32>,
}

impl Default for FloatScratch {
    fn default() -> Self {
        Self { decoded: Aligned::zeros(COLUMNS * PANEL), chains: Aligned::zeros(ROW_BLOCK * COLUMNS * LANES) }
    }
}

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
    pub scratch: &'a mut FloatScratch,
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
                DType::F32 if self.x.rows == 1 => one_row::<S, F32>(s, &self),
                DType::F16 if whole && self.x.rows == 1 => one_row::<S, F16>(s, &self),
                DType::BF16 if whole && self.x.rows == 1 => one_row::<S, Bf16>(s, &self),
                _ => many_rows(s, self),
            }
        }
    }
}

/// All columns of one row of activations, from weights as they stand.
///
/// # Safety
/// See [`Float`]; only `f32` may have a `k` that is not a multiple of 16.
#[inline(always)]
unsafe fn one_row<S: Simd, E: Element>(s: S, job: &Float<'_>) {
    let mut column = job.columns.start;
    while column < job.columns.end {
        let tile = FloatTile {
            w: job.weights.data.wrapping_add(column * job.weights.stride),
            w_stride: job.weights.stride,
            x: job.x.data,
            x_stride: 0,
            k: job.k,
            out: job.out.data.wrapping_add(column),
            out_stride: 0,
            part: Part { chains: std::ptr::null_mut(), is_first: true, is_last: true },
        };
        // SAFETY: The caller vouches for these columns.
        unsafe {
            if column + PAIR <= job.columns.end {
                tile.run::<S, E, PAIR, 1, true>(s);
                column += PAIR;
            } else {
                tile.run::<S, E, 1, 1, true>(s);
                column += 1;
            }
        }
    }
}

/// All columns, from panels of weights that are decoded unless they are `f32`.
///
/// # Safety
/// See [`Float`].
#[inline(always)]
unsafe fn many_rows<S: Simd>(s: S, mut job: Float<'_>) {
    for first in (0..job.x.rows).step_by(ROW_BLOCK) {
        let rows = first..job.x.rows.min(first + ROW_BLOCK);
        let mut column = job.columns.start;
        while column < job.columns.end {
            // SAFETY: The caller vouches for these columns and rows.
            column += unsafe {
                match job.columns.end - column {
                    8.. if S::TILE_ROWS >= 8 => columns::<S, 8>(s, &mut job, column, rows.clone()),
                    2.. => columns::<S, 2>(s, &mut job, column, rows.clone()),
                    _ => columns::<S, 1>(s, &mut job, column, rows.clone()),
                }
            };
        }
    }
}

/// `W` columns of a block of rows; gives `W`.
///
/// # Safety
/// See [`Float`].
#[inline(always)]
unsafe fn columns<S: Simd, const W: usize>(
    s: S,
    job: &mut Float<'_>,
    column: usize,
    rows: Range<usize>,
) -> usize {
    for from in (0..job.k).step_by(PANEL) {
        let k = PANEL.min(job.k - from);
        let (w, w_stride) = if job.dtype == DType::F32 {
            (job.weights.data.wrapping_add(column * job.weights.stride + 4 * from), job.weights.stride)
        } else {
            let first = job.weights.data.wrapping_add(column * job.weights.stride);
            // The rows after these follow them, and are asked for in the order of memory, whatever the order in which these are read.
            let next = first.wrapping_add(W * job.weights.stride + bytes_of(job.dtype, W * from));
            for (w, into) in job.scratch.decoded.chunks_exact_mut(PANEL).take(W).enumerate() {
                let data = first.wrapping_add(w * job.weights.stride + bytes_of(job.dtype, from));
                let next = next.wrapping_add(bytes_of(job.dtype, w * k));
                // SAFETY: The caller vouches for the row.
                unsafe { decode(s, job.dtype, data, next, &mut into[..k]) };
            }
            (job.scratch.decoded.as_ptr().cast(), 4 * PANEL)
        };
        let mut row = rows.start;
        while row < rows.end {
            let chains = job.scratch.chains[(row - rows.start) * W * LANES..].as_mut_ptr();
            let tile = FloatTile {
                w,
                w_stride,
                x: job.x.data.wrapping_add(row * job.x.stride + from),
                x_stride: job.x.stride,
                k,
                out: job.out.data.wrapping_add(row * job.out.stride + column),
                out_stride: job.out.stride,
                part: Part { chains, is_first: from == 0, is_last: from + k == job.k },
            };
            // SAFETY: The weights and the activations have these values, the scratch has room for the chains, the product for the columns.
            row += unsafe {
                match rows.end - row {
                    3.. => tile.run::<S, F32, W, 3, false>(s),
                    2 => tile.run::<S, F32, W, 2, false>(s),
                    _ => tile.run::<S, F32, W, 1, false>(s),
                }
            };
        }
    }
    W
}

/// The bytes of so many values.
fn bytes_of(dtype: DType, values: usize) -> usize {
    dtype.row_bytes(values).expect("panels and their ends are whole blocks")
}

/// Decodes weights to `f32`, and asks for those that are next.
///
/// # Safety
/// So many values can be read at `data`.
#[inline(always)]
unsafe fn decode<S: Simd>(s: S, dtype: DType, data: *const u8, next: *const u8, into: &mut [f32]) {
    // SAFETY: The caller vouches for the values.
    unsafe {
        match dtype {
            DType::F16 if into.len().is_multiple_of(LANES) => widen::<S, F16>(s, data, next, into),
            DType::BF16 if into.len().is_multiple_of(LANES) => widen::<S, Bf16>(s, data, next, into),
            other => {
                let bytes = std::slice::from_raw_parts(data, bytes_of(dtype, into.len()));
                (other.info().decode)(bytes, into);
            }
        }
    }
}

/// # Safety
/// `into.len()` values of the type can be read at `data`; it is a multiple of 16.
#[inline(always)]
unsafe fn widen<S: Simd, E: Element>(s: S, data: *const u8, next: *const u8, into: &mut [f32]) {
    for i in (0..into.len()).step_by(LANES) {
        prefetch_far(next.wrapping_add(i * E::BYTES));
        // SAFETY: Both have 16 values from `i` on.
        unsafe { s.store(into.as_mut_ptr().add(i), E::load(s, data.add(i * E::BYTES))) }
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
    part: Part,
}

/// Which part of the sums over `k` a tile is.
struct Part {
    /// `[row][column][lane]`, what the part before and the part after it share.
    chains: *mut f32,
    is_first: bool,
    is_last: bool,
}

impl FloatTile {
    /// `W` rows of weights times `R` rows of activations, and asks for the rows of weights after them if `ASKS`; gives `R`.
    ///
    /// # Safety
    /// The pointers are to so many rows.
    #[inline(always)]
    unsafe fn run<S: Simd, E: Element, const W: usize, const R: usize, const ASKS: bool>(
        &self,
        s: S,
    ) -> usize {
        let mut acc = [[s.splat(0.0); R]; W];
        let whole = self.k / LANES * LANES;
        let chain = |w: usize, r: usize| self.part.chains.wrapping_add((r * W + w) * LANES);
        // SAFETY: The caller vouches for `k` values of each row, for the chains, and for the elements of the product.
        unsafe {
            if !self.part.is_first {
                for w in 0..W {
                    for r in 0..R {
                        acc[w][r] = s.load(chain(w, r));
                    }
                }
            }
            for i in (0..whole).step_by(LANES) {
                if ASKS {
                    self.ask_ahead::<E, W>(i * E::BYTES);
                }
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
            if !self.part.is_last {
                for w in 0..W {
                    for r in 0..R {
                        s.store(chain(w, r), acc[w][r]);
                    }
                }
            } else if W == 8 {
                for r in 0..R {
                    let mut row = [acc[0][r]; 8];
                    for w in 1..W {
                        row[w] = acc[w][r];
                    }
                    let out = self.out.add(r * self.out_stride);
                    out.cast::<[f32; 8]>().write_unaligned(s.sums(row));
                }
            } else {
                for w in 0..W {
                    for r in 0..R {
                        *self.out.add(r * self.out_stride + w) = s.sum(acc[w][r]);
                    }
                }
            }
        }
        R
    }

    /// Asks for what is read later than byte `at` of each of `W` rows, in the order of memory: the rows follow each other, and so do those after them.
    #[inline(always)]
    fn ask_ahead<E: Element, const W: usize>(&self, at: usize) {
        let ahead = self.w.wrapping_add(AHEAD.max(W * self.w_stride) + W * at);
        for line in 0..(W * LANES * E::BYTES).div_ceil(LINE) {
            prefetch_far(ahead.wrapping_add(LINE * line));
        }
    }
}
