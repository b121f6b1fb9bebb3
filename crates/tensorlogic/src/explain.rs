//! What a generator does, as data: kernels, what is remembered, bytes and operations for each token.
//!
//! The numbers follow from the plan alone: a matrix is read once a step whatever the number of rows, and a product of
//! `k` with `n` takes `2 · k · n` operations a row.
//! A [`StepSize`] says what step the numbers are for; unless said otherwise, it is one row without a past.

use std::fmt;

use tl_exec::kernel::{Attention, Dim, Kernel, Plan, Source, Step, StoreSpec, WeightId};
use tl_syntax::Span;
use tl_tensor::DType;

use crate::generator::Generator;

/// The account of a generator.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// What it runs on.
    pub backend: String,
    /// The kernels of a step, in order.
    pub kernels: Vec<KernelLine>,
    /// Kernels that ran once, when the plan was prepared.
    pub setup: usize,
    /// What a sequence remembers.
    pub stores: Vec<StoreLine>,
    /// The tensors of the file that are read, and their bytes.
    pub weights: usize,
    /// Bytes of those tensors that a step of one row reads.
    pub bytes_per_token: usize,
    /// Operations of a step of one row, without those that grow with the length of the sequence; a multiply-add is two.
    pub flops_per_token: usize,
    /// Bytes of rows that are remembered for each position, without end.
    pub growing_bytes_per_position: usize,
    /// Bytes of rows of windows: a bound that is independent of the length of the sequence.
    pub window_bytes: usize,
}

/// A kernel of a plan.
#[derive(Clone, Debug)]
pub struct KernelLine {
    /// What it is: `matmul`, `attention`, `loop`.
    pub kind: &'static str,
    /// The tensors of the program that it computes.
    pub label: String,
    /// The equation that it came from.
    pub span: Span,
    /// Bytes of weights, and of remembered rows, that it reads.
    pub bytes: usize,
    /// Operations.
    pub flops: usize,
    /// Whether these are operations on integers, as products of quantized weights are.
    pub integer: bool,
    /// Which step of the plan it is, or is nested in.
    pub step: usize,
    /// How deep it is nested: 1 inside a run for each sequence or row.
    pub depth: usize,
}

/// A step that an account is given for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepSize {
    /// Rows of the step.
    pub rows: usize,
    /// Rows whose results are wanted.
    pub wanted: usize,
    /// Positions that each row reads of what is remembered.
    pub past: usize,
}

impl StepSize {
    /// One row without a past.
    pub const ROW: StepSize = StepSize { rows: 1, wanted: 1, past: 0 };
}

/// A store of a plan.
#[derive(Clone, Debug)]
pub struct StoreLine {
    /// The tensor of the program.
    pub name: String,
    /// Values in a row.
    pub width: usize,
    /// How many rows are kept; `None` keeps all.
    pub window: Option<usize>,
    /// The element type that they are kept in.
    pub dtype: DType,
}

impl StoreLine {
    /// Which rows are kept, in words.
    pub fn kept(&self) -> String {
        match self.window {
            None => "all rows".to_owned(),
            Some(1) => "one row".to_owned(),
            Some(rows) => format!("a ring of {rows} rows"),
        }
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.dtype.row_bytes(self.width).unwrap_or(self.width * size_of::<f32>())
    }
}

impl Explanation {
    /// The account of a generator.
    pub fn of(generator: &Generator) -> Explanation {
        let mut explanation = Self::of_plan(generator.plan());
        explanation.backend = generator.engine().name();
        explanation
    }

    /// The account of a plan.
    pub fn of_plan(plan: &Plan) -> Explanation {
        Self::of_step(plan, StepSize::ROW)
    }

    /// The account of a plan, its kernels for a step of this size.
    pub fn of_step(plan: &Plan, size: StepSize) -> Explanation {
        let mut out = Explanation { setup: plan.setup.len(), weights: plan.weights.len(), ..Self::default() };
        for (number, step) in plan.steps.iter().enumerate() {
            collect(plan, step, number, 0, size, &mut out.kernels);
        }
        out.bytes_per_token = out.kernels.iter().map(|k| k.bytes).sum();
        out.flops_per_token = out.kernels.iter().map(|k| k.flops).sum();
        for spec in &plan.stores {
            let StoreSpec { name, width, window, dtype, scanned } = spec.clone();
            // Of rows that are read one by one, the step's own is not kept: what `h[p - 1]` needs is one row.
            let window = window.map(|rows| if scanned { rows } else { rows.saturating_sub(1).max(1) });
            let line = StoreLine { name, width, window, dtype };
            match line.window {
                None => out.growing_bytes_per_position += line.row_bytes(),
                Some(rows) => out.window_bytes += rows * line.row_bytes(),
            }
            out.stores.push(line);
        }
        out
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "runs on {}", self.backend)?;
        writeln!(f, "\nkernels of a step ({}, and {} once at the start)", self.kernels.len(), self.setup)?;
        for kernel in &self.kernels {
            write!(f, "  {:depth$}{:<10} {}", "", kernel.kind, kernel.label, depth = 2 * kernel.depth)?;
            if kernel.bytes > 0 {
                write!(f, "  ({} of weights)", bytes(kernel.bytes))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\nremembered for each sequence")?;
        for store in &self.stores {
            writeln!(f, "  {:<12} {}, {} a row", store.name, store.kept(), bytes(store.row_bytes()))?;
        }
        writeln!(
            f,
            "  in all {} for each position, and {} that do not grow",
            bytes(self.growing_bytes_per_position),
            bytes(self.window_bytes)
        )?;
        writeln!(
            f,
            "\nfor each token {} of weights, {:.3} Gop",
            bytes(self.bytes_per_token),
            self.flops_per_token as f64 / 1e9
        )
    }
}

fn collect(plan: &Plan, step: &Step, number: usize, depth: usize, size: StepSize, out: &mut Vec<KernelLine>) {
    if let Kernel::PerSequence(inner) | Kernel::Scan(inner) = &step.kernel {
        inner.iter().for_each(|step| collect(plan, step, number, depth + 1, size, out));
        return;
    }
    let Cost { kind, bytes, flops } = size.cost(plan, &step.kernel);
    let integer =
        matches!(&step.kernel, Kernel::MatMul(m) if m.weights.iter().any(|w| is_quantized(plan, w.source)));
    out.push(KernelLine {
        kind,
        label: step.label.clone(),
        span: step.span,
        bytes,
        flops,
        integer,
        step: number,
        depth,
    });
}

/// A kernel's name, the bytes of weights and remembered rows that it reads, and its operations.
struct Cost {
    kind: &'static str,
    bytes: usize,
    flops: usize,
}

impl StepSize {
    fn cost(self, plan: &Plan, kernel: &Kernel) -> Cost {
        let cost = |kind, bytes, flops| Cost { kind, bytes, flops };
        match kernel {
            Kernel::MatMul(matmul) => {
                let rows = self.product(&plan.buffers[matmul.input.index()].dims) / matmul.k.max(1);
                let read = matmul.weights.iter().map(|w| source_bytes(plan, w.source)).sum();
                let flops = matmul.weights.iter().map(|w| 2 * rows * matmul.k * w.n).sum();
                cost("matmul", read, flops)
            }
            Kernel::Loop(l) => {
                let positions = self.product(&l.outer) * self.len(l.inner);
                cost("loop", 0, positions * l.tape.instrs.len())
            }
            Kernel::Attention(attention) => self.attention(plan, attention),
            Kernel::Gather(gather) => {
                let row = source_bytes(plan, gather.table) / gather.rows.max(1);
                cost("gather", row * self.product(&plan.buffers[gather.index.index()].dims), 0)
            }
            Kernel::Scatter(scatter) => {
                cost("scatter", 4 * scatter.count * scatter.width, scatter.count * scatter.width)
            }
            Kernel::Einsum(einsum) => cost("einsum", 0, self.product(&einsum.axes) * einsum.operands.len()),
            Kernel::Remember { .. } => cost("remember", 0, 0),
            Kernel::Recall { .. } | Kernel::RecallAll { .. } => cost("recall", 0, 0),
            Kernel::TakeWanted { .. } => cost("take", 0, 0),
            Kernel::Decode { weight, .. } => cost("decode", weight_bytes(plan, *weight), 0),
            Kernel::PerSequence(_) | Kernel::Scan(_) => cost("nested", 0, 0),
        }
    }

    /// What is remembered is read once for all rows, and multiplied with each.
    fn attention(self, plan: &Plan, attention: &Attention) -> Cost {
        let past =
            attention.window.0.map_or(self.past, |first| self.past.min(first.unsigned_abs() as usize + 1));
        let width = attention.key_width + attention.value_width;
        let rows =
            self.len(plan.buffers[attention.out.buffer.index()].dims.first().copied().unwrap_or(Dim::Rows));
        Cost {
            kind: "attention",
            bytes: past * attention.heads * width * size_of::<f32>(),
            flops: 2 * rows * past * attention.heads * attention.queries * width,
        }
    }

    fn product(self, dims: &[Dim]) -> usize {
        dims.iter().map(|&dim| self.len(dim)).product()
    }

    fn len(self, dim: Dim) -> usize {
        match dim {
            Dim::Static(n) => n,
            Dim::Rows => self.rows,
            Dim::Wanted => self.wanted,
            Dim::Stream => self.past.max(1),
        }
    }
}

fn is_quantized(plan: &Plan, source: Source) -> bool {
    match source {
        Source::Weight(id) => plan.weights[id.index()].tensor.dtype().kind() == tl_tensor::Kind::Quantized,
        Source::Buffer(_) => false,
    }
}

fn source_bytes(plan: &Plan, source: Source) -> usize {
    match source {
        Source::Weight(id) => weight_bytes(plan, id),
        Source::Buffer(_) => 0,
    }
}

fn weight_bytes(plan: &Plan, id: WeightId) -> usize {
    plan.weights[id.index()].tensor.data().len()
}

/// A number of bytes as a person writes it: `96.6 MB`.
fn bytes(n: usize) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}
