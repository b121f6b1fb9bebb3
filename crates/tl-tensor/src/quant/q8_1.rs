//! `Q8_1`: 8 bits and a scale `d` for 32 values, `v = d q`, and their sum, which products with `Q4_1` need.
//!
//! ```text
//! 0  d: f16
//! 2  s: f16, d times the sum of the q
//! 4  q: 32 × i8
//! ```

use super::{bad_f16, extreme, f16, inverse, put_f16};

pub(crate) fn decode(block: &[u8; 36], out: &mut [f32; 32]) {
    let d = f16(block, 0);
    for (v, &byte) in out.iter_mut().zip(&block[4..]) {
        *v = f32::from(byte.cast_signed()) * d;
    }
}

/// The sum is no part of any value.
pub(crate) fn suspect(block: &[u8; 36]) -> bool {
    bad_f16(block, 0)
}

pub(crate) fn encode(values: &[f32; 32], block: &mut [u8; 36]) {
    let d = extreme(values).abs() / 127.0;
    let inverse = inverse(d);
    let mut sum = 0;
    for (byte, v) in block[4..].iter_mut().zip(values) {
        let q = (v * inverse).round() as i8;
        sum += i32::from(q);
        *byte = q.cast_unsigned();
    }
    put_f16(block, 0, d);
    put_f16(block, 2, sum as f32 * d);
}
