//! Evaluation of expressions: what is known is computed, the rest becomes nodes.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, NodeId, Scalar};
use tl_syntax::{Diagnostic, Span, codes};

use crate::builtins;
use crate::program::{Expr, ExprId, ExprKind, Factor, Name, Projection};

use super::frame::{Bound, Cx, Frame, Slot};
use super::value::{Path, Tensor, Value};
use super::{Failed, Res, Tracer, bound_axis, step_value};

impl Tracer<'_> {
    /// The value of an expression. Indices that are summed at it are summed.
    pub(super) fn eval(&mut self, cx: &mut Cx, expr: &Expr) -> Res<Value> {
        if !self.stack.has_room() {
            return self.too_deep(expr.span);
        }
        match &expr.kind {
            ExprKind::Paren(inner) => return self.eval(cx, inner),
            ExprKind::Join(factors) => {
                let factors: Vec<(Factor, &Expr)> = factors.iter().map(|f| (Factor::Times, f)).collect();
                return self.product(cx, expr, &factors);
            }
            ExprKind::Product(factors) => {
                let factors: Vec<(Factor, &Expr)> = factors.iter().map(|(f, e)| (*f, e)).collect();
                return self.product(cx, expr, &factors);
            }
            _ => {}
        }
        let sums = self.sums_at(cx, expr.id);
        if sums.is_empty() {
            return self.eval_plain(cx, expr);
        }
        self.unroll(cx, &sums, expr.span, &mut |tracer, cx, axes| {
            let value = tracer.eval_plain(cx, expr)?;
            let node = tracer.as_node(value, expr.span)?;
            let kind = Projection::Reduce(tl_ir::Reduction::Sum);
            let axes: Res<Vec<AxisId>> =
                axes.iter().map(|name| tracer.axis_of(cx, name, expr.span)).collect();
            tracer.reduce(kind, node, &axes?, expr.span).map(scalar)
        })
    }

    /// The indices that are summed at an expression.
    pub(super) fn sums_at(&self, cx: &Cx, id: ExprId) -> Vec<Arc<str>> {
        cx.frame.block.facts[cx.unit].sums.get(&id).cloned().unwrap_or_default()
    }

    fn eval_plain(&mut self, cx: &mut Cx, expr: &Expr) -> Res<Value> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Number(n) => Ok(Value::Number(*n)),
            ExprKind::Bool(b) => Ok(Value::Bool(*b)),
            ExprKind::Str(text) => Ok(Value::Str(Arc::clone(text))),
            ExprKind::Facts(facts) => self.facts(cx, facts, span),
            ExprKind::Token(text) => self.token(&Rc::clone(&cx.frame), text, span),
            ExprKind::List(items) => {
                let items: Res<Vec<Value>> = items.iter().map(|item| self.eval(cx, item)).collect();
                Ok(Value::List(Rc::new(items?)))
            }
            ExprKind::Name(name) => self.name(cx, name, span),
            ExprKind::Field(..) => self.path(cx, expr).map(Value::Path),
            ExprKind::Index(base, indices) => self.access(cx, expr, base, indices),
            ExprKind::Call(name, args) => self.call(cx, expr, name, args),
            ExprKind::Apply(scalar, operands) => {
                let values: Res<Vec<Value>> = operands.iter().map(|operand| self.eval(cx, operand)).collect();
                self.apply(*scalar, &values?, span)
            }
            ExprKind::Sum(terms) => self.sum(cx, terms, span),
            ExprKind::Project(kind, names, body) => {
                let names: Vec<Arc<str>> = names.iter().map(|name| Arc::clone(&name.text)).collect();
                self.project(cx, *kind, &names, body, span)
            }
            ExprKind::Keep(body, _) => self.eval(cx, body),
            ExprKind::Guarded(body, guard) => self.guarded(cx, body, guard, span),
            ExprKind::If(condition, yes, no) => self.conditional(cx, condition, yes, no, span),
            ExprKind::Paren(_) | ExprKind::Join(_) | ExprKind::Product(_) => self.eval(cx, expr),
            // Reported by the analysis or the parser.
            ExprKind::Unsupported(_) | ExprKind::Missing => Err(Failed),
        }
    }

    fn name(&mut self, cx: &mut Cx, name: &Arc<str>, span: Span) -> Res<Value> {
        let facts = &cx.frame.block.facts[cx.unit];
        if facts.variables.iter().any(|(variable, _)| variable == name) {
            return match bound_axis(cx, name) {
                Some(Bound::Step(step)) => Ok(step_value(step)),
                _ => {
                    let axis = self.axis_of(cx, name, span)?;
                    Ok(scalar(self.graph.iota(axis, span)))
                }
            };
        }
        let frame = Rc::clone(&cx.frame);
        if let Some(value) = self.variable(&frame, cx.unit, name, span)? {
            return Ok(self.open(value, span));
        }
        if frame.block.tensors.contains_key(name) {
            let tensor = self.define_whole(&frame, name, span)?;
            return Ok(self.open(Value::Tensor(tensor), span));
        }
        match builtins::constant(name) {
            Some(constant) => Ok(Value::Number(constant)),
            None => Err(Failed), // Reported by the analysis.
        }
    }

    /// A tensor that is used without indices has the open axes of its positions.
    fn open(&mut self, value: Value, span: Span) -> Value {
        let Value::Tensor(tensor) = value else { return value };
        if let (Some(n), true) = (self.graph.as_constant(tensor.node), tensor.axes.is_empty()) {
            return Value::Number(n);
        }
        let axes = self.open_axes(tensor.axes.iter().map(|&a| self.graph.extent(a)).collect::<Vec<_>>());
        let node = self.rename(tensor.node, &tensor.axes, &axes, span);
        Value::Tensor(Tensor { node, axes })
    }

    /// The value of a parameter, a `let` or a variable of the script; `None` if there is none of that name.
    pub(super) fn variable(
        &mut self,
        frame: &Rc<Frame>,
        unit: usize,
        name: &Arc<str>,
        span: Span,
    ) -> Res<Option<Value>> {
        // A `let` sees those before it; equations see the last of its name.
        let visible = |number: usize| number < unit || !frame.block.lets.iter().any(|&(_, u)| u == unit);
        let found = frame.block.lets.iter().rev().find(|(n, number)| n.text == *name && visible(*number));
        if let Some(&(_, number)) = found {
            return self.unit_value(frame, number, span).map(Some);
        }
        if let Some(value) = frame.param(name) {
            return Ok(Some(value));
        }
        if let Some(&number) = frame.block.defaults.get(name) {
            return self.unit_value(frame, number, span).map(Some);
        }
        if let Some((later, _)) = frame.block.lets.iter().find(|(n, _)| n.text == *name) {
            return self.fail(
                Diagnostic::error(codes::UNKNOWN_NAME, span, format!("`{name}` is not defined yet"))
                    .here("a `let` sees those before it")
                    .label(later.span, "defined here"),
            );
        }
        if frame.block.tensors.contains_key(name) || frame.block.function.is_some() {
            return Ok(None);
        }
        if let Some(value) = self.outer.get(name) {
            return Ok(Some(value.clone()));
        }
        let Some(argument) = self.scope.and_then(|scope| scope.variable(name)) else { return Ok(None) };
        let value = self.outer_value(name, &argument, span)?;
        self.outer.insert(Arc::clone(name), value.clone());
        Ok(Some(value))
    }

    /// The value of a `let`, a `dim` or a default, computed once for a frame.
    pub(super) fn unit_value(&mut self, frame: &Rc<Frame>, unit: usize, span: Span) -> Res<Value> {
        match frame.lets.borrow().get(&unit) {
            Some(Slot::Done(value)) => return value.clone(),
            Some(Slot::Begun) => {
                let name = &frame.block.units[unit].target;
                let shown = name.text.split(' ').next_back().unwrap_or(&name.text);
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::CYCLIC_DEFINITION,
                        name.span,
                        format!("`{shown}` is defined by itself"),
                    )
                    .label(span, "its value is needed here"),
                );
                return Err(Failed);
            }
            None => {}
        }
        frame.lets.borrow_mut().insert(unit, Slot::Begun);
        let guards = std::mem::replace(&mut self.guards, frame.guards.clone());
        let block = Rc::clone(&frame.block);
        let value = self.enter(span, |tracer| {
            let mut cx = tracer.bind(frame, unit, &[])?;
            tracer.eval(&mut cx, &block.units[unit].value)
        });
        self.guards = guards;
        frame.lets.borrow_mut().insert(unit, Slot::Done(value.clone()));
        value
    }

    /// Runs something one level deeper, if the limit on depth allows.
    pub(super) fn enter<T>(&mut self, span: Span, run: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        self.check_limits(span)?;
        if self.unfinished >= self.limits.depth {
            return self.too_deep(span);
        }
        self.unfinished += 1;
        let value = run(self);
        self.unfinished -= 1;
        value
    }

    #[cold]
    fn too_deep<T>(&mut self, span: Span) -> Res<T> {
        let depth = self.unfinished;
        self.fail(
            Diagnostic::error(codes::TOO_MANY_STEPS, span, format!("definitions need each other more than {depth} deep"))
                .note("a definition that is needed while another is evaluated counts as one level, a call of a function too")
                .help("check that the recursion ends; a recursion over an index should step by one"),
        )
    }

    /// A scalar function of values.
    pub(super) fn apply(&mut self, scalar_fn: Scalar, values: &[Value], span: Span) -> Res<Value> {
        if let [Value::Str(a), Value::Str(b)] = values {
            match scalar_fn {
                Scalar::Eq => return Ok(Value::Bool(a == b)),
                Scalar::Ne => return Ok(Value::Bool(a != b)),
                _ => {}
            }
        }
        let numbers: Option<Vec<f64>> = values.iter().map(Value::number).collect();
        if let Some(numbers) = numbers {
            let at = |i: usize| numbers.get(i).copied().unwrap_or(0.0);
            return Ok(Value::Number((scalar_fn.info().eval)(at(0), at(1), at(2))));
        }
        let is_known = |v: &Value| v.number().is_some() || matches!(v, Value::Str(_));
        if values.iter().all(|v| self.is_unknown(v) || is_known(v))
            && values.iter().any(|v| self.is_unknown(v))
        {
            return Ok(Value::Unknown);
        }
        let mut nodes = Vec::new();
        let mut open: Vec<AxisId> = Vec::new();
        for value in values {
            let tensor = self.as_tensor(value.clone(), span)?;
            open = self.meet_open(open, &tensor.axes, span)?;
            nodes.push(tensor.node);
        }
        let node = self.graph.map(scalar_fn, &nodes, span);
        Ok(Value::Tensor(Tensor { node, axes: open }))
    }

    /// Whether nothing is known of a value; a place in a model of which nothing is known may be a number too.
    pub(super) fn is_unknown(&self, value: &Value) -> bool {
        matches!(value, Value::Unknown) || matches!(value, Value::Path(Path { model: None, .. }))
    }

    /// The open axes of two operands: they must be the same, unless one has none.
    pub(super) fn meet_open(&mut self, a: Vec<AxisId>, b: &[AxisId], span: Span) -> Res<Vec<AxisId>> {
        if a.is_empty() {
            return Ok(b.to_vec());
        }
        if b.is_empty() || a == b {
            return Ok(a);
        }
        let sizes = |axes: &[AxisId]| {
            let sizes: Vec<String> = axes.iter().map(|&x| super::frame::show(self.graph.extent(x))).collect();
            format!("[{}]", sizes.join(", "))
        };
        let message =
            format!("two tensors without indices have different shapes: {} and {}", sizes(&a), sizes(b));
        self.fail(
            Diagnostic::error(codes::RANK_MISMATCH, span, message)
                .help("name the axes, `x[i, j] + y[j]`: operands meet by name, never by position"),
        )
    }

    fn sum(&mut self, cx: &mut Cx, terms: &[(bool, Expr)], span: Span) -> Res<Value> {
        let mut total: Option<Value> = None;
        for (minus, term) in terms {
            let value = self.eval(cx, term)?;
            total = Some(match total {
                None if *minus => self.apply(Scalar::Neg, &[value], span)?,
                None => value,
                Some(sum) => {
                    let scalar_fn = if *minus { Scalar::Sub } else { Scalar::Add };
                    self.apply(scalar_fn, &[sum, value], span)?
                }
            });
        }
        total.ok_or(Failed)
    }

    /// A join or a product, summed over the indices that are summed here.
    fn product(&mut self, cx: &mut Cx, expr: &Expr, factors: &[(Factor, &Expr)]) -> Res<Value> {
        let sums = self.sums_at(cx, expr.id);
        self.unroll(cx, &sums, expr.span, &mut |tracer, cx, axes| {
            let mut values = Vec::new();
            for (factor, part) in factors {
                values.push((*factor, tracer.eval(cx, part)?));
            }
            if axes.is_empty() {
                return tracer.multiply(values, expr.span);
            }
            let axes: Res<Vec<AxisId>> =
                axes.iter().map(|name| tracer.axis_of(cx, name, expr.span)).collect();
            tracer.contract(values, &axes?, expr.span).map(scalar)
        })
    }

    /// A product without sums, from left to right.
    fn multiply(&mut self, values: Vec<(Factor, Value)>, span: Span) -> Res<Value> {
        let mut product: Option<Value> = None;
        for (factor, value) in values {
            product = Some(match product {
                None => value,
                Some(product) => {
                    let scalar_fn = if factor == Factor::Over { Scalar::Div } else { Scalar::Mul };
                    self.apply(scalar_fn, &[product, value], span)?
                }
            });
        }
        match product {
            Some(Value::Path(path)) => self.as_tensor(Value::Path(path), span).map(Value::Tensor),
            Some(value) => Ok(value),
            None => Err(Failed),
        }
    }

    fn conditional(
        &mut self,
        cx: &mut Cx,
        condition: &Expr,
        yes: &Expr,
        no: &Expr,
        span: Span,
    ) -> Res<Value> {
        let condition = self.eval(cx, condition)?;
        if let Some(n) = condition.number() {
            return self.eval(cx, if n != 0.0 { yes } else { no });
        }
        // What the condition keeps out is no value.
        if refuses(yes) || refuses(no) {
            return self.eval(cx, if refuses(yes) { no } else { yes });
        }
        let (a, b) = (self.eval(cx, yes), self.eval(cx, no));
        let (a, b) = (a?, b?);
        let numeric = |v: &Value| matches!(v, Value::Number(_) | Value::Bool(_) | Value::Tensor(_));
        if self.is_unknown(&condition) && (!numeric(&a) || !numeric(&b)) {
            return Ok(Value::Unknown);
        }
        self.apply(Scalar::Select, &[condition, a, b], span)
    }

    pub(super) fn wrong_arguments<T>(&mut self, name: &Name, usage: &str) -> Res<T> {
        self.fail(
            Diagnostic::error(
                codes::ARGUMENT_COUNT,
                name.span,
                format!("`{}` is called in another way", name.text),
            )
            .help(format!("write `{usage}`")),
        )
    }
}

/// Whether the expression is `error(…)`.
fn refuses(expr: &Expr) -> bool {
    matches!(&expr.unparenthesized().kind, ExprKind::Call(name, _) if &*name.text == "error")
}

/// A node without open axes as a value.
pub(super) fn scalar(node: NodeId) -> Value {
    Value::Tensor(Tensor { node, axes: Vec::new() })
}
