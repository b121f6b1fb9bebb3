//! `NVFP4`: 4-bit floating point (E2M1) under an unsigned 8-bit floating-point scale (E4M3) for each 16 of 64 values.
//!
//! The table of E2M1 holds the elements doubled, so that they are integers, and the scale is halved to match.
//!
//! ```text
//! 0  scales: 4 × E4M3, one for each 16 values
//! 4  q: 32 bytes, 8 for each 16 values; byte j holds value j in its low half and value 8 + j in its high half
//! ```

use super::fit;
use super::mxfp4::TABLE;

/// Half of the scale that an unsigned E4M3 number stands for: 4 bits of exponent with bias 7, 3 of fraction.
///
/// The pattern 0x7f, NaN in E4M3, counts as 0. The sign bit is not looked at.
#[inline]
pub fn half_scale(bits: u8) -> f32 {
    let (exponent, fraction) = (bits >> 3 & 0x0f, f32::from(bits & 7));
    if bits == 0x7f {
        0.0
    } else if exponent == 0 {
        fraction * f32::from_bits((127 - 10) << 23)
    } else {
        (1.0 + fraction / 8.0) * f32::from_bits((u32::from(exponent) + 127 - 8) << 23)
    }
}

pub(crate) fn decode(block: &[u8; 36], out: &mut [f32; 64]) {
    for (group, values) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let d = half_scale(block[group]);
        for (j, &byte) in block[4 + 8 * group..][..8].iter().enumerate() {
            values[j] = f32::from(TABLE[usize::from(byte & 0x0f)]) * d;
            values[j + 8] = f32::from(TABLE[usize::from(byte >> 4)]) * d;
        }
    }
}

/// No scale is infinite, and none is large enough to overflow.
pub(crate) fn suspect(_: &[u8; 36]) -> bool {
    false
}

/// The scale that brings the largest magnitude to 6, the largest element; at most 448. Below 2^-10 it rounds to 0.
pub(crate) fn encode(values: &[f32; 64], block: &mut [u8; 36]) {
    for (group, values) in values.as_chunks::<16>().0.iter().enumerate() {
        let bits = nearest_scale(super::extreme(values).abs() / 12.0);
        let d = half_scale(bits);
        block[group] = bits;
        for j in 0..8 {
            let (low, high) = (fit::nearest(values[j], d, &TABLE), fit::nearest(values[j + 8], d, &TABLE));
            block[4 + 8 * group + j] = low | high << 4;
        }
    }
}

/// The scale, 0 to 0x7e, whose half is nearest to `half`. The numbers ascend with their bits.
fn nearest_scale(half: f32) -> u8 {
    let above = (0..0x7e).find(|&bits| half_scale(bits) >= half).unwrap_or(0x7e);
    let below = above.saturating_sub(1);
    if half - half_scale(below) <= half_scale(above) - half { below } else { above }
}
