//! `Q5_K`: 5 bits for 256 values; for each 32 of them a 6-bit scale and a 6-bit minimum, which two scales of the block
//! multiply: `v = (d s) q - (dmin m)`.
//!
//! ```text
//!  0  d: f16
//!  2  dmin: f16
//!  4  scales: 12 bytes, as in Q4_K
//! 16  fifth bits: 32 bytes; bit k of byte j belongs to value 32 k + j
//! 48  lower four bits: 128 bytes, as in Q4_K
//! ```

use super::{bad_f16, f16, fit, put_f16, q4_k};

pub(crate) fn decode(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (f16(block, 0), f16(block, 2));
    let (scales, mins) = q4_k::scales(&block[4..16]);
    for (group, values) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = (d * f32::from(scales[group]), dmin * f32::from(mins[group]));
        let at = 48 + 32 * (group / 2);
        for (j, v) in values.iter_mut().enumerate() {
            let q = block[at + j] >> (4 * (group % 2)) & 0x0f | (block[16 + j] >> group & 1) << 4;
            *v = scale * f32::from(q) - min;
        }
    }
}

pub(crate) fn suspect(block: &[u8; 176]) -> bool {
    bad_f16(block, 0) || bad_f16(block, 2)
}

pub(crate) fn encode(values: &[f32; 256], block: &mut [u8; 176]) {
    block.fill(0);
    let coded = fit::affine_groups::<32>(values, 63, 31);
    put_f16(block, 0, coded.d);
    put_f16(block, 2, coded.dmin);
    q4_k::put_scales(&mut block[4..16], &coded.scales, &coded.mins);
    for (i, &q) in coded.codes.iter().enumerate() {
        block[48 + 32 * (i / 64) + i % 32] |= (q & 0x0f) << (4 * (i / 32 % 2));
        block[16 + i % 32] |= (q >> 4) << (i / 32);
    }
}
