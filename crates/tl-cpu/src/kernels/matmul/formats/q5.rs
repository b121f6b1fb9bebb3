//! Q5_0 and Q5_1: nibbles as in Q4_0, and a word whose bit `i` is the fifth bit of value `i`.

#![expect(unsafe_code, reason = "blocks are read through pointers")]

use super::{Format, Sink, high_nibbles, low_nibbles};
use crate::simd::{RowStep, Simd};

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

/// Hands over the 32 values whose fifth bits are at `p` and whose nibbles follow.
///
/// # Safety
/// 20 bytes can be read at `p` in each row.
#[inline(always)]
unsafe fn five_bits<S: Simd, K: Sink<S>>(s: S, p: *const u8, step: RowStep, sink: &mut K) {
    // SAFETY: The caller vouches for the bytes.
    let (fifth, words) = unsafe { (s.column(p, step), s.columns4(p.add(4), step)) };
    for (c, &word) in words.iter().enumerate() {
        sink.quad(0, 0, c, s.or(low_nibbles(s, word), fifth_bits(s, fifth, 4 * c)));
        sink.quad(0, 0, c + 4, s.or(high_nibbles(s, word), fifth_bits(s, fifth, 16 + 4 * c)));
    }
}

impl Format for Q5_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = 22;
    const OFFSET: i32 = 16;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, step: RowStep, sink: &mut K) {
        // SAFETY: The caller vouches for the block.
        let scale = unsafe {
            five_bits(s, p.add(2), step, sink);
            s.column_f16(p, step)
        };
        sink.finish(0, 0, 0, scale, scale);
    }
}

impl Format for Q5_1 {
    const BLOCK: usize = 32;
    const BYTES: usize = 24;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, step: RowStep, sink: &mut K) {
        // SAFETY: The caller vouches for the block.
        let both = unsafe {
            five_bits(s, p.add(4), step, sink);
            s.column(p, step)
        };
        sink.finish(0, 0, 0, s.low_f16(both), s.high_f16(both));
    }
}
