//! MXFP4 (OCP Microscaling 1.0): 32 nibbles, laid out as in Q4_0, that index a table of E2M1 numbers, under a power of two.

use super::{Block, Format, Sink, high_nibbles, low_nibbles, raised};
use crate::simd::Simd;

/// `exponent: u8, nibbles: [u8; 16]`, value = 2^(exponent − 128) · TABLE[nibble].
#[derive(Clone, Copy)]
pub(crate) struct Mxfp4;

/// Twice the E2M1 numbers, so that they are integers.
const TABLE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
/// What makes all of them positive.
const RAISE: i32 = 12;
const RAISED: [u8; 16] = raised(TABLE, RAISE);

impl Format for Mxfp4 {
    const BLOCK: usize = 32;
    const BYTES: usize = 17;
    const PIECES: &'static [(usize, usize)] = &[(1, 16), (0, 1)];
    const MOST: u8 = 2 * RAISE as u8;
    const OFFSET: i32 = RAISE;

    #[inline(always)]
    fn unpack<S: Simd, K: Sink<S>>(block: Block<S, Self>, sink: &mut K) {
        let (s, words) = (block.s, block.words(1));
        unrolled!(0 1 2 3, C => {
            sink.quad(0, C, s.lookup(&RAISED, low_nibbles(s, words[C])));
            sink.quad(0, C + 4, s.lookup(&RAISED, high_nibbles(s, words[C])));
        });
        // Half of the exponent each, for 2^−128 is not a normal number.
        let exponent = block.byte(0);
        let half = s.shr::<1>(exponent);
        let rest = s.sub_i(exponent, half);
        let power = |e| s.from_bits(s.shl::<23>(s.add_i(e, s.splat_i(63))));
        let scale = s.mul(power(half), power(rest));
        sink.finish(0, 0, scale, scale);
    }
}
