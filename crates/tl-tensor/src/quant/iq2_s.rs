//! `IQ2_S`: 256 values as points of a grid of 1024, eight values a point, with signs; a 4-bit scale for each 16 under
//! one scale of the block, `v = d (s + 1/2) / 4 · point · sign`.
//!
//! ```text
//!  0  d: f16
//!  2  32 bytes: the lower eight bits of the number of each point
//! 34  32 bytes: eight signs for each point
//! 66  8 bytes: bits 2k and 2k + 1 of byte j are the upper two bits of point 4 j + k
//! 74  scales: 8 bytes; byte j holds scale 2 j in its low half and 2 j + 1 in its high half
//! ```

use super::{bad_f16, f16, grids};

pub(crate) fn decode(block: &[u8; 82], out: &mut [f32; 256]) {
    let d = f16(block, 0);
    for (k, values) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let upper = usize::from(block[66 + k / 4] >> (2 * (k % 4)) & 3);
        let point = grids::IQ2_S[usize::from(block[2 + k]) | upper << 8];
        let s = block[74 + k / 4] >> (4 * (k / 2 % 2)) & 0x0f;
        let scale = d * (0.5 + f32::from(s)) * 0.25;
        grids::put_iq2(values, scale, point, block[34 + k]);
    }
}

pub(crate) fn suspect(block: &[u8; 82]) -> bool {
    bad_f16(block, 0)
}
