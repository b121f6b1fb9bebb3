//! Kernels of a plan as tasks: with function pointers, sizes and places of weights looked up.

use tl_exec::kernel::{
    Attention, BufferId, Einsum, Epilogue, Gather, Instr, Kernel, Loop, MatMul, MatWeight, Plan, Scatter,
    Source, Step, StoreId,
};
use tl_tensor::{DType, Tensor};

use super::Machine;
use super::arena::Room;
use super::packing::{Packed, Tiled, Weights};
use super::products;
use crate::dispatch::Kernels;
use crate::kernels::dense::Dense;
use crate::kernels::einsum::MAX_OPERANDS;
use crate::kernels::matmul::{GROUP, IntegerKernel, Rows};
use crate::kernels::tape::{Buffers, MAX_AXES, Window};

/// A kernel, ready to run.
pub(super) enum Task {
    Product(Product),
    Pass(Pass),
    Einsum(Einsum),
    /// A join that is a product of two dense tensors.
    Dense(Dense),
    Attention(Attention),
    Move(Move),
    PerSequence(Vec<Task>),
    Scan(Vec<Task>),
}

/// Matrix products of the same rows.
pub(super) struct Product {
    pub input: BufferId,
    /// How the rows of the product follow from those of the window.
    pub rows: RowsOf,
    pub k: usize,
    pub operands: Vec<Operand>,
    /// Whether any operand takes quantized activations.
    pub quantizes: bool,
    pub outs: Vec<BufferId>,
    pub epilogue: Option<Epilogue>,
}

/// The rows of a dense buffer: `per_row` of them for each row of its first dimension, if that is a row dimension.
#[derive(Clone, Copy)]
pub(super) struct RowsOf {
    pub buffer: BufferId,
    pub width: usize,
}

/// The right operand of a product.
pub(super) struct Operand {
    pub matrix: Matrix,
    /// Rows of the matrix.
    pub n: usize,
    /// The same matrix as it is multiplied as integers, if it is.
    pub integer: Option<Weights>,
}

/// A matrix in memory.
#[derive(Clone, Copy)]
pub(super) struct Matrix {
    pub place: Place,
    pub dtype: DType,
    /// Bytes of a row.
    pub row_bytes: usize,
}

/// Where a matrix begins.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// A tensor of a file.
    Fixed(*const u8),
    /// A buffer, which may move.
    Buffer(BufferId),
}

// SAFETY: The pointer is to the bytes of a tensor, which nobody writes and the executable keeps.
#[expect(unsafe_code, reason = "a pointer to shared, immutable bytes")]
unsafe impl Send for Place {}
// SAFETY: As above.
#[expect(unsafe_code, reason = "a pointer to shared, immutable bytes")]
unsafe impl Sync for Place {}

/// A loop and what is known of its tape.
pub(super) struct Pass {
    pub kernel: Loop,
    /// How the inner axis may be cut.
    pub pieces: Pieces,
}

/// How the inner axis of a loop may be cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pieces {
    /// Into places of their own.
    Apart,
    /// Into pieces that follow each other.
    InTurn,
    /// Not at all.
    Whole,
}

/// Rows that are copied.
pub(super) enum Move {
    Gather { gather: Gather, table: Matrix, rows: RowsOf },
    Scatter(Scatter),
    Remember { from: BufferId, store: StoreId, width: usize },
    Recall { store: StoreId, taps: Vec<i64>, out: BufferId, width: usize, wanted: bool },
    RecallAll { store: StoreId, out: BufferId, width: usize },
    TakeWanted { from: BufferId, out: BufferId },
    Decode { matrix: Matrix, len: usize, out: BufferId },
}

/// The tensors of a plan, row-major, and as `f32` where a kernel takes them for rows that would cut a block.
pub(super) fn weights(plan: &Plan) -> Vec<Tensor> {
    let mut weights: Vec<Tensor> = plan.weights.iter().map(|w| w.tensor.contiguous()).collect();
    each_matrix(plan.setup.iter().chain(&plan.steps), &mut |matrix| {
        let Source::Weight(id) = matrix.source else { return };
        let (weight, k) = (&mut weights[id.index()], matrix.k);
        if weight.dtype().row_bytes(k).is_none() {
            *weight = Tensor::from_f32(weight.shape(), &weight.to_f32());
        }
    });
    weights
}

/// A matrix that a step reads: `n` rows of `k` values.
struct Read {
    source: Source,
    n: usize,
    k: usize,
    /// Whether rows are multiplied by it.
    multiplies: bool,
}

/// Calls `f` with every matrix that the steps read.
fn each_matrix<'a>(steps: impl IntoIterator<Item = &'a Step>, f: &mut dyn FnMut(Read)) {
    for step in steps {
        match &step.kernel {
            Kernel::MatMul(matmul) => {
                let read = |w: &MatWeight| Read { source: w.source, n: w.n, k: matmul.k, multiplies: true };
                matmul.weights.iter().for_each(|w| f(read(w)));
            }
            Kernel::Gather(gather) => {
                f(Read { source: gather.table, n: gather.rows, k: gather.width, multiplies: false });
            }
            Kernel::PerSequence(steps) | Kernel::Scan(steps) => each_matrix(steps, f),
            _ => {}
        }
    }
}

/// The weights that are multiplied as integers.
pub(super) fn integer_matrices(plan: &Plan, weights: &[Tensor], kernels: &Kernels) -> Vec<Tiled> {
    let mut found = Vec::new();
    each_matrix(plan.setup.iter().chain(&plan.steps), &mut |matrix| {
        let Source::Weight(id) = matrix.source else { return };
        let tensor = &weights[id.index()];
        let kernel = integer_kernel(kernels, tensor.dtype(), matrix.k).filter(|_| matrix.multiplies);
        let Some(kernel) = kernel else { return };
        let row_bytes = row_bytes(tensor.dtype(), matrix.k);
        found.push(Tiled::new(tensor, matrix.n, row_bytes, kernel));
    });
    found
}

/// How rows of `k` values of a type are multiplied as integers, if they are.
fn integer_kernel(kernels: &Kernels, dtype: DType, k: usize) -> Option<IntegerKernel> {
    (kernels.integer)(dtype).filter(|_| k > 0 && k.is_multiple_of(GROUP))
}

fn row_bytes(dtype: DType, k: usize) -> usize {
    dtype.row_bytes(k).expect("a row of a weight matrix is whole blocks")
}

/// The tasks of a list of steps.
pub(super) fn compile(plan: &Plan, steps: &[Step], weights: &[Tensor], packed: &Packed) -> Vec<Task> {
    let cx = Compiler { plan, weights, packed };
    steps.iter().map(|step| cx.task(&step.kernel)).collect()
}

struct Compiler<'a> {
    plan: &'a Plan,
    weights: &'a [Tensor],
    packed: &'a Packed,
}

impl Compiler<'_> {
    fn task(&self, kernel: &Kernel) -> Task {
        let width = |store: &StoreId| self.plan.stores[store.index()].width;
        match kernel {
            Kernel::MatMul(matmul) => Task::Product(self.product(matmul)),
            Kernel::Loop(kernel) => {
                assert!(kernel.outer.len() <= MAX_AXES, "a loop has at most {MAX_AXES} outer axes");
                let cuts = |i: &Instr| !matches!(i, Instr::Reduce { .. } | Instr::Softmax { .. });
                let pieces = match kernel.tape.instrs.iter().all(cuts) {
                    true => Pieces::Apart,
                    false if kernel.tape.goes_on() => Pieces::InTurn,
                    false => Pieces::Whole,
                };
                Task::Pass(Pass { pieces, kernel: kernel.clone() })
            }
            Kernel::Attention(attention) => Task::Attention(attention.clone()),
            Kernel::Einsum(einsum) => {
                assert!(einsum.axes.len() <= MAX_AXES, "a join has at most {MAX_AXES} axes");
                assert!(
                    (1..=MAX_OPERANDS).contains(&einsum.operands.len()),
                    "a join has 1 to {MAX_OPERANDS} factors"
                );
                Dense::of(einsum).map_or_else(|| Task::Einsum(einsum.clone()), Task::Dense)
            }
            Kernel::Gather(gather) => Task::Move(Move::Gather {
                table: self.matrix(gather.table, gather.rows, gather.width),
                rows: RowsOf { buffer: gather.index, width: 1 },
                gather: gather.clone(),
            }),
            Kernel::Scatter(scatter) => Task::Move(Move::Scatter(scatter.clone())),
            Kernel::Remember { from, store } => {
                Task::Move(Move::Remember { from: *from, store: *store, width: width(store) })
            }
            Kernel::Recall { store, taps, out } => Task::Move(Move::Recall {
                store: *store,
                taps: taps.clone(),
                out: *out,
                width: width(store),
                wanted: self.plan.buffers[out.index()].dims.first() == Some(&tl_exec::kernel::Dim::Wanted),
            }),
            Kernel::RecallAll { store, out } => {
                Task::Move(Move::RecallAll { store: *store, out: *out, width: width(store) })
            }
            Kernel::TakeWanted { from, out } => Task::Move(Move::TakeWanted { from: *from, out: *out }),
            Kernel::Decode { weight, out } => {
                let len = self.weights[weight.index()].len();
                Task::Move(Move::Decode {
                    matrix: self.matrix(Source::Weight(*weight), 1, len),
                    len,
                    out: *out,
                })
            }
            Kernel::PerSequence(steps) => Task::PerSequence(self.tasks(steps)),
            Kernel::Scan(steps) => Task::Scan(self.tasks(steps)),
        }
    }

    fn tasks(&self, steps: &[Step]) -> Vec<Task> {
        steps.iter().map(|step| self.task(&step.kernel)).collect()
    }

    fn product(&self, matmul: &MatMul) -> Product {
        let operands: Vec<Operand> = matmul
            .weights
            .iter()
            .map(|weight| {
                let (n, k) = (weight.n, matmul.k);
                let matrix = self.matrix(weight.source, n, k);
                let integer = match weight.source {
                    Source::Weight(id) => self.packed.weights(&self.weights[id.index()], n, matrix.row_bytes),
                    Source::Buffer(_) => None,
                };
                Operand { matrix, n, integer }
            })
            .collect();
        Product {
            input: matmul.input,
            rows: RowsOf { buffer: matmul.input, width: matmul.k },
            k: matmul.k,
            quantizes: operands.iter().any(|o| o.integer.is_some()),
            operands,
            outs: matmul.outs.clone(),
            epilogue: matmul.epilogue.clone(),
        }
    }

    /// A source as `n` rows of `k` values.
    fn matrix(&self, source: Source, n: usize, k: usize) -> Matrix {
        match source {
            Source::Buffer(buffer) => {
                Matrix { place: Place::Buffer(buffer), dtype: DType::F32, row_bytes: 4 * k }
            }
            Source::Weight(weight) => {
                let tensor = &self.weights[weight.index()];
                let dtype = tensor.dtype();
                let row_bytes = row_bytes(dtype, k);
                assert!(tensor.data().len() >= n * row_bytes, "a weight has the rows that the plan says");
                Matrix { place: Place::Fixed(tensor.data().as_ptr()), dtype, row_bytes }
            }
        }
    }
}

impl Matrix {
    /// Where row `row` begins now.
    pub fn row(&self, row: usize, buffers: Buffers<'_>) -> *const u8 {
        let data = match self.place {
            Place::Fixed(data) => data,
            Place::Buffer(buffer) => buffers.start(buffer).cast_const().cast(),
        };
        data.wrapping_add(row * self.row_bytes)
    }

    /// The rows where they stand now.
    pub fn rows(&self, buffers: Buffers<'_>) -> Rows {
        Rows { data: self.row(0, buffers), stride: self.row_bytes }
    }
}

impl RowsOf {
    /// The rows, of `width` values each, that a window has of the buffer.
    pub fn range(&self, plan: &Plan, window: &Window) -> std::ops::Range<usize> {
        use tl_exec::kernel::Dim;
        let dims = &plan.buffers[self.buffer.index()].dims;
        let is_row = |dim: &Dim| matches!(dim, Dim::Rows | Dim::Wanted);
        let per_row: usize =
            dims.iter().filter(|dim| !is_row(dim)).map(|&dim| window.range(dim).len()).product();
        let rows = dims.first().filter(|dim| is_row(dim)).map_or(0..1, |&dim| window.range(dim));
        rows.start * per_row / self.width.max(1)..rows.end * per_row / self.width.max(1)
    }
}

impl Machine {
    /// Makes room in scratch memory for the tasks of steps of this size.
    pub(super) fn make_room(&mut self, plan: &Plan, tasks: &[Task], room: Room) {
        let window = Window { rows: 0..room.rows, wanted: 0..room.wanted, stream: room.stream };
        for task in tasks {
            match task {
                Task::Product(product) => products::make_room(self, product, plan, &window),
                Task::Pass(pass) => super::passes::make_room(self, pass, &window),
                Task::Attention(attention) => super::attention::make_room(self, attention, &window),
                Task::PerSequence(tasks) | Task::Scan(tasks) => self.make_room(plan, tasks, room),
                Task::Dense(dense) => super::passes::make_room_to_pack(self, dense),
                Task::Einsum(_) | Task::Move(_) => {}
            }
        }
    }
}
