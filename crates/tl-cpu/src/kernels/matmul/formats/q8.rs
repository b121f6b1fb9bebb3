//! Q8_0: 32 signed bytes.

#![expect(unsafe_code, reason = "blocks are read through pointers")]

use super::{Format, Sink};
use crate::simd::{RowStep, Simd};

/// `scale: f16, values: [i8; 32]`, value = scale · byte.
#[derive(Clone, Copy)]
pub(crate) struct Q8_0;

impl Format for Q8_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = 34;
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, step: RowStep, sink: &mut K) {
        unrolled!(0 1, PART => {
            // SAFETY: The caller vouches for the block.
            let words = unsafe { s.columns4(p.add(2 + 16 * PART), step) };
            for (c, &word) in words.iter().enumerate() {
                sink.quad(0, 0, 4 * PART + c, word);
            }
        });
        // SAFETY: The caller vouches for the block.
        let scale = unsafe { s.column_f16(p, step) };
        sink.finish(0, 0, 0, scale, scale);
    }
}
