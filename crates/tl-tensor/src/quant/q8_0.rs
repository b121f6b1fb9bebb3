//! `Q8_0`: 8 bits and a scale `d` for 32 values, `v = d q`.
//!
//! ```text
//! 0  d: f16
//! 2  q: 32 × i8
//! ```

use super::{bad_f16, extreme, f16, inverse, put_f16};

pub(crate) fn decode(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f16(block, 0);
    for (v, &byte) in out.iter_mut().zip(&block[2..]) {
        *v = f32::from(byte.cast_signed()) * d;
    }
}

pub(crate) fn suspect(block: &[u8; 34]) -> bool {
    bad_f16(block, 0)
}

pub(crate) fn encode(values: &[f32; 32], block: &mut [u8; 34]) {
    let d = extreme(values).abs() / 127.0;
    let inverse = inverse(d);
    put_f16(block, 0, d);
    for (byte, v) in block[2..].iter_mut().zip(values) {
        *byte = ((v * inverse).round() as i8).cast_unsigned();
    }
}
