//! `IQ2_XXS`: 256 values as points of a grid of 256, eight values a point, with signs; a 4-bit scale for each 32 under
//! one scale of the block, `v = d (s + 1/2) / 4 · point · sign`.
//!
//! ```text
//! 0  d: f16
//! 2  8 groups of 32 values: four bytes, each the number of a point; then u32: four times 7 bits of signs and,
//!    above them, s
//! ```

use super::{bad_f16, f16, grids, u32_at};

pub(crate) fn decode(block: &[u8; 66], out: &mut [f32; 256]) {
    let d = f16(block, 0);
    for (group, values) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let at = 2 + 8 * group;
        let packed = u32_at(block, at + 4);
        let scale = d * (0.5 + (packed >> 28) as f32) * 0.25;
        for (k, values) in values.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let point = grids::IQ2_XXS[usize::from(block[at + k])];
            let signs = grids::even_signs((packed >> (7 * k)) as u8);
            grids::put_iq2(values, scale, point, signs);
        }
    }
}

pub(crate) fn suspect(block: &[u8; 66]) -> bool {
    bad_f16(block, 0)
}
