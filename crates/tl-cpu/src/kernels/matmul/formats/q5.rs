//! Q5_0 and Q5_1: nibbles as in Q4_0, and a word whose bit `i` is the fifth bit of value `i`.

use super::{Block, Format, Sink, high_nibbles, low_nibbles};
use crate::simd::Simd;

/// `scale: f16, fifth: u32, nibbles: [u8; 16]`, value = scale · (bits − 16).
#[derive(Clone, Copy)]
pub(crate) struct Q5_0;

/// `scale: f16, min: f16, fifth: u32, nibbles: [u8; 16]`, value = scale · bits + min.
#[derive(Clone, Copy)]
pub(crate) struct Q5_1;

/// Bits `from..from + 4` of each lane, as bit 4 of its four bytes.
#[inline(always)]
fn fifth_bits<S: Simd>(s: S, bits: S::I, from: usize) -> S::I {
    let four = s.and(s.shr_by(bits, from as u32), s.splat_i(0xF));
    // The product has copies of the four bits at 4, 11, 18 and 25, which do not overlap: bit `i` of copy `i` is at 8i + 4.
    s.and(s.mul_i(four, s.splat_i(0x0204_0810)), s.splat_i(0x1010_1010))
}

/// Hands over the 32 values whose fifth bits are at `offset` and whose nibbles follow.
#[inline(always)]
fn five_bits<S: Simd, Fmt: Format, K: Sink<S>>(block: Block<S, Fmt>, offset: usize, sink: &mut K) {
    let (s, fifth) = (block.s, block.word(offset));
    for (c, word) in block.words(offset + 4).into_iter().enumerate() {
        sink.quad(0, 0, c, s.or(low_nibbles(s, word), fifth_bits(s, fifth, 4 * c)));
        sink.quad(0, 0, c + 4, s.or(high_nibbles(s, word), fifth_bits(s, fifth, 16 + 4 * c)));
    }
}

impl Format for Q5_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = 22;
    const PIECES: &'static [(usize, usize)] = &[(2, 20), (0, 2)];
    const OFFSET: i32 = 16;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        five_bits(block, 2, sink);
        let scale = block.half(0);
        sink.finish(0, 0, 0, scale, scale);
    }
}

impl Format for Q5_1 {
    const BLOCK: usize = 32;
    const BYTES: usize = 24;
    const PIECES: &'static [(usize, usize)] = &[(4, 20), (0, 2), (2, 2)];
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        five_bits(block, 4, sink);
        sink.finish(0, 0, 0, block.half(0), block.half(2));
    }
}
