//! `Q4_1`: 4 bits, a scale `d` and a minimum `m` for 32 values, `v = d q + m`.
//!
//! ```text
//! 0  d: f16
//! 2  m: f16
//! 4  q: 16 bytes; byte j holds value j in its low half and value j + 16 in its high half
//! ```

use super::{bad_f16, f16, inverse, put_f16, range};

pub(crate) fn decode(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f16(block, 0), f16(block, 2));
    for (j, &byte) in block[4..].iter().enumerate() {
        out[j] = f32::from(byte & 0x0f) * d + m;
        out[j + 16] = f32::from(byte >> 4) * d + m;
    }
}

pub(crate) fn suspect(block: &[u8; 20]) -> bool {
    bad_f16(block, 0) || bad_f16(block, 2)
}

pub(crate) fn encode(values: &[f32; 32], block: &mut [u8; 20]) {
    let (low, high) = range(values);
    let d = (high - low) / 15.0;
    let inverse = inverse(d);
    let code = |v: f32| (((v - low) * inverse + 0.5) as u8).min(15);
    put_f16(block, 0, d);
    put_f16(block, 2, low);
    for j in 0..16 {
        block[4 + j] = code(values[j]) | code(values[j + 16]) << 4;
    }
}
