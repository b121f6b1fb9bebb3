//! Plain numbers, little-endian, as blocks of one value.
//!
//! Decoding gives the nearest `f32`; encoding to integers rounds to the nearest one, ties to even, saturates, and gives
//! 0 for NaN.

use crate::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

/// One module a type, each with `decode`, `encode` and `suspect` on a block of one value. A row gives the size, the value
/// of bytes `b`, the bytes of a value `v`, and whether bytes `b` are infinite or NaN.
macro_rules! numbers {
    ($($module:ident, $bytes:literal,
       |$d:ident| $decode:expr, |$v:ident| $encode:expr, |$s:pat_param| $suspect:expr;)*) => {
        $(pub(crate) mod $module {
            #[allow(unused_imports, reason = "few types need the conversions")]
            use super::*;

            #[inline]
            pub(crate) fn decode(block: &[u8; $bytes], out: &mut [f32; 1]) {
                let $d = *block;
                out[0] = $decode;
            }

            #[inline]
            pub(crate) fn encode(values: &[f32; 1], block: &mut [u8; $bytes]) {
                let $v = values[0];
                *block = $encode;
            }

            #[inline]
            pub(crate) fn suspect(block: &[u8; $bytes]) -> bool {
                let $s = *block;
                $suspect
            }
        })*
    };
}

numbers! {
    float32, 4, |b| f32::from_le_bytes(b), |v| v.to_le_bytes(), |b| !f32::from_le_bytes(b).is_finite();
    // A finite `f64` may be too large for `f32` and decode to infinity; asked is whether the file's value is finite.
    float64, 8, |b| f64::from_le_bytes(b) as f32, |v| f64::from(v).to_le_bytes(), |b| !f64::from_le_bytes(b).is_finite();
    float16, 2, |b| f16_to_f32(u16::from_le_bytes(b)), |v| f32_to_f16(v).to_le_bytes(),
        |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00;
    bfloat16, 2, |b| bf16_to_f32(u16::from_le_bytes(b)), |v| f32_to_bf16(v).to_le_bytes(),
        |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80;
    int8, 1, |b| f32::from(i8::from_le_bytes(b)), |v| (v.round_ties_even() as i8).to_le_bytes(), |_| false;
    int16, 2, |b| f32::from(i16::from_le_bytes(b)), |v| (v.round_ties_even() as i16).to_le_bytes(), |_| false;
    int32, 4, |b| i32::from_le_bytes(b) as f32, |v| (v.round_ties_even() as i32).to_le_bytes(), |_| false;
    int64, 8, |b| i64::from_le_bytes(b) as f32, |v| (v.round_ties_even() as i64).to_le_bytes(), |_| false;
    uint8, 1, |b| f32::from(b[0]), |v| [v.round_ties_even() as u8], |_| false;
    boolean, 1, |b| f32::from(u8::from(b[0] != 0)), |v| [u8::from(v != 0.0)], |_| false;
}
