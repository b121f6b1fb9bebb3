//! Random loops against the scalar backend: every instruction, strides in any order, pieces and threads.

use std::sync::Arc;

use proptest::prelude::*;
use tl_cpu::{CpuBackend, Isa};
use tl_exec::kernel::{
    Access, Buffer, BufferId, Dim, Instr, Kernel, Loop, Plan, PlanOutput, Position, Reg, Step, Stride, Tape,
};
use tl_exec::run::Backend;
use tl_exec::scalar::ScalarBackend;
use tl_ir::{Reduction, Scalar, Span};

/// A stream of random choices.
struct Dice<'a>(std::slice::Iter<'a, u32>);

impl Dice<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.0.next().map_or(0, |&v| v as usize % n)
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// A loop that is being made up, and the buffers that it uses.
struct Made {
    plan: Plan,
    outer: Vec<usize>,
    inner: usize,
    tape: Tape,
    /// The registers that hold a value, and what the backends may differ by there.
    values: Vec<(Reg, Trust)>,
}

/// How closely backends agree on a value. What would magnify a difference is only done to values that have none, so that one
/// tolerance fits all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    /// Within some units in the last place.
    Rounded,
    /// The same bits.
    Exact,
    /// The same bits, and a small multiple of 1/8: sums of many are exact in any order.
    Grid,
}

fn stride(step: usize) -> Stride {
    Stride { step, of_stream: false }
}

impl Made {
    fn new(outer: &[usize], inner: usize) -> Self {
        let (plan, tape) = (Plan::default(), Tape::default());
        Self { plan, outer: outer.to_vec(), inner, tape, values: Vec::new() }
    }

    fn vector(&mut self) -> Reg {
        self.tape.vectors += 1;
        Reg::Vector(self.tape.vectors - 1)
    }

    fn scalar(&mut self) -> Reg {
        self.tape.scalars += 1;
        Reg::Scalar(self.tape.scalars - 1)
    }

    fn push(&mut self, instr: Instr, trust: Trust) {
        self.values.extend(instr.writes().map(|reg| (reg, trust)));
        self.tape.instrs.push(instr);
    }

    fn buffer(&mut self, size: usize) -> BufferId {
        self.plan.buffers.push(Buffer { dims: vec![Dim::Static(size)] });
        BufferId(self.plan.buffers.len() as u32 - 1)
    }

    fn input(&mut self, size: usize) -> BufferId {
        let buffer = self.buffer(size);
        self.plan.inputs.push(Some(buffer));
        buffer
    }

    /// Strides of a tensor with some of the loop's axes, in a random order, and its size.
    fn dense(&mut self, dice: &mut Dice<'_>, with_inner: bool, all: bool) -> (Vec<Stride>, Stride, usize) {
        let mut steps = vec![0; self.outer.len() + 1];
        let mut order: Vec<usize> = (0..self.outer.len() + usize::from(with_inner)).collect();
        for i in (1..order.len()).rev() {
            // Mostly as they are: neighbours side by side.
            if dice.chance(3) {
                order.swap(i, dice.below(i + 1));
            }
        }
        let mut size = 1;
        for &axis in order.iter().rev() {
            let len = *self.outer.get(axis).unwrap_or(&self.inner);
            if all || !dice.chance(4) {
                steps[axis] = size;
                size *= len;
            }
        }
        let inner = stride(steps.pop().unwrap());
        (steps.into_iter().map(stride).collect(), inner, size)
    }

    fn load(&mut self, dice: &mut Dice<'_>) {
        let is_vector = !dice.chance(4);
        let (outer, inner, size) = self.dense(dice, is_vector, false);
        let offset = dice.below(3);
        let buffer = self.input(size + offset);
        let into = if is_vector { self.vector() } else { self.scalar() };
        let from = Access { buffer, offset, outer, inner };
        if !dice.chance(4) {
            return self.push(Instr::Load { into, from }, Trust::Grid);
        }
        let limit = 1 + dice.below(6);
        self.plan.buffers[buffer.index()].dims.push(Dim::Static(limit));
        let place = Position {
            outer: self.outer.iter().map(|_| dice.below(3) as i64 - 1).collect(),
            inner: if is_vector { dice.below(3) as i64 - 1 } else { 0 },
            offset: dice.below(7) as i64 - 2,
            divisor: 1 + dice.below(3) as i64,
            exact: dice.chance(2),
            limit: Dim::Static(limit),
            stride: stride(size + offset),
        };
        self.push(Instr::LoadAt { into, from, at: vec![place] }, Trust::Grid);
    }

    fn map(&mut self, dice: &mut Dice<'_>) {
        let table = Scalar::TABLE;
        let info = &table[dice.below(table.len())];
        let picked: Vec<(Reg, Trust)> =
            (0..info.arity).map(|_| self.values[dice.below(self.values.len())]).collect();
        let least = picked.iter().map(|p| p.1).min().expect("a function has arguments");
        use Scalar::*;
        let trust = match info.scalar {
            Neg | Abs | Max | Min => least,
            Select if picked[0].1 != Trust::Rounded => least,
            Mul | Div | Sqrt | Tanh | Erf if least == Trust::Rounded => Trust::Rounded,
            _ if least == Trust::Rounded => return,
            Pow | Exp | Log | Sin | Cos | Tanh | Sigmoid | Erf => Trust::Rounded,
            _ => Trust::Exact,
        };
        let into =
            if picked.iter().any(|p| matches!(p.0, Reg::Vector(_))) { self.vector() } else { self.scalar() };
        let at = |i: usize| picked.get(i).unwrap_or(&picked[0]).0;
        self.push(Instr::Map { scalar: info.scalar, into, args: [at(0), at(1), at(2)] }, trust);
    }

    fn reduce(&mut self, dice: &mut Dice<'_>) {
        let vectors: Vec<(Reg, Trust)> =
            self.values.iter().copied().filter(|v| matches!(v.0, Reg::Vector(_))).collect();
        let Some(&(from, trust)) = vectors.get(dice.below(vectors.len().max(1))) else { return };
        use Reduction::*;
        let kind = [Sum, Prod, Max, Min, Argmax, Argmin][dice.below(6)];
        if dice.chance(3) && trust != Trust::Rounded {
            let into = self.vector();
            return self.push(Instr::Softmax { into, from }, Trust::Rounded);
        }
        let trust = match kind {
            Max | Min => trust,
            Argmax | Argmin if trust != Trust::Rounded => Trust::Exact,
            Sum if trust == Trust::Grid => Trust::Exact,
            // A long product overflows at another place in another order.
            Prod if trust == Trust::Grid && self.inner < 40 => Trust::Rounded,
            _ => return,
        };
        let into = self.scalar();
        self.push(Instr::Reduce { kind, into, from }, trust);
    }

    fn instruction(&mut self, dice: &mut Dice<'_>, reduces: bool) {
        match dice.below(12) {
            0..3 => self.load(dice),
            3 => {
                let into = self.scalar();
                self.push(Instr::Const { into, value: dice.below(9) as f32 * 0.5 - 2.0 }, Trust::Grid);
            }
            4 if dice.chance(2) => {
                let into = self.vector();
                self.push(Instr::InnerIndex { into }, Trust::Grid);
            }
            4 if !self.outer.is_empty() => {
                let (into, axis) = (self.scalar(), dice.below(self.outer.len()) as u16);
                self.push(Instr::OuterIndex { into, axis }, Trust::Grid);
            }
            5 | 6 if reduces => self.reduce(dice),
            _ => self.map(dice),
        }
    }

    /// Stores every value to a buffer of its own, and makes the plan.
    fn finish(mut self, dice: &mut Dice<'_>) -> Plan {
        for (reg, _) in self.values.clone() {
            let (outer, inner, size) = self.dense(dice, matches!(reg, Reg::Vector(_)), true);
            let buffer = self.buffer(size);
            let to = Access { buffer, offset: 0, outer, inner };
            self.tape.instrs.push(Instr::Store { from: reg, to, fold: None });
            self.plan.outputs.push(PlanOutput { name: "out".into(), buffer, order: vec![0] });
        }
        let outer = self.outer.iter().map(|&n| Dim::Static(n)).collect();
        let kernel = Kernel::Loop(Loop { outer, inner: Dim::Static(self.inner), tape: self.tape });
        self.plan.steps.push(Step { kernel, label: String::new(), span: Span::NONE });
        self.plan
    }
}

fn run(backend: &dyn Backend, plan: &Arc<Plan>, arguments: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut executable = backend.prepare(Arc::clone(plan)).unwrap();
    let arguments: Vec<&[f32]> = arguments.iter().map(|a| &a[..]).collect();
    executable.run(&mut [], &arguments).unwrap();
    (0..plan.outputs.len()).map(|n| executable.output(n).to_vec()).collect()
}

fn is_close(a: f32, b: f32) -> bool {
    let distance = (a - b).abs();
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() || a == b || distance <= 2e-5 * b.abs().max(1e-3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn loops_mean_the_same_on_every_backend(
        outer in prop::collection::vec(1usize..5, 0..4),
        inner in prop_oneof![1usize..40, 500usize..1100],
        numbers in prop::collection::vec(any::<u32>(), 400),
        length in 1usize..14,
        reduces in any::<bool>(),
    ) {
        let mut dice = Dice(numbers.iter());
        let mut made = Made::new(&outer, inner);
        made.load(&mut dice);
        (0..length).for_each(|_| made.instruction(&mut dice, reduces));
        let plan = Arc::new(made.finish(&mut dice));
        let arguments: Vec<Vec<f32>> = plan
            .inputs
            .iter()
            .flatten()
            .map(|b| {
                let size = plan.buffers[b.index()].dims.iter().map(|d| if let Dim::Static(n) = d { *n } else { 1 }).product();
                (0..size).map(|i: usize| ((i * 7919 + 13 * b.index()) % 61) as f32 / 8.0 - 3.5).collect()
            })
            .collect();
        let expected = run(&ScalarBackend, &plan, &arguments);
        let mut first: Option<Vec<Vec<f32>>> = None;
        for isa in Isa::available() {
            for threads in [1, 3] {
                let found = run(&CpuBackend::new(Some(threads), Some(isa)), &plan, &arguments);
                for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
                        prop_assert!(is_close(f, e), "{isa}, value {n}, element {i}: {f} is not {e}\n{:#?}", plan.steps[0].kernel);
                    }
                }
                // Which zero is the larger of 0 and −0 is left open, and the sign of what is no number.
                let of = |v: &f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
                let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|v| of(v).to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(first.get_or_insert(found.clone())), bits(&found));
            }
        }
    }
}
