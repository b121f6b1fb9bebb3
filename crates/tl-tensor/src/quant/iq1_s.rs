//! `IQ1_S`: 256 values as points of a ternary grid of 2048, eight values a point, all 32 of a group shifted by ±1/8; a
//! 3-bit scale for each 32 under one scale of the block, `v = d (2 s + 1) (point ± 1/8)`.
//!
//! ```text
//!  0  d: f16
//!  2  32 bytes: the lower eight bits of the number of each point
//! 34  8 × u16, one for each 32 values: the upper three bits of four points; bits 12 to 14: s; bit 15: shift down
//! ```

use super::{bad_f16, f16, grids, u16_at};

/// How far the points are shifted.
pub(super) const DELTA: f32 = 0.125;

pub(crate) fn decode(block: &[u8; 50], out: &mut [f32; 256]) {
    let d = f16(block, 0);
    for (k, values) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let packed = u16_at(block, 34 + 2 * (k / 4));
        let scale = d * f32::from(2 * (packed >> 12 & 7) + 1);
        let delta = if packed & 0x8000 == 0 { DELTA } else { -DELTA };
        let upper = packed >> (3 * (k % 4)) & 7;
        put(values, scale, delta, u16::from(block[2 + k]) | upper << 8);
    }
}

pub(crate) fn suspect(block: &[u8; 50]) -> bool {
    bad_f16(block, 0)
}

/// Writes the eight values of the point with number `index`.
pub(super) fn put(values: &mut [f32; 8], scale: f32, delta: f32, index: u16) {
    let point = grids::IQ1[usize::from(index)];
    for (i, v) in values.iter_mut().enumerate() {
        *v = scale * (grids::pair(point, i) as f32 - 1.0 + delta);
    }
}
