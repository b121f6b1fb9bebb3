//! Attention, found in the graph: join – pointwise – guarded softmax – join over stored rows.
//!
//! ```text
//! out[p, h, r, v] = Σ_t A[p, h, r, t] V[t, h, v]
//! A = softmax_t(S)                        possibly under the guard once more
//! S = f(Σ_c Q[p, h, r, c] K[t, h, c], …)  f pointwise: scaling, soft-capping, biases, guards
//! ```
//!
//! with `K` and `V` remembered. The fused kernel needs no scores in memory. Whatever does not fit is computed piece by piece.

use std::collections::HashMap;

use tl_ir::stream::{Derived, Offsets};
use tl_ir::{AxisId, Extent, Graph, NodeId, Op, Scalar};

/// Attention with its parts named.
#[derive(Clone, Debug)]
pub(super) struct Match {
    /// The join of queries and keys.
    pub scores: NodeId,
    pub query: NodeId,
    /// The reads of the stored rows, and what is stored.
    pub key_read: NodeId,
    pub value_read: NodeId,
    pub key: NodeId,
    pub value: NodeId,
    /// The stream's other index.
    pub along: AxisId,
    /// The pointwise nodes from the scores to the softmax's input, in order.
    pub map: Vec<NodeId>,
    /// What those read besides: values without `along`.
    pub operands: Vec<NodeId>,
    /// The softmax's input.
    pub result: NodeId,
    /// The offsets that the guard leaves.
    pub window: Offsets,
}

impl Match {
    /// Everything that the fused operation reads.
    pub fn operands(&self) -> Vec<NodeId> {
        let mut all = vec![self.query, self.key, self.value];
        all.extend(&self.operands);
        all
    }
}

/// All attentions of a graph, by the node of the last join.
pub(super) fn find(graph: &Graph, derived: &Derived) -> HashMap<NodeId, Match> {
    graph.nodes().filter_map(|(id, _)| Some((id, match_at(graph, derived, id)?))).collect()
}

fn match_at(graph: &Graph, derived: &Derived, id: NodeId) -> Option<Match> {
    let node = graph.node(id);
    let Op::Contract { sum } = &node.op else { return None };
    let &[along] = &sum[..] else { return None };
    if graph.extent(along) != Extent::Stream || node.inputs.len() != 2 {
        return None;
    }
    let (weights, value_read) = match (
        stored(graph, derived, node.inputs[0], along),
        stored(graph, derived, node.inputs[1], along),
    ) {
        (None, Some(_)) => (node.inputs[0], node.inputs[1]),
        (Some(_), None) => (node.inputs[1], node.inputs[0]),
        _ => return None,
    };
    let (outer_guard, softmax) = match &graph.node(weights).op {
        Op::Map(Scalar::Select) if is_constant(graph, graph.node(weights).inputs[2], 0.0) => {
            (Some(graph.node(weights).inputs[0]), graph.node(weights).inputs[1])
        }
        _ => (None, weights),
    };
    let Op::Softmax { along: normalized } = graph.node(softmax).op else { return None };
    if normalized != along {
        return None;
    }
    let result = graph.node(softmax).inputs[0];
    let mut body = Body { graph, derived, along, scores: None, map: Vec::new(), operands: Vec::new() };
    body.collect(result)?;
    let (scores, query, key_read) = body.scores?;
    // The softmax is 0 wherever its input is −∞, so the same guard outside of it says nothing more.
    if let Some(guard) = outer_guard {
        let inner = graph.node(result);
        let same = matches!(inner.op, Op::Map(Scalar::Select))
            && inner.inputs[0] == guard
            && is_constant(graph, inner.inputs[2], f64::NEG_INFINITY);
        if !same {
            return None;
        }
    }
    let found = Match {
        scores,
        query,
        key_read,
        value_read,
        key: stored(graph, derived, key_read, along)?,
        value: stored(graph, derived, value_read, along)?,
        along,
        map: body.map,
        operands: body.operands,
        result,
        window: derived.offsets.get(&id).copied().filter(|o| o.hi.is_some())?,
    };
    found.fits(graph).then_some(found)
}

/// The stored tensor that `read` reads under `along`, if it is such a read.
fn stored(graph: &Graph, derived: &Derived, read: NodeId, along: AxisId) -> Option<NodeId> {
    let node = graph.node(read);
    let renames = matches!(&node.op, Op::Relabel(pairs) if pairs.iter().any(|p| p.1 == along));
    (derived.reads.contains_key(&read) && renames).then(|| node.inputs[0])
}

fn is_constant(graph: &Graph, id: NodeId, value: f64) -> bool {
    graph.as_constant(id) == Some(value)
}

struct Body<'a> {
    graph: &'a Graph,
    derived: &'a Derived,
    along: AxisId,
    scores: Option<(NodeId, NodeId, NodeId)>,
    map: Vec<NodeId>,
    operands: Vec<NodeId>,
}

impl Body<'_> {
    /// Collects the pointwise nodes from `id` down to the scores, inputs first.
    fn collect(&mut self, id: NodeId) -> Option<()> {
        let node = self.graph.node(id);
        if self.map.contains(&id) || self.scores.is_some_and(|s| s.0 == id) {
            return Some(());
        }
        if !node.axes.contains(&self.along) {
            if !matches!(node.op, Op::Const(_) | Op::Iota) && !self.operands.contains(&id) {
                self.operands.push(id);
            }
            return Some(());
        }
        match &node.op {
            Op::Iota => Some(()),
            Op::Relabel(_) if matches!(self.graph.node(node.inputs[0]).op, Op::Iota) => Some(()),
            Op::Map(_) if self.map.len() < 64 => {
                node.inputs.iter().try_for_each(|&i| self.collect(i))?;
                self.map.push(id);
                Some(())
            }
            Op::Contract { .. } if node.inputs.len() == 2 && self.scores.is_none() => {
                let key = |i: usize| stored(self.graph, self.derived, node.inputs[i], self.along);
                let (q, k) = match (key(0), key(1)) {
                    (None, Some(_)) => (0, 1),
                    (Some(_), None) => (1, 0),
                    _ => return None,
                };
                self.scores = Some((id, node.inputs[q], node.inputs[k]));
                Some(())
            }
            _ => None,
        }
    }
}

impl Match {
    /// Whether the axes are those of the kernel: rows, heads, queries, widths, at most one of each.
    fn fits(&self, graph: &Graph) -> bool {
        let axes = |id| &graph.node(id).axes;
        let has_stream = axes(self.query).iter().any(|&a| graph.extent(a) == Extent::Stream);
        let widths = self.parts(graph);
        let scalars = self.operands.iter().all(|&o| axes(o).iter().all(|a| widths.outer.contains(a)));
        !has_stream
            && scalars
            && widths.heads.len() <= 1
            && widths.queries.len() <= 1
            && widths.key.len() == 1
            && widths.value.len() == 1
            && axes(self.query).iter().any(|&a| graph.extent(a) == Extent::Rows)
            && axes(self.value_read)
                .iter()
                .all(|a| widths.heads.contains(a) || widths.value.contains(a) || *a == self.along)
            && !widths.outer.contains(&widths.value[0])
    }

    /// The axes by their role.
    pub fn parts(&self, graph: &Graph) -> Parts {
        let axes = |id| graph.node(id).axes.clone();
        let (query, key, value, scores) =
            (axes(self.query), axes(self.key_read), axes(self.value_read), axes(self.scores));
        let rows: Vec<AxisId> = query.iter().copied().filter(|&a| graph.extent(a) == Extent::Rows).collect();
        let heads: Vec<AxisId> =
            key.iter().copied().filter(|a| scores.contains(a) && *a != self.along).collect();
        let contracted: Vec<AxisId> = key.iter().copied().filter(|a| !scores.contains(a)).collect();
        let queries: Vec<AxisId> = query
            .iter()
            .copied()
            .filter(|a| !heads.contains(a) && !contracted.contains(a) && !rows.contains(a))
            .collect();
        let values: Vec<AxisId> =
            value.into_iter().filter(|a| !heads.contains(a) && *a != self.along).collect();
        let outer = rows.iter().chain(&heads).chain(&queries).copied().collect();
        Parts { rows, heads, queries, key: contracted, value: values, outer }
    }

    /// The guard of the scores, if it says no more than the window does.
    pub fn redundant_guard(&self, graph: &Graph) -> bool {
        let node = graph.node(self.result);
        matches!(node.op, Op::Map(Scalar::Select))
            && is_constant(graph, node.inputs[2], f64::NEG_INFINITY)
            && is_interval(graph, node.inputs[0])
    }
}

/// The axes of an attention by their role.
pub(super) struct Parts {
    pub rows: Vec<AxisId>,
    pub heads: Vec<AxisId>,
    pub queries: Vec<AxisId>,
    pub key: Vec<AxisId>,
    pub value: Vec<AxisId>,
    /// Rows, heads, queries.
    pub outer: Vec<AxisId>,
}

/// Whether a guard is nothing but bounds on the difference of the two indices of the stream: a conjunction of comparisons in
/// which each has coefficient 1.
fn is_interval(graph: &Graph, guard: NodeId) -> bool {
    let node = graph.node(guard);
    match node.op {
        Op::Map(Scalar::And | Scalar::Mul) => node.inputs.iter().all(|&i| is_interval(graph, i)),
        Op::Map(Scalar::Le | Scalar::Lt) => {
            let sides = (units(graph, node.inputs[0], 8), units(graph, node.inputs[1], 8));
            matches!(sides, (Some((r, s)), Some((u, v))) if (r - u, s - v) == (1, -1) || (r - u, s - v) == (-1, 1))
        }
        _ => false,
    }
}

/// The coefficients of the row's index and of the other in a sum of those and integers.
fn units(graph: &Graph, id: NodeId, depth: u32) -> Option<(i32, i32)> {
    let node = graph.node(id);
    let of = |i: usize| units(graph, node.inputs[i], depth.checked_sub(1)?);
    match node.op {
        Op::Const(bits) => (f64::from_bits(bits).fract() == 0.0).then_some((0, 0)),
        Op::Iota => match graph.extent(node.axes[0]) {
            Extent::Rows => Some((1, 0)),
            Extent::Stream => Some((0, 1)),
            _ => None,
        },
        Op::Map(Scalar::Add) => of(0).zip(of(1)).map(|(a, b)| (a.0 + b.0, a.1 + b.1)),
        Op::Map(Scalar::Sub) => of(0).zip(of(1)).map(|(a, b)| (a.0 - b.0, a.1 - b.1)),
        Op::Map(Scalar::Neg) => of(0).map(|a| (-a.0, -a.1)),
        _ => None,
    }
}
