//! Products of floating-point weights, and of any weights as floating point.
//!
//! A product is one chain of sixteen lanes along `k`, `acc = fma(w, x, acc)`, whose lanes are added at the end. Panels of `k`, tiles of rows of weights times
//! rows of activations, and parts of vectors only decide what stays in caches and registers, so every cut gives the same bits.
//!
//! One row of activations meets weights as they stand in memory, along all of `k`. Several:
//!
//! ```text
//! for each ROW_BLOCK rows of activations, and each COLUMNS rows of weights:
//!     for each PANEL values of k:
//!         panel = the weights' values as f32        [COLUMNS][PANEL]            in the first cache; for a tile of rows, where they stand
//!         for each tile of rows and columns, for each part of the vectors:
//!             chains += panel × rows                                            in registers
//!     the sums of the chains                        [ROW_BLOCK][COLUMNS][LANES] in the second cache
//! ```

#![expect(unsafe_code, reason = "the kernels read and write through pointers")]
#![expect(clippy::needless_range_loop, reason = "counted loops over constants keep the arrays in registers")]

use std::ops::Range;

use tl_tensor::DType;

use super::integer::{Out, Rows};
use crate::aligned::Aligned;
use crate::simd::{AHEAD, LANES, LINE, Simd, SimdFn, prefetch_far};

/// Rows of weights that meet several rows of activations together.
const COLUMNS: usize = 8;
/// Values of each of them that do so: decoded, they stay in the first cache, and as many of `ROW_BLOCK` rows of activations in the second. Whole blocks of
/// every type.
const PANEL: usize = 512;
/// Values between rows of a panel: more, so that the rows do not share places in the cache.
const PANEL_STRIDE: usize = PANEL + LANES;
/// Rows of activations that are multiplied by all weights of a call before the next are.
const ROW_BLOCK: usize = 64;
/// So many rows, at most, are multiplied by panels of one tile's columns.
const FEW_ROWS: usize = 16;
/// Rows of activations of a tile, at most.
const TILE_ROWS: usize = 3;
/// So many rows, at most, meet weights of types that a vector load converts where these stand: twice two rows take less time than a panel.
const ROWS_IN_PLACE: usize = 4;
/// Rows of weights that meet one row of activations together.
const PAIR: usize = 2;

/// Rows of weights of a tile: with [`TILE_ROWS`] rows of activations, as many sums of a register each as the instruction set has room for.
const fn tile_columns<S: Simd>() -> usize {
    if S::TILE_ROWS >= 8 { 8 } else { 4 }
}

/// Memory of one worker for these products.
pub(super) struct FloatScratch {
    /// `[column][value]`, a panel.
    decoded: Aligned<f32>,
    /// `[row][column][lane]`, the chains.
    chains: Aligned<f32>,
    /// `[row][k]`, activations with zeros up to whole vectors.
    padded: Aligned<f32>,
}

impl Default for FloatScratch {
    fn default() -> Self {
        Self {
            decoded: Aligned::zeros(COLUMNS * PANEL_STRIDE),
            chains: Aligned::zeros(ROW_BLOCK * COLUMNS * LANES),
            padded: Aligned::default(),
        }
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
    /// # Safety
    /// As many values as a part has can be read at `p`.
    unsafe fn load_part<S: Simd>(s: S, p: *const u8) -> S::Part;
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

    #[inline(always)]
    unsafe fn load_part<S: Simd>(s: S, p: *const u8) -> S::Part {
        // SAFETY: The caller vouches for the values.
        unsafe { s.load_part(p.cast()) }
    }
}

impl Element for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: The caller vouches for 16 values.
        unsafe { s.load_f16(p) }
    }

    #[inline(always)]
    unsafe fn load_part<S: Simd>(s: S, p: *const u8) -> S::Part {
        // SAFETY: The caller vouches for the values.
        unsafe { s.load_part_f16(p) }
    }
}

impl Element for Bf16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u8) -> S::F {
        // SAFETY: The caller vouches for 16 values.
        unsafe { s.load_bf16(p) }
    }

    #[inline(always)]
    unsafe fn load_part<S: Simd>(s: S, p: *const u8) -> S::Part {
        // SAFETY: The caller vouches for the values.
        unsafe { s.load_part_bf16(p) }
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
        // SAFETY: The caller vouches for these columns.
        column += unsafe {
            if column + PAIR <= job.columns.end {
                columns_of_one::<S, E, PAIR>(s, job, column)
            } else {
                columns_of_one::<S, E, 1>(s, job, column)
            }
        };
    }
}

/// `W` columns of one row of activations; asks for the rows of weights after them. Gives `W`.
///
/// # Safety
/// See [`one_row`].
#[inline(always)]
unsafe fn columns_of_one<S: Simd, E: Element, const W: usize>(s: S, job: &Float<'_>, column: usize) -> usize {
    let stride = job.weights.stride;
    let weights = job.weights.data.wrapping_add(column * stride);
    let whole = job.k / LANES * LANES;
    let mut acc = [s.splat(0.0); W];
    // SAFETY: The caller vouches for `k` values of each row, and for the elements of the product.
    unsafe {
        for i in (0..whole).step_by(LANES) {
            // In the order of memory: the rows follow each other, and so do those after them.
            let ahead = weights.wrapping_add(AHEAD.max(W * stride) + W * i * E::BYTES);
            for line in 0..(W * LANES * E::BYTES).div_ceil(LINE) {
                prefetch_far(ahead.wrapping_add(LINE * line));
            }
            let x = s.load(job.x.data.add(i));
            for w in 0..W {
                acc[w] = s.fma(E::load(s, weights.add(w * stride + i * E::BYTES)), x, acc[w]);
            }
        }
        if whole < job.k {
            let left = job.k - whole;
            let x = s.load_partial(job.x.data.add(whole), left);
            for w in 0..W {
                let weight = s.load_partial(weights.add(w * stride).cast::<f32>().add(whole), left);
                acc[w] = s.fma(weight, x, acc[w]);
            }
        }
        for w in 0..W {
            *job.out.data.add(column + w) = s.sum(acc[w]);
        }
    }
    W
}

/// All columns of several rows of activations.
///
/// # Safety
/// See [`Float`].
#[inline(always)]
unsafe fn many_rows<S: Simd>(s: S, mut job: Float<'_>) {
    let (all, out) = (job.x, job.out);
    for first in (0..all.rows).step_by(ROW_BLOCK) {
        let rows = ROW_BLOCK.min(all.rows - first);
        job.x = FloatRows { data: all.data.wrapping_add(first * all.stride), rows, ..all };
        job.out = Out { data: out.data.wrapping_add(first * out.stride), ..out };
        // SAFETY: The caller vouches for the rows.
        unsafe { pad(&mut job.x, job.k, &mut job.scratch.padded) };
        // Memory has nothing to do while a panel is multiplied by few rows, and there is little to ask for in between: small panels go hand in hand with it.
        let most = if rows > FEW_ROWS { COLUMNS } else { tile_columns::<S>() };
        for column in job.columns.clone().step_by(most) {
            let some = column..job.columns.end.min(column + most);
            // SAFETY: The caller vouches for these columns and rows.
            unsafe { columns(s, &mut job, some) };
        }
    }
}

/// Copies activations whose rows end within a vector, and puts zeros behind them.
///
/// # Safety
/// The rows have `k` values.
unsafe fn pad(x: &mut FloatRows, k: usize, padded: &mut Aligned<f32>) {
    if k.is_multiple_of(LANES) {
        return;
    }
    let stride = k.next_multiple_of(LANES);
    padded.grow(ROW_BLOCK * stride);
    for (row, into) in padded.chunks_exact_mut(stride).enumerate().take(x.rows) {
        // SAFETY: The caller vouches for the row.
        into[..k].copy_from_slice(unsafe { x.row(row, k) });
        into[k..].fill(0.0);
    }
    *x = FloatRows { data: padded.as_ptr(), stride, rows: x.rows };
}

/// Some columns of all rows of activations, which are at most a block; at most [`COLUMNS`].
///
/// # Safety
/// See [`Float`]; the activations have whole vectors.
#[inline(always)]
unsafe fn columns<S: Simd>(s: S, job: &mut Float<'_>, columns: Range<usize>) {
    let (dtype, stride, rows) = (job.dtype, job.weights.stride, job.x.rows);
    let first = job.weights.data.wrapping_add(columns.start * stride);
    let in_place = rows <= ROWS_IN_PLACE
        && job.k.is_multiple_of(LANES)
        && matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    let tiles = columns.len().div_ceil(tile_columns::<S>());
    let turns = rows.div_ceil(TILE_ROWS) * tiles * S::PARTS + if in_place { 0 } else { columns.len() };
    for from in (0..job.k).step_by(PANEL) {
        let k = PANEL.min(job.k - from);
        let at = |w: usize| first.wrapping_add(w * stride + bytes_of(dtype, from));
        // The rows of weights after these follow them, and are asked for in the order of memory, whatever the order in which they are read.
        let next = first.wrapping_add(columns.len() * stride + bytes_of(dtype, columns.len() * from));
        let lines = bytes_of(dtype, columns.len() * k).div_ceil(LINE);
        let mut requests = Requests { next, lines, turns };
        if !in_place {
            for (w, into) in
                job.scratch.decoded.chunks_exact_mut(PANEL_STRIDE).take(columns.len()).enumerate()
            {
                requests.turn();
                // SAFETY: The caller vouches for the weights.
                unsafe { decode(s, dtype, at(w), &mut into[..k]) };
                into[k..k.next_multiple_of(LANES)].fill(0.0);
            }
        }
        // Columns that there are none of are the last once more, which nobody reads.
        let w = std::array::from_fn(|w| {
            let w = w.min(columns.len() - 1);
            if in_place { at(w) } else { job.scratch.decoded[w * PANEL_STRIDE..].as_ptr().cast() }
        });
        let mut row = 0;
        while row < rows {
            let tile = FloatTile {
                w,
                x: job.x.data.wrapping_add(row * job.x.stride + from),
                x_stride: job.x.stride,
                k: k.next_multiple_of(LANES),
                chains: job.scratch.chains[row * COLUMNS * LANES..].as_mut_ptr(),
                is_first: from == 0,
            };
            // SAFETY: The weights and the activations have these values, the scratch has room for the chains.
            row += unsafe {
                match if in_place { dtype } else { DType::F32 } {
                    DType::F16 => tile.rows::<S, F16>(s, rows - row, tiles, &mut requests),
                    DType::BF16 => tile.rows::<S, Bf16>(s, rows - row, tiles, &mut requests),
                    _ => tile.rows::<S, F32>(s, rows - row, tiles, &mut requests),
                }
            };
        }
    }
    for row in 0..rows {
        let chains = &job.scratch.chains[row * COLUMNS * LANES..][..COLUMNS * LANES];
        // SAFETY: Each column has a chain, and the caller vouches for the columns of the product.
        unsafe {
            let sums = s.sums(std::array::from_fn(|w| s.load(chains[w * LANES..].as_ptr())));
            let out = job.out.data.add(row * job.out.stride + columns.start);
            std::slice::from_raw_parts_mut(out, columns.len()).copy_from_slice(&sums[..columns.len()]);
        }
    }
}

/// The bytes of so many values.
fn bytes_of(dtype: DType, values: usize) -> usize {
    dtype.row_bytes(values).expect("panels and their ends are whole blocks")
}

/// Requests for what is needed next, in turns between the work: memory has something to do all the time, and the places for requests suffice.
struct Requests {
    next: *const u8,
    lines: usize,
    turns: usize,
}

impl Requests {
    #[inline(always)]
    fn turn(&mut self) {
        let lines = self.lines.div_ceil(self.turns);
        for line in 0..lines {
            prefetch_far(self.next.wrapping_add(LINE * line));
        }
        self.next = self.next.wrapping_add(LINE * lines);
        self.lines -= lines;
        self.turns -= 1;
    }
}

/// Decodes weights to `f32`.
///
/// # Safety
/// So many values can be read at `data`.
#[inline(always)]
unsafe fn decode<S: Simd>(s: S, dtype: DType, data: *const u8, into: &mut [f32]) {
    // SAFETY: The caller vouches for the values.
    unsafe {
        match dtype {
            DType::F16 if into.len().is_multiple_of(LANES) => widen::<S, F16>(s, data, into),
            DType::BF16 if into.len().is_multiple_of(LANES) => widen::<S, Bf16>(s, data, into),
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
unsafe fn widen<S: Simd, E: Element>(s: S, data: *const u8, into: &mut [f32]) {
    for i in (0..into.len()).step_by(LANES) {
        // SAFETY: Both have 16 values from `i` on.
        unsafe { s.store(into.as_mut_ptr().add(i), E::load(s, data.add(i * E::BYTES))) }
    }
}

/// A panel of weights times some rows of activations.
struct FloatTile {
    w: [*const u8; COLUMNS],
    x: *const f32,
    x_stride: usize,
    /// Values, whole vectors.
    k: usize,
    /// `[row][column][lane]`.
    chains: *mut f32,
    /// Whether the chains begin here.
    is_first: bool,
}

impl FloatTile {
    /// The next of so many rows, by so many tiles of columns; gives how many rows.
    ///
    /// # Safety
    /// The weights, the activations and the chains are there.
    #[inline(always)]
    unsafe fn rows<S: Simd, E: Element>(
        &self,
        s: S,
        rows: usize,
        tiles: usize,
        requests: &mut Requests,
    ) -> usize {
        // SAFETY: The caller vouches for everything.
        unsafe {
            match rows {
                1 => self.tiles::<S, E, 1>(s, tiles, requests),
                // Two and two take less time than three and one.
                2 | 4 => self.tiles::<S, E, 2>(s, tiles, requests),
                _ => self.tiles::<S, E, TILE_ROWS>(s, tiles, requests),
            }
        }
    }

    /// `R` rows by so many tiles of columns; gives `R`.
    ///
    /// # Safety
    /// As for [`FloatTile::rows`].
    #[inline(always)]
    unsafe fn tiles<S: Simd, E: Element, const R: usize>(
        &self,
        s: S,
        tiles: usize,
        requests: &mut Requests,
    ) -> usize {
        for tile in 0..tiles {
            for lane in (0..LANES).step_by(LANES / S::PARTS) {
                requests.turn();
                // SAFETY: The caller vouches for everything.
                unsafe {
                    if S::TILE_ROWS >= 8 {
                        self.part::<S, E, 8, R>(s, 8 * tile, lane);
                    } else {
                        self.part::<S, E, 4, R>(s, 4 * tile, lane);
                    }
                }
            }
        }
        R
    }

    /// The part from `lane` on of the chains of `W` columns and `R` rows.
    ///
    /// # Safety
    /// As for [`FloatTile::rows`].
    #[inline(always)]
    unsafe fn part<S: Simd, E: Element, const W: usize, const R: usize>(
        &self,
        s: S,
        from: usize,
        lane: usize,
    ) {
        let chain = |w: usize, r: usize| self.chains.wrapping_add((r * COLUMNS + from + w) * LANES + lane);
        let mut acc = [[s.zero_part(); R]; W];
        // SAFETY: The caller vouches for the chains, and for the values of each row.
        unsafe {
            if !self.is_first {
                for w in 0..W {
                    for r in 0..R {
                        acc[w][r] = s.load_part(chain(w, r));
                    }
                }
            }
            for i in (lane..self.k).step_by(LANES) {
                let mut x = [s.zero_part(); R];
                for r in 0..R {
                    x[r] = s.load_part(self.x.add(r * self.x_stride + i));
                }
                for w in 0..W {
                    let weight = E::load_part(s, self.w[from + w].add(i * E::BYTES));
                    for r in 0..R {
                        acc[w][r] = s.fma_part(weight, x[r], acc[w][r]);
                    }
                }
            }
            for w in 0..W {
                for r in 0..R {
                    s.store_part(chain(w, r), acc[w][r]);
                }
            }
        }
    }
}
