//! Products of vectors with a block of rows: the scores of attention, and its sums of values.

#![expect(unsafe_code, reason = "rows are addressed through pointers")]

use crate::simd::{LANES, Simd};

/// Positions whose keys or values are used for all queries before the next ones are; a page has a multiple.
pub(super) const BLOCK: usize = 8;

/// `to[t] = q · k[t]` for `count` ≤ 8 rows of so many vectors.
///
/// # Safety
/// As for [`dots`].
#[inline(always)]
pub(super) unsafe fn dots_of_row<S: Simd>(
    s: S,
    q: *const f32,
    keys: *const f32,
    stride: usize,
    vectors: usize,
    count: usize,
    to: *mut f32,
) {
    // SAFETY: The caller vouches for the rows.
    unsafe {
        match vectors {
            4 => dots::<S, 4>(s, q, keys, stride, 4, count, to),
            8 => dots::<S, 8>(s, q, keys, stride, 8, count, to),
            _ => dots::<S, 0>(s, q, keys, stride, vectors, count, to),
        }
    }
}

/// `to[t] = q · k[t]` for `count` ≤ 8 rows of `vectors` vectors (`N` of them, if it is not 0).
///
/// # Safety
/// The pointers are to so many values, and `to` has room for them.
#[inline(always)]
unsafe fn dots<S: Simd, const N: usize>(
    s: S,
    q: *const f32,
    keys: *const f32,
    stride: usize,
    vectors: usize,
    count: usize,
    to: *mut f32,
) {
    let vectors = if N == 0 { vectors } else { N };
    // SAFETY: The caller vouches for the rows.
    unsafe {
        let dot = |t: usize| {
            let key = keys.add(t * stride);
            let mut acc = s.splat(0.0);
            for c in 0..vectors {
                acc = s.fma(s.load(q.add(c * LANES)), s.load(key.add(c * LANES)), acc);
            }
            acc
        };
        if count == BLOCK {
            let folded = [dot(0), dot(1), dot(2), dot(3), dot(4), dot(5), dot(6), dot(7)];
            let [a, b, c, d, e, f, g, h] = folded;
            let folded =
                [s.fold(a), s.fold(b), s.fold(c), s.fold(d), s.fold(e), s.fold(f), s.fold(g), s.fold(h)];
            to.cast::<[f32; 8]>().write_unaligned(s.sum8(folded));
        } else {
            for t in 0..count {
                *to.add(t) = s.sum(dot(t));
            }
        }
    }
}

/// `to += Σ_t weights[t] · values[t]` over a row of vectors.
///
/// # Safety
/// As for [`accumulate`].
#[inline(always)]
pub(super) unsafe fn accumulate_row<S: Simd>(
    s: S,
    weights: *const f32,
    values: *const f32,
    stride: usize,
    count: usize,
    to: *mut f32,
    vectors: usize,
) {
    let mut v = 0;
    while v < vectors {
        let n = if vectors - v >= 4 { 4 } else { 1 };
        // SAFETY: The caller vouches for the vectors.
        unsafe {
            let (values, to) = (values.add(v * LANES), to.add(v * LANES));
            if n == 4 {
                accumulate::<S, 4>(s, weights, values, stride, count, to);
            } else {
                accumulate::<S, 1>(s, weights, values, stride, count, to);
            }
        }
        v += n;
    }
}

/// `to += Σ_t weights[t] · values[t]` over `N` vectors.
///
/// # Safety
/// The pointers are to `count` weights, as many rows, and `N` vectors.
#[inline(always)]
unsafe fn accumulate<S: Simd, const N: usize>(
    s: S,
    weights: *const f32,
    values: *const f32,
    stride: usize,
    count: usize,
    to: *mut f32,
) {
    let mut acc = [s.splat(0.0); N];
    // SAFETY: The caller vouches for the pointers.
    unsafe {
        for (i, acc) in acc.iter_mut().enumerate() {
            *acc = s.load(to.add(i * LANES));
        }
        for t in 0..count {
            let weight = s.splat(*weights.add(t));
            for (i, acc) in acc.iter_mut().enumerate() {
                *acc = s.fma(weight, s.load(values.add(t * stride + i * LANES)), *acc);
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            s.store(to.add(i * LANES), *acc);
        }
    }
}
