//! Any join of dense tensors: `out[kept] = Σ_{summed} Π operands`.
//!
//! One axis runs in vectors: the last kept one, if every operand has neighbours side by side along it or does not have it; else
//! the last summed one under the same condition, its lanes added at the end; else none. The other axes are counted through.

#![expect(unsafe_code, reason = "buffers are addressed through pointers, as the plan says")]

use std::ops::Range;

use tl_exec::kernel::{Dim, Einsum, Stride};

use super::tape::{Buffers, MAX_AXES, Window};
use crate::simd::{LANES, Simd, SimdFn};

/// Operands that are addressed at the same time.
pub(crate) const MAX_OPERANDS: usize = 8;

/// The elements of the result at a range of positions of the kept axes, the last of which is left out if it runs in vectors.
pub(crate) struct RunEinsum<'a> {
    pub einsum: &'a Einsum,
    pub buffers: Buffers<'a>,
    pub window: &'a Window,
    pub places: Range<usize>,
}

/// Which axis runs in vectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lanes {
    /// The last kept axis.
    Kept,
    /// The last summed axis.
    Summed,
    /// None.
    None,
}

/// Which axis of an einsum runs in vectors. The choice depends on nothing that differs between steps, for it decides the order of sums.
pub(crate) fn vector_axis(einsum: &Einsum) -> Lanes {
    let side_by_side = |axis: usize| {
        let is_long = match einsum.axes[axis] {
            Dim::Static(n) => n >= LANES / 2,
            Dim::Stream => true,
            Dim::Rows | Dim::Wanted => false,
        };
        is_long && einsum.operands.iter().all(|o| is_neighbour(o.outer[axis]) || o.outer[axis].step == 0)
    };
    let kept = einsum.kept;
    if kept > 0 && is_neighbour(einsum.out.outer[kept - 1]) && side_by_side(kept - 1) {
        Lanes::Kept
    } else if einsum.axes.len() > kept && side_by_side(einsum.axes.len() - 1) {
        Lanes::Summed
    } else {
        Lanes::None
    }
}

fn is_neighbour(stride: Stride) -> bool {
    stride.step == 1 && !stride.of_stream
}

/// How many places there are to share among threads.
pub(crate) fn places(einsum: &Einsum, window: &Window) -> usize {
    let counted = einsum.kept - usize::from(vector_axis(einsum) == Lanes::Kept);
    einsum.axes[..counted].iter().map(|&d| window.range(d).len()).product()
}

/// The positions of some axes, counted through like the digits of a number.
struct Odometer {
    axes: usize,
    at: [usize; MAX_AXES],
    len: [usize; MAX_AXES],
    /// Whether all positions have been counted.
    is_done: bool,
}

impl Odometer {
    fn new(lens: impl Iterator<Item = usize>, mut number: usize) -> Self {
        let mut new = Self { axes: 0, at: [0; MAX_AXES], len: [0; MAX_AXES], is_done: false };
        for len in lens {
            new.len[new.axes] = len;
            new.axes += 1;
            new.is_done |= len == 0;
        }
        for axis in (0..new.axes).rev() {
            new.at[axis] = number % new.len[axis].max(1);
            number /= new.len[axis].max(1);
        }
        new
    }

    /// Goes on by one.
    fn step(&mut self) {
        for axis in (0..self.axes).rev() {
            self.at[axis] += 1;
            if self.at[axis] < self.len[axis] {
                return;
            }
            self.at[axis] = 0;
        }
        self.is_done = true;
    }
}

impl SimdFn for RunEinsum<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let (e, w) = (self.einsum, self.window);
        let lanes = vector_axis(e);
        let counted = e.kept - usize::from(lanes == Lanes::Kept);
        let len = |axis: usize| w.range(e.axes[axis]).len();
        let first = |axis: usize| w.range(e.axes[axis]).start;
        let mut kept = Odometer::new((0..counted).map(len), self.places.start);
        for _ in self.places.clone() {
            let mut starts = [std::ptr::null::<f32>(); MAX_OPERANDS];
            for (start, o) in starts.iter_mut().zip(&e.operands) {
                let mut at = o.offset;
                for axis in 0..e.axes.len() {
                    let i = first(axis) + if axis < counted { kept.at[axis] } else { 0 };
                    at += i * w.step(o.outer[axis]);
                }
                *start = self.buffers.start(o.buffer).wrapping_add(at);
            }
            let mut to = e.out.offset;
            for axis in 0..e.kept {
                to += (first(axis) + if axis < counted { kept.at[axis] } else { 0 })
                    * w.step(e.out.outer[axis]);
            }
            let to = self.buffers.start(e.out.buffer).wrapping_add(to);
            // SAFETY: The accesses are inside of their buffers at these positions, and nobody else writes these elements.
            unsafe {
                match lanes {
                    Lanes::Kept => self.along_kept(s, &starts, to),
                    Lanes::Summed => *to = self.along_summed(s, &starts),
                    Lanes::None => *to = self.one_by_one(&starts),
                }
            }
            kept.step();
        }
    }
}

impl RunEinsum<'_> {
    fn len(&self, axis: usize) -> usize {
        self.window.range(self.einsum.axes[axis]).len()
    }

    fn step(&self, operand: usize, axis: usize) -> usize {
        self.window.step(self.einsum.operands[operand].outer[axis])
    }

    /// Where an operand stands at a position of the summed axes.
    #[inline(always)]
    fn element(&self, start: *const f32, operand: usize, summed: &Odometer) -> *const f32 {
        let mut at = 0;
        for i in 0..summed.axes {
            at += summed.at[i] * self.step(operand, self.einsum.kept + i);
        }
        start.wrapping_add(at)
    }

    /// A vector of an operand: 16 neighbours, `left` of them, or one value in all lanes.
    #[inline(always)]
    unsafe fn vector<S: Simd>(s: S, p: *const f32, step: usize, at: usize, left: usize) -> S::F {
        // SAFETY: The caller vouches for `left` neighbours, or for one value.
        unsafe {
            match (step, left >= LANES) {
                (0, _) => s.splat(*p),
                (_, true) => s.load(p.add(at)),
                (_, false) => s.load_partial(p.add(at), left),
            }
        }
    }

    /// Adds the product of the operands' vectors to a chain.
    #[inline(always)]
    unsafe fn extend<S: Simd>(
        &self,
        s: S,
        at: &[*const f32; MAX_OPERANDS],
        axis: usize,
        i: usize,
        left: usize,
        acc: S::F,
    ) -> S::F {
        let n = self.einsum.operands.len();
        let mut product = s.splat(1.0);
        // SAFETY: The caller vouches for the operands at this position.
        unsafe {
            for (operand, &p) in at[..n - 1].iter().enumerate() {
                let v = Self::vector(s, p, self.step(operand, axis), i, left);
                product = if operand == 0 { v } else { s.mul(product, v) };
            }
            let last = Self::vector(s, at[n - 1], self.step(n - 1, axis), i, left);
            s.fma(product, last, acc)
        }
    }

    /// All elements along the last kept axis: several vectors at a time, so that what stands side by side is read together.
    #[inline(always)]
    unsafe fn along_kept<S: Simd>(&self, s: S, starts: &[*const f32; MAX_OPERANDS], to: *mut f32) {
        const BLOCK: usize = 8;
        let len = self.len(self.einsum.kept - 1);
        let blocks = len / (BLOCK * LANES);
        // SAFETY: As for the caller.
        unsafe {
            for block in 0..blocks {
                self.vectors::<S, BLOCK>(s, starts, to, block * BLOCK * LANES, BLOCK * LANES);
            }
            for i in (blocks * BLOCK * LANES..len).step_by(LANES) {
                self.vectors::<S, 1>(s, starts, to, i, len - i);
            }
        }
    }

    /// `N` vectors along the last kept axis from position `i` on, where `left` elements are left.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "counted loops over constants keep the arrays in registers"
    )]
    unsafe fn vectors<S: Simd, const N: usize>(
        &self,
        s: S,
        starts: &[*const f32; MAX_OPERANDS],
        to: *mut f32,
        i: usize,
        left: usize,
    ) {
        let (kept, axes) = (self.einsum.kept, self.einsum.axes.len());
        let mut acc = [s.splat(0.0); N];
        let mut summed = Odometer::new((kept..axes).map(|axis| self.len(axis)), 0);
        // SAFETY: As for the caller.
        unsafe {
            while !summed.is_done {
                let mut at = *starts;
                for (operand, p) in at[..self.einsum.operands.len()].iter_mut().enumerate() {
                    *p = self.element(*p, operand, &summed);
                }
                for v in 0..N {
                    let left = if N == 1 { left } else { LANES };
                    acc[v] = self.extend(s, &at, kept - 1, i + v * LANES, left, acc[v]);
                }
                summed.step();
            }
            for v in 0..N {
                let to = to.add(i + v * LANES);
                if N > 1 || left >= LANES { s.store(to, acc[v]) } else { s.store_partial(to, acc[v], left) }
            }
        }
    }

    /// One element, its last summed axis in vectors.
    #[inline(always)]
    unsafe fn along_summed<S: Simd>(&self, s: S, starts: &[*const f32; MAX_OPERANDS]) -> f32 {
        let (kept, last) = (self.einsum.kept, self.einsum.axes.len() - 1);
        let len = self.len(last);
        let mut acc = s.splat(0.0);
        let mut summed = Odometer::new((kept..last).map(|axis| self.len(axis)), 0);
        while !summed.is_done {
            let mut at = *starts;
            for (operand, p) in at[..self.einsum.operands.len()].iter_mut().enumerate() {
                *p = self.element(*p, operand, &summed);
            }
            for i in (0..len).step_by(LANES) {
                let product = s.splat(0.0);
                // SAFETY: As for the caller. Where every operand is one value, the lanes beyond the end are taken out.
                unsafe {
                    let term = self.extend(s, &at, last, i, len - i, product);
                    acc = s.add(acc, Self::first_lanes(s, term, len - i));
                }
            }
            summed.step();
        }
        s.sum(acc)
    }

    /// The first `left` lanes, the others 0.
    #[inline(always)]
    unsafe fn first_lanes<S: Simd>(s: S, x: S::F, left: usize) -> S::F {
        if left >= LANES {
            return x;
        }
        let mut lanes = [0.0f32; LANES];
        // SAFETY: The array has 16 values.
        unsafe {
            s.store_partial(lanes.as_mut_ptr(), x, left);
            s.load(lanes.as_ptr())
        }
    }

    /// One element in `f64`.
    unsafe fn one_by_one(&self, starts: &[*const f32; MAX_OPERANDS]) -> f32 {
        let (kept, axes) = (self.einsum.kept, self.einsum.axes.len());
        let starts = &starts[..self.einsum.operands.len()];
        let mut summed = Odometer::new((kept..axes).map(|axis| self.len(axis)), 0);
        let mut total = 0.0f64;
        while !summed.is_done {
            // SAFETY: As for the caller.
            let factor = |(operand, &start)| f64::from(unsafe { *self.element(start, operand, &summed) });
            total += starts.iter().enumerate().map(factor).product::<f64>();
            summed.step();
        }
        total as f32
    }
}
