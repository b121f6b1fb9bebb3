//! `IQ3_S`: 256 values as points of a grid of 512, four values a point, with signs; a 4-bit scale for each 32 under
//! one scale of the block, `v = d (2 s + 1) · point · sign`.
//!
//! ```text
//!   0  d: f16
//!   2  64 bytes: the lower eight bits of the number of each point
//!  66  8 bytes: bit k of byte j is the ninth bit of point 8 j + k
//!  74  32 bytes: eight signs for each two points
//! 106  scales: 4 bytes; byte j holds scale 2 j in its low half and 2 j + 1 in its high half
//! ```

use super::{bad_f16, f16, grids};

pub(crate) fn decode(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16(block, 0);
    for (k, values) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let upper = usize::from(block[66 + k / 8] >> (k % 8) & 1);
        let point = grids::IQ3_S[usize::from(block[2 + k]) | upper << 8];
        let s = block[106 + k / 16] >> (4 * (k / 8 % 2)) & 0x0f;
        let scale = d * f32::from(1 + 2 * s);
        let signs = block[74 + k / 2] >> (4 * (k % 2));
        for (i, v) in values.iter_mut().enumerate() {
            *v = grids::sign(scale * (2 * grids::nibble(point, i) + 1) as f32, signs, i);
        }
    }
}

pub(crate) fn suspect(block: &[u8; 110]) -> bool {
    bad_f16(block, 0)
}
