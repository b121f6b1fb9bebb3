//! What kernels rely on, checked when a plan is laid out: every access stays inside of its buffer, every register is written before it
//! is read. A plan that fails is a mistake in the planner, not in the program, so these are panics.
//!
//! All addresses grow with the rows of a step and with the length of the stream: what holds for the largest step holds for all.
//! Whether threads write different places is asked before a kernel is divided ([`is_disjoint`]).

use std::ops::Range;

use tl_exec::kernel::{Access, BufferId, Dim, Instr, Kernel, MatMul, Plan, Reg, Source, Step, StoreId, Tape};

use super::arena::Room;
use crate::kernels::einsum::MAX_OPERANDS;
use crate::kernels::tape::{MAX_AXES, Window};

/// Checks a plan for steps of up to the given shape; `sizes` are those of its buffers.
pub(super) fn check(plan: &Plan, sizes: &[usize], room: Room) {
    let window = Window { rows: 0..room.rows, wanted: 0..room.wanted, stream: room.stream };
    let check = Check { plan, sizes, window };
    for step in plan.setup.iter().chain(&plan.steps) {
        check.step(step);
    }
}

struct Check<'a> {
    plan: &'a Plan,
    sizes: &'a [usize],
    window: Window,
}

impl Check<'_> {
    fn step(&self, step: &Step) {
        match &step.kernel {
            Kernel::MatMul(m) => self.product(m),
            Kernel::Loop(l) => {
                let outer: Vec<usize> = l.outer.iter().map(|&d| self.len(d)).collect();
                self.tape(&l.tape, 0, &outer, self.len(l.inner), true);
            }
            Kernel::Attention(a) => {
                let rows = self.plan.buffers[a.out.buffer.index()].dims[0];
                assert!(matches!(rows, Dim::Rows | Dim::Wanted), "attention has rows");
                let outer = [self.len(rows), a.heads, a.queries];
                self.access(&a.query, &outer, a.key_width, 0);
                self.access(&a.out, &outer, a.value_width, 0);
                assert!(a.window.1 <= 0, "attention does not look ahead");
                if let Some(map) = &a.map {
                    self.tape(&map.tape, 1, &outer, 1, false);
                    assert!(map.tape.instrs.iter().all(is_pointwise_over_scores), "a score map is pointwise");
                    self.is_written(&map.tape, 1, map.result);
                }
            }
            Kernel::Gather(g) => {
                let count = self.size(g.index);
                self.holds(g.out, count.saturating_mul(g.width));
                self.source(g.table, g.rows.saturating_mul(g.width));
            }
            Kernel::Scatter(s) => {
                self.holds(s.value, s.count.saturating_mul(s.width));
                self.holds(s.positions, s.count);
                self.holds(s.out, s.size.saturating_mul(s.width));
            }
            Kernel::Einsum(e) => {
                assert!(e.axes.len() <= MAX_AXES, "an einsum has at most {MAX_AXES} axes");
                assert!((1..=MAX_OPERANDS).contains(&e.operands.len()), "1 to {MAX_OPERANDS} factors");
                let axes: Vec<usize> = e.axes.iter().map(|&d| self.len(d)).collect();
                e.operands.iter().for_each(|o| self.access(o, &axes, 1, 0));
                self.access(&e.out, &axes[..e.kept], 1, 0);
            }
            Kernel::Remember { from, store } => {
                self.holds(*from, self.window.rows.len().saturating_mul(self.width(*store)))
            }
            Kernel::Recall { store, taps, out } => {
                let rows = self.rows_of(*out);
                self.holds(*out, rows.saturating_mul(taps.len()).saturating_mul(self.width(*store)));
            }
            Kernel::RecallAll { store, out } => {
                self.holds(*out, self.window.stream.saturating_mul(self.width(*store)))
            }
            Kernel::TakeWanted { from, out } => {
                let [from, out] = [from, out].map(|b| &self.plan.buffers[b.index()].dims);
                assert!(
                    from.first() == Some(&Dim::Rows) && out.first() == Some(&Dim::Wanted),
                    "rows are taken"
                );
                assert_eq!(from[1..], out[1..], "rows keep their form");
            }
            Kernel::Decode { weight, out } => {
                assert_eq!(self.plan.weights[weight.index()].tensor.len(), self.size(*out), "a weight fits");
            }
            Kernel::PerSequence(steps) | Kernel::Scan(steps) => steps.iter().for_each(|s| self.step(s)),
        }
    }

    fn product(&self, m: &MatMul) {
        assert!(m.k > 0, "a product sums over something");
        let rows = self.size(m.input) / m.k;
        m.weights.iter().for_each(|w| self.source(w.source, w.n.saturating_mul(m.k)));
        match &m.epilogue {
            None => {
                assert_eq!(m.outs.len(), m.weights.len(), "each product goes somewhere");
                m.outs.iter().zip(&m.weights).for_each(|(&o, w)| self.holds(o, rows.saturating_mul(w.n)));
            }
            Some(epilogue) => {
                let n = m.weights.first().map_or(0, |w| w.n);
                assert!(m.weights.iter().all(|w| w.n == n), "products that are combined have one form");
                self.tape(&epilogue.tape, m.weights.len(), &[rows], n, false);
            }
        }
    }

    /// A tape of which the first `given` vectors hold values at the start.
    fn tape(&self, tape: &Tape, given: usize, outer: &[usize], inner: usize, may_reduce: bool) {
        assert!(outer.len() <= MAX_AXES, "a loop has at most {MAX_AXES} outer axes");
        let mut written = Written::new(tape, given);
        for instr in &tape.instrs {
            instr
                .reads()
                .for_each(|reg| assert!(written.has(reg), "a register is written before it is read"));
            match instr {
                Instr::Map { scalar, into, args } => {
                    let arity = scalar.info().arity;
                    let vector = args[..arity].iter().any(|a| matches!(a, Reg::Vector(_)));
                    assert!(!vector || matches!(into, Reg::Vector(_)), "a function of vectors is one");
                    assert!(args.iter().all(|&a| written.has(a)), "unused arguments repeat the first");
                }
                Instr::Load { into: reg, from: access } | Instr::Store { from: reg, to: access, .. } => {
                    self.access(access, outer, inner_of(*reg, inner), 0);
                }
                Instr::LoadAt { into, from, at } => {
                    let computed = at.iter().map(|p| {
                        assert!(p.divisor >= 1 && p.outer.len() <= outer.len(), "a position can be computed");
                        let last = self.len(p.limit).saturating_sub(1);
                        last.saturating_mul(self.window.step(p.stride))
                    });
                    // Where a limit is 0, nothing is read.
                    if at.iter().all(|p| self.len(p.limit) > 0) {
                        self.access(from, outer, inner_of(*into, inner), computed.sum());
                    }
                }
                Instr::OuterIndex { axis, .. } => {
                    assert!(usize::from(*axis) < outer.len(), "there is such an axis")
                }
                Instr::Reduce { into, from, .. } => {
                    let of_vector = matches!((into, from), (Reg::Scalar(_), Reg::Vector(_)));
                    assert!(may_reduce && of_vector, "only loops reduce, a vector to one value");
                }
                Instr::Softmax { into, from } => {
                    let vectors = matches!((into, from), (Reg::Vector(_), Reg::Vector(_)));
                    assert!(may_reduce && vectors, "only loops have a softmax, of a vector");
                }
                Instr::Const { .. } | Instr::InnerIndex { .. } => {}
            }
            instr.writes().into_iter().for_each(|reg| written.add(reg));
        }
    }

    fn is_written(&self, tape: &Tape, given: usize, result: Reg) {
        let mut written = Written::new(tape, given);
        tape.instrs.iter().filter_map(Instr::writes).for_each(|reg| written.add(reg));
        assert!(written.has(result), "a tape computes its result");
    }

    fn access(&self, access: &Access, outer: &[usize], inner: usize, beyond: usize) {
        if inner == 0 || outer.contains(&0) {
            return;
        }
        assert_eq!(access.outer.len(), outer.len(), "an access has a stride for each axis");
        let mut last = access.offset.saturating_add(beyond);
        for (&len, &stride) in outer.iter().zip(&access.outer).chain([(&inner, &access.inner)]) {
            last = last.saturating_add((len - 1).saturating_mul(self.window.step(stride)));
        }
        assert!(last < self.size(access.buffer), "an access stays inside of its buffer");
    }

    fn holds(&self, buffer: BufferId, count: usize) {
        assert!(count <= self.size(buffer), "a buffer has room for what is written");
    }

    fn source(&self, source: Source, count: usize) {
        let size = match source {
            Source::Buffer(buffer) => self.size(buffer),
            Source::Weight(weight) => self.plan.weights[weight.index()].tensor.len(),
        };
        assert_eq!(size, count, "a matrix has the size that its reader takes it for");
    }

    fn rows_of(&self, buffer: BufferId) -> usize {
        let rows = self.plan.buffers[buffer.index()].dims[0];
        assert!(matches!(rows, Dim::Rows | Dim::Wanted), "the buffer has rows");
        self.len(rows)
    }

    fn size(&self, buffer: BufferId) -> usize {
        self.sizes[buffer.index()]
    }

    fn width(&self, store: StoreId) -> usize {
        self.plan.stores[store.index()].width
    }

    fn len(&self, dim: Dim) -> usize {
        self.window.range(dim).len()
    }
}

/// A scalar register takes part at inner position 0 alone.
fn inner_of(reg: Reg, inner: usize) -> usize {
    if matches!(reg, Reg::Scalar(_)) { 1 } else { inner }
}

/// Whether an instruction may stand in a score map: a run of positions has no memory besides the scores.
fn is_pointwise_over_scores(instr: &Instr) -> bool {
    match instr {
        Instr::Load { into, from } => matches!(into, Reg::Scalar(_)) || from.inner.step == 0,
        Instr::Store { .. } | Instr::LoadAt { .. } => false,
        _ => true,
    }
}

/// The registers that hold a value.
struct Written {
    vectors: Vec<bool>,
    scalars: Vec<bool>,
}

impl Written {
    fn new(tape: &Tape, given: usize) -> Self {
        let vectors = (0..usize::from(tape.vectors)).map(|r| r < given).collect();
        Self { vectors, scalars: vec![false; usize::from(tape.scalars)] }
    }

    fn has(&self, reg: Reg) -> bool {
        match reg {
            Reg::Vector(r) => self.vectors[usize::from(r)],
            Reg::Scalar(r) => self.scalars[usize::from(r)],
        }
    }

    fn add(&mut self, reg: Reg) {
        match reg {
            Reg::Vector(r) => self.vectors[usize::from(r)] = true,
            Reg::Scalar(r) => self.scalars[usize::from(r)] = true,
        }
    }
}

/// Whether different positions of the outer axes (and, where `inner_too`, of the inner axis) store to different elements, so that
/// threads may share the positions.
///
/// Where strides are sorted, it is enough that each is larger than all that the smaller ones span together.
pub(super) fn is_disjoint(
    tape: &Tape,
    outer: &[Range<usize>],
    inner: usize,
    inner_too: bool,
    window: &Window,
) -> bool {
    let stores = || {
        tape.instrs
            .iter()
            .filter_map(|i| if let Instr::Store { from, to, .. } = i { Some((from, to)) } else { None })
    };
    stores().enumerate().all(|(i, (_, first))| {
        // Of several stores to one buffer, the first is asked for all.
        if stores().take(i).any(|(_, other)| other.buffer == first.buffer) {
            return true;
        }
        let (mut low, mut high, mut count) = (usize::MAX, 0, 0);
        for (from, to) in stores().filter(|(_, to)| to.buffer == first.buffer) {
            if to.outer != first.outer {
                return false;
            }
            let len = inner_of(*from, inner);
            (low, count) = (low.min(to.offset), count + 1);
            high = high.max(to.offset + len.saturating_sub(1) * window.step(to.inner));
        }
        let mut axes = [(0, 0); MAX_AXES + 1];
        let mut used = 0;
        for (range, &stride) in outer.iter().zip(&first.outer) {
            if range.len() > 1 {
                axes[used] = (window.step(stride), range.len());
                used += 1;
            }
        }
        let mut span = 0;
        if count == 1 {
            axes[used] =
                (window.step(first.inner), high.saturating_sub(low) / window.step(first.inner).max(1) + 1);
            used += 1;
        } else if inner_too {
            return false;
        } else {
            span = high - low;
        }
        let axes = &mut axes[..used];
        axes.sort_unstable();
        axes.iter().all(|&(step, len)| {
            let fits = len <= 1 || step > span;
            span += step * (len - 1);
            fits
        })
    })
}

/// Whether a tape loads from a buffer that it stores to.
pub(super) fn reads_own_stores(tape: &Tape) -> bool {
    let is_stored = |buffer: BufferId| {
        tape.instrs.iter().any(|i| matches!(i, Instr::Store { to, .. } if to.buffer == buffer))
    };
    tape.instrs.iter().any(|i| match i {
        Instr::Load { from, .. } | Instr::LoadAt { from, .. } => is_stored(from.buffer),
        _ => false,
    })
}
