//! From a causal graph to kernels.
//!
//! ```text
//! graph ─ contraction::order ─ stream::derive ─ attention::find ─ order ─→ nodes, each with the rows that it is computed for
//! for each node, in order:
//!     a view (rename, split, merge, even selection)      strides, nothing to do
//!     a join of rows with a matrix                       joins the product of the same left operand, or begins one
//!     attention, a gather, another join                  a kernel of its own
//!     pointwise on products                              the product's epilogue
//!     pointwise, reduction or softmax over one axis      joins a loop of the same axes that comes late enough, or begins one
//!     remembered                                         is appended to its store
//! then tapes are written, buffers that no one needs fall away, and sequences and scans are bracketed.
//! ```
//!
//! A kernel that is being put together is a [`Proto`]. Protos are numbered in the order in which they will run; a node may join proto
//! `i` if everything that it reads is in `i` itself or stands in a buffer that an earlier proto wrote. So joining never needs
//! reordering. The rules know nothing of what the equations mean.

mod arena;
mod attention;
mod emit;
mod finish;
mod interleave;
mod loops;
mod order;
mod products;
mod registers;
mod view;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tl_ir::stream::{Derived, Violation, derive};
use tl_ir::{AxisId, Extent, Graph, NodeId, Op, Span, contraction};

pub use arena::{Layout, layout, layout_without};

use crate::kernel::{Buffer, BufferId, Dim, Kernel, Plan, PlanWeight, Source, StoreId, StoreSpec, WeightId};
use attention::Match;
use interleave::Interleaved;
use loops::Cluster;
use order::{Order, Rows};
use products::Product;
use view::View;

/// A plan and what it was derived from.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The graph that it computes, its joins in order.
    pub graph: Arc<Graph>,
    /// What is remembered.
    pub derived: Arc<Derived>,
}

/// Why a graph can't be planned.
#[derive(Clone, PartialEq, Debug)]
pub enum PlanError {
    /// It is not causal: these reads look ahead.
    NotCausal(Vec<Violation>),
    /// A value would have an element for each pair of positions of the stream and be kept whole.
    TwoStreamAxes {
        /// The expression.
        span: Span,
        /// Its axes along the stream.
        axes: Vec<String>,
    },
}

impl std::error::Error for PlanError {}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::NotCausal(reads) => write!(f, "{} reads look ahead along the stream", reads.len()),
            PlanError::TwoStreamAxes { axes, .. } => {
                write!(
                    f,
                    "a value with the axes {} of the stream can't be computed row by row",
                    axes.join(" and ")
                )
            }
        }
    }
}

/// Plans a graph.
///
/// # Errors
/// If it is not causal, or needs a value over two indices of the stream besides the row's own.
pub fn plan(graph: &Graph) -> Result<Planned, PlanError> {
    let graph = contraction::order(graph);
    let derived = derive(&graph).map_err(PlanError::NotCausal)?;
    let patterns =
        Patterns { attention: attention::find(&graph, &derived), interleaved: interleave::find(&graph) };
    let order = order::order(&graph, &derived, &patterns);
    let mut planner = Planner::new(&graph, &derived, patterns, order);
    let nodes = std::mem::take(&mut planner.order.nodes);
    for &id in &nodes {
        planner.check_axes(id)?;
        planner.assign(id);
    }
    let plan = planner.finish();
    Ok(Planned { plan: Arc::new(plan), graph: Arc::new(graph), derived: Arc::new(derived) })
}

/// Groups of nodes that are computed as one, by their last node.
struct Patterns {
    attention: HashMap<NodeId, Match>,
    interleaved: HashMap<NodeId, Interleaved>,
}

impl Patterns {
    /// What a node reads, a group being seen as one operation.
    fn operands(&self, graph: &Graph, id: NodeId) -> Vec<NodeId> {
        if let Some(found) = self.attention.get(&id) {
            found.operands()
        } else if let Some(found) = self.interleaved.get(&id) {
            found.pieces.iter().map(|p| p.node).collect()
        } else {
            graph.node(id).inputs.clone()
        }
    }
}

/// A kernel that is being put together.
struct Proto {
    body: Body,
    rows: Rows,
    /// The group of nodes that are computed row by row together, if they are.
    group: Option<u32>,
    /// The nodes that it computes, to name it by.
    nodes: Vec<NodeId>,
    span: Span,
}

enum Body {
    Loop(Cluster),
    Product(Product),
    Ready(Kernel),
}

struct Planner<'g> {
    graph: &'g Graph,
    derived: &'g Derived,
    patterns: Patterns,
    order: Order,
    plan: Plan,
    protos: Vec<Proto>,
    /// The proto that computes a node.
    home: HashMap<NodeId, usize>,
    /// The buffer of a computed node, once someone needs it.
    buffers: HashMap<NodeId, BufferId>,
    /// The order of a computed node's axes in its buffer, where it is not the node's own.
    layouts: HashMap<NodeId, Vec<AxisId>>,
    /// Nodes that are a look at another's value.
    views: HashMap<NodeId, View>,
    /// For each buffer, the last proto that writes it; −1 where it stands before the steps begin.
    ready: Vec<isize>,
    /// Copies of the wanted rows of a buffer.
    wanted: HashMap<BufferId, BufferId>,
    /// Further places where a computed node's value is stored.
    sinks: HashMap<NodeId, Vec<View>>,
    /// What a read at computed positions reads.
    sources: HashMap<NodeId, View>,
    /// Copies in another order of axes.
    dense: HashMap<(NodeId, Vec<AxisId>, Rows), BufferId>,
    decoded: HashMap<WeightId, BufferId>,
    weights: HashMap<tl_ir::WeightId, WeightId>,
    recalled: HashMap<usize, BufferId>,
}

impl<'g> Planner<'g> {
    fn new(graph: &'g Graph, derived: &'g Derived, patterns: Patterns, order: Order) -> Self {
        let mut plan = Plan::default();
        for stored in &derived.stored {
            let node = graph.node(stored.node);
            let width = node.axes.iter().filter_map(|&a| graph.extent(a).known()).product();
            let name = node.name.as_deref().map_or_else(|| format!("{:?}", stored.node), String::from);
            plan.stores.push(StoreSpec {
                name,
                width,
                window: stored.window,
                dtype: tl_tensor::DType::F32,
                scanned: false,
            });
        }
        Self {
            graph,
            derived,
            patterns,
            order,
            plan,
            protos: Vec::new(),
            home: HashMap::new(),
            buffers: HashMap::new(),
            layouts: HashMap::new(),
            views: HashMap::new(),
            ready: Vec::new(),
            wanted: HashMap::new(),
            sinks: HashMap::new(),
            sources: HashMap::new(),
            dense: HashMap::new(),
            decoded: HashMap::new(),
            weights: HashMap::new(),
            recalled: HashMap::new(),
        }
    }

    /// No value may range over two indices of the stream besides the row's own.
    fn check_axes(&self, id: NodeId) -> Result<(), PlanError> {
        let node = self.graph.node(id);
        let axes = node.axes.iter().filter(|&&a| self.graph.extent(a) == Extent::Stream);
        let names: Vec<String> = axes.map(|&a| self.graph.axis_info(a).name.clone()).collect();
        if names.len() > 1 { Err(PlanError::TwoStreamAxes { span: node.span, axes: names }) } else { Ok(()) }
    }

    fn rows(&self, id: NodeId) -> Rows {
        self.order.rows[id.0 as usize]
    }

    fn assign(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        if self.patterns.attention.contains_key(&id) {
            self.assign_attention(id);
        } else if self.patterns.interleaved.contains_key(&id) {
            self.assign_interleaved(id);
        } else {
            match &node.op {
                Op::Const(_) | Op::Literal(_) | Op::Input(_) | Op::Weight(_) | Op::Iota => {}
                Op::Relabel(_) | Op::Split { .. } | Op::Merge { .. } | Op::Index { .. } => {
                    match self.view_through(id) {
                        Some(view) => drop(self.views.insert(id, view)),
                        None => self.assign_moved(id),
                    }
                }
                Op::Delay { by } => self.assign_recall(id, vec![-i64::from(*by)]),
                Op::Contract { .. } => self.assign_join(id),
                Op::Gather { .. } => self.assign_gather(id),
                Op::Scatter { .. } => self.assign_scatter(id),
                Op::Map(_) | Op::Reduce { .. } | Op::Softmax { .. } | Op::Place { .. } => {
                    self.assign_loop(id)
                }
            }
        }
        if let Some(store) = self.derived.stored.iter().position(|s| s.node == id) {
            let from = self.dense_buffer(id, &self.graph.node(id).axes.clone(), Rows::All);
            let kernel = Kernel::Remember { from, store: StoreId(store as u32) };
            self.push_ready(kernel, Rows::All, id, &[]);
        }
        // Made here and not when it is first read, the copy comes before the kernels that its reader may want to join.
        if self.order.crosses[id.0 as usize] {
            self.buffer_view(id, Rows::Wanted);
        }
    }

    /// Whether a tape makes the value itself, so that it need not stand in a buffer.
    fn is_immediate(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        match node.op {
            Op::Const(_) => true,
            Op::Iota => self.graph.extent(node.axes[0]) != Extent::Rows,
            _ => self.is_cheaper_anew(id),
        }
    }

    /// Whether a value is a few instructions over indices, and so large that reading it would cost more: a guard such as `t <= p`.
    fn is_cheaper_anew(&self, id: NodeId) -> bool {
        /// Elements that stay in the first cache.
        const SMALL: usize = 4096;
        /// Instructions.
        const FEW: usize = 4;
        let size =
            self.graph.node(id).axes.iter().try_fold(1usize, |size, &axis| {
                self.graph.extent(axis).known().map(|n| size.saturating_mul(n))
            });
        let mut left = FEW;
        size.is_some_and(|n| n > SMALL) && self.is_of_indices(id, &mut left)
    }

    /// Whether a value needs nothing but indices, constants and at most `left` cheap instructions.
    fn is_of_indices(&self, id: NodeId, left: &mut usize) -> bool {
        let node = self.graph.node(id);
        match node.op {
            Op::Const(_) => true,
            Op::Iota => self.graph.extent(node.axes[0]) != Extent::Rows,
            Op::Map(scalar) if scalar.info().cost == 1 && *left > 0 => {
                *left -= 1;
                node.inputs.iter().all(|&input| self.is_of_indices(input, left))
            }
            _ => false,
        }
    }

    /// A view or a read of rows that can't be said in strides.
    fn assign_moved(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        match &node.op {
            Op::Index { axis, map } if self.derived.reads.contains_key(&id) => {
                let taps = self.taps(*axis, map, &node.axes);
                match taps {
                    Some(taps) => self.assign_recall(id, taps),
                    None => self.assign_loop(id),
                }
            }
            Op::Merge { axes, into } => {
                let from = node.inputs[0];
                let buffer = self.own_buffer(id);
                let to = View::dense(self.graph, Source::Buffer(buffer), &node.axes)
                    .split(self.graph, *into, axes);
                self.copy(from, to, id);
            }
            _ => self.assign_loop(id),
        }
    }

    /// The value of a node for the given rows, as strides over a buffer or a file's tensor.
    fn view(&mut self, id: NodeId, rows: Rows) -> View {
        let view = self.view_of_own_rows(id, rows);
        let Source::Buffer(buffer) = view.source else { return view };
        if rows == Rows::Wanted && self.plan.buffers[buffer.index()].dims.first() == Some(&Dim::Rows) {
            let copy = self.wanted_copy(buffer, id);
            return View { source: Source::Buffer(copy), ..view };
        }
        view
    }

    fn view_of_own_rows(&mut self, id: NodeId, rows: Rows) -> View {
        if let Some(view) = self.views.get(&id) {
            return view.clone();
        }
        let node = self.graph.node(id);
        let view = match &node.op {
            Op::Const(bits) => {
                let buffer = self.constant_buffer(vec![], vec![f64::from_bits(*bits) as f32].into());
                View::dense(self.graph, Source::Buffer(buffer), &[])
            }
            Op::Literal(literal) => {
                let values = Arc::clone(self.graph.literal_values(*literal));
                let dims = self.dims(&node.axes, Dim::Rows);
                let buffer = self.constant_buffer(dims, values);
                View::dense(self.graph, Source::Buffer(buffer), &node.axes)
            }
            Op::Weight(weight) => {
                let weight = self.weight(*weight);
                View::dense(self.graph, Source::Weight(weight), &node.axes)
            }
            Op::Input(number) => {
                let buffer = self.input_buffer(*number as usize, &node.axes);
                View::dense(self.graph, Source::Buffer(buffer), &node.axes)
            }
            Op::Iota if self.graph.extent(node.axes[0]) == Extent::Rows => {
                let buffer = self.positions(rows);
                return View::dense(self.graph, Source::Buffer(buffer), &node.axes);
            }
            Op::Iota if !self.home.contains_key(&id) => {
                let n =
                    self.graph.extent(node.axes[0]).known().expect("an index that is not computed is static");
                let buffer = self.constant_buffer(vec![Dim::Static(n)], (0..n).map(|i| i as f32).collect());
                View::dense(self.graph, Source::Buffer(buffer), &node.axes)
            }
            _ => {
                let layout = self.layouts.get(&id).unwrap_or(&node.axes).clone();
                let buffer = self.own_buffer(id);
                return View::dense(self.graph, Source::Buffer(buffer), &layout);
            }
        };
        self.views.insert(id, view.clone());
        view
    }

    /// The view of a node that only looks at its input, if strides can say it.
    fn view_through(&mut self, id: NodeId) -> Option<View> {
        let node = self.graph.node(id);
        let rows = self.rows(id);
        if let Some(&store) = self.derived.reads.get(&id) {
            return self.view_of_stored(id, store);
        }
        if let Op::Index { axis, map } = &node.op {
            // Whether it can be said in strides does not depend on where the input stands.
            let axes = &self.graph.node(node.inputs[0]).axes;
            View::dense(self.graph, Source::Buffer(BufferId(0)), axes).index(self.graph, *axis, map)?;
        }
        let input = self.view(node.inputs[0], rows);
        match &node.op {
            Op::Relabel(pairs) => Some(input.relabel(pairs)),
            Op::Split { axis, into } => Some(input.split(self.graph, *axis, into)),
            Op::Merge { axes, into } => input.merge(self.graph, axes, *into),
            Op::Index { axis, map } => input.index(self.graph, *axis, map),
            _ => None,
        }
    }

    /// All stored rows under another index, or one fixed row of them.
    fn view_of_stored(&mut self, id: NodeId, store: usize) -> Option<View> {
        let node = self.graph.node(id);
        match &node.op {
            Op::Relabel(pairs) => Some(self.recall_all(store, id).relabel(pairs)),
            Op::Index { axis, map } if map.terms.is_empty() => {
                let mut view = self.recall_all(store, id);
                view.offset += map.offset.div_euclid(map.divisor).max(0) as usize * view.stride(*axis).step;
                view.axes.retain(|(a, _)| a != axis);
                Some(view)
            }
            _ => None,
        }
    }

    /// All stored rows as a buffer, the row's own axis standing for the position.
    fn recall_all(&mut self, store: usize, reader: NodeId) -> View {
        let axes = &self.graph.node(self.derived.stored[store].node).axes;
        let buffer = match self.recalled.get(&store) {
            Some(&buffer) => buffer,
            None => {
                let dims = self.dims(axes, Dim::Stream);
                let buffer = self.new_buffer(dims);
                let kernel = Kernel::RecallAll { store: StoreId(store as u32), out: buffer };
                self.push_ready(kernel, Rows::All, reader, &[buffer]);
                self.recalled.insert(store, buffer);
                buffer
            }
        };
        View::dense(self.graph, Source::Buffer(buffer), axes)
    }

    /// Like [`Planner::view`], with a file's tensor decoded into a buffer.
    fn buffer_view(&mut self, id: NodeId, rows: Rows) -> View {
        let view = self.view(id, rows);
        let Source::Weight(weight) = view.source else { return view };
        let buffer = match self.decoded.get(&weight) {
            Some(&buffer) => buffer,
            None => {
                let size = self.plan.weights[weight.index()].tensor.shape().iter().product();
                let buffer = self.new_buffer(vec![Dim::Static(size)]);
                self.push_ready(Kernel::Decode { weight, out: buffer }, Rows::Setup, id, &[buffer]);
                self.decoded.insert(weight, buffer);
                buffer
            }
        };
        View { source: Source::Buffer(buffer), ..view }
    }

    /// The value as a buffer of its own with the axes dense in the given order; a copy if it does not stand so already.
    fn dense_buffer(&mut self, id: NodeId, order: &[AxisId], rows: Rows) -> BufferId {
        let view = self.buffer_view(id, rows);
        if let Source::Buffer(buffer) = view.source
            && self.is_whole(&view, order)
        {
            return buffer;
        }
        let key = (id, order.to_vec(), rows);
        if let Some(&buffer) = self.dense.get(&key) {
            return buffer;
        }
        let rows_dim = if rows == Rows::Wanted { Dim::Wanted } else { Dim::Rows };
        let dims = self.dims(order, rows_dim);
        let buffer = self.new_buffer(dims);
        let to = View::dense(self.graph, Source::Buffer(buffer), order);
        self.copy_view(view, to, id, rows);
        self.dense.insert(key, buffer);
        buffer
    }

    /// Whether the axes, in that order, are all of what a view looks at: a kernel that is given a source takes it as a whole.
    fn is_whole(&self, view: &View, order: &[AxisId]) -> bool {
        let static_size = |dim: &Dim| if let Dim::Static(n) = *dim { n } else { 1 };
        let all: usize = match view.source {
            Source::Buffer(buffer) => {
                self.plan.buffers[buffer.index()].dims.iter().map(static_size).product()
            }
            Source::Weight(weight) => self.plan.weights[weight.index()].tensor.len(),
        };
        let seen: usize = order.iter().filter_map(|&axis| self.graph.extent(axis).known()).product();
        view.is_dense(self.graph, order) && all == seen
    }

    fn wanted_copy(&mut self, buffer: BufferId, reader: NodeId) -> BufferId {
        if let Some(&copy) = self.wanted.get(&buffer) {
            return copy;
        }
        let mut dims = self.plan.buffers[buffer.index()].dims.clone();
        dims[0] = Dim::Wanted;
        let copy = self.new_buffer(dims);
        self.push_ready(Kernel::TakeWanted { from: buffer, out: copy }, Rows::Wanted, reader, &[copy]);
        self.wanted.insert(buffer, copy);
        copy
    }

    /// The buffer of a node that a proto computes.
    fn own_buffer(&mut self, id: NodeId) -> BufferId {
        if let Some(&buffer) = self.buffers.get(&id) {
            return buffer;
        }
        let axes = self.layouts.get(&id).unwrap_or(&self.graph.node(id).axes).clone();
        let rows = if self.rows(id) == Rows::Wanted { Dim::Wanted } else { Dim::Rows };
        let dims = self.dims(&axes, rows);
        let buffer = self.new_buffer(dims);
        if let Some(&home) = self.home.get(&id) {
            self.ready[buffer.index()] = home as isize;
        }
        self.buffers.insert(id, buffer);
        buffer
    }

    /// The proto after which a view's buffer can be read, for a reader of the given rows.
    fn ready_for(&self, view: &View, rows: Rows) -> isize {
        let Source::Buffer(buffer) = view.source else { return -1 };
        self.ready_in(self.ready[buffer.index()], rows)
    }

    fn ready_in(&self, written: isize, reader: Rows) -> isize {
        let before_steps =
            written >= 0 && self.protos[written as usize].rows == Rows::Setup && reader != Rows::Setup;
        if before_steps { -1 } else { written }
    }

    fn positions(&mut self, rows: Rows) -> BufferId {
        let wanted = rows == Rows::Wanted;
        let known = if wanted { self.plan.wanted_positions } else { self.plan.positions };
        known.unwrap_or_else(|| {
            let buffer = self.new_buffer(vec![if wanted { Dim::Wanted } else { Dim::Rows }]);
            *(if wanted { &mut self.plan.wanted_positions } else { &mut self.plan.positions }) = Some(buffer);
            buffer
        })
    }

    fn input_buffer(&mut self, number: usize, axes: &[AxisId]) -> BufferId {
        if self.plan.inputs.len() <= number {
            self.plan.inputs.resize(number + 1, None);
        }
        self.plan.inputs[number].unwrap_or_else(|| {
            let dims = self.dims(axes, Dim::Rows);
            let buffer = self.new_buffer(dims);
            self.plan.inputs[number] = Some(buffer);
            buffer
        })
    }

    fn constant_buffer(&mut self, dims: Vec<Dim>, values: Arc<[f32]>) -> BufferId {
        let buffer = self.new_buffer(dims);
        self.plan.constants.push((buffer, values));
        buffer
    }

    fn weight(&mut self, id: tl_ir::WeightId) -> WeightId {
        if let Some(&weight) = self.weights.get(&id) {
            return weight;
        }
        let info = self.graph.weight_info(id);
        let tensor = info.tensor.clone().expect("a graph that is planned has its weights");
        self.plan.weights.push(PlanWeight { name: Arc::clone(&info.name), tensor });
        let weight = WeightId(self.plan.weights.len() as u32 - 1);
        self.weights.insert(id, weight);
        weight
    }

    fn dims(&self, axes: &[AxisId], rows: Dim) -> Vec<Dim> {
        axes.iter().map(|&a| view::dim(self.graph, a, rows)).collect()
    }

    fn new_buffer(&mut self, dims: Vec<Dim>) -> BufferId {
        self.plan.buffers.push(Buffer { dims });
        self.ready.push(-1);
        BufferId(self.plan.buffers.len() as u32 - 1)
    }

    /// Adds a kernel that is complete, and notes what it writes.
    fn push_ready(&mut self, kernel: Kernel, rows: Rows, node: NodeId, writes: &[BufferId]) -> usize {
        self.push(Body::Ready(kernel), rows, node, writes)
    }

    fn push(&mut self, body: Body, rows: Rows, node: NodeId, writes: &[BufferId]) -> usize {
        let (group, span) = (self.order.group[node.0 as usize], self.graph.node(node).span);
        self.protos.push(Proto { body, rows, group, nodes: vec![node], span });
        let index = self.protos.len() - 1;
        for &buffer in writes {
            self.ready[buffer.index()] = self.ready[buffer.index()].max(index as isize);
        }
        index
    }
}
