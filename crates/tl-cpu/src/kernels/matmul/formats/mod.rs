//! How the blocks of each quantization format come apart into small integers, scales and minima.
//!
//! All formats pack bytes so that four neighbouring bytes hold four neighbouring values (or their low, middle and high
//! parts). So sixteen rows are unpacked at once, a row a lane, from where [`super::packed`] has put their words side by side:
//! a word of a row's bytes is a *quad* of four values, and masks and shifts do for sixteen rows what they do for one. A value is
//! `scale · (byte − OFFSET) + min`.
//!
//! A format is one file: its sizes and [`Format::unpack`], which hands each quad to a [`Sink`] and then the scales. The sink
//! multiplies at once (one row of activations) or stores (many).

#![expect(unsafe_code, reason = "blocks are read through pointers, here and in no format")]

/// Runs a block once for each number, which is a constant in it: counting loops of such size are not unrolled by themselves, and arrays that they index stay
/// in memory.
macro_rules! unrolled {
    ($($n:literal)*, $i:ident => $body:block) => {{
        $({
            const $i: usize = $n;
            $body
        })*
    }};
}

pub(super) mod iq4;
pub(super) mod k_quants;
pub(super) mod mxfp4;
pub(super) mod q4;
pub(super) mod q5;
pub(super) mod q8;

use std::marker::PhantomData;

use crate::simd::{AHEAD, LANES, Simd, barrier, prefetch};

/// How a block of a format comes apart.
pub(crate) trait Format: Copy + 'static {
    /// Values in a block, a multiple of 32.
    const BLOCK: usize;
    /// Bytes in a block.
    const BYTES: usize;
    /// The block cut into pieces, in the order in which they are read, each as its offset and its bytes: words, or one or two bytes that are none.
    const PIECES: &'static [(usize, usize)];
    /// Words with bits of several groups in each byte: the offset of eight, and how many bits of a value are in a byte. In tiles a group has them by itself:
    /// of the eight words, those of the first group come first, and bits `bits · i` and up of their bytes belong to the `i`-th of a word's quads.
    const PLANES: &'static [(usize, usize)] = &[];
    /// The offset of a word with a bit of each of 32 values. In tiles that of value `4c + i` is bit `c` of byte `i`.
    const BITS: Option<usize> = None;
    /// Where each byte of the block stands if the pieces follow each other.
    const PLACES: [u8; MAX_BYTES] = places(Self::PIECES);
    /// Whether the bytes of a quad are signed.
    const SIGNED: bool = false;
    /// The largest byte of a quad, if bytes have no signs.
    const MOST: u8 = u8::MAX;
    /// Whether a quad is a word, or a shift and a mask of one: so little that unpacking again for every few rows costs less than storing what was unpacked.
    const IS_CUT: bool = false;
    /// What is subtracted from each byte.
    const OFFSET: i32 = 0;
    /// Scales in a group of 32 values: 1, or 2 for its halves.
    const HALVES: usize = 1;
    /// Whether there is a minimum beside each scale.
    const MINS: bool = false;

    /// Unpacks a block.
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K);
}

/// Bytes of a word.
pub(super) const WORD: usize = 4;

/// Bytes of the largest block, or more.
const MAX_BYTES: usize = 256;

const fn places(pieces: &[(usize, usize)]) -> [u8; MAX_BYTES] {
    let mut places = [u8::MAX; MAX_BYTES];
    let (mut piece, mut place) = (0, 0);
    while piece < pieces.len() {
        let (offset, bytes) = pieces[piece];
        assert!(bytes % WORD == 0 || bytes <= 2, "a piece is words, or one or two bytes");
        let mut byte = 0;
        while byte < bytes {
            assert!(places[offset + byte] == u8::MAX, "pieces do not overlap");
            places[offset + byte] = place;
            place += 1;
            byte += 1;
        }
        piece += 1;
    }
    places
}

/// A block of each of sixteen rows, a row a lane. Bytes are named by their offset in the block as files have it, a constant.
pub(crate) struct Block<S, Fmt> {
    pub s: S,
    /// The pieces, without so many bytes of each row that were skipped.
    data: *const u8,
    skipped: usize,
    /// Whether what stands [`AHEAD`] bytes after its words is asked for.
    asks: bool,
    format: PhantomData<Fmt>,
}

impl<S: Copy, Fmt> Clone for Block<S, Fmt> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Copy, Fmt> Copy for Block<S, Fmt> {}

impl<S: Simd, Fmt: Format> Block<S, Fmt> {
    /// # Safety
    /// A block of sixteen rows can be read at `data`, as `packed` lays it out.
    #[inline(always)]
    pub unsafe fn new(s: S, data: *const u8, asks: bool) -> Self {
        Self { s, data, skipped: 0, asks, format: PhantomData }
    }

    /// The block from `bytes` bytes on: what stands so much later, in the order of the pieces, is read at the offsets of what stands first.
    #[inline(always)]
    pub fn skip(self, bytes: usize) -> Self {
        Self { data: self.data.wrapping_add(bytes * LANES), skipped: self.skipped + bytes, ..self }
    }

    /// Where `bytes` bytes at `offset` of each row begin.
    #[inline(always)]
    fn place(self, offset: usize, bytes: usize) -> *const u8 {
        let place = usize::from(Fmt::PLACES[offset]);
        assert!(place + bytes <= Fmt::BYTES, "the bytes are in the block");
        debug_assert!(self.skipped + place + bytes <= Fmt::BYTES, "and they are with what was skipped");
        self.data.wrapping_add(place * LANES)
    }

    /// The word at `offset`.
    #[inline(always)]
    pub fn word(self, offset: usize) -> S::I {
        let place = self.place(offset, WORD);
        if self.asks {
            prefetch(place.wrapping_add(AHEAD));
        } else {
            barrier();
        }
        // SAFETY: The word is in the block, sixteen times.
        unsafe { self.s.load_i(place.cast()) }
    }

    /// The four words from `offset` on.
    #[inline(always)]
    pub fn words(self, offset: usize) -> [S::I; 4] {
        [self.word(offset), self.word(offset + 4), self.word(offset + 8), self.word(offset + 12)]
    }

    /// The same, each to be read when it is used.
    #[inline(always)]
    pub fn words_when_used(self, offset: usize) -> Words<S, Fmt> {
        let read = if S::TILE_ROWS >= 8 { Some(self.words(offset)) } else { None };
        Words { block: self, offset, read }
    }

    /// The half-precision number at `offset`, which is a piece of its own.
    #[inline(always)]
    pub fn half(self, offset: usize) -> S::F {
        // SAFETY: The two bytes are in the block, sixteen times.
        unsafe { self.s.load_f16(self.place(offset, 2)) }
    }

    /// The byte at `offset`, which is a piece of its own.
    #[inline(always)]
    pub fn byte(self, offset: usize) -> S::I {
        // SAFETY: The byte is in the block, sixteen times.
        unsafe { self.s.load_bytes(self.place(offset, 1)) }
    }
}

/// Four words of a block. They are read together where there are registers for them, which hides how long that takes; where a vector is two registers of
/// sixteen, each is read when it is used.
#[derive(Clone, Copy)]
pub(crate) struct Words<S: Simd, Fmt> {
    block: Block<S, Fmt>,
    offset: usize,
    read: Option<[S::I; 4]>,
}

impl<S: Simd, Fmt: Format> Words<S, Fmt> {
    /// Word `i` < 4.
    #[inline(always)]
    pub fn at(self, i: usize) -> S::I {
        match self.read {
            Some(words) => words[i],
            None => self.block.word(self.offset + WORD * i),
        }
    }
}

/// Takes what a block comes apart into.
pub(crate) trait Sink<S: Simd> {
    /// How many rows of activations a quad is multiplied by at once; 0 if it is stored.
    const ROWS: usize;

    /// Values `4c..4c + 4` of group `group` of the block, a byte each.
    fn quad(&mut self, group: usize, c: usize, bytes: S::I);
    /// Ends a group, or its half `half` if the format has two: all its quads were given and none of another group, and these are its scale and minimum.
    fn finish(&mut self, group: usize, half: usize, scale: S::F, min: S::F);
}

/// Words moved so that bit `from` of each byte becomes its bit `to`. Bits of neighbouring bytes come in.
#[inline(always)]
pub(super) fn moved<S: Simd>(s: S, word: S::I, from: usize, to: usize) -> S::I {
    match to as i32 - from as i32 {
        4 => s.shl16::<4>(word),
        3 => s.shl16::<3>(word),
        2 => s.shl16::<2>(word),
        1 => s.shl16::<1>(word),
        0 => word,
        -1 => s.shr16::<1>(word),
        -2 => s.shr16::<2>(word),
        -3 => s.shr16::<3>(word),
        -4 => s.shr16::<4>(word),
        -5 => s.shr16::<5>(word),
        -6 => s.shr16::<6>(word),
        _ => unreachable!("no format has bits so far from where they belong"),
    }
}

/// The low four bits of each byte.
#[inline(always)]
pub(super) fn low_nibbles<S: Simd>(s: S, a: S::I) -> S::I {
    s.and(a, s.splat_i(0x0F0F_0F0F))
}

/// The high four bits of each byte.
#[inline(always)]
pub(super) fn high_nibbles<S: Simd>(s: S, a: S::I) -> S::I {
    s.and(s.shr16::<4>(a), s.splat_i(0x0F0F_0F0F))
}

/// A table whose values are larger by `raise`, as bytes that products take without a sign.
const fn raised(table: [i8; 16], raise: i32) -> [u8; 16] {
    let mut raised = [0; 16];
    let mut i = 0;
    while i < 16 {
        let value = table[i] as i32 + raise;
        assert!(0 <= value && value <= 255, "raised values are bytes");
        raised[i] = value as u8;
        i += 1;
    }
    raised
}

/// Byte `i` of each lane, as `f32`.
#[inline(always)]
pub(super) fn byte<S: Simd>(s: S, a: S::I, i: usize) -> S::F {
    s.to_f32(s.and(s.shr_by(a, 8 * i as u32), s.splat_i(0xFF)))
}
