//! What a generator does, as data: kernels, what is remembered, bytes and operations for each token.
//!
//! The numbers follow from the plan alone: a matrix is read once a step whatever the number of rows, and a product of
//! `k` with `n` takes `2 · k · n` operations a row.

use std::fmt;

use tl_exec::kernel::{Dim, Kernel, Plan, Source, Step, StoreSpec, WeightId};
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
    /// Bytes of weights that it reads.
    pub bytes: usize,
    /// Operations for one row.
    pub flops: usize,
    /// How deep it is nested: 1 inside a run for each sequence or row.
    pub depth: usize,
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
        let mut out = Explanation { setup: plan.setup.len(), weights: plan.weights.len(), ..Self::default() };
        collect(plan, &plan.steps, 0, &mut out.kernels);
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

fn collect(plan: &Plan, steps: &[Step], depth: usize, out: &mut Vec<KernelLine>) {
    for step in steps {
        if let Kernel::PerSequence(inner) | Kernel::Scan(inner) = &step.kernel {
            collect(plan, inner, depth + 1, out);
            continue;
        }
        let (kind, bytes, flops) = cost(plan, &step.kernel);
        out.push(KernelLine { kind, label: step.label.clone(), span: step.span, bytes, flops, depth });
    }
}

/// A kernel's name, the bytes of weights that it reads for one row, and its operations for one row.
fn cost(plan: &Plan, kernel: &Kernel) -> (&'static str, usize, usize) {
    match kernel {
        Kernel::MatMul(matmul) => {
            let rows = rows_of(plan, matmul.input, matmul.k);
            let read = matmul.weights.iter().map(|w| source_bytes(plan, w.source)).sum();
            let flops = matmul.weights.iter().map(|w| 2 * rows * matmul.k * w.n).sum();
            ("matmul", read, flops)
        }
        Kernel::Loop(l) => {
            let positions: usize = l.outer.iter().map(|&d| static_size(d)).product();
            ("loop", 0, positions * static_size(l.inner) * l.tape.instrs.len())
        }
        Kernel::Attention(_) => ("attention", 0, 0),
        Kernel::Gather(gather) => {
            let row = source_bytes(plan, gather.table) / gather.rows.max(1);
            ("gather", row, 0)
        }
        Kernel::Einsum(einsum) => {
            let positions: usize = einsum.axes.iter().map(|&d| static_size(d)).product();
            ("einsum", 0, positions * einsum.operands.len())
        }
        Kernel::Remember { .. } => ("remember", 0, 0),
        Kernel::Recall { .. } | Kernel::RecallAll { .. } => ("recall", 0, 0),
        Kernel::TakeWanted { .. } => ("take", 0, 0),
        Kernel::Decode { weight, .. } => ("decode", weight_bytes(plan, *weight), 0),
        Kernel::PerSequence(_) | Kernel::Scan(_) => ("nested", 0, 0),
    }
}

/// Rows of a matrix product for one row of the stream.
fn rows_of(plan: &Plan, input: tl_exec::kernel::BufferId, k: usize) -> usize {
    let dims = &plan.buffers[input.index()].dims;
    dims.iter().map(|&d| static_size(d)).product::<usize>() / k.max(1)
}

/// The size of a dimension for a step of one row.
fn static_size(dim: Dim) -> usize {
    match dim {
        Dim::Static(n) => n,
        Dim::Rows | Dim::Wanted | Dim::Stream => 1,
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
