//! `Q4_K`: 4 bits for 256 values; for each 32 of them a 6-bit scale and a 6-bit minimum, which two scales of the block
//! multiply: `v = (d s) q - (dmin m)`.
//!
//! ```text
//!  0  d: f16
//!  2  dmin: f16
//!  4  scales: 12 bytes; bytes 0 to 3: scales 0 to 3 in the lower six bits; 4 to 7: minima 0 to 3 likewise;
//!     byte 8 + j: the lower four bits of scale 4 + j and, in its high half, of minimum 4 + j, whose upper two bits
//!     are the upper two of bytes j and 4 + j
//! 16  q: 128 bytes, 32 for each 64 values; byte j holds value j of the 64 in its low half, value 32 + j in its high half
//! ```

use super::{bad_f16, f16, fit, put_f16};

pub(crate) fn decode(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (f16(block, 0), f16(block, 2));
    let (scales, mins) = scales(&block[4..16]);
    for (group, values) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = (d * f32::from(scales[group]), dmin * f32::from(mins[group]));
        let at = 16 + 32 * (group / 2);
        for (v, byte) in values.iter_mut().zip(&block[at..at + 32]) {
            *v = scale * f32::from(byte >> (4 * (group % 2)) & 0x0f) - min;
        }
    }
}

pub(crate) fn suspect(block: &[u8; 144]) -> bool {
    bad_f16(block, 0) || bad_f16(block, 2)
}

pub(crate) fn encode(values: &[f32; 256], block: &mut [u8; 144]) {
    block.fill(0);
    let coded = fit::affine_groups::<32>(values, 63, 15);
    put_f16(block, 0, coded.d);
    put_f16(block, 2, coded.dmin);
    put_scales(&mut block[4..16], &coded.scales, &coded.mins);
    for (i, &q) in coded.codes.iter().enumerate() {
        block[16 + 32 * (i / 64) + i % 32] |= q << (4 * (i / 32 % 2));
    }
}

/// The eight scales and the eight minima, 0 to 63, that twelve bytes hold; in `Q4_K` and `Q5_K` blocks these start at
/// byte 4.
pub fn scales(packed: &[u8]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for j in 0..4 {
        scales[j] = packed[j] & 0x3f;
        mins[j] = packed[4 + j] & 0x3f;
        scales[4 + j] = packed[8 + j] & 0x0f | packed[j] >> 6 << 4;
        mins[4 + j] = packed[8 + j] >> 4 | packed[4 + j] >> 6 << 4;
    }
    (scales, mins)
}

/// Packs eight scales and eight minima, 0 to 63, into twelve bytes.
pub(super) fn put_scales(packed: &mut [u8], scales: &[u8], mins: &[u8]) {
    for j in 0..4 {
        packed[j] = scales[j] | scales[4 + j] >> 4 << 6;
        packed[4 + j] = mins[j] | mins[4 + j] >> 4 << 6;
        packed[8 + j] = scales[4 + j] & 0x0f | mins[4 + j] << 4;
    }
}
