//! AVX-512 with VNNI: a vector is one register.

#![expect(unsafe_code, reason = "intrinsics, and loads and stores through pointers")]

use std::arch::x86_64::*;

use super::{LANES, Simd, SimdFn, whole_vectors_are_parts};

/// A proof that the processor has AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

type F = __m512;
type I = __m512i;
type M = __mmask16;

/// The kernel, compiled for AVX-512.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn with_avx512<K: SimdFn>(s: Avx512, kernel: K) -> K::Output {
    kernel.call(s)
}

/// The first `n` < 16 lanes set.
#[inline(always)]
fn first_lanes(n: usize) -> M {
    (1u16 << n).wrapping_sub(1)
}

/// Methods that are one intrinsic.
macro_rules! lanewise {
    ($($name:ident($($a:ident: $t:ty),*) -> $r:ty = $op:expr;)*) => { $(
        #[inline(always)]
        fn $name(self, $($a: $t),*) -> $r {
            // SAFETY: The token proves that the processor has the instructions.
            unsafe { $op($($a),*) }
        }
    )* };
}

/// Shifts by a constant, which the compiler makes immediate.
macro_rules! shifts {
    ($($name:ident = $op:ident;)*) => { $(
        #[inline(always)]
        fn $name<const N: i32>(self, a: I) -> I {
            // SAFETY: The token proves that the processor has the instructions.
            unsafe { $op(a, _mm_cvtsi32_si128(N)) }
        }
    )* };
}

impl Simd for Avx512 {
    type F = F;
    type I = I;
    type M = M;
    type H = __m256;
    const NAME: &'static str = "avx512vnni";
    const TILE_ROWS: usize = 8;
    const FEW_ROWS: usize = 16;
    const BYTE_DOTS: bool = true;
    const BYTE_PAIRS: bool = false;

    fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }

    #[inline(always)]
    unsafe fn assume() -> Self {
        Self(())
    }

    #[inline(always)]
    fn vectorize<K: SimdFn>(self, kernel: K) -> K::Output {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { with_avx512(self, kernel) }
    }

    lanewise! {
        splat(x: f32) -> F = _mm512_set1_ps;
        add(a: F, b: F) -> F = _mm512_add_ps;
        sub(a: F, b: F) -> F = _mm512_sub_ps;
        mul(a: F, b: F) -> F = _mm512_mul_ps;
        div(a: F, b: F) -> F = _mm512_div_ps;
        fma(a: F, b: F, c: F) -> F = _mm512_fmadd_ps;
        max(a: F, b: F) -> F = _mm512_max_ps;
        min(a: F, b: F) -> F = _mm512_min_ps;
        sqrt(a: F) -> F = _mm512_sqrt_ps;
        round(a: F) -> F = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>;
        floor(a: F) -> F = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>;
        lt(a: F, b: F) -> M = _mm512_cmp_ps_mask::<_CMP_LT_OQ>;
        le(a: F, b: F) -> M = _mm512_cmp_ps_mask::<_CMP_LE_OQ>;
        eq(a: F, b: F) -> M = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>;
        bits(a: F) -> I = _mm512_castps_si512;
        from_bits(a: I) -> F = _mm512_castsi512_ps;
        to_f32(a: I) -> F = _mm512_cvtepi32_ps;
        to_i32(a: F) -> I = _mm512_cvtps_epi32;
        splat_i(x: i32) -> I = _mm512_set1_epi32;
        and(a: I, b: I) -> I = _mm512_and_si512;
        or(a: I, b: I) -> I = _mm512_or_si512;
        xor(a: I, b: I) -> I = _mm512_xor_si512;
        add_i(a: I, b: I) -> I = _mm512_add_epi32;
        sub_i(a: I, b: I) -> I = _mm512_sub_epi32;
        dot_pairs(acc: I, a: I, b: I) -> I = _mm512_dpwssd_epi32;
        dot_quads(acc: I, a: I, b: I) -> I = _mm512_dpbusd_epi32;
        sub_bytes(a: I, b: I) -> I = _mm512_sub_epi8;
        add16(a: I, b: I) -> I = _mm512_add_epi16;
        mul_bytes(a: I, b: I) -> I = _mm512_maddubs_epi16;
    }

    shifts! {
        shl = _mm512_sll_epi32;
        shr = _mm512_srl_epi32;
        sar = _mm512_sra_epi32;
        shl16 = _mm512_sll_epi16;
        shr16 = _mm512_srl_epi16;
        sar16 = _mm512_sra_epi16;
    }

    #[inline(always)]
    fn shr_by(self, a: I, n: u32) -> I {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { _mm512_srl_epi32(a, _mm_cvtsi32_si128(n as i32)) }
    }

    #[inline(always)]
    fn select(self, mask: M, a: F, b: F) -> F {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { _mm512_mask_blend_ps(mask, b, a) }
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], index: I) -> I {
        // SAFETY: The token proves that the processor has the instructions; the table has 16 bytes.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, index)
        }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> F {
        // SAFETY: The caller vouches for 16 values.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> F {
        // SAFETY: The caller vouches for `n` values; lanes outside of the mask are not accessed.
        unsafe { _mm512_maskz_loadu_ps(first_lanes(n), p) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, x: F) {
        // SAFETY: The caller vouches for 16 values.
        unsafe { _mm512_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, x: F, n: usize) {
        // SAFETY: The caller vouches for `n` values; lanes outside of the mask are not accessed.
        unsafe { _mm512_mask_storeu_ps(p, first_lanes(n), x) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> F {
        // SAFETY: The caller vouches for 32 bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u8) -> F {
        // SAFETY: The caller vouches for 32 bytes.
        let wide = unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast())) };
        self.from_bits(self.shl::<16>(wide))
    }

    whole_vectors_are_parts!();

    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> I {
        // SAFETY: The caller vouches for 16 bytes.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast())) }
    }

    #[inline(always)]
    unsafe fn load_i(self, p: *const i32) -> I {
        // SAFETY: The caller vouches for 16 values.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn load_words(self, p: *const u8, stride: usize) -> [I; 4] {
        // SAFETY: The caller vouches for 16 bytes of each row; the token proves that the processor has the instructions.
        unsafe {
            // Quarter `q` of the `r`-th holds row `4q + r`.
            let mut rows = [_mm512_setzero_si512(); 4];
            for (r, quarters) in rows.iter_mut().enumerate() {
                let row = p.add(r * stride);
                *quarters = _mm512_castsi128_si512(_mm_loadu_si128(row.cast()));
                *quarters = _mm512_inserti32x4::<1>(*quarters, _mm_loadu_si128(row.add(4 * stride).cast()));
                *quarters = _mm512_inserti32x4::<2>(*quarters, _mm_loadu_si128(row.add(8 * stride).cast()));
                *quarters = _mm512_inserti32x4::<3>(*quarters, _mm_loadu_si128(row.add(12 * stride).cast()));
            }
            let [a, b, c, d] = rows;
            let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (ab2, cd2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab2, cd2),
                _mm512_unpackhi_epi64(ab2, cd2),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_i(self, p: *mut i32, x: I) {
        // SAFETY: The caller vouches for 16 values.
        unsafe { _mm512_storeu_si512(p.cast(), x) }
    }

    #[inline(always)]
    unsafe fn store_even_odd(self, p: *mut i16, x: I) {
        // SAFETY: The caller vouches for 16 values of 16 bits.
        unsafe {
            let packed = _mm512_cvtepi32_epi16(x);
            let sort = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
            ));
            let sorted = _mm256_shuffle_epi8(packed, sort);
            _mm256_storeu_si256(p.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(sorted));
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, p: *mut u8, x: I) {
        // SAFETY: The caller vouches for 16 bytes.
        unsafe { _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(x)) }
    }

    #[inline(always)]
    fn low_f16(self, a: I) -> F {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)) }
    }

    #[inline(always)]
    fn high_f16(self, a: I) -> F {
        self.low_f16(self.shr::<16>(a))
    }

    #[inline(always)]
    fn transpose(self, rows: [F; LANES]) -> [F; LANES] {
        let mut out = rows;
        // SAFETY: The token proves that the processor has the instructions.
        unsafe {
            // Quarter `l` of `columns[g][c]` holds column `4l + c` of the rows `4g` to `4g + 3`.
            let mut columns = [[rows[0]; 4]; 4];
            for (g, columns) in columns.iter_mut().enumerate() {
                let [a, b, c, d] = [rows[4 * g], rows[4 * g + 1], rows[4 * g + 2], rows[4 * g + 3]];
                let pair = |lo: bool, a: F, b: F| {
                    let ab = if lo { _mm512_unpacklo_ps(a, b) } else { _mm512_unpackhi_ps(a, b) };
                    _mm512_castps_pd(ab)
                };
                for (half, lo) in [true, false].into_iter().enumerate() {
                    let (ab, cd) = (pair(lo, a, b), pair(lo, c, d));
                    columns[2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
                    columns[2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
                }
            }
            let [q0, q1, q2, q3] = columns;
            for c in 0..4 {
                let even = _mm512_shuffle_f32x4::<0x88>(q0[c], q1[c]);
                let even2 = _mm512_shuffle_f32x4::<0x88>(q2[c], q3[c]);
                let odd = _mm512_shuffle_f32x4::<0xDD>(q0[c], q1[c]);
                let odd2 = _mm512_shuffle_f32x4::<0xDD>(q2[c], q3[c]);
                out[c] = _mm512_shuffle_f32x4::<0x88>(even, even2);
                out[4 + c] = _mm512_shuffle_f32x4::<0x88>(odd, odd2);
                out[8 + c] = _mm512_shuffle_f32x4::<0xDD>(even, even2);
                out[12 + c] = _mm512_shuffle_f32x4::<0xDD>(odd, odd2);
            }
        }
        out
    }

    #[inline(always)]
    fn sum(self, a: F) -> f32 {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe {
            let b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps::<1>(b));
            let d = _mm_add_ps(c, _mm_movehl_ps(c, c));
            _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps::<1>(d, d)))
        }
    }

    #[inline(always)]
    fn fold(self, a: F) -> __m256 {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)) }
    }

    #[inline(always)]
    fn sum8(self, a: [__m256; 8]) -> [f32; 8] {
        // SAFETY: The token proves that the processor has the instructions, AVX2 among them.
        unsafe { super::avx2::sum8(a) }
    }

    #[inline(always)]
    fn largest(self, a: F) -> f32 {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe {
            let b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps::<1>(b));
            let d = _mm_max_ps(c, _mm_movehl_ps(c, c));
            _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps::<1>(d, d)))
        }
    }

    #[inline(always)]
    fn any(self, mask: M) -> bool {
        mask != 0
    }
}
