//! Q5_0 and Q5_1: nibbles as in Q4_0, and a word whose bit `i` is the fifth bit of value `i`.

use super::{Block, Format, Sink, WORD, high_nibbles, low_nibbles, moved};
use crate::simd::Simd;

/// `scale: f16, fifth: u32, nibbles: [u8; 16]`, value = scale · (bits − 16).
#[derive(Clone, Copy)]
pub(crate) struct Q5_0;

/// `scale: f16, min: f16, fifth: u32, nibbles: [u8; 16]`, value = scale · bits + min.
#[derive(Clone, Copy)]
pub(crate) struct Q5_1;

/// Hands over the 32 values whose fifth bits are at `offset` and whose nibbles follow.
#[inline(always)]
fn five_bits<S: Simd, Fmt: Format, K: Sink<S>>(block: Block<S, Fmt>, offset: usize, sink: &mut K) {
    let (s, bits, words) = (block.s, block.word(offset), block.words_when_used(offset + WORD));
    let fifth = |c| s.and(moved(s, bits, c, 4), s.splat_i(0x1010_1010));
    unrolled!(0 1 2 3, C => {
        let word = words.at(C);
        sink.quad(0, C, s.or(low_nibbles(s, word), fifth(C)));
        sink.quad(0, C + 4, s.or(high_nibbles(s, word), fifth(C + 4)));
    });
}

impl Format for Q5_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = 22;
    const PIECES: &'static [(usize, usize)] = &[(2, 20), (0, 2)];
    const BITS: Option<usize> = Some(2);
    const MOST: u8 = 31;
    const OFFSET: i32 = 16;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        five_bits(block, 2, sink);
        let scale = block.half(0);
        sink.finish(0, 0, scale, scale);
    }
}

impl Format for Q5_1 {
    const BLOCK: usize = 32;
    const BYTES: usize = 24;
    const PIECES: &'static [(usize, usize)] = &[(4, 20), (0, 2), (2, 2)];
    const BITS: Option<usize> = Some(4);
    const MOST: u8 = 31;
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        five_bits(block, 4, sink);
        sink.finish(0, 0, block.half(0), block.half(2));
    }
}
