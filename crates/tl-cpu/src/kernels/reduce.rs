//! Reductions of vectors, and the softmax.
//!
//! Which element goes to which lane of which chain depends on its place alone, so that zeros (or −∞) at the end change no bit: a row gives
//! the same result however long the stream is when it is computed.

#![expect(unsafe_code, reason = "elements are addressed through pointers")]

use tl_ir::Reduction;

use super::math;
use crate::simd::{LANES, Simd};

/// An argument: element `i` stands at `data + (i & mask)`.
#[derive(Clone, Copy)]
pub(super) struct Arg {
    pub data: *const f32,
    pub mask: usize,
}

/// Vector `i / 16` of an argument, of which elements below `len` are there; the others are 0.
#[inline(always)]
pub(super) unsafe fn lanes<S: Simd>(s: S, arg: Arg, i: usize, len: usize) -> S::F {
    // SAFETY: The caller vouches for `len` elements, or for 16 equal lanes.
    unsafe {
        let data = arg.data.add(i & arg.mask);
        if arg.mask == 0 || i + LANES <= len { s.load(data) } else { s.load_partial(data, len - i) }
    }
}

/// Elements that are summed in `f32`: more, and what is added would drown in what was.
const RUN: usize = 1 << 14;

/// The sum of `len` elements, of runs of [`RUN`] in `f32` and of those in `f64`. Zeros at the end change nothing.
///
/// # Safety
/// The argument has `len` elements.
#[inline(always)]
pub(super) unsafe fn sum<S: Simd>(s: S, x: *const f32, len: usize) -> f32 {
    // SAFETY: The caller vouches for the elements.
    unsafe {
        let mut total = f64::from(sum_of_run(s, x, len.min(RUN)));
        for from in (RUN..len).step_by(RUN) {
            total += f64::from(sum_of_run(s, x.add(from), RUN.min(len - from)));
        }
        total as f32
    }
}

/// The sum of `len` elements: four chains of sixteen lanes, which take vectors in turn.
#[inline(always)]
unsafe fn sum_of_run<S: Simd>(s: S, x: *const f32, len: usize) -> f32 {
    let arg = Arg { data: x, mask: usize::MAX };
    let mut acc = [s.splat(0.0); 4];
    // SAFETY: The caller vouches for the elements.
    unsafe {
        let whole = len / (4 * LANES) * (4 * LANES);
        for i in (0..whole).step_by(4 * LANES) {
            for (j, acc) in acc.iter_mut().enumerate() {
                *acc = s.add(*acc, s.load(x.add(i + j * LANES)));
            }
        }
        for (i, acc) in (whole..len).step_by(LANES).zip(&mut acc) {
            *acc = s.add(*acc, lanes(s, arg, i, len));
        }
    }
    s.sum(s.add(s.add(acc[0], acc[2]), s.add(acc[1], acc[3])))
}

/// The largest of `len` elements, NaNs left out; −∞ of nothing.
///
/// # Safety
/// The argument has `len` elements.
#[inline(always)]
pub(super) unsafe fn largest<S: Simd>(s: S, x: *const f32, len: usize) -> f32 {
    let lowest = s.splat(f32::NEG_INFINITY);
    let (mut acc, whole) = (lowest, len / LANES * LANES);
    // SAFETY: The caller vouches for the elements.
    unsafe {
        for i in (0..whole).step_by(LANES) {
            acc = s.max(s.load(x.add(i)), acc);
        }
        let mut result = s.largest(acc);
        for i in whole..len {
            result = result.max(*x.add(i));
        }
        result
    }
}

/// # Safety
/// The argument has `len` elements, or 16 equal lanes that stand for as many.
#[inline(always)]
pub(super) unsafe fn reduce<S: Simd>(s: S, kind: Reduction, x: Arg, len: usize) -> f32 {
    // SAFETY: The caller vouches for the elements.
    unsafe {
        let at = |i: usize| *x.data.add(i & x.mask);
        match kind {
            Reduction::Sum if x.mask != 0 => sum(s, x.data, len),
            Reduction::Max if x.mask != 0 => largest(s, x.data, len),
            Reduction::Sum => (0..len).map(|i| f64::from(at(i))).sum::<f64>() as f32,
            Reduction::Prod => (0..len).map(|i| f64::from(at(i))).product::<f64>() as f32,
            Reduction::Max => (0..len).map(at).fold(f32::NEG_INFINITY, f32::max),
            Reduction::Min => (0..len).map(at).fold(f32::INFINITY, f32::min),
            Reduction::Argmax => position(len, at, |v, best| v > best),
            Reduction::Argmin => position(len, at, |v, best| v < best),
        }
    }
}

/// What a reduction of a piece and the one of the pieces before it are together.
#[inline(always)]
pub(super) fn join(kind: Reduction, before: f64, piece: f64) -> f64 {
    match kind {
        Reduction::Sum => before + piece,
        Reduction::Prod => before * piece,
        Reduction::Max => before.max(piece),
        Reduction::Min => before.min(piece),
        Reduction::Argmax | Reduction::Argmin => unreachable!("positions are not found piece by piece"),
    }
}

/// The first position whose value none is better than.
#[inline(always)]
fn position(len: usize, at: impl Fn(usize) -> f32, better: impl Fn(f32, f32) -> bool) -> f32 {
    let mut best = 0;
    for i in 1..len {
        if better(at(i), at(best)) {
            best = i;
        }
    }
    best as f32
}

/// `exp(x − max)` of numbers that are at most `max`, 0 where `x` is −∞, and the sum of all.
///
/// # Safety
/// `x` has `len` elements and `to` room for a multiple of 16.
#[inline(always)]
pub(super) unsafe fn exp_below<S: Simd>(s: S, x: *const f32, to: *mut f32, len: usize, max: f32) -> f32 {
    let arg = Arg { data: x, mask: usize::MAX };
    // From −∞ nothing can be taken away, and need not: then everything is −∞, or NaN.
    let top = s.splat(if max == f32::NEG_INFINITY { 0.0 } else { max });
    // SAFETY: The caller vouches for the elements.
    unsafe {
        for i in (0..len).step_by(LANES) {
            let x = lanes(s, arg, i, len);
            s.store(to.add(i), math::exp_of_negative(s, s.sub(x, top)));
        }
        sum(s, to, len)
    }
}

/// # Safety
/// `x` has `len` elements and `to` room for a multiple of 16.
#[inline(always)]
pub(super) unsafe fn softmax<S: Simd>(s: S, x: *const f32, to: *mut f32, len: usize) {
    // SAFETY: The caller vouches for the elements.
    unsafe {
        let max = largest(s, x, len);
        let total = exp_below(s, x, to, len, max);
        let total = s.splat(if total == 0.0 { 1.0 } else { total });
        for i in (0..len).step_by(LANES) {
            s.store(to.add(i), s.div(s.load(to.add(i)), total));
        }
    }
}
