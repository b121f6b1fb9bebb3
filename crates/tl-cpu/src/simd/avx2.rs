//! AVX2 with FMA and F16C: a vector is two registers.

#![expect(unsafe_code, reason = "intrinsics, and loads and stores through pointers")]

use std::arch::asm;
use std::arch::x86_64::*;

use super::{LANES, Simd, SimdFn};

/// A proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

type F = [__m256; 2];
type I = [__m256i; 2];
type M = [__m256; 2];

/// The kernel, compiled for AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
fn with_avx2<K: SimdFn>(s: Avx2, kernel: K) -> K::Output {
    kernel.call(s)
}

/// The first `n` < 8 lanes set.
#[inline]
#[target_feature(enable = "avx2")]
fn first_lanes(n: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lanes)
}

/// 16 half-precision numbers in the low halves of the lanes, the high halves being 0.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn widen_f16(a: I) -> F {
    let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a[0], a[1]));
    [_mm256_cvtph_ps(_mm256_castsi256_si128(packed)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(packed))]
}

/// The sums of eight registers: lanes 4 apart, then 2, then 1. Lanes of several registers are brought together on the way.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum8(a: [__m256; 8]) -> [f32; 8] {
    // Registers i and i + 4 in the two halves.
    let (b0, b1) = (fold_pair(a[0], a[4]), fold_pair(a[1], a[5]));
    let (b2, b3) = (fold_pair(a[2], a[6]), fold_pair(a[3], a[7]));
    // Lanes 0 + 2 and 1 + 3 of two registers.
    let c0 =
        _mm256_add_ps(_mm256_shuffle_ps::<0b01_00_01_00>(b0, b1), _mm256_shuffle_ps::<0b11_10_11_10>(b0, b1));
    let c1 =
        _mm256_add_ps(_mm256_shuffle_ps::<0b01_00_01_00>(b2, b3), _mm256_shuffle_ps::<0b11_10_11_10>(b2, b3));
    let sums =
        _mm256_add_ps(_mm256_shuffle_ps::<0b10_00_10_00>(c0, c1), _mm256_shuffle_ps::<0b11_01_11_01>(c0, c1));
    let mut out = [0.0; 8];
    // SAFETY: The array has eight values.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sums) };
    out
}

/// Lanes 4 apart of `a` in the low half and of `b` in the high half.
#[inline]
#[target_feature(enable = "avx2")]
fn fold_pair(a: __m256, b: __m256) -> __m256 {
    _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
}

/// Rows of eight become columns.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose8(r: [__m256; 8]) -> [__m256; 8] {
    let pairs = |a: __m256, b: __m256| (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let ((t0, t1), (t2, t3)) = (pairs(r[0], r[1]), pairs(r[2], r[3]));
    let ((t4, t5), (t6, t7)) = (pairs(r[4], r[5]), pairs(r[6], r[7]));
    let fours = |a: __m256, b: __m256| (_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b));
    let ((s0, s1), (s2, s3)) = (fours(t0, t2), fours(t1, t3));
    let ((s4, s5), (s6, s7)) = (fours(t4, t6), fours(t5, t7));
    let low = |a: __m256, b: __m256| _mm256_permute2f128_ps::<0x20>(a, b);
    let high = |a: __m256, b: __m256| _mm256_permute2f128_ps::<0x31>(a, b);
    [
        low(s0, s4),
        low(s1, s5),
        low(s2, s6),
        low(s3, s7),
        high(s0, s4),
        high(s1, s5),
        high(s2, s6),
        high(s3, s7),
    ]
}

/// The same registers, of which the compiler knows nothing.
#[inline]
#[target_feature(enable = "avx2")]
fn hidden([mut low, mut high]: I) -> I {
    // SAFETY: No instruction.
    unsafe {
        asm!("/* {0} {1} */", inout(ymm_reg) low, inout(ymm_reg) high, options(nomem, nostack, preserves_flags));
    }
    [low, high]
}

/// Methods that apply one intrinsic to both registers.
macro_rules! lanewise {
    ($($name:ident $(<$n:ident>)? ($($a:ident: $t:ty),*) -> $r:ty = $op:expr;)*) => { $(
        #[inline(always)]
        fn $name $(<const $n: i32>)? (self, $($a: $t),*) -> $r {
            // SAFETY: The token proves that the processor has the instructions.
            unsafe { [$op($($a[0]),*), $op($($a[1]),*)] }
        }
    )* };
}

impl Simd for Avx2 {
    type F = F;
    type Part = __m256;
    type I = I;
    type M = M;
    type H = __m256;
    const NAME: &'static str = "avx2";
    const PARTS: usize = 2;
    const TILE_ROWS: usize = 4;
    const FEW_ROWS: usize = 16;
    const BYTE_DOTS: bool = false;
    const BYTE_PAIRS: bool = true;

    fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }

    #[inline(always)]
    unsafe fn assume() -> Self {
        Self(())
    }

    #[inline(always)]
    fn vectorize<K: SimdFn>(self, kernel: K) -> K::Output {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { with_avx2(self, kernel) }
    }

    lanewise! {
        add(a: F, b: F) -> F = _mm256_add_ps;
        sub(a: F, b: F) -> F = _mm256_sub_ps;
        mul(a: F, b: F) -> F = _mm256_mul_ps;
        div(a: F, b: F) -> F = _mm256_div_ps;
        fma(a: F, b: F, c: F) -> F = _mm256_fmadd_ps;
        max(a: F, b: F) -> F = _mm256_max_ps;
        min(a: F, b: F) -> F = _mm256_min_ps;
        sqrt(a: F) -> F = _mm256_sqrt_ps;
        round(a: F) -> F = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>;
        floor(a: F) -> F = _mm256_round_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>;
        lt(a: F, b: F) -> M = _mm256_cmp_ps::<_CMP_LT_OQ>;
        le(a: F, b: F) -> M = _mm256_cmp_ps::<_CMP_LE_OQ>;
        eq(a: F, b: F) -> M = _mm256_cmp_ps::<_CMP_EQ_OQ>;
        bits(a: F) -> I = _mm256_castps_si256;
        from_bits(a: I) -> F = _mm256_castsi256_ps;
        to_f32(a: I) -> F = _mm256_cvtepi32_ps;
        to_i32(a: F) -> I = _mm256_cvtps_epi32;
        and(a: I, b: I) -> I = _mm256_and_si256;
        or(a: I, b: I) -> I = _mm256_or_si256;
        xor(a: I, b: I) -> I = _mm256_xor_si256;
        add_i(a: I, b: I) -> I = _mm256_add_epi32;
        sub_i(a: I, b: I) -> I = _mm256_sub_epi32;
        shl<N>(a: I) -> I = _mm256_slli_epi32::<N>;
        shr<N>(a: I) -> I = _mm256_srli_epi32::<N>;
        sar<N>(a: I) -> I = _mm256_srai_epi32::<N>;
        shl16<N>(a: I) -> I = _mm256_slli_epi16::<N>;
        shr16<N>(a: I) -> I = _mm256_srli_epi16::<N>;
        sar16<N>(a: I) -> I = _mm256_srai_epi16::<N>;
        sub_bytes(a: I, b: I) -> I = _mm256_sub_epi8;
        add16(a: I, b: I) -> I = _mm256_add_epi16;
        mul_bytes(a: I, b: I) -> I = _mm256_maddubs_epi16;
    }

    #[inline(always)]
    fn select(self, mask: M, a: F, b: F) -> F {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { [_mm256_blendv_ps(b[0], a[0], mask[0]), _mm256_blendv_ps(b[1], a[1], mask[1])] }
    }

    #[inline(always)]
    fn dot_pairs(self, acc: I, a: I, b: I) -> I {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe {
            let [low, high] = hidden([_mm256_madd_epi16(a[0], b[0]), _mm256_madd_epi16(a[1], b[1])]);
            [_mm256_add_epi32(acc[0], low), _mm256_add_epi32(acc[1], high)]
        }
    }

    #[inline(always)]
    fn hidden(self, a: I) -> I {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { hidden(a) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    fn splat_i(self, x: i32) -> I {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }

    #[inline(always)]
    fn shr_by(self, a: I, n: u32) -> I {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe {
            let n = _mm_cvtsi32_si128(n as i32);
            [_mm256_srl_epi32(a[0], n), _mm256_srl_epi32(a[1], n)]
        }
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], index: I) -> I {
        // SAFETY: The token proves that the processor has the instructions; the table has 16 bytes.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [_mm256_shuffle_epi8(table, index[0]), _mm256_shuffle_epi8(table, index[1])]
        }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> F {
        // SAFETY: The caller vouches for 16 values.
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }

    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> F {
        // SAFETY: The caller vouches for `n` values; lanes outside of the mask are not accessed.
        unsafe {
            if n < 8 {
                [_mm256_maskload_ps(p, first_lanes(n)), _mm256_setzero_ps()]
            } else {
                [_mm256_loadu_ps(p), _mm256_maskload_ps(p.add(8), first_lanes(n - 8))]
            }
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, x: F) {
        // SAFETY: The caller vouches for 16 values.
        unsafe {
            _mm256_storeu_ps(p, x[0]);
            _mm256_storeu_ps(p.add(8), x[1]);
        }
    }

    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, x: F, n: usize) {
        // SAFETY: The caller vouches for `n` values; lanes outside of the mask are not accessed.
        unsafe {
            if n < 8 {
                _mm256_maskstore_ps(p, first_lanes(n), x[0]);
            } else {
                _mm256_storeu_ps(p, x[0]);
                _mm256_maskstore_ps(p.add(8), first_lanes(n - 8), x[1]);
            }
        }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> F {
        // SAFETY: The caller vouches for 32 bytes.
        unsafe { [self.load_part_f16(p), self.load_part_f16(p.add(16))] }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u8) -> F {
        // SAFETY: The caller vouches for 32 bytes.
        unsafe { [self.load_part_bf16(p), self.load_part_bf16(p.add(16))] }
    }

    #[inline(always)]
    fn zero_part(self) -> __m256 {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load_part(self, p: *const f32) -> __m256 {
        // SAFETY: The caller vouches for 8 values.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn load_part_f16(self, p: *const u8) -> __m256 {
        // SAFETY: The caller vouches for 16 bytes.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }

    #[inline(always)]
    unsafe fn load_part_bf16(self, p: *const u8) -> __m256 {
        // SAFETY: The caller vouches for 16 bytes.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, x: __m256) {
        // SAFETY: The caller vouches for 8 values.
        unsafe { _mm256_storeu_ps(p, x) }
    }

    #[inline(always)]
    fn fma_part(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> I {
        // SAFETY: The caller vouches for 16 bytes.
        unsafe {
            let bytes = _mm_loadu_si128(p.cast());
            [_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes))]
        }
    }

    #[inline(always)]
    unsafe fn load_i(self, p: *const i32) -> I {
        // SAFETY: The caller vouches for 16 values.
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())] }
    }

    #[inline(always)]
    unsafe fn load_words(self, p: *const u8, stride: usize) -> [I; 4] {
        // SAFETY: The caller vouches for 16 bytes of each row; the token proves that the processor has the instructions.
        unsafe {
            let mut words = [[_mm256_setzero_si256(); 2]; 4];
            for half in [0, 1] {
                let mut rows = [_mm256_setzero_si256(); 4];
                for (r, halves) in rows.iter_mut().enumerate() {
                    // Row `8 half + r`, and the row four on.
                    let row = p.add((8 * half + r) * stride);
                    *halves = _mm256_castsi128_si256(_mm_loadu_si128(row.cast()));
                    *halves =
                        _mm256_inserti128_si256::<1>(*halves, _mm_loadu_si128(row.add(4 * stride).cast()));
                }
                let [a, b, c, d] = rows;
                let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
                let (ab2, cd2) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
                words[0][half] = _mm256_unpacklo_epi64(ab, cd);
                words[1][half] = _mm256_unpackhi_epi64(ab, cd);
                words[2][half] = _mm256_unpacklo_epi64(ab2, cd2);
                words[3][half] = _mm256_unpackhi_epi64(ab2, cd2);
            }
            words
        }
    }

    #[inline(always)]
    unsafe fn store_i(self, p: *mut i32, x: I) {
        // SAFETY: The caller vouches for 16 values.
        unsafe {
            _mm256_storeu_si256(p.cast(), x[0]);
            _mm256_storeu_si256(p.add(8).cast(), x[1]);
        }
    }

    #[inline(always)]
    unsafe fn store_even_odd(self, p: *mut i16, x: I) {
        // SAFETY: The caller vouches for 16 values of 16 bits.
        unsafe {
            // Words of 16 bits: 0–3 and 8–11 in the low half, 4–7 and 12–15 in the high one.
            let packed = _mm256_packs_epi32(x[0], x[1]);
            let sort = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
            ));
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            _mm256_storeu_si256(
                p.cast(),
                _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(packed, sort), order),
            );
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, p: *mut u8, x: I) {
        // SAFETY: The caller vouches for 16 bytes.
        unsafe {
            let byte = _mm256_set1_epi32(0xFF);
            // Words 0–3 and 8–11 in the low half, 4–7 and 12–15 in the high one.
            let words = _mm256_packus_epi32(_mm256_and_si256(x[0], byte), _mm256_and_si256(x[1], byte));
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let (low, high) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            _mm_storeu_si128(p.cast(), _mm_packus_epi16(low, high));
        }
    }

    #[inline(always)]
    fn low_f16(self, a: I) -> F {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe {
            let mask = _mm256_set1_epi32(0xFFFF);
            widen_f16([_mm256_and_si256(a[0], mask), _mm256_and_si256(a[1], mask)])
        }
    }

    #[inline(always)]
    fn high_f16(self, a: I) -> F {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { widen_f16([_mm256_srli_epi32::<16>(a[0]), _mm256_srli_epi32::<16>(a[1])]) }
    }

    #[inline(always)]
    fn transpose(self, rows: [F; LANES]) -> [F; LANES] {
        let mut out = rows;
        for (upper, half) in [(0, 0), (0, 1), (8, 0), (8, 1)] {
            let block: [__m256; 8] = std::array::from_fn(|r| rows[upper + r][half]);
            // SAFETY: The token proves that the processor has the instructions.
            let block = unsafe { transpose8(block) };
            for (c, column) in block.into_iter().enumerate() {
                out[8 * half + c][upper / 8] = column;
            }
        }
        out
    }

    #[inline(always)]
    fn sum(self, a: F) -> f32 {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe {
            let b = _mm256_add_ps(a[0], a[1]);
            let c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps::<1>(b));
            let d = _mm_add_ps(c, _mm_movehl_ps(c, c));
            _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps::<1>(d, d)))
        }
    }

    #[inline(always)]
    fn fold(self, a: F) -> __m256 {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { _mm256_add_ps(a[0], a[1]) }
    }

    #[inline(always)]
    fn sum8(self, a: [__m256; 8]) -> [f32; 8] {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { sum8(a) }
    }

    #[inline(always)]
    fn largest(self, a: F) -> f32 {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe {
            let b = _mm256_max_ps(a[0], a[1]);
            let c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps::<1>(b));
            let d = _mm_max_ps(c, _mm_movehl_ps(c, c));
            _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps::<1>(d, d)))
        }
    }

    #[inline(always)]
    fn any(self, mask: M) -> bool {
        // SAFETY: The token proves that the processor has the instructions.
        unsafe { _mm256_movemask_ps(_mm256_or_ps(mask[0], mask[1])) != 0 }
    }
}
