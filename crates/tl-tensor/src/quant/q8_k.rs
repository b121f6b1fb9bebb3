//! `Q8_K`: 8 bits and an `f32` scale `d` for 256 values, `v = d q`, and the sums of each 16 codes, which products with
//! the other K formats need.
//!
//! ```text
//!   0  d: f32
//!   4  q: 256 × i8
//! 260  sums: 16 × i16
//! ```

use super::{extreme, u32_at};

pub(crate) fn decode(block: &[u8; 292], out: &mut [f32; 256]) {
    let d = f32::from_bits(u32_at(block, 0));
    for (v, &byte) in out.iter_mut().zip(&block[4..260]) {
        *v = d * f32::from(byte.cast_signed());
    }
}

/// A scale this large may be finite and overflow in the product.
pub(crate) fn suspect(block: &[u8; 292]) -> bool {
    !(f32::from_bits(u32_at(block, 0)) * 128.0).is_finite()
}

/// The extreme value gets the code -127.
pub(crate) fn encode(values: &[f32; 256], block: &mut [u8; 292]) {
    block.fill(0);
    let extreme = extreme(values);
    if extreme == 0.0 {
        return;
    }
    let scale = -127.0 / extreme;
    block[..4].copy_from_slice(&(1.0 / scale).to_le_bytes());
    for (group, values) in values.as_chunks::<16>().0.iter().enumerate() {
        let mut sum = 0_i16;
        for (j, v) in values.iter().enumerate() {
            let q = ((v * scale).round_ties_even() as i8).max(-127);
            block[4 + 16 * group + j] = q.cast_unsigned();
            sum += i16::from(q);
        }
        block[260 + 2 * group..262 + 2 * group].copy_from_slice(&sum.to_le_bytes());
    }
}
