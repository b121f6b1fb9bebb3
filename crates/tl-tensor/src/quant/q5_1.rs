//! `Q5_1`: 5 bits, a scale `d` and a minimum `m` for 32 values, `v = d q + m`.
//!
//! ```text
//! 0  d: f16
//! 2  m: f16
//! 4  fifth bits: u32; bit j belongs to value j
//! 8  lower four bits: 16 bytes; byte j holds value j in its low half and value j + 16 in its high half
//! ```

use super::{bad_f16, f16, inverse, put_f16, q5_0, range, u32_at};

pub(crate) fn decode(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m, fifth) = (f16(block, 0), f16(block, 2), u32_at(block, 4));
    for (j, &byte) in block[8..].iter().enumerate() {
        let low = byte & 0x0f | ((fifth >> j & 1) as u8) << 4;
        let high = byte >> 4 | ((fifth >> (j + 16) & 1) as u8) << 4;
        out[j] = f32::from(low) * d + m;
        out[j + 16] = f32::from(high) * d + m;
    }
}

pub(crate) fn suspect(block: &[u8; 24]) -> bool {
    bad_f16(block, 0) || bad_f16(block, 2)
}

pub(crate) fn encode(values: &[f32; 32], block: &mut [u8; 24]) {
    let (low, high) = range(values);
    let d = (high - low) / 31.0;
    let inverse = inverse(d);
    put_f16(block, 0, d);
    put_f16(block, 2, low);
    q5_0::pack(values, &mut block[4..], |v| (((v - low) * inverse + 0.5) as u8).min(31));
}
