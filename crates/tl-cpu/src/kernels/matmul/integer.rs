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
//! Sixteen rows of weights, a tile of `packed`, are handled at once, a row a lane, so this order is the same for a few rows of activations
//! (unpack and multiply at once) and for many (unpack a panel of groups once, multiply by blocks of rows), for any number of threads and any
//! instruction set: all give the same bits.
//!
//! Where four products of bytes are one instruction, unpacked weights stay bytes and meet the high and the low bytes of the
//! activations, `int = 256 · Σ w · high + Σ w · low`. Where two are, and add up to 16 bits, one or two rows of activations meet weights of few bits
//! like that, as many products to a sum as fit. Else weights are widened to 16 bits: in registers for every few rows, or once for many.

#![expect(unsafe_code, reason = "the kernels read and write through pointers")]
#![expect(clippy::needless_range_loop, reason = "counted loops over constants keep the arrays in registers")]

use std::marker::PhantomData;
use std::ops::Range;

use super::activations::{GROUP, GroupMeta, Layout, QuantizedRows, layouts};
use super::float::FloatScratch;
use super::formats::{Block, Format, Sink};
use super::panel;
use crate::aligned::Aligned;
use crate::simd::{LANES, Simd, SimdFn, asks_for_streams, barrier, halves_vectors};

/// Words of a group of activations.
pub(super) const WORDS: usize = GROUP / 2;
/// Words of high bytes of a group of activations; as many words of low bytes follow.
const QUADS: usize = GROUP / 4;
/// Groups that are unpacked before they are multiplied: 768 values of 32 rows as 24 KiB of bytes, or of 16 rows as 24 KiB of pairs.
pub(super) const PANEL: usize = 24;
/// Tiles that are multiplied together by many rows, where there are registers for it: what is loaded of activations is used for both.
pub(super) const TILES: usize = 2;
/// Rows of activations that are multiplied by all weights of a call before the next are: they stay in the second cache.
const ROW_BLOCK: usize = 64;

/// Memory of one worker for products with many rows.
pub struct Scratch {
    /// `[tile][group][word][lane]`, weights as words of four bytes, or of one tile as words of two times 16 bits.
    pub(super) words: Aligned<i32>,
    /// `[tile][group][half][lane]`.
    pub(super) scales: Aligned<f32>,
    /// `[tile][group][half][lane]`.
    pub(super) mins: Aligned<f32>,
    /// `[row][tile][half][lane]`, the chains.
    pub(super) acc: Aligned<f32>,
    pub(super) float: FloatScratch,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            words: Aligned::zeros(PANEL * WORDS * LANES),
            scales: Aligned::zeros(TILES * PANEL * 2 * LANES),
            mins: Aligned::zeros(TILES * PANEL * 2 * LANES),
            acc: Aligned::zeros(ROW_BLOCK * TILES * 2 * LANES),
            float: FloatScratch::default(),
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

/// Rows of weights as they stand in memory: one after the other or, for integer products, in tiles.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    /// The first byte.
    pub data: *const u8,
    /// Bytes of a row.
    pub stride: usize,
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

/// Sixteen columns of the product: their weights, and which of them are wanted.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// The first block.
    data: *const u8,
    /// The first lane that is wanted, how many are, and the column of the first.
    lane: usize,
    pub count: usize,
    column: usize,
}

impl Rows {
    /// The tile of column `at`, of the columns below `to`.
    #[inline(always)]
    pub(super) fn tile(&self, at: usize, to: usize) -> Tile {
        let lane = at % LANES;
        let data = self.data.wrapping_add((at - lane) * self.stride);
        Tile { data, lane, count: (LANES - lane).min(to - at), column: at }
    }
}

impl Tile {
    /// Unpacks a block of the rows, and asks for what stands [`AHEAD`](crate::simd::AHEAD) bytes after it if `asks`.
    ///
    /// # Safety
    /// The rows have it.
    #[inline(always)]
    pub(super) unsafe fn unpack<S: Simd, Fmt: Format>(
        &self,
        s: S,
        block: usize,
        asks: bool,
        sink: &mut impl Sink<S>,
    ) {
        // SAFETY: The caller vouches for the block.
        let block = unsafe { Block::new(s, self.block::<Fmt>(block), asks) };
        Fmt::unpack(block, sink);
    }

    /// Where a block of the rows stands, or would.
    #[inline(always)]
    pub(super) fn block<Fmt: Format>(&self, block: usize) -> *const u8 {
        self.data.wrapping_add(block * LANES * Fmt::BYTES)
    }

    /// Stores the wanted lanes at row `row` of the product.
    ///
    /// # Safety
    /// The columns of the tile can be written there.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd>(&self, s: S, out: Out, row: usize, value: S::F) {
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
    fn call<S: Simd>(mut self, s: S) {
        let (rows, out) = (self.rows.clone(), self.out.data);
        for first in rows.clone().step_by(ROW_BLOCK) {
            self.rows = first..rows.end.min(first + ROW_BLOCK);
            self.out.data = out.wrapping_add((first - rows.start) * self.out.stride);
            // SAFETY: `Weights` and `matmul` checked that the rows have `k` values of the format and that the product has room.
            unsafe { self.multiply(s) };
        }
    }
}

impl<Fmt: Format> Integer<'_, Fmt> {
    /// Multiplies at most [`ROW_BLOCK`] rows, in the way that is fastest for so many.
    ///
    /// # Safety
    /// The weights have rows of the format with as many values as the activations, and the product has room.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&mut self, s: S) {
        let rows = self.rows.len();
        // SAFETY: The caller vouches for all of them.
        unsafe {
            if const { S::FEW_ROWS > 0 } && rows == 1 {
                if asks_for_streams() {
                    one_row::<S, Fmt>(s, self, true);
                } else {
                    one_row::<S, Fmt>(s, self, false);
                }
            } else if const { S::FEW_ROWS > 0 } && is_few::<S, Fmt>(rows) {
                few_rows::<S, Fmt>(s, self);
            } else {
                panel::many_rows::<S, Fmt>(s, self);
            }
        }
    }
}

/// The bytes of a quad in 16 bits: 0 and 2, 1 and 3.
#[inline(always)]
fn widen<S: Simd>(s: S, bytes: S::I, signed: bool) -> (S::I, S::I) {
    if signed {
        (s.sar16::<8>(s.shl16::<8>(bytes)), s.sar16::<8>(bytes))
    } else {
        (s.and(bytes, s.splat_i(0x00FF_00FF)), s.shr16::<8>(bytes))
    }
}

/// The bytes of a quad without signs: those of signed formats 128 larger.
#[inline(always)]
fn unsigned<S: Simd, Fmt: Format>(s: S, bytes: S::I) -> S::I {
    if Fmt::SIGNED { s.xor(bytes, s.splat_i(0x8080_8080_u32 as i32)) } else { bytes }
}

/// What the bytes that meet one row of activations are larger by than the values.
const fn byte_offset<S: Simd, Fmt: Format>() -> i32 {
    if S::BYTE_DOTS && Fmt::SIGNED { 128 } else { Fmt::OFFSET }
}

/// What the words of unpacked weights are larger by than the values.
pub(super) const fn word_offset<S: Simd, Fmt: Format>() -> i32 {
    if S::BYTE_DOTS { byte_offset::<S, Fmt>() } else { 0 }
}

/// Words that a group of unpacked weights takes in each row.
#[inline(always)]
pub(super) const fn words_of_group<S: Simd>() -> usize {
    if S::BYTE_DOTS { QUADS } else { WORDS }
}

/// What the products of a row of activations sum up to, as long as a group is not complete.
#[derive(Clone, Copy)]
struct Sums<S: Simd> {
    /// Products of high and of low bytes: in 32 bits where four are one instruction, else in 16.
    high: S::I,
    low: S::I,
    /// How many quads of products the sums in 16 bits have.
    quads: usize,
    /// What has 32 bits and is complete.
    whole: S::I,
}

/// How rows of activations meet quads of weights.
enum Meeting {
    /// Four products of bytes at a time.
    Quads,
    /// Two products of bytes at a time, with sums of so many quads in 16 bits.
    BytePairs(usize),
    /// Two products of 16 bits at a time.
    Pairs,
}

/// How so many rows of activations meet weights of a format.
const fn meeting<S: Simd, Fmt: Format>(rows: usize) -> Meeting {
    // Each lane of 16 bits has two products of a quad.
    let quads = i16::MAX as usize / (2 * 128 * Fmt::MOST as usize);
    if S::BYTE_DOTS {
        Meeting::Quads
    } else if S::BYTE_PAIRS && quads > 0 && rows <= MOST_BYTE_ROWS {
        Meeting::BytePairs(quads)
    } else {
        Meeting::Pairs
    }
}

/// Rows for which it is worth that weights stay bytes: sums of both bytes of more do not have room in registers.
const MOST_BYTE_ROWS: usize = 2;

impl<S: Simd> Sums<S> {
    #[inline(always)]
    fn zero(s: S) -> Self {
        let zero = s.splat_i(0);
        Self { high: zero, low: zero, quads: 0, whole: zero }
    }

    /// Adds up sums in 16 bits.
    #[inline(always)]
    fn widen(&mut self, s: S) {
        let high = s.dot_pairs(self.whole, self.high, s.splat_i(0x0100_0100));
        *self = Self { whole: s.dot_pairs(high, self.low, s.splat_i(0x0001_0001)), ..Self::zero(s) };
    }

    /// The sum, and zeros for what comes next.
    #[inline(always)]
    fn take(&mut self, s: S) -> S::I {
        if self.quads > 0 {
            self.widen(s);
        }
        let Self { high, low, whole, .. } = std::mem::replace(self, Self::zero(s));
        if S::BYTE_DOTS { s.add_i(s.shl::<8>(high), low) } else { whole }
    }
}

/// The layout of activations that many rows are read in.
#[inline(always)]
pub(super) const fn layout<S: Simd>() -> Layout {
    layouts::<S>()[0]
}

/// Where the pair of values 0 and 2 of quad `c` stands among the pairs of its group; that of 1 and 3 is four words on.
#[inline(always)]
fn pair_of(c: usize) -> usize {
    c / 4 * 8 + c % 4
}

/// Adds a group, or half of one, to its chain: `int` is the sum of `(value + offset) · x`.
#[inline(always)]
pub(super) fn extend<S: Simd, Fmt: Format>(
    s: S,
    int: S::I,
    offset: i32,
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
    let int = if offset == 0 { int } else { s.sub_i(int, s.splat_i(offset * int_sum)) };
    let acc = s.fma(s.to_f32(int), s.mul(scale, s.splat(meta.scale)), acc);
    if Fmt::MINS { s.fma(min, s.splat(sum), acc) } else { acc }
}

/// Stores a quad of a group as its words, which [`multiply_words`] reads.
///
/// # Safety
/// There is room for the words of the group.
#[inline(always)]
pub(super) unsafe fn store_quad<S: Simd, Fmt: Format>(s: S, group: *mut i32, c: usize, bytes: S::I) {
    // SAFETY: The caller vouches for the words.
    unsafe {
        if S::BYTE_DOTS {
            s.store_i(group.add(c * LANES), unsigned::<S, Fmt>(s, bytes));
        } else {
            // With signs, so that nothing is left to do for each row.
            let bytes = match Fmt::OFFSET {
                0 => bytes,
                offset => s.sub_bytes(bytes, s.splat_i(i32::from_ne_bytes([offset as u8; 4]))),
            };
            let (even, odd) = widen(s, bytes, Fmt::SIGNED || Fmt::OFFSET > 0);
            s.store_i(group.add(pair_of(c) * LANES), even);
            s.store_i(group.add((pair_of(c) + 4) * LANES), odd);
        }
    }
}

/// The products of `count` words of `T` tiles of weights with those of `R` rows of activations, which are `row_words` apart.
///
/// The high bytes come first, so that what they sum up to need not be kept beside what the low bytes do.
///
/// # Safety
/// The words can be read, and after those of the activations their low bytes. There is one at least.
#[inline(always)]
pub(super) unsafe fn multiply_words<S: Simd, const T: usize, const R: usize>(
    s: S,
    weights: [*const i32; T],
    count: usize,
    x: *const i32,
    row_words: usize,
) -> [[S::I; T]; R] {
    let mut int = [[s.splat_i(0); T]; R];
    // SAFETY: The caller vouches for the words.
    unsafe {
        if S::BYTE_DOTS {
            add_words(s, &mut int, weights, 0..count, x, row_words);
            int.as_flattened_mut().iter_mut().for_each(|int| *int = s.shl::<8>(*int));
            add_words(s, &mut int, weights, 0..count, x.add(QUADS), row_words);
        } else {
            // The first by itself: there is nothing to add it to.
            add_words(s, &mut int, weights, 0..1, x, row_words);
            add_words(s, &mut int, weights, 1..count, x, row_words);
        }
    }
    int
}

/// Adds the products of some words.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn add_words<S: Simd, const T: usize, const R: usize>(
    s: S,
    int: &mut [[S::I; T]; R],
    weights: [*const i32; T],
    range: Range<usize>,
    x: *const i32,
    row_words: usize,
) {
    for i in range {
        // SAFETY: The caller vouches for the words.
        unsafe {
            let mut words = [s.splat_i(0); T];
            for t in 0..T {
                words[t] = s.load_i(weights[t].add(i * LANES));
            }
            for r in 0..R {
                let x = s.splat_i(*x.add(r * row_words + i));
                for t in 0..T {
                    int[r][t] = s.hidden(if S::BYTE_DOTS {
                        s.dot_quads(int[r][t], words[t], x)
                    } else {
                        s.dot_pairs(int[r][t], words[t], x)
                    });
                }
            }
        }
    }
}

/// What quads of weights become in `R` rows of activations until their group, or a half of one, is complete.
trait Pending<S: Simd, Fmt: Format, const R: usize> {
    /// See [`Sink::ROWS`].
    const ROWS: usize;
    /// The layout of activations that is read.
    const LAYOUT: Layout;
    /// What the weights that are multiplied are larger by than the values.
    const OFFSET: i32;

    fn new(s: S) -> Self;

    /// Takes quad `c` of a group.
    ///
    /// # Safety
    /// `x` has the words of the group in the first row, and those of the next are `row_words` further on.
    unsafe fn quad(&mut self, s: S, c: usize, bytes: S::I, x: *const i32, row_words: usize);

    /// The sums of all products of a group or of its half `half`, whose quads were given.
    ///
    /// # Safety
    /// As for [`Pending::quad`].
    unsafe fn take(&mut self, s: S, half: usize, x: *const i32, row_words: usize) -> [S::I; R];
}

/// Products and sums of quads as they come.
impl<S: Simd, Fmt: Format, const R: usize> Pending<S, Fmt, R> for [Sums<S>; R] {
    const ROWS: usize = R;
    const LAYOUT: Layout =
        if matches!(meeting::<S, Fmt>(R), Meeting::Pairs) { Layout::Pairs } else { Layout::Bytes };
    const OFFSET: i32 = byte_offset::<S, Fmt>();

    #[inline(always)]
    fn new(s: S) -> Self {
        [Sums::zero(s); R]
    }

    #[inline(always)]
    unsafe fn quad(&mut self, s: S, c: usize, bytes: S::I, x: *const i32, row_words: usize) {
        // SAFETY: The caller vouches for the words.
        let x = |r: usize, i: usize| s.splat_i(unsafe { *x.add(r * row_words + i) });
        match const { meeting::<S, Fmt>(R) } {
            Meeting::Quads => {
                let bytes = unsigned::<S, Fmt>(s, bytes);
                for r in 0..R {
                    let sums = &mut self[r];
                    sums.high = s.dot_quads(sums.high, bytes, x(r, c));
                    sums.low = s.dot_quads(sums.low, bytes, x(r, QUADS + c));
                }
            }
            Meeting::BytePairs(most) => {
                for r in 0..R {
                    let sums = &mut self[r];
                    let high = s.hidden(s.mul_bytes(bytes, x(r, c)));
                    sums.high = s.hidden(s.add16(sums.high, high));
                    let low = s.hidden(s.mul_bytes(bytes, x(r, QUADS + c)));
                    sums.low = s.hidden(s.add16(sums.low, low));
                    sums.quads += 1;
                    if sums.quads == most {
                        sums.widen(s);
                    }
                }
            }
            Meeting::Pairs => {
                let (even, odd) = widen(s, bytes, Fmt::SIGNED);
                for (words, i) in [(even, pair_of(c)), (odd, pair_of(c) + 4)] {
                    for r in 0..R {
                        self[r].whole = s.hidden(s.dot_pairs(self[r].whole, words, x(r, i)));
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn take(&mut self, s: S, _half: usize, _x: *const i32, _row_words: usize) -> [S::I; R] {
        let mut int = [s.splat_i(0); R];
        for r in 0..R {
            int[r] = self[r].take(s);
        }
        int
    }
}

/// The words of a group, which are multiplied when it is complete.
struct Words([i32; WORDS * LANES]);

impl<S: Simd, Fmt: Format, const R: usize> Pending<S, Fmt, R> for Words {
    const ROWS: usize = 0;
    const LAYOUT: Layout = layout::<S>();
    const OFFSET: i32 = word_offset::<S, Fmt>();

    #[inline(always)]
    fn new(_s: S) -> Self {
        Self([0; WORDS * LANES])
    }

    #[inline(always)]
    unsafe fn quad(&mut self, s: S, c: usize, bytes: S::I, _x: *const i32, _row_words: usize) {
        // SAFETY: There is room for the words of a group.
        unsafe { store_quad::<S, Fmt>(s, self.0.as_mut_ptr(), c, bytes) };
    }

    #[inline(always)]
    unsafe fn take(&mut self, s: S, half: usize, x: *const i32, row_words: usize) -> [S::I; R] {
        // Not where halves of groups are multiplied, of which so few words are needed at a time that it only costs.
        if Fmt::HALVES == 1 {
            barrier();
        }
        let count = words_of_group::<S>() / Fmt::HALVES;
        let words = self.0.as_ptr().wrapping_add(half * count * LANES);
        // SAFETY: The words of the group are there, and the caller vouches for those of the activations.
        let int = unsafe { multiply_words::<S, 1, R>(s, [words], count, x.add(half * count), row_words) };
        int.map(|[int]| int)
    }
}

/// Multiplies a block by `R` rows of activations.
struct Multiply<S: Simd, Fmt, P, const R: usize> {
    s: S,
    /// The activations of the block in the first row, and how far it is to those of the next.
    x: *const i32,
    row_words: usize,
    meta: *const GroupMeta,
    row_meta: usize,
    pending: P,
    acc: [[S::F; 2]; R],
    format: PhantomData<Fmt>,
}

impl<S: Simd, Fmt: Format, P: Pending<S, Fmt, R>, const R: usize> Sink<S> for Multiply<S, Fmt, P, R> {
    const ROWS: usize = P::ROWS;

    #[inline(always)]
    fn quad(&mut self, group: usize, c: usize, bytes: S::I) {
        // SAFETY: `x` has the words of every group of the block, in each row.
        unsafe { self.pending.quad(self.s, c, bytes, self.x.add(group * WORDS), self.row_words) };
    }

    #[inline(always)]
    fn finish(&mut self, group: usize, half: usize, scale: S::F, min: S::F) {
        let s = self.s;
        // SAFETY: As above.
        let int = unsafe { self.pending.take(s, half, self.x.add(group * WORDS), self.row_words) };
        for r in 0..R {
            // SAFETY: There is a `GroupMeta` for every group of the block, in each row.
            let meta = unsafe { &*self.meta.add(r * self.row_meta + group) };
            let acc = &mut self.acc[r][half];
            *acc = extend::<S, Fmt>(s, int[r], P::OFFSET, meta, half, (scale, min), *acc);
        }
    }
}

/// The sum of the chains.
#[inline(always)]
pub(super) fn join_chains<S: Simd, Fmt: Format>(s: S, acc: [S::F; 2]) -> S::F {
    if Fmt::HALVES == 1 { acc[0] } else { s.add(acc[0], acc[1]) }
}

/// Whether so many rows are multiplied by weights as these are unpacked.
#[inline(always)]
fn is_few<S: Simd, Fmt: Format>(rows: usize) -> bool {
    if S::BYTE_DOTS {
        // Any number where products of whole vectors take twice as long as other work, and so weights are unpacked beside them for nothing.
        // Not where halves of groups are multiplied, for which so much is unpacked that it is worth doing once.
        rows <= S::FEW_ROWS || Fmt::HALVES == 1 && halves_vectors()
    } else {
        rows <= if Fmt::IS_CUT { S::FEW_ROWS } else { S::TILE_ROWS }
    }
}

/// The columns of a few rows of activations, which are multiplied by weights as they are unpacked.
///
/// # Safety
/// See [`Integer`].
#[inline(always)]
unsafe fn few_rows<S: Simd, Fmt: Format>(s: S, job: &Integer<'_, Fmt>) {
    let mut at = job.columns.start;
    while at < job.columns.end {
        let tile = job.weights.tile(at, job.columns.end);
        let mut done = 0;
        while done < job.rows.len() {
            let left = job.rows.len() - done;
            // SAFETY: The caller vouches for the columns of these rows.
            done += unsafe {
                if const { S::BYTE_DOTS } {
                    match left {
                        8.. => multiply_tile::<S, Fmt, Words, 8>(s, job, tile, done, true),
                        4.. => multiply_tile::<S, Fmt, Words, 4>(s, job, tile, done, true),
                        2.. => multiply_tile::<S, Fmt, Words, 2>(s, job, tile, done, true),
                        _ => multiply_tile::<S, Fmt, Words, 1>(s, job, tile, done, true),
                    }
                } else {
                    match left {
                        4.. => multiply_tile::<S, Fmt, [Sums<S>; 4], 4>(s, job, tile, done, done == 0),
                        3 => multiply_tile::<S, Fmt, [Sums<S>; 3], 3>(s, job, tile, done, done == 0),
                        2 => multiply_tile::<S, Fmt, [Sums<S>; 2], 2>(s, job, tile, done, done == 0),
                        _ => multiply_tile::<S, Fmt, [Sums<S>; 1], 1>(s, job, tile, done, done == 0),
                    }
                }
            };
        }
        at += tile.count;
    }
}

/// The columns of one row. Weights are asked for ahead if `asks`.
///
/// # Safety
/// See [`Integer`].
#[inline(always)]
unsafe fn one_row<S: Simd, Fmt: Format>(s: S, job: &Integer<'_, Fmt>, asks: bool) {
    let mut at = job.columns.start;
    while at < job.columns.end {
        let tile = job.weights.tile(at, job.columns.end);
        // SAFETY: The caller vouches for the columns of the row.
        unsafe { multiply_tile::<S, Fmt, [Sums<S>; 1], 1>(s, job, tile, 0, asks) };
        at += tile.count;
    }
}

/// A tile for `R` rows after so many; gives `R`.
///
/// # Safety
/// See [`Integer`].
#[inline(always)]
unsafe fn multiply_tile<S: Simd, Fmt: Format, P: Pending<S, Fmt, R>, const R: usize>(
    s: S,
    job: &Integer<'_, Fmt>,
    tile: Tile,
    done: usize,
    asks: bool,
) -> usize {
    let (x, row) = (job.x, job.rows.start + done);
    let mut sink = Multiply::<S, Fmt, P, R> {
        s,
        x: x.words(row, P::LAYOUT),
        row_words: x.k() / 2,
        meta: x.meta(row),
        row_meta: x.k() / GROUP,
        pending: P::new(s),
        acc: [[s.splat(0.0); 2]; R],
        format: PhantomData,
    };
    for block in 0..x.k() / Fmt::BLOCK {
        // SAFETY: Every row of the tile has so many blocks, and the activations have their groups.
        unsafe {
            tile.unpack::<S, Fmt>(s, block, asks, &mut sink);
            sink.x = sink.x.add(Fmt::BLOCK / 2);
            sink.meta = sink.meta.add(Fmt::BLOCK / GROUP);
        }
    }
    for r in 0..R {
        // SAFETY: The product has the columns.
        unsafe { tile.store(s, job.out, done + r, join_chains::<S, Fmt>(s, sink.acc[r])) };
    }
    R
}
