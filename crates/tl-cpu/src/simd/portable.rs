//! Vectors as arrays in plain Rust: the definition of every method, and what other processors run.
//!
//! The compiler turns the loops into the instructions that every processor of the target has (SSE2, NEON).

#![expect(unsafe_code, reason = "loads and stores go through pointers")]

use super::{LANES, Simd, SimdFn, whole_vectors_are_parts};

/// Plain Rust. Every processor has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

type F = [f32; LANES];
type I = [i32; LANES];
type M = [bool; LANES];

#[inline(always)]
fn map<A: Copy, B: Copy, C>(a: [A; LANES], b: [B; LANES], f: impl Fn(A, B) -> C) -> [C; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn map_halves(a: I, f: impl Fn(i32) -> i32) -> I {
    a.map(|x| (f(i32::from(x as i16)) & 0xFFFF) | f(x >> 16) << 16)
}

/// `a · b + c`, rounded once. Without the instruction, the sum in `f64` is right unless it lies halfway between two `f32`
/// or below their normal range: only then the slow library function is asked.
#[inline(always)]
pub(crate) fn fma(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        return a.mul_add(b, c);
    }
    let sum = f64::from(a) * f64::from(b) + f64::from(c);
    let halfway = sum.to_bits() & 0x1FFF_FFFF == 0x1000_0000;
    if halfway || (sum.abs() < 2.0 * f64::from(f32::MIN_POSITIVE) && sum != 0.0) {
        return a.mul_add(b, c);
    }
    sum as f32
}

/// The value of a half-precision number.
#[inline(always)]
pub(crate) fn f16_to_f32(h: u16) -> f32 {
    let (sign, exponent, fraction) =
        (u32::from(h >> 15) << 31, u32::from(h >> 10) & 31, u32::from(h) & 0x3FF);
    let magnitude = match exponent {
        0 => (fraction as f32 * (1.0 / 16_777_216.0)).to_bits(),
        31 if fraction == 0 => 0x7F80_0000,
        31 => 0x7FC0_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[inline(always)]
fn sum_half(b: [f32; 8]) -> f32 {
    let c: [f32; 4] = std::array::from_fn(|i| b[i] + b[i + 4]);
    (c[0] + c[2]) + (c[1] + c[3])
}

/// The number at `p`, little-endian.
///
/// # Safety
/// 2 bytes can be read.
#[inline(always)]
unsafe fn read_u16(p: *const u8) -> u16 {
    // SAFETY: The caller vouches for the two bytes.
    u16::from_le_bytes(unsafe { p.cast::<[u8; 2]>().read() })
}

impl Simd for Portable {
    type F = F;
    type I = I;
    type M = M;
    type H = [f32; 8];
    const NAME: &'static str = "portable";
    const TILE_ROWS: usize = 4;
    const FEW_ROWS: usize = 0;
    const BYTE_DOTS: bool = false;
    const BYTE_PAIRS: bool = false;

    fn detect() -> Option<Self> {
        Some(Self)
    }

    unsafe fn assume() -> Self {
        Self
    }

    #[inline(always)]
    fn vectorize<K: SimdFn>(self, kernel: K) -> K::Output {
        kernel.call(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> F {
        // SAFETY: The caller vouches for 16 values.
        unsafe { p.cast::<F>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> F {
        // SAFETY: The caller vouches for `n` values, and no other is read.
        std::array::from_fn(|i| if i < n { unsafe { p.add(i).read_unaligned() } } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, x: F) {
        // SAFETY: The caller vouches for 16 values.
        unsafe { p.cast::<F>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, x: F, n: usize) {
        for (i, x) in x.into_iter().enumerate().take(n) {
            // SAFETY: The caller vouches for `n` values, and no other is written.
            unsafe { p.add(i).write_unaligned(x) }
        }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> F {
        // SAFETY: The caller vouches for 32 bytes.
        std::array::from_fn(|i| f16_to_f32(unsafe { read_u16(p.add(2 * i)) }))
    }

    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u8) -> F {
        // SAFETY: The caller vouches for 32 bytes.
        std::array::from_fn(|i| f32::from_bits(u32::from(unsafe { read_u16(p.add(2 * i)) }) << 16))
    }

    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        map(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        map(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        map(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        map(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        std::array::from_fn(|i| fma(a[i], b[i], c[i]))
    }

    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        map(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        map(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn sqrt(self, a: F) -> F {
        a.map(f32::sqrt)
    }

    #[inline(always)]
    fn round(self, a: F) -> F {
        a.map(f32::round_ties_even)
    }

    #[inline(always)]
    fn floor(self, a: F) -> F {
        a.map(f32::floor)
    }

    #[inline(always)]
    fn lt(self, a: F, b: F) -> M {
        map(a, b, |a, b| a < b)
    }

    #[inline(always)]
    fn le(self, a: F, b: F) -> M {
        map(a, b, |a, b| a <= b)
    }

    #[inline(always)]
    fn eq(self, a: F, b: F) -> M {
        map(a, b, |a, b| a == b)
    }

    #[inline(always)]
    fn select(self, mask: M, a: F, b: F) -> F {
        std::array::from_fn(|i| if mask[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn bits(self, a: F) -> I {
        a.map(|x| x.to_bits() as i32)
    }

    #[inline(always)]
    fn from_bits(self, a: I) -> F {
        a.map(|x| f32::from_bits(x as u32))
    }

    #[inline(always)]
    fn to_f32(self, a: I) -> F {
        a.map(|x| x as f32)
    }

    #[inline(always)]
    fn to_i32(self, a: F) -> I {
        a.map(|x| x.round_ties_even() as i32)
    }

    #[inline(always)]
    fn splat_i(self, x: i32) -> I {
        [x; LANES]
    }

    whole_vectors_are_parts!();

    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> I {
        // SAFETY: The caller vouches for 16 bytes.
        unsafe { p.cast::<[u8; LANES]>().read() }.map(i32::from)
    }

    #[inline(always)]
    unsafe fn load_i(self, p: *const i32) -> I {
        // SAFETY: The caller vouches for 16 values.
        unsafe { p.cast::<I>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_words(self, p: *const u8, stride: usize) -> [I; 4] {
        // SAFETY: The caller vouches for 16 bytes of each row.
        let rows: [[i32; 4]; LANES] =
            std::array::from_fn(|row| unsafe { p.add(row * stride).cast::<[i32; 4]>().read_unaligned() });
        std::array::from_fn(|word| rows.map(|row| row[word]))
    }

    #[inline(always)]
    unsafe fn store_i(self, p: *mut i32, x: I) {
        // SAFETY: The caller vouches for 16 values.
        unsafe { p.cast::<I>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn store_even_odd(self, p: *mut i16, x: I) {
        let packed: [i16; LANES] =
            std::array::from_fn(|i| x[if i < 8 { 2 * i } else { 2 * (i - 8) + 1 }] as i16);
        // SAFETY: The caller vouches for 16 values of 16 bits.
        unsafe { p.cast::<[i16; LANES]>().write_unaligned(packed) }
    }

    #[inline(always)]
    fn and(self, a: I, b: I) -> I {
        map(a, b, |a, b| a & b)
    }

    #[inline(always)]
    fn or(self, a: I, b: I) -> I {
        map(a, b, |a, b| a | b)
    }

    #[inline(always)]
    fn xor(self, a: I, b: I) -> I {
        map(a, b, |a, b| a ^ b)
    }

    #[inline(always)]
    fn add_i(self, a: I, b: I) -> I {
        map(a, b, i32::wrapping_add)
    }

    #[inline(always)]
    fn sub_i(self, a: I, b: I) -> I {
        map(a, b, i32::wrapping_sub)
    }

    #[inline(always)]
    fn shl<const N: i32>(self, a: I) -> I {
        a.map(|x| x << N)
    }

    #[inline(always)]
    fn shr<const N: i32>(self, a: I) -> I {
        a.map(|x| (x as u32 >> N) as i32)
    }

    #[inline(always)]
    fn sar<const N: i32>(self, a: I) -> I {
        a.map(|x| x >> N)
    }

    #[inline(always)]
    fn shr_by(self, a: I, n: u32) -> I {
        a.map(|x| (x as u32 >> n) as i32)
    }

    #[inline(always)]
    fn shl16<const N: i32>(self, a: I) -> I {
        map_halves(a, |x| x << N)
    }

    #[inline(always)]
    fn shr16<const N: i32>(self, a: I) -> I {
        map_halves(a, |x| (x & 0xFFFF) >> N)
    }

    #[inline(always)]
    fn sar16<const N: i32>(self, a: I) -> I {
        map_halves(a, |x| x >> N)
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], index: I) -> I {
        index.map(|x| i32::from_le_bytes(x.to_le_bytes().map(|i| table[usize::from(i & 15)])))
    }

    #[inline(always)]
    fn sub_bytes(self, a: I, b: I) -> I {
        map(a, b, |a, b| {
            let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
            i32::from_le_bytes(std::array::from_fn(|i| a[i].wrapping_sub(b[i])))
        })
    }

    #[inline(always)]
    fn add16(self, a: I, b: I) -> I {
        std::array::from_fn(|i| {
            (a[i].wrapping_add(b[i]) & 0xFFFF) | ((a[i] >> 16).wrapping_add(b[i] >> 16) << 16)
        })
    }

    #[inline(always)]
    fn mul_bytes(self, a: I, b: I) -> I {
        std::array::from_fn(|i| {
            let (a, b) = (a[i].to_le_bytes().map(i32::from), b[i].to_le_bytes().map(|b| i32::from(b as i8)));
            let pair = |i: usize| (a[i] * b[i] + a[i + 1] * b[i + 1]).clamp(i16::MIN.into(), i16::MAX.into());
            (pair(0) & 0xFFFF) | pair(2) << 16
        })
    }

    #[inline(always)]
    fn dot_pairs(self, acc: I, a: I, b: I) -> I {
        std::array::from_fn(|i| {
            let low = i32::from(a[i] as i16) * i32::from(b[i] as i16);
            let high = (a[i] >> 16) * (b[i] >> 16);
            acc[i].wrapping_add(low.wrapping_add(high))
        })
    }

    #[inline(always)]
    unsafe fn store_bytes(self, p: *mut u8, x: I) {
        // SAFETY: The caller vouches for 16 bytes.
        unsafe { p.cast::<[u8; LANES]>().write(x.map(|v| v as u8)) }
    }

    #[inline(always)]
    fn low_f16(self, a: I) -> F {
        a.map(|x| f16_to_f32(x as u16))
    }

    #[inline(always)]
    fn high_f16(self, a: I) -> F {
        a.map(|x| f16_to_f32((x as u32 >> 16) as u16))
    }

    #[inline(always)]
    fn transpose(self, rows: [F; LANES]) -> [F; LANES] {
        std::array::from_fn(|j| std::array::from_fn(|i| rows[i][j]))
    }

    #[inline(always)]
    fn sum(self, a: F) -> f32 {
        sum_half(self.fold(a))
    }

    #[inline(always)]
    fn fold(self, a: F) -> [f32; 8] {
        std::array::from_fn(|i| a[i] + a[i + 8])
    }

    #[inline(always)]
    fn sum8(self, a: [[f32; 8]; 8]) -> [f32; 8] {
        a.map(sum_half)
    }

    #[inline(always)]
    fn largest(self, a: F) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    fn any(self, mask: M) -> bool {
        mask.contains(&true)
    }
}
