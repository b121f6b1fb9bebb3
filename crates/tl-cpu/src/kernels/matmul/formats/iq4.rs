//! IQ4_NL and IQ4_XS: nibbles that index a table of unevenly spaced values, laid out as in Q4_0.

use super::{Block, Format, Sink, high_nibbles, low_nibbles, raised};
use crate::simd::Simd;

/// `scale: f16, nibbles: [u8; 16]`, value = scale · TABLE[nibble].
#[derive(Clone, Copy)]
pub(crate) struct Iq4Nl;

/// `scale: f16, high: u16, low: [u8; 4], nibbles: [u8; 128]`, value = scale · (s − 32) · TABLE[nibble], where group `g` of 32 has the
/// six bits `s` = nibble `g` of `low` and bits `2g, 2g + 1` of `high`.
#[derive(Clone, Copy)]
pub(crate) struct Iq4Xs;

const TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// What makes all of them positive.
const RAISE: i32 = 127;
const RAISED: [u8; 16] = raised(TABLE, RAISE);

/// Hands over the group of 32 values whose nibbles are the 16 bytes from `offset` on.
#[inline(always)]
fn looked_up<S: Simd, Fmt: Format, K: Sink<S>>(
    block: Block<S, Fmt>,
    offset: usize,
    group: usize,
    sink: &mut K,
) {
    let (s, words) = (block.s, block.words(offset));
    unrolled!(0 1 2 3, C => {
        sink.quad(group, C, s.lookup(&RAISED, low_nibbles(s, words[C])));
        sink.quad(group, C + 4, s.lookup(&RAISED, high_nibbles(s, words[C])));
    });
}

impl Format for Iq4Nl {
    const BLOCK: usize = 32;
    const BYTES: usize = 18;
    const PIECES: &'static [(usize, usize)] = &[(2, 16), (0, 2)];
    const OFFSET: i32 = RAISE;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        looked_up(block, 2, 0, sink);
        let scale = block.half(0);
        sink.finish(0, 0, scale, scale);
    }
}

impl Format for Iq4Xs {
    const BLOCK: usize = 256;
    const BYTES: usize = 136;
    const PIECES: &'static [(usize, usize)] = &[(0, 136)];
    const OFFSET: i32 = RAISE;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let s = block.s;
        let (first, low) = (block.word(0), block.word(4));
        let (d, high) = (s.low_f16(first), s.shr::<16>(first));
        for group in 0..8 {
            looked_up(block, 8 + 16 * group, group, sink);
            let low = s.and(s.shr_by(low, 4 * group as u32), s.splat_i(0xF));
            let high = s.shl::<4>(s.and(s.shr_by(high, 2 * group as u32), s.splat_i(0x3)));
            let scale = s.mul(d, s.to_f32(s.sub_i(s.or(low, high), s.splat_i(32))));
            sink.finish(group, 0, scale, scale);
        }
    }
}
