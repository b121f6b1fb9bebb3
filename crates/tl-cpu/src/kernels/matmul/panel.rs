//! The products of many rows of activations: a panel of groups of sixteen rows of weights is unpacked once and multiplied by blocks
//! of rows, with the integer sums in registers.
//!
//! Invariant: each element is computed by the operations of `integer`, in their order.

#![expect(unsafe_code, reason = "the kernels read and write through pointers")]
#![expect(clippy::needless_range_loop, reason = "counted loops over constants keep the arrays in registers")]

use std::marker::PhantomData;
use std::ops::Range;

use super::activations::{GROUP, QuantizedRows};
use super::formats::{Format, Sink};
use super::integer::{
    Integer, Out, PANEL, ROW_BLOCK, Scratch, Tile, WORDS, extend, join_chains, multiply_words, store_quad,
    words_of_group,
};
use crate::simd::{LANES, Simd};

/// Stores what comes, for [`multiply_rows`].
struct Store<S: Simd, Fmt> {
    s: S,
    words: *mut i32,
    scales: *mut f32,
    mins: *mut f32,
    format: PhantomData<Fmt>,
}

impl<S: Simd, Fmt: Format> Sink<S> for Store<S, Fmt> {
    #[inline(always)]
    fn quad(&mut self, group: usize, _slot: usize, c: usize, bytes: S::I) {
        // SAFETY: The scratch has room for the groups of a block from here on.
        unsafe {
            store_quad::<S, Fmt>(self.s, self.words.add(group * words_of_group::<S>() * LANES), c, bytes);
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
pub(super) unsafe fn many_rows<S: Simd, Fmt: Format>(s: S, job: Integer<'_, Fmt>) {
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
        words: scratch.words.as_mut_ptr(),
        scales: scratch.scales.as_mut_ptr(),
        mins: scratch.mins.as_mut_ptr(),
        format: PhantomData,
    };
    let per_block = Fmt::BLOCK / GROUP;
    for block in panel.start / per_block..panel.end / per_block {
        // SAFETY: The caller vouches for the block; the scratch has room for `PANEL` groups.
        unsafe {
            tile.unpack::<S, Fmt>(s, block, &mut sink);
            sink.words = sink.words.add(per_block * words_of_group::<S>() * LANES);
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
            words: scratch.words.as_ptr(),
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
    words: *const i32,
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
        let (words, meta) = (x.words(row).add(from * WORDS), x.meta(row).add(from));
        let (row_words, row_meta) = (x.k() / 2, x.k() / GROUP);
        let per_half = words_of_group::<S>() / Fmt::HALVES;
        for g in 0..panel.groups {
            for h in 0..Fmt::HALVES {
                let weights = panel.words.add((g * Fmt::HALVES + h) * per_half * LANES);
                let words = words.add(g * WORDS + h * per_half);
                let int = multiply_words::<S, R>(s, weights, per_half, words, row_words);
                let at = (g * Fmt::HALVES + h) * LANES;
                let scale = s.load(panel.scales.add(at));
                let min = if Fmt::MINS { s.load(panel.mins.add(at)) } else { zero };
                for r in 0..R {
                    let meta = &*meta.add(r * row_meta + g);
                    acc[r][h] = extend::<S, Fmt>(s, int[r], meta, h, (scale, min), acc[r][h]);
                }
            }
        }
        for r in 0..R {
            s.store(panel.acc.add(2 * r * LANES), acc[r][0]);
            s.store(panel.acc.add((2 * r + 1) * LANES), acc[r][1]);
        }
    }
}
