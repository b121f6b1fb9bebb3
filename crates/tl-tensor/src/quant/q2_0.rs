//! `Q2_0`: 2 bits and a scale `d` for 64 values, `v = d (q - 1)`: -1, 0, 1 or 2 steps.
//!
//! ```text
//! 0  d: f16
//! 2  q: 16 bytes; bits 2i and 2i + 1 of byte j belong to value 4 j + i
//! ```

use super::{bad_f16, extreme, f16, inverse, put_f16};

pub(crate) fn decode(block: &[u8; 18], out: &mut [f32; 64]) {
    let d = f16(block, 0);
    for (j, v) in out.iter_mut().enumerate() {
        *v = (f32::from(block[2 + j / 4] >> (2 * (j % 4)) & 3) - 1.0) * d;
    }
}

pub(crate) fn suspect(block: &[u8; 18]) -> bool {
    bad_f16(block, 0)
}

pub(crate) fn encode(values: &[f32; 64], block: &mut [u8; 18]) {
    let d = extreme(values).abs();
    let inverse = inverse(d);
    let code = |v: f32| ((v * inverse).round() as i32 + 1).clamp(0, 3) as u8;
    put_f16(block, 0, d);
    for (byte, values) in block[2..].iter_mut().zip(values.as_chunks::<4>().0) {
        *byte = (0..4).map(|i| code(values[i]) << (2 * i)).sum();
    }
}
