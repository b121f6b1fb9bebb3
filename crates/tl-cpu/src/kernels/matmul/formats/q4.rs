//! Q4_0 and Q4_1: 32 nibbles; value `i` < 16 is the low nibble of byte `i`, value `16 + i` its high nibble.

#![expect(unsafe_code, reason = "blocks are read through pointers")]

use super::{Format, Sink, high_nibbles, low_nibbles};
use crate::simd::{RowStep, Simd};

/// `scale: f16, nibbles: [u8; 16]`, value = scale · (nibble − 8).
#[derive(Clone, Copy)]
pub(crate) struct Q4_0;

/// `scale: f16, min: f16, nibbles: [u8; 16]`, value = scale · nibble + min.
#[derive(Clone, Copy)]
pub(crate) struct Q4_1;

/// Hands over the 32 nibbles of the 16 bytes at `p`.
///
/// # Safety
/// 16 bytes can be read at `p` in each row.
#[inline(always)]
pub(super) unsafe fn nibbles<S: Simd, K: Sink<S>>(s: S, p: *const u8, step: RowStep, sink: &mut K) {
    // SAFETY: The caller vouches for the bytes.
    let words = unsafe { s.columns4(p, step) };
    for (c, &word) in words.iter().enumerate() {
        sink.quad(0, 0, c, low_nibbles(s, word));
        sink.quad(0, 0, c + 4, high_nibbles(s, word));
    }
}

impl Format for Q4_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = 18;
    const OFFSET: i32 = 8;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, step: RowStep, sink: &mut K) {
        // SAFETY: The caller vouches for the block.
        let scale = unsafe {
            nibbles(s, p.add(2), step, sink);
            s.column_f16(p, step)
        };
        sink.finish(0, 0, 0, scale, scale);
    }
}

impl Format for Q4_1 {
    const BLOCK: usize = 32;
    const BYTES: usize = 20;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, step: RowStep, sink: &mut K) {
        // SAFETY: The caller vouches for the block.
        let both = unsafe {
            nibbles(s, p.add(4), step, sink);
            s.column(p, step)
        };
        sink.finish(0, 0, 0, s.low_f16(both), s.high_f16(both));
    }
}
