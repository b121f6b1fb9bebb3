//! Activations as 16-bit integers: what the integer products read.
//!
//! A row is cut into groups of 32 values. A group is `scale · q` with integers `|q| ≤ 32767` and `scale = largest / 32767`,
//! so that no value is off by more than 2⁻¹⁶ of the group's largest. Beside them stand the sums that formats with an offset
//! or a minimum need: `Σ (a·w + b)·x = a · Σ w·x + b · Σ x`.
//!
//! Within each 16 values the even ones stand first, then the odd ones: unpacked weights come out of their bytes in that order.
//!
//! Invariant: a group that holds an infinity or a NaN has the scale NaN, so that every product with it is NaN.

#![expect(unsafe_code, reason = "the kernel reads and writes through pointers")]

use crate::aligned::Aligned;
use crate::simd::{LANES, Simd, SimdFn};

/// Values that share a scale.
pub(crate) const GROUP: usize = 32;

/// Groups whose largest value is below are taken as 0, for the inverse of their scale would overflow.
const TINY: f32 = 1e-33;

/// What belongs to a group beside its integers.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub(crate) struct GroupMeta {
    /// What one step of the integers is worth.
    pub scale: f32,
    /// The sum of the values.
    pub sum: f32,
    /// The sums of the two halves' values.
    pub half_sums: [f32; 2],
    /// The sum of the integers.
    pub int_sum: i32,
    /// The sums of the two halves' integers.
    pub half_int_sums: [i32; 2],
}

/// Rows of activations in 16-bit integers with a scale per group.
#[derive(Default)]
pub struct QuantizedRows {
    rows: usize,
    k: usize,
    values: Aligned<i16>,
    meta: Aligned<GroupMeta>,
}

impl QuantizedRows {
    /// Memory for `rows` rows of `k` values. Allocates nothing if there was as much before.
    ///
    /// # Panics
    /// If `k` is not a multiple of 32.
    pub fn reserve(&mut self, rows: usize, k: usize) {
        assert!(k.is_multiple_of(GROUP), "a quantized row has a multiple of {GROUP} values, not {k}");
        self.rows = rows;
        self.k = k;
        self.values.grow(rows * k);
        self.meta.grow(rows * (k / GROUP));
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many values a row has.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The integers of a row, two in each word.
    pub(crate) fn pairs(&self, row: usize) -> *const i32 {
        self.values[row * self.k..(row + 1) * self.k].as_ptr().cast()
    }

    /// The scales and sums of a row's groups.
    pub(crate) fn meta(&self, row: usize) -> *const GroupMeta {
        let groups = self.k / GROUP;
        self.meta[row * groups..(row + 1) * groups].as_ptr()
    }

    /// Where rows may be written by several threads, each its own.
    pub(crate) fn writer(&mut self) -> RowWriter {
        RowWriter {
            rows: self.rows,
            k: self.k,
            values: self.values.as_mut_ptr(),
            meta: self.meta.as_mut_ptr(),
        }
    }
}

/// A view for threads that quantize different rows at the same time.
#[derive(Clone, Copy)]
pub(crate) struct RowWriter {
    rows: usize,
    k: usize,
    values: *mut i16,
    meta: *mut GroupMeta,
}

// SAFETY: The pointers are to memory that the owner of the rows lends for the time of a fork-join; `Quantize` writes one row.
unsafe impl Send for RowWriter {}
// SAFETY: As above.
unsafe impl Sync for RowWriter {}

/// Quantizes one row.
pub(crate) struct Quantize<'a> {
    /// The row's values.
    pub x: &'a [f32],
    /// Which row.
    pub row: usize,
    /// Where rows go. No one else writes this row, nobody reads it, and the rows are still where they were.
    pub to: RowWriter,
}

impl SimdFn for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        assert!(self.x.len() == self.to.k && self.row < self.to.rows, "the row's length and number fit");
        let groups = self.to.k / GROUP;
        for (i, x) in self.x.chunks_exact(GROUP).enumerate() {
            let group = self.row * groups + i;
            // SAFETY: `x` has 32 values. `RowWriter` has room for `rows` rows of `groups` groups, and the row is below `rows`.
            unsafe {
                quantize_group(
                    s,
                    x.as_ptr(),
                    self.to.values.add(group * GROUP),
                    &mut *self.to.meta.add(group),
                )
            }
        }
    }
}

/// Quantizes 32 values.
///
/// # Safety
/// 32 values can be read at `x` and written at `out`.
#[inline(always)]
unsafe fn quantize_group<S: Simd>(s: S, x: *const f32, out: *mut i16, meta: &mut GroupMeta) {
    // SAFETY: The caller vouches for 32 values.
    let x = unsafe { [s.load(x), s.load(x.add(LANES))] };
    let magnitude = s.splat_i(i32::MAX);
    let [a, b] = [s.from_bits(s.and(s.bits(x[0]), magnitude)), s.from_bits(s.and(s.bits(x[1]), magnitude))];
    // Zero times an infinity or a NaN is NaN, and so is the sum.
    let zero = s.splat(0.0);
    let bad = s.sum(s.fma(b, zero, s.mul(a, zero))) != 0.0;
    let largest = s.largest(s.max(a, b));
    let (scale, inverse) = match largest {
        _ if bad => (f32::NAN, 0.0),
        m if m < TINY => (0.0, 0.0),
        m => (m / 32767.0, 32767.0 / m),
    };
    let inverse = s.splat(inverse);
    let mut sums = [0.0f32; 2];
    for h in 0..2 {
        // What is not finite is taken out, for its conversion has no value that all processors agree on.
        let scaled = if bad { zero } else { s.mul(x[h], inverse) };
        let q = s.to_i32(scaled);
        // At most 16 · 32767: the sum of the integers is exact in `f32`, in any order.
        sums[h] = s.sum(s.to_f32(q));
        let mut natural = [0i32; LANES];
        // SAFETY: The array has 16 values, and the caller vouches for 32 at `out`.
        unsafe {
            s.store_i(natural.as_mut_ptr(), q);
            for i in 0..LANES / 2 {
                out.add(h * LANES + i).write(natural[2 * i] as i16);
                out.add(h * LANES + LANES / 2 + i).write(natural[2 * i + 1] as i16);
            }
        }
    }
    let ints = [sums[0] as i32, sums[1] as i32];
    *meta = GroupMeta {
        scale,
        sum: scale * (ints[0] + ints[1]) as f32,
        half_sums: [scale * sums[0], scale * sums[1]],
        int_sum: ints[0] + ints[1],
        half_int_sums: ints,
    };
}
