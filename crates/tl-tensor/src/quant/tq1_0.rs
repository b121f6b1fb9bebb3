//! `TQ1_0`: ternary digits, five to a byte, and a scale `d` for 256 values, `v = d (t - 1)`.
//!
//! Five digits make a number below 243 in base three. It is stored as a fraction of 256, rounded up, so that the digits
//! come out, first to last, as the whole part of a repeated multiplication by three, without a division.
//!
//! ```text
//!  0  32 bytes: digit n of byte j is value 32 n + j, five digits
//! 32  16 bytes: digit n of byte j is value 160 + 16 n + j, five digits
//! 48  4 bytes: digit n of byte j is value 240 + 4 n + j, four digits
//! 52  d: f16
//! ```

use super::{bad_f16, extreme, f16, inverse, put_f16};

/// First byte, number of bytes, digits in a byte, first value.
const PARTS: [(usize, usize, usize, usize); 3] = [(0, 32, 5, 0), (32, 16, 5, 160), (48, 4, 4, 240)];

pub(crate) fn decode(block: &[u8; 54], out: &mut [f32; 256]) {
    let d = f16(block, 52);
    for (at, bytes, digits, first) in PARTS {
        for n in 0..digits {
            let power = [1_u8, 3, 9, 27, 81][n];
            for j in 0..bytes {
                let digit = (u16::from(block[at + j].wrapping_mul(power)) * 3) >> 8;
                out[first + bytes * n + j] = (f32::from(digit) - 1.0) * d;
            }
        }
    }
}

pub(crate) fn suspect(block: &[u8; 54]) -> bool {
    bad_f16(block, 52)
}

pub(crate) fn encode(values: &[f32; 256], block: &mut [u8; 54]) {
    let d = extreme(values).abs();
    let inverse = inverse(d);
    put_f16(block, 52, d);
    for (at, bytes, digits, first) in PARTS {
        for j in 0..bytes {
            let digit = |n: usize| if n < digits { trit(values[first + bytes * n + j] * inverse) } else { 0 };
            let number = (0..5).fold(0_u16, |number, n| 3 * number + digit(n));
            block[at + j] = (number * 256).div_ceil(243) as u8;
        }
    }
}

/// The ternary digit of a value between -1 and 1.
pub(super) fn trit(value: f32) -> u16 {
    (value.round() as i16).clamp(-1, 1).wrapping_add(1).cast_unsigned()
}
