//! `exp` and `ln` in additions, multiplications and divisions alone.
//!
//! The idea: the system's mathematical library rounds `exp` and `ln` differently from one platform to the
//! next, and one different last bit can choose another token. These two use only operations that IEEE 754
//! defines to the bit, so a seed gives the same text everywhere. Both are within 2e-15 of the true value,
//! relatively.

/// e^x for any `x` but NaN. Results below the smallest normal number are zero.
#[inline]
pub(super) fn exp(x: f64) -> f64 {
    // x = k·ln 2 + r with |r| ≤ ln 2 / 2. The first part of ln 2 ends in zeros, so that k times it is exact.
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let within = x.clamp(-708.0, 709.0);
    // Adding 1.5·2^52 rounds to a whole number, which then stands in the last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let rounded = within * std::f64::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = (within - k * LN2_HIGH) - k * LN2_LOW;
    // Taylor's series by Horner's rule; the first term left out is r^14 / 14! < 5e-18.
    let mut sum = INVERSE_FACTORIALS[13];
    for term in INVERSE_FACTORIALS[..13].iter().rev() {
        sum = sum * r + term;
    }
    let power = f64::from_bits(rounded.to_bits().wrapping_add(1023) << 52);
    let value = sum * power;
    // Chosen at the end and not before, so that a loop over many values has no branch.
    if x < -708.0 {
        0.0
    } else if x > 709.0 {
        f64::INFINITY
    } else {
        value
    }
}

/// 1/0!, 1/1!, 1/2!, …, each rounded once: the factorials are exact.
const INVERSE_FACTORIALS: [f64; 14] = {
    let mut inverse = [1.0; 14];
    let mut factorial = 1.0;
    let mut n = 1;
    while n < 14 {
        factorial *= n as f64;
        inverse[n] = 1.0 / factorial;
        n += 1;
    }
    inverse
};

/// The natural logarithm of a normal positive number.
pub(super) fn ln(x: f64) -> f64 {
    debug_assert!(x >= f64::MIN_POSITIVE && x.is_finite(), "ln of {x}");
    // x = m·2^k with m in [√½, √2); ln m = 2·artanh(s), s = (m − 1)/(m + 1), |s| < 0.172.
    let bits = x.to_bits();
    let mut k = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        k += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    // The series s + s³/3 + s⁵/5 + …; the first term left out is below 1e-18.
    let mut sum = 0.0;
    let mut n = 23.0;
    while n > 0.0 {
        sum = sum * square + 1.0 / n;
        n -= 2.0;
    }
    k as f64 * std::f64::consts::LN_2 + 2.0 * s * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_systems() {
        for i in 0..200_000 {
            let x = -700.0 + i as f64 * 0.007_001;
            let (got, want) = (exp(x), x.exp());
            assert!((got / want - 1.0).abs() < 2e-15, "exp({x}) = {got}, the system says {want}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn ln_is_close_to_the_systems() {
        for i in 1..200_000 {
            let x = (i as f64 * 0.001).powi(3);
            let (got, want) = (ln(x), x.ln());
            assert!(
                (got - want).abs() <= 2e-15 * want.abs().max(1.0),
                "ln({x}) = {got}, the system says {want}"
            );
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn bits_are_pinned() {
        // The same on every platform: these are the bits, not a tolerance. The logarithm is one unit of the
        // last place below the correctly rounded one.
        assert_eq!(exp(-1.0).to_bits(), 0x3fd7_8b56_362c_ef38);
        assert_eq!(exp(-20.25).to_bits(), 0x3e1b_93de_1e27_ca3b);
        assert_eq!(ln(10.0).to_bits(), 0x4002_6bb1_bbb5_5515);
    }
}
