//! `Q1_0`: a sign for each of 128 values under one scale `d`, `v = ±d`.
//!
//! ```text
//! 0  d: f16
//! 2  signs: 16 bytes; bit i of byte j belongs to value 8 j + i, set for +d
//! ```

use super::{bad_f16, f16, put_f16};

pub(crate) fn decode(block: &[u8; 18], out: &mut [f32; 128]) {
    let d = f16(block, 0);
    for (j, v) in out.iter_mut().enumerate() {
        *v = if block[2 + j / 8] >> (j % 8) & 1 == 1 { d } else { -d };
    }
}

pub(crate) fn suspect(block: &[u8; 18]) -> bool {
    bad_f16(block, 0)
}

/// The mean magnitude is the scale of least squared error.
pub(crate) fn encode(values: &[f32; 128], block: &mut [u8; 18]) {
    let d = values.iter().map(|v| v.abs()).sum::<f32>() / 128.0;
    put_f16(block, 0, d);
    for (byte, values) in block[2..].iter_mut().zip(values.as_chunks::<8>().0) {
        *byte = (0..8).map(|i| u8::from(values[i] >= 0.0) << i).sum();
    }
}
