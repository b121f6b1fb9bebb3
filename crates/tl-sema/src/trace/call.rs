//! Calls: functions of the language are inlined, each call in a frame of its own.
//!
//! A parameter's axes are the argument's: the callee sees the caller's axis itself, under the name that the parameter declares, and
//! every other axis of the argument goes along unseen. So what does not depend on the argument (the angles of a rotation, say) is
//! the same node in every call.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, Extent, Reduction, Scalar};
use tl_syntax::{Diagnostic, Span, codes};

use crate::builtins;
use crate::program::{Arg, Expr, ExprKind, Function, Name, Projection};
use crate::projection::{BoundAxes, CallFacts, ResultAxis};
use crate::sizes::agree;

use super::eval::scalar;
use super::frame::{Bound, Cx, Frame, show};
use super::value::{Tensor, Value};
use super::{Failed, Res, Tracer};

impl Tracer<'_> {
    /// `f(arguments)`
    pub(super) fn call(&mut self, cx: &mut Cx, expr: &Expr, name: &Name, args: &[Arg]) -> Res<Value> {
        let block = Rc::clone(&cx.frame.block);
        if let Some(call) = block.facts[cx.unit].calls.get(&expr.id) {
            return self.inline(cx, call, args, expr.span);
        }
        match &*name.text {
            "size" => return self.size(cx, args, expr.span),
            "has" => return self.has(cx, args, expr.span),
            "error" => return self.refuse(cx, name, args),
            _ => {}
        }
        if let Some(reduced) = block.facts[cx.unit].reduced.get(&expr.id) {
            let kind = Projection::named(&name.text).ok_or(Failed)?;
            return self.reduce_all(cx, kind, reduced, &args[0].value, expr.span);
        }
        let Some(function) = Scalar::named(&name.text).filter(|_| !builtins::is_operator(&name.text)) else {
            return Err(Failed); // Reported by the analysis.
        };
        if args.len() != function.info().arity {
            return self.wrong_arguments(name, &usage(function));
        }
        let values: Res<Vec<Value>> = args.iter().map(|arg| self.eval(cx, &arg.value)).collect();
        self.apply(function, &values?, expr.span)
    }

    /// `max(x[i])` reduces the indices that are not on the left; `max(x)` the open axes.
    fn reduce_all(
        &mut self,
        cx: &mut Cx,
        kind: Projection,
        names: &[Arc<str>],
        body: &Expr,
        span: Span,
    ) -> Res<Value> {
        let value = self.eval(cx, body)?;
        let tensor = self.as_tensor(value, body.span)?;
        let mut axes = tensor.axes;
        for name in names {
            axes.push(self.axis_of(cx, name, span)?);
        }
        let argument = matches!(kind, Projection::Reduce(Reduction::Argmax | Reduction::Argmin));
        if argument && axes.len() != 1 {
            return self.fail(
                Diagnostic::error(
                    codes::MISSING_DOT,
                    span,
                    format!("over which of {} axes is the position asked for?", axes.len()),
                )
                .help("name the index: `argmax[i](x[i, j])`"),
            );
        }
        self.reduce(kind, tensor.node, &axes, span).map(scalar)
    }

    fn inline(&mut self, cx: &mut Cx, call: &CallFacts, args: &[Arg], span: Span) -> Res<Value> {
        let mut values = Vec::new();
        for binding in &call.arguments {
            values.push(match binding.argument {
                Some(number) => Some(self.eval(cx, &args[number].value)?),
                None => None,
            });
        }
        self.steps += 1;
        self.enter(span, |tracer| tracer.inline_in_frame(cx, call, args, values, span))
    }

    fn inline_in_frame(
        &mut self,
        cx: &mut Cx,
        call: &CallFacts,
        args: &[Arg],
        values: Vec<Option<Value>>,
        span: Span,
    ) -> Res<Value> {
        let function = &call.function;
        let block = self.block_of(function)?;
        let depth = self.inlining.iter().filter(|name| **name == function.name.text).count();
        let frame = Frame::new(block, (Arc::clone(&function.name.text), depth), self.guards.clone());
        let mut leading: Vec<AxisId> = Vec::new();
        for ((param, binding), value) in function.params.iter().zip(&call.arguments).zip(values) {
            let (Some(value), Some(number)) = (value, binding.argument) else { continue };
            let at = args[number].value.span;
            let value = match &binding.axes {
                BoundAxes::Mapped => self.map_over(function, param, value, &mut leading, at)?,
                BoundAxes::Indices(indices) => self.bind_indices(cx, &frame, param, indices, value, at)?,
                BoundAxes::Bare => self.bind_bare(&frame, param, value, &mut leading, at)?,
            };
            frame.set_param(&param.name.text, value);
        }
        self.inlining.push(Arc::clone(&function.name.text));
        let result = match function.kernel {
            Some(kernel) => self.kernel(kernel, &frame, function, span),
            None => self.define_whole(&frame, &function.result.text, span),
        };
        self.inlining.pop();
        let result = result?;
        self.check_result(&result, function, span)?;
        self.result(cx, call, result, leading, span)
    }

    /// Functions of the library for which the graph has an op.
    fn kernel(
        &mut self,
        kernel: crate::program::Kernel,
        frame: &Rc<Frame>,
        function: &Function,
        span: Span,
    ) -> Res<Tensor> {
        match kernel {
            crate::program::Kernel::Softmax => {
                let value = frame.param(&function.params[0].name.text).ok_or(Failed)?;
                let tensor = self.as_tensor(value, span)?;
                let [along] = tensor.axes[..] else {
                    return self.define_whole(frame, &function.result.text, span);
                };
                let node = self.with_axis(tensor.node, along, span);
                let masked = self.masked(node, &[along], f64::NEG_INFINITY, span);
                Ok(Tensor { node: self.graph.softmax(masked, along, span), axes: vec![along] })
            }
        }
    }

    fn check_result(&mut self, result: &Tensor, function: &Function, span: Span) -> Res<()> {
        if result.axes.len() != function.result_axes.len() {
            return self.fail(
                Diagnostic::error(
                    codes::INDEX_COUNT,
                    function.result.span,
                    format!(
                        "the result of `{}` is declared with {} axes and defined with {}",
                        function.name.text,
                        function.result_axes.len(),
                        result.axes.len()
                    ),
                )
                .label(span, "called here")
                .help("write the axes of the result after `->`: `fn f(x[d]) -> y[d]`"),
            );
        }
        Ok(())
    }

    /// A parameter without axes: all open axes of its argument are mapped over, out of sight of the function.
    fn map_over(
        &mut self,
        function: &Function,
        param: &crate::program::Param,
        value: Value,
        leading: &mut Vec<AxisId>,
        span: Span,
    ) -> Res<Value> {
        let value = match value {
            Value::List(items) if !is_indexed(function, &param.name.text) => {
                Value::Tensor(self.as_tensor(Value::List(items), span)?)
            }
            other => other,
        };
        let Value::Tensor(tensor) = &value else { return Ok(value) };
        if tensor.axes.is_empty() {
            return Ok(value);
        }
        *leading = self.meet_open(std::mem::take(leading), &tensor.axes, span)?;
        let hidden = self.mapped_axes(&tensor.axes);
        let node = self.rename(tensor.node, &tensor.axes, &hidden, span);
        Ok(scalar(node))
    }

    /// What open axes are called inside of a function that is mapped over them.
    fn mapped_axes(&mut self, open: &[AxisId]) -> Vec<AxisId> {
        let depth = self.inlining.len();
        let mut hidden = Vec::new();
        for (position, &axis) in open.iter().enumerate() {
            let extent = self.graph.extent(axis);
            hidden.push(if extent == Extent::Rows {
                axis
            } else {
                self.hidden_axis(&format!("_{position}.{depth}"), extent)
            });
        }
        hidden
    }

    /// A tensor parameter whose axes are indices of the caller.
    fn bind_indices(
        &mut self,
        cx: &mut Cx,
        frame: &Rc<Frame>,
        param: &crate::program::Param,
        indices: &[Arc<str>],
        value: Value,
        span: Span,
    ) -> Res<Value> {
        let declared = param.axes.as_deref().unwrap_or_default();
        let tensor = self.as_tensor(value, span)?;
        if !tensor.axes.is_empty() {
            return self.missing_indices(&tensor, span);
        }
        let mut node = tensor.node;
        let mut axes = Vec::new();
        for (name, index) in declared.iter().zip(indices) {
            let axis = self.axis_of(cx, index, span)?;
            let class = frame.block.domains.declared(&name.text).ok_or(Failed)?;
            let home = frame.home(class).map(|(home, _)| home);
            self.bind_argument(frame, class, axis, name, span)?;
            let extent = self.graph.extent(axis);
            let target = match (home, frame.declared_axis(&name.text)) {
                (Some(home), _) if extent.is_stream() => home,
                (_, Some(own)) => own,
                _ if frame.is_of_another(axis, &name.text) => {
                    self.local_axis(frame, class, &name.text, extent)
                }
                _ => axis,
            };
            frame.set_declared_axis(&name.text, target);
            node = self.rename(node, &[axis], &[target], span);
            axes.push(target);
        }
        Ok(Value::Tensor(Tensor { node, axes }))
    }

    /// A tensor parameter whose argument has no indices: its last axes are the parameter's, those before are mapped over.
    fn bind_bare(
        &mut self,
        frame: &Rc<Frame>,
        param: &crate::program::Param,
        value: Value,
        leading: &mut Vec<AxisId>,
        span: Span,
    ) -> Res<Value> {
        let declared = param.axes.as_deref().unwrap_or_default();
        if self.is_unknown(&value) || value.number().is_some() {
            return Ok(value);
        }
        let tensor = self.as_tensor(value, span)?;
        let Some(mapped) = tensor.axes.len().checked_sub(declared.len()) else {
            return self.fail(
                Diagnostic::error(
                    codes::INDEX_COUNT,
                    span,
                    format!(
                        "`{}` works along {} axes, this tensor has {}",
                        param.name.text,
                        declared.len(),
                        tensor.axes.len()
                    ),
                )
                .label(param.name.span, "the parameter is declared here"),
            );
        };
        let (first, last) = tensor.axes.split_at(mapped);
        *leading = self.meet_open(std::mem::take(leading), first, span)?;
        let mut axes = Vec::new();
        for (name, &axis) in declared.iter().zip(last) {
            let class = frame.block.domains.declared(&name.text).ok_or(Failed)?;
            let extent = self.graph.extent(axis);
            let own = match extent {
                Extent::Rows => axis,
                _ => self.local_axis(frame, class, &name.text, extent),
            };
            self.bind_argument(frame, class, own, name, span)?;
            let home = frame.home(class).map(|(home, _)| home).filter(|_| extent.is_stream());
            let own = home.or(frame.declared_axis(&name.text)).unwrap_or(own);
            frame.set_declared_axis(&name.text, own);
            axes.push(own);
        }
        let hidden = self.mapped_axes(first);
        let (from, to) = (tensor.axes.clone(), [hidden, axes.clone()].concat());
        let node = self.rename(tensor.node, &from, &to, span);
        Ok(Value::Tensor(Tensor { node, axes }))
    }

    /// Gives the class of a parameter's axis its home; sizes that contradict show the argument.
    fn bind_argument(
        &mut self,
        frame: &Rc<Frame>,
        class: crate::domains::Class,
        axis: AxisId,
        name: &Name,
        span: Span,
    ) -> Res<()> {
        if let Some((home, _)) = frame.home(class) {
            let (a, b) = (self.graph.extent(home), self.graph.extent(axis));
            if !agree(a, b) {
                return self.fail(
                    Diagnostic::error(
                        codes::SIZE_MISMATCH,
                        span,
                        format!(
                            "the parameters' axis `{}` has two sizes: {} and {}",
                            name.text,
                            show(a),
                            show(b)
                        ),
                    )
                    .here(format!("{} here, {} in an argument before", show(b), show(a)))
                    .label(name.span, "the axis is declared here"),
                );
            }
        }
        self.bind_home(frame, class, axis, name)
    }

    /// The result with the caller's axes.
    fn result(
        &mut self,
        cx: &mut Cx,
        call: &CallFacts,
        result: Tensor,
        leading: Vec<AxisId>,
        span: Span,
    ) -> Res<Value> {
        let (mut from, mut to, mut open) = (self.mapped_axes(&leading), leading.clone(), leading);
        for (outside, &axis) in call.result.iter().zip(&result.axes) {
            let extent = self.graph.extent(axis);
            let target = match outside {
                ResultAxis::Bare => {
                    let target = self.open_axis(open.len(), extent);
                    open.push(target);
                    target
                }
                ResultAxis::Index(name) => match cx.variables.get(name) {
                    Some(Bound::Axis(target)) => *target,
                    Some(Bound::Step(_)) => return self.axis_of(cx, name, span).map(|_| Value::Unknown),
                    None => self.bind_variable(cx, name, extent),
                },
            };
            if !agree(self.graph.extent(target), extent) {
                let name = self.graph.axis_info(target).name.clone();
                let (a, b) = (show(self.graph.extent(target)), show(extent));
                return self.fail(
                    Diagnostic::error(
                        codes::SIZE_MISMATCH,
                        span,
                        format!("`{name}` has two sizes: {a} and {b}"),
                    )
                    .here(format!("the result has {b} positions along `{name}`"))
                    .label(call.function.result.span, "the result"),
                );
            }
            from.push(axis);
            to.push(target);
        }
        let node = self.rename(result.node, &from, &to, span);
        Ok(Value::Tensor(Tensor { node, axes: open }))
    }
}

/// Whether a function reads elements of a parameter.
fn is_indexed(function: &Function, param: &str) -> bool {
    let mut found = false;
    for equation in &function.block.equations {
        equation.value.walk(&mut |part| {
            if let ExprKind::Index(base, _) = &part.kind
                && let ExprKind::Name(name) = &base.kind
            {
                found |= **name == *param;
            }
        });
    }
    found
}

fn usage(function: Scalar) -> String {
    let args = ["a", "b", "c"];
    format!("{}({})", function.info().name, args[..function.info().arity].join(", "))
}
