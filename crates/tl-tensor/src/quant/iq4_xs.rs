//! `IQ4_XS`: 4 bits that choose one of 16 unevenly spaced values, for 256 values; for each 32 a 6-bit scale under one
//! scale of the block, `v = d (s - 32) table[q]`.
//!
//! ```text
//! 0  d: f16
//! 2  upper two bits of the scales: u16; bits 2k and 2k + 1 belong to scale k
//! 4  lower four bits of the scales: 4 bytes; byte j holds scale 2 j in its low half and 2 j + 1 in its high half
//! 8  q: 128 bytes, 16 for each 32 values; byte j holds value j in its low half and value 16 + j in its high half
//! ```

use super::iq4_nl::{NEAREST, TABLE};
use super::{bad_f16, f16, fit, put_f16, u16_at};

pub(crate) fn decode(block: &[u8; 136], out: &mut [f32; 256]) {
    let (d, upper) = (f16(block, 0), u16_at(block, 2));
    for (group, values) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let lower = block[4 + group / 2] >> (4 * (group % 2)) & 0x0f;
        let code = lower | ((upper >> (2 * group) & 3) as u8) << 4;
        let scale = d * (f32::from(code) - 32.0);
        for (j, &byte) in block[8 + 16 * group..][..16].iter().enumerate() {
            values[j] = scale * f32::from(TABLE[usize::from(byte & 0x0f)]);
            values[j + 16] = scale * f32::from(TABLE[usize::from(byte >> 4)]);
        }
    }
}

pub(crate) fn suspect(block: &[u8; 136]) -> bool {
    bad_f16(block, 0)
}

pub(crate) fn encode(values: &[f32; 256], block: &mut [u8; 136]) {
    block.fill(0);
    let groups = values.as_chunks::<32>().0;
    let wanted: [f32; 8] = std::array::from_fn(|i| fit::table_scale(&groups[i], &NEAREST));
    let d = fit::storable(super::extreme(&wanted) / -32.0);
    put_f16(block, 0, d);
    let inverse = super::inverse(d);
    let mut upper = 0_u16;
    for (group, values) in groups.iter().enumerate() {
        let scale = ((wanted[group] * inverse).round() as i32).clamp(-32, 31);
        let code = (scale + 32) as u8;
        block[4 + group / 2] |= (code & 0x0f) << (4 * (group % 2));
        upper |= u16::from(code >> 4) << (2 * group);
        let scale = d * scale as f32;
        for j in 0..16 {
            let (low, high) =
                (fit::nearest(values[j], scale, &TABLE), fit::nearest(values[j + 16], scale, &TABLE));
            block[8 + 16 * group + j] = low | high << 4;
        }
    }
    block[2..4].copy_from_slice(&upper.to_le_bytes());
}
