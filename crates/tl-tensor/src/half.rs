//! Half-precision numbers: IEEE binary16 and bfloat16, converted to and from `f32` with integer arithmetic.
//!
//! Widening is exact. Narrowing rounds to nearest, ties to even, gives infinity beyond the largest number, and keeps
//! subnormals. A NaN stays a NaN; binary16 ones come out quiet, as they do from the processor's own instructions.

/// The value of binary16 bits.
#[inline]
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    let widened = if magnitude >= 0x7c00 {
        let quiet = if magnitude > 0x7c00 { 0x0040_0000 } else { 0 };
        0x7f80_0000 | quiet | (magnitude & 0x03ff) << 13
    } else if magnitude >= 0x0400 {
        // The exponent's bias goes from 15 to 127.
        (magnitude << 13) + (112 << 23)
    } else {
        // A subnormal is a small integer times 2^-24, which `f32` holds exactly.
        (magnitude as f32 * f32::from_bits((127 - 24) << 23)).to_bits()
    };
    f32::from_bits(sign | widened)
}

/// The binary16 bits of the number nearest to `value`.
#[inline]
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let narrowed = if magnitude > 0x7f80_0000 {
        0x7e00 | (magnitude >> 13 & 0x03ff) as u16
    } else if magnitude >= 0x4780_0000 {
        // 65536 and more, infinity included.
        0x7c00
    } else if magnitude >= 0x3880_0000 {
        // Normal: rebase the exponent and round the 13 bits that go; a carry runs into the exponent, up to infinity.
        let rebased = magnitude - (112 << 23);
        ((rebased + 0x0fff + (rebased >> 13 & 1)) >> 13) as u16
    } else if magnitude <= 0x3300_0000 {
        // At most 2^-25, half of the smallest subnormal: the tie goes to zero.
        0
    } else {
        // Subnormal: shift the significand to units of 2^-24 and round what falls off.
        let significand = (magnitude & 0x007f_ffff) | 0x0080_0000;
        let shift = 126 - (magnitude >> 23);
        let kept = significand >> shift;
        let rest = significand & ((1 << shift) - 1);
        let half = 1 << (shift - 1);
        (kept + u32::from(rest > half || (rest == half && kept & 1 == 1))) as u16
    };
    sign | narrowed
}

/// The value of bfloat16 bits: the upper half of an `f32`.
#[inline]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bfloat16 bits of the number nearest to `value`.
#[inline]
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x0040;
    }
    // The largest finite `f32` plus the rounding still fits in 32 bits and gives infinity.
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_survives_the_round_trip() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            if bits & 0x7fff > 0x7c00 {
                assert!(value.is_nan());
                assert_eq!(f32_to_f16(value), bits | 0x0200, "a NaN comes back quiet");
            } else {
                assert_eq!(f32_to_f16(value), bits);
            }
        }
    }

    #[test]
    fn f16_values_follow_the_definition() {
        for bits in 0..0x7c00_u16 {
            let (exponent, fraction) = (i32::from(bits >> 10), f64::from(bits & 0x03ff));
            let expected = match exponent {
                0 => fraction * 2f64.powi(-24),
                e => (1.0 + fraction / 1024.0) * 2f64.powi(e - 15),
            };
            assert_eq!(f64::from(f16_to_f32(bits)), expected);
            assert_eq!(f64::from(f16_to_f32(bits | 0x8000)), -expected);
        }
        assert_eq!(f16_to_f32(0x7c00), f32::INFINITY);
        assert_eq!(f16_to_f32(0xfc00), f32::NEG_INFINITY);
        assert!(f16_to_f32(0x8000).is_sign_negative());
    }

    #[test]
    fn f16_rounds_to_nearest_even() {
        for bits in 0..0x7bff_u16 {
            let (low, high) = (f16_to_f32(bits), f16_to_f32(bits + 1));
            // The sum of neighbours and its half are exact in `f32`.
            let middle = (low + high) / 2.0;
            let even = if bits % 2 == 0 { bits } else { bits + 1 };
            assert_eq!(f32_to_f16(middle), even);
            assert_eq!(f32_to_f16(middle.next_down()), bits);
            assert_eq!(f32_to_f16(middle.next_up()), bits + 1);
            assert_eq!(f32_to_f16(-middle), even | 0x8000);
        }
        assert_eq!(f32_to_f16(65519.996), 0x7bff);
        assert_eq!(f32_to_f16(65520.0), 0x7c00, "halfway beyond the largest number");
        assert_eq!(f32_to_f16(f32::MAX), 0x7c00);
        assert_eq!(f32_to_f16(f32::NEG_INFINITY), 0xfc00);
        assert_eq!(f32_to_f16(f32::from_bits(1)), 0);
    }

    #[test]
    fn every_bf16_survives_the_round_trip() {
        for bits in 0..=u16::MAX {
            let value = bf16_to_f32(bits);
            let expected = if value.is_nan() { bits | 0x0040 } else { bits };
            assert_eq!(f32_to_bf16(value), expected);
        }
    }

    #[test]
    fn bf16_rounds_to_nearest_even() {
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8000)), 0x3f80, "a tie goes to even");
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f81_8000)), 0x3f82, "a tie goes to even");
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(f32_to_bf16(f32::MAX), 0x7f80);
        assert!(bf16_to_f32(f32_to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
    }
}
