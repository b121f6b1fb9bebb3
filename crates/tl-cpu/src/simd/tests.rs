//! Every instruction set against plain Rust, method by method, on awkward values.

use super::portable::{Portable, fma};
use super::{LANES, Simd, SimdFn};

/// Runs every method and gives the bits of all results.
struct Everything<'a> {
    floats: &'a [[f32; LANES]; 3],
    ints: &'a [[i32; LANES]; 3],
    bytes: &'a [u8],
}

impl SimdFn for Everything<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    #[expect(unsafe_code, reason = "loads and stores go through pointers")]
    fn call<S: Simd>(self, s: S) -> Vec<u32> {
        let mut out = Vec::new();
        let mut lanes = [0i32; LANES];
        let mut parts = [[9.0f32; LANES]; 4];
        macro_rules! int {
            ($($value:expr;)*) => { $(
                s.store_i(lanes.as_mut_ptr(), $value);
                out.extend(lanes.map(|v| v as u32));
            )* };
        }
        macro_rules! float {
            ($($value:expr;)*) => { int! { $(s.bits($value);)* } };
        }
        // SAFETY: The arrays have 16 values, and there are 64 bytes.
        unsafe {
            let [a, b, c] = self.floats.each_ref().map(|v| s.load(v.as_ptr()));
            let [i, j, k] = self.ints.each_ref().map(|v| s.load_i(v.as_ptr()));
            float! {
                s.add(a, b); s.sub(a, b); s.mul(a, b); s.div(a, b); s.fma(a, b, c); s.max(a, b); s.min(a, b);
                s.sqrt(a); s.round(a); s.floor(a); s.select(s.lt(a, b), a, c); s.select(s.le(a, b), a, c);
                s.select(s.eq(a, b), a, c); s.from_bits(i); s.to_f32(i); s.splat(1.5);
            }
            int! {
                s.bits(a); s.splat_i(-7); s.and(i, j); s.or(i, j); s.xor(i, j); s.add_i(i, j); s.sub_i(i, j);
                s.shl::<5>(i); s.shr::<5>(i); s.sar::<5>(i); s.shr_by(i, 9); s.shl16::<3>(i);
                s.shr16::<3>(i); s.sar16::<3>(i); s.dot_pairs(i, j, k); s.dot_quads(i, j, k); s.add16(i, j); s.mul_bytes(i, j); s.sub_bytes(i, j);
                s.to_i32(s.load([0.5, 1.5, -2.5, 7.0e8].repeat(4).as_ptr()));
                s.lookup(&[0, 1, 254, 3, 4, 251, 6, 7, 8, 9, 246, 11, 12, 13, 14, 128], s.and(i, s.splat_i(0x0F0F_0F0F)));
            }
            let p = self.bytes.as_ptr();
            let halves = s.load_i(p.cast());
            int! { s.load_bytes(p.add(1)); }
            for words in s.load_words(p.add(1), 3) {
                int! { words; }
            }
            float! { s.low_f16(halves); s.high_f16(halves); s.load_f16(p); s.load_bf16(p); }
            for lane in (0..LANES).step_by(LANES / S::PARTS) {
                let [a, b, c] = self.floats.each_ref().map(|v| s.load_part(v[lane..].as_ptr()));
                let (half, brain) = (s.load_part_f16(p.add(2 * lane)), s.load_part_bf16(p.add(2 * lane)));
                for (vector, x) in [s.fma_part(a, b, c), half, brain, s.zero_part()].into_iter().enumerate() {
                    s.store_part(parts[vector][lane..].as_mut_ptr(), x);
                }
            }
            out.extend(parts.as_flattened().iter().map(|v| v.to_bits()));
            for n in 0..LANES {
                let mut stored = [9.0; LANES];
                s.store_partial(stored.as_mut_ptr(), a, n);
                out.extend(stored.map(f32::to_bits));
                float! { s.load_partial(self.floats[1].as_ptr(), n); }
            }
            let rows: [S::F; LANES] = std::array::from_fn(|r| s.fma(s.splat(r as f32), a, [b, c][r % 2]));
            for column in s.transpose(rows) {
                float! { column; }
            }
            let mut shorts = [0i16; LANES];
            s.store_even_odd(shorts.as_mut_ptr(), s.sar::<17>(i));
            out.extend(shorts.map(|v| v as u32));
            let mut bytes = [0u8; LANES];
            s.store_bytes(bytes.as_mut_ptr(), i);
            out.extend(bytes.map(u32::from));
            let finite = s.to_f32(i);
            out.push(s.sum(finite).to_bits());
            out.push(s.largest(finite).to_bits());
            let folded = [i, j, k, i, j, k, j, i].map(|v| s.fold(s.to_f32(v)));
            out.extend(s.sum8(folded).map(f32::to_bits));
            out.extend([s.any(s.lt(a, b)), s.any(s.eq(s.splat(1.0), s.splat(2.0)))].map(u32::from));
        }
        out
    }
}

#[test]
fn every_instruction_set_computes_the_same_bits() {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    for round in 0..200 {
        let awkward = [0.0, -0.0, 1e-40, 2.5, -3.5, f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
        let mut float = || match next() % 4 {
            0 => awkward[next() as usize % awkward.len()],
            _ => (next() as i32 as f32) * [1e-12, 1e-6, 1.0][next() as usize % 3],
        };
        let floats = std::array::from_fn(|_| std::array::from_fn(|_| float()));
        let ints = std::array::from_fn(|_| std::array::from_fn(|_| next() as i32));
        // Half-precision numbers with the exponent 31 are left out: what a NaN becomes is not defined.
        let bytes: Vec<u8> = (0..4 * LANES).map(|_| next() as u8 & 0xBB).collect();
        let run = Everything { floats: &floats, ints: &ints, bytes: &bytes };
        let expected = canonical(Portable.vectorize(run));
        let run = || Everything { floats: &floats, ints: &ints, bytes: &bytes };
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(s) = super::avx2::Avx2::detect() {
                assert_eq!(canonical(s.vectorize(run())), expected, "AVX2, round {round}");
            }
            if let Some(s) = super::avx512::Avx512::detect() {
                assert_eq!(canonical(s.vectorize(run())), expected, "AVX-512, round {round}");
            }
        }
    }
}

/// NaNs that arithmetic makes differ in sign between processors: all are one.
fn canonical(bits: Vec<u32>) -> Vec<u32> {
    bits.into_iter()
        .map(|b| if f32::from_bits(b).is_nan() && b & 0x003F_FFFF == 0 { 0x7FC0_0000 } else { b })
        .collect()
}

#[test]
fn fma_rounds_once() {
    let halfway = (f32::from_bits(0x3F80_0001), f32::from_bits(0x3F80_0001), f32::from_bits(0x3380_0000));
    let cases = [
        halfway,
        (1e-30, 1e-15, 1e-40),
        (f32::MAX, 2.0, f32::NEG_INFINITY),
        (f32::MAX, 1.5, -f32::MAX),
        (0.1, 0.2, -0.02),
        (-0.0, 1.0, -0.0),
    ];
    for (a, b, c) in cases {
        assert_eq!(fma(a, b, c).to_bits(), a.mul_add(b, c).to_bits(), "{a} {b} {c}");
    }
}
