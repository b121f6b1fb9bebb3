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
    Integer, Out, PANEL, Scratch, TILES, Tile, WORDS, extend, join_chains, layout, multiply_words,
    store_quad, word_offset, words_of_group,
};
use crate::simd::{LANES, LINE, Simd, prefetch};

/// Stores what comes, for [`multiply_rows`].
struct Store<S: Simd, Fmt> {
    s: S,
    words: *mut i32,
    scales: *mut f32,
    mins: *mut f32,
    format: PhantomData<Fmt>,
}

impl<S: Simd, Fmt: Format> Sink<S> for Store<S, Fmt> {
    const ROWS: usize = 0;

    #[inline(always)]
    fn quad(&mut self, group: usize, c: usize, bytes: S::I) {
        // SAFETY: The scratch has room for the groups of a block from here on.
        unsafe {
            store_quad::<S, Fmt>(self.s, self.words.add(group * words_of_group::<S>() * LANES), c, bytes);
        }
    }

    #[inline(always)]
    fn finish(&mut self, group: usize, half: usize, scale: S::F, min: S::F) {
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
pub(super) unsafe fn many_rows<S: Simd, Fmt: Format>(s: S, job: &mut Integer<'_, Fmt>) {
    let (x, out) = (job.x, job.out);
    let mut at = job.columns.start;
    while at < job.columns.end {
        let tile = job.weights.tile(at, job.columns.end);
        let after = at + tile.count;
        // SAFETY: The caller vouches for the columns and rows.
        at = unsafe {
            if S::TILE_ROWS >= 8 && after < job.columns.end {
                let second = job.weights.tile(after, job.columns.end);
                multiply_tiles::<S, Fmt, TILES>(s, [tile, second], x, job.rows.clone(), out, job.scratch);
                after + second.count
            } else {
                multiply_tiles::<S, Fmt, 1>(s, [tile], x, job.rows.clone(), out, job.scratch);
                after
            }
        };
    }
}

/// The columns of `T` tiles.
///
/// # Safety
/// See [`Integer`].
#[inline(always)]
unsafe fn multiply_tiles<S: Simd, Fmt: Format, const T: usize>(
    s: S,
    tiles: [Tile; T],
    x: &QuantizedRows,
    rows: Range<usize>,
    out: Out,
    scratch: &mut Scratch,
) {
    let groups = x.k() / GROUP;
    let unpacked: [Unpacked; T] = std::array::from_fn(|t| unpacked::<S>(scratch, t));
    for from in (0..groups).step_by(PANEL) {
        let groups = from..groups.min(from + PANEL);
        let next = tiles.map(|tile| tile.block::<Fmt>(groups.end * GROUP / Fmt::BLOCK));
        let panel = Panel { unpacked, groups, acc: scratch.acc.as_mut_ptr(), next: Some(next) };
        // SAFETY: The panel's groups are whole blocks, for `PANEL` is a multiple of the groups in a block; the scratch has room for them and for the chains.
        unsafe {
            for t in 0..T {
                unpack_panel::<S, Fmt>(s, tiles[t], panel.groups.clone(), unpacked[t]);
            }
            multiply_panel::<S, Fmt, T>(s, tiles, &panel, x, rows.clone(), out);
        }
    }
}

/// Whether weights are asked for beside the products of a panel, and not while one is unpacked. Where five to sixteen rows come here as well, memory would have
/// nothing to do while they are multiplied, and then all at once.
#[inline(always)]
const fn asks_beside_products<S: Simd>() -> bool {
    !S::BYTE_DOTS
}

/// An unpacked panel of a tile.
#[derive(Clone, Copy)]
struct Unpacked {
    words: *mut i32,
    scales: *mut f32,
    mins: *mut f32,
}

/// Where the panel of a tile is unpacked to.
#[inline(always)]
fn unpacked<S: Simd>(scratch: &mut Scratch, tile: usize) -> Unpacked {
    Unpacked {
        words: scratch.words[tile * PANEL * words_of_group::<S>() * LANES..].as_mut_ptr(),
        scales: scratch.scales[tile * PANEL * 2 * LANES..].as_mut_ptr(),
        mins: scratch.mins[tile * PANEL * 2 * LANES..].as_mut_ptr(),
    }
}

/// Unpacks groups `panel` of the tile's rows.
///
/// # Safety
/// The rows have these groups; they are whole blocks and at most [`PANEL`], for which there is room.
#[inline(always)]
unsafe fn unpack_panel<S: Simd, Fmt: Format>(s: S, tile: Tile, panel: Range<usize>, to: Unpacked) {
    let Unpacked { words, scales, mins } = to;
    let mut sink = Store::<S, Fmt> { s, words, scales, mins, format: PhantomData };
    let per_block = Fmt::BLOCK / GROUP;
    for block in panel.start / per_block..panel.end / per_block {
        // SAFETY: The caller vouches for the block and the room.
        unsafe {
            tile.unpack::<S, Fmt>(s, block, !asks_beside_products::<S>(), &mut sink);
            sink.words = sink.words.add(per_block * words_of_group::<S>() * LANES);
            sink.scales = sink.scales.add(per_block * Fmt::HALVES * LANES);
            sink.mins = sink.mins.add(per_block * Fmt::HALVES * LANES);
        }
    }
}

/// Multiplies the unpacked panel by rows of activations, from the chains so far to the chains, or to the product at the end.
///
/// # Safety
/// The panel of each tile is unpacked; see [`Integer`].
#[inline(always)]
unsafe fn multiply_panel<S: Simd, Fmt: Format, const T: usize>(
    s: S,
    tiles: [Tile; T],
    panel: &Panel<T>,
    x: &QuantizedRows,
    rows: Range<usize>,
    out: Out,
) {
    let is_last = panel.groups.end == x.k() / GROUP;
    let mut row = rows.start;
    while row < rows.end {
        let panel = &panel.of_rows(row - rows.start);
        let left = rows.end - row;
        // SAFETY: The panel is unpacked, `acc` has room for the rows, and the activations have these rows and groups.
        let done = unsafe {
            match left {
                6.. if S::TILE_ROWS >= 8 => multiply_rows::<S, Fmt, T, 6>(s, panel, x, row),
                4.. => multiply_rows::<S, Fmt, T, 4>(s, panel, x, row),
                2.. => multiply_rows::<S, Fmt, T, 2>(s, panel, x, row),
                _ => multiply_rows::<S, Fmt, T, 1>(s, panel, x, row),
            }
        };
        if is_last {
            for i in 0..done {
                for t in 0..T {
                    // SAFETY: `acc` has the chains of these rows, and the product has the tiles' columns of them.
                    unsafe {
                        let chains = [s.load(panel.chain(i, t, 0)), s.load(panel.chain(i, t, 1))];
                        tiles[t].store(s, out, row + i - rows.start, join_chains::<S, Fmt>(s, chains));
                    }
                }
            }
        }
        row += done;
    }
}

/// Some groups of unpacked tiles, and the chains of the rows that they are multiplied by.
struct Panel<const T: usize> {
    unpacked: [Unpacked; T],
    groups: Range<usize>,
    /// `[row][tile][half][lane]`.
    acc: *mut f32,
    /// Where as many groups stand that come after these, if nobody has asked for them.
    next: Option<[*const u8; T]>,
}

impl<const T: usize> Panel<T> {
    /// The same for the rows from row `first` on. The first rows ask for what comes next.
    #[inline(always)]
    fn of_rows(&self, first: usize) -> Self {
        let next = if first == 0 { self.next } else { None };
        Self { unpacked: self.unpacked, groups: self.groups.clone(), acc: self.chain(first, 0, 0), next }
    }

    /// Asks for a group of the next panel.
    #[inline(always)]
    fn ask_for_group<Fmt: Format>(&self, group: usize) {
        let bytes = LANES * Fmt::BYTES * GROUP / Fmt::BLOCK;
        if let Some(next) = &self.next {
            for t in 0..T {
                // Groups do not end with a line, so some are asked for twice, which costs less than a loop over those that are new.
                for line in 0..bytes.div_ceil(LINE) {
                    prefetch(next[t].wrapping_add(group * bytes + line * LINE));
                }
            }
        }
    }

    #[inline(always)]
    fn chain(&self, row: usize, tile: usize, half: usize) -> *mut f32 {
        self.acc.wrapping_add(((row * TILES + tile) * 2 + half) * LANES)
    }
}

/// Multiplies the panel by `R` rows of activations from row `row` on; gives `R`. Where two tiles are multiplied, halves of groups, which have chains of their
/// own, come one after the other, so that there are registers for all chains.
///
/// # Safety
/// The pointers of the panel are to its groups and to the chains of `R` rows; the activations have these rows and groups.
#[inline(always)]
unsafe fn multiply_rows<S: Simd, Fmt: Format, const T: usize, const R: usize>(
    s: S,
    panel: &Panel<T>,
    x: &QuantizedRows,
    row: usize,
) -> usize {
    let zero = s.splat(0.0);
    let from = panel.groups.start;
    let (row_words, row_meta) = (x.k() / 2, x.k() / GROUP);
    let per_half = words_of_group::<S>() / Fmt::HALVES;
    let halves = if T > 1 { 1 } else { Fmt::HALVES };
    // SAFETY: The caller vouches for all of these reads and writes.
    unsafe {
        let (words, meta) = (x.words(row, layout::<S>()).add(from * WORDS), x.meta(row).add(from));
        for first in (0..Fmt::HALVES).step_by(halves) {
            let mut acc = [[[zero; 2]; T]; R];
            if from > 0 {
                for r in 0..R {
                    for t in 0..T {
                        for i in 0..halves {
                            acc[r][t][i] = s.load(panel.chain(r, t, first + i));
                        }
                    }
                }
            }
            for g in 0..panel.groups.len() {
                if S::TILE_ROWS >= 8 {
                    // The same group of the rows after these comes from the second cache.
                    for r in 0..R {
                        prefetch(words.wrapping_add((R + r) * row_words + g * WORDS).cast());
                    }
                }
                if const { asks_beside_products::<S>() } {
                    panel.ask_for_group::<Fmt>(g);
                }
                for i in 0..halves {
                    let half = first + i;
                    let at = g * Fmt::HALVES + half;
                    let mut weights = [panel.unpacked[0].words.cast_const(); T];
                    let mut scales = [(zero, zero); T];
                    for t in 0..T {
                        let unpacked = &panel.unpacked[t];
                        weights[t] = unpacked.words.add(at * per_half * LANES);
                        let min = if Fmt::MINS { s.load(unpacked.mins.add(at * LANES)) } else { zero };
                        scales[t] = (s.load(unpacked.scales.add(at * LANES)), min);
                    }
                    let words = words.add(g * WORDS + half * per_half);
                    let int = multiply_words::<S, T, R>(s, weights, per_half, words, row_words);
                    for r in 0..R {
                        let meta = &*meta.add(r * row_meta + g);
                        for t in 0..T {
                            let acc = &mut acc[r][t][i];
                            let offset = const { word_offset::<S, Fmt>() };
                            *acc = extend::<S, Fmt>(s, int[r][t], offset, meta, half, scales[t], *acc);
                        }
                    }
                }
            }
            for r in 0..R {
                for t in 0..T {
                    for i in 0..halves {
                        s.store(panel.chain(r, t, first + i), acc[r][t][i]);
                    }
                }
            }
        }
    }
    R
}
