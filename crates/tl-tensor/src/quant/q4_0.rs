//! `Q4_0`: 4 bits and a scale `d` for 32 values, `v = d (q - 8)`.
//!
//! ```text
//! 0  d: f16
//! 2  q: 16 bytes; byte j holds value j in its low half and value j + 16 in its high half
//! ```

use super::{bad_f16, extreme, f16, inverse, put_f16};

pub(crate) fn decode(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16(block, 0);
    for (j, &byte) in block[2..].iter().enumerate() {
        out[j] = (f32::from(byte & 0x0f) - 8.0) * d;
        out[j + 16] = (f32::from(byte >> 4) - 8.0) * d;
    }
}

pub(crate) fn suspect(block: &[u8; 18]) -> bool {
    bad_f16(block, 0)
}

/// The extreme value gets the code 0, which reaches one step further than 15 does.
pub(crate) fn encode(values: &[f32; 32], block: &mut [u8; 18]) {
    let d = extreme(values) / -8.0;
    let inverse = inverse(d);
    let code = |v: f32| ((v * inverse + 8.5) as u8).min(15);
    put_f16(block, 0, d);
    for j in 0..16 {
        block[2 + j] = code(values[j]) | code(values[j + 16]) << 4;
    }
}
