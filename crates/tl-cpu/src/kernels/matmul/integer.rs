//! Products of quantized weights with quantized activations, exact but for the scales.
//!
//! For a row of weights and a row of activations, over the groups of 32 values in order:
//!
//! ```text
//! int   = Σ (byte − OFFSET) · x                    exact, in 32 bits
//! acc_h = fma(f32(int), weight scale · activation scale, acc_h)
//! acc_h = fma(min, Σ activations, acc_h)           if the format has minima
//! out   = acc_0 (+ acc_1)                          two chains where halves of groups have scales of their own
//! ```
//!
//! Sixteen rows of weights are handled at once, a row a lane, so this order is the same for one row of activations (unpack
//! and multiply at once) and for many (unpack a panel of groups once, multiply by blocks of rows), for any number of
//! threads and any instruction set: all give the same bits.

#![expect(unsafe_code, reason = "the kernels read and write through pointers")]
#![expect(clippy::needless_range_loop, reason = "counted loops over constants keep the arrays in registers")]

use std::marker::PhantomData;
use std::ops::Range;

use super::activations::{GROUP, GroupMeta, QuantizedRows};
use super::formats::{Format, SLOTS, Sink};
use crate::aligned::Aligned;
use crate::simd::{LANES, RowStep, Simd, SimdFn, opaque_pointer};

/// Words of pairs in a group.
const PAIRS: usize = GROUP / 2;
/// Groups that are unpacked before they are multiplied: 512 values of 16 rows, 16 KiB.
const PANEL: usize = 16;
/// Pairs that are multiplied in one turn of the innermost loop.
const UNROLLED: usize = 4;
/// The most chains that an instruction set asks for.
const MAX_CHAINS: usize = 2;
/// Rows of activations that are multiplied by all weights of a call before the next are: they stay in the second cache.
const ROW_BLOCK: usize = 64;

/// Memory of one worker for products with many rows.
pub struct Scratch {
    /// `[group][pair][lane]`, 16-bit weights two in a word.
    pairs: Aligned<i32>,
    /// `[group][half][lane]`.
    scales: Aligned<f32>,
    /// `[group][half][lane]`.
    mins: Aligned<f32>,
    /// `[row][half][lane]`, the chains.
    acc: Aligned<f32>,
    /// A row of weights or four, decoded.
    pub(super) decoded: Aligned<f32>,
}

impl Scratch {
    /// Makes room for products of weights that are decoded first, in rows of `k` values.
    pub(crate) fn reserve_decoded(&mut self, k: usize) {
        self.decoded.grow(super::float::DECODED_ROWS * k.next_multiple_of(LANES));
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            pairs: Aligned::zeros(PANEL * PAIRS * LANES),
            scales: Aligned::zeros(PANEL * 2 * LANES),
            mins: Aligned::zeros(PANEL * 2 * LANES),
            acc: Aligned::zeros(ROW_BLOCK * 2 * LANES),
            decoded: Aligned::default(),
        }
    }
}

/// Where products go: `out[i · stride + n]` for the `i`-th of the rows that are asked for. Several threads write different columns at the same time.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    /// Of row 0, column 0.
    pub data: *mut f32,
    /// Elements between rows.
    pub stride: usize,
}

// SAFETY: The pointer is to memory lent for the time of a fork-join; each thread writes its own columns.
unsafe impl Send for Out {}
// SAFETY: As above.
unsafe impl Sync for Out {}

/// Rows of weights as they stand in memory.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    /// The first byte of row 0.
    pub data: *const u8,
    /// Bytes between rows.
    pub stride: usize,
    /// How many rows there are.
    pub n: usize,
}

/// Columns `columns` of the products of rows `rows` of the activations.
pub(super) struct Integer<'a, Fmt> {
    pub weights: Rows,
    pub columns: Range<usize>,
    pub x: &'a QuantizedRows,
    pub rows: Range<usize>,
    pub out: Out,
    pub scratch: &'a mut Scratch,
    pub format: PhantomData<Fmt>,
}

/// Sixteen columns of the product: where their weights start, and which of them are wanted.
#[derive(Clone, Copy)]
struct Tile {
    data: *const u8,
    stride: usize,
    /// The first lane that is wanted, how many are, and the column of the first.
    lane: usize,
    count: usize,
    column: usize,
}

impl Rows {
    /// The tile whose first column is `at`, of the columns below `to`. Where fewer than 16 are left, it reaches back; where
    /// there are fewer than 16 rows at all, it is one row in all lanes.
    #[inline(always)]
    fn tile(&self, at: usize, to: usize) -> Tile {
        let row = |row: usize| self.data.wrapping_add(row * self.stride);
        let count = LANES.min(to - at);
        if at + LANES <= self.n {
            Tile { data: row(at), stride: self.stride, lane: 0, count, column: at }
        } else if self.n >= LANES {
            let first = self.n - LANES;
            Tile { data: row(first), stride: self.stride, lane: at - first, count, column: at }
        } else {
            Tile { data: row(at), stride: 0, lane: 0, count: 1, column: at }
        }
    }
}

impl Tile {
    /// Stores the wanted lanes at row `row` of the product.
    ///
    /// # Safety
    /// The columns of the tile can be written there.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, out: Out, row: usize, value: S::F) {
        // SAFETY: The caller vouches for `count` columns, at most 16.
        unsafe {
            let to = out.data.add(row * out.stride + self.column);
            if self.count == LANES {
                s.store(to, value);
            } else {
                let mut lanes = [0.0f32; LANES];
                s.store(lanes.as_mut_ptr(), value);
                to.copy_from_nonoverlapping(lanes[self.lane..].as_ptr(), self.count);
            }
        }
    }
}

impl<Fmt: Format> SimdFn for Integer<'_, Fmt> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        // SAFETY: `Weights` and `matmul` checked that the rows have `k` values of the format and that the product has room.
        unsafe {
            if self.rows.len() == 1 {
                one_row::<S, Fmt>(s, self.weights, self.columns, self.x, self.rows.start, self.out);
            } else {
                many_rows::<S, Fmt>(s, self);
            }
        }
    }
}

/// The values of a quad in 16 bits: 0 and 2, 1 and 3.
#[inline(always)]
fn widen<S: Simd, Fmt: Format>(s: S, bytes: S::I) -> (S::I, S::I) {
    if Fmt::SIGNED {
        (s.sar16::<8>(s.shl16::<8>(bytes)), s.sar16::<8>(bytes))
    } else {
        (s.and(bytes, s.splat_i(0x00FF_00FF)), s.shr16::<8>(bytes))
    }
}

/// Where the pair of values 0 and 2 of quad `c` stands among the pairs of its group; that of 1 and 3 is four words on.
#[inline(always)]
fn pair_of(c: usize) -> usize {
    c / 4 * 8 + c % 4
}

/// Adds a group, or half of one, to its chain: `int` is the sum of `byte · x`.
#[inline(always)]
fn extend<S: Simd, Fmt: Format>(
    s: S,
    int: S::I,
    meta: &GroupMeta,
    half: usize,
    (scale, min): (S::F, S::F),
    acc: S::F,
) -> S::F {
    let (int_sum, sum) = if Fmt::HALVES == 1 {
        (meta.int_sum, meta.sum)
    } else {
        (meta.half_int_sums[half], meta.half_sums[half])
    };
    let int = if Fmt::OFFSET == 0 { int } else { s.sub_i(int, s.splat_i(Fmt::OFFSET * int_sum)) };
    let acc = s.fma(s.to_f32(int), s.mul(scale, s.splat(meta.scale)), acc);
    if Fmt::MINS { s.fma(min, s.splat(sum), acc) } else { acc }
}

/// Multiplies quads, as they come, by one row of activations.
struct Multiply<S: Simd, Fmt> {
    s: S,
    /// The activations of the block.
    x: *const i32,
    meta: *const GroupMeta,
    /// What will be read next, after this tile.
    ahead: *const u8,
    int: [S::I; SLOTS],
    acc: [S::F; 2],
    format: PhantomData<Fmt>,
}

impl<S: Simd, Fmt: Format> Sink<S> for Multiply<S, Fmt> {
    #[inline(always)]
    fn quad(&mut self, group: usize, slot: usize, c: usize, bytes: S::I) {
        let s = self.s;
        let (even, odd) = widen::<S, Fmt>(s, bytes);
        // SAFETY: `x` has the pairs of every group of the block.
        let (x_even, x_odd) = unsafe {
            let x = self.x.add(group * PAIRS + pair_of(c));
            (*x, *x.add(4))
        };
        self.int[slot] = s.dot_pairs(self.int[slot], even, s.splat_i(x_even));
        self.int[slot] = s.dot_pairs(self.int[slot], odd, s.splat_i(x_odd));
    }

    #[inline(always)]
    fn finish(&mut self, group: usize, slot: usize, half: usize, scale: S::F, min: S::F) {
        // SAFETY: There is a `GroupMeta` for every group of the block.
        let meta = unsafe { &*self.meta.add(group) };
        let share = LANES * Fmt::BYTES / (Fmt::BLOCK / GROUP * Fmt::HALVES);
        for line in (0..share).step_by(64) {
            self.s.prefetch(self.ahead.wrapping_add(line));
        }
        self.ahead = self.ahead.wrapping_add(share);
        let int = std::mem::replace(&mut self.int[slot], self.s.splat_i(0));
        self.acc[half] = extend::<S, Fmt>(self.s, int, meta, half, (scale, min), self.acc[half]);
    }
}

/// The sum of the chains.
#[inline(always)]
fn join_chains<S: Simd, Fmt: Format>(s: S, acc: [S::F; 2]) -> S::F {
    if Fmt::HALVES == 1 { acc[0] } else { s.add(acc[0], acc[1]) }
}

/// The columns of one row of activations.
///
/// # Safety
/// See [`Integer`].
#[inline(always)]
unsafe fn one_row<S: Simd, Fmt: Format>(
    s: S,
    weights: Rows,
    columns: Range<usize>,
    x: &QuantizedRows,
    row: usize,
    out: Out,
) {
    let blocks = x.k() / Fmt::BLOCK;
    let mut at = columns.start;
    while at < columns.end {
        let tile = weights.tile(at, columns.end);
        let step = RowStep::new(tile.stride);
        let zero = s.splat(0.0);
        let mut sink = Multiply::<S, Fmt> {
            s,
            x: x.pairs(row),
            meta: x.meta(row),
            ahead: tile.data.wrapping_add(LANES * tile.stride),
            int: [s.splat_i(0); SLOTS],
            acc: [zero; 2],
            format: PhantomData,
        };
        let mut data = tile.data;
        for _ in 0..blocks {
            // SAFETY: Every row of the tile has `blocks` blocks, and so many groups have the activations.
            unsafe {
                Fmt::unpack(s, data, step, &mut sink);
                data = opaque_pointer(data.wrapping_add(Fmt::BYTES));
                sink.x = sink.x.add(Fmt::BLOCK / 2);
                sink.meta = sink.meta.add(Fmt::BLOCK / GROUP);
            }
        }
        // SAFETY: The product has the columns.
        unsafe { tile.store(s, out, 0, join_chains::<S, Fmt>(s, sink.acc)) };
        at += tile.count;
    }
}

/// Stores what comes, for [`multiply_rows`].
struct Store<S: Simd, Fmt> {
    s: S,
    pairs: *mut i32,
    scales: *mut f32,
    mins: *mut f32,
    format: PhantomData<Fmt>,
}

impl<S: Simd, Fmt: Format> Sink<S> for Store<S, Fmt> {
    #[inline(always)]
    fn quad(&mut self, group: usize, _slot: usize, c: usize, bytes: S::I) {
        let (even, odd) = widen::<S, Fmt>(self.s, bytes);
        // SAFETY: The scratch has room for the groups of a block from here on.
        unsafe {
            let to = self.pairs.add((group * PAIRS + pair_of(c)) * LANES);
            self.s.store_i(to, even);
            self.s.store_i(to.add(4 * LANES), odd);
        }
    }

    #[inline(always)]
    fn finish(&mut self, group: usize, _slot: usize, half: usize, scale: S::F, min: S::F) {
        let at = (group * Fmt::HALVES + half) * LANES;
        // SAFETY: As above.
        unsafe {
            self.s.store(self.scales.add(at), scale);
            if Fmt::MINS {
                self.s.store(self.mins.add(at), min);
            }
        }
    }
}

/// The columns of several rows of activations.
///
/// # Safety
/// See [`Integer`].
#[inline(always)]
unsafe fn many_rows<S: Simd, Fmt: Format>(s: S, job: Integer<'_, Fmt>) {
    let Integer { weights, columns, x, rows: wanted, out, scratch, .. } = job;
    let groups = x.k() / GROUP;
    for first in wanted.clone().step_by(ROW_BLOCK) {
        let rows = first..wanted.end.min(first + ROW_BLOCK);
        let out = Out { data: out.data.wrapping_add((first - wanted.start) * out.stride), ..out };
        let mut at = columns.start;
        while at < columns.end {
            let tile = weights.tile(at, columns.end);
            for panel in (0..groups).step_by(PANEL) {
                let panel = panel..groups.min(panel + PANEL);
                // SAFETY: The panel's groups are whole blocks, for `PANEL` is a multiple of the groups in a block.
                unsafe {
                    unpack_panel::<S, Fmt>(s, tile, panel.clone(), scratch);
                    multiply_panel::<S, Fmt>(
                        s,
                        tile,
                        panel.clone(),
                        panel.end == groups,
                        rows.clone(),
                        x,
                        out,
                        scratch,
                    );
                }
            }
            at += tile.count;
        }
    }
}

/// Unpacks groups `panel` of the tile's rows into the scratch.
///
/// # Safety
/// The rows have these groups; they are whole blocks and at most [`PANEL`].
#[inline(always)]
unsafe fn unpack_panel<S: Simd, Fmt: Format>(s: S, tile: Tile, panel: Range<usize>, scratch: &mut Scratch) {
    let mut sink = Store::<S, Fmt> {
        s,
        pairs: scratch.pairs.as_mut_ptr(),
        scales: scratch.scales.as_mut_ptr(),
        mins: scratch.mins.as_mut_ptr(),
        format: PhantomData,
    };
    let step = RowStep::new(tile.stride);
    let per_block = Fmt::BLOCK / GROUP;
    for block in panel.start / per_block..panel.end / per_block {
        // SAFETY: The caller vouches for the block; the scratch has room for `PANEL` groups.
        unsafe {
            Fmt::unpack(s, tile.data.add(block * Fmt::BYTES), step, &mut sink);
            sink.pairs = sink.pairs.add(per_block * PAIRS * LANES);
            sink.scales = sink.scales.add(per_block * Fmt::HALVES * LANES);
            sink.mins = sink.mins.add(per_block * Fmt::HALVES * LANES);
        }
    }
}

/// Multiplies the unpacked panel by rows of activations, from the chains so far to the chains, or to the product at the end.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one loop nest, cut where it is read best")]
unsafe fn multiply_panel<S: Simd, Fmt: Format>(
    s: S,
    tile: Tile,
    panel: Range<usize>,
    last: bool,
    rows: Range<usize>,
    x: &QuantizedRows,
    out: Out,
    scratch: &mut Scratch,
) {
    let mut row = rows.start;
    while row < rows.end {
        let acc = &mut scratch.acc[(row - rows.start) * 2 * LANES..];
        let panel_of = Panel {
            pairs: scratch.pairs.as_ptr(),
            scales: scratch.scales.as_ptr(),
            mins: scratch.mins.as_ptr(),
            groups: panel.len(),
            first: panel.start == 0,
            acc: acc.as_mut_ptr(),
        };
        let left = rows.end - row;
        // SAFETY: The panel is unpacked, `acc` has room for the rows, and the activations have these rows and groups.
        let done = unsafe {
            if S::TILE_ROWS >= 8 && left >= 8 {
                multiply_rows::<S, Fmt, 8>(s, &panel_of, x, row, panel.start);
                8
            } else if left >= 4 {
                multiply_rows::<S, Fmt, 4>(s, &panel_of, x, row, panel.start);
                4
            } else if left >= 2 {
                multiply_rows::<S, Fmt, 2>(s, &panel_of, x, row, panel.start);
                2
            } else {
                multiply_rows::<S, Fmt, 1>(s, &panel_of, x, row, panel.start);
                1
            }
        };
        if last {
            for i in 0..done {
                // SAFETY: `acc` has the chains of these rows, and the product has the tile's columns of them.
                unsafe {
                    let chains = [
                        s.load(panel_of.acc.add(2 * i * LANES)),
                        s.load(panel_of.acc.add((2 * i + 1) * LANES)),
                    ];
                    tile.store(s, out, row + i - rows.start, join_chains::<S, Fmt>(s, chains));
                }
            }
        }
        row += done;
    }
}

/// An unpacked panel, and the chains of the rows that it is multiplied by.
struct Panel {
    pairs: *const i32,
    scales: *const f32,
    mins: *const f32,
    groups: usize,
    /// Whether the chains start here.
    first: bool,
    acc: *mut f32,
}

/// Multiplies the panel by `R` rows of activations from row `row`, group `from` on.
///
/// # Safety
/// The pointers of the panel are to its groups and to `R` rows of two chains; the activations have these rows and groups.
#[inline(always)]
unsafe fn multiply_rows<S: Simd, Fmt: Format, const R: usize>(
    s: S,
    panel: &Panel,
    x: &QuantizedRows,
    row: usize,
    from: usize,
) {
    let zero = s.splat(0.0);
    let mut acc = [[zero; 2]; R];
    // SAFETY: The caller vouches for all of these reads and writes.
    unsafe {
        if !panel.first {
            for r in 0..R {
                acc[r] = [s.load(panel.acc.add(2 * r * LANES)), s.load(panel.acc.add((2 * r + 1) * LANES))];
            }
        }
        let (pairs, meta) = (x.pairs(row).add(from * PAIRS), x.meta(row).add(from));
        let (row_pairs, row_meta) = (x.k() / 2, x.k() / GROUP);
        let per_half = PAIRS / Fmt::HALVES;
        for g in 0..panel.groups {
            for h in 0..Fmt::HALVES {
                let at = g * PAIRS + h * per_half;
                let mut int = [[s.splat_i(0); R]; MAX_CHAINS];
                for p in (at..at + per_half).step_by(UNROLLED) {
                    for u in 0..UNROLLED {
                        let w = s.load_i(panel.pairs.add((p + u) * LANES));
                        let int = &mut int[u % S::INT_CHAINS];
                        for r in 0..R {
                            int[r] = s.dot_pairs(int[r], w, s.splat_i(*pairs.add(r * row_pairs + p + u)));
                        }
                    }
                }
                let at = (g * Fmt::HALVES + h) * LANES;
                let scale = s.load(panel.scales.add(at));
                let min = if Fmt::MINS { s.load(panel.mins.add(at)) } else { zero };
                for r in 0..R {
                    let meta = &*meta.add(r * row_meta + g);
                    let int = if S::INT_CHAINS == 1 { int[0][r] } else { s.add_i(int[0][r], int[1][r]) };
                    acc[r][h] = extend::<S, Fmt>(s, int, meta, h, (scale, min), acc[r][h]);
                }
            }
        }
        for r in 0..R {
            s.store(panel.acc.add(2 * r * LANES), acc[r][0]);
            s.store(panel.acc.add((2 * r + 1) * LANES), acc[r][1]);
        }
    }
}
