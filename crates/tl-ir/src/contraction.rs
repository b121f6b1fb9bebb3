//! The order of joins: every join becomes joins of two, every reduction a chain over one axis at a time, every read at a position
//! that follows the stream a gather.
//!
//! A join of `n` operands can be bracketed in many ways, and their costs differ by powers of ten. Costs count the positions
//! that a join ranges over. Up to [`EXACT`] operands the best bracketing is found by dynamic programming over subsets
//!
//! ```text
//! best({a}) = a        best(S) = min over S = A ∪ B of best(A) + best(B) + positions(A joined with B)
//! ```
//!
//! and beyond that greedily, the pair first whose join is smallest. A summed axis is summed as soon as no other operand has it; so
//! in the result each summed axis of a join is an axis of both of its operands.

use std::collections::HashMap;

use crate::axis::{AxisId, Extent};
use crate::graph::{Graph, NodeId};
use crate::op::{AffineMap, Op, Reduction, Scalar};

/// Up to how many operands the best order is searched.
pub const EXACT: usize = 8;

/// The same graph with joins of two operands and reductions of one axis.
pub fn order(graph: &Graph) -> Graph {
    sums_in_joins(graph).rewrite(|out, node, inputs| match &node.op {
        Op::Contract { sum } => {
            let mut join = Join { out, sum, span: node.span };
            let mut operands: Vec<NodeId> = Vec::new();
            for i in 0..inputs.len() {
                let elsewhere = |a: &AxisId| {
                    inputs.iter().enumerate().any(|(j, &o)| j != i && join.out.node(o).axes.contains(a))
                };
                let own: Vec<AxisId> = sum
                    .iter()
                    .filter(|a| join.out.node(inputs[i]).axes.contains(a) && !elsewhere(a))
                    .copied()
                    .collect();
                operands.push(join.sum_out(inputs[i], &own));
            }
            Some(join.run(operands))
        }
        Op::Reduce {
            kind: kind @ (Reduction::Sum | Reduction::Prod | Reduction::Max | Reduction::Min),
            over,
        } if over.len() > 1 => {
            // From the last axis in memory on, so that what remains stays contiguous.
            let mut axes: Vec<AxisId> =
                out.node(inputs[0]).axes.iter().filter(|a| over.contains(a)).copied().collect();
            axes.reverse();
            Some(axes.iter().fold(inputs[0], |x, &a| out.reduce(*kind, x, &[a], node.span)))
        }
        // A position that follows the stream is data: its axis has no end that could be known now.
        Op::Index { axis, map } if follows_stream(out, *axis, map) => {
            let zero = out.constant(map.offset as f64, node.span);
            let sum = map.terms.iter().fold(zero, |sum, &(term, c)| {
                let (index, c) = (out.iota(term, node.span), out.constant(c as f64, node.span));
                let scaled = out.map(Scalar::Mul, &[index, c], node.span);
                out.map(Scalar::Add, &[sum, scaled], node.span)
            });
            let divisor = out.constant(map.divisor as f64, node.span);
            let position = out.map(Scalar::FloorDiv, &[sum, divisor], node.span);
            Some(out.add(Op::Gather { along: *axis }, vec![inputs[0], position], None, node.span))
        }
        _ => None,
    })
}

/// The most factors of a product that becomes a join.
const MAX_FACTORS: usize = 64;

/// The same graph in which sums over products are joins, so that an axis may be summed before all operands have met: the sum over a
/// join, `sum[i](A[i, j] B[j, k])`, and the sum over a pointwise product that is larger than each of its factors,
/// `sum[j](A[i, j] * B[j, k])`. Products that are read elsewhere, too, stay.
pub fn sums_in_joins(graph: &Graph) -> Graph {
    let (live, mut readers) = (graph.live(), vec![0u32; graph.len()]);
    let nodes = graph.nodes().filter(|(id, _)| live[id.0 as usize]);
    let reads = nodes.flat_map(|(_, node)| &node.inputs).chain(graph.outputs().iter().map(|o| &o.node));
    reads.for_each(|id| readers[id.0 as usize] += 1);
    graph.rewrite(|out, node, inputs| {
        let Op::Reduce { kind: Reduction::Sum, over } = &node.op else { return None };
        if readers[node.inputs[0].0 as usize] != 1 {
            return None;
        }
        let product = out.node(inputs[0]).clone();
        let (factors, sum) = match &product.op {
            Op::Contract { sum } => (product.inputs, sum.iter().chain(over).copied().collect()),
            Op::Map(Scalar::Mul) => {
                let factors = factors(out, inputs[0])?;
                let is_whole = |&factor: &NodeId| out.node(factor).axes.len() == product.axes.len();
                if factors.iter().any(is_whole) {
                    return None;
                }
                (factors, over.clone())
            }
            _ => return None,
        };
        Some(out.contract(&factors, &sum, node.span))
    })
}

/// The factors of a pointwise product; `None` if there are too many.
fn factors(graph: &Graph, product: NodeId) -> Option<Vec<NodeId>> {
    let (mut factors, mut pending) = (Vec::new(), vec![product]);
    while let Some(id) = pending.pop() {
        let node = graph.node(id);
        match node.op {
            Op::Map(Scalar::Mul) => pending.extend(node.inputs.iter().rev()),
            _ => factors.push(id),
        }
        if factors.len() + pending.len() > MAX_FACTORS {
            return None;
        }
    }
    Some(factors)
}

fn follows_stream(graph: &Graph, axis: AxisId, map: &AffineMap) -> bool {
    !graph.extent(axis).is_stream() && map.terms.iter().any(|&(a, _)| graph.extent(a).is_stream())
}

struct Join<'a> {
    out: &'a mut Graph,
    sum: &'a [AxisId],
    span: crate::Span,
}

impl Join<'_> {
    fn sum_out(&mut self, operand: NodeId, axes: &[AxisId]) -> NodeId {
        axes.iter().rev().fold(operand, |x, &a| self.out.reduce(Reduction::Sum, x, &[a], self.span))
    }

    fn run(&mut self, operands: Vec<NodeId>) -> NodeId {
        if operands.len() <= 2 {
            return self.pair(&operands);
        }
        if operands.len() <= EXACT { self.exact(&operands) } else { self.greedy(operands) }
    }

    /// The join of one or two operands over the summed axes that both have.
    fn pair(&mut self, operands: &[NodeId]) -> NodeId {
        let shared: Vec<AxisId> = self
            .sum
            .iter()
            .filter(|a| operands.iter().all(|&o| self.out.node(o).axes.contains(a)))
            .copied()
            .collect();
        if operands.len() == 1 { operands[0] } else { self.out.contract(operands, &shared, self.span) }
    }

    /// The join of two among others: summed over the axes that no other operand has.
    fn pair_among(&mut self, a: NodeId, b: NodeId, others: &[NodeId]) -> NodeId {
        let mut sums = Vec::new();
        for &axis in self.sum {
            let has = |n: NodeId| self.out.node(n).axes.contains(&axis);
            if (has(a) || has(b)) && !others.iter().any(|&o| has(o)) {
                sums.push(axis);
            }
        }
        let (mut a, mut b, mut shared) = (a, b, Vec::new());
        for axis in sums {
            match (self.out.node(a).axes.contains(&axis), self.out.node(b).axes.contains(&axis)) {
                (true, true) => shared.push(axis),
                (true, false) => a = self.sum_out(a, &[axis]),
                _ => b = self.sum_out(b, &[axis]),
            }
        }
        self.out.contract(&[a, b], &shared, self.span)
    }

    fn greedy(&mut self, mut operands: Vec<NodeId>) -> NodeId {
        while operands.len() > 1 {
            let mut best = (f64::INFINITY, 0, 1);
            for i in 0..operands.len() {
                for j in i + 1..operands.len() {
                    let axes = self.axes_of(&[operands[i], operands[j]]);
                    let kept = axes.iter().filter(|a| {
                        !self.sum.contains(a)
                            || operands
                                .iter()
                                .enumerate()
                                .any(|(k, &o)| k != i && k != j && self.out.node(o).axes.contains(a))
                    });
                    // What the join leaves behind counts most: large intermediates are read again by every later join.
                    let cost =
                        self.positions(&axes) + 4.0 * self.positions(&kept.copied().collect::<Vec<_>>());
                    if cost < best.0 {
                        best = (cost, i, j);
                    }
                }
            }
            let b = operands.remove(best.2);
            let a = operands.remove(best.1);
            let joined = self.pair_among(a, b, &operands);
            operands.push(joined);
        }
        operands[0]
    }

    fn exact(&mut self, operands: &[NodeId]) -> NodeId {
        let n = operands.len();
        let full = (1usize << n) - 1;
        let members = |set: usize| (0..n).filter(move |i| set >> i & 1 == 1);
        // The axes of the value of a subset: those of its operands that are not summed, or that an operand outside has.
        let value_axes: Vec<Vec<AxisId>> = (0..=full)
            .map(|set| {
                let inside: Vec<NodeId> = members(set).map(|i| operands[i]).collect();
                let outside: Vec<NodeId> = members(full & !set).map(|i| operands[i]).collect();
                let outer = self.axes_of(&outside);
                self.axes_of(&inside)
                    .into_iter()
                    .filter(|a| !self.sum.contains(a) || outer.contains(a))
                    .collect()
            })
            .collect();
        let mut best: HashMap<usize, (f64, usize)> = (0..n).map(|i| (1 << i, (0.0, 0))).collect();
        for set in 1..=full {
            if best.contains_key(&set) {
                continue;
            }
            let mut choice = (f64::INFINITY, 0);
            let mut part = (set - 1) & set;
            while part > 0 {
                let rest = set & !part;
                if part > rest {
                    let mut axes = value_axes[part].clone();
                    axes.extend(value_axes[rest].iter().filter(|a| !value_axes[part].contains(a)));
                    let cost = best[&part].0 + best[&rest].0 + self.positions(&axes);
                    if cost < choice.0 {
                        choice = (cost, part);
                    }
                }
                part = (part - 1) & set;
            }
            best.insert(set, choice);
        }
        self.build(full, &best, operands)
    }

    fn build(&mut self, set: usize, best: &HashMap<usize, (f64, usize)>, operands: &[NodeId]) -> NodeId {
        if set.is_power_of_two() {
            return operands[set.trailing_zeros() as usize];
        }
        let part = best[&set].1;
        let (a, b) = (self.build(part, best, operands), self.build(set & !part, best, operands));
        let outside: Vec<NodeId> =
            (0..operands.len()).filter(|i| set >> i & 1 == 0).map(|i| operands[i]).collect();
        self.pair_among(a, b, &outside)
    }

    fn axes_of(&self, nodes: &[NodeId]) -> Vec<AxisId> {
        let mut axes = Vec::new();
        for &node in nodes {
            for &axis in &self.out.node(node).axes {
                if !axes.contains(&axis) {
                    axes.push(axis);
                }
            }
        }
        axes
    }

    /// How many positions the axes have together. A stream counts as a typical number of rows.
    fn positions(&self, axes: &[AxisId]) -> f64 {
        let size = |&a: &AxisId| match self.out.extent(a) {
            Extent::Static(n) => n as f64,
            Extent::Rows => 64.0,
            Extent::Stream | Extent::Unknown => 512.0,
        };
        axes.iter().map(size).product()
    }
}
