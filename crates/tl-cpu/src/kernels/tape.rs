//! The interpreter of tapes: straight-line programs over vectors along a loop's inner axis.
//!
//! An instruction is decoded once and then runs over a whole piece of the axis, so decoding costs little. Registers are memory of the
//! worker, small enough for the first cache; a load of neighbouring elements copies nothing, for the register then *is* the
//! buffer's memory. A scalar register is a vector of sixteen equal lanes that every operation reads again and again (its
//! `mask` is 0), so no operation has a case for scalars.
//!
//! Functions that no vector code exists for are computed in `f64`, one by one, by the op table's own definition.

#![expect(unsafe_code, reason = "buffers are addressed through pointers, as the plan says")]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use tl_exec::kernel::{Access, Dim, Instr, Position, Reg, Stride, Tape};
use tl_ir::{Reduction, Scalar};

use super::math;
use super::reduce::{Arg, join, lanes, reduce, softmax};
use crate::aligned::Aligned;
use crate::simd::{LANES, Simd, SimdFn};

/// Where the buffers of a plan stand.
#[derive(Clone, Copy)]
pub(crate) struct Buffers<'a> {
    /// The first element of each buffer, by id.
    pub starts: &'a [*mut f32],
}

// SAFETY: The kernels of a plan write disjoint places, and nobody reads what is written in the same kernel.
unsafe impl Send for Buffers<'_> {}
// SAFETY: As above.
unsafe impl Sync for Buffers<'_> {}

/// The rows that kernels work on: of the stacked rows, of the wanted ones, and how long the sequence is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// Among the stacked rows.
    pub rows: Range<usize>,
    /// Among the wanted rows.
    pub wanted: Range<usize>,
    /// Positions of the sequence up to the last of the rows; 0 where the window is not of one sequence.
    pub stream: usize,
}

/// Where in its loop a tape runs.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The position along each outer axis, counted from the beginning of its buffers.
    pub at: &'a [usize],
    /// Where the window begins along each outer axis.
    pub base: &'a [usize],
    /// The piece of the inner axis: its first position and its length.
    pub from: usize,
    pub len: usize,
    /// What is added to the inner position to give its number.
    pub number: usize,
    /// Whether reductions go on from the piece before.
    pub goes_on: bool,
    pub window: &'a Window,
}

/// The registers of one worker.
#[derive(Default)]
pub(crate) struct Registers {
    vectors: Aligned<f32>,
    /// Elements between the beginnings of vector registers. Not a power of two, or all would fall on the same lines of the cache.
    stride: usize,
    /// Sixteen lanes each.
    scalars: Aligned<f32>,
    /// Where each vector register's values stand now.
    pointers: Vec<*const f32>,
    /// What each reduction of the tape gave so far.
    reduced: Vec<f64>,
}

// SAFETY: The pointers are only followed while a tape runs, and set anew by each.
unsafe impl Send for Registers {}

/// Runs a tape at one place. Vector registers that it reads without writing them were set by [`Registers::preset`].
pub(crate) struct RunTape<'a> {
    pub tape: &'a Tape,
    pub buffers: Buffers<'a>,
    pub registers: &'a mut Registers,
    pub place: Place<'a>,
}

/// Runs a tape at a range of the places of a loop. Places are numbered with the pieces of the inner axis running fastest, then the
/// last outer axis.
pub(crate) struct RunLoop<'a> {
    pub tape: &'a Tape,
    pub buffers: Buffers<'a>,
    pub registers: &'a mut Registers,
    /// The positions of the outer axes, but for one along which the tape folds.
    pub outer: &'a [Range<usize>],
    /// The positions of that one, which comes after them.
    pub fold: Option<Range<usize>>,
    /// Where they begin.
    pub base: &'a [usize],
    pub inner: usize,
    /// Elements of a piece of the inner axis.
    pub piece: usize,
    /// Whether the pieces of a place follow each other, and reductions go on; else each is a place of its own.
    pub goes_on: bool,
    /// Set by whoever wants no more pieces.
    pub stop: Option<&'a AtomicBool>,
    pub places: Range<usize>,
    pub window: &'a Window,
}

impl Window {
    /// The positions of a dimension.
    pub fn range(&self, dim: Dim) -> Range<usize> {
        match dim {
            Dim::Static(n) => 0..n,
            Dim::Rows => self.rows.clone(),
            Dim::Wanted => self.wanted.clone(),
            Dim::Stream => 0..self.stream,
        }
    }

    /// Elements between neighbours.
    pub fn step(&self, stride: Stride) -> usize {
        stride.step * if stride.of_stream { self.stream } else { 1 }
    }

    /// The element of an access at these positions, without the buffer's own offset.
    pub fn element(&self, access: &Access, at: &[usize], inner: usize) -> usize {
        let mut element = access.offset + inner * self.step(access.inner);
        for (&i, &stride) in at.iter().zip(&access.outer) {
            element += i * self.step(stride);
        }
        element
    }
}

impl Buffers<'_> {
    /// The beginning of a buffer.
    pub fn start(&self, buffer: tl_exec::kernel::BufferId) -> *mut f32 {
        self.starts[buffer.index()]
    }
}

/// Elements from one register to the next: a multiple of 16, and an odd one, so that registers begin on different cache lines.
fn stride_of(len: usize) -> usize {
    (len.div_ceil(LANES) | 1) * LANES
}

impl Registers {
    /// Makes room for a tape over pieces of `len` elements.
    pub fn reserve(&mut self, tape: &Tape, len: usize) {
        let (vectors, scalars) = (usize::from(tape.vectors), usize::from(tape.scalars));
        if self.reduced.len() < tape.instrs.len() {
            self.reduced.resize(tape.instrs.len(), 0.0);
        }
        if self.pointers.len() < vectors {
            self.pointers.resize(vectors, std::ptr::null());
        }
        self.vectors.grow(vectors * stride_of(len));
        self.scalars.grow(scalars * LANES);
    }

    /// Sets the registers out for pieces of `len` elements.
    fn set_out(&mut self, vectors: usize, len: usize) {
        self.stride = stride_of(len);
        assert!(vectors * self.stride <= self.vectors.len(), "there is room for the registers of the tape");
    }

    /// Lets a vector register stand at `data`, where the tape's next run finds its values.
    pub fn preset(&mut self, register: usize, data: *const f32) {
        self.pointers[register] = data;
    }

    /// Where the values of a register stand after a run: as many as the piece was long, or one.
    pub fn values(&self, register: Reg) -> *const f32 {
        self.arg(register).data
    }

    #[inline(always)]
    fn arg(&self, register: Reg) -> Arg {
        match register {
            Reg::Vector(r) => Arg { data: self.pointers[usize::from(r)], mask: usize::MAX },
            Reg::Scalar(r) => Arg { data: self.scalars[usize::from(r) * LANES..][..LANES].as_ptr(), mask: 0 },
        }
    }

    /// The memory of a register, which from now on holds its values, and how many are to be computed.
    #[inline(always)]
    fn output(&mut self, register: Reg, len: usize) -> (*mut f32, usize) {
        match register {
            Reg::Vector(r) => {
                let r = usize::from(r);
                let memory = self.vectors[r * self.stride..][..self.stride].as_mut_ptr();
                debug_assert!(len <= self.stride);
                self.pointers[r] = memory;
                (memory, len)
            }
            Reg::Scalar(r) => (self.scalars[usize::from(r) * LANES..][..LANES].as_mut_ptr(), LANES),
        }
    }
}

impl SimdFn for RunTape<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let RunTape { tape, buffers, registers, place } = self;
        registers.set_out(usize::from(tape.vectors), place.len);
        for (number, instr) in tape.instrs.iter().enumerate() {
            // SAFETY: The plan's accesses stay inside of their buffers (`check` in the executor), registers have room for the piece,
            // and no kernel reads what it writes.
            unsafe {
                match instr {
                    Instr::Map { scalar, into, args } => map(s, *scalar, *into, args, place.len, registers),
                    Instr::Load { into, from } => load(s, *into, from, buffers, place, registers),
                    Instr::Store { from, to, fold: Some(fold) }
                        if place.at[usize::from(fold.axis)] > place.base[usize::from(fold.axis)] =>
                    {
                        combine(s, fold.kind, *from, to, buffers, place, registers);
                    }
                    Instr::Store { from, to, .. } => store(s, *from, to, buffers, place, registers),
                    Instr::Const { into, value } => fill(s, *into, *value, place.len, registers),
                    Instr::OuterIndex { into, axis } => {
                        let axis = usize::from(*axis);
                        fill(s, *into, (place.at[axis] - place.base[axis]) as f32, place.len, registers);
                    }
                    Instr::InnerIndex { into } => {
                        let (to, len) = registers.output(*into, place.len);
                        for i in 0..len {
                            *to.add(i) = (place.number + place.from + i) as f32;
                        }
                    }
                    Instr::Reduce { kind, into, from } => {
                        let mut value = reduce(s, *kind, registers.arg(*from), place.len);
                        if place.goes_on {
                            let so_far = &mut registers.reduced[number];
                            let piece = f64::from(value);
                            *so_far = if place.from == 0 { piece } else { join(*kind, *so_far, piece) };
                            value = *so_far as f32;
                        }
                        fill(s, *into, value, place.len, registers);
                    }
                    Instr::Softmax { into, from } => {
                        let from = registers.arg(*from);
                        let (to, _) = registers.output(*into, place.len);
                        softmax(s, from.data, to, place.len);
                    }
                    Instr::LoadAt { into, from, at } => load_at(*into, from, at, buffers, place, registers),
                }
            }
        }
    }
}

/// How many outer axes a loop may have.
pub(crate) const MAX_AXES: usize = 16;

/// A register becomes one with what stands in a buffer.
#[inline(always)]
unsafe fn combine<S: Simd>(
    s: S,
    kind: Reduction,
    from: Reg,
    to: &Access,
    buffers: Buffers<'_>,
    place: Place<'_>,
    registers: &mut Registers,
) {
    let step = place.window.step(to.inner);
    let values = registers.arg(from);
    let data = buffers.start(to.buffer).wrapping_add(place.window.element(to, place.at, place.from));
    let len = if matches!(from, Reg::Scalar(_)) { 1 } else { place.len };
    let both = |a: S::F, b: S::F| match kind {
        Reduction::Prod => s.mul(a, b),
        Reduction::Max => s.max(a, b),
        Reduction::Min => s.min(a, b),
        _ => s.add(a, b),
    };
    let whole = if step == 1 { len / LANES * LANES } else { 0 };
    // SAFETY: The access is inside of its buffer for the positions of the piece, and the register has as many values.
    unsafe {
        for i in (0..whole).step_by(LANES) {
            let place = data.add(i);
            s.store(place, both(s.load(place), s.load(values.data.add(i & values.mask))));
        }
        for i in whole..len {
            let place = data.add(i * step);
            let (a, b) = (s.splat(*place), s.splat(*values.data.add(i & values.mask)));
            s.store_partial(place, both(a, b), 1);
        }
    }
}

impl SimdFn for RunLoop<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let pieces = if self.goes_on { 1 } else { self.inner.div_ceil(self.piece).max(1) };
        let mut at = [0; MAX_AXES];
        let axes = self.outer.len();
        let mut rest = self.places.start / pieces;
        for (at, range) in at[..axes].iter_mut().zip(self.outer).rev() {
            *at = range.start + rest % range.len();
            rest /= range.len();
        }
        let mut piece = self.places.start % pieces;
        for _ in self.places {
            let first = piece * self.piece;
            let end = if self.goes_on { self.inner } else { self.inner.min(first + self.piece) };
            for folded in self.fold.clone().unwrap_or(0..1) {
                at[axes] = folded;
                let at = &at[..axes + usize::from(self.fold.is_some())];
                let mut from = first;
                loop {
                    let len = self.piece.min(end - from);
                    let (base, goes_on, window) = (self.base, self.goes_on, self.window);
                    let place = Place { at, base, from, len, number: 0, goes_on, window };
                    let (tape, buffers) = (self.tape, self.buffers);
                    s.vectorize(RunTape { tape, buffers, registers: &mut *self.registers, place });
                    from += len;
                    if from >= end || self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                        break;
                    }
                }
            }
            piece += 1;
            if piece < pieces {
                continue;
            }
            piece = 0;
            for (at, range) in at[..axes].iter_mut().zip(self.outer).rev() {
                *at += 1;
                if *at < range.end {
                    break;
                }
                *at = range.start;
            }
        }
    }
}

#[inline(always)]
unsafe fn fill<S: Simd>(s: S, into: Reg, value: f32, len: usize, registers: &mut Registers) {
    let (to, len) = registers.output(into, len);
    for i in (0..len).step_by(LANES) {
        // SAFETY: A register has room for a multiple of 16 elements.
        unsafe { s.store(to.add(i), s.splat(value)) }
    }
}

#[inline(always)]
unsafe fn load<S: Simd>(
    s: S,
    into: Reg,
    from: &Access,
    buffers: Buffers<'_>,
    place: Place<'_>,
    registers: &mut Registers,
) {
    let step = place.window.step(from.inner);
    let data = buffers.start(from.buffer).wrapping_add(place.window.element(from, place.at, place.from));
    // SAFETY: The access is inside of its buffer for the positions of the piece.
    unsafe {
        match into {
            Reg::Vector(r) if step == 1 => registers.pointers[usize::from(r)] = data,
            Reg::Vector(_) => {
                let (to, len) = registers.output(into, place.len);
                for i in 0..len {
                    *to.add(i) = *data.add(i * step);
                }
            }
            // The one value at inner position 0.
            Reg::Scalar(_) => fill(s, into, *data.wrapping_sub(place.from * step), place.len, registers),
        }
    }
}

#[inline(always)]
unsafe fn store<S: Simd>(
    s: S,
    from: Reg,
    to: &Access,
    buffers: Buffers<'_>,
    place: Place<'_>,
    registers: &mut Registers,
) {
    let step = place.window.step(to.inner);
    let values = registers.arg(from).data;
    let data = buffers.start(to.buffer).wrapping_add(place.window.element(to, place.at, place.from));
    // SAFETY: The access is inside of its buffer for the positions of the piece, and the register has as many values.
    unsafe {
        match from {
            Reg::Vector(_) if step == 1 => {
                let whole = place.len / LANES * LANES;
                for i in (0..whole).step_by(LANES) {
                    s.store(data.add(i), s.load(values.add(i)));
                }
                if whole < place.len {
                    let left = place.len - whole;
                    s.store_partial(data.add(whole), s.load_partial(values.add(whole), left), left);
                }
            }
            Reg::Vector(_) => {
                for i in 0..place.len {
                    *data.add(i * step) = *values.add(i);
                }
            }
            // Stored once, by the first piece; or by each, where the last knows all.
            Reg::Scalar(_) if place.from == 0 || place.goes_on => {
                *data.wrapping_sub(place.from * step) = *values
            }
            Reg::Scalar(_) => {}
        }
    }
}

/// Reads a vector at computed positions, 0 outside.
unsafe fn load_at(
    into: Reg,
    from: &Access,
    at: &[Position],
    buffers: Buffers<'_>,
    place: Place<'_>,
    registers: &mut Registers,
) {
    let window = place.window;
    let (first, count) = match into {
        Reg::Vector(_) => (place.from, place.len),
        Reg::Scalar(_) => (0, 1),
    };
    let step = window.step(from.inner);
    let data = buffers.start(from.buffer).wrapping_add(window.element(from, place.at, first));
    let (to, len) = registers.output(into, place.len);
    let run = Run::of(at, &place, (first, count), step as i64);
    if let Some(Run { inside, start, step }) = &run {
        // SAFETY: The positions inside are below their limits, so their elements are inside of the buffer; the register has room.
        unsafe {
            (0..inside.start).chain(inside.end..count).for_each(|i| *to.add(i) = 0.0);
            let from = data.wrapping_offset((start + inside.start as i64 * step) as isize);
            if *step == 1 {
                std::ptr::copy_nonoverlapping(from, to.add(inside.start), inside.len());
            } else {
                for i in 0..inside.len() {
                    *to.add(inside.start + i) = *from.wrapping_offset(i as isize * *step as isize);
                }
            }
        }
    }
    for i in 0..if run.is_none() { count } else { 0 } {
        let mut element = Some(i * step);
        for position in at {
            let found = resolve(position, &place, first + i);
            element = element.zip(found).map(|(e, p)| e + p * window.step(position.stride));
        }
        // SAFETY: Positions are below their limits, so the element is inside of the buffer; the register has room.
        unsafe { *to.add(i) = element.map_or(0.0, |e| *data.wrapping_add(e)) };
    }
    for i in count..if matches!(into, Reg::Scalar(_)) { len } else { 0 } {
        // SAFETY: A scalar register has 16 lanes.
        unsafe { *to.add(i) = *to };
    }
}

/// Computed positions that are evenly spaced along the inner axis.
struct Run {
    /// The inner positions at which all of them are inside.
    inside: Range<usize>,
    /// The element at the first inner position, inside or not, and the distance to the next.
    start: i64,
    step: i64,
}

impl Run {
    /// The positions of `count` places along the inner axis from `first` on, whose elements are `step` apart but for them; `None` if some are divided.
    fn of(at: &[Position], place: &Place<'_>, (first, count): (usize, usize), step: i64) -> Option<Run> {
        let (mut lo, mut hi) = (0i64, count as i64);
        let mut run = Run { inside: 0..0, start: 0, step };
        for position in at {
            if position.divisor != 1 {
                return None;
            }
            let n = number(position, place, first);
            let limit = place.window.range(position.limit).len() as i64;
            // `0 ≤ n + i · c < limit`
            let c = position.inner;
            let (from, to) = match c {
                0 if (0..limit).contains(&n) => (0, hi),
                0 => (0, 0),
                1.. => (-(n.div_euclid(c)), -((n - limit).div_euclid(c))),
                _ => ((n - limit).div_euclid(-c) + 1, n.div_euclid(-c) + 1),
            };
            (lo, hi) = (lo.max(from), hi.min(to));
            let stride = place.window.step(position.stride) as i64;
            (run.start, run.step) = (run.start + n * stride, run.step + c * stride);
        }
        run.inside = lo.clamp(0, count as i64) as usize..hi.clamp(0, count as i64) as usize;
        run.inside.end = run.inside.end.max(run.inside.start);
        Some(run)
    }
}

/// The number of a position before it is divided.
fn number(position: &Position, place: &Place<'_>, inner: usize) -> i64 {
    let mut n = position.offset + inner as i64 * position.inner;
    for (axis, &coefficient) in position.outer.iter().enumerate() {
        n += (place.at[axis] - place.base[axis]) as i64 * coefficient;
    }
    n
}

/// The position that is read, if it is inside.
fn resolve(position: &Position, place: &Place<'_>, inner: usize) -> Option<usize> {
    let mut n = number(position, place, inner);
    if position.divisor != 1 {
        if position.exact && n.rem_euclid(position.divisor) != 0 {
            return None;
        }
        n = n.div_euclid(position.divisor);
    }
    usize::try_from(n).ok().filter(|&p| p < place.window.range(position.limit).len())
}

/// `to[i] = f(a[i], …)`, vector by vector.
macro_rules! pointwise {
    ($s:ident, $to:ident, $len:ident, [$($x:ident = $arg:expr),*], $value:expr) => {{
        let whole = $len / LANES * LANES;
        let mut i = 0;
        while i < whole {
            $(let $x = $s.load($arg.data.add(i & $arg.mask));)*
            $s.store($to.add(i), $value);
            i += LANES;
        }
        if whole < $len {
            $(let $x = lanes($s, $arg, whole, $len);)*
            $s.store($to.add(whole), $value);
        }
    }};
}

/// A pointwise function.
///
/// # Safety
/// The arguments have `len` elements, or 16 equal lanes.
#[inline(always)]
unsafe fn map<S: Simd>(s: S, f: Scalar, into: Reg, args: &[Reg; 3], len: usize, registers: &mut Registers) {
    let [a, b, c] = [registers.arg(args[0]), registers.arg(args[1]), registers.arg(args[2])];
    let (to, len) = registers.output(into, len);
    let truth = |mask: S::M| s.select(mask, s.splat(1.0), s.splat(0.0));
    let clear = |x: S::F, bits: i32| s.from_bits(s.and(s.bits(x), s.splat_i(bits)));
    let zero = s.splat(0.0);
    // SAFETY: The caller vouches for the arguments; the register has room for a multiple of 16 elements.
    unsafe {
        match f {
            Scalar::Add => pointwise!(s, to, len, [x = a, y = b], s.add(x, y)),
            Scalar::Sub => pointwise!(s, to, len, [x = a, y = b], s.sub(x, y)),
            Scalar::Mul => pointwise!(s, to, len, [x = a, y = b], s.mul(x, y)),
            Scalar::Div => pointwise!(s, to, len, [x = a, y = b], s.div(x, y)),
            // The other one where one is NaN, as `f64::min` and `f64::max` have it.
            Scalar::Min => pointwise!(s, to, len, [x = a, y = b], s.select(s.eq(y, y), s.min(x, y), x)),
            Scalar::Max => pointwise!(s, to, len, [x = a, y = b], s.select(s.eq(y, y), s.max(x, y), x)),
            Scalar::Neg => {
                pointwise!(s, to, len, [x = a], s.from_bits(s.xor(s.bits(x), s.splat_i(i32::MIN))))
            }
            Scalar::Abs => pointwise!(s, to, len, [x = a], clear(x, i32::MAX)),
            Scalar::Exp => pointwise!(s, to, len, [x = a], math::exp(s, x)),
            Scalar::Sqrt => pointwise!(s, to, len, [x = a], s.sqrt(x)),
            Scalar::Tanh => pointwise!(s, to, len, [x = a], math::tanh(s, x)),
            Scalar::Sigmoid => pointwise!(s, to, len, [x = a], math::sigmoid(s, x)),
            Scalar::Log => pointwise!(s, to, len, [x = a], math::log(s, x)),
            Scalar::Sin => pointwise!(s, to, len, [x = a], math::sin(s, x)),
            Scalar::Cos => pointwise!(s, to, len, [x = a], math::cos(s, x)),
            Scalar::Erf => pointwise!(s, to, len, [x = a], math::erf(s, x)),
            Scalar::Sign => pointwise!(s, to, len, [x = a], {
                let one = s.or(s.and(s.bits(x), s.splat_i(i32::MIN)), s.bits(s.splat(1.0)));
                // A zero and a NaN are their own signs.
                s.select(s.eq(x, x), s.select(s.eq(x, zero), zero, s.from_bits(one)), x)
            }),
            Scalar::Ceil => pointwise!(s, to, len, [x = a], {
                let minus = |x: S::F| s.from_bits(s.xor(s.bits(x), s.splat_i(i32::MIN)));
                minus(s.floor(minus(x)))
            }),
            Scalar::Floor => pointwise!(s, to, len, [x = a], s.floor(x)),
            Scalar::Round => pointwise!(s, to, len, [x = a], s.round(x)),
            Scalar::Step => pointwise!(s, to, len, [x = a], truth(s.lt(zero, x))),
            Scalar::Lt => pointwise!(s, to, len, [x = a, y = b], truth(s.lt(x, y))),
            Scalar::Le => pointwise!(s, to, len, [x = a, y = b], truth(s.le(x, y))),
            Scalar::Eq => pointwise!(s, to, len, [x = a, y = b], truth(s.eq(x, y))),
            Scalar::Ne => pointwise!(s, to, len, [x = a, y = b], s.select(s.eq(x, y), zero, s.splat(1.0))),
            Scalar::Not => pointwise!(s, to, len, [x = a], truth(s.eq(x, zero))),
            Scalar::And => pointwise!(s, to, len, [x = a, y = b], {
                s.select(s.eq(x, zero), zero, s.select(s.eq(y, zero), zero, s.splat(1.0)))
            }),
            Scalar::Or => pointwise!(s, to, len, [x = a, y = b], {
                s.select(s.eq(x, zero), s.select(s.eq(y, zero), zero, s.splat(1.0)), s.splat(1.0))
            }),
            Scalar::Select => pointwise!(s, to, len, [x = a, y = b, z = c], s.select(s.eq(x, zero), z, y)),
            Scalar::Pow if b.mask == 0 && *b.data == 2.0 => pointwise!(s, to, len, [x = a], s.mul(x, x)),
            Scalar::Pow if b.mask == 0 && *b.data == 3.0 => {
                pointwise!(s, to, len, [x = a], s.mul(s.mul(x, x), x))
            }
            f => map_one_by_one(f, [a, b, c], to, len),
        }
    }
}

/// A pointwise function by its definition.
///
/// # Safety
/// As for [`map`].
#[inline(never)]
unsafe fn map_one_by_one(f: Scalar, args: [Arg; 3], to: *mut f32, len: usize) {
    let eval = f.info().eval;
    // SAFETY: The caller vouches for the arguments and for room.
    unsafe {
        let at = |arg: Arg, i: usize| f64::from(*arg.data.add(i & arg.mask));
        let equal = args.iter().all(|arg| arg.mask == 0);
        for i in 0..len {
            *to.add(i) = if equal && i > 0 {
                *to
            } else {
                eval(at(args[0], i), at(args[1], i), at(args[2], i)) as f32
            };
        }
    }
}
