//! How the blocks of each quantization format come apart into small integers, scales and minima.
//!
//! All formats pack bytes so that four neighbouring bytes hold four neighbouring values (or their low, middle and high
//! parts). So sixteen rows are unpacked at once, a row a lane: a word of a row's bytes is a *quad* of four values, and
//! masks and shifts do for sixteen rows what they do for one. A value is `scale · (byte − OFFSET) + min`.
//!
//! A format is one file: its sizes and [`Format::unpack`], which hands each quad to a [`Sink`] and then the scales. The sink
//! multiplies at once (one row of activations) or stores (many).

#![expect(unsafe_code, reason = "blocks are read through pointers")]

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

use crate::simd::{RowStep, Simd};

/// How a block of a format comes apart.
pub(crate) trait Format: Copy + 'static {
    /// Values in a block, a multiple of 32.
    const BLOCK: usize;
    /// Bytes in a block.
    const BYTES: usize;
    /// Whether the bytes of a quad are signed.
    const SIGNED: bool = false;
    /// What is subtracted from each byte.
    const OFFSET: i32 = 0;
    /// Scales in a group of 32 values: 1, or 2 for its halves.
    const HALVES: usize = 1;
    /// Whether there is a minimum beside each scale.
    const MINS: bool = false;

    /// Unpacks the block at `p` of sixteen rows.
    ///
    /// # Safety
    /// `BYTES` bytes can be read at `p` in each row.
    unsafe fn unpack<S: Simd, K: Sink<S>>(s: S, p: *const u8, step: RowStep, sink: &mut K);
}

/// Takes what a block comes apart into.
pub(crate) trait Sink<S: Simd> {
    /// Values `4c..4c + 4` of group `group` of the block, a byte each. Groups that are unpacked at the same time have different
    /// `slot`s, below [`SLOTS`].
    fn quad(&mut self, group: usize, slot: usize, c: usize, bytes: S::I);
    /// Ends a group, or its half `half` if the format has two: all its quads were given, and these are its scale and minimum.
    fn finish(&mut self, group: usize, slot: usize, half: usize, scale: S::F, min: S::F);
}

/// How many groups are unpacked at the same time, at most.
pub(crate) const SLOTS: usize = 4;

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

/// Byte `i` of each lane, as `f32`.
#[inline(always)]
pub(super) fn byte<S: Simd>(s: S, a: S::I, i: usize) -> S::F {
    s.to_f32(s.and(s.shr_by(a, 8 * i as u32), s.splat_i(0xFF)))
}
