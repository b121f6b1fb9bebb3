//! Slots: what happens to each axis of a tensor that is read.
//!
//! ```text
//! plain `i`            the axis is renamed
//! affine `2·j + 1`     Index, or a Delay for `x[p − k]` along the stream
//! a variable, `0`      Index at a constant
//! a tensor `tok[p]`    Gather
//! `(g r c)`            Split
//! `a:b:step`           Index into a new open axis
//! `_`                  summed
//! ```

use std::rc::Rc;

use tl_ir::{AffineMap, AxisId, Extent, NodeId, Op, Reduction};
use tl_syntax::{Diagnostic, Span, codes};

use crate::program::{Expr, Index, IndexKind, Projection};

use super::affine::Linear;
use super::frame::{Bound, Cx, show};
use super::value::{Tensor, Value};
use super::{Failed, Res, Tracer};

/// What happens to one axis of a tensor that is read.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// It becomes this axis.
    Axis(AxisId),
    /// It is read at an affine position.
    Affine(AffineMap),
    /// It is read at the positions that a tensor holds.
    Gather(Tensor),
    /// It becomes these axes, slowest first.
    Split(Vec<AxisId>),
    /// It is read from one position on, at a distance, as an open axis.
    Slice(AxisId, i64, i64),
    /// It is summed away.
    Sum,
}

impl Tracer<'_> {
    /// A read of a tensor whose axes are known.
    pub(super) fn read(&mut self, cx: &mut Cx, tensor: &Tensor, indices: &[Index], span: Span) -> Res<Value> {
        if tensor.axes.len() != indices.len() {
            let sizes: Vec<String> = tensor.axes.iter().map(|&a| show(self.graph.extent(a))).collect();
            return self.wrong_rank("this tensor", &sizes, indices, span);
        }
        let mut slots = Vec::new();
        for (index, &axis) in indices.iter().zip(&tensor.axes) {
            let extent = self.graph.extent(axis);
            slots.push(self.slot(cx, index, extent)?);
        }
        let read = self.apply_slots(tensor.node, &tensor.axes, slots, span)?;
        Ok(Value::Tensor(read))
    }

    pub(super) fn slot(&mut self, cx: &mut Cx, index: &Index, extent: Extent) -> Res<Slot> {
        let frame = Rc::clone(&cx.frame);
        match &index.kind {
            IndexKind::Any => Ok(Slot::Sum),
            IndexKind::Name(name) if frame.block.facts[cx.unit].variables.iter().any(|(v, _)| v == name) => {
                match cx.variables.get(name) {
                    Some(Bound::Axis(axis)) => Ok(Slot::Axis(*axis)),
                    Some(Bound::Step(step)) => {
                        let value = super::step_value(*step);
                        self.position(value, index.span)
                    }
                    None => Ok(Slot::Axis(self.bind_variable(cx, name, extent))),
                }
            }
            IndexKind::Name(name) => match self.variable(&frame, cx.unit, name, index.span)? {
                Some(value) => self.position(value, index.span),
                None => Err(Failed), // Reported by the analysis.
            },
            IndexKind::Expr(expr) => {
                if let Some(linear) = self.linear(cx, expr)? {
                    return self.affine_map(cx, &linear, index.span).map(Slot::Affine);
                }
                let value = self.eval(cx, expr)?;
                self.position(value, index.span)
            }
            IndexKind::Group(names) => {
                let axes: Res<Vec<AxisId>> =
                    names.iter().map(|name| self.axis_of(cx, &name.text, name.span)).collect();
                Ok(Slot::Split(axes?))
            }
            IndexKind::Slice(from, to, step) => {
                let bounds = [from.as_deref(), to.as_deref(), step.as_deref()];
                let (from, step, length) = self.slice(cx, bounds, extent, index.span)?;
                let name = format!("{from}:{length}:{step}");
                Ok(Slot::Slice(self.hidden_axis(&name, Extent::Static(length)), from, step))
            }
        }
    }

    /// A value as a position along an axis.
    fn position(&mut self, value: Value, span: Span) -> Res<Slot> {
        let constant = match &value {
            Value::Tensor(tensor) => self.graph.as_constant(tensor.node),
            Value::Str(_) => {
                return self.fail(
                    Diagnostic::error(
                        codes::BAD_INDEX,
                        span,
                        "a text as an index needs an axis of named constants",
                    )
                    .help("axes of named constants are not available yet; use the number of the position"),
                );
            }
            other => other.number(),
        };
        match constant {
            Some(n) if n.fract() == 0.0 && n.abs() <= 1e15 => Ok(Slot::Affine(AffineMap::constant(n as i64))),
            Some(n) => self.fail(Diagnostic::error(
                codes::BAD_INDEX,
                span,
                format!("an index is a whole number, this is {n}"),
            )),
            None => {
                let tensor = self.as_tensor(value, span)?;
                Ok(Slot::Gather(tensor))
            }
        }
    }

    /// First position, distance and number of the positions that `[from, to, step]` says, negative ones from the end.
    fn slice(
        &mut self,
        cx: &mut Cx,
        [from, to, step]: [Option<&Expr>; 3],
        extent: Extent,
        span: Span,
    ) -> Res<(i64, i64, usize)> {
        let mut bound = |tracer: &mut Self, expr: Option<&Expr>| -> Res<Option<i64>> {
            let Some(expr) = expr else { return Ok(None) };
            match tracer.linear(cx, expr)?.and_then(|l: Linear| l.as_constant()) {
                Some(n) => Ok(Some(n)),
                None => tracer.fail(
                    Diagnostic::error(
                        codes::NOT_STATIC,
                        expr.span,
                        "the bounds of a slice are known numbers",
                    )
                    .help("gather with an index of its own: `y[i] = x[i + start]`"),
                ),
            }
        };
        let (from, to, step) = (bound(self, from)?, bound(self, to)?, bound(self, step)?.unwrap_or(1));
        if step < 1 {
            return self.fail(
                Diagnostic::error(codes::BAD_INDEX, span, "the step of a slice is at least 1")
                    .help("the other way round: `y[i] = x[n - 1 - i]`"),
            );
        }
        let Extent::Static(size) = extent else {
            return self.fail(Diagnostic::error(
                codes::BAD_INDEX,
                span,
                "only an axis of a known size can be sliced",
            ));
        };
        let clamp = |n: i64| if n < 0 { (n + size as i64).max(0) } else { n.min(size as i64) };
        let (from, to) = (clamp(from.unwrap_or(0)), clamp(to.unwrap_or(size as i64)));
        let length = (to - from).max(0) as u64;
        Ok((from, step, length.div_ceil(step as u64) as usize))
    }

    /// Turns the axes of a node into what the slots say.
    pub(super) fn apply_slots(
        &mut self,
        node: NodeId,
        axes: &[AxisId],
        slots: Vec<Slot>,
        span: Span,
    ) -> Res<Tensor> {
        let mut node = node;
        // Along the stream an earlier row is a delay, and then the same row.
        let mut slots = slots;
        for (slot, &axis) in slots.iter_mut().zip(axes) {
            if let Slot::Affine(map) = slot
                && self.graph.extent(axis) == Extent::Rows
                && let (&[(to, 1)], 1, back @ 1..) =
                    (&map.terms[..], map.divisor, map.offset.saturating_neg())
                && let Ok(by) = u32::try_from(back)
            {
                node = self.with_axis(node, axis, span);
                node = self.graph.add(Op::Delay { by }, vec![node], None, span);
                *slot = Slot::Axis(to);
            }
        }
        // An index that stands twice: the second time it is met, a diagonal.
        let mut seen: Vec<AxisId> = Vec::new();
        for slot in &mut slots {
            if let Slot::Axis(axis) = *slot {
                if seen.contains(&axis) {
                    *slot = Slot::Affine(AffineMap::of(axis, 1, 0));
                } else {
                    seen.push(axis);
                }
            }
        }
        let (node, axes) = self.rename_plain(node, axes, &slots, span);
        self.apply_computed(node, &axes, &slots, span)
    }

    /// Renames the axes that plain indices stand at. An axis that is to be computed with gets out of the way of a new name.
    fn rename_plain(
        &mut self,
        node: NodeId,
        axes: &[AxisId],
        slots: &[Slot],
        span: Span,
    ) -> (NodeId, Vec<AxisId>) {
        let mut to = Vec::new();
        for (position, (slot, &axis)) in slots.iter().zip(axes).enumerate() {
            let taken = slots.iter().enumerate().any(|(other, s)| other != position && self.gives(s, axis));
            to.push(match slot {
                Slot::Axis(target) => *target,
                _ if taken => {
                    let info = self.graph.axis_info(axis).clone();
                    let extent = if info.extent == Extent::Rows { Extent::Stream } else { info.extent };
                    self.hidden_axis(&format!("{}'{position}", info.name), extent)
                }
                _ => axis,
            });
        }
        (self.rename(node, axes, &to, span), to)
    }

    /// Whether an axis results from a slot.
    fn gives(&self, slot: &Slot, axis: AxisId) -> bool {
        match slot {
            Slot::Axis(target) | Slot::Slice(target, ..) => *target == axis,
            Slot::Affine(map) => map.terms.iter().any(|&(term, _)| term == axis),
            Slot::Gather(index) => self.graph.node(index.node).axes.contains(&axis),
            Slot::Split(into) => into.contains(&axis),
            Slot::Sum => false,
        }
    }

    fn apply_computed(
        &mut self,
        mut node: NodeId,
        axes: &[AxisId],
        slots: &[Slot],
        span: Span,
    ) -> Res<Tensor> {
        let mut open = Vec::new();
        for (slot, &axis) in slots.iter().zip(axes) {
            let varies = self.graph.node(node).axes.contains(&axis);
            node = match slot {
                Slot::Axis(_) => node,
                Slot::Affine(map) if !varies && self.stays_inside(map, axis) => node,
                Slot::Affine(map) => {
                    let node = self.with_axis(node, axis, span);
                    self.graph.index(node, axis, map.clone(), span)
                }
                Slot::Gather(index) => {
                    open.extend(&index.axes);
                    let node = self.with_axis(node, axis, span);
                    self.graph.add(Op::Gather { along: axis }, vec![node, index.node], None, span)
                }
                Slot::Split(_) if !varies => node,
                Slot::Split(into) => {
                    self.graph.add(Op::Split { axis, into: into.clone() }, vec![node], None, span)
                }
                Slot::Slice(into, from, step) => {
                    open.push(*into);
                    let node = self.with_axis(node, axis, span);
                    self.graph.index(node, axis, AffineMap::of(*into, *step, *from), span)
                }
                Slot::Sum => self.reduce(Projection::Reduce(Reduction::Sum), node, &[axis], span)?,
            };
        }
        if open.is_empty() {
            return Ok(Tensor { node, axes: Vec::new() });
        }
        let extents: Vec<Extent> = open.iter().map(|&axis| self.graph.extent(axis)).collect();
        let to = self.open_axes(extents);
        let node = self.rename(node, &open, &to, span);
        Ok(Tensor { node, axes: to })
    }

    /// Whether an affine position is always one of the axis.
    fn stays_inside(&self, map: &AffineMap, axis: AxisId) -> bool {
        let Extent::Static(size) = self.graph.extent(axis) else { return false };
        let (mut low, mut high) = (map.offset, map.offset);
        for &(term, coefficient) in &map.terms {
            let Extent::Static(n) = self.graph.extent(term) else { return false };
            let reach = coefficient.saturating_mul((n as i64 - 1).max(0));
            low = low.saturating_add(reach.min(0));
            high = high.saturating_add(reach.max(0));
        }
        low.div_euclid(map.divisor) >= 0 && high.div_euclid(map.divisor) < size as i64
    }
}
