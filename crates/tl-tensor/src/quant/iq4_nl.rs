//! `IQ4_NL`: 4 bits that choose one of 16 unevenly spaced values, and a scale `d` for 32 values, `v = d table[q]`.
//!
//! ```text
//! 0  d: f16
//! 2  q: 16 bytes; byte j holds value j in its low half and value j + 16 in its high half
//! ```

use super::{bad_f16, f16, fit, put_f16};

/// The values that a code chooses from; denser around zero, as weights are.
pub static TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// For each integer from -128 on, the value nearest to it.
pub(super) static NEAREST: [i8; 256] = fit::nearest_to_each(&TABLE);

pub(crate) fn decode(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16(block, 0);
    for (j, &byte) in block[2..].iter().enumerate() {
        out[j] = d * f32::from(TABLE[usize::from(byte & 0x0f)]);
        out[j + 16] = d * f32::from(TABLE[usize::from(byte >> 4)]);
    }
}

pub(crate) fn suspect(block: &[u8; 18]) -> bool {
    bad_f16(block, 0)
}

pub(crate) fn encode(values: &[f32; 32], block: &mut [u8; 18]) {
    let d = fit::storable(fit::table_scale(values, &NEAREST));
    put_f16(block, 0, d);
    for j in 0..16 {
        block[2 + j] = fit::nearest(values[j], d, &TABLE) | fit::nearest(values[j + 16], d, &TABLE) << 4;
    }
}
