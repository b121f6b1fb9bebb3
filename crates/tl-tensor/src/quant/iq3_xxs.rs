//! `IQ3_XXS`: 256 values as points of a grid of 256, four values a point, with signs; a 4-bit scale for each 32 under
//! one scale of the block, `v = d (s + 1/2) / 2 · point · sign`.
//!
//! ```text
//!  0  d: f16
//!  2  64 bytes, each the number of a point
//! 66  8 × u32, one for each 32 values: four times 7 bits of signs for eight values and, above them, s
//! ```

use super::{bad_f16, f16, grids, u32_at};

pub(crate) fn decode(block: &[u8; 98], out: &mut [f32; 256]) {
    let d = f16(block, 0);
    for (group, values) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let packed = u32_at(block, 66 + 4 * group);
        let scale = d * (0.5 + (packed >> 28) as f32) * 0.5;
        for (i, v) in values.iter_mut().enumerate() {
            let point = grids::IQ3_XXS[usize::from(block[2 + 8 * group + i / 4])];
            let magnitude = grids::IQ3_XXS_VALUES[grids::nibble(point, i % 4)];
            let signs = grids::even_signs((packed >> (7 * (i / 8))) as u8);
            *v = grids::sign(scale * f32::from(magnitude), signs, i % 8);
        }
    }
}

pub(crate) fn suspect(block: &[u8; 98]) -> bool {
    bad_f16(block, 0)
}
