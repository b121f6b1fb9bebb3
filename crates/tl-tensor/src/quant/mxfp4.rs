//! `MXFP4`: 4-bit floating point (E2M1) under a power of two for 32 values; OCP Microscaling Formats (MX) 1.0.
//!
//! The table holds the elements doubled, so that they are integers, and the power is halved to match.
//!
//! ```text
//! 0  e: u8; the scale is 2^(e - 127)
//! 1  q: 16 bytes; byte j holds value j in its low half and value j + 16 in its high half
//! ```

use super::fit;

/// Twice the value of each E2M1 code: sign, two bits of exponent, one of fraction.
pub static TABLE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Half of the scale that an exponent byte stands for, `2^(e - 128)`; the two smallest are subnormal.
#[inline]
pub fn half_scale(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (u32::from(e) - 1) << 23 })
}

pub(crate) fn decode(block: &[u8; 17], out: &mut [f32; 32]) {
    let d = half_scale(block[0]);
    for (j, &byte) in block[1..].iter().enumerate() {
        out[j] = f32::from(TABLE[usize::from(byte & 0x0f)]) * d;
        out[j + 16] = f32::from(TABLE[usize::from(byte >> 4)]) * d;
    }
}

/// Twelve times 2^125 overflows.
pub(crate) fn suspect(block: &[u8; 17]) -> bool {
    block[0] > 252
}

/// The power that brings the largest magnitude below 8, as the MX specification has it: what lies above 6 saturates.
pub(crate) fn encode(values: &[f32; 32], block: &mut [u8; 17]) {
    let largest = super::extreme(values).abs();
    // The exponent field of a subnormal number is 0, which gives the smallest scale too.
    let e = ((largest.to_bits() >> 23) as u8).saturating_sub(2);
    let d = half_scale(e);
    block[0] = e;
    for j in 0..16 {
        block[1 + j] = fit::nearest(values[j], d, &TABLE) | fit::nearest(values[j + 16], d, &TABLE) << 4;
    }
}
