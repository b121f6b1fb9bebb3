//! `Q3_K`: 3 bits for 256 values and a 6-bit scale for each 16 under one scale of the block,
//! `v = d (s - 32) (q - 4)`.
//!
//! ```text
//!   0  third bits: 32 bytes; bit k of byte j belongs to value 32 k + j
//!  32  lower two bits: 64 bytes, 32 for each 128 values; bits 2k and 2k + 1 of byte j of a half belong to its value 32 k + j
//!  96  scales: 12 bytes; bytes 0 to 7 hold the lower four bits of scales 0 to 7 and, in their high halves, 8 to 15;
//!      bits 2k and 2k + 1 of byte 8 + j the upper two of scale 4 k + j
//! 108  d: f16
//! ```

use super::{bad_f16, f16, fit, put_f16};

pub(crate) fn decode(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16(block, 108);
    let scales = scales(block);
    for (group, values) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scales[group]);
        let (upper, bit, lower, shift) = place(group);
        for (j, v) in values.iter_mut().enumerate() {
            let q = block[lower + j] >> shift & 3 | (block[upper + j] >> bit & 1) << 2;
            *v = scale * (f32::from(q) - 4.0);
        }
    }
}

pub(crate) fn suspect(block: &[u8; 110]) -> bool {
    bad_f16(block, 108)
}

pub(crate) fn encode(values: &[f32; 256], block: &mut [u8; 110]) {
    block.fill(0);
    let coded = fit::symmetric_groups(values, 32, 4);
    put_f16(block, 108, coded.d);
    for group in 0..16 {
        let scale = (coded.scales[group] + 32) as u8;
        block[96 + group % 8] |= (scale & 0x0f) << (4 * (group / 8));
        block[104 + group % 4] |= (scale >> 4) << (2 * (group / 4));
        let (upper, bit, lower, shift) = place(group);
        for j in 0..16 {
            let q = (coded.codes[16 * group + j] + 4) as u8;
            block[lower + j] |= (q & 3) << shift;
            block[upper + j] |= (q >> 2) << bit;
        }
    }
}

/// The sixteen scales of a block, -32 to 31.
pub fn scales(block: &[u8; 110]) -> [i8; 16] {
    std::array::from_fn(|i| {
        let lower = block[96 + i % 8] >> (4 * (i / 8)) & 0x0f;
        let upper = block[104 + i % 4] >> (2 * (i / 4)) & 3;
        (lower | upper << 4).cast_signed() - 32
    })
}

/// Of a group of 16 codes: the first byte and the bit of the third bits, the first byte and the shift of the others.
fn place(group: usize) -> (usize, usize, usize, usize) {
    let odd = 16 * (group % 2);
    (odd, group / 2, 32 + 32 * (group / 8) + odd, 2 * (group % 8 / 2))
}
