//! Evidence: what everything that an equation reads says about the sizes of its index variables.
//!
//! A read asks for the definition of what it reads, so that its axes are known; of an `if` whose condition is known, only the
//! branch that is taken counts.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::Extent;
use tl_syntax::Span;

use crate::domains::Class;
use crate::model::sizes_of;
use crate::program::{Expr, ExprKind, Index, IndexKind};
use crate::sizes::{Affine, Origin, Solver};

use super::frame::{Bound, Cx, Slot};
use super::value::Value;
use super::{Res, Tracer};

/// An axis that is indexed: what is known of it, and the class of its domain if it is a tensor's of the block.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub extent: Option<Extent>,
    pub class: Option<Class>,
}

impl Tracer<'_> {
    /// Walks an expression for reads. Of an `if` whose condition is known, only the branch that is taken counts.
    pub(super) fn evidence(&mut self, cx: &mut Cx, expr: &Expr, solver: &mut Solver<Arc<str>>) -> Res<()> {
        match &expr.kind {
            ExprKind::If(condition, yes, no) => {
                self.evidence(cx, condition, solver)?;
                let known = match self.mentions_axes(cx, condition) {
                    true => None,
                    false => self.eval(cx, condition)?.number(),
                };
                match known {
                    Some(n) => self.evidence(cx, if n != 0.0 { yes } else { no }, solver),
                    None => {
                        self.evidence(cx, yes, solver)?;
                        self.evidence(cx, no, solver)
                    }
                }
            }
            ExprKind::Call(name, _) if crate::builtins::takes_names(&name.text) => Ok(()),
            ExprKind::Field(..) => Ok(()),
            ExprKind::Index(base, indices) if !self.is_path_index(cx, expr) => {
                for index in indices {
                    let mut parts = Vec::new();
                    index.each_part(&mut |part| parts.push(part));
                    parts.into_iter().try_for_each(|part| self.evidence(cx, part, solver))?;
                }
                if let Some((positions, what)) = self.positions(cx, base, indices, expr.span)? {
                    for (index, position) in indices.iter().zip(positions) {
                        if let Some(extent) = position.extent {
                            let origin = Origin { span: index.span, what: what.clone() };
                            self.index_evidence(cx, index, extent, origin, solver)?;
                        }
                    }
                }
                Ok(())
            }
            _ => {
                let mut parts = Vec::new();
                expr.each_part(&mut |part| parts.push(part));
                parts.into_iter().try_for_each(|part| self.evidence(cx, part, solver))
            }
        }
    }

    /// What one index at an axis of a known extent says.
    pub(super) fn index_evidence(
        &mut self,
        cx: &mut Cx,
        index: &Index,
        extent: Extent,
        origin: Origin,
        solver: &mut Solver<Arc<str>>,
    ) -> Res<()> {
        let is_open = |cx: &Cx, name: &Arc<str>| {
            cx.frame.block.facts[cx.unit].variables.iter().any(|(v, _)| v == name)
                && !matches!(cx.variables.get(name), Some(Bound::Step(_)))
        };
        match &index.kind {
            IndexKind::Name(name) if is_open(cx, name) => solver.plain(Arc::clone(name), extent, origin),
            IndexKind::Group(names) => {
                solver.group(names.iter().map(|name| Arc::clone(&name.text)).collect(), extent, origin);
            }
            IndexKind::Expr(expr) => {
                if let Some(linear) = self.linear(cx, expr)?
                    && !linear.terms.is_empty()
                    && !extent.is_stream()
                {
                    let (terms, offset, divisor) = (linear.terms, linear.offset, linear.divisor);
                    solver.affine(Affine { terms, offset, divisor, extent, origin });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The axes of what is indexed, and what to call it; `None` where nothing can be said yet.
    pub(super) fn positions(
        &mut self,
        cx: &mut Cx,
        base: &Expr,
        indices: &[Index],
        span: Span,
    ) -> Res<Option<(Vec<Position>, String)>> {
        let frame = Rc::clone(&cx.frame);
        let value = match &base.kind {
            ExprKind::Name(name) => match self.variable(&frame, cx.unit, name, base.span)? {
                Some(value) => value,
                None if frame.block.tensors.contains_key(name) => {
                    return self.tensor_positions(cx, name, indices, span);
                }
                None => return Ok(None),
            },
            _ => match self.path_or_value(cx, base)? {
                Some(value) => value,
                None => return Ok(None),
            },
        };
        let extents: Vec<Extent> = match &value {
            Value::Tensor(tensor) => tensor.axes.iter().map(|&axis| self.graph.extent(axis)).collect(),
            Value::Path(path) if !is_key(indices) => match &path.model {
                None => vec![Extent::Unknown; indices.len()],
                Some(model) => match model.tensor(&path.name()) {
                    Some(tensor) => sizes_of(&**model, &tensor).into_iter().map(Extent::Static).collect(),
                    None => return Ok(None), // Reported when it is read.
                },
            },
            Value::List(items) => {
                let step = match indices.first() {
                    Some(first) => self.coordinate(cx, first)?.filter(|step| step.known),
                    None => None,
                };
                let sizes = self.list_positions(items, step.and_then(|step| usize::try_from(step.step).ok()));
                let positions = sizes.into_iter().map(|extent| Position { extent, class: None });
                return Ok(Some((positions.collect(), "the axis of this list".into())));
            }
            _ => return Ok(None),
        };
        let what = match &value {
            Value::Path(path) => format!("the axis of `{}`", path.name()),
            _ => "the axis that is read here".into(),
        };
        let positions = extents.into_iter().map(|extent| Position { extent: Some(extent), class: None });
        Ok(Some((positions.collect(), what)))
    }

    /// The sizes of a list's axes, those of one item if it is known which; none where the items differ.
    fn list_positions(&self, items: &Rc<Vec<Value>>, step: Option<usize>) -> Vec<Option<Extent>> {
        let inner = |item: &Value| match item {
            Value::List(items) => list_sizes(items),
            Value::Tensor(tensor) => tensor.axes.iter().map(|&axis| self.graph.extent(axis)).collect(),
            _ => Vec::new(),
        };
        let mut sizes = vec![Some(Extent::Static(items.len()))];
        let chosen = step.and_then(|step| items.get(step)).or(items.first()).map(inner).unwrap_or_default();
        for (axis, extent) in chosen.into_iter().enumerate() {
            let agree = |item: &Value| inner(item).get(axis) == Some(&extent);
            sizes.push(Some(extent).filter(|_| step.is_some() || items.iter().all(agree)));
        }
        sizes
    }

    fn tensor_positions(
        &mut self,
        cx: &mut Cx,
        name: &Arc<str>,
        indices: &[Index],
        span: Span,
    ) -> Res<Option<(Vec<Position>, String)>> {
        if self.delay_of(cx, name, indices).is_some() {
            return Ok(None);
        }
        let frame = Rc::clone(&cx.frame);
        let Some(steps) = self.steps_of(cx, name, indices, span)? else { return Ok(None) };
        let place = (Arc::clone(name), steps);
        if matches!(frame.memo.borrow().get(&place), Some(Slot::Begun)) {
            return Ok(None);
        }
        let tensor = self.define(&frame, name, &place.1, span)?;
        let mut rest = tensor.axes.iter();
        let positions = (0..indices.len()).map(|k| {
            let extent = if frame.is_staged_position(name, k) {
                None
            } else {
                rest.next().map(|&axis| self.graph.extent(axis))
            };
            Position { extent, class: frame.block.domains.position(name, k) }
        });
        Ok(Some((positions.collect(), format!("the axis of `{name}`"))))
    }
}

/// Whether the brackets hold a key of metadata.
pub(super) fn is_key(indices: &[Index]) -> bool {
    matches!(indices.first().map(|i| &i.kind), Some(IndexKind::Expr(e)) if matches!(e.kind, ExprKind::Str(_)))
}

pub(super) fn list_sizes(items: &Rc<Vec<Value>>) -> Vec<Extent> {
    let mut sizes = vec![Extent::Static(items.len())];
    let mut first = items.first();
    while let Some(Value::List(inner)) = first {
        sizes.push(Extent::Static(inner.len()));
        first = inner.first();
    }
    sizes
}
