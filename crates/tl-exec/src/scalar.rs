//! The scalar backend: plans run in the plainest way, one element after another, on one thread.
//!
//! It is what a kernel of the plan means. Fast backends are tested against it, kernel by kernel; it, and the planner with it, is tested against
//! [`crate::reference`], which knows no plans. Values are `f32` between kernels and `f64` inside of one.

use std::sync::Arc;

use crate::kernel::{
    Access, Attention, BufferId, Dim, Einsum, Gather, Instr, Kernel, MatMul, Plan, Position, Reg, Scatter,
    Source, Step, StoreId, Stride, Tape,
};
use crate::run::{Backend, Executable, RunError, Sequence};

/// The scalar backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScalarBackend;

impl Backend for ScalarBackend {
    fn name(&self) -> String {
        "scalar reference".into()
    }

    fn prepare(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>, RunError> {
        let weights = plan.weights.iter().map(|w| w.tensor.to_f32()).collect();
        let mut run = Scalar {
            buffers: vec![Vec::new(); plan.buffers.len()],
            weights,
            plan: Arc::clone(&plan),
            stream: 0,
        };
        run.resize(0, 0, 0);
        for (buffer, values) in &plan.constants {
            run.buffers[buffer.index()] = values.to_vec();
        }
        run.steps(&plan.setup, &mut [], Window::default());
        Ok(Box::new(run))
    }
}

struct Scalar {
    plan: Arc<Plan>,
    weights: Vec<Vec<f32>>,
    buffers: Vec<Vec<f32>>,
    /// The length that dimensions of the stream have in the addresses of this step.
    stream: usize,
}

/// The rows that kernels work on: of the stacked rows, of the wanted ones, and whose they are.
#[derive(Clone, Copy, Default, Debug)]
struct Window {
    rows: (usize, usize),
    wanted: (usize, usize),
    /// The sequence, where it is one.
    sequence: Option<usize>,
    /// Positions of that sequence up to the last row of the window.
    stream: usize,
}

impl Window {
    fn range(&self, dim: Dim) -> (usize, usize) {
        match dim {
            Dim::Static(n) => (0, n),
            Dim::Rows => self.rows,
            Dim::Wanted => self.wanted,
            Dim::Stream => (0, self.stream),
        }
    }

    fn len(&self, dim: Dim) -> usize {
        let (start, end) = self.range(dim);
        end - start
    }
}

/// A sequence and where its rows stand among the stacked ones.
struct Placed<'a, 'b> {
    sequence: &'a mut Sequence<'b>,
    window: Window,
}

impl Executable for Scalar {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn reserve(&mut self, _rows: usize, _stream: usize) -> Result<(), RunError> {
        Ok(())
    }

    fn run(&mut self, sequences: &mut [Sequence<'_>], arguments: &[&[f32]]) -> Result<(), RunError> {
        let plan = Arc::clone(&self.plan);
        let rows = sequences.iter().map(|s| s.rows).sum();
        let wanted = sequences.iter().map(|s| s.wanted.count(s.rows)).sum();
        self.stream = sequences.iter().map(|s| s.state.len() + s.rows).max().unwrap_or(0);
        self.resize(rows, wanted, self.stream);
        for (number, buffer) in plan.inputs.iter().enumerate() {
            let Some(buffer) = buffer else { continue };
            let (expected, found) =
                (self.buffers[buffer.index()].len(), arguments.get(number).map_or(0, |a| a.len()));
            if expected != found {
                return Err(RunError::ArgumentSize { argument: number, expected, found });
            }
            self.buffers[buffer.index()].copy_from_slice(arguments[number]);
        }
        let (mut row, mut want) = (0, 0);
        let mut placed: Vec<Placed<'_, '_>> = Vec::new();
        for (index, sequence) in sequences.iter_mut().enumerate() {
            let count = sequence.wanted.count(sequence.rows);
            let start = sequence.state.len();
            let window = Window {
                rows: (row, row + sequence.rows),
                wanted: (want, want + count),
                sequence: Some(index),
                stream: start + sequence.rows,
            };
            for i in 0..sequence.rows {
                self.set(plan.positions, row + i, (start + i) as f32);
            }
            for i in 0..count {
                self.set(plan.wanted_positions, want + i, (start + sequence.rows - count + i) as f32);
            }
            (row, want) = (row + sequence.rows, want + count);
            placed.push(Placed { sequence, window });
        }
        let all = Window { rows: (0, rows), wanted: (0, wanted), sequence: None, stream: 0 };
        self.steps(&plan.steps, &mut placed, all);
        for p in placed {
            p.sequence.state.advance(p.sequence.rows);
        }
        Ok(())
    }

    fn output(&self, number: usize) -> &[f32] {
        &self.buffers[self.plan.outputs[number].buffer.index()]
    }

    fn times(&mut self) -> Vec<f64> {
        Vec::new()
    }

    fn trace(&mut self, _on: bool) {}
}

impl Scalar {
    fn resize(&mut self, rows: usize, wanted: usize, stream: usize) {
        for (buffer, values) in self.plan.buffers.iter().zip(&mut self.buffers) {
            let fixed = buffer.dims.iter().all(|d| matches!(d, Dim::Static(_)));
            if !fixed || values.is_empty() {
                let window = Window { rows: (0, rows), wanted: (0, wanted), sequence: None, stream };
                values.clear();
                values.resize(buffer.dims.iter().map(|&d| window.len(d)).product(), 0.0);
            }
        }
    }

    fn set(&mut self, buffer: Option<BufferId>, at: usize, value: f32) {
        if let Some(buffer) = buffer {
            self.buffers[buffer.index()][at] = value;
        }
    }

    fn steps(&mut self, steps: &[Step], placed: &mut [Placed<'_, '_>], window: Window) {
        for step in steps {
            self.kernel(&step.kernel, placed, window);
        }
    }

    fn kernel(&mut self, kernel: &Kernel, placed: &mut [Placed<'_, '_>], window: Window) {
        match kernel {
            Kernel::MatMul(matmul) => self.matmul(matmul, window),
            Kernel::Loop(l) => {
                let outer: Vec<(usize, usize)> = l.outer.iter().map(|&d| window.range(d)).collect();
                let inner = window.len(l.inner);
                each(&outer, |at| {
                    let mut registers = Registers::new(&l.tape, inner);
                    self.tape(&l.tape, &mut registers, at, &outer, 0, window);
                });
            }
            Kernel::Gather(gather) => self.gather(gather, window),
            Kernel::Scatter(scatter) => self.scatter(scatter),
            Kernel::Einsum(einsum) => self.einsum(einsum, window),
            Kernel::Attention(attention) => {
                each_sequence(placed, window, |p, w| self.attention(attention, p, w))
            }
            Kernel::Remember { from, store } => each_sequence(placed, window, |p, w| {
                let width = self.plan.stores[store.index()].width;
                let rows = &self.buffers[from.index()][w.rows.0 * width..w.rows.1 * width];
                p.sequence.state.stores_mut()[store.index()].append(rows);
            }),
            Kernel::Recall { store, taps, out } => {
                each_sequence(placed, window, |p, w| self.recall(*store, taps, *out, p, w))
            }
            Kernel::RecallAll { store, out } => each_sequence(placed, window, |p, w| {
                let width = self.plan.stores[store.index()].width;
                for t in 0..w.stream {
                    let to = &mut self.buffers[out.index()][t * width..(t + 1) * width];
                    if !p.sequence.state.stores()[store.index()].read(t, to) {
                        to.fill(0.0);
                    }
                }
            }),
            Kernel::TakeWanted { from, out } => each_sequence(placed, window, |_, w| {
                let count = w.wanted.1 - w.wanted.0;
                let dims = &self.plan.buffers[from.index()].dims;
                let per_row: usize = dims[1..].iter().map(|&d| w.len(d)).product();
                for i in 0..count {
                    let source = (w.rows.1 - count + i) * per_row;
                    let row = self.buffers[from.index()][source..source + per_row].to_vec();
                    self.buffers[out.index()][(w.wanted.0 + i) * per_row..][..per_row].copy_from_slice(&row);
                }
            }),
            Kernel::Decode { weight, out } => {
                self.buffers[out.index()].copy_from_slice(&self.weights[weight.index()])
            }
            Kernel::PerSequence(steps) => {
                for i in 0..placed.len() {
                    let window = placed[i].window;
                    self.steps(steps, &mut placed[i..=i], window);
                }
            }
            Kernel::Scan(steps) => {
                for i in 0..placed.len() {
                    let whole = placed[i].window;
                    let start = whole.stream - (whole.rows.1 - whole.rows.0);
                    let first_wanted = whole.rows.1 - (whole.wanted.1 - whole.wanted.0);
                    for row in whole.rows.0..whole.rows.1 {
                        let wanted = row.saturating_sub(first_wanted) + whole.wanted.0;
                        let window = Window {
                            rows: (row, row + 1),
                            wanted: (wanted, wanted + usize::from(row >= first_wanted)),
                            sequence: whole.sequence,
                            stream: start + (row - whole.rows.0) + 1,
                        };
                        placed[i].window = window;
                        self.steps(steps, &mut placed[i..=i], window);
                    }
                    placed[i].window = whole;
                }
            }
        }
    }

    fn matmul(&mut self, matmul: &MatMul, window: Window) {
        let dims = &self.plan.buffers[matmul.input.index()].dims;
        let per_row: usize = dims
            .iter()
            .map(|&d| if matches!(d, Dim::Rows | Dim::Wanted) { 1 } else { window.len(d) })
            .product();
        let (start, end) = dims.first().map_or((0, 1), |&d| match d {
            Dim::Rows | Dim::Wanted => window.range(d),
            _ => (0, 1),
        });
        let (first, last) = (start * per_row / matmul.k, end * per_row / matmul.k);
        for row in first..last {
            let input = &self.buffers[matmul.input.index()][row * matmul.k..(row + 1) * matmul.k];
            let products: Vec<Vec<f32>> = matmul
                .weights
                .iter()
                .map(|weight| {
                    let matrix = self.source(weight.source);
                    let dot = |j: usize| {
                        let terms = input.iter().zip(&matrix[j * matmul.k..(j + 1) * matmul.k]);
                        terms.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
                    };
                    (0..weight.n).map(dot).collect()
                })
                .collect();
            match &matmul.epilogue {
                None => {
                    for (out, product) in matmul.outs.iter().zip(&products) {
                        self.buffers[out.index()][row * product.len()..][..product.len()]
                            .copy_from_slice(product);
                    }
                }
                Some(epilogue) => {
                    let mut registers = Registers::new(&epilogue.tape, matmul.weights[0].n);
                    for (register, product) in registers.vectors.iter_mut().zip(&products) {
                        *register = product.iter().map(|&v| f64::from(v)).collect();
                    }
                    self.tape(&epilogue.tape, &mut registers, &[row], &[(0, 0)], 0, window);
                }
            }
        }
    }

    fn source(&self, source: Source) -> &[f32] {
        match source {
            Source::Buffer(buffer) => &self.buffers[buffer.index()],
            Source::Weight(weight) => &self.weights[weight.index()],
        }
    }

    fn gather(&mut self, gather: &Gather, window: Window) {
        let dims = self.plan.buffers[gather.index.index()].dims.clone();
        let per_row: usize = dims
            .iter()
            .map(|&d| if matches!(d, Dim::Rows | Dim::Wanted) { 1 } else { window.len(d) })
            .product();
        let (start, end) = dims.first().map_or((0, 1), |&d| match d {
            Dim::Rows | Dim::Wanted => window.range(d),
            _ => (0, 1),
        });
        for i in start * per_row..end * per_row {
            let index = self.buffers[gather.index.index()][i];
            let inside = index >= 0.0 && (index as usize) < gather.rows;
            let row = if inside {
                let at = index as usize * gather.width;
                self.source(gather.table)[at..at + gather.width].to_vec()
            } else {
                vec![0.0; gather.width]
            };
            self.buffers[gather.out.index()][i * gather.width..][..gather.width].copy_from_slice(&row);
        }
    }

    fn scatter(&mut self, scatter: &Scatter) {
        let mut out = std::mem::take(&mut self.buffers[scatter.out.index()]);
        let (value, positions) =
            (&self.buffers[scatter.value.index()], &self.buffers[scatter.positions.index()]);
        scatter.rows(0, 0..scatter.count, value, positions, &mut out[..scatter.size * scatter.width]);
        self.buffers[scatter.out.index()] = out;
    }

    fn einsum(&mut self, einsum: &Einsum, window: Window) {
        let ranges: Vec<(usize, usize)> = einsum.axes.iter().map(|&d| window.range(d)).collect();
        let (kept, summed) = ranges.split_at(einsum.kept);
        each(kept, |at| {
            let mut total = 0.0;
            each(summed, |s| {
                let position: Vec<usize> = at.iter().chain(s).copied().collect();
                let term = einsum.operands.iter().map(|o| {
                    f64::from(self.buffers[o.buffer.index()][self.address(o, &position, 0, window)])
                });
                total += term.product::<f64>();
            });
            let to = self.address(&einsum.out, at, 0, window);
            self.buffers[einsum.out.buffer.index()][to] = total as f32;
        });
    }

    fn recall(
        &mut self,
        store: StoreId,
        taps: &[i64],
        out: BufferId,
        placed: &Placed<'_, '_>,
        window: Window,
    ) {
        let width = self.plan.stores[store.index()].width;
        let wanted = self.plan.buffers[out.index()].dims[0] == Dim::Wanted;
        let (start, end) = if wanted { window.wanted } else { window.rows };
        for row in start..end {
            let position = window.stream - (end - row);
            for (i, &tap) in taps.iter().enumerate() {
                let to = (row * taps.len() + i) * width;
                let stored = usize::try_from(position as i64 + tap).ok();
                let to = &mut self.buffers[out.index()][to..to + width];
                if !stored.is_some_and(|t| placed.sequence.state.stores()[store.index()].read(t, to)) {
                    to.fill(0.0);
                }
            }
        }
    }

    fn attention(&mut self, attention: &Attention, placed: &Placed<'_, '_>, window: Window) {
        let dims = &self.plan.buffers[attention.out.buffer.index()].dims;
        let (start, end) = window.range(dims[0]);
        let outer = [(start, end), (0, attention.heads), (0, attention.queries)];
        let stored = |rows: &crate::kernel::StoredRows| {
            let store = &placed.sequence.state.stores()[rows.store.index()];
            let read = |t| {
                let mut row = vec![0.0; store.width()];
                store.read(t, &mut row).then_some(row)
            };
            (0..store.len()).map(read).collect::<Vec<_>>()
        };
        let (keys, values) = (stored(&attention.key), stored(&attention.value));
        each(&outer, |at| {
            let position = (window.stream - (end - at[0])) as i64;
            let first = attention.window.0.map_or(0, |lo| (position + lo).max(0));
            let last = (position + attention.window.1 + 1).max(first);
            let query: Vec<f64> = (0..attention.key_width)
                .map(|c| {
                    f64::from(
                        self.buffers[attention.query.buffer.index()]
                            [self.address(&attention.query, at, c, window)],
                    )
                })
                .collect();
            let stored =
                |rows: &[Option<Vec<f32>>], at_head: &crate::kernel::StoredRows, t: i64, i: usize| {
                    let row = rows[t as usize].as_ref().expect("a row inside of the window is kept");
                    f64::from(row[at[1] * at_head.head_stride + i * at_head.stride])
                };
            let mut scores: Vec<f64> = (first..last)
                .map(|t| query.iter().enumerate().map(|(c, q)| q * stored(&keys, &attention.key, t, c)).sum())
                .collect();
            if let Some(map) = &attention.map {
                let mut registers = Registers::new(&map.tape, scores.len());
                registers.vectors[0] = scores;
                self.tape(&map.tape, &mut registers, at, &outer.map(|_| (0, 0)), first as usize, window);
                scores = registers.vector(map.result);
            }
            let weights = softmax(&scores);
            for v in 0..attention.value_width {
                let sum: f64 = (first..last)
                    .zip(&weights)
                    .map(|(t, w)| w * stored(&values, &attention.value, t, v))
                    .sum();
                let to = self.address(&attention.out, at, v, window);
                self.buffers[attention.out.buffer.index()][to] = sum as f32;
            }
        });
    }

    /// Runs a tape at one position of the outer axes. `base` is where row dimensions begin; inner positions count from `first`.
    fn tape(
        &mut self,
        tape: &Tape,
        regs: &mut Registers,
        at: &[usize],
        base: &[(usize, usize)],
        first: usize,
        window: Window,
    ) {
        for instr in &tape.instrs {
            match instr {
                Instr::Load { into, from } => {
                    let value =
                        |i| f64::from(self.buffers[from.buffer.index()][self.address(from, at, i, window)]);
                    regs.set(*into, value);
                }
                Instr::LoadAt { into, from, at: positions } => {
                    let value = |i: usize| {
                        let mut element = Some(self.address(from, at, i, window));
                        for p in positions {
                            let local: Vec<usize> = at.iter().zip(base).map(|(a, b)| a - b.0).collect();
                            let place = resolve(p, &local, i, window);
                            element = element.zip(place).map(|(e, place)| e + place * step(p.stride, window));
                        }
                        element.map_or(0.0, |e| f64::from(self.buffers[from.buffer.index()][e]))
                    };
                    regs.set(*into, value);
                }
                Instr::Const { into, value } => regs.set(*into, |_| f64::from(*value)),
                Instr::InnerIndex { into } => regs.set(*into, |i| (first + i) as f64),
                Instr::OuterIndex { into, axis } => {
                    let index = at[usize::from(*axis)] - base[usize::from(*axis)].0;
                    regs.set(*into, |_| index as f64);
                }
                Instr::Map { scalar, into, args } => {
                    let values = args.map(|a| regs.vector(a));
                    let get = |k: usize, i: usize| values[k][if values[k].len() == 1 { 0 } else { i }];
                    regs.set(*into, |i| (scalar.info().eval)(get(0, i), get(1, i), get(2, i)));
                }
                Instr::Reduce { kind, into, from } => {
                    let result = kind.of(&regs.vector(*from));
                    regs.set(*into, |_| result);
                }
                Instr::Softmax { into, from } => {
                    let result = softmax(&regs.vector(*from));
                    regs.set(*into, |i| result[i]);
                }
                Instr::Store { from, to, fold } => {
                    let values = regs.vector(*from);
                    for (i, &value) in values.iter().enumerate() {
                        let element = self.address(to, at, i, window);
                        let place = &mut self.buffers[to.buffer.index()][element];
                        let before = fold.filter(|fold| at[usize::from(fold.axis)] > 0).map(|fold| fold.kind);
                        *place = before.map_or(value, |kind| kind.of(&[f64::from(*place), value])) as f32;
                    }
                }
            }
        }
    }

    fn address(&self, access: &Access, outer: &[usize], inner: usize, window: Window) -> usize {
        let outer: usize = outer.iter().zip(&access.outer).map(|(&i, &s)| i * step(s, window)).sum();
        access.offset + outer + inner * step(access.inner, window)
    }
}

/// The vectors of a tape, scalars being vectors of one.
struct Registers {
    vectors: Vec<Vec<f64>>,
    scalars: Vec<f64>,
    inner: usize,
}

impl Registers {
    fn new(tape: &Tape, inner: usize) -> Self {
        let vectors = vec![vec![0.0; inner]; usize::from(tape.vectors)];
        Self { vectors, scalars: vec![0.0; usize::from(tape.scalars)], inner }
    }

    fn set(&mut self, reg: Reg, value: impl Fn(usize) -> f64) {
        // Registers are 32 bits wide.
        let narrow = |i| f64::from(value(i) as f32);
        match reg {
            Reg::Vector(r) => self.vectors[usize::from(r)] = (0..self.inner).map(narrow).collect(),
            Reg::Scalar(r) => self.scalars[usize::from(r)] = narrow(0),
        }
    }

    fn vector(&self, reg: Reg) -> Vec<f64> {
        match reg {
            Reg::Vector(r) => self.vectors[usize::from(r)].clone(),
            Reg::Scalar(r) => vec![self.scalars[usize::from(r)]],
        }
    }
}

fn step(stride: Stride, window: Window) -> usize {
    stride.step * if stride.of_stream { window.stream } else { 1 }
}

/// The position that is read, if it is inside.
fn resolve(position: &Position, outer: &[usize], inner: usize, window: Window) -> Option<usize> {
    let sum: i64 = outer.iter().zip(&position.outer).map(|(&i, &c)| i as i64 * c).sum();
    let n = sum + inner as i64 * position.inner + position.offset;
    if position.exact && n.rem_euclid(position.divisor) != 0 {
        return None;
    }
    usize::try_from(n.div_euclid(position.divisor)).ok().filter(|&p| p < window.len(position.limit))
}

fn each_sequence<'a, 'b>(
    placed: &mut [Placed<'a, 'b>],
    outer: Window,
    mut f: impl FnMut(&mut Placed<'a, 'b>, Window),
) {
    debug_assert!(outer.sequence.is_none() || placed.len() == 1, "inside of a bracket there is one sequence");
    for p in placed {
        let window = p.window;
        f(p, window);
    }
}

/// Calls `f` at each position of the ranges, the last running fastest.
fn each(ranges: &[(usize, usize)], mut f: impl FnMut(&[usize])) {
    if ranges.iter().any(|(start, end)| start >= end) {
        return;
    }
    let mut at: Vec<usize> = ranges.iter().map(|r| r.0).collect();
    loop {
        f(&at);
        let Some(axis) = (0..ranges.len()).rev().find(|&a| at[a] + 1 < ranges[a].1) else { return };
        at[axis] += 1;
        for a in axis + 1..ranges.len() {
            at[a] = ranges[a].0;
        }
    }
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> =
        values.iter().map(|&v| if v == f64::NEG_INFINITY { 0.0 } else { (v - max).exp() }).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|e| if sum == 0.0 { 0.0 } else { e / sum }).collect()
}
