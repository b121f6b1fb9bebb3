//! The contract for backends: plans, kernels, tapes, buffers, and what a run is given.
//!
//! A [`Plan`] computes the rows of a *step*: `n` new rows of the stream, of one sequence or of several stacked. Each buffer
//! is a dense `f32` tensor, row-major, slowest dimension first, whose dimensions are static, [`Dim::Rows`] (the rows of the
//! step) or [`Dim::Stream`] (the positions of one sequence). A graph without a stream has neither and is one step.
//!
//! Kernels run in the order of the list:
//!
//! ```text
//! setup kernels          once, when the plan is prepared; their buffers keep their values
//! for each step:
//!     step kernels       on all rows of the step …
//!     PerSequence(…)     … but these once for each sequence, on its rows alone
//!     Scan(…)            … and these once for each row of each sequence, in order
//! ```
//!
//! What a sequence remembers between steps is in its [`State`](crate::state::State): one store a remembered tensor.
//!
//! Invariants: a buffer is written by one kernel, or in parts by several; a kernel never reads what it writes; the value of a row depends neither on how many rows the step has nor on which thread computes it.

use std::ops::Range;
use std::sync::Arc;

use tl_ir::{Reduction, Scalar, Span};
use tl_tensor::{DType, Tensor};

macro_rules! define_id {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub u32);

        impl $name {
            /// The number as an index into the plan's list.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )* };
}

define_id! {
    /// A buffer of its plan.
    BufferId;
    /// A weight of its plan.
    WeightId;
    /// A store of its plan, and of each sequence's state.
    StoreId;
}

/// Everything that a backend needs to run a graph.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The buffers, by id.
    pub buffers: Vec<Buffer>,
    /// Tensors of files, by id: matrices in their own element type, rows slowest.
    pub weights: Vec<PlanWeight>,
    /// Values that are known now: `(buffer, values)`. Such a buffer is written by nothing else.
    pub constants: Vec<(BufferId, Arc<[f32]>)>,
    /// What a sequence remembers, by id.
    pub stores: Vec<StoreSpec>,
    /// Run once. They have no rows.
    pub setup: Vec<Step>,
    /// Run for each step.
    pub steps: Vec<Step>,
    /// The buffers that the arguments are copied to, by argument number.
    pub inputs: Vec<Option<BufferId>>,
    /// Where the absolute position of each row stands, if a kernel reads it: dimensions `[Rows]`.
    pub positions: Option<BufferId>,
    /// The same for the wanted rows: dimensions `[Wanted]`.
    pub wanted_positions: Option<BufferId>,
    /// The results.
    pub outputs: Vec<PlanOutput>,
}

/// A kernel with where it came from.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done.
    pub kernel: Kernel,
    /// The tensors of the program that it computes, to print.
    pub label: String,
    /// The equation that it came from.
    pub span: Span,
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub struct PlanWeight {
    /// Its name in the file.
    pub name: Arc<str>,
    /// Its values.
    pub tensor: Tensor,
}

/// A result: a buffer and the strides to read it in the order of axes that was asked for.
#[derive(Clone, Debug)]
pub struct PlanOutput {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands.
    pub buffer: BufferId,
    /// The position in the buffer's dimensions of each axis that was asked for, slowest first.
    pub order: Vec<usize>,
}

/// How many positions a dimension has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dim {
    /// So many.
    Static(usize),
    /// The rows of the step.
    Rows,
    /// The rows of the step whose results are wanted (the last of each sequence, or all).
    Wanted,
    /// The positions of the sequence from 0 to its last row of this step.
    Stream,
}

/// A dense `f32` tensor in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its dimensions, slowest first; at most one is a row dimension, which is then the first, and at most one is [`Dim::Stream`].
    pub dims: Vec<Dim>,
}

/// What a sequence remembers of a tensor: a row of `width` values for each position that later rows may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// The tensor of the program, to print.
    pub name: String,
    /// Values in a row.
    pub width: usize,
    /// How many rows back a row is still read, itself included; `None` keeps all.
    pub window: Option<usize>,
    /// The element type that rows are kept in: one that can be written, and of whose blocks a row is a whole number.
    pub dtype: DType,
    /// Whether a kernel reads runs of rows. If none does, rows are read one by one, at fixed distances.
    pub scanned: bool,
}

impl StoreSpec {
    /// The element type for rows of this store where `dtype` is asked for. Rows that are read at fixed distances are what the next row is made of, so
    /// that rounding would add up: they stay `f32`. Rows that would cut a block are kept in 16 bits.
    pub fn fitting(&self, dtype: DType) -> DType {
        match dtype.row_bytes(self.width) {
            _ if !self.scanned => DType::F32,
            Some(_) if dtype.info().encode.is_some() => dtype,
            _ => DType::F16,
        }
    }
}

/// What is computed. One fork-join each, at most.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// Matrix products that share their left operand, and what follows them pointwise.
    MatMul(MatMul),
    /// Fused pointwise functions and reductions along one axis.
    Loop(Loop),
    /// Guarded attention over stored rows.
    Attention(Attention),
    /// Rows of a table selected by an index.
    Gather(Gather),
    /// Rows that are brought together at computed positions.
    Scatter(Scatter),
    /// Any other join of dense tensors.
    Einsum(Einsum),
    /// Appends the rows of the step to a store.
    Remember {
        /// Dimensions `[Rows, …]`, as many values a row as the store is wide.
        from: BufferId,
        /// Where they go.
        store: StoreId,
    },
    /// Reads stored rows at fixed distances: `out[row][tap] = store[position(row) + taps[tap]]`, 0 before the start.
    Recall {
        /// What is read.
        store: StoreId,
        /// Distances, each ≤ 0.
        taps: Vec<i64>,
        /// Dimensions `[Rows, taps (if there are several), …]`.
        out: BufferId,
    },
    /// Copies all stored rows: `out[t] = store[t]` for each position that the sequence has, 0 for those not kept.
    RecallAll {
        /// What is read.
        store: StoreId,
        /// Dimensions `[Stream, …]`.
        out: BufferId,
    },
    /// Copies the wanted rows: `out[i] = from[wanted[i]]`.
    TakeWanted {
        /// Dimensions `[Rows, …]`.
        from: BufferId,
        /// Dimensions `[Wanted, …]`.
        out: BufferId,
    },
    /// A weight's values as `f32`. In setup only.
    Decode {
        /// What is read.
        weight: WeightId,
        /// As many values as the weight has.
        out: BufferId,
    },
    /// These, once for each sequence, on its rows alone.
    PerSequence(Vec<Step>),
    /// These, once for each row of each sequence, in order of position.
    Scan(Vec<Step>),
}

/// `acc_i[row][j] = Σ_k input[row][k] · weight_i[j][k]` for each weight `i`, then the epilogue, or `outs[i] = acc_i`.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// Dimensions `[rows…, K…]`: as many rows as its size divided by `k`, contiguous.
    pub input: BufferId,
    /// Length of the contracted axis.
    pub k: usize,
    /// The right operands: matrices of `n` rows of `k` values.
    pub weights: Vec<MatWeight>,
    /// With no epilogue: where each product goes, dimensions `[rows…, n…]`. Else empty.
    pub outs: Vec<BufferId>,
    /// What follows, pointwise over `[rows…, n]`; then all weights have the same `n`.
    pub epilogue: Option<Epilogue>,
}

/// A right operand of a [`MatMul`].
#[derive(Clone, Debug)]
pub struct MatWeight {
    /// A tensor of a file or a dense buffer without rows.
    pub source: Source,
    /// Rows of the matrix: length of the axis of the product.
    pub n: usize,
}

/// Where a kernel's dense operand comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A buffer.
    Buffer(BufferId),
    /// A tensor of a file, in its own element type.
    Weight(WeightId),
}

/// A tape that runs after a matrix product, over a piece of the axis `n` of one row at a time.
///
/// The one outer axis is the row of the product; the inner axis is `n`, cut into pieces. Vector registers `0..weights` hold the
/// pieces of the products when the tape starts. It has no reductions.
#[derive(Clone, Debug)]
pub struct Epilogue {
    /// What is computed.
    pub tape: Tape,
}

/// For each position of the outer axes, a tape over vectors along the inner axis.
#[derive(Clone, Debug)]
pub struct Loop {
    /// The outer axes, slowest first. A row dimension, if there is one, is the first.
    pub outer: Vec<Dim>,
    /// The inner axis: the length of vector registers.
    pub inner: Dim,
    /// What is computed at each position.
    pub tape: Tape,
}

/// A straight-line program over vector registers (of the inner axis' length) and scalar registers.
///
/// If it has no reduction and no softmax, the inner axis may be cut into pieces.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// How many vector registers there are.
    pub vectors: u16,
    /// How many scalar registers there are.
    pub scalars: u16,
    /// The instructions, in order. Each register is written before it is read.
    pub instrs: Vec<Instr>,
}

/// A register of a tape.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reg {
    /// A vector along the inner axis.
    Vector(u16),
    /// One value.
    Scalar(u16),
}

/// An instruction of a tape.
#[derive(Clone, Debug)]
pub enum Instr {
    /// A vector (or, into a scalar register, the one value at inner position 0) from a buffer.
    Load {
        /// Where it goes.
        into: Reg,
        /// Where it stands.
        from: Access,
    },
    /// A constant into a scalar register.
    Const {
        /// Where it goes.
        into: Reg,
        /// The constant.
        value: f32,
    },
    /// The numbers of the positions along the inner axis, as a vector.
    InnerIndex {
        /// Where it goes.
        into: Reg,
    },
    /// The number of the position along an outer axis (counted from 0, not a position of the stream), as a scalar.
    OuterIndex {
        /// Where it goes.
        into: Reg,
        /// Which outer axis.
        axis: u16,
    },
    /// A pointwise function; a vector if one of its arguments is.
    Map {
        /// Which function.
        scalar: Scalar,
        /// Where it goes.
        into: Reg,
        /// Its arguments; those beyond its arity repeat the first.
        args: [Reg; 3],
    },
    /// A reduction of a vector to a scalar.
    Reduce {
        /// Which.
        kind: Reduction,
        /// Where it goes.
        into: Reg,
        /// The vector.
        from: Reg,
    },
    /// The softmax of a vector; 0 where it is −∞.
    Softmax {
        /// Where it goes.
        into: Reg,
        /// The vector.
        from: Reg,
    },
    /// A vector read at computed positions along one or more axes of a buffer, 0 where one of them is outside:
    /// `into[i] = buffer[from(outer, 0) + Σ_a position_a(outer, i) · stride_a]`.
    LoadAt {
        /// Where it goes: a vector, or a scalar register for inner position 0 alone.
        into: Reg,
        /// The axes that are read at the loop's own positions. Its inner stride counts too.
        from: Access,
        /// The axes that are read at computed positions.
        at: Vec<Position>,
    },
    /// A register to a buffer. A scalar register stores one value, at inner position 0.
    Store {
        /// What is stored.
        from: Reg,
        /// Where it goes.
        to: Access,
        /// How what is there becomes one with what is stored, if it does.
        fold: Option<Fold>,
    },
}

/// A reduction along an outer axis, the last of its loop, along which the result does not vary: at the first position values are stored, at the
/// others combined with what is there, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fold {
    /// The sum, product, maximum or minimum.
    pub kind: Reduction,
    /// The outer axis.
    pub axis: u16,
}

impl Tape {
    /// About how many vector instructions a run over so many vectors takes, what it costs to begin each instruction included.
    pub fn cost(&self, vectors: usize) -> usize {
        const BEGIN: usize = 4;
        let each = |instr: &Instr| match instr {
            Instr::Map { scalar, .. } => scalar.info().cost,
            Instr::Softmax { .. } => Scalar::Exp.info().cost,
            _ => 1,
        };
        self.instrs.iter().map(|instr| BEGIN + vectors * each(instr)).sum()
    }

    /// The outer axis along which it folds.
    pub fn fold(&self) -> Option<usize> {
        self.instrs.iter().find_map(|i| match i {
            Instr::Store { fold: Some(fold), .. } => Some(usize::from(fold.axis)),
            _ => None,
        })
    }
}

/// A computed position along one axis of a buffer: `n = Σ outer · coefficient + inner · coefficient + offset`, divided by `divisor`.
/// It is outside if it is negative or not below `limit`, or, where `exact`, if `n` is not divisible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// A coefficient for each outer axis.
    pub outer: Vec<i64>,
    /// The coefficient of the inner axis.
    pub inner: i64,
    /// The constant term.
    pub offset: i64,
    /// ≥ 1; division rounds down.
    pub divisor: i64,
    /// Whether only multiples of the divisor are positions.
    pub exact: bool,
    /// The length of the axis that is read.
    pub limit: Dim,
    /// Elements between neighbours along the axis that is read.
    pub stride: Stride,
}

/// Where the elements of a tensor stand for the positions of a loop: `offset + Σ outer · stride + inner · stride`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The buffer.
    pub buffer: BufferId,
    /// Of the element at position 0 of every axis.
    pub offset: usize,
    /// For each outer axis the step between neighbours, 0 where it is not an axis of the tensor.
    pub outer: Vec<Stride>,
    /// The step along the inner axis.
    pub inner: Stride,
}

/// A distance between elements: `step`, times the length of the stream if it spans a [`Dim::Stream`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stride {
    /// Elements, or multiples of the stream's length.
    pub step: usize,
    /// Whether to multiply by the buffer's stream length.
    pub of_stream: bool,
}

/// For each row, head and query: `out = Σ_t softmax_t(map(q · k[t])) v[t]` over the stored rows `t` of the row's own sequence
/// with `window.0 ≤ t − position ≤ window.1`.
///
/// `k` and `v` are stores whose rows are `[heads][width]`, in the given strides. If no `t` is left, the result is 0.
#[derive(Clone, Debug)]
pub struct Attention {
    /// How many heads have keys and values of their own.
    pub heads: usize,
    /// How many queries share each.
    pub queries: usize,
    /// Length of a query and of a key.
    pub key_width: usize,
    /// Length of a value and of a result.
    pub value_width: usize,
    /// Outer axes `[Rows, heads, queries]`, inner axis `key_width`.
    pub query: Access,
    /// The keys.
    pub key: StoredRows,
    /// The values.
    pub value: StoredRows,
    /// The earliest and the latest offset `t − position` that is read; no earliest: from the start. The latest is ≤ 0.
    pub window: (Option<i64>, i64),
    /// What becomes of the scores before the softmax: vector register 0 holds `q · k[t]` for a run of `t` (the inner axis, whose
    /// [`Instr::InnerIndex`] is the absolute position) when the tape starts; the outer axes are `[Rows, heads, queries]`.
    pub map: Option<ScoreMap>,
    /// Outer axes `[Rows, heads, queries]`, inner axis `value_width`.
    pub out: Access,
}

/// A store that attention reads.
#[derive(Clone, Debug)]
pub struct StoredRows {
    /// Which.
    pub store: StoreId,
    /// Elements between the heads of a row.
    pub head_stride: usize,
    /// Elements between the values of a head.
    pub stride: usize,
}

/// A tape over scores. −∞ excludes a position. No reductions.
#[derive(Clone, Debug)]
pub struct ScoreMap {
    /// What is computed.
    pub tape: Tape,
    /// The vector register that holds the result.
    pub result: Reg,
}

/// `out[i][j] = table[index[i]][j]`, 0 where the index is outside.
#[derive(Clone, Debug)]
pub struct Gather {
    /// A matrix of `rows` rows of `width` values.
    pub table: Source,
    /// How many rows the table has.
    pub rows: usize,
    /// Length of a row.
    pub width: usize,
    /// As many indices as `out` has rows.
    pub index: BufferId,
    /// `[index…, width…]`.
    pub out: BufferId,
}

/// `out[n][j] = kind over { i : positions[i] = n } of value[i][j]`, in the order of `i`; what `kind` leaves as it is where there is no such `i`. Positions outside
/// are skipped.
#[derive(Clone, Debug)]
pub struct Scatter {
    /// How values that meet become one.
    pub kind: Reduction,
    /// `[count, width]`.
    pub value: BufferId,
    /// `[count]`: whole numbers.
    pub positions: BufferId,
    /// How many rows are scattered.
    pub count: usize,
    /// Length of a row.
    pub width: usize,
    /// How many rows the result has.
    pub size: usize,
    /// `[size, width]`.
    pub out: BufferId,
}

impl Scatter {
    /// Brings the elements `elements` to rows `first..` of the result, as many as `out` holds, which the first element begins: the definition of
    /// the kernel, and as fast as memory allows.
    pub fn rows(
        &self,
        first: usize,
        elements: Range<usize>,
        value: &[f32],
        positions: &[f32],
        out: &mut [f32],
    ) {
        if elements.start == 0 {
            out.fill(self.kind.identity() as f32);
        }
        let last = first + out.len() / self.width.max(1);
        for (i, &position) in elements.clone().zip(&positions[elements]) {
            let inside = position >= 0.0 && (first..last).contains(&(position as usize));
            if !inside {
                continue;
            }
            let to = &mut out[(position as usize - first) * self.width..][..self.width];
            let from = &value[i * self.width..][..self.width];
            let pairs = to.iter_mut().zip(from);
            match self.kind {
                Reduction::Max => pairs.for_each(|(to, &x)| *to = to.max(x)),
                Reduction::Min => pairs.for_each(|(to, &x)| *to = to.min(x)),
                Reduction::Prod => pairs.for_each(|(to, &x)| *to *= x),
                _ => pairs.for_each(|(to, &x)| *to += x),
            }
        }
    }
}

/// `out[kept axes] = Σ_{summed axes} Π operands`, over dense buffers.
#[derive(Clone, Debug)]
pub struct Einsum {
    /// The axes that are kept, then those that are summed.
    pub axes: Vec<Dim>,
    /// How many of them are kept.
    pub kept: usize,
    /// The factors: `outer` has a stride for each of `axes`, `inner` is unused.
    pub operands: Vec<Access>,
    /// The result: `outer` has a stride for each kept axis, `inner` is unused.
    pub out: Access,
}

impl Kernel {
    /// Calls `f` with every buffer that the kernel uses, and whether it writes it. A buffer may come several times.
    pub fn each_buffer(&self, f: &mut dyn FnMut(BufferId, bool)) {
        match self {
            Kernel::MatMul(m) => {
                f(m.input, false);
                m.weights.iter().for_each(|w| w.source.each_buffer(f));
                m.outs.iter().for_each(|&b| f(b, true));
                m.epilogue.iter().for_each(|e| e.tape.each_buffer(f));
            }
            Kernel::Loop(l) => l.tape.each_buffer(f),
            Kernel::Attention(a) => {
                f(a.query.buffer, false);
                a.map.iter().for_each(|m| m.tape.each_buffer(f));
                f(a.out.buffer, true);
            }
            Kernel::Gather(g) => {
                g.table.each_buffer(f);
                f(g.index, false);
                f(g.out, true);
            }
            Kernel::Scatter(s) => {
                f(s.value, false);
                f(s.positions, false);
                f(s.out, true);
            }
            Kernel::Einsum(e) => {
                e.operands.iter().for_each(|o| f(o.buffer, false));
                f(e.out.buffer, true);
            }
            Kernel::Remember { from, .. } => f(*from, false),
            Kernel::Recall { out, .. } | Kernel::RecallAll { out, .. } | Kernel::Decode { out, .. } => {
                f(*out, true)
            }
            Kernel::TakeWanted { from, out } => {
                f(*from, false);
                f(*out, true);
            }
            Kernel::PerSequence(steps) | Kernel::Scan(steps) => {
                steps.iter().for_each(|s| s.kernel.each_buffer(f))
            }
        }
    }
}

impl Source {
    fn each_buffer(self, f: &mut dyn FnMut(BufferId, bool)) {
        if let Source::Buffer(buffer) = self {
            f(buffer, false);
        }
    }
}

impl Tape {
    fn each_buffer(&self, f: &mut dyn FnMut(BufferId, bool)) {
        for instr in &self.instrs {
            match instr {
                Instr::Load { from, .. } | Instr::LoadAt { from, .. } => f(from.buffer, false),
                Instr::Store { to, .. } => f(to.buffer, true),
                _ => {}
            }
        }
    }
}
