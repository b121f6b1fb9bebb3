//! Quantization formats, one file each: the scalar definition that every faster kernel is tested against.
//!
//! A file gives functions on one block, with the block's sizes in their types:
//!
//! - `decode(&[u8; BYTES], &mut [f32; BLOCK])`: the values, equal to ggml's bit for bit. The order of the operations is
//!   part of the format, for each of them rounds.
//! - `suspect(&[u8; BYTES]) -> bool`: whether the scales allow an infinite or NaN value. May say yes for a sound block,
//!   never no for a bad one.
//! - `encode(&[f32; BLOCK], &mut [u8; BYTES])`, where the format can be written. Values that are infinite or NaN have no
//!   code; what they and their block become is not defined, but nothing panics.
//!
//! Bits are packed in different orders; each file's header draws its own.

pub(crate) mod fit;
pub mod grids;
pub(crate) mod iq1_m;
pub(crate) mod iq1_s;
pub(crate) mod iq2_s;
pub(crate) mod iq2_xs;
pub(crate) mod iq2_xxs;
pub(crate) mod iq3_s;
pub(crate) mod iq3_xxs;
pub mod iq4_nl;
pub(crate) mod iq4_xs;
pub mod mxfp4;
pub mod nvfp4;
pub(crate) mod q1_0;
pub(crate) mod q2_0;
pub(crate) mod q2_k;
pub mod q3_k;
pub(crate) mod q4_0;
pub(crate) mod q4_1;
pub mod q4_k;
pub(crate) mod q5_0;
pub(crate) mod q5_1;
pub(crate) mod q5_k;
pub(crate) mod q6_k;
pub(crate) mod q8_0;
pub(crate) mod q8_1;
pub(crate) mod q8_k;
pub(crate) mod tq1_0;
pub(crate) mod tq2_0;

use crate::half::{f16_to_f32, f32_to_f16};

/// The value of the binary16 number at `at`.
#[inline]
fn f16(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16_at(block, at))
}

/// Writes the binary16 number nearest to `value` at `at`.
#[inline]
fn put_f16(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&f32_to_f16(value).to_le_bytes());
}

/// Whether the binary16 number at `at` is infinite or NaN.
#[inline]
fn bad_f16(block: &[u8], at: usize) -> bool {
    u16_at(block, at) & 0x7c00 == 0x7c00
}

#[inline]
fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

#[inline]
fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// `1 / x`, and 0 for 0: the factor that brings values to the scale of their codes.
#[inline]
fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// The value of largest magnitude, with its sign; the first of equals, 0 for none.
fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0_f32, |m, &v| if v.abs() > m.abs() { v } else { m })
}

/// The smallest and the largest value.
fn range(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| {
        (if v < low { v } else { low }, if v > high { v } else { high })
    })
}
