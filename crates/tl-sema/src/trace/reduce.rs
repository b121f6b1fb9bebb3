//! Reductions and contractions under guards.
//!
//! Elements that an active guard excludes do not exist: before a reduction over an axis that a clause mentions, they become the
//! neutral element of the reduction. What does not have an axis is the same at each of its positions.

use tl_ir::{AxisId, Extent, NodeId, Reduction, Scalar};
use tl_syntax::Span;

use crate::program::{Factor, Projection};

use super::value::{Tensor, Value};
use super::{Res, Tracer};

impl Tracer<'_> {
    /// Reduces a node over axes.
    pub(super) fn reduce(
        &mut self,
        kind: Projection,
        node: NodeId,
        over: &[AxisId],
        span: Span,
    ) -> Res<NodeId> {
        let reduced = match kind {
            Projection::Reduce(kind) => self.reduce_plain(kind, node, over, span)?,
            Projection::Mean => {
                let sum = self.reduce_plain(Reduction::Sum, node, over, span)?;
                let one = self.graph.constant(1.0, span);
                let count = self.reduce_plain(Reduction::Sum, one, over, span)?;
                self.graph.map(Scalar::Div, &[sum, count], span)
            }
            Projection::Count => {
                let truth = self.truth(node, span);
                self.reduce_plain(Reduction::Sum, truth, over, span)?
            }
            Projection::Any => {
                let truth = self.truth(node, span);
                let count = self.reduce_plain(Reduction::Sum, truth, over, span)?;
                self.graph.map(Scalar::Step, &[count], span)
            }
            Projection::All => {
                let lie = self.graph.map(Scalar::Not, &[node], span);
                let count = self.reduce_plain(Reduction::Sum, lie, over, span)?;
                self.graph.map(Scalar::Not, &[count], span)
            }
        };
        Ok(reduced)
    }

    fn truth(&mut self, node: NodeId, span: Span) -> NodeId {
        let zero = self.graph.constant(0.0, span);
        self.graph.map(Scalar::Ne, &[node, zero], span)
    }

    fn reduce_plain(&mut self, kind: Reduction, node: NodeId, over: &[AxisId], span: Span) -> Res<NodeId> {
        let neutral = match kind {
            Reduction::Sum => 0.0,
            Reduction::Prod => 1.0,
            Reduction::Max | Reduction::Argmax => f64::NEG_INFINITY,
            Reduction::Min | Reduction::Argmin => f64::INFINITY,
        };
        let mut node = self.masked(node, over, neutral, span);
        let has = |tracer: &Self, axis: &AxisId| tracer.graph.node(node).axes.contains(axis);
        let (present, absent): (Vec<AxisId>, Vec<AxisId>) = over.iter().partition(|axis| has(self, axis));
        for axis in absent {
            node = match kind {
                Reduction::Max | Reduction::Min => node,
                Reduction::Argmax | Reduction::Argmin => self.graph.constant(0.0, span),
                Reduction::Sum | Reduction::Prod => {
                    let size = self.axis_size(axis, span)?;
                    let size = self.as_node(size, span)?;
                    let scalar = if kind == Reduction::Sum { Scalar::Mul } else { Scalar::Pow };
                    self.graph.map(scalar, &[node, size], span)
                }
            };
        }
        if present.is_empty() {
            return Ok(node);
        }
        Ok(self.graph.reduce(kind, node, &present, span))
    }

    /// The node with what active guards exclude along `axes` replaced.
    pub(super) fn masked(&mut self, mut node: NodeId, axes: &[AxisId], otherwise: f64, span: Span) -> NodeId {
        for clause in self.guards.clone() {
            if clause.axes.iter().any(|axis| axes.contains(axis)) {
                node = self.graph.select(clause.node, node, otherwise, span);
            }
        }
        node
    }

    /// The sum over `axes` of a product.
    pub(super) fn contract(
        &mut self,
        values: Vec<(Factor, Value)>,
        axes: &[AxisId],
        span: Span,
    ) -> Res<NodeId> {
        let (mut factors, mut scale, mut divisors) = (Vec::new(), 1.0, Vec::new());
        for (factor, value) in values {
            if let (Factor::Times, Some(n)) = (factor, value.number()) {
                scale *= n;
                continue;
            }
            let node = self.as_node(value, span)?;
            let summed = self.graph.node(node).axes.iter().any(|axis| axes.contains(axis));
            match factor {
                Factor::Times => factors.push(node),
                Factor::Over if summed => {
                    let one = self.graph.constant(1.0, span);
                    factors.push(self.graph.map(Scalar::Div, &[one, node], span));
                }
                Factor::Over => divisors.push(node),
            }
        }
        self.mask_factors(&mut factors, axes, span);
        let mut product = self.sum_product(&factors, axes, span)?;
        if scale != 1.0 {
            let scale = self.graph.constant(scale, span);
            product = self.graph.map(Scalar::Mul, &[product, scale], span);
        }
        for divisor in divisors {
            product = self.graph.map(Scalar::Div, &[product, divisor], span);
        }
        Ok(product)
    }

    /// Each clause that mentions a summed axis makes one factor 0 where it does not hold: the one that shares most axes with it,
    /// so that the factor grows least.
    fn mask_factors(&mut self, factors: &mut Vec<NodeId>, axes: &[AxisId], span: Span) {
        for clause in self.guards.clone() {
            if !clause.axes.iter().any(|axis| axes.contains(axis)) {
                continue;
            }
            let shared = |node: &NodeId| {
                let own = &self.graph.node(*node).axes;
                clause.axes.iter().filter(|axis| own.contains(axis)).count()
            };
            match (0..factors.len()).max_by_key(|&i| (shared(&factors[i]), std::cmp::Reverse(i))) {
                Some(best) => factors[best] = self.graph.select(clause.node, factors[best], 0.0, span),
                None => factors.push(clause.node),
            }
        }
    }

    fn sum_product(&mut self, factors: &[NodeId], axes: &[AxisId], span: Span) -> Res<NodeId> {
        let has =
            |tracer: &Self, axis: &AxisId| factors.iter().any(|&f| tracer.graph.node(f).axes.contains(axis));
        let (present, absent): (Vec<AxisId>, Vec<AxisId>) = axes.iter().partition(|axis| has(self, axis));
        let mut product = match factors {
            [] => self.graph.constant(1.0, span),
            _ => self.graph.contract(factors, &present, span),
        };
        for axis in absent {
            let size = self.axis_size(axis, span)?;
            let size = self.as_node(size, span)?;
            product = self.graph.map(Scalar::Mul, &[product, size], span);
        }
        Ok(product)
    }

    /// How many positions an axis has; along the stream the graph counts them.
    pub(super) fn axis_size(&mut self, axis: AxisId, span: Span) -> Res<Value> {
        Ok(match self.graph.extent(axis) {
            Extent::Static(n) => Value::Number(n as f64),
            Extent::Unknown => Value::Unknown,
            Extent::Rows | Extent::Stream => {
                let ones = self.ones(axis, span);
                let node = self.graph.reduce(Reduction::Sum, ones, &[axis], span);
                Value::Tensor(Tensor { node, axes: Vec::new() })
            }
        })
    }

    /// 1 at each position of an axis.
    pub(super) fn ones(&mut self, axis: AxisId, span: Span) -> NodeId {
        let (zero, iota) = (self.graph.constant(0.0, span), self.graph.iota(axis, span));
        self.graph.map(Scalar::Le, &[zero, iota], span)
    }

    /// The node with that axis, whether or not it varies along it.
    pub(super) fn with_axis(&mut self, node: NodeId, axis: AxisId, span: Span) -> NodeId {
        if self.graph.node(node).axes.contains(&axis) {
            return node;
        }
        let ones = self.ones(axis, span);
        self.graph.map(Scalar::Mul, &[node, ones], span)
    }

    /// The tensor with all of its axes in its node.
    pub(super) fn materialize(&mut self, tensor: Tensor, span: Span) -> Tensor {
        let node = tensor.axes.iter().fold(tensor.node, |node, &axis| self.with_axis(node, axis, span));
        Tensor { node, axes: tensor.axes }
    }

    /// The node with each axis of `from` renamed to the one of `to`, where it has it.
    pub(super) fn rename(&mut self, node: NodeId, from: &[AxisId], to: &[AxisId], span: Span) -> NodeId {
        let own = &self.graph.node(node).axes;
        let pairs: Vec<_> =
            from.iter().copied().zip(to.iter().copied()).filter(|(f, _)| own.contains(f)).collect();
        self.graph.relabel(node, &pairs, span)
    }
}
