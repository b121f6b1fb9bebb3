//! Vectors of sixteen lanes, one thin type per instruction set, and nothing else that knows an instruction set.
//!
//! Every kernel of this crate is written once, generic over [`Simd`]: a token that proves that the processor has the
//! instructions (its only constructor is [`Simd::detect`]) and whose methods are a few instructions each. A vector has
//! [`LANES`] = 16 lanes of 32 bits whatever the processor: one register of AVX-512, two of AVX2, an array in plain Rust. So
//! the order of every sum is the same everywhere, and every instruction set computes the same bits.
//!
//! A kernel is a [`SimdFn`]: a struct of its arguments. [`Simd::vectorize`] runs it inside a function that is compiled for
//! the instruction set; everything generic below is `#[inline(always)]`, so that it is compiled there too:
//!
//! ```text
//! table entry (fn pointer) → S::vectorize (target_feature) → SimdFn::call::<S> (inlined) → S's methods (inlined)
//! ```
//!
//! Invariant: `fma` rounds once, everywhere; integer arithmetic wraps; no method's value depends on the instruction set.

#![expect(unsafe_code, reason = "loads and stores go through pointers")]

use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod portable;
#[cfg(test)]
mod tests;

/// Lanes of every vector.
pub(crate) const LANES: usize = 16;

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// How many bytes ahead of what is read weights are asked for: so many are on their way at full speed.
pub(crate) const AHEAD: usize = 8192;

/// Whether a program that does nothing but read one stream has to ask for what is ahead, and not the processor.
///
/// The own requests of AMD's processors come too late (measured on Zen 3 and Zen 5): they follow what few instructions read, not what the many of an unrolled
/// loop do. Where those of others are in time, as on Zen 4, requests of the program take their places.
pub(crate) fn asks_for_streams() -> bool {
    *PROCESSOR == Processor::OtherAmd
}

/// Whether products of whole vectors of AVX-512 take as long as two of their halves.
pub(crate) fn halves_vectors() -> bool {
    *PROCESSOR == Processor::Zen4
}

/// Processors, as far as kernels are not the fastest on all in the same way.
#[derive(PartialEq)]
enum Processor {
    Zen4,
    OtherAmd,
    Other,
}

static PROCESSOR: LazyLock<Processor> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;
        // "AuthenticAMD", of which the first four letters are enough.
        if __cpuid(0).ebx == u32::from_le_bytes(*b"Auth") {
            // AMD64 Architecture Programmer's Manual, volume 3, appendix E.3. Zen 3 is of the same family, and has no AVX-512.
            let signature = __cpuid(1).eax;
            let family = (signature >> 8 & 0xF) + (signature >> 20 & 0xFF);
            let is_zen_4 = family == 25 && is_x86_feature_detected!("avx512f");
            return if is_zen_4 { Processor::Zen4 } else { Processor::OtherAmd };
        }
    }
    Processor::Other
});

/// Asks for the cache line at `p`, which need not be there, in the first cache: for what is read soon. It is a [`barrier`].
#[inline(always)]
pub(crate) fn prefetch(p: *const u8) {
    ask::<0>(p);
}

/// The same in the second cache. Requests of the first are few (24 on Zen 4, which at the latency of its memory are 16 gigabytes a second).
#[inline(always)]
pub(crate) fn prefetch_far(p: *const u8) {
    ask::<1>(p);
}

#[inline(always)]
fn ask<const LEVEL: u8>(p: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: A hint, which no address is wrong for; the label is of what comes next.
    unsafe {
        std::arch::asm!("prefetcht{level} [{p}] /* {next} */", level = const LEVEL, p = in(reg) p, next = label {}, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// A place that the compiler moves no instruction across: it could go on elsewhere, for all that it knows. Costs nothing.
///
/// In long kernels without jumps, the compiler mixes the work on what comes first with that on what comes later, which needs more registers than there are.
#[inline(always)]
pub(crate) fn barrier() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: No instruction; the label is of what comes next.
    unsafe {
        std::arch::asm!("/* {next} */", next = label {}, options(nostack, preserves_flags));
    }
}

/// Parts of vectors that are one register.
macro_rules! whole_vectors_are_parts {
    () => {
        type Part = Self::F;
        const PARTS: usize = 1;

        #[inline(always)]
        fn zero_part(self) -> Self::F {
            self.splat(0.0)
        }

        #[inline(always)]
        unsafe fn load_part(self, p: *const f32) -> Self::F {
            // SAFETY: The caller vouches for 16 values.
            unsafe { self.load(p) }
        }

        #[inline(always)]
        unsafe fn load_part_f16(self, p: *const u8) -> Self::F {
            // SAFETY: The caller vouches for 32 bytes.
            unsafe { self.load_f16(p) }
        }

        #[inline(always)]
        unsafe fn load_part_bf16(self, p: *const u8) -> Self::F {
            // SAFETY: The caller vouches for 32 bytes.
            unsafe { self.load_bf16(p) }
        }

        #[inline(always)]
        unsafe fn store_part(self, p: *mut f32, x: Self::F) {
            // SAFETY: The caller vouches for 16 values.
            unsafe { self.store(p, x) }
        }

        #[inline(always)]
        fn fma_part(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            self.fma(a, b, c)
        }
    };
}
pub(crate) use whole_vectors_are_parts;

/// A kernel with its arguments, to be compiled for an instruction set.
pub(crate) trait SimdFn {
    /// What it gives.
    type Output;
    /// Runs the kernel. Implementations are `#[inline(always)]`.
    fn call<S: Simd>(self, s: S) -> Self::Output;
}

/// An instruction set: a proof that the processor has it.
///
/// Pointers passed to loads and stores need no alignment; they must be valid for as many elements as the method says.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// 16 lanes of `f32`.
    type F: Copy;
    /// The lanes of a vector that are one register.
    type Part: Copy;
    /// 16 lanes of 32 bits, seen as integers of 32, 16 or 8 bits.
    type I: Copy;
    /// 16 truth values.
    type M: Copy;
    /// 8 lanes of `f32`, half of a sum.
    type H: Copy;
    /// Name, to print.
    const NAME: &'static str;
    /// How many registers a vector is.
    const PARTS: usize;
    /// How many rows of activations the tiled products handle at once, as many as the registers hold.
    const TILE_ROWS: usize;
    /// Rows of activations that are multiplied by quantized weights while these are unpacked, which goes on while others come from memory, as long as
    /// unpacking costs little: more of them are worth that weights are unpacked once for all, and stored.
    const FEW_ROWS: usize;
    /// Whether `dot_quads` is one instruction: then activations meet weights as two bytes each, and not as 16 bits.
    const BYTE_DOTS: bool;
    /// Whether `mul_bytes` is one instruction, but `dot_quads` is not: then one or two rows of activations meet weights of few bits as two bytes each.
    const BYTE_PAIRS: bool;

    /// The token, if the processor has the instructions.
    fn detect() -> Option<Self>;
    /// The token, without asking the processor.
    ///
    /// # Safety
    /// [`Simd::detect`] has given a token before.
    unsafe fn assume() -> Self;
    /// Runs a kernel compiled for this instruction set.
    fn vectorize<K: SimdFn>(self, kernel: K) -> K::Output;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F;
    /// # Safety
    /// 16 values can be read.
    unsafe fn load(self, p: *const f32) -> Self::F;
    /// The first `n` < 16 lanes from memory, the others 0.
    ///
    /// # Safety
    /// `n` values can be read.
    unsafe fn load_partial(self, p: *const f32, n: usize) -> Self::F;
    /// # Safety
    /// 16 values can be written.
    unsafe fn store(self, p: *mut f32, x: Self::F);
    /// The first `n` < 16 lanes to memory.
    ///
    /// # Safety
    /// `n` values can be written.
    unsafe fn store_partial(self, p: *mut f32, x: Self::F, n: usize);
    /// 16 half-precision values.
    ///
    /// # Safety
    /// 32 bytes can be read.
    unsafe fn load_f16(self, p: *const u8) -> Self::F;
    /// 16 bfloat16 values.
    ///
    /// # Safety
    /// 32 bytes can be read.
    unsafe fn load_bf16(self, p: *const u8) -> Self::F;

    /// A part of a vector, all lanes 0.
    fn zero_part(self) -> Self::Part;
    /// # Safety
    /// As many values as a part has can be read.
    unsafe fn load_part(self, p: *const f32) -> Self::Part;
    /// A part of half-precision values.
    ///
    /// # Safety
    /// As many values as a part has can be read.
    unsafe fn load_part_f16(self, p: *const u8) -> Self::Part;
    /// A part of bfloat16 values.
    ///
    /// # Safety
    /// As many values as a part has can be read.
    unsafe fn load_part_bf16(self, p: *const u8) -> Self::Part;
    /// # Safety
    /// As many values as a part has can be written.
    unsafe fn store_part(self, p: *mut f32, x: Self::Part);
    /// `a · b + c`, rounded once.
    fn fma_part(self, a: Self::Part, b: Self::Part, c: Self::Part) -> Self::Part;

    /// `a + b`.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a − b`.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a · b`.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a · b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a > b ? a : b`, so `b` where one is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? a : b`, so `b` where one is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// The square root.
    fn sqrt(self, a: Self::F) -> Self::F;
    /// The nearest integer, halves to even.
    fn round(self, a: Self::F) -> Self::F;
    /// The largest integer that is at most `a`.
    fn floor(self, a: Self::F) -> Self::F;
    /// `a < b`, false where one is NaN.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a ≤ b`, false where one is NaN.
    fn le(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a = b`, false where one is NaN.
    fn eq(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a` where the mask is set, else `b`.
    fn select(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F;

    /// The same value, of which the compiler knows nothing, and which is computed where it stands. The compiler would else sum what comes first and what comes
    /// last by themselves, and keep in memory what both need; only where a vector is two registers of sixteen are there too few for that.
    #[inline(always)]
    fn hidden(self, a: Self::I) -> Self::I {
        a
    }

    /// The bits of the values.
    fn bits(self, a: Self::F) -> Self::I;
    /// The values of the bits.
    #[expect(clippy::wrong_self_convention, reason = "self is the instruction set, not what is converted")]
    fn from_bits(self, a: Self::I) -> Self::F;
    /// Signed integers to the nearest `f32`.
    fn to_f32(self, a: Self::I) -> Self::F;
    /// The nearest signed integers, halves to even; unspecified where they do not fit.
    fn to_i32(self, a: Self::F) -> Self::I;

    /// All lanes `x`.
    fn splat_i(self, x: i32) -> Self::I;
    /// 16 bytes, each a lane.
    ///
    /// # Safety
    /// 16 bytes can be read.
    unsafe fn load_bytes(self, p: *const u8) -> Self::I;
    /// # Safety
    /// 16 values can be read.
    unsafe fn load_i(self, p: *const i32) -> Self::I;
    /// The four words at `p` of sixteen rows that are `stride` bytes apart: one word of all rows, a row a lane, after the other.
    ///
    /// # Safety
    /// 16 bytes can be read of each row.
    unsafe fn load_words(self, p: *const u8, stride: usize) -> [Self::I; 4];
    /// # Safety
    /// 16 values can be written.
    unsafe fn store_i(self, p: *mut i32, x: Self::I);
    /// Stores integers that fit 16 bits: those of the even lanes, then those of the odd lanes.
    ///
    /// # Safety
    /// 16 values can be written.
    unsafe fn store_even_odd(self, p: *mut i16, x: Self::I);
    /// Stores the low byte of each lane.
    ///
    /// # Safety
    /// 16 bytes can be written at `p`.
    unsafe fn store_bytes(self, p: *mut u8, x: Self::I);
    /// Bitwise and.
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise or.
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise exclusive or.
    fn xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// Sum of lanes of 32 bits.
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// Difference of lanes of 32 bits.
    fn sub_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// Differences of bytes.
    fn sub_bytes(self, a: Self::I, b: Self::I) -> Self::I;
    /// Lanes of 32 bits shifted left.
    fn shl<const N: i32>(self, a: Self::I) -> Self::I;
    /// Lanes of 32 bits shifted right, zeros in.
    fn shr<const N: i32>(self, a: Self::I) -> Self::I;
    /// Lanes of 32 bits shifted right, sign in.
    fn sar<const N: i32>(self, a: Self::I) -> Self::I;
    /// Lanes of 32 bits shifted right by the same `n` < 32, zeros in.
    fn shr_by(self, a: Self::I, n: u32) -> Self::I;
    /// Lanes of 16 bits shifted left.
    fn shl16<const N: i32>(self, a: Self::I) -> Self::I;
    /// Lanes of 16 bits shifted right, zeros in.
    fn shr16<const N: i32>(self, a: Self::I) -> Self::I;
    /// Lanes of 16 bits shifted right, sign in.
    fn sar16<const N: i32>(self, a: Self::I) -> Self::I;
    /// Each byte `table[index]`, for bytes of `index` below 16.
    fn lookup(self, table: &[u8; 16], index: Self::I) -> Self::I;
    /// `acc + a.lo · b.lo + a.hi · b.hi` over the signed 16-bit halves of each lane.
    fn dot_pairs(self, acc: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// Sums of lanes of 16 bits.
    fn add16(self, a: Self::I, b: Self::I) -> Self::I;
    /// `a.lo · b.lo + a.hi · b.hi` over the bytes of each 16 bits, those of `a` unsigned, those of `b` signed. What is larger than 16 bits becomes the largest
    /// or smallest integer.
    fn mul_bytes(self, a: Self::I, b: Self::I) -> Self::I;
    /// `acc + Σ a_i · b_i` over the four bytes of each lane, those of `a` unsigned, those of `b` signed.
    #[inline(always)]
    fn dot_quads(self, acc: Self::I, a: Self::I, b: Self::I) -> Self::I {
        let even =
            self.dot_pairs(acc, self.and(a, self.splat_i(0x00FF_00FF)), self.sar16::<8>(self.shl16::<8>(b)));
        self.dot_pairs(even, self.shr16::<8>(a), self.sar16::<8>(b))
    }

    /// The half-precision values in the low halves of the lanes.
    fn low_f16(self, a: Self::I) -> Self::F;
    /// The half-precision values in the high halves of the lanes.
    fn high_f16(self, a: Self::I) -> Self::F;

    /// Rows become columns: lane `j` of vector `i` goes to lane `i` of vector `j`.
    fn transpose(self, rows: [Self::F; LANES]) -> [Self::F; LANES];

    /// The sum of the lanes: those 8 apart, then 4, 2, 1.
    fn sum(self, a: Self::F) -> f32;
    /// The first step of the sum: lanes 8 apart are added.
    fn fold(self, a: Self::F) -> Self::H;
    /// The other steps, of eight vectors at once.
    fn sum8(self, a: [Self::H; 8]) -> [f32; 8];
    /// The sums of eight vectors.
    #[inline(always)]
    fn sums(self, [a, b, c, d, e, f, g, h]: [Self::F; 8]) -> [f32; 8] {
        self.sum8([
            self.fold(a),
            self.fold(b),
            self.fold(c),
            self.fold(d),
            self.fold(e),
            self.fold(f),
            self.fold(g),
            self.fold(h),
        ])
    }
    /// The largest of the lanes, none of which is NaN.
    fn largest(self, a: Self::F) -> f32;
    /// Whether any lane is set.
    fn any(self, mask: Self::M) -> bool;
}
