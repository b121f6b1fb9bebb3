//! Transcendental functions of vectors, to about one unit in the last place.
//!
//! All rest on `e^x − 1 = 2^n (e^r − 1) + (2^n − 1)` with `n = round(x / ln 2)` and `|r| ≤ ln 2 / 2`, where `e^r − 1` is a
//! polynomial: eight terms of the Taylor series, whose rest is below 1e-8 of the value. Every instruction set runs the same operations.

use crate::simd::{LANES, Simd};

/// `ln 2` in two parts, the first with so few bits that its product with `n` is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `n` as a float and `e^r − 1` of the reduced argument.
#[inline(always)]
fn reduce<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-LN2_HIGH), x);
    let r = s.fma(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(1.0 / 40320.0);
    for c in [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        p = s.fma(p, r, s.splat(c));
    }
    // r + r² p, so that small arguments keep all their bits.
    (n, s.fma(s.mul(r, r), p, r))
}

/// `2^n` for integers `n` in −126..=127.
#[inline(always)]
fn power<S: Simd>(s: S, n: S::F) -> S::F {
    s.from_bits(s.shl::<23>(s.add_i(s.to_i32(n), s.splat_i(127))))
}

/// `e^x`; 0 below −104, where it is less than half of the smallest number.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // The comparisons are false for NaN, which so passes through the arithmetic.
    let clamped = s.select(s.lt(x, s.splat(-110.0)), s.splat(-110.0), x);
    let clamped = s.select(s.lt(s.splat(90.0), clamped), s.splat(90.0), clamped);
    let (n, p) = reduce(s, clamped);
    // In two factors, for 2^128 and 2^-150 are no normal numbers.
    let half = s.floor(s.mul(n, s.splat(0.5)));
    let e = s.add(p, s.splat(1.0));
    s.mul(s.mul(e, power(s, half)), power(s, s.sub(n, half)))
}

/// `e^x` of `x ≤ 0`; 0 below −87, where it is less than the smallest number with all its bits.
#[inline(always)]
pub(crate) fn exp_of_negative<S: Simd>(s: S, x: S::F) -> S::F {
    let (n, p) = reduce(s, x);
    let e = s.mul(s.add(p, s.splat(1.0)), power(s, n));
    s.select(s.lt(x, s.splat(-87.0)), s.splat(0.0), e)
}

/// `1 / (1 + e^−x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(s.splat(1.0), s.add(s.splat(1.0), e))
}

/// `(e^2|x| − 1) / (e^2|x| + 1)` with the sign of `x`.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let sign = s.and(s.bits(x), s.splat_i(i32::MIN));
    let a = s.from_bits(s.and(s.bits(x), s.splat_i(i32::MAX)));
    let y = s.mul(s.splat(2.0), s.select(s.lt(s.splat(10.0), a), s.splat(10.0), a));
    let (n, p) = reduce(s, y);
    let scale = power(s, n);
    let less_one = s.fma(scale, p, s.sub(scale, s.splat(1.0)));
    let t = s.div(less_one, s.add(less_one, s.splat(2.0)));
    s.from_bits(s.or(s.bits(t), sign))
}

/// The natural logarithm: `e ln 2 + ln m` with `x = 2^e m`, where `ln m = 2 artanh((m − 1) / (m + 1))` by its series.
#[inline(always)]
pub(crate) fn log<S: Simd>(s: S, x: S::F) -> S::F {
    const TINY_SHIFT: f32 = 16_777_216.0;
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let tiny = s.lt(x, s.splat(f32::MIN_POSITIVE));
    let normal = s.select(tiny, s.mul(x, s.splat(TINY_SHIFT)), x);
    let exponent = s.to_f32(s.sub_i(s.shr::<23>(s.bits(normal)), s.splat_i(127)));
    let exponent = s.sub(exponent, s.select(tiny, s.splat(24.0), zero));
    let m = s.from_bits(s.or(s.and(s.bits(normal), s.splat_i(0x7F_FFFF)), s.splat_i(0x3F80_0000)));
    let large = s.lt(s.splat(std::f32::consts::SQRT_2), m);
    let m = s.select(large, s.mul(m, s.splat(0.5)), m);
    let exponent = s.select(large, s.add(exponent, one), exponent);
    let f = s.sub(m, one);
    let t = s.div(f, s.add(f, s.splat(2.0)));
    let z = s.mul(t, t);
    let mut p = s.splat(2.0 / 11.0);
    for c in [2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0] {
        p = s.fma(p, z, s.splat(c));
    }
    // 2t = f − t f, so that the bits of f are kept.
    let log_m = s.sub(f, s.mul(t, s.sub(f, s.mul(z, p))));
    let log = s.fma(exponent, s.splat(LN2_HIGH), s.fma(exponent, s.splat(LN2_LOW), log_m));
    let log = s.select(s.eq(x, s.splat(f32::INFINITY)), x, log);
    let log = s.select(s.eq(x, zero), s.splat(f32::NEG_INFINITY), log);
    s.select(s.le(zero, x), log, s.splat(f32::NAN))
}

/// `π / 2` in three parts.
const HALF_PI: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_122_2e-15];

/// Larger angles lose too much when multiples of `π / 2` are taken out in three parts.
const LARGEST_ANGLE: f32 = 30_000.0;

/// The sine of `x + quarters · π / 2`: multiples of `π / 2` are taken out, and the Taylor series of sine or cosine is taken of the rest.
#[inline(always)]
fn sine<S: Simd>(s: S, x: S::F, quarters: i32) -> S::F {
    let magnitude = s.from_bits(s.and(s.bits(x), s.splat_i(i32::MAX)));
    if s.any(s.lt(s.splat(LARGEST_ANGLE), magnitude)) {
        return sine_of_large(s, x, quarters);
    }
    let n = s.round(s.mul(x, s.splat(std::f32::consts::FRAC_2_PI)));
    let mut r = x;
    for part in HALF_PI {
        r = s.fma(n, s.splat(-part), r);
    }
    let z = s.mul(r, r);
    let mut sin = s.splat(1.0 / 362_880.0);
    for c in [-1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0] {
        sin = s.fma(sin, z, s.splat(c));
    }
    let sin = s.fma(s.mul(r, z), sin, r);
    let mut cos = s.splat(-1.0 / 3_628_800.0);
    for c in [1.0 / 40_320.0, -1.0 / 720.0, 1.0 / 24.0, -0.5, 1.0] {
        cos = s.fma(cos, z, s.splat(c));
    }
    let quadrant = s.add_i(s.to_i32(n), s.splat_i(quarters));
    let is_odd = s.eq(s.to_f32(s.and(quadrant, s.splat_i(1))), s.splat(1.0));
    let sign = s.shl::<30>(s.and(quadrant, s.splat_i(2)));
    s.from_bits(s.xor(s.bits(s.select(is_odd, cos, sin)), sign))
}

/// Lane by lane in `f64`.
#[inline(never)]
#[expect(unsafe_code, reason = "loads and stores through pointers")]
fn sine_of_large<S: Simd>(s: S, x: S::F, quarters: i32) -> S::F {
    let mut lanes = [0.0f32; LANES];
    // SAFETY: The array has 16 values.
    unsafe {
        s.store(lanes.as_mut_ptr(), x);
        for lane in &mut lanes {
            let x = f64::from(*lane);
            *lane = if quarters == 0 { x.sin() } else { x.cos() } as f32;
        }
        s.load(lanes.as_ptr())
    }
}

/// The sine of an angle in radians.
#[inline(always)]
pub(crate) fn sin<S: Simd>(s: S, x: S::F) -> S::F {
    sine(s, x, 0)
}

/// The cosine of an angle in radians.
#[inline(always)]
pub(crate) fn cos<S: Simd>(s: S, x: S::F) -> S::F {
    sine(s, x, 1)
}

/// `e^{t²} erfc(t)` for `t` in 1..=4 as a polynomial in `1 / (1 + t / 2)`, interpolated at Chebyshev's nodes; off by at most 6.4e-8 of
/// its value.
const ERFC: [f32; 7] =
    [-0.053_630_426, -0.057_065_2, 0.403_495_04, 0.101_495_415, 0.330_757_14, 0.273_634_34, 0.000_605_118_4];

/// The error function: below 1 its Maclaurin series, above `1 − erfc`.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    let sign = s.and(s.bits(x), s.splat_i(i32::MIN));
    let t = s.from_bits(s.and(s.bits(x), s.splat_i(i32::MAX)));
    let z = s.mul(t, t);
    let mut p = s.splat(0.0);
    // 2/√π (−1)^n / (n! (2n + 1)) for n = 11 to 1, and what 2/√π has above 1.
    let mut factorial = 39_916_800.0f64;
    for n in (1..=11).rev() {
        let c = std::f64::consts::FRAC_2_SQRT_PI / (factorial * f64::from(2 * n + 1));
        p = s.fma(p, z, s.splat(if n % 2 == 0 { c } else { -c } as f32));
        factorial /= f64::from(n);
    }
    p = s.fma(p, z, s.splat((std::f64::consts::FRAC_2_SQRT_PI - 1.0) as f32));
    let small = s.fma(t, p, t);
    let u = s.div(one, s.fma(t, s.splat(0.5), one));
    let mut g = s.splat(0.0);
    for c in ERFC {
        g = s.fma(g, u, s.splat(c));
    }
    let large = s.sub(one, s.mul(g, exp(s, s.sub(s.splat(0.0), z))));
    let large = s.select(s.lt(s.splat(4.0), t), one, large);
    s.from_bits(s.or(s.bits(s.select(s.lt(t, one), small, large)), sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdFn;
    use crate::simd::portable::Portable;

    struct Apply<'a>(&'a [f32; 16], Which);

    #[derive(Clone, Copy)]
    enum Which {
        Exp,
        ExpOfNegative,
        Sigmoid,
        Tanh,
        Log,
        Sin,
        Cos,
        Erf,
    }

    impl SimdFn for Apply<'_> {
        type Output = [f32; 16];

        #[inline(always)]
        #[expect(unsafe_code, reason = "loads and stores through pointers")]
        fn call<S: Simd>(self, s: S) -> [f32; 16] {
            let mut out = [0.0; 16];
            // SAFETY: Both arrays have 16 values.
            unsafe {
                let x = s.load(self.0.as_ptr());
                let y = match self.1 {
                    Which::Exp => exp(s, x),
                    Which::ExpOfNegative => exp_of_negative(s, x),
                    Which::Sigmoid => sigmoid(s, x),
                    Which::Tanh => tanh(s, x),
                    Which::Log => log(s, x),
                    Which::Sin => sin(s, x),
                    Which::Cos => cos(s, x),
                    Which::Erf => erf(s, x),
                };
                s.store(out.as_mut_ptr(), y);
            }
            out
        }
    }

    /// Largest error in units of the last place of the true value, over a sweep of arguments; and that all sets agree.
    fn sweep(which: Which, truth: fn(f64) -> f64, from: f32, to: f32) -> f64 {
        let mut worst = 0.0f64;
        let steps = 40_000;
        for chunk in 0..steps / 16 {
            let x: [f32; 16] =
                std::array::from_fn(|i| from + (to - from) * (chunk * 16 + i) as f32 / steps as f32);
            let got = Portable.vectorize(Apply(&x, which));
            #[cfg(target_arch = "x86_64")]
            if let Some(s) = crate::simd::avx2::Avx2::detect() {
                assert_eq!(s.vectorize(Apply(&x, which)).map(f32::to_bits), got.map(f32::to_bits));
            }
            for (x, y) in x.into_iter().zip(got) {
                let t = truth(f64::from(x));
                let ulp = f64::from((t as f32).abs().max(f32::MIN_POSITIVE)) * 2f64.powi(-23);
                worst = worst.max((f64::from(y) - t).abs() / ulp);
            }
        }
        worst
    }

    #[test]
    fn errors_are_about_one_unit_in_the_last_place() {
        assert!(sweep(Which::Exp, f64::exp, -87.0, 88.7) < 1.1);
        assert!(sweep(Which::Exp, f64::exp, -1.0, 1.0) < 1.1);
        assert!(sweep(Which::ExpOfNegative, f64::exp, -87.0, 0.0) < 1.1);
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(sweep(Which::Sigmoid, logistic, -80.0, 80.0) < 2.5);
        assert!(sweep(Which::Tanh, f64::tanh, -12.0, 12.0) < 2.5);
        assert!(sweep(Which::Tanh, f64::tanh, -0.01, 0.01) < 2.5);
    }

    #[test]
    fn so_are_those_of_logarithms_and_the_error_function() {
        assert!(sweep(Which::Log, f64::ln, 1e-6, 4.0) < 2.0);
        assert!(sweep(Which::Log, f64::ln, 0.9, 1.1) < 2.0);
        assert!(sweep(Which::Log, f64::ln, 1.0, 1e30) < 2.0);
        let erf = |x: f64| (tl_ir::Scalar::Erf.info().eval)(x, 0.0, 0.0);
        assert!(sweep(Which::Erf, erf, -5.0, 5.0) < 2.5);
        assert!(sweep(Which::Erf, erf, -0.1, 0.1) < 2.0);
    }

    #[test]
    fn angles_lose_little_however_large() {
        for limit in [1.0f32, 10.0, 1000.0, 29_000.0, 1e6] {
            for which in [Which::Sin, Which::Cos] {
                for chunk in 0..2000 {
                    let x: [f32; 16] =
                        std::array::from_fn(|i| limit * ((chunk * 16 + i) as f32 / 16_000.0 - 1.0));
                    let got = Portable.vectorize(Apply(&x, which));
                    #[cfg(target_arch = "x86_64")]
                    if let Some(s) = crate::simd::avx2::Avx2::detect() {
                        assert_eq!(s.vectorize(Apply(&x, which)), got);
                    }
                    for (x, y) in x.into_iter().zip(got) {
                        let t =
                            if matches!(which, Which::Sin) { f64::from(x).sin() } else { f64::from(x).cos() };
                        assert!(
                            (f64::from(y) - t).abs() <= 1.2e-7 * t.abs().max(1e-3),
                            "{x}: {y} is not {t}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn ends_are_exact() {
        let x = [
            f32::NEG_INFINITY,
            f32::INFINITY,
            0.0,
            -0.0,
            1000.0,
            -1000.0,
            f32::NAN,
            88.8,
            -103.9,
            1e-30,
            -105.0,
            9.5,
            -9.5,
            20.0,
            -20.0,
            3e38,
        ];
        let e = Portable.vectorize(Apply(&x, Which::Exp));
        assert_eq!(&e[..6], &[0.0, f32::INFINITY, 1.0, 1.0, f32::INFINITY, 0.0]);
        assert!(e[6].is_nan() && e[7] == f32::INFINITY && e[8] > 0.0 && e[9] == 1.0 && e[10] == 0.0);
        let n = Portable.vectorize(Apply(&x.map(|x| if x > 0.0 { -x } else { x }), Which::ExpOfNegative));
        assert_eq!(&n[..6], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert!(n[6].is_nan() && n[7..9] == [0.0; 2] && n[9] == 1.0 && n[11] > 0.0);
        let t = Portable.vectorize(Apply(&x, Which::Tanh));
        assert_eq!(&t[..6], &[-1.0, 1.0, 0.0, 0.0, 1.0, -1.0]);
        assert!(t[3].is_sign_negative() && t[6].is_nan() && t[9] == 1e-30 && t[15] == 1.0);
        let g = Portable.vectorize(Apply(&x, Which::Sigmoid));
        assert_eq!(&g[..4], &[0.0, 1.0, 0.5, 0.5]);
        assert!(g[6].is_nan());
        let l = Portable.vectorize(Apply(&x, Which::Log));
        assert!(
            l[0].is_nan() && l[1] == f32::INFINITY && l[2] == f32::NEG_INFINITY && l[3] == f32::NEG_INFINITY
        );
        assert!(l[5].is_nan() && l[6].is_nan());
        let r = Portable.vectorize(Apply(&x, Which::Erf));
        assert_eq!(&r[..6], &[-1.0, 1.0, 0.0, 0.0, 1.0, -1.0]);
        assert!(r[6].is_nan() && (r[9] / 1e-30 - std::f32::consts::FRAC_2_SQRT_PI).abs() < 2e-7);
        let c = Portable.vectorize(Apply(&x, Which::Cos));
        assert!(c[0].is_nan() && c[1].is_nan() && c[2] == 1.0 && c[6].is_nan());
    }

    #[test]
    fn logarithms_of_tiny_numbers_are_exact_too() {
        let x: [f32; 16] = std::array::from_fn(|i| f32::from_bits(1 << i));
        for (x, y) in x.into_iter().zip(Portable.vectorize(Apply(&x, Which::Log))) {
            assert!((f64::from(y) - f64::from(x).ln()).abs() < 1e-5, "{x}: {y}");
        }
    }
}
