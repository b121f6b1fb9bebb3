//! Q4_0 and Q4_1: 32 nibbles; value `i` < 16 is the low nibble of byte `i`, value `16 + i` its high nibble.

use super::{Block, Format, Sink, high_nibbles, low_nibbles};
use crate::simd::Simd;

/// `scale: f16, nibbles: [u8; 16]`, value = scale · (nibble − 8).
#[derive(Clone, Copy)]
pub(crate) struct Q4_0;

/// `scale: f16, min: f16, nibbles: [u8; 16]`, value = scale · nibble + min.
#[derive(Clone, Copy)]
pub(crate) struct Q4_1;

/// Hands over the 32 nibbles of the 16 bytes from `offset` on.
#[inline(always)]
fn nibbles<S: Simd, Fmt: Format, K: Sink<S>>(block: Block<S, Fmt>, offset: usize, sink: &mut K) {
    let (s, words) = (block.s, block.words_when_used(offset));
    unrolled!(0 1 2 3, C => {
        let word = words.at(C);
        sink.quad(0, C, low_nibbles(s, word));
        sink.quad(0, C + 4, high_nibbles(s, word));
    });
}

impl Format for Q4_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = 18;
    const PIECES: &'static [(usize, usize)] = &[(2, 16), (0, 2)];
    const MOST: u8 = 15;
    const IS_CUT: bool = true;
    const OFFSET: i32 = 8;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        nibbles(block, 2, sink);
        let scale = block.half(0);
        sink.finish(0, 0, scale, scale);
    }
}

impl Format for Q4_1 {
    const BLOCK: usize = 32;
    const BYTES: usize = 20;
    const PIECES: &'static [(usize, usize)] = &[(4, 16), (0, 2), (2, 2)];
    const MOST: u8 = 15;
    const IS_CUT: bool = true;
    const MINS: bool = true;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        nibbles(block, 4, sink);
        sink.finish(0, 0, block.half(0), block.half(2));
    }
}
