//! Activations as 16-bit integers: what the integer products read.
//!
//! A row is cut into groups of 32 values. A group is `scale · q` with integers `|q| ≤ 32639` and `scale = largest / 32639`,
//! so that no value is off by more than 2⁻¹⁶ of the group's largest. Beside them stand the sums that formats with an offset
//! or a minimum need: `Σ (a·w + b)·x = a · Σ w·x + b · Σ x`.
//!
//! They stand in one or two [`Layout`]s, those that the products of an instruction set read.
//!
//! Invariant: a group that holds an infinity or a NaN has the scale NaN, so that every product with it is NaN.

#![expect(unsafe_code, reason = "the kernel reads and writes through pointers")]

use crate::aligned::Aligned;
use crate::simd::{LANES, Simd, SimdFn};

/// Values that share a scale.
pub(crate) const GROUP: usize = 32;

/// The largest integer.
const LARGEST: f32 = 32639.0;

/// Groups whose largest value is below are taken as 0, for the inverse of their scale would overflow.
const TINY: f32 = 1e-33;

/// How the integers of a group stand in memory: 16 words of 32 bits in either layout.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Layout {
    /// 16 bits each. Within each 16 values the even ones stand first, then the odd ones: unpacked weights come out of their bytes in that order.
    Pairs,
    /// `q = 256 · high + low`, both in signed bytes (so 32639 = 127 · 256 + 127 is the largest): the high bytes, then the low ones.
    Bytes,
}

/// The layouts that products of an instruction set read, several rows in the first.
pub(crate) const fn layouts<S: Simd>() -> &'static [Layout] {
    match (S::BYTE_DOTS, S::BYTE_PAIRS) {
        (true, _) => &[Layout::Bytes],
        (false, true) => &[Layout::Pairs, Layout::Bytes],
        (false, false) => &[Layout::Pairs],
    }
}

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
    /// `[row][value]`.
    pairs: Aligned<i16>,
    /// `[row][group][high, low][value]`.
    bytes: Aligned<u8>,
    meta: Aligned<GroupMeta>,
}

impl QuantizedRows {
    /// Memory for `rows` rows of `k` values in some layouts. Allocates nothing if there was as much before.
    ///
    /// # Panics
    /// If `k` is not a multiple of 32.
    pub(crate) fn reserve(&mut self, rows: usize, k: usize, layouts: &[Layout]) {
        assert!(k.is_multiple_of(GROUP), "a quantized row has a multiple of {GROUP} values, not {k}");
        self.rows = rows;
        self.k = k;
        if layouts.contains(&Layout::Pairs) {
            self.pairs.grow(rows * k);
        }
        if layouts.contains(&Layout::Bytes) {
            self.bytes.grow(2 * rows * k);
        }
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

    /// The integers of a row in a layout that was reserved: 16 words for each group.
    pub(crate) fn words(&self, row: usize, layout: Layout) -> *const i32 {
        let values = row * self.k..(row + 1) * self.k;
        match layout {
            Layout::Pairs => self.pairs[values].as_ptr().cast(),
            Layout::Bytes => self.bytes[2 * values.start..2 * values.end].as_ptr().cast(),
        }
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
            pairs: self.pairs.as_mut_ptr(),
            bytes: self.bytes.as_mut_ptr(),
            meta: self.meta.as_mut_ptr(),
        }
    }
}

/// A view for threads that quantize different rows at the same time.
#[derive(Clone, Copy)]
pub(crate) struct RowWriter {
    rows: usize,
    k: usize,
    pairs: *mut i16,
    bytes: *mut u8,
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
        // Zero times an infinity or a NaN is NaN, and so is every sum with it.
        let (zero, mut check) = (s.splat(0.0), s.splat(0.0));
        for i in (0..self.x.len()).step_by(LANES) {
            // SAFETY: The row has a multiple of 32 values.
            check = s.fma(unsafe { s.load(self.x.as_ptr().add(i)) }, zero, check);
        }
        let sound = s.sum(check) == 0.0;
        for i in 0..groups {
            let group = self.row * groups + i;
            // SAFETY: `x` has 32 values for each group. `RowWriter` has room for `rows` rows of `groups` groups in the layouts of the
            // instruction set, and the row is below `rows`.
            unsafe {
                let x = self.x.as_ptr().add(i * GROUP);
                let is_finite = sound || self.x[i * GROUP..][..GROUP].iter().all(|v| v.is_finite());
                let (integers, meta) =
                    if is_finite { quantize_group(s, x) } else { ([s.splat_i(0); 2], BROKEN) };
                store_group(s, integers, self.to, group);
                *self.to.meta.add(group) = meta;
            }
        }
    }
}

/// A group that holds an infinity or a NaN.
const BROKEN: GroupMeta =
    GroupMeta { scale: f32::NAN, sum: f32::NAN, half_sums: [f32::NAN; 2], int_sum: 0, half_int_sums: [0; 2] };

/// Quantizes 32 finite values.
///
/// # Safety
/// 32 values can be read at `x`.
#[inline(always)]
unsafe fn quantize_group<S: Simd>(s: S, x: *const f32) -> ([S::I; 2], GroupMeta) {
    // SAFETY: The caller vouches for 32 values.
    let x = unsafe { [s.load(x), s.load(x.add(LANES))] };
    let magnitude = s.splat_i(i32::MAX);
    let a = s.from_bits(s.and(s.bits(x[0]), magnitude));
    let b = s.from_bits(s.and(s.bits(x[1]), magnitude));
    let largest = s.largest(s.max(a, b));
    let (scale, inverse) = if largest < TINY { (0.0, 0.0) } else { (largest / LARGEST, LARGEST / largest) };
    let inverse = s.splat(inverse);
    let q = [s.to_i32(s.mul(x[0], inverse)), s.to_i32(s.mul(x[1], inverse))];
    // At most 16 · 32639: the sums are exact in `f32`, in any order.
    let sums = [s.sum(s.to_f32(q[0])), s.sum(s.to_f32(q[1]))];
    let meta = GroupMeta {
        scale,
        sum: scale * (sums[0] + sums[1]),
        half_sums: [scale * sums[0], scale * sums[1]],
        int_sum: (sums[0] + sums[1]) as i32,
        half_int_sums: [sums[0] as i32, sums[1] as i32],
    };
    (q, meta)
}

/// Stores the integers of a group in the layouts of the instruction set.
///
/// # Safety
/// There is room for the group in these layouts.
#[inline(always)]
unsafe fn store_group<S: Simd>(s: S, integers: [S::I; 2], to: RowWriter, group: usize) {
    for layout in const { layouts::<S>() } {
        for (half, q) in integers.into_iter().enumerate() {
            // SAFETY: The caller vouches for the room.
            unsafe {
                match layout {
                    Layout::Pairs => s.store_even_odd(to.pairs.add(group * GROUP + half * LANES), q),
                    Layout::Bytes => {
                        let high = to.bytes.add(group * 2 * GROUP + half * LANES);
                        s.store_bytes(high, s.sar::<8>(s.add_i(q, s.splat_i(128))));
                        s.store_bytes(high.add(GROUP), q);
                    }
                }
            }
        }
    }
}
