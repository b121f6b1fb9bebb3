//! `IQ2_XS`: 256 values as points of a grid of 512, eight values a point, with signs; a 4-bit scale for each 16 under
//! one scale of the block, `v = d (s + 1/2) / 4 · point · sign`.
//!
//! ```text
//!  0  d: f16
//!  2  32 × u16: the number of a point in 9 bits, above them 7 bits of signs
//! 66  scales: 8 bytes; byte j holds scale 2 j in its low half and 2 j + 1 in its high half
//! ```

use super::{bad_f16, f16, grids, u16_at};

pub(crate) fn decode(block: &[u8; 74], out: &mut [f32; 256]) {
    let d = f16(block, 0);
    for (k, values) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let code = u16_at(block, 2 + 2 * k);
        let s = block[66 + k / 4] >> (4 * (k / 2 % 2)) & 0x0f;
        let scale = d * (0.5 + f32::from(s)) * 0.25;
        let signs = grids::even_signs((code >> 9) as u8);
        grids::put_iq2(values, scale, grids::IQ2_XS[usize::from(code & 0x1ff)], signs);
    }
}

pub(crate) fn suspect(block: &[u8; 74]) -> bool {
    bad_f16(block, 0)
}
