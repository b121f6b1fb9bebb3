//! Joins of two dense tensors as matrix products: packed, and a tile at a time in registers.
//!
//! Each axis of `out[b, m, n] = Σ_k left[b, m, k] · right[b, n, k]` is of one of four kinds: in both operands and the result (`b`), in one operand
//! and the result (rows `m`, columns `n`), or summed (`k`). A kind may be several axes, or none, in any order and at any strides: packing reads them
//! where they stand, so nothing is transposed before.
//!
//! ```text
//! for each position of b, block of rows and block of columns (a part):
//!     for each DEPTH positions of k:
//!         panels = the columns' values                [columns / NR][DEPTH][NR]   stay in the second cache
//!         for each MR rows:
//!             strip = the rows' values                [DEPTH][MR]                 stays in the first cache; not where one panel is all
//!             for each panel: tile = strip × panel    [MR][NR] in registers, then stored, or added to what is there
//! ```
//!
//! Invariant: an element is the sum, over runs of DEPTH positions, of one chain of multiply-adds each. So it depends neither on tiles nor on parts nor on
//! the instruction set.

#![expect(unsafe_code, reason = "buffers are addressed through pointers, as the plan says")]
#![expect(clippy::needless_range_loop, reason = "counted loops over constants keep the arrays in registers")]

use std::ops::Range;

use tl_exec::kernel::{BufferId, Dim, Einsum};

use super::tape::Buffers;
use crate::aligned::Aligned;
use crate::simd::{LANES, Simd, SimdFn};

/// Summed positions that are multiplied between two visits of the result.
const DEPTH: usize = 256;
/// Columns of a part at most: their panels take half of a second cache.
const COLUMNS: usize = 512;
/// Rows of a part at least, if there are so many: packing the columns is then a small part of the work.
const LEAST_ROWS: usize = 96;
/// Multiply-adds of a part at most, about: some thousandths of a second.
const LARGEST_PART: usize = 1 << 28;
/// The highest tile, and the widest in vectors.
const TILE_ROWS: usize = 12;
const TILE_VECTORS: usize = 4;

/// A join as a matrix product: where the elements stand for each position of each kind of axes.
pub(crate) struct Dense {
    left: Operand,
    right: Operand,
    out: Operand,
    /// Distances in `left`, `right` and `out`.
    batch: Vec<[usize; 3]>,
    /// Distances in `left` and `out`.
    rows: Vec<[usize; 2]>,
    /// Distances in `right` and `out`.
    columns: Vec<[usize; 2]>,
    /// Distances in `left` and `right`.
    summed: Vec<[usize; 2]>,
    /// Whether the rows' values are best read where they stand: they stand side by side, and one wide tile has all columns.
    is_narrow: bool,
}

#[derive(Clone, Copy)]
struct Operand {
    buffer: BufferId,
    offset: usize,
}

/// An axis: its length, and the steps along it in the two factors and the result.
#[derive(Clone, Copy)]
struct Axis {
    len: usize,
    steps: [usize; 3],
}

impl Dense {
    /// The join as a product, if it is one of two tensors whose sizes are known, and large enough that packing pays.
    pub fn of(einsum: &Einsum) -> Option<Dense> {
        let [left, right] = &einsum.operands[..] else { return None };
        let axis = |i: usize| {
            let Dim::Static(len) = einsum.axes[i] else { return None };
            let result = if i < einsum.kept { einsum.out.outer[i] } else { Default::default() };
            let strides = [left.outer[i], right.outer[i], result];
            let fixed = strides.iter().all(|s| !s.of_stream);
            fixed.then_some(Axis { len, steps: strides.map(|s| s.step) })
        };
        let axes = (0..einsum.axes.len()).map(axis).collect::<Option<Vec<Axis>>>()?;
        let (kept, summed) = axes.split_at(einsum.kept);
        let of_kind = |in_left: bool, in_right: bool| -> Vec<Axis> {
            let has = |axis: &&Axis| (axis.steps[0] > 0) == in_left && (axis.steps[1] > 0) == in_right;
            kept.iter().filter(|axis| axis.len > 1).filter(has).copied().collect()
        };
        // What neither operand has is repeated, like a position of both.
        let batch: Vec<Axis> = of_kind(true, true).into_iter().chain(of_kind(false, false)).collect();
        let (rows, columns) = (of_kind(true, false), of_kind(false, true));
        let size = |axes: &[Axis]| axes.iter().map(|a| a.len).product::<usize>();
        let (m, n) = (size(&rows), size(&columns));
        if m.min(n) < 4 || m.max(n) < LANES || axes.iter().any(|a| a.len == 0) {
            return None;
        }
        // Results are stored in vectors along the columns, so the columns are what lies side by side, if it is long enough.
        let side_by_side = |axes: &[Axis]| axes.iter().any(|a| a.steps[2] == 1);
        let swap = match (side_by_side(&rows) && m >= LANES, side_by_side(&columns) && n >= LANES) {
            (true, false) => true,
            (false, true) => false,
            _ => m > n && n < LANES,
        };
        let place =
            |access: &tl_exec::kernel::Access| Operand { buffer: access.buffer, offset: access.offset };
        let (operands, l, r) = if swap { ([right, left], 1, 0) } else { ([left, right], 0, 1) };
        let (rows, columns) = if swap { (columns, rows) } else { (rows, columns) };
        let (columns, summed) = (positions(&columns, [r, 2]), positions(summed, [l, r]));
        Some(Dense {
            left: place(operands[0]),
            right: place(operands[1]),
            out: place(&einsum.out),
            batch: positions(&batch, [l, r, 2]),
            rows: positions(&rows, [l, 2]),
            is_narrow: (TILE_VECTORS * LANES / 2 + 1..=TILE_VECTORS * LANES).contains(&columns.len())
                && is_run(&summed, 0),
            columns,
            summed,
        })
    }

    /// How many parts to cut it into, for so many threads.
    pub fn parts(&self, threads: usize) -> Parts {
        let column_blocks = self.columns.len().div_ceil(COLUMNS);
        let before = self.batch.len() * column_blocks;
        // Several parts for each thread, so that a slow one holds up nobody; and none that could not be waited for.
        let least = if threads > 1 { 4 * threads } else { 1 };
        let wanted = least.max(self.terms() / LARGEST_PART).div_ceil(before);
        let row_blocks = wanted.min(self.rows.len().div_ceil(LEAST_ROWS));
        Parts { row_blocks, column_blocks, all: before * row_blocks }
    }

    /// Multiply-adds in all.
    pub fn terms(&self) -> usize {
        self.batch.len() * self.rows.len() * self.columns.len() * self.summed.len()
    }

    /// Values that a worker needs room for.
    pub fn memory(&self) -> usize {
        let columns = self.columns.len().min(COLUMNS).next_multiple_of(TILE_VECTORS * LANES);
        self.summed.len().min(DEPTH) * (columns + TILE_ROWS).next_multiple_of(LANES)
    }
}

/// How a product is cut.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    row_blocks: usize,
    column_blocks: usize,
    pub all: usize,
}

/// The distances at each position of some axes, slowest first, of the operands `which`.
fn positions<const N: usize>(axes: &[Axis], which: [usize; N]) -> Vec<[usize; N]> {
    let mut out = vec![[0; N]];
    for axis in axes {
        let steps = which.map(|w| axis.steps[w]);
        let along = |base: &[usize; N]| {
            let base = *base;
            (0..axis.len).map(move |i| std::array::from_fn(|w| base[w] + i * steps[w]))
        };
        out = out.iter().flat_map(along).collect();
    }
    out
}

/// A part of a product.
pub(crate) struct RunDense<'a> {
    pub dense: &'a Dense,
    pub buffers: Buffers<'a>,
    pub parts: Parts,
    pub part: usize,
    /// At least [`Dense::memory`] values.
    pub memory: &'a mut Aligned<f32>,
}

impl SimdFn for RunDense<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        // SAFETY: The caller vouches for the buffers and the memory. A tile takes most of the registers: 32 of 16 lanes, or 16 of 8.
        unsafe {
            match (S::TILE_ROWS > 4, self.dense.rows.len()) {
                (true, 5..) if self.dense.is_narrow => self.run::<S, 6, TILE_VECTORS>(s),
                (true, ..=4) => self.run::<S, 4, 2>(s),
                (true, _) => self.run::<S, TILE_ROWS, 2>(s),
                (false, _) => self.run::<S, 6, 1>(s),
            }
        }
    }
}

impl RunDense<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self, s: S) {
        let (d, parts) = (self.dense, self.parts);
        let column_block = self.part % parts.column_blocks;
        let row_block = self.part / parts.column_blocks % parts.row_blocks;
        let batch = d.batch[self.part / parts.column_blocks / parts.row_blocks];
        let columns = column_block * COLUMNS..d.columns.len().min((column_block + 1) * COLUMNS);
        // Blocks of rows are whole strips.
        let strips = d.rows.len().div_ceil(MR);
        let strip = |block: usize| (strips * block / parts.row_blocks * MR).min(d.rows.len());
        let rows = strip(row_block)..strip(row_block + 1);
        let start = |operand: Operand, by: usize| {
            self.buffers.start(operand.buffer).wrapping_add(operand.offset + by)
        };
        let tiles = Tiles {
            dense: d,
            left: start(d.left, batch[0]).cast_const(),
            right: start(d.right, batch[1]).cast_const(),
            out: start(d.out, batch[2]),
            memory: self.memory.as_mut_ptr(),
        };
        debug_assert!(self.memory.len() >= d.memory());
        for first in (0..d.summed.len()).step_by(DEPTH) {
            let depth = first..d.summed.len().min(first + DEPTH);
            // SAFETY: As for the caller.
            unsafe { tiles.run::<S, MR, NV>(s, rows.clone(), columns.clone(), depth) };
        }
    }
}

/// One position of the batch.
struct Tiles<'a> {
    dense: &'a Dense,
    left: *const f32,
    right: *const f32,
    out: *mut f32,
    memory: *mut f32,
}

/// Where a tile goes.
#[derive(Clone, Copy)]
struct Target<'a> {
    rows: &'a [[usize; 2]],
    columns: &'a [[usize; 2]],
    /// Whether it is added to what is there.
    adds: bool,
}

impl Tiles<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(
        &self,
        s: S,
        rows: Range<usize>,
        columns: Range<usize>,
        depth: Range<usize>,
    ) {
        let d = self.dense;
        let (width, summed) = (NV * LANES, &d.summed[depth.clone()]);
        let panels = columns.len().div_ceil(width);
        let runs = [is_run(summed, 0), is_run(summed, 1)];
        let adds = depth.start > 0;
        let strip = self.memory.wrapping_add(panels * width * summed.len());
        // SAFETY: The memory has room for all panels and a strip of this depth, the operands for the positions of the tables.
        unsafe {
            for (panel, first) in columns.clone().step_by(width).enumerate() {
                let of = &d.columns[first..columns.end.min(first + width)];
                let to = self.memory.add(panel * width * summed.len());
                pack::<S>(s, self.right, of, (summed, 1, runs[1]), to, width);
            }
            for row in rows.clone().step_by(MR) {
                let of = &d.rows[row..rows.end.min(row + MR)];
                if NV == TILE_VECTORS {
                    // The widest tile is for narrow products alone. Rows that are not there are the last one again.
                    let place = |r: usize| of[r.min(of.len() - 1)][0] + summed[0][0];
                    let from: [*const f32; MR] = std::array::from_fn(|r| self.left.add(place(r)));
                    let value = |k: usize, r: usize| *from[r].add(k);
                    let tile = multiply::<S, MR, NV>(s, value, self.memory, summed.len());
                    self.store(s, &tile, Target { rows: of, columns: &d.columns[columns.clone()], adds });
                    continue;
                }
                pack::<S>(s, self.left, of, (summed, 0, runs[0]), strip, MR);
                let value = |k: usize, r: usize| *strip.add(k * MR + r);
                for (panel, first) in columns.clone().step_by(width).enumerate() {
                    let from = self.memory.add(panel * width * summed.len());
                    let tile = multiply::<S, MR, NV>(s, value, from, summed.len());
                    let to = &d.columns[first..columns.end.min(first + width)];
                    self.store(s, &tile, Target { rows: of, columns: to, adds });
                }
            }
        }
    }

    /// A tile to the result: stored, or added to it.
    #[inline(always)]
    unsafe fn store<S: Simd, const MR: usize, const NV: usize>(
        &self,
        s: S,
        tile: &[[S::F; NV]; MR],
        target: Target<'_>,
    ) {
        let Target { rows, columns, adds } = target;
        let whole = columns.len() == NV * LANES && is_run(columns, 1);
        if !whole && rows.len() > 1 && is_run(rows, 1) {
            // SAFETY: As for the caller.
            return unsafe { self.store_columns(s, tile, target) };
        }
        for r in 0..MR {
            let Some(row) = rows.get(r) else { return };
            let to = self.out.wrapping_add(row[1]);
            // SAFETY: The result has these elements, and they belong to this part.
            unsafe {
                if whole {
                    let to = to.add(columns[0][1]);
                    for v in 0..NV {
                        let place = to.add(v * LANES);
                        let sum = if adds { s.add(s.load(place), tile[r][v]) } else { tile[r][v] };
                        s.store(place, sum);
                    }
                } else {
                    let mut values = [0.0f32; TILE_VECTORS * LANES];
                    for v in 0..NV {
                        s.store(values.as_mut_ptr().add(v * LANES), tile[r][v]);
                    }
                    for (column, value) in columns.iter().zip(values) {
                        let place = to.add(column[1]);
                        *place = if adds { *place + value } else { value };
                    }
                }
            }
        }
    }

    /// The same where the rows of the result are side by side: each column is a vector.
    #[inline(always)]
    unsafe fn store_columns<S: Simd, const MR: usize, const NV: usize>(
        &self,
        s: S,
        tile: &[[S::F; NV]; MR],
        target: Target<'_>,
    ) {
        let Target { rows, columns, adds } = target;
        for v in 0..NV {
            let mut block = [s.splat(0.0); LANES];
            for r in 0..MR {
                block[r] = tile[r][v];
            }
            let of = columns.iter().skip(v * LANES);
            for (values, column) in s.transpose(block).into_iter().zip(of) {
                let to = self.out.wrapping_add(rows[0][1] + column[1]);
                // SAFETY: The result has these elements, and they belong to this part.
                unsafe {
                    let sum = if adds { s.add(s.load_partial(to, rows.len()), values) } else { values };
                    s.store_partial(to, sum, rows.len());
                }
            }
        }
    }
}

/// Whether neighbours stand side by side.
#[inline(always)]
fn is_run<const N: usize>(places: &[[usize; N]], which: usize) -> bool {
    let (first, last) = (places[0][which], places[places.len() - 1][which]);
    // Distances ascend along an axis, so a run is as long as its ends are apart; several axes are looked at one by one.
    last.wrapping_sub(first) == places.len() - 1 && places.windows(2).all(|p| p[1][which] == p[0][which] + 1)
}

/// Copies the values at `places` (distances of operand's own, the first number) and `summed` (the number `which`, and whether these are side by
/// side) to `[summed][width]`, zeros behind the places.
#[inline(always)]
unsafe fn pack<S: Simd>(
    s: S,
    from: *const f32,
    places: &[[usize; 2]],
    (summed, which, is_run_summed): (&[[usize; 2]], usize, bool),
    to: *mut f32,
    width: usize,
) {
    // SAFETY: The caller vouches for the values and for the room.
    unsafe {
        if places.len() == width && width.is_multiple_of(LANES) && is_run(places, 0) {
            let from = from.add(places[0][0]);
            for (k, position) in summed.iter().enumerate() {
                for v in (0..width).step_by(LANES) {
                    s.store(to.add(k * width + v), s.load(from.add(position[which] + v)));
                }
            }
            return;
        }
        if is_run_summed {
            return transpose::<S>(s, from.add(summed[0][which]), places, summed.len(), to, width);
        }
        for (k, position) in summed.iter().enumerate() {
            let (from, to) = (from.add(position[which]), to.add(k * width));
            for (i, place) in places.iter().enumerate() {
                *to.add(i) = *from.add(place[0]);
            }
            for i in places.len()..width {
                *to.add(i) = 0.0;
            }
        }
    }
}

/// `to[k][i] = from[places[i] + k]`, zeros behind the places, in blocks of 16 by 16.
#[inline(always)]
unsafe fn transpose<S: Simd>(
    s: S,
    from: *const f32,
    places: &[[usize; 2]],
    depth: usize,
    to: *mut f32,
    width: usize,
) {
    for first in (0..depth).step_by(LANES) {
        let left = LANES.min(depth - first);
        for column in (0..width).step_by(LANES) {
            let of = &places[column.min(places.len())..];
            let from = from.wrapping_add(first);
            // SAFETY: The caller vouches for the values. With a known number of rows, the block stays in registers.
            let block = unsafe {
                match of.len() {
                    LANES.. => rows::<S, LANES>(s, from, of, left),
                    TILE_ROWS => rows::<S, TILE_ROWS>(s, from, of, left),
                    _ => {
                        let mut block = [s.splat(0.0); LANES];
                        for (row, place) in block.iter_mut().zip(of) {
                            [*row, ..] = rows::<S, 1>(s, from, std::slice::from_ref(place), left);
                        }
                        block
                    }
                }
            };
            let room = LANES.min(width - column);
            for (k, &values) in s.transpose(block).iter().enumerate().take(left) {
                let to = to.wrapping_add((first + k) * width + column);
                // SAFETY: The caller vouches for the room.
                unsafe { if room == LANES { s.store(to, values) } else { s.store_partial(to, values, room) } }
            }
        }
    }
}

/// The values of `R` places in a row each, `left` of them side by side, and zeros in the other rows.
#[inline(always)]
unsafe fn rows<S: Simd, const R: usize>(
    s: S,
    from: *const f32,
    places: &[[usize; 2]],
    left: usize,
) -> [S::F; LANES] {
    let mut block = [s.splat(0.0); LANES];
    let places: &[[usize; 2]; R] = places.first_chunk().expect("there are so many places");
    for r in 0..R {
        let from = from.wrapping_add(places[r][0]);
        // SAFETY: The caller vouches for the values.
        block[r] = unsafe { if left >= LANES { s.load(from) } else { s.load_partial(from, left) } };
    }
    block
}

/// `Σ_k value(k, r) · panel[k][c]` for each row and column.
#[inline(always)]
unsafe fn multiply<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    value: impl Fn(usize, usize) -> f32,
    panel: *const f32,
    depth: usize,
) -> [[S::F; NV]; MR] {
    let mut tile = [[s.splat(0.0); NV]; MR];
    for k in 0..depth {
        // SAFETY: The panel has `depth · NV · LANES` values.
        unsafe {
            let mut columns = [s.splat(0.0); NV];
            for v in 0..NV {
                columns[v] = s.load(panel.add((k * NV + v) * LANES));
            }
            for r in 0..MR {
                let row = s.splat(value(k, r));
                for v in 0..NV {
                    tile[r][v] = s.fma(row, columns[v], tile[r][v]);
                }
            }
        }
    }
    tile
}
