//! Left sides at positions that are data: `A[dst[e], f] = M[e, f]`, `Edge[from[e], to[e]] = 1`.
//!
//! Where all computed positions depend on the same axes, and these stand nowhere else on the left, that is one [`Op::Scatter`], over the
//! combinations of the positions' axes. Any other such left side is the join with "is this the position".

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, Extent, NodeId, Op, Reduction, Scalar};
use tl_syntax::{Diagnostic, Span, codes};

use crate::program::{Equation, Index, IndexKind, Projection};

use super::frame::{Bound, Cx};
use super::{Res, Tracer, is_sum};

/// A position is a 32-bit floating-point number, exact below this.
const MAX_POSITIONS: usize = 1 << 24;

impl Tracer<'_> {
    /// Scatters a value along all computed positions of the left side at once, if that can be; gives these positions and their axes.
    pub(super) fn scatter_together(
        &mut self,
        cx: &mut Cx,
        equation: &Equation,
        node: NodeId,
        kept: &[(usize, &Index)],
    ) -> Res<(NodeId, Vec<(usize, AxisId)>)> {
        let nothing = Ok((node, Vec::new()));
        let (mut positions, mut axes, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for &(position, index) in kept {
            let IndexKind::Expr(expr) = &index.kind else { continue };
            if self.linear(cx, expr)?.is_some() {
                continue;
            }
            let at = self.eval(cx, expr)?;
            positions.push(self.as_node(at, index.span)?);
            let axis = self.left_axis(cx, equation, position, index.span)?;
            sizes.push(self.graph.extent(axis).known());
            axes.push((position, axis));
        }
        let over = match positions.first() {
            Some(&first) => self.graph.node(first).axes.clone(),
            None => return nothing,
        };
        let sizes: Vec<usize> = sizes.into_iter().flatten().collect();
        let count = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        let same = |&at: &NodeId| {
            let axes = &self.graph.node(at).axes;
            axes.len() == over.len() && axes.iter().all(|axis| over.contains(axis))
        };
        let stay = self.axes_that_stay(cx, equation, kept, &axes);
        let is_stream = |&axis: &AxisId| self.graph.extent(axis).is_stream();
        let fits = !over.is_empty()
            && sizes.len() == axes.len()
            && count.is_some_and(|n| n <= MAX_POSITIONS)
            && positions.iter().all(same)
            && !over.iter().any(|axis| stay.contains(axis))
            && !self.graph.node(node).axes.iter().chain(&over).any(is_stream);
        if !fits {
            return nothing;
        }
        let span = equation.span;
        let at = self.combined(&positions, &sizes, span);
        let whole = match axes[..] {
            [(_, axis)] => axis,
            _ => self.hidden_axis(
                &format!("{}.all", equation.target.text),
                Extent::Static(sizes.iter().product()),
            ),
        };
        let node = over.iter().fold(node, |node, &axis| self.with_axis(node, axis, span));
        let scattered = self.scattered(equation.projection, node, at, (&over, whole), span);
        let into: Vec<AxisId> = axes.iter().map(|&(_, axis)| axis).collect();
        let scattered = match into.len() {
            1 => scattered,
            _ => self.graph.add(Op::Split { axis: whole, into }, vec![scattered], None, span),
        };
        Ok((scattered, axes))
    }

    /// The axes of the indices that stand on the left side by themselves, or in a position that is not scattered.
    fn axes_that_stay(
        &self,
        cx: &Cx,
        equation: &Equation,
        kept: &[(usize, &Index)],
        scattered: &[(usize, AxisId)],
    ) -> Vec<AxisId> {
        let mut stay = Vec::new();
        let indices = equation.indices.iter().flatten().enumerate();
        for (position, index) in indices {
            let is_scattered = scattered.iter().any(|(other, _)| *other == position);
            if is_scattered || !kept.iter().any(|(other, _)| *other == position) {
                continue;
            }
            let mut visit = |name: &Arc<str>| {
                if let Some(Bound::Axis(axis)) = cx.variables.get(name) {
                    stay.push(*axis);
                }
            };
            index.each_name(&mut visit);
            index.each_part(&mut |part| part.each_name(&mut visit));
        }
        stay
    }

    /// Positions along several axes as one along their combinations, the last axis fastest; −1 where one lies outside.
    fn combined(&mut self, positions: &[NodeId], sizes: &[usize], span: Span) -> NodeId {
        let [first, rest @ ..] = positions else { unreachable!("there are positions") };
        if rest.is_empty() {
            return *first;
        }
        let mut all = *first;
        for (&at, &size) in rest.iter().zip(&sizes[1..]) {
            let size = self.graph.constant(size as f64, span);
            let scaled = self.graph.map(Scalar::Mul, &[all, size], span);
            all = self.graph.map(Scalar::Add, &[scaled, at], span);
        }
        let (zero, outside) = (self.graph.constant(0.0, span), self.graph.constant(-1.0, span));
        for (&at, &size) in positions.iter().zip(sizes) {
            let size = self.graph.constant(size as f64, span);
            let after = self.graph.map(Scalar::Le, &[zero, at], span);
            let before = self.graph.map(Scalar::Lt, &[at, size], span);
            let inside = self.graph.map(Scalar::And, &[after, before], span);
            all = self.graph.map(Scalar::Select, &[inside, all, outside], span);
        }
        all
    }

    /// What an operator makes of the elements that meet at each position; 0 where none does, or what the operator leaves as it is.
    fn scattered(
        &mut self,
        projection: Projection,
        node: NodeId,
        at: NodeId,
        (over, into): (&[AxisId], AxisId),
        span: Span,
    ) -> NodeId {
        let scatter = |tracer: &mut Self, kind: Reduction, node: NodeId| {
            tracer.graph.add(Op::Scatter { kind, over: over.to_vec(), into }, vec![node, at], None, span)
        };
        let zero = self.graph.constant(0.0, span);
        match projection {
            Projection::Reduce(kind @ (Reduction::Max | Reduction::Min)) => scatter(self, kind, node),
            Projection::Any => {
                let truth = self.graph.map(Scalar::Ne, &[node, zero], span);
                let count = scatter(self, Reduction::Sum, truth);
                self.graph.map(Scalar::Step, &[count], span)
            }
            Projection::Mean => {
                let one = self.graph.constant(1.0, span);
                let ones = over.iter().fold(one, |one, &axis| self.with_axis(one, axis, span));
                let (sum, count) = (scatter(self, Reduction::Sum, node), scatter(self, Reduction::Sum, ones));
                let mean = self.graph.map(Scalar::Div, &[sum, count], span);
                self.graph.map(Scalar::Select, &[count, mean, zero], span)
            }
            _ => scatter(self, Reduction::Sum, node),
        }
    }

    /// `y[at[e]] = x[e]`: each element goes to the position that is computed for it; those that meet are projected.
    pub(super) fn scatter(
        &mut self,
        cx: &mut Cx,
        equation: &Equation,
        node: NodeId,
        position: usize,
        at: NodeId,
        span: Span,
    ) -> Res<(NodeId, AxisId)> {
        let into = self.left_axis(cx, equation, position, span)?;
        let block = Rc::clone(&cx.frame.block);
        // Indices that stand on the left side by themselves stay.
        let mut stay = Vec::new();
        for index in equation.indices.iter().flatten() {
            if let IndexKind::Name(name) = &index.kind
                && block.facts[cx.unit].variables.iter().any(|(v, _)| v == name)
                && let Some(Bound::Axis(axis)) = cx.variables.get(name)
            {
                stay.push(*axis);
            }
        }
        // So does what positions further right are computed from, until they are placed.
        let later = equation.indices.iter().flatten().skip(position + 1);
        let mut awaited = Vec::new();
        later.for_each(|index| {
            index.each_part(&mut |expr| {
                expr.each_name(&mut |name| {
                    if let Some(Bound::Axis(axis)) = cx.variables.get(name) {
                        awaited.push(*axis);
                    }
                });
            });
        });
        let has = |axes: &[AxisId]| self.graph.node(at).axes.iter().any(|axis| axes.contains(axis));
        if has(&awaited) && equation.projection == Projection::Mean {
            return self.fail(
                Diagnostic::error(codes::BAD_INDEX, span, "a mean is placed at one computed position")
                    .help("place the sum and the count, and divide them"),
            );
        }
        stay.extend(awaited);
        let gone: Vec<AxisId> =
            self.graph.node(at).axes.iter().copied().filter(|a| !stay.contains(a)).collect();
        let iota = self.graph.iota(into, span);
        let here = self.graph.map(Scalar::Eq, &[iota, at], span);
        let node = gone.iter().fold(node, |node, &axis| self.with_axis(node, axis, span));
        if is_sum(equation.projection) && !gone.is_empty() {
            return Ok((self.graph.contract(&[node, here], &gone, span), into));
        }
        let before = self.guards.len();
        let axes = self.graph.node(here).axes.clone();
        self.guards.push(super::Clause { node: here, axes });
        let reduced = match gone.is_empty() {
            true => Ok(self.graph.select(here, node, equation.projection.identity(), span)),
            false => self.reduce(equation.projection, node, &gone, span),
        };
        self.guards.truncate(before);
        Ok((reduced?, into))
    }

    /// An axis that nothing else sizes is as large as what all equations of the tensor write to it.
    pub(super) fn written_extent(
        &mut self,
        cx: &Cx,
        equation: &Equation,
        position: usize,
    ) -> Res<Option<Extent>> {
        let block = Rc::clone(&cx.frame.block);
        let mut end = 0i64;
        for &unit in &block.tensors[&equation.target.text] {
            let Some(index) = block.units[unit].indices.as_ref().and_then(|indices| indices.get(position))
            else {
                return Ok(None);
            };
            let mut own = if unit == cx.unit { cx.clone() } else { self.bind(&cx.frame, unit, &[])? };
            let size = |tracer: &Self, cx: &Cx, name: &Arc<str>| match cx.variables.get(name) {
                Some(Bound::Axis(axis)) => tracer.graph.extent(*axis).known().map(|n| n as i64),
                _ => None,
            };
            let written = match &index.kind {
                IndexKind::Name(name) => size(self, &own, name),
                IndexKind::Group(names) => names
                    .iter()
                    .map(|name| size(self, &own, &name.text))
                    .try_fold(1i64, |product, n| product.checked_mul(n?)),
                IndexKind::Expr(expr) => match self.linear(&mut own, expr)? {
                    Some(linear) if linear.divisor == 1 => linear.terms.iter().try_fold(
                        linear.offset.saturating_add(1),
                        |end, (name, coefficient)| {
                            let last = size(self, &own, name)?.checked_sub(1)?.max(0);
                            end.checked_add(coefficient.checked_mul(last)?.max(0))
                        },
                    ),
                    Some(_) => None,
                    None => {
                        let at = self.eval(&mut own, expr)?;
                        let at = self.as_node(at, index.span)?;
                        self.largest_element(at).map(|largest| largest + 1)
                    }
                },
                _ => None,
            };
            match written {
                Some(written) => end = end.max(written),
                None => return Ok(None),
            }
        }
        Ok(usize::try_from(end).ok().map(Extent::Static))
    }

    /// The largest element of data that is there while tracing, as a position.
    fn largest_element(&self, node: NodeId) -> Option<i64> {
        let found = self.graph.node(node);
        let largest = match &found.op {
            Op::Relabel(_) | Op::Map(Scalar::Round | Scalar::Floor) => {
                return self.largest_element(found.inputs[0]);
            }
            Op::Literal(id) => self.graph.literal_values(*id).iter().copied().fold(-1.0, f32::max),
            Op::Weight(id) => {
                let tensor = self.graph.weight_info(*id).tensor.as_ref()?;
                tensor.to_f32().iter().copied().fold(-1.0, f32::max)
            }
            _ => return None,
        };
        (largest < 1e9).then_some(largest as i64)
    }
}
