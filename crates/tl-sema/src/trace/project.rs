//! Explicit reductions, guards inside of expressions, and sums over staged indices, which are unrolled.

use std::sync::Arc;

use tl_ir::{AxisId, Scalar};
use tl_syntax::Span;

use crate::program::{Expr, ExprKind, Projection};

use super::eval::scalar;
use super::frame::{Bound, Cx};
use super::value::{Tensor, Value};
use super::{Clause, Res, Tracer};

/// What is evaluated for each step of the indices that are unrolled; it is given those that are not.
type Evaluate<'e, T> = dyn FnMut(&mut T, &mut Cx, &[Arc<str>]) -> Res<Value> + 'e;

impl Tracer<'_> {
    /// Evaluates once for each position of the staged indices among `names`, and adds up; the others are given on as axes.
    pub(super) fn unroll(
        &mut self,
        cx: &mut Cx,
        names: &[Arc<str>],
        span: Span,
        evaluate: &mut Evaluate<'_, Self>,
    ) -> Res<Value> {
        let staged = names.iter().find(|name| self.is_unrolled(cx, name)).cloned();
        let Some(staged) = staged else { return evaluate(self, cx, names) };
        let rest: Vec<Arc<str>> = names.iter().filter(|name| **name != staged).cloned().collect();
        let steps = self.staged_steps(cx, &staged, span)?;
        let mut total: Option<Value> = None;
        for step in steps {
            self.steps += 1;
            self.check_limits(span)?;
            cx.variables.insert(Arc::clone(&staged), Bound::Step(step));
            let value = self.unroll(cx, &rest, span, evaluate);
            cx.variables.remove(&staged);
            let value = value?;
            total = Some(match total {
                None => value,
                Some(sum) => self.apply(Scalar::Add, &[sum, value], span)?,
            });
        }
        Ok(total.unwrap_or(Value::Number(0.0)))
    }

    /// Whether the index is staged and not bound to a step by the left side.
    pub(super) fn is_unrolled(&self, cx: &Cx, name: &Arc<str>) -> bool {
        let class = self.class_of(&cx.frame, cx.unit, name);
        !cx.variables.contains_key(name)
            && cx.frame.block.staging.variables(cx.unit).contains(name)
            && class.is_some_and(|class| cx.frame.is_staged(class))
    }

    pub(super) fn project(
        &mut self,
        cx: &mut Cx,
        kind: Projection,
        names: &[Arc<str>],
        body: &Expr,
        span: Span,
    ) -> Res<Value> {
        if names.iter().any(|name| self.is_unrolled(cx, name))
            && kind == Projection::Reduce(tl_ir::Reduction::Sum)
        {
            return self
                .unroll(cx, names, span, &mut |tracer, cx, rest| tracer.project(cx, kind, rest, body, span));
        }
        // A guard on the body restricts what is reduced.
        let (inner, before) = match &body.unparenthesized().kind {
            ExprKind::Guarded(inner, guard) => (&**inner, self.push_guard(cx, guard)?),
            _ => (body, Some(self.guards.len())),
        };
        let Some(before) = before else {
            // Nothing is left to reduce.
            return Ok(Value::Number(empty_value(kind)));
        };
        let reduced = self.project_inner(cx, kind, names, inner, span);
        self.guards.truncate(before);
        reduced
    }

    fn project_inner(
        &mut self,
        cx: &mut Cx,
        kind: Projection,
        names: &[Arc<str>],
        body: &Expr,
        span: Span,
    ) -> Res<Value> {
        let value = self.eval(cx, body)?;
        let tensor = self.as_tensor(value, body.span)?;
        let axes: Res<Vec<AxisId>> = names.iter().map(|name| self.axis_of(cx, name, span)).collect();
        let axes = axes?;
        if names.is_empty() {
            // Without names and indices: every open axis.
            return self.reduce(kind, tensor.node, &tensor.axes, span).map(scalar);
        }
        let node = self.reduce(kind, tensor.node, &axes, span)?;
        Ok(Value::Tensor(Tensor { node, axes: tensor.axes }))
    }

    /// Evaluates the conditions and makes them active. `None` if they hold nowhere; else how many clauses were active before.
    pub(super) fn push_guard(&mut self, cx: &mut Cx, guard: &[Expr]) -> Res<Option<usize>> {
        let before = self.guards.len();
        let mut clauses = Vec::new();
        for condition in guard {
            match self.settle_comparison(cx, condition)? {
                Some(true) => continue,
                Some(false) => return Ok(None),
                None => {}
            }
            let value = self.eval(cx, condition)?;
            match value.number() {
                Some(n) if n != 0.0 => continue,
                Some(_) => return Ok(None),
                None => {}
            }
            let node = self.as_node(value, condition.span)?;
            let axes = self.graph.node(node).axes.clone();
            clauses.push(Clause { node, axes });
        }
        self.guards.extend(clauses);
        Ok(Some(before))
    }

    /// `(x where guard)`: 0 outside.
    pub(super) fn guarded(&mut self, cx: &mut Cx, body: &Expr, guard: &[Expr], span: Span) -> Res<Value> {
        let Some(before) = self.push_guard(cx, guard)? else { return Ok(Value::Number(0.0)) };
        let value = self.eval(cx, body);
        let clauses = self.guards.split_off(before);
        let mut tensor = self.as_tensor(value?, span)?;
        for clause in clauses {
            tensor.node = self.graph.select(clause.node, tensor.node, 0.0, span);
        }
        Ok(Value::Tensor(tensor))
    }
}

/// What a reduction of nothing is.
fn empty_value(kind: Projection) -> f64 {
    match kind {
        Projection::Reduce(tl_ir::Reduction::Prod) => 1.0,
        Projection::Reduce(tl_ir::Reduction::Max) => f64::NEG_INFINITY,
        Projection::Reduce(tl_ir::Reduction::Min) => f64::INFINITY,
        Projection::All => 1.0,
        Projection::Mean => f64::NAN,
        _ => 0.0,
    }
}
