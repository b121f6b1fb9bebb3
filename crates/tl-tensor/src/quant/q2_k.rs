//! `Q2_K`: 2 bits for 256 values; for each 16 of them a 4-bit scale and a 4-bit minimum, which two scales of the block
//! multiply: `v = (d s) q - (dmin m)`.
//!
//! ```text
//!  0  scales: 16 bytes; s in the low half, m in the high half
//! 16  q: 64 bytes, 32 for each 128 values; bits 2k and 2k + 1 of byte j of a half belong to its value 32 k + j
//! 80  d: f16
//! 82  dmin: f16
//! ```

use super::{bad_f16, f16, fit, put_f16};

pub(crate) fn decode(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (f16(block, 80), f16(block, 82));
    for (group, values) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let (scale, min) = (d * f32::from(block[group] & 0x0f), dmin * f32::from(block[group] >> 4));
        let (at, shift) = place(group);
        for (v, byte) in values.iter_mut().zip(&block[at..at + 16]) {
            *v = scale * f32::from(byte >> shift & 3) - min;
        }
    }
}

pub(crate) fn suspect(block: &[u8; 84]) -> bool {
    bad_f16(block, 80) || bad_f16(block, 82)
}

pub(crate) fn encode(values: &[f32; 256], block: &mut [u8; 84]) {
    block.fill(0);
    let coded = fit::affine_groups::<16>(values, 15, 3);
    put_f16(block, 80, coded.d);
    put_f16(block, 82, coded.dmin);
    for group in 0..16 {
        block[group] = coded.scales[group] | coded.mins[group] << 4;
        let (at, shift) = place(group);
        for j in 0..16 {
            block[at + j] |= coded.codes[16 * group + j] << shift;
        }
    }
}

/// The first byte and the shift of a group of 16 codes.
fn place(group: usize) -> (usize, usize) {
    (16 + 32 * (group / 8) + 16 * (group % 2), 2 * (group % 8 / 2))
}
