//! `TQ2_0`: ternary digits of 2 bits and a scale `d` for 256 values, `v = d (q - 1)`.
//!
//! ```text
//!  0  q: 64 bytes, 32 for each 128 values; bits 2k and 2k + 1 of byte j of a half belong to its value 32 k + j
//! 64  d: f16
//! ```

use super::{bad_f16, extreme, f16, inverse, put_f16, tq1_0};

pub(crate) fn decode(block: &[u8; 66], out: &mut [f32; 256]) {
    let d = f16(block, 64);
    for (i, v) in out.iter_mut().enumerate() {
        let q = block[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3;
        *v = (f32::from(q) - 1.0) * d;
    }
}

pub(crate) fn suspect(block: &[u8; 66]) -> bool {
    bad_f16(block, 64)
}

pub(crate) fn encode(values: &[f32; 256], block: &mut [u8; 66]) {
    block.fill(0);
    let d = extreme(values).abs();
    let inverse = inverse(d);
    put_f16(block, 64, d);
    for (i, v) in values.iter().enumerate() {
        block[32 * (i / 128) + i % 32] |= (tq1_0::trit(v * inverse) as u8) << (2 * (i / 32 % 4));
    }
}
