//! Reads: what stands before the brackets, and where each of the brackets' staged indices is.
//!
//! A name is a variable or a tensor of the block; fields lead into a model's tree (see `tree`). Staged positions select a definition;
//! what the others do to the axes of its value is in `slots`.

use std::rc::Rc;
use std::sync::Arc;

use tl_syntax::{Diagnostic, Span, codes};

use crate::domains::offset_of;
use crate::program::{Expr, ExprKind, Index, IndexKind};

use super::evidence::is_key;
use super::frame::{Bound, Cx};
use super::value::{Coordinate, Value};
use super::{Failed, Res, STAND_IN_STEPS, Tracer};

impl Tracer<'_> {
    /// `base[indices]`
    pub(super) fn access(&mut self, cx: &mut Cx, expr: &Expr, base: &Expr, indices: &[Index]) -> Res<Value> {
        if self.is_path_index(cx, expr) {
            return self.path(cx, expr).map(Value::Path);
        }
        let value = match &base.kind {
            ExprKind::Name(name) => {
                let frame = Rc::clone(&cx.frame);
                match self.variable(&frame, cx.unit, name, base.span)? {
                    Some(value) => value,
                    None if frame.block.tensors.contains_key(name) => {
                        return self.read_defined(cx, name, indices, expr.span);
                    }
                    None => return Err(Failed), // Reported by the analysis.
                }
            }
            _ => match self.path_or_value(cx, base)? {
                Some(value) => value,
                None => return Err(Failed),
            },
        };
        self.index_value(cx, value, indices, expr.span)
    }

    pub(super) fn index_value(
        &mut self,
        cx: &mut Cx,
        value: Value,
        indices: &[Index],
        span: Span,
    ) -> Res<Value> {
        match value {
            Value::Path(path) if is_key(indices) => self.metadata(cx, &path, indices, span),
            Value::Path(path) => self.read_weight(cx, &path, indices, span),
            Value::Tensor(tensor) => self.read(cx, &tensor, indices, span),
            Value::List(items) => self.element(cx, &items, indices, span),
            // A number in the place of a tensor is the same everywhere.
            Value::Number(_) | Value::Bool(_) | Value::Unknown => Ok(value),
            Value::Str(_) => self.fail(
                Diagnostic::error(codes::WRONG_KIND, span, "a text can't be indexed in an equation")
                    .here("a text"),
            ),
        }
    }

    /// The step that an index names, if it is known while tracing.
    pub(super) fn coordinate(&mut self, cx: &mut Cx, index: &Index) -> Res<Option<Coordinate>> {
        match &index.kind {
            IndexKind::Name(name) => {
                if let Some(Bound::Step(step)) = cx.variables.get(name) {
                    return Ok(Some(*step));
                }
                let frame = Rc::clone(&cx.frame);
                if frame.block.facts[cx.unit].variables.iter().any(|(v, _)| v == name) {
                    return Ok(None);
                }
                let value = self.variable(&frame, cx.unit, name, index.span)?;
                self.value_step(value, index.span)
            }
            IndexKind::Expr(expr) if !self.mentions_axes(cx, expr) => {
                // `l + 1` at a step that stands for all is a step that stands for all.
                let is_step = |name: &str| matches!(cx.variables.get(name), Some(Bound::Step(_)));
                if let Some(offset) = offset_of(index, &is_step)
                    && let Some(Bound::Step(step)) = cx.variables.get(offset.variable)
                {
                    return Ok(step
                        .step
                        .checked_add(offset.offset)
                        .map(|step_at| Coordinate { step: step_at, ..*step }));
                }
                let value = self.eval(cx, expr)?;
                self.value_step(Some(value), index.span)
            }
            _ => Ok(None),
        }
    }

    fn value_step(&mut self, value: Option<Value>, span: Span) -> Res<Option<Coordinate>> {
        let Some(value) = value else { return Ok(None) };
        if self.is_unknown(&value) {
            return Ok(Some(Coordinate { step: STAND_IN_STEPS, known: false }));
        }
        let number = match &value {
            Value::Tensor(tensor) if tensor.axes.is_empty() => self.graph.as_constant(tensor.node),
            other => other.number(),
        };
        match number {
            Some(n) if n.fract() == 0.0 && n.abs() <= 1e15 => {
                Ok(Some(Coordinate { step: n as i64, known: true }))
            }
            Some(n) => self.fail(Diagnostic::error(
                codes::BAD_INDEX,
                span,
                format!("an index is a whole number, this is {n}"),
            )),
            None => Ok(None),
        }
    }

    /// The steps of a defined tensor's staged positions; `None` if one of them is an axis.
    pub(super) fn steps_of(
        &mut self,
        cx: &mut Cx,
        name: &Arc<str>,
        indices: &[Index],
        span: Span,
    ) -> Res<Option<Vec<Coordinate>>> {
        self.check_rank(cx, name, indices, span)?;
        let frame = Rc::clone(&cx.frame);
        let mut steps = Vec::new();
        for (position, index) in indices.iter().enumerate() {
            if frame.is_staged_position(name, position) {
                match self.coordinate(cx, index)? {
                    Some(step) => steps.push(step),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(steps))
    }

    fn check_rank(&mut self, cx: &Cx, name: &Arc<str>, indices: &[Index], span: Span) -> Res<()> {
        let block = Rc::clone(&cx.frame.block);
        let Some(defining) = block.tensors.get(name).and_then(|e| e.first()) else { return Ok(()) };
        let equation = &block.units[*defining];
        let Some(left) = &equation.indices else { return Ok(()) };
        if left.len() == indices.len() {
            return Ok(());
        }
        self.fail(
            Diagnostic::error(
                codes::INDEX_COUNT,
                span,
                format!("`{name}` has {} indices, {} are given", left.len(), indices.len()),
            )
            .label(equation.target.span, "defined here"),
        )
    }

    /// `(position, rows back)` of a read of an earlier row of a tensor that is being defined by it.
    pub(super) fn delay_of(&self, cx: &Cx, name: &Arc<str>, indices: &[Index]) -> Option<(usize, u32)> {
        let (frame, block) = (&cx.frame, &cx.frame.block);
        let target = &block.units[cx.unit].target.text;
        let cycle = block.domains.cycle(name)?;
        if block.domains.cycle(target) != Some(cycle) {
            return None;
        }
        let left = &block.facts[cx.unit].left;
        let is_left = |name: &str| left.iter().any(|l| **l == *name);
        indices.iter().enumerate().find_map(|(position, index)| {
            let class = block.domains.position(name, position)?;
            let back = offset_of(index, &is_left)?.offset.checked_neg()?;
            let by = u32::try_from(back).ok().filter(|&by| by > 0)?;
            frame.is_stream(class).then_some((position, by))
        })
    }

    /// A read of a tensor that the block defines.
    fn read_defined(&mut self, cx: &mut Cx, name: &Arc<str>, indices: &[Index], span: Span) -> Res<Value> {
        let frame = Rc::clone(&cx.frame);
        let delay = self.delay_of(cx, name, indices);
        let Some(steps) = self.steps_of(cx, name, indices, span)? else {
            let whole = self.define_whole(&frame, name, span)?;
            return self.read(cx, &whole, indices, span);
        };
        let mut rest: Vec<Index> = Vec::new();
        for (k, index) in indices.iter().enumerate().filter(|(k, _)| !frame.is_staged_position(name, *k)) {
            let mut index = index.clone();
            if let Some((position, _)) = delay
                && position == k
            {
                // The delay has done the offset.
                let is_left = |name: &str| frame.block.facts[cx.unit].left.iter().any(|l| **l == *name);
                let variable = offset_of(&index, &is_left).map(|offset| Arc::clone(offset.variable));
                index.kind = IndexKind::Name(variable.ok_or(Failed)?);
            }
            rest.push(index);
        }
        let tensor = match delay {
            Some((_, by)) => self.delayed(&frame, name, &steps, by, span)?,
            None => self.define(&frame, name, &steps, span)?,
        };
        if tensor.axes.is_empty() {
            return Ok(Value::Tensor(tensor));
        }
        self.read(cx, &tensor, &rest, span)
    }

    #[cold]
    pub(super) fn wrong_rank(
        &mut self,
        what: &str,
        sizes: &[String],
        indices: &[Index],
        span: Span,
    ) -> Res<Value> {
        let (axes, given) = (sizes.len(), indices.len());
        let plural = if axes == 1 { "axis" } else { "axes" };
        let verb = if given == 1 { "index is" } else { "indices are" };
        self.fail(
            Diagnostic::error(
                codes::INDEX_COUNT,
                span,
                format!("{what} has {axes} {plural}, {given} {verb} given"),
            )
            .note(format!("its sizes are [{}]", sizes.join(", "))),
        )
    }
}
