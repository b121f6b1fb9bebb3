//! Left sides: how a value takes the axes of the tensor that an equation defines.
//!
//! ```text
//! plain `i`              the value's own axis; the second time a diagonal
//! `2·j + 1`              Place: spread over a longer axis; along the stream `p + k` is a Delay
//! a number, a variable   the value at one position, 0 elsewhere
//! `x / 2`                blocks of positions, projected as the equation's operator says
//! `(g r c)`              Merge
//! a tensor `dst[e]`      scatter: elements that meet are projected as the operator says
//! ```
//!
//! Elsewhere stands what the operator leaves as it is: 0, or −∞ for `max=` and ∞ for `min=`.

use std::rc::Rc;

use tl_ir::{AxisId, Extent, NodeId, Op, Scalar};
use tl_syntax::{Diagnostic, Span, codes};

use crate::program::{Equation, Index, IndexKind};

use super::frame::{Bound, Cx};
use super::value::{Coordinate, Tensor};
use super::{Res, Tracer};

impl Tracer<'_> {
    /// Elements of the left side that the guard excludes do not take part ([`Block::excluded`]). A clause that mentions an index that was
    /// reduced away has done its work, and so has one that a softmax has seen.
    ///
    /// [`Block::excluded`]: crate::block::Block::excluded
    pub(super) fn keep_inside(
        &mut self,
        cx: &Cx,
        equation: &Equation,
        mut node: NodeId,
        clauses: &[super::Clause],
    ) -> NodeId {
        let block = Rc::clone(&cx.frame.block);
        let (facts, excluded) = (&block.facts[cx.unit], block.excluded(equation));
        let gone: Vec<AxisId> = facts
            .variables
            .iter()
            .filter(|(name, _)| !facts.left.contains(name))
            .filter_map(|(name, _)| match cx.variables.get(name) {
                Some(Bound::Axis(axis)) => Some(*axis),
                _ => None,
            })
            .collect();
        for clause in clauses {
            let done = match &self.graph.node(node).op {
                Op::Softmax { along } => excluded == 0.0 && clause.axes.contains(along),
                _ => false,
            };
            if !done && !clause.axes.iter().any(|axis| gone.contains(axis)) {
                node = self.graph.select(clause.node, node, excluded, equation.span);
            }
        }
        node
    }

    /// Gives a value the axes of the left side.
    pub(super) fn place_left(&mut self, cx: &mut Cx, equation: &Equation, value: Tensor) -> Res<Tensor> {
        let Some(indices) = &equation.indices else { return Ok(value) };
        let staged = self.staged_positions(&cx.frame, &equation.target.text, indices);
        let kept: Vec<(usize, &Index)> =
            indices.iter().enumerate().filter(|(k, _)| !staged.contains(k)).collect();
        // A value without indices has all positions; of those that are unrolled, this is one step.
        let value = match value.axes.len() == indices.len() && !staged.is_empty() {
            true => self.at_steps(cx, indices, &staged, value)?,
            false => value,
        };
        let mut node = value.node;
        if !value.axes.is_empty() {
            node = self.name_open_axes(cx, equation, &value, &kept)?;
        }
        let (scattered, at) = self.scatter_together(cx, equation, node, &kept)?;
        node = scattered;
        let mut axes: Vec<AxisId> = Vec::new();
        for (position, index) in kept {
            let (placed, axis) = match at.iter().find(|(scattered, _)| *scattered == position) {
                Some(&(_, axis)) => (node, axis),
                None => self.place_index(cx, equation, node, position, index, &axes)?,
            };
            node = placed;
            axes.push(axis);
        }
        // An index that cancels out, as in `y[0 * n]`, has no place.
        for name in &cx.frame.block.facts[cx.unit].left {
            if let Some(Bound::Axis(axis)) = cx.variables.get(name)
                && !axes.contains(axis)
                && self.graph.node(node).axes.contains(axis)
            {
                return self.fail(
                    Diagnostic::error(
                        codes::BAD_INDEX,
                        equation.target.span,
                        format!("`{name}` says nothing about where the left side writes"),
                    )
                    .help(format!(
                        "leave `{name}` out, so that it is summed, or give it a position of its own"
                    )),
                );
            }
        }
        Ok(Tensor { node, axes })
    }

    /// A value at the steps of the positions that are unrolled; its other axes stay.
    fn at_steps(&mut self, cx: &mut Cx, indices: &[Index], staged: &[usize], value: Tensor) -> Res<Tensor> {
        let mut node = value.node;
        for &position in staged {
            let (axis, span) = (value.axes[position], indices[position].span);
            let Some(step) = self.coordinate(cx, &indices[position])? else {
                return self.unplaceable(&indices[position]);
            };
            if self.graph.node(node).axes.contains(&axis) {
                node = self.graph.index(node, axis, tl_ir::AffineMap::constant(step.step), span);
            }
        }
        let rest = value.axes.iter().enumerate().filter(|(k, _)| !staged.contains(k));
        Ok(Tensor { node, axes: rest.map(|(_, &axis)| axis).collect() })
    }

    /// The open axes of the right side take the left side's indices in order.
    fn name_open_axes(
        &mut self,
        cx: &mut Cx,
        equation: &Equation,
        value: &Tensor,
        kept: &[(usize, &Index)],
    ) -> Res<NodeId> {
        // Where there are fewer axes than positions, those of numbers have none.
        let is_variable = |index: &Index| match &index.kind {
            IndexKind::Name(name) => {
                let facts = &cx.frame.block.facts[cx.unit];
                facts.variables.iter().any(|(variable, _)| variable == name)
            }
            _ => false,
        };
        let named: Vec<(usize, &Index)> =
            kept.iter().filter(|(_, index)| is_variable(index)).copied().collect();
        let kept = if kept.len() == value.axes.len() { kept } else { &named };
        if kept.len() != value.axes.len() {
            let (left, right) = (kept.len(), value.axes.len());
            return self.fail(
                Diagnostic::error(
                    codes::INDEX_COUNT,
                    equation.target.span,
                    format!("the left side has {left} indices, the value has {right} axes"),
                )
                .label(equation.value.span, format!("{right} axes")),
            );
        }
        let mut to = Vec::new();
        for ((_, index), &axis) in kept.iter().zip(&value.axes) {
            let IndexKind::Name(name) = &index.kind else {
                return self.fail(
                    Diagnostic::error(
                        codes::BAD_INDEX,
                        index.span,
                        "a value without indices needs plain indices on the left",
                    )
                    .label(equation.value.span, "this has no indices"),
                );
            };
            let extent = self.graph.extent(axis);
            let target = match cx.variables.get(name) {
                Some(Bound::Axis(target)) => *target,
                _ => self.bind_variable(cx, name, extent),
            };
            if !crate::sizes::agree(self.graph.extent(target), extent) {
                let (a, b) = (super::frame::show(self.graph.extent(target)), super::frame::show(extent));
                return self.fail(
                    Diagnostic::error(
                        codes::SIZE_MISMATCH,
                        index.span,
                        format!("`{name}` has two sizes: {a} and {b}"),
                    )
                    .here(format!("{a} here"))
                    .label(equation.value.span, format!("{b} here")),
                );
            }
            to.push(target);
        }
        if to.iter().any(|axis| self.graph.node(value.node).axes.contains(axis)) {
            return self.fail(
                Diagnostic::error(
                    codes::BAD_INDEX,
                    equation.value.span,
                    "a tensor without indices meets others that have them",
                )
                .here("it is not clear which of its axes is which index")
                .help("write the indices of all tensors here"),
            );
        }
        Ok(self.rename(value.node, &value.axes, &to, equation.span))
    }

    /// Places a value at one index of the left side; gives the axis of that position.
    fn place_index(
        &mut self,
        cx: &mut Cx,
        equation: &Equation,
        node: NodeId,
        position: usize,
        index: &Index,
        before: &[AxisId],
    ) -> Res<(NodeId, AxisId)> {
        let span = index.span;
        let block = Rc::clone(&cx.frame.block);
        match &index.kind {
            IndexKind::Name(name) if block.facts[cx.unit].variables.iter().any(|(v, _)| v == name) => {
                let axis = self.axis_of(cx, name, span)?;
                if !before.contains(&axis) {
                    return Ok((node, axis));
                }
                // A diagonal: the value stands where both indices are the same.
                let extent = self.graph.extent(axis);
                let other = self.hidden_axis(&format!("{name}'{position}"), extent);
                let (a, b) = (self.graph.iota(axis, span), self.graph.iota(other, span));
                let same = self.graph.map(Scalar::Eq, &[a, b], span);
                Ok((self.graph.select(same, node, equation.projection.identity(), span), other))
            }
            IndexKind::Name(_) => match self.coordinate(cx, index)? {
                Some(step) => self.place_constant(cx, equation, node, position, step, span),
                None => self.unplaceable(index),
            },
            IndexKind::Expr(expr) => {
                let linear = self.linear(cx, expr)?;
                match linear {
                    Some(linear) if linear.terms.is_empty() && linear.divisor == 1 => {
                        let step = Coordinate { step: linear.offset, known: true };
                        self.place_constant(cx, equation, node, position, step, span)
                    }
                    Some(linear)
                        if linear.divisor == 1 && linear.terms.len() == 1 && linear.terms[0].1 > 0 =>
                    {
                        let axis = self.axis_of(cx, &linear.terms[0].0, span)?;
                        let node = self.with_axis(node, axis, span);
                        if self.graph.extent(axis).is_stream() {
                            return self.place_later(
                                cx,
                                node,
                                axis,
                                (linear.terms[0].1, linear.offset),
                                index,
                            );
                        }
                        let into = self.left_axis(cx, equation, position, span)?;
                        let op = Op::Place { axis, into, stride: linear.terms[0].1, offset: linear.offset };
                        let placed = self.graph.add(op.clone(), vec![node], None, span);
                        if equation.projection.identity() == 0.0 {
                            return Ok((placed, into));
                        }
                        let ones = self.ones(axis, span);
                        let here = self.graph.add(op, vec![ones], None, span);
                        Ok((self.graph.select(here, placed, equation.projection.identity(), span), into))
                    }
                    Some(linear) if linear.terms.len() == 1 && linear.terms[0].1 == 1 => {
                        let axis = self.axis_of(cx, &linear.terms[0].0, span)?;
                        let into = self.left_axis(cx, equation, position, span)?;
                        self.place_blocks(equation, node, axis, into, (linear.offset, linear.divisor), index)
                    }
                    _ => {
                        let value = self.eval(cx, expr)?;
                        let at = self.as_node(value, span)?;
                        self.scatter(cx, equation, node, position, at, span)
                    }
                }
            }
            IndexKind::Group(names) => {
                let mut node = node;
                let mut axes = Vec::new();
                for name in names {
                    let axis = self.axis_of(cx, &name.text, name.span)?;
                    node = self.with_axis(node, axis, span);
                    axes.push(axis);
                }
                let into = self.left_axis(cx, equation, position, span)?;
                Ok((self.graph.add(Op::Merge { axes, into }, vec![node], None, span), into))
            }
            IndexKind::Any | IndexKind::Slice(..) => self.unplaceable(index),
        }
    }

    fn place_constant(
        &mut self,
        cx: &mut Cx,
        equation: &Equation,
        node: NodeId,
        position: usize,
        step: Coordinate,
        span: Span,
    ) -> Res<(NodeId, AxisId)> {
        let axis = self.left_axis(cx, equation, position, span)?;
        let at = match step.known {
            true => self.graph.constant(step.step as f64, span),
            false => self.unknown(span),
        };
        let iota = self.graph.iota(axis, span);
        let here = self.graph.map(Scalar::Eq, &[iota, at], span);
        Ok((self.graph.select(here, node, equation.projection.identity(), span), axis))
    }

    /// `y[p + 1] = x[p]` along the stream: the value of the row before.
    fn place_later(
        &mut self,
        cx: &Cx,
        node: NodeId,
        axis: AxisId,
        (stride, offset): (i64, i64),
        index: &Index,
    ) -> Res<(NodeId, AxisId)> {
        match (self.graph.extent(axis), u32::try_from(offset)) {
            (Extent::Rows, Ok(1..)) if stride == 1 && cx.early => Ok((node, axis)),
            (Extent::Rows, Ok(by @ 1..)) if stride == 1 => {
                Ok((self.graph.add(Op::Delay { by }, vec![node], None, index.span), axis))
            }
            (_, Ok(0)) if stride == 1 => Ok((node, axis)),
            _ => self.unplaceable(index),
        }
    }

    /// `y[x / 2] max= z[x]`: each block of `divisor` positions is projected to one.
    fn place_blocks(
        &mut self,
        equation: &Equation,
        node: NodeId,
        axis: AxisId,
        into: AxisId,
        (offset, divisor): (i64, i64),
        index: &Index,
    ) -> Res<(NodeId, AxisId)> {
        let span = index.span;
        let (Extent::Static(size), Ok(width)) = (self.graph.extent(axis), usize::try_from(divisor)) else {
            return self.unplaceable(index);
        };
        let inner = self.hidden_axis(
            &format!("{}%{divisor}", self.graph.axis_info(axis).name.clone()),
            Extent::Static(width),
        );
        let map = tl_ir::AffineMap { terms: vec![(into, divisor), (inner, 1)], offset: -offset, divisor: 1 };
        let node = self.with_axis(node, axis, span);
        let node = self.graph.index(node, axis, map, span);
        // The last block may be shorter, and the first begin before the axis: those positions do not exist.
        let (block, place) = (self.graph.iota(into, span), self.graph.iota(inner, span));
        let number = |tracer: &mut Self, n: i64| tracer.graph.constant(n as f64, span);
        let (by, shift, zero, last) =
            (number(self, divisor), number(self, offset), number(self, 0), number(self, size as i64));
        let start = self.graph.map(Scalar::Mul, &[block, by], span);
        let at = self.graph.map(Scalar::Add, &[start, place], span);
        let at = self.graph.map(Scalar::Sub, &[at, shift], span);
        let before = self.guards.len();
        for (a, b, compare) in [(zero, at, Scalar::Le), (at, last, Scalar::Lt)] {
            let node = self.graph.map(compare, &[a, b], span);
            let axes = self.graph.node(node).axes.clone();
            self.guards.push(super::Clause { node, axes });
        }
        let reduced = self.reduce(equation.projection, node, &[inner], span);
        self.guards.truncate(before);
        Ok((reduced?, into))
    }

    /// The axis of a position of the left side that is written at computed places.
    pub(super) fn left_axis(
        &mut self,
        cx: &mut Cx,
        equation: &Equation,
        position: usize,
        span: Span,
    ) -> Res<AxisId> {
        let frame = Rc::clone(&cx.frame);
        let target = &equation.target.text;
        let Some(class) = frame.block.domains.position(target, position) else {
            return self.unknown_axis(target, position, span, &frame);
        };
        if let Some((axis, _)) = frame.home(class) {
            return Ok(axis);
        }
        let extent = match self.class_extent(&frame, class)? {
            Some((extent, _)) => Some(extent),
            None => self.written_extent(cx, equation, position)?,
        };
        match extent {
            Some(extent) => {
                Ok(self.local_axis(&frame, class, &format!("{target}.{position}").into(), extent))
            }
            None => self.unknown_axis(target, position, span, &frame),
        }
    }

    #[cold]
    pub(super) fn unplaceable<T>(&mut self, index: &Index) -> Res<T> {
        self.fail(
            Diagnostic::error(codes::BAD_INDEX, index.span, "this can't stand on a left side").here(
                "a left side has indices, `2 * j + 1` with a positive factor, numbers, and groups `(a b)`",
            ),
        )
    }
}
