//! Recursion along the stream: delays that are opened before what they read is defined.
//!
//! `h[p] = f(h[p − 1])` reads a delay of `h` while `h` is being defined, and `h[p + 1] = f(h[p])` defines `h` as a delay. Either way the
//! delay's axes must be known beforehand, from what the block says of their classes, and its input is closed when all else is traced.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, Extent};
use tl_syntax::Span;

use super::frame::{DelayInput, Frame, Pending};
use super::recursion::Match;
use super::value::{Coordinate, Tensor};
use super::{Failed, Res, Tracer};

impl Tracer<'_> {
    /// How many rows later an equation writes: 1 for `h[p + 1] = …` along the stream.
    pub(super) fn left_delay(&self, frame: &Frame, unit: usize) -> Option<u32> {
        let equation = &frame.block.units[unit];
        let is_index = |n: &str| frame.block.facts[unit].variables.iter().any(|(v, _)| **v == *n);
        equation.indices.iter().flatten().enumerate().find_map(|(position, index)| {
            let class = frame.block.domains.position(&equation.target.text, position)?;
            let offset = crate::domains::offset_of(index, &is_index)?.offset;
            u32::try_from(offset).ok().filter(|&by| by > 0 && frame.is_stream(class))
        })
    }

    /// `h[p + 1] = f(h[p])` along the stream: the tensor is a delay of what is computed from it.
    pub(super) fn define_ahead(
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
    pub(super) fn expected_axes(
        &mut self,
        frame: &Rc<Frame>,
        name: &Arc<str>,
        span: Span,
    ) -> Res<Vec<AxisId>> {
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
                (None, None) => return self.unknown_axis(name, position, span, frame),
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
