//! Transcendental functions of vectors, to about one unit in the last place.
//!
//! All rest on `e^x − 1 = 2^n (e^r − 1) + (2^n − 1)` with `n = round(x / ln 2)` and `|r| ≤ ln 2 / 2`, where `e^r − 1` is a
//! polynomial: eight terms of the Taylor series, whose rest is below 1e-8 of the value. Every instruction set runs the same operations.

use crate::simd::Simd;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdFn;
    use crate::simd::portable::Portable;

    struct Apply<'a>(&'a [f32; 16], fn(f64) -> f64, Which);

    #[derive(Clone, Copy)]
    enum Which {
        Exp,
        Sigmoid,
        Tanh,
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
                let y = match self.2 {
                    Which::Exp => exp(s, x),
                    Which::Sigmoid => sigmoid(s, x),
                    Which::Tanh => tanh(s, x),
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
            let got = Portable.vectorize(Apply(&x, truth, which));
            #[cfg(target_arch = "x86_64")]
            if let Some(s) = crate::simd::avx2::Avx2::detect() {
                assert_eq!(s.vectorize(Apply(&x, truth, which)).map(f32::to_bits), got.map(f32::to_bits));
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
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(sweep(Which::Sigmoid, logistic, -80.0, 80.0) < 2.5);
        assert!(sweep(Which::Tanh, f64::tanh, -12.0, 12.0) < 2.5);
        assert!(sweep(Which::Tanh, f64::tanh, -0.01, 0.01) < 2.5);
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
        let e = Portable.vectorize(Apply(&x, f64::exp, Which::Exp));
        assert_eq!(&e[..6], &[0.0, f32::INFINITY, 1.0, 1.0, f32::INFINITY, 0.0]);
        assert!(e[6].is_nan() && e[7] == f32::INFINITY && e[8] > 0.0 && e[9] == 1.0 && e[10] == 0.0);
        let t = Portable.vectorize(Apply(&x, f64::tanh, Which::Tanh));
        assert_eq!(&t[..6], &[-1.0, 1.0, 0.0, 0.0, 1.0, -1.0]);
        assert!(t[3].is_sign_negative() && t[6].is_nan() && t[9] == 1e-30 && t[15] == 1.0);
        let g = Portable.vectorize(Apply(&x, f64::exp, Which::Sigmoid));
        assert_eq!(&g[..4], &[0.0, 1.0, 0.5, 0.5]);
        assert!(g[6].is_nan());
    }
}
