//! Definitions: which equations define a tensor at a step of its staged indices, and how their values are placed.
//!
//! Recursion over a staged index is evaluated from the side where it begins, so that the host's stack stays flat. Recursion
//! along the stream becomes a delay whose input is closed when everything else is traced.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, Extent, NodeId, Op, Reduction, Scalar};
use tl_syntax::{Diagnostic, Span, codes};

use crate::program::{Equation, Index, IndexKind, Projection};

use super::frame::{Bound, Cx, DelayInput, Frame, Pending, Slot};
use super::value::{Coordinate, Tensor};
use super::{Failed, Res, Tracer, is_sum};

/// Steps that a recursion may go down before it is evaluated from its beginning.
const DIRECT_STEPS: i64 = 8;

/// An equation that defines a tensor at a step, with what its staged indices are there.
struct Match {
    unit: usize,
    steps: Vec<(Arc<str>, Coordinate)>,
    /// Whether a constant stands where the recursion runs: a base case.
    base: bool,
}

impl Tracer<'_> {
    /// A tensor of the block, at the steps of its staged positions.
    pub(super) fn define(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
        span: Span,
    ) -> Res<Tensor> {
        let place = (Arc::clone(name), steps.to_vec());
        match frame.memo.borrow().get(&place) {
            Some(Slot::Done(tensor)) => return tensor.clone(),
            Some(Slot::Begun) => {
                self.diagnostics.push(cyclic(frame, name, span));
                return Err(Failed);
            }
            None => {}
        }
        self.define_earlier(frame, name, steps, span)?;
        frame.memo.borrow_mut().insert(place.clone(), Slot::Begun);
        self.steps += 1;
        let guards = std::mem::replace(&mut self.guards, frame.guards.clone());
        let tensor = self.enter(span, |tracer| tracer.define_now(frame, name, steps, span));
        self.guards = guards;
        // Tensors of functions that are inlined have no names of their own.
        if let (Ok(tensor), 0 | 1) = (&tensor, self.inlining.len()) {
            self.graph.name(tensor.node, shown(name, steps));
        }
        frame.memo.borrow_mut().insert(place, Slot::Done(tensor.clone()));
        tensor
    }

    /// Evaluates the steps before (or after) a far one first, in order.
    fn define_earlier(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
        span: Span,
    ) -> Res<()> {
        if frame.block.domains.cycle(name).is_none() || steps.iter().all(|step| step.step <= DIRECT_STEPS) {
            return Ok(());
        }
        let known = |steps: &[Coordinate]| {
            let place = (Arc::clone(name), steps.to_vec());
            frame.memo.borrow().contains_key(&place)
        };
        // The step before is there: nothing is far.
        let mut before = steps.to_vec();
        before.iter_mut().for_each(|step| step.step -= 1);
        if known(&before)
            || before.iter().zip(steps).any(|(b, s)| {
                let near: Vec<Coordinate> = steps.iter().map(|x| if x == s { *b } else { *x }).collect();
                known(&near)
            })
        {
            return Ok(());
        }
        let Some(order) = self.recursion_order(frame, name, steps)? else { return Ok(()) };
        for earlier in order {
            if !known(&earlier) && self.has_equation(frame, name, &earlier)? {
                self.check_limits(span)?;
                self.define(frame, name, &earlier, span)?;
            }
        }
        Ok(())
    }

    /// The steps to evaluate before `steps`, in order: ascending from 0, or descending from the largest base case. `None` where
    /// there are too many; then the limit on depth speaks.
    fn recursion_order(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
    ) -> Res<Option<Vec<Vec<Coordinate>>>> {
        let top = self.largest_base(frame, name, steps)?;
        let ranges: Vec<Vec<i64>> = steps
            .iter()
            .zip(&top)
            .map(|(step, top)| match top {
                Some(top) if *top > step.step => (step.step + 1..=*top).rev().collect(),
                _ => (0..=step.step).collect(),
            })
            .collect();
        let count = ranges.iter().try_fold(1usize, |n, range| n.checked_mul(range.len()));
        if count.is_none_or(|n| n > self.limits.steps) {
            return Ok(None);
        }
        let mut order: Vec<Vec<Coordinate>> = vec![Vec::new()];
        for (range, step) in ranges.iter().zip(steps) {
            order = order
                .into_iter()
                .flat_map(|prefix| {
                    range.iter().map(move |&n| {
                        let mut next = prefix.clone();
                        next.push(Coordinate { step: n, ..*step });
                        next
                    })
                })
                .collect();
        }
        order.retain(|earlier| earlier != steps);
        Ok(Some(order))
    }

    /// The largest constant at each staged position of the left sides.
    fn largest_base(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
    ) -> Res<Vec<Option<i64>>> {
        let block = Rc::clone(&frame.block);
        let mut largest = vec![None; steps.len()];
        for &unit in &block.tensors[name] {
            let indices = block.units[unit].indices.as_deref().unwrap_or_default();
            for (place, index) in self.staged_positions(frame, name, indices).into_iter().enumerate() {
                let mut cx = self.empty_cx(frame, unit);
                if let Some(step) = self.coordinate(&mut cx, &indices[index])? {
                    largest[place] = largest[place].max(Some(step.step));
                }
            }
        }
        Ok(largest)
    }

    fn empty_cx(&self, frame: &Rc<Frame>, unit: usize) -> Cx {
        Cx { frame: Rc::clone(frame), unit, variables: Default::default(), rows: Vec::new(), early: false }
    }

    fn staged_positions(&self, frame: &Frame, name: &Arc<str>, indices: &[Index]) -> Vec<usize> {
        (0..indices.len()).filter(|&k| frame.is_staged_position(name, k)).collect()
    }

    fn has_equation(&mut self, frame: &Rc<Frame>, name: &Arc<str>, steps: &[Coordinate]) -> Res<bool> {
        self.matches(frame, name, steps).map(|found| !found.is_empty())
    }

    /// The equations that define the tensor at the steps. In a recursion a base case takes over from the general case.
    fn matches(&mut self, frame: &Rc<Frame>, name: &Arc<str>, steps: &[Coordinate]) -> Res<Vec<Match>> {
        let block = Rc::clone(&frame.block);
        let mut found = Vec::new();
        for &unit in block.tensors.get(name).map_or(&[][..], |units| units) {
            found.extend(self.match_equation(frame, name, unit, steps)?);
        }
        if block.domains.cycle(name).is_some() && found.iter().any(|m| m.base) {
            found.retain(|m| m.base);
        }
        Ok(found)
    }

    fn match_equation(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        unit: usize,
        steps: &[Coordinate],
    ) -> Res<Option<Match>> {
        let block = Rc::clone(&frame.block);
        let indices = block.units[unit].indices.as_deref().unwrap_or_default();
        let mut bound: Vec<(Arc<str>, Coordinate)> = Vec::new();
        let mut base = false;
        let mut cx = self.empty_cx(frame, unit);
        for (position, step) in self.staged_positions(frame, name, indices).into_iter().zip(steps) {
            let index = &indices[position];
            let is_index = |n: &str| block.facts[unit].variables.iter().any(|(v, _)| **v == *n);
            if let Some(offset) = crate::domains::offset_of(index, &is_index) {
                let at = Coordinate { step: step.step.saturating_sub(offset.offset), ..*step };
                let clash = bound.iter().any(|(n, s)| n == offset.variable && *s != at);
                if at.step < 0 || clash {
                    return Ok(None);
                }
                bound.push((Arc::clone(offset.variable), at));
            } else {
                match self.coordinate(&mut cx, index)? {
                    Some(constant) if constant.step == step.step => base = true,
                    Some(_) => return Ok(None),
                    None => {
                        return self.fail(
                            Diagnostic::error(codes::BAD_INDEX, index.span, "the left side of a recursion has an index, an index with an offset, or a number here")
                                .help("write `x[l + 1] = …`"),
                        );
                    }
                }
            }
        }
        Ok(Some(Match { unit, steps: bound, base }))
    }

    fn define_now(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
        span: Span,
    ) -> Res<Tensor> {
        let found = self.matches(frame, name, steps)?;
        if found.is_empty() {
            // What no equation defines is 0; but a recursion that nothing begins is a mistake.
            if let Some(step) = steps.iter().find(|s| s.step >= 0)
                && frame.block.domains.cycle(name).is_some()
                && steps.iter().all(|s| s.step >= 0)
            {
                return self.fail(no_base(frame, name, *step, span));
            }
            let node = self.graph.constant(0.0, span);
            return Ok(Tensor { node, axes: Vec::new() });
        }
        let recursive = frame.block.domains.cycle(name).is_some();
        if recursive && found.iter().any(|m| self.left_delay(frame, m.unit).is_some()) {
            return self.define_ahead(frame, name, steps, &found, span);
        }
        let mut values: Vec<(usize, Tensor)> = Vec::new();
        for found in &found {
            self.check_limits(span)?;
            values.push((found.unit, self.equation(frame, found.unit, &found.steps)?));
        }
        if recursive {
            self.let_bases_take_over(frame, &mut values, span)?;
        }
        self.add_up(frame, values, span)
    }

    /// How many rows later an equation writes: 1 for `h[p + 1] = …` along the stream.
    fn left_delay(&self, frame: &Frame, unit: usize) -> Option<u32> {
        let equation = &frame.block.units[unit];
        let is_index = |n: &str| frame.block.facts[unit].variables.iter().any(|(v, _)| **v == *n);
        equation.indices.iter().flatten().enumerate().find_map(|(position, index)| {
            let class = frame.block.domains.position(&equation.target.text, position)?;
            let offset = crate::domains::offset_of(index, &is_index)?.offset;
            u32::try_from(offset).ok().filter(|&by| by > 0 && frame.is_stream(class))
        })
    }

    /// `h[p + 1] = f(h[p])` along the stream: the tensor is a delay of what is computed from it.
    fn define_ahead(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
        found: &[Match],
        span: Span,
    ) -> Res<Tensor> {
        let axes = self.expected_axes(frame, name, span)?;
        let (mut values, mut open) = (Vec::new(), Vec::new());
        for found in found {
            match self.left_delay(frame, found.unit) {
                Some(by) => {
                    let delay = self.graph.open_delay(by, axes.clone(), span);
                    open.push((delay, found));
                    values.push((found.unit, Tensor { node: delay, axes: axes.clone() }));
                }
                None => values.push((found.unit, self.equation(frame, found.unit, &found.steps)?)),
            }
        }
        self.let_bases_take_over(frame, &mut values, span)?;
        let tensor = self.add_up(frame, values, span)?;
        // What goes into the delays is computed when everything else is, because it may need the tensor and its readers.
        for (delay, found) in open {
            let input = DelayInput::Value { unit: found.unit, steps: found.steps.clone() };
            let place = (Arc::clone(name), steps.to_vec());
            self.pending.push(Pending {
                frame: Rc::clone(frame),
                place,
                input,
                delay,
                axes: axes.clone(),
                span,
            });
        }
        Ok(tensor)
    }

    /// In a recursion along an axis, `h[0] = …` takes over from `h[p] = …` at position 0.
    fn let_bases_take_over(
        &mut self,
        frame: &Rc<Frame>,
        values: &mut [(usize, Tensor)],
        span: Span,
    ) -> Res<()> {
        let block = Rc::clone(&frame.block);
        let mut constants: Vec<(usize, usize, i64)> = Vec::new();
        for (number, (unit, _)) in values.iter().enumerate() {
            let (equation, mut cx) = (&block.units[*unit], self.empty_cx(frame, *unit));
            let indices = equation.indices.as_deref().unwrap_or_default();
            let staged = self.staged_positions(frame, &equation.target.text, indices);
            let kept = (0..indices.len()).filter(|k| !staged.contains(k));
            for (open, position) in kept.enumerate() {
                if let Some(step) = self.coordinate(&mut cx, &indices[position])? {
                    constants.push((number, open, step.step));
                }
            }
        }
        for (base, open, at) in constants.clone() {
            for (number, (_, value)) in values.iter_mut().enumerate() {
                let general = number != base && !constants.iter().any(|&(n, o, _)| n == number && o == open);
                if let (true, Some(&axis)) = (general, value.axes.get(open)) {
                    let (iota, at) = (self.graph.iota(axis, span), self.graph.constant(at as f64, span));
                    let elsewhere = self.graph.map(Scalar::Ne, &[iota, at], span);
                    value.node = self.graph.select(elsewhere, value.node, 0.0, span);
                }
            }
        }
        Ok(())
    }

    /// Equations with the same left side add up, or are projected as their operator says.
    fn add_up(&mut self, frame: &Rc<Frame>, values: Vec<(usize, Tensor)>, span: Span) -> Res<Tensor> {
        let block = Rc::clone(&frame.block);
        let mut values = values.into_iter();
        let Some((first_unit, mut total)) = values.next() else { return Err(Failed) };
        for (unit, value) in values {
            let (first, next): (&Equation, &Equation) = (&block.units[first_unit], &block.units[unit]);
            if first.projection != next.projection || value.axes.len() != total.axes.len() {
                return self.fail(
                    Diagnostic::error(
                        codes::DEFINED_TWICE,
                        next.target.span,
                        format!("`{}` is defined in two ways that don't go together", next.target.text),
                    )
                    .label(first.target.span, "defined here with another operator or another number of indices")
                    .help("equations of one tensor add up; all of them have one operator and one number of indices"),
                );
            }
            let scalar = match first.projection {
                Projection::Reduce(Reduction::Max) => Scalar::Max,
                Projection::Reduce(Reduction::Min) => Scalar::Min,
                Projection::Any => Scalar::Or,
                projection if is_sum(projection) => Scalar::Add,
                _ => {
                    return self.fail(
                        Diagnostic::error(
                            codes::DEFINED_TWICE,
                            next.target.span,
                            "only one equation can have `avg=`",
                        )
                        .label(first.target.span, "the first"),
                    );
                }
            };
            self.same_extents(&total, &value, first, next)?;
            let node = self.rename(value.node, &value.axes, &total.axes, span);
            // A total that is 0 everywhere has nothing to add to.
            total.node = match (self.graph.as_constant(total.node), scalar) {
                (Some(0.0), Scalar::Add) => node,
                _ => self.graph.map(scalar, &[total.node, node], span),
            };
        }
        Ok(total)
    }

    fn same_extents(&mut self, a: &Tensor, b: &Tensor, first: &Equation, next: &Equation) -> Res<()> {
        for (position, (&x, &y)) in a.axes.iter().zip(&b.axes).enumerate() {
            let (x, y) = (self.graph.extent(x), self.graph.extent(y));
            if !crate::sizes::agree(x, y) {
                let (x, y) = (super::frame::show(x), super::frame::show(y));
                return self.fail(
                    Diagnostic::error(
                        codes::SIZE_MISMATCH,
                        next.target.span,
                        format!(
                            "index {} of `{}` has two sizes: {x} and {y}",
                            position + 1,
                            next.target.text
                        ),
                    )
                    .here(y)
                    .label(first.target.span, x),
                );
            }
        }
        Ok(())
    }

    /// The value of one equation, with an axis for each unstaged position of its left side.
    pub(super) fn equation(
        &mut self,
        frame: &Rc<Frame>,
        unit: usize,
        steps: &[(Arc<str>, Coordinate)],
    ) -> Res<Tensor> {
        self.equation_at(frame, unit, steps, false)
    }

    /// The value of an equation; `early` leaves out the delay of a left side `h[p + 1]`.
    fn equation_at(
        &mut self,
        frame: &Rc<Frame>,
        unit: usize,
        steps: &[(Arc<str>, Coordinate)],
        early: bool,
    ) -> Res<Tensor> {
        let block = Rc::clone(&frame.block);
        let equation = &block.units[unit];
        let span = equation.span;
        let mut cx = self.bind(frame, unit, steps)?;
        cx.early = early;
        let inherited = self.guards.len();
        self.inherit_guards(&cx, span);
        let placed = self.equation_value(&mut cx, equation);
        self.guards.truncate(inherited);
        placed
    }

    fn equation_value(&mut self, cx: &mut Cx, equation: &Equation) -> Res<Tensor> {
        let span = equation.span;
        let value = match self.push_guard(cx, &equation.guard)? {
            None => Tensor { node: self.graph.constant(0.0, span), axes: Vec::new() },
            Some(before) => {
                let value = self.guarded_value(cx, equation);
                let clauses = self.guards.split_off(before);
                let mut value = value?;
                value.node = self.keep_inside(cx, equation, value.node, &clauses);
                value
            }
        };
        self.place_left(cx, equation, value)
    }

    /// A guard around a call restricts a parameter's axis under every name that the function has for it.
    fn inherit_guards(&mut self, cx: &Cx, span: Span) {
        let frame = Rc::clone(&cx.frame);
        for (name, bound) in &cx.variables {
            let Bound::Axis(axis) = *bound else { continue };
            let home = self.class_of(&frame, cx.unit, name).and_then(|class| frame.home(class));
            let Some((home, _)) = home.filter(|(home, _)| *home != axis) else { continue };
            for clause in &frame.guards {
                if clause.axes.contains(&home) && !clause.axes.contains(&axis) {
                    let node = self.substitute(clause.node, home, axis, span);
                    let axes = self.graph.node(node).axes.clone();
                    self.guards.push(super::Clause { node, axes });
                }
            }
        }
    }

    /// A condition about one axis as the same condition about another.
    fn substitute(&mut self, node: NodeId, from: AxisId, to: AxisId, span: Span) -> NodeId {
        let found = self.graph.node(node).clone();
        match found.op {
            _ if !found.axes.contains(&from) => node,
            Op::Iota => self.graph.iota(to, span),
            Op::Map(scalar) => {
                let inputs: Vec<NodeId> =
                    found.inputs.iter().map(|&i| self.substitute(i, from, to, span)).collect();
                self.graph.map(scalar, &inputs, span)
            }
            _ => self.graph.relabel(node, &[(from, to)], span),
        }
    }

    fn guarded_value(&mut self, cx: &mut Cx, equation: &Equation) -> Res<Tensor> {
        let block = Rc::clone(&cx.frame.block);
        let projected = &block.facts[cx.unit].projected;
        let value = self.eval(cx, &equation.value)?;
        let mut tensor = self.as_tensor(value, equation.value.span)?;
        if !projected.is_empty() {
            let axes: Res<Vec<AxisId>> =
                projected.iter().map(|n| self.axis_of(cx, n, equation.span)).collect();
            tensor.node = self.reduce(equation.projection, tensor.node, &axes?, equation.span)?;
        }
        Ok(tensor)
    }

    /// Elements of the left side that the guard excludes are 0. A clause that mentions an index that was reduced away has done
    /// its work, and so has one that a softmax has seen.
    fn keep_inside(
        &mut self,
        cx: &Cx,
        equation: &Equation,
        mut node: NodeId,
        clauses: &[super::Clause],
    ) -> NodeId {
        let block = Rc::clone(&cx.frame.block);
        let facts = &block.facts[cx.unit];
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
                Op::Softmax { along } => clause.axes.contains(along),
                _ => false,
            };
            if !done && !clause.axes.iter().any(|axis| gone.contains(axis)) {
                node = self.graph.select(clause.node, node, 0.0, equation.span);
            }
        }
        node
    }

    /// Gives a value the axes of the left side.
    fn place_left(&mut self, cx: &mut Cx, equation: &Equation, value: Tensor) -> Res<Tensor> {
        let Some(indices) = &equation.indices else { return Ok(value) };
        let staged = self.staged_positions(&cx.frame, &equation.target.text, indices);
        let kept: Vec<(usize, &Index)> =
            indices.iter().enumerate().filter(|(k, _)| !staged.contains(k)).collect();
        let mut node = value.node;
        if !value.axes.is_empty() {
            node = self.name_open_axes(cx, equation, &value, &kept)?;
        }
        let mut axes: Vec<AxisId> = Vec::new();
        for (position, index) in kept {
            let (placed, axis) = self.place_index(cx, equation, node, position, index, &axes)?;
            node = placed;
            axes.push(axis);
        }
        Ok(Tensor { node, axes })
    }

    /// The open axes of the right side take the left side's indices in order.
    fn name_open_axes(
        &mut self,
        cx: &mut Cx,
        equation: &Equation,
        value: &Tensor,
        kept: &[(usize, &Index)],
    ) -> Res<NodeId> {
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
                Ok((self.graph.select(same, node, 0.0, span), other))
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
                        Ok((self.graph.add(op, vec![node], None, span), into))
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
        Ok((self.graph.select(here, node, 0.0, span), axis))
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

    /// `y[at[e]] = x[e]`: each element goes to the position that is computed for it; those that meet add up.
    fn scatter(
        &mut self,
        cx: &mut Cx,
        equation: &Equation,
        node: NodeId,
        position: usize,
        at: NodeId,
        span: Span,
    ) -> Res<(NodeId, AxisId)> {
        if !is_sum(equation.projection) {
            return self.fail(
                Diagnostic::error(codes::BAD_INDEX, span, "only sums can be placed at computed positions")
                    .label(equation.target.span, "this equation has another operator"),
            );
        }
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
        let gone: Vec<AxisId> =
            self.graph.node(at).axes.iter().copied().filter(|a| !stay.contains(a)).collect();
        let iota = self.graph.iota(into, span);
        let here = self.graph.map(Scalar::Eq, &[iota, at], span);
        let node = gone.iter().fold(node, |node, &axis| self.with_axis(node, axis, span));
        match gone.is_empty() {
            true => Ok((self.graph.select(here, node, 0.0, span), into)),
            false => Ok((self.graph.contract(&[node, here], &gone, span), into)),
        }
    }

    /// The axis of a position of the left side that is written at computed places.
    fn left_axis(&mut self, cx: &mut Cx, equation: &Equation, position: usize, span: Span) -> Res<AxisId> {
        let frame = Rc::clone(&cx.frame);
        let target = &equation.target.text;
        let Some(class) = frame.block.domains.position(target, position) else {
            return self.unknown_size(&format!("{target}[{}]", position + 1), span, &frame);
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
            None => self.unknown_size(&format!("{target}[{}]", position + 1), span, &frame),
        }
    }

    /// An axis that nothing else sizes is as large as what all equations of the tensor write to it.
    fn written_extent(&mut self, cx: &Cx, equation: &Equation, position: usize) -> Res<Option<Extent>> {
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
                    _ => None,
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

    #[cold]
    fn unplaceable<T>(&mut self, index: &Index) -> Res<T> {
        self.fail(
            Diagnostic::error(codes::BAD_INDEX, index.span, "this can't stand on a left side").here(
                "a left side has indices, `2 * j + 1` with a positive factor, numbers, and groups `(a b)`",
            ),
        )
    }

    /// A tensor with all of its positions: staged ones are evaluated one by one and stacked.
    pub(super) fn define_whole(&mut self, frame: &Rc<Frame>, name: &Arc<str>, span: Span) -> Res<Tensor> {
        let block = Rc::clone(&frame.block);
        let Some(units) = block.tensors.get(name) else { return Err(Failed) };
        let indices = block.units[units[0]].indices.as_deref().unwrap_or_default();
        let staged = self.staged_positions(frame, name, indices);
        self.stack(frame, name, &staged, &mut Vec::new(), span)
    }

    fn stack(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        staged: &[usize],
        steps: &mut Vec<Coordinate>,
        span: Span,
    ) -> Res<Tensor> {
        let Some(&position) = staged.get(steps.len()) else { return self.define(frame, name, steps, span) };
        let class = frame.block.domains.position(name, position).ok_or(Failed)?;
        let extent = match self.class_extent(frame, class)? {
            Some((extent, _)) => extent,
            None => return self.unknown_size(&format!("{name}[{}]", position + 1), span, frame),
        };
        let count = extent.known().unwrap_or(super::STAND_IN_STEPS as usize);
        if count > self.limits.steps {
            self.steps = count;
            self.check_limits(span)?;
        }
        let axis = self.local_axis(frame, class, &format!("{name}.{position}").into(), extent);
        let (mut total, mut inner_axes) = (self.graph.constant(0.0, span), None);
        let iota = self.graph.iota(axis, span);
        for step in 0..count as i64 {
            steps.push(Coordinate { step, known: extent.known().is_some() });
            let value = self.stack(frame, name, staged, steps, span);
            steps.pop();
            let value = value?;
            let at = self.graph.constant(step as f64, span);
            let here = self.graph.map(Scalar::Eq, &[iota, at], span);
            let axes = inner_axes.get_or_insert_with(|| value.axes.clone());
            let node = self.graph.relabel(value.node, &pairs(&self.graph, &value, axes), span);
            let node = self.graph.select(here, node, 0.0, span);
            total = if step == 0 { node } else { self.graph.map(Scalar::Add, &[total, node], span) };
        }
        let mut axes = inner_axes.unwrap_or_default();
        let done = staged[..steps.len()].len();
        let at = (position - done).min(axes.len());
        axes.insert(at, axis);
        Ok(Tensor { node: total, axes })
    }

    /// An earlier row of a tensor of a recursion along the stream.
    pub(super) fn delayed(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
        by: u32,
        span: Span,
    ) -> Res<Tensor> {
        let key = ((Arc::clone(name), steps.to_vec()), by);
        if let Some(tensor) = frame.delays.borrow().get(&key) {
            return Ok(tensor.clone());
        }
        let axes = self.expected_axes(frame, name, span)?;
        let delay = self.graph.open_delay(by, axes.clone(), span);
        let tensor = Tensor { node: delay, axes: axes.clone() };
        let (input, frame_of) = (DelayInput::Tensor, Rc::clone(frame));
        self.pending.push(Pending { frame: frame_of, place: key.0.clone(), input, delay, axes, span });
        frame.delays.borrow_mut().insert(key, tensor.clone());
        Ok(tensor)
    }

    /// The axes that a tensor will have, from what is known of their classes.
    fn expected_axes(&mut self, frame: &Rc<Frame>, name: &Arc<str>, span: Span) -> Res<Vec<AxisId>> {
        let block = Rc::clone(&frame.block);
        let Some(units) = block.tensors.get(name) else { return Err(Failed) };
        let indices = block.units[units[0]].indices.as_deref().unwrap_or_default();
        let staged = self.staged_positions(frame, name, indices);
        let mut axes: Vec<AxisId> = Vec::new();
        for position in (0..indices.len()).filter(|k| !staged.contains(k)) {
            let class = block.domains.position(name, position).ok_or(Failed)?;
            let home = frame.home(class).map(|(axis, _)| axis).filter(|axis| !axes.contains(axis));
            let axis = match (home, self.class_extent(frame, class)?) {
                (Some(axis), _) => axis,
                (None, Some((extent, _))) => {
                    let extent = if extent == Extent::Rows { Extent::Stream } else { extent };
                    self.local_axis(frame, class, &format!("{name}.{position}").into(), extent)
                }
                (None, None) => {
                    let shown = match &indices[position].kind {
                        IndexKind::Name(index) => index.to_string(),
                        _ => format!("{name}[{}]", position + 1),
                    };
                    return self.unknown_size(&shown, span, frame);
                }
            };
            axes.push(axis);
        }
        Ok(axes)
    }

    /// Defines what delays read, until no delay is open.
    pub(super) fn close_pending(&mut self) -> Res<()> {
        while let Some(pending) = self.pending.pop() {
            let (name, steps) = &pending.place;
            let tensor = match &pending.input {
                DelayInput::Tensor => self.define(&pending.frame, name, steps, pending.span)?,
                DelayInput::Value { unit, steps } => {
                    let guards = std::mem::replace(&mut self.guards, pending.frame.guards.clone());
                    let value = self.equation_at(&pending.frame, *unit, steps, true);
                    self.guards = guards;
                    value?
                }
            };
            let node = self.rename(tensor.node, &tensor.axes, &pending.axes, pending.span);
            let whole = self.materialize(Tensor { node, axes: pending.axes.clone() }, pending.span);
            self.graph.close_delay(pending.delay, whole.node);
        }
        Ok(())
    }
}

fn pairs(graph: &tl_ir::Graph, value: &Tensor, axes: &[AxisId]) -> Vec<(AxisId, AxisId)> {
    let own = &graph.node(value.node).axes;
    value.axes.iter().copied().zip(axes.iter().copied()).filter(|(from, _)| own.contains(from)).collect()
}

/// `k[3]`, as explanations show it.
fn shown(name: &str, steps: &[Coordinate]) -> String {
    match steps {
        [] => name.to_owned(),
        _ => {
            let steps: Vec<String> = steps.iter().map(|s| s.step.to_string()).collect();
            format!("{name}[{}]", steps.join(", "))
        }
    }
}

#[cold]
fn cyclic(frame: &Frame, name: &Arc<str>, span: Span) -> Diagnostic {
    let mut diagnostic =
        Diagnostic::error(codes::CYCLIC_DEFINITION, span, format!("`{name}` is defined by its own elements"));
    if let Some(&unit) = frame.block.tensors.get(name).and_then(|units| units.first()) {
        diagnostic = diagnostic.label(frame.block.units[unit].target.span, "defined here");
    }
    diagnostic
        .here("its value is needed here, while it is being computed")
        .help("a recursion needs an index that goes on: `x[n + 1] = f(x[n])`, with `x[0] = …`")
}

#[cold]
fn no_base(frame: &Frame, name: &Arc<str>, step: Coordinate, span: Span) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(
        codes::NO_BEGINNING,
        span,
        format!("the recursion of `{name}` has no beginning: nothing defines it at {}", step.step),
    );
    if let Some(&unit) = frame.block.tensors.get(name).and_then(|units| units.first()) {
        diagnostic = diagnostic.label(frame.block.units[unit].target.span, "defined here");
    }
    diagnostic.help(format!("add an equation for its first element: `{name}[{}] = …`", step.step))
}
