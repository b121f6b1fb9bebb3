//! `Q5_0`: 5 bits and a scale `d` for 32 values, `v = d (q - 16)`.
//!
//! ```text
//! 0  d: f16
//! 2  fifth bits: u32; bit j belongs to value j
//! 6  lower four bits: 16 bytes; byte j holds value j in its low half and value j + 16 in its high half
//! ```

use super::{bad_f16, extreme, f16, inverse, put_f16, u32_at};

pub(crate) fn decode(block: &[u8; 22], out: &mut [f32; 32]) {
    let (d, fifth) = (f16(block, 0), u32_at(block, 2));
    for (j, &byte) in block[6..].iter().enumerate() {
        let low = byte & 0x0f | ((fifth >> j & 1) as u8) << 4;
        let high = byte >> 4 | ((fifth >> (j + 16) & 1) as u8) << 4;
        out[j] = (f32::from(low) - 16.0) * d;
        out[j + 16] = (f32::from(high) - 16.0) * d;
    }
}

pub(crate) fn suspect(block: &[u8; 22]) -> bool {
    bad_f16(block, 0)
}

/// The extreme value gets the code 0, which reaches one step further than 31 does.
pub(crate) fn encode(values: &[f32; 32], block: &mut [u8; 22]) {
    let d = extreme(values) / -16.0;
    let inverse = inverse(d);
    put_f16(block, 0, d);
    pack(values, &mut block[2..], |v| ((v * inverse + 16.5) as u8).min(31));
}

/// Writes the fifth bits and the lower four bits of the codes of 32 values, 20 bytes.
pub(super) fn pack(values: &[f32; 32], out: &mut [u8], code: impl Fn(f32) -> u8) {
    let mut fifth = 0_u32;
    for j in 0..16 {
        let (low, high) = (code(values[j]), code(values[j + 16]));
        out[4 + j] = low & 0x0f | high << 4;
        fifth |= u32::from(low >> 4) << j | u32::from(high >> 4) << (j + 16);
    }
    out[..4].copy_from_slice(&fifth.to_le_bytes());
}
