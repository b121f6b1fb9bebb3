//! The graph: nodes that are interned as they are added, so that equal work is one node.
//!
//! Nodes are stored in the order in which they were added and read only earlier nodes, with one exception: a
//! [`Op::Delay`] may read a later one. The builder functions check what the caller can't know to be right with `assert!`: a
//! graph that breaks a rule is our own bug, the user's were found before.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tl_syntax::Span;
use tl_tensor::Tensor;

use crate::axis::{Axis, AxisId, Extent};
use crate::op::{AffineMap, Op, Reduction, Scalar};

/// A node of its graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A literal tensor of its graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LiteralId(pub u32);

/// A weight of its graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WeightId(pub u32);

/// One operation: what is done, to what, over which axes, and where the program says so.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// The nodes that it reads.
    pub inputs: Vec<NodeId>,
    /// The axes of its value, slowest first in memory.
    pub axes: Vec<AxisId>,
    /// The expression that it came from.
    pub span: Span,
    /// The tensor of the program that it defines, as `k[3]`, if it is one.
    pub name: Option<Arc<str>>,
}

/// A tensor of a file that the graph reads.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Its name in the file.
    pub name: Arc<str>,
    /// Its values, in the order of the weight node's axes; none in a graph that is only checked.
    pub tensor: Option<Tensor>,
}

/// A result of the graph.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: Arc<str>,
    /// The node that computes it.
    pub node: NodeId,
    /// The order of its axes for whoever reads it, slowest first.
    pub axes: Vec<AxisId>,
}

/// A program as equations over named axes.
#[derive(Clone, Default, Debug)]
pub struct Graph {
    axes: Vec<Axis>,
    nodes: Vec<Node>,
    literals: Vec<Arc<[f32]>>,
    weights: Vec<Weight>,
    outputs: Vec<Output>,
    interned: HashMap<(Op, Vec<NodeId>, Vec<AxisId>), NodeId>,
    weight_ids: HashMap<Arc<str>, WeightId>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new axis.
    pub fn axis(&mut self, name: impl Into<String>, extent: Extent) -> AxisId {
        self.axes.push(Axis { name: name.into(), extent });
        AxisId(self.axes.len() as u32 - 1)
    }

    /// The axis of that id.
    pub fn axis_info(&self, id: AxisId) -> &Axis {
        &self.axes[id.0 as usize]
    }

    /// The extent of the axis of that id.
    pub fn extent(&self, id: AxisId) -> Extent {
        self.axes[id.0 as usize].extent
    }

    /// Settles the extent of an axis that was not known when it was made.
    pub fn set_extent(&mut self, id: AxisId, extent: Extent) {
        self.axes[id.0 as usize].extent = extent;
    }

    /// How many axes there are.
    pub fn axis_count(&self) -> usize {
        self.axes.len()
    }

    /// The node of that id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// All nodes with their ids, inputs before readers ([`Op::Delay`] excepted).
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(i, node)| (NodeId(i as u32), node))
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The values of a literal.
    pub fn literal_values(&self, id: LiteralId) -> &Arc<[f32]> {
        &self.literals[id.0 as usize]
    }

    /// The weight of that id.
    pub fn weight_info(&self, id: WeightId) -> &Weight {
        &self.weights[id.0 as usize]
    }

    /// All weights, in the order of their ids.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The results, in the order in which they were asked for.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Makes `node` a result, its axes to be read in the order of `axes`.
    pub fn output(&mut self, name: impl Into<Arc<str>>, node: NodeId, axes: Vec<AxisId>) {
        self.outputs.push(Output { name: name.into(), node, axes });
    }

    /// The same graph with these results in place of its own.
    #[must_use]
    pub fn with_outputs(&self, outputs: Vec<Output>) -> Graph {
        Graph { outputs, ..self.clone() }
    }

    /// Gives a node the name of the tensor that it defines, unless it has one.
    pub fn name(&mut self, node: NodeId, name: impl Into<Arc<str>>) {
        self.nodes[node.0 as usize].name.get_or_insert(name.into());
    }

    /// Adds a node, or finds the equal one. `axes` may be left empty for ops whose axes follow from their inputs.
    pub fn add(&mut self, op: Op, inputs: Vec<NodeId>, axes: Option<Vec<AxisId>>, span: Span) -> NodeId {
        let axes = axes.unwrap_or_else(|| self.infer_axes(&op, &inputs));
        let key = (op, inputs, axes);
        if let Some(&id) = self.interned.get(&key) {
            return id;
        }
        let id = NodeId(self.nodes.len() as u32);
        let (op, inputs, axes) = key.clone();
        self.nodes.push(Node { op, inputs, axes, span, name: None });
        self.interned.insert(key, id);
        id
    }

    /// A scalar constant.
    pub fn constant(&mut self, value: f64, span: Span) -> NodeId {
        self.add(Op::Const(value.to_bits()), vec![], Some(vec![]), span)
    }

    /// The value of a constant node.
    pub fn as_constant(&self, id: NodeId) -> Option<f64> {
        match self.node(id).op {
            Op::Const(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    /// A tensor of values, in the order of `axes`.
    pub fn literal(&mut self, values: impl Into<Arc<[f32]>>, axes: Vec<AxisId>, span: Span) -> NodeId {
        let values = values.into();
        let size: Option<usize> = axes.iter().map(|&a| self.extent(a).known()).product();
        assert_eq!(size, Some(values.len()), "a literal has a value for each position of its axes");
        self.literals.push(values);
        self.add(Op::Literal(LiteralId(self.literals.len() as u32 - 1)), vec![], Some(axes), span)
    }

    /// Argument number `number`.
    pub fn input(&mut self, number: u32, axes: Vec<AxisId>, span: Span) -> NodeId {
        self.add(Op::Input(number), vec![], Some(axes), span)
    }

    /// A tensor of a file, by its name there. `axes` are slowest first, as in its memory.
    pub fn weight(&mut self, name: &str, tensor: Option<Tensor>, axes: Vec<AxisId>, span: Span) -> NodeId {
        let id = match self.weight_ids.get(name) {
            Some(&id) => id,
            None => {
                let (id, name) = (WeightId(self.weights.len() as u32), Arc::<str>::from(name));
                self.weight_ids.insert(Arc::clone(&name), id);
                self.weights.push(Weight { name, tensor });
                id
            }
        };
        self.add(Op::Weight(id), vec![], Some(axes), span)
    }

    /// The numbers of the positions along an axis.
    pub fn iota(&mut self, axis: AxisId, span: Span) -> NodeId {
        self.add(Op::Iota, vec![], Some(vec![axis]), span)
    }

    /// A pointwise function. Constants are folded; `x · 1`, `x / 1`, `x + 0`, `x − 0` are `x`; a truth joined to a known one is that or itself.
    pub fn map(&mut self, scalar: Scalar, inputs: &[NodeId], span: Span) -> NodeId {
        assert_eq!(
            inputs.len(),
            scalar.info().arity,
            "{} takes {} arguments",
            scalar.info().name,
            scalar.info().arity
        );
        let constants: Vec<Option<f64>> = inputs.iter().map(|&i| self.as_constant(i)).collect();
        if let Some(known) = constants.iter().copied().collect::<Option<Vec<f64>>>() {
            let at = |i: usize| known.get(i).copied().unwrap_or(0.0);
            return self.constant((scalar.info().eval)(at(0), at(1), at(2)), span);
        }
        match (scalar, &constants[..]) {
            (Scalar::Mul | Scalar::Div, [_, Some(1.0)]) | (Scalar::Add | Scalar::Sub, [_, Some(0.0)]) => {
                inputs[0]
            }
            (Scalar::Mul, [Some(1.0), _]) | (Scalar::Add, [Some(0.0), _]) => inputs[1],
            (Scalar::And | Scalar::Or, [Some(known), _] | [_, Some(known)])
                if (*known != 0.0) == (scalar == Scalar::Or) =>
            {
                self.constant(f64::from(scalar == Scalar::Or), span)
            }
            (Scalar::And | Scalar::Or, [Some(_), _]) if self.is_truth(inputs[1]) => inputs[1],
            (Scalar::And | Scalar::Or, [_, Some(_)]) if self.is_truth(inputs[0]) => inputs[0],
            _ => self.add(Op::Map(scalar), inputs.to_vec(), None, span),
        }
    }

    /// Whether a value is 0 or 1 by what it is.
    fn is_truth(&self, id: NodeId) -> bool {
        use Scalar::{And, Eq, Le, Lt, Ne, Not, Or, Step};
        matches!(self.node(id).op, Op::Map(Lt | Le | Eq | Ne | Not | And | Or | Step))
    }

    /// The join of the inputs, summed over `sum`. Where nothing is summed, a chain of pointwise products.
    pub fn contract(&mut self, inputs: &[NodeId], sum: &[AxisId], span: Span) -> NodeId {
        if sum.is_empty() {
            let (&first, rest) = inputs.split_first().expect("a join has operands");
            return rest.iter().fold(first, |product, &next| self.map(Scalar::Mul, &[product, next], span));
        }
        let has = |axis: &AxisId| inputs.iter().any(|&i| self.node(i).axes.contains(axis));
        assert!(sum.iter().all(has), "a summed axis is an axis of an operand");
        if let [one] = inputs {
            return self.reduce(Reduction::Sum, *one, sum, span);
        }
        self.add(Op::Contract { sum: sum.to_vec() }, inputs.to_vec(), None, span)
    }

    /// A reduction over the axes `over`, which the input has.
    pub fn reduce(&mut self, kind: Reduction, input: NodeId, over: &[AxisId], span: Span) -> NodeId {
        if over.is_empty() && !matches!(kind, Reduction::Argmax | Reduction::Argmin) {
            return input;
        }
        self.add(Op::Reduce { kind, over: over.to_vec() }, vec![input], None, span)
    }

    /// `value` where `guard` is true, else `otherwise`.
    pub fn select(&mut self, guard: NodeId, value: NodeId, otherwise: f64, span: Span) -> NodeId {
        let otherwise = self.constant(otherwise, span);
        self.map(Scalar::Select, &[guard, value, otherwise], span)
    }

    /// The softmax along an axis of the input.
    pub fn softmax(&mut self, input: NodeId, along: AxisId, span: Span) -> NodeId {
        self.add(Op::Softmax { along }, vec![input], None, span)
    }

    /// The input with axes renamed; pairs that rename nothing are left out.
    pub fn relabel(&mut self, input: NodeId, pairs: &[(AxisId, AxisId)], span: Span) -> NodeId {
        let pairs: Vec<_> = pairs.iter().copied().filter(|(from, to)| from != to).collect();
        if pairs.is_empty() {
            return input;
        }
        self.add(Op::Relabel(pairs), vec![input], None, span)
    }

    /// The input read along `axis` at an affine position.
    pub fn index(&mut self, input: NodeId, axis: AxisId, map: AffineMap, span: Span) -> NodeId {
        self.add(Op::Index { axis, map }, vec![input], None, span)
    }

    /// A delay along the stream whose input is given later, by [`Graph::close_delay`]. It is never shared.
    pub fn open_delay(&mut self, by: u32, axes: Vec<AxisId>, span: Span) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node { op: Op::Delay { by }, inputs: vec![], axes, span, name: None });
        id
    }

    /// Gives an open delay its input, which may be a later node with the same axes.
    pub fn close_delay(&mut self, delay: NodeId, input: NodeId) {
        let node = &mut self.nodes[delay.0 as usize];
        assert!(node.inputs.is_empty() && matches!(node.op, Op::Delay { .. }), "the delay is open");
        node.inputs.push(input);
    }

    /// The graph made anew, node by node: `replace` is given the new graph, a node and its new inputs, and returns the node
    /// that stands for it, or `None` to copy it. Nodes that no result needs are left out; the axes stay as they are.
    pub fn rewrite(&self, mut replace: impl FnMut(&mut Graph, &Node, &[NodeId]) -> Option<NodeId>) -> Graph {
        let mut out = Graph {
            axes: self.axes.clone(),
            literals: self.literals.clone(),
            weights: self.weights.clone(),
            weight_ids: self.weight_ids.clone(),
            ..Graph::default()
        };
        let (live, mut new, mut open) = (self.live(), vec![None; self.nodes.len()], Vec::new());
        for (id, node) in self.nodes().filter(|(id, _)| live[id.0 as usize]) {
            let inputs: Option<Vec<NodeId>> = node.inputs.iter().map(|i| new[i.0 as usize]).collect();
            let made = match (&node.op, inputs) {
                (Op::Delay { by }, None) => {
                    let delay = out.open_delay(*by, node.axes.clone(), node.span);
                    open.push((delay, node.inputs[0]));
                    delay
                }
                (_, inputs) => {
                    let inputs = inputs.expect("only a delay reads a later node");
                    replace(&mut out, node, &inputs).unwrap_or_else(|| {
                        out.add(node.op.clone(), inputs, Some(node.axes.clone()), node.span)
                    })
                }
            };
            if let Some(name) = &node.name {
                out.name(made, Arc::clone(name));
            }
            new[id.0 as usize] = Some(made);
        }
        let of = |id: NodeId| new[id.0 as usize].expect("a live node was made");
        for (delay, input) in open {
            out.close_delay(delay, of(input));
        }
        for output in &self.outputs {
            out.output(Arc::clone(&output.name), of(output.node), output.axes.clone());
        }
        out
    }

    /// Which nodes the results need.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        let mut pending: Vec<NodeId> = self.outputs.iter().map(|o| o.node).collect();
        while let Some(id) = pending.pop() {
            if !std::mem::replace(&mut live[id.0 as usize], true) {
                pending.extend(&self.node(id).inputs);
            }
        }
        live
    }

    /// The axes of the value of `op` applied to `inputs`, in their order in memory: the stream's own first, then as
    /// they appear, beginning with the operand that has most.
    fn infer_axes(&self, op: &Op, inputs: &[NodeId]) -> Vec<AxisId> {
        let of = |i: usize| self.node(inputs[i]).axes.clone();
        match op {
            Op::Const(_) | Op::Literal(_) | Op::Input(_) | Op::Weight(_) | Op::Iota => {
                unreachable!("a leaf is added with its axes")
            }
            Op::Map(_) => {
                let widest = inputs.iter().rev().max_by_key(|&&i| self.node(i).axes.len());
                let order = widest.into_iter().chain(inputs);
                self.stream_first(union(order.flat_map(|&i| &self.node(i).axes)))
            }
            Op::Contract { sum } => {
                let axes = inputs.iter().flat_map(|&i| &self.node(i).axes).filter(|a| !sum.contains(a));
                self.stream_first(union(axes))
            }
            Op::Reduce { over, .. } => of(0).into_iter().filter(|a| !over.contains(a)).collect(),
            Op::Softmax { .. } | Op::Delay { .. } => of(0),
            Op::Relabel(pairs) => {
                let rename = |a| pairs.iter().find(|(from, _)| *from == a).map_or(a, |&(_, to)| to);
                let axes: Vec<_> = of(0).into_iter().map(rename).collect();
                assert_eq!(union(&axes).len(), axes.len(), "a renamed axis stays one of its own");
                axes
            }
            Op::Split { axis, into } => replace(of(0), *axis, into),
            Op::Merge { axes, into } => {
                let rest = |a: &AxisId| *a == axes[0] || !axes.contains(a);
                replace(of(0).into_iter().filter(rest).collect(), axes[0], &[*into])
            }
            Op::Index { axis, map } => {
                let terms: Vec<_> = map.terms.iter().map(|&(a, _)| a).collect();
                self.stream_first(union(&replace(of(0), *axis, &terms)))
            }
            Op::Place { axis, into, .. } => replace(of(0), *axis, &[*into]),
            Op::Scatter { over, into, .. } => {
                let rest = of(0).into_iter().filter(|axis| !over.contains(axis));
                std::iter::once(*into).chain(rest).collect()
            }
            Op::Gather { along } => self.stream_first(union(&replace(of(0), *along, &of(1)))),
        }
    }

    fn stream_first(&self, axes: Vec<AxisId>) -> Vec<AxisId> {
        let (mut rows, rest): (Vec<_>, Vec<_>) =
            axes.into_iter().partition(|&a| self.extent(a) == Extent::Rows);
        rows.extend(rest);
        rows
    }
}

/// The axes in order of first appearance, each once.
fn union<'a>(axes: impl IntoIterator<Item = &'a AxisId>) -> Vec<AxisId> {
    let mut out = Vec::new();
    for &axis in axes {
        if !out.contains(&axis) {
            out.push(axis);
        }
    }
    out
}

fn replace(axes: Vec<AxisId>, axis: AxisId, by: &[AxisId]) -> Vec<AxisId> {
    assert!(axes.contains(&axis), "the input has the axis");
    axes.into_iter().flat_map(|a| if a == axis { by.to_vec() } else { vec![a] }).collect()
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for Graph {
    /// The text form: one node a line, `%7 = Contract { sum: [@2] } (%3, %5) [p g r c] // q[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.nodes() {
            let axes: Vec<&str> = node.axes.iter().map(|&a| self.axis_info(a).name.as_str()).collect();
            write!(f, "{id:?} = ")?;
            match &node.op {
                Op::Const(bits) => write!(f, "{}", f64::from_bits(*bits))?,
                Op::Weight(w) => write!(f, "weight {}", self.weight_info(*w).name)?,
                Op::Map(scalar) => write!(f, "{}", scalar.info().name)?,
                op => write!(f, "{op:?}")?,
            }
            write!(f, " {:?} [{}]", node.inputs, axes.join(" "))?;
            match &node.name {
                Some(name) => writeln!(f, " // {name}")?,
                None => writeln!(f)?,
            }
        }
        for output in &self.outputs {
            writeln!(f, "return {} = {:?}", output.name, output.node)?;
        }
        Ok(())
    }
}
