//! `Q6_K`: 6 bits for 256 values and an 8-bit scale for each 16 under one scale of the block, `v = d s (q - 32)`.
//!
//! ```text
//!   0  lower four bits: 128 bytes, 64 for each 128 values; byte j holds value j of the 128 in its low half, value
//!      64 + j in its high half
//! 128  upper two bits: 64 bytes, 32 for each 128 values; bits 2k and 2k + 1 of byte j belong to value 32 k + j of the 128
//! 192  s: 16 × i8
//! 208  d: f16
//! ```

use super::{bad_f16, f16, fit, put_f16};

pub(crate) fn decode(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16(block, 208);
    for (group, values) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(block[192 + group].cast_signed());
        let (lower, lower_shift, upper, upper_shift) = place(group);
        for (j, v) in values.iter_mut().enumerate() {
            let q = block[lower + j] >> lower_shift & 0x0f | (block[upper + j] >> upper_shift & 3) << 4;
            *v = scale * (f32::from(q) - 32.0);
        }
    }
}

pub(crate) fn suspect(block: &[u8; 210]) -> bool {
    bad_f16(block, 208)
}

pub(crate) fn encode(values: &[f32; 256], block: &mut [u8; 210]) {
    block.fill(0);
    let coded = fit::symmetric_groups(values, 128, 32);
    put_f16(block, 208, coded.d);
    for group in 0..16 {
        block[192 + group] = (coded.scales[group] as i8).cast_unsigned();
        let (lower, lower_shift, upper, upper_shift) = place(group);
        for j in 0..16 {
            let q = (coded.codes[16 * group + j] + 32) as u8;
            block[lower + j] |= (q & 0x0f) << lower_shift;
            block[upper + j] |= (q >> 4) << upper_shift;
        }
    }
}

/// Of a group of 16 codes: the first byte and the shift of the lower bits, then of the upper ones.
fn place(group: usize) -> (usize, usize, usize, usize) {
    let (half, part) = (group / 8, group % 8);
    let lower = 64 * half + 16 * (part % 4);
    let upper = 128 + 32 * half + 16 * (part % 2);
    (lower, 4 * (part / 4), upper, 2 * (part / 2))
}
