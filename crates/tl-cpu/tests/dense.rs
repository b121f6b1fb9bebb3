//! Joins of two dense tensors, with axes of every kind in any order: equal to their definition, and to the bit the same with every instruction set and any
//! number of threads.

use std::sync::Arc;

use tl_cpu::{CpuBackend, Isa, Pool};
use tl_exec::kernel::{Access, Buffer, BufferId, Dim, Einsum, Kernel, Plan, PlanOutput, Step, Stride};
use tl_exec::run::Backend;
use tl_ir::Span;

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn within(&mut self, least: usize, most: usize) -> usize {
        least + self.next() as usize % (most - least + 1)
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next() as f32 / (1u64 << 30) as f32 - 1.0).collect()
    }
}

/// A join: its axes, of which the result has those before `kept`.
struct Join {
    lens: Vec<usize>,
    kept: usize,
    /// The axes of left, right and result, slowest first.
    orders: [Vec<usize>; 3],
}

impl Join {
    fn random(numbers: &mut Numbers) -> Join {
        let (mut lens, mut has) = (Vec::new(), Vec::new());
        let mut add = |count: usize, most: usize, of: [bool; 2], numbers: &mut Numbers| {
            for _ in 0..count {
                lens.push(numbers.within(1, most));
                has.push(of);
            }
        };
        let counts: Vec<usize> = (0..3).map(|_| numbers.within(1, 2)).collect();
        let batch = numbers.within(0, 1);
        add(batch, 3, [true, true], numbers);
        add(counts[0], 40 / counts[0], [true, false], numbers);
        add(counts[1], 90 / counts[1], [false, true], numbers);
        let kept = batch + counts[0] + counts[1];
        add(counts[2], if counts[2] == 1 { 600 } else { 20 }, [true, true], numbers);
        let mut shuffled = |axes: Vec<usize>| {
            let mut axes = axes;
            for i in (1..axes.len()).rev() {
                axes.swap(i, numbers.within(0, i));
            }
            axes
        };
        let of = |operand: usize| (0..lens.len()).filter(|&a| has[a][operand]).collect();
        let orders = [shuffled(of(0)), shuffled(of(1)), shuffled((0..kept).collect())];
        Join { lens, kept, orders }
    }

    fn size(&self, operand: usize) -> usize {
        self.orders[operand].iter().map(|&a| self.lens[a]).product()
    }

    /// Distances between neighbours along each axis, 0 where the operand does not have it.
    fn strides(&self, operand: usize) -> Vec<usize> {
        let mut strides = vec![0; self.lens.len()];
        let mut step = 1;
        for &axis in self.orders[operand].iter().rev() {
            strides[axis] = step;
            step *= self.lens[axis];
        }
        strides
    }

    fn plan(&self) -> Plan {
        let access = |operand: usize| Access {
            buffer: BufferId(operand as u32),
            offset: 0,
            outer: self.strides(operand).into_iter().map(|step| Stride { step, of_stream: false }).collect(),
            inner: Stride::default(),
        };
        let mut out = access(2);
        out.outer.truncate(self.kept);
        let dims = |operand: usize| self.orders[operand].iter().map(|&a| Dim::Static(self.lens[a])).collect();
        let einsum = Einsum {
            axes: self.lens.iter().map(|&n| Dim::Static(n)).collect(),
            kept: self.kept,
            operands: vec![access(0), access(1)],
            out,
        };
        let step = Step { kernel: Kernel::Einsum(einsum), label: String::new(), span: Span::NONE };
        let output = PlanOutput { name: "out".into(), buffer: BufferId(2), order: (0..self.kept).collect() };
        Plan {
            buffers: (0..3).map(|operand| Buffer { dims: dims(operand) }).collect(),
            inputs: vec![Some(BufferId(0)), Some(BufferId(1))],
            steps: vec![step],
            outputs: vec![output],
            ..Plan::default()
        }
    }

    /// The result in 64-bit arithmetic, and how large its terms are together.
    fn expected(&self, left: &[f32], right: &[f32]) -> Vec<(f64, f64)> {
        let strides = [self.strides(0), self.strides(1), self.strides(2)];
        let mut out = vec![(0.0, 0.0); self.size(2)];
        let mut at = vec![0; self.lens.len()];
        loop {
            let place =
                |operand: usize| -> usize { at.iter().zip(&strides[operand]).map(|(i, s)| i * s).sum() };
            let term = f64::from(left[place(0)]) * f64::from(right[place(1)]);
            let element = &mut out[place(2)];
            *element = (element.0 + term, element.1 + term.abs());
            let Some(axis) = (0..at.len()).rev().find(|&a| at[a] + 1 < self.lens[a]) else { return out };
            at[axis] += 1;
            at[axis + 1..].fill(0);
        }
    }
}

#[test]
fn joins_of_two_dense_tensors_are_what_they_mean() {
    for seed in 0..60 {
        let mut numbers = Numbers(seed);
        let join = Join::random(&mut numbers);
        let (left, right) = (numbers.values(join.size(0)), numbers.values(join.size(1)));
        let plan = Arc::new(join.plan());
        let mut first: Option<Vec<f32>> = None;
        for isa in Isa::available() {
            for threads in [1, 3] {
                let backend = CpuBackend::with(Arc::new(Pool::new(threads)), isa).unwrap();
                let mut executable = backend.prepare(Arc::clone(&plan)).unwrap();
                executable.run(&mut [], &[&left, &right]).unwrap();
                let found = executable.output(0).to_vec();
                assert_eq!(
                    &found,
                    first.get_or_insert_with(|| found.clone()),
                    "seed {seed}, {isa}, {threads} threads"
                );
            }
        }
        let found = first.unwrap();
        let expected = join.expected(&left, &right);
        assert_eq!(found.len(), expected.len());
        for (found, (sum, size)) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - sum).abs() <= 1e-5 * size + 1e-6,
                "seed {seed}: {found} is not {sum}"
            );
        }
    }
}

#[test]
fn limits_of_the_machine_are_positive() {
    let limits = tl_cpu::limits::Limits::measure(&Pool::new(1), Isa::detect());
    assert!(limits.read > 0.0 && limits.float > 0.0 && limits.integer > 0.0, "{limits:?}");
}
