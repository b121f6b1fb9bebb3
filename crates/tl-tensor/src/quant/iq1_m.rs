//! `IQ1_M`: 256 values as points of a ternary grid of 2048, eight values a point, each shifted by ±1/8; a 3-bit scale
//! for each 16 under one scale of the block, `v = d (2 s + 1) (point ± 1/8)`.
//!
//! ```text
//!  0  32 bytes: the lower eight bits of the number of each point
//! 32  16 bytes: byte j holds, for point 2 j in its low half and point 2 j + 1 in its high half, the upper three bits
//!     of the number and, in the highest bit, shift down
//! 48  4 × u16, one for each 64 values: four times s in 3 bits; in the highest four bits, a part of d: f16, lowest first
//! ```

use super::{iq1_s, u16_at};
use crate::half::f16_to_f32;

pub(crate) fn decode(block: &[u8; 56], out: &mut [f32; 256]) {
    let d = f16_to_f32(scale_bits(block));
    for (k, values) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let s = u16_at(block, 48 + 2 * (k / 8)) >> (3 * (k / 2 % 4)) & 7;
        let high = block[32 + k / 2] >> (4 * (k % 2)) & 0x0f;
        let delta = if high & 8 == 0 { iq1_s::DELTA } else { -iq1_s::DELTA };
        let index = u16::from(block[k]) | u16::from(high & 7) << 8;
        iq1_s::put(values, d * f32::from(2 * s + 1), delta, index);
    }
}

pub(crate) fn suspect(block: &[u8; 56]) -> bool {
    scale_bits(block) & 0x7c00 == 0x7c00
}

/// The bits of the block's scale, gathered from four places.
fn scale_bits(block: &[u8; 56]) -> u16 {
    (0..4).fold(0, |bits, i| bits | u16_at(block, 48 + 2 * i) >> 12 << (4 * i))
}
