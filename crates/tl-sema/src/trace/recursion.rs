//! Recursion over staged indices: which equations define a tensor at a step, and in which order far steps are reached.
//!
//! Steps are evaluated from the side where the recursion begins, so that the host's stack stays flat: ascending from 0, or descending
//! from the end of the domain or the largest base case. A tensor that is wanted whole is evaluated step by step and stacked.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, Extent, Op, Scalar};
use tl_syntax::{Diagnostic, Span, codes};

use crate::program::Index;

use super::frame::{Cx, Frame};
use super::value::{Coordinate, Tensor};
use super::{Failed, Res, Tracer};

/// Steps that a recursion may go down before it is evaluated from its beginning.
const DIRECT_STEPS: i64 = 8;

/// An equation that defines a tensor at a step, with what its staged indices are there.
pub(super) struct Match {
    pub unit: usize,
    pub steps: Vec<(Arc<str>, Coordinate)>,
    /// Whether a constant stands where the recursion runs: a base case.
    base: bool,
}

impl Tracer<'_> {
    /// Evaluates the steps before (or after) a far one first, in order.
    pub(super) fn define_earlier(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
        span: Span,
    ) -> Res<()> {
        let descends = |(k, step): (usize, &Coordinate)| {
            let positions = self.staged_positions(frame, name, indices_of(frame, name));
            let class = positions.get(k).and_then(|&position| frame.block.domains.position(name, position));
            step.known && class.is_some_and(|class| frame.block.domains.is_descending(class))
        };
        let near =
            steps.iter().all(|step| step.step <= DIRECT_STEPS) && !steps.iter().enumerate().any(descends);
        if frame.block.domains.cycle(name).is_none() || near {
            return Ok(());
        }
        let known = |steps: &[Coordinate]| {
            let place = (Arc::clone(name), steps.to_vec());
            frame.memo.borrow().contains_key(&place)
        };
        // A step beside it is there: nothing is far.
        let beside = |k: usize, by: i64| {
            let mut near = steps.to_vec();
            near[k].step += by;
            known(&near)
        };
        if (0..steps.len()).any(|k| beside(k, -1) || beside(k, 1)) {
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
        let positions = self.staged_positions(frame, name, indices_of(frame, name));
        let top = self.largest_base(frame, name, steps)?;
        let mut ranges: Vec<Vec<i64>> = Vec::new();
        for ((step, top), position) in steps.iter().zip(&top).zip(positions) {
            let class = frame.block.domains.position(name, position).ok_or(Failed)?;
            ranges.push(match frame.block.domains.is_descending(class) {
                true => {
                    let size = self.class_extent(frame, class)?.and_then(|(extent, _)| extent.known());
                    let top = (*top).max(size.map(|n| n as i64 - 1));
                    (step.step + 1..=top.unwrap_or(step.step)).rev().collect()
                }
                false => (0..=step.step).collect(),
            });
        }
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

    pub(super) fn empty_cx(&self, frame: &Rc<Frame>, unit: usize) -> Cx {
        Cx { frame: Rc::clone(frame), unit, variables: Default::default(), rows: Vec::new(), early: false }
    }

    pub(super) fn staged_positions(&self, frame: &Frame, name: &Arc<str>, indices: &[Index]) -> Vec<usize> {
        (0..indices.len()).filter(|&k| frame.is_staged_position(name, k)).collect()
    }

    fn has_equation(&mut self, frame: &Rc<Frame>, name: &Arc<str>, steps: &[Coordinate]) -> Res<bool> {
        self.matches(frame, name, steps).map(|found| !found.is_empty())
    }

    /// The equations that define the tensor at the steps. In a recursion a base case takes over from the general case.
    pub(super) fn matches(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
    ) -> Res<Vec<Match>> {
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
                if at.step < 0
                    || clash
                    || at.known && self.is_beyond(frame, unit, offset.variable, at.step)?
                {
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

    /// Whether some step of a tensor lies outside of its domain.
    pub(super) fn is_outside(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        steps: &[Coordinate],
    ) -> Res<bool> {
        let positions = self.staged_positions(frame, name, indices_of(frame, name));
        for (step, position) in steps.iter().zip(positions) {
            let class = frame.block.domains.position(name, position).ok_or(Failed)?;
            let size = self.class_extent(frame, class)?.and_then(|(extent, _)| extent.known());
            if step.step < 0 || size.is_some_and(|size| step.step >= size as i64) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an index variable, whose domain is known, has fewer positions.
    fn is_beyond(&mut self, frame: &Rc<Frame>, unit: usize, variable: &Arc<str>, step: i64) -> Res<bool> {
        let Some(class) = self.class_of(frame, unit, variable) else { return Ok(false) };
        let size = self.class_extent(frame, class)?.and_then(|(extent, _)| extent.known());
        Ok(size.is_some_and(|size| step >= size as i64))
    }

    /// In a recursion along an axis, `h[0] = …` takes over from `h[p] = …` at position 0.
    pub(super) fn let_bases_take_over(
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
            None => return self.unknown_axis(name, position, span, frame),
        };
        let count = extent.known().unwrap_or(super::STAND_IN_STEPS as usize);
        if count > self.limits.steps {
            self.steps = count;
            self.check_limits(span)?;
        }
        let axis = self.local_axis(frame, class, &format!("{name}.{position}").into(), extent);
        // Each step is a piece of its own; where the pieces cover the axis, the planner writes them in place.
        let one = self.hidden_axis("step", Extent::Static(1));
        let mut values = Vec::new();
        for step in 0..count as i64 {
            steps.push(Coordinate { step, known: extent.known().is_some() });
            let value = self.stack(frame, name, staged, steps, span);
            steps.pop();
            values.push(value?);
        }
        // A step that nothing defines is 0 and has no axes.
        let mut axes =
            values.iter().map(|v| &v.axes).max_by_key(|axes| axes.len()).cloned().unwrap_or_default();
        let mut total = self.graph.constant(0.0, span);
        for (step, value) in values.into_iter().enumerate() {
            let node = self.graph.relabel(value.node, &pairs(&self.graph, &value, &axes), span);
            let node = axes.iter().fold(node, |node, &axis| self.with_axis(node, axis, span));
            let node = self.with_axis(node, one, span);
            let place = Op::Place { axis: one, into: axis, stride: 1, offset: step as i64 };
            let node = self.graph.add(place, vec![node], None, span);
            total = if step == 0 { node } else { self.graph.map(Scalar::Add, &[total, node], span) };
        }
        let at = position.saturating_sub(steps.len()).min(axes.len());
        axes.insert(at, axis);
        Ok(Tensor { node: total, axes })
    }
}

/// The indices of a tensor's first equation.
fn indices_of<'f>(frame: &'f Frame, name: &str) -> &'f [Index] {
    let units = frame.block.tensors.get(name);
    units.and_then(|units| frame.block.units[units[0]].indices.as_deref()).unwrap_or_default()
}

fn pairs(graph: &tl_ir::Graph, value: &Tensor, axes: &[AxisId]) -> Vec<(AxisId, AxisId)> {
    let own = &graph.node(value.node).axes;
    value.axes.iter().copied().zip(axes.iter().copied()).filter(|(from, _)| own.contains(from)).collect()
}
