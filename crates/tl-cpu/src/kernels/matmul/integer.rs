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
//!
//! Where four products of bytes are one instruction, unpacked weights stay bytes and meet the high and the low bytes of the
//! activations, `int = 256 · Σ w · high + Σ w · low`; elsewhere they are widened to 16 bits.
//!
//! Sixteen rows that are read at once are no stream that a processor's prefetcher knows, so what is read later is asked for here.

#![expect(unsafe_code, reason = "the kernels read and write through pointers")]

use std::marker::PhantomData;
use std::ops::Range;

use super::activations::{GROUP, GroupMeta, QuantizedRows};
use super::formats::{Format, SLOTS, Sink};
use super::panel;
use crate::aligned::Aligned;
use crate::simd::{LANES, RowStep, Simd, SimdFn, opaque_pointer};

/// Words of a group of activations.
pub(super) const WORDS: usize = GROUP / 2;
/// Words of high bytes of a group of activations; as many words of low bytes follow.
pub(super) const QUADS: usize = GROUP / 4;
/// Groups that are unpacked before they are multiplied: 16 rows of 768 values, 12 KiB of bytes or 24 KiB of pairs.
pub(super) const PANEL: usize = 24;
/// How far ahead weights are asked for: what a processor reads while memory answers. Much more costs half of the speed, for the lines come in the way of those
/// that the processor fetches by itself.
pub(super) const AHEAD: usize = 4 << 10;
/// What is known of the memory that is read next, in bytes: `AHEAD` and a tile of long rows.
const FARTHEST: usize = 256 << 10;
/// Rows of activations that are multiplied by all weights of a call before the next are: they stay in the second cache.
pub(super) const ROW_BLOCK: usize = 64;

/// Memory of one worker for products with many rows.
pub struct Scratch {
    /// `[group][word][lane]`, weights as words of four bytes or of two times 16 bits.
    pub(super) words: Aligned<i32>,
    /// `[group][half][lane]`.
    pub(super) scales: Aligned<f32>,
    /// `[group][half][lane]`.
    pub(super) mins: Aligned<f32>,
    /// `[row][half][lane]`, the chains.
    pub(super) acc: Aligned<f32>,
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
            words: Aligned::zeros(PANEL * WORDS * LANES),
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
    /// What the same thread reads after the rows that it is asked for.
    pub next: Upcoming,
}

/// Memory that will be read: pieces in order, each with its length in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Upcoming {
    pieces: [(*const u8, usize); 6],
    count: usize,
    bytes: usize,
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
pub(super) struct Tile {
    pub data: *const u8,
    pub stride: usize,
    /// The first lane that is wanted, how many are, and the column of the first.
    lane: usize,
    pub count: usize,
    column: usize,
}

impl Rows {
    /// The tile whose first column is `at`, of the columns below `to`. Where fewer than 16 are left, it reaches back; where
    /// there are fewer than 16 rows at all, it is one row in all lanes.
    #[inline(always)]
    pub(super) fn tile(&self, at: usize, to: usize) -> Tile {
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

impl Rows {
    /// What to ask for while the tile at column `at` is read: the weights `AHEAD` bytes after it, or as far into what is read next.
    #[inline(always)]
    pub(super) fn ahead(&self, at: usize, end: usize) -> *const u8 {
        let (here, left) = (self.data.wrapping_add(at * self.stride), (end - at) * self.stride);
        // The first bytes of the last row are read with those of the first.
        let far = LANES * self.stride + AHEAD;
        if far < left { here.wrapping_add(far) } else { self.next.at(far - left).unwrap_or(here) }
    }
}

impl Upcoming {
    /// Nothing that is known.
    pub const NONE: Self = Self { pieces: [(std::ptr::null(), 0); 6], count: 0, bytes: 0 };

    /// Adds a piece; `false` if there is no more to know: the list is full or as long as anyone looks ahead.
    pub fn push(&mut self, start: *const u8, bytes: usize) -> bool {
        let full = self.count == self.pieces.len();
        match self.pieces[..self.count].last_mut() {
            // Blocks of rows read the same weights again.
            Some(last) if last.0 == start => return true,
            Some(last) if last.0.wrapping_add(last.1) == start => last.1 += bytes,
            _ if full => return false,
            _ => {
                self.pieces[self.count] = (start, bytes);
                self.count += 1;
            }
        }
        self.bytes += bytes;
        self.bytes < FARTHEST
    }

    /// The byte that is read after so many others.
    fn at(&self, mut distance: usize) -> Option<*const u8> {
        for &(start, bytes) in &self.pieces[..self.count] {
            if distance < bytes {
                return Some(start.wrapping_add(distance));
            }
            distance -= bytes;
        }
        None
    }
}

/// Bytes that a tile's group, or half of one, takes.
#[inline(always)]
const fn share<Fmt: Format>() -> usize {
    LANES * Fmt::BYTES / (Fmt::BLOCK / GROUP * Fmt::HALVES)
}

/// Asks for the part of a share that comes with quad `c`, so that requests are spread evenly over the work.
#[inline(always)]
fn prefetch_part<S: Simd, Fmt: Format>(s: S, ahead: *const u8, c: usize) {
    let (lines, quads) = (share::<Fmt>().div_ceil(64), QUADS / Fmt::HALVES);
    let c = c % quads;
    for line in lines * c / quads..lines * (c + 1) / quads {
        s.prefetch(ahead.wrapping_add(line * 64));
    }
}

/// Asks for as many bytes as a tile's group, or half of one, takes.
#[inline(always)]
pub(super) fn prefetch_share<S: Simd, Fmt: Format>(s: S, ahead: &mut *const u8) {
    for line in (0..share::<Fmt>()).step_by(64) {
        s.prefetch(ahead.wrapping_add(line));
    }
    *ahead = ahead.wrapping_add(share::<Fmt>());
}

impl Tile {
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
    fn call<S: Simd>(self, s: S) {
        // SAFETY: `Weights` and `matmul` checked that the rows have `k` values of the format and that the product has room.
        unsafe {
            if self.rows.len() == 1 {
                one_row::<S, Fmt>(s, self.weights, self.columns, self.x, self.rows.start, self.out);
            } else {
                panel::many_rows::<S, Fmt>(s, self);
            }
        }
    }
}

/// The values of a quad in 16 bits: 0 and 2, 1 and 3.
#[inline(always)]
pub(super) fn widen<S: Simd, Fmt: Format>(s: S, bytes: S::I) -> (S::I, S::I) {
    if Fmt::SIGNED {
        (s.sar16::<8>(s.shl16::<8>(bytes)), s.sar16::<8>(bytes))
    } else {
        (s.and(bytes, s.splat_i(0x00FF_00FF)), s.shr16::<8>(bytes))
    }
}

/// The bytes of a quad without signs: those of signed formats 128 larger.
#[inline(always)]
pub(super) fn unsigned<S: Simd, Fmt: Format>(s: S, bytes: S::I) -> S::I {
    if Fmt::SIGNED { s.xor(bytes, s.splat_i(0x8080_8080_u32 as i32)) } else { bytes }
}

/// What the bytes that are multiplied are larger by than the values.
#[inline(always)]
const fn offset<S: Simd, Fmt: Format>() -> i32 {
    if S::BYTE_DOTS && Fmt::SIGNED { 128 } else { Fmt::OFFSET }
}

/// Words that a group of unpacked weights takes in each row.
#[inline(always)]
pub(super) const fn words_of_group<S: Simd>() -> usize {
    if S::BYTE_DOTS { QUADS } else { WORDS }
}

/// Adds the products of a word of weights with the word of activations at `x`, of which the low bytes stand `QUADS` on.
///
/// # Safety
/// The words can be read.
#[inline(always)]
pub(super) unsafe fn dot<S: Simd>(s: S, int: [S::I; 2], weights: S::I, x: *const i32) -> [S::I; 2] {
    // SAFETY: The caller vouches for the words.
    unsafe {
        if S::BYTE_DOTS {
            let [high, low] = int;
            [s.dot_quads(high, weights, s.splat_i(*x)), s.dot_quads(low, weights, s.splat_i(*x.add(QUADS)))]
        } else {
            [s.dot_pairs(int[0], weights, s.splat_i(*x)), int[1]]
        }
    }
}

/// The sum of a group's products from its parts.
#[inline(always)]
pub(super) fn total<S: Simd>(s: S, int: [S::I; 2]) -> S::I {
    if S::BYTE_DOTS { s.add_i(s.shl::<8>(int[0]), int[1]) } else { int[0] }
}

/// Where the pair of values 0 and 2 of quad `c` stands among the pairs of its group; that of 1 and 3 is four words on.
#[inline(always)]
pub(super) fn pair_of(c: usize) -> usize {
    c / 4 * 8 + c % 4
}

/// Adds a group, or half of one, to its chain: `int` is the sum of `byte · x`.
#[inline(always)]
pub(super) fn extend<S: Simd, Fmt: Format>(
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
    let offset = const { offset::<S, Fmt>() };
    let int = if offset == 0 { int } else { s.sub_i(int, s.splat_i(offset * int_sum)) };
    let acc = s.fma(s.to_f32(int), s.mul(scale, s.splat(meta.scale)), acc);
    if Fmt::MINS { s.fma(min, s.splat(sum), acc) } else { acc }
}

/// Multiplies quads, as they come, by one row of activations.
struct Multiply<S: Simd, Fmt> {
    s: S,
    /// The activations of the block.
    x: *const i32,
    meta: *const GroupMeta,
    /// What will be read later.
    ahead: *const u8,
    int: [[S::I; 2]; SLOTS],
    acc: [S::F; 2],
    format: PhantomData<Fmt>,
}

impl<S: Simd, Fmt: Format> Sink<S> for Multiply<S, Fmt> {
    #[inline(always)]
    fn quad(&mut self, group: usize, slot: usize, c: usize, bytes: S::I) {
        let s = self.s;
        let int = self.int[slot];
        prefetch_part::<S, Fmt>(s, self.ahead.wrapping_add(slot * share::<Fmt>()), c);
        // SAFETY: `x` has the words of every group of the block.
        self.int[slot] = unsafe {
            let x = self.x.add(group * WORDS);
            if S::BYTE_DOTS {
                dot(s, int, unsigned::<S, Fmt>(s, bytes), x.add(c))
            } else {
                let (even, odd) = widen::<S, Fmt>(s, bytes);
                let x = x.add(pair_of(c));
                dot(s, dot(s, int, even, x), odd, x.add(4))
            }
        };
    }

    #[inline(always)]
    fn finish(&mut self, group: usize, slot: usize, half: usize, scale: S::F, min: S::F) {
        // SAFETY: There is a `GroupMeta` for every group of the block.
        let meta = unsafe { &*self.meta.add(group) };
        self.ahead = self.ahead.wrapping_add(share::<Fmt>());
        let int = total(self.s, std::mem::replace(&mut self.int[slot], [self.s.splat_i(0); 2]));
        self.acc[half] = extend::<S, Fmt>(self.s, int, meta, half, (scale, min), self.acc[half]);
    }
}

/// The sum of the chains.
#[inline(always)]
pub(super) fn join_chains<S: Simd, Fmt: Format>(s: S, acc: [S::F; 2]) -> S::F {
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
            x: x.words(row),
            meta: x.meta(row),
            ahead: weights.ahead(at, columns.end),
            int: [[s.splat_i(0); 2]; SLOTS],
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
