//! Calls: of builtins, of a program's functions, of closures.

use std::sync::Arc;

use tl_syntax::ast::{self, Argument, Expr, FnBody};
use tl_syntax::{Diagnostic, Span, codes};

use super::Interpreter;
use super::builtin::{Arguments, Builtin, CallError};
use super::context::Context;
use super::fault::{Eval, Interrupt, fault, wrong_kind};
use super::function::Function;
use super::value::Value;

/// An argument: its name if it has one, its value, and where it is written.
pub(super) type Given = (Option<Arc<str>>, Value, Span);

impl Interpreter {
    pub(super) fn eval_call(&mut self, call: &ast::CallExpr) -> Eval<Value> {
        let Some(callee) = call.callee() else {
            return Err(fault(codes::EXPECTED_EXPRESSION, call.span(), "something is called"));
        };
        // The name alone is looked up, so that a tensor of the same name as a builtin is not evaluated.
        let function = match callee.unparenthesized() {
            Expr::Name(name) => match self.function_named(name.name()) {
                Some(function) => function,
                None => return Err(self.unknown_function(name.name(), name.span())),
            },
            other => self.eval(&other)?,
        };
        let given = self.given(call)?;
        self.call(&function, given, call.span(), callee.span())
    }

    /// The arguments of a call, evaluated.
    fn given(&mut self, call: &ast::CallExpr) -> Eval<Vec<Given>> {
        let mut given = Vec::new();
        for argument in call.arguments() {
            let name = match &argument {
                Argument::Named(named) => named.name().map(|n| Arc::from(n.as_str())),
                Argument::Positional(_) => None,
            };
            let Some(expr) = argument.value() else { continue };
            given.push((name, self.eval(&expr)?, expr.span()));
        }
        Ok(given)
    }

    /// What a name that is called means.
    pub(super) fn function_named(&self, name: &str) -> Option<Value> {
        match self.environment.get(name) {
            Some(value) => Some(value.clone()),
            None => match self.builtins.get(name) {
                Some(builtin) => Some(Value::Builtin(*builtin)),
                None => self.equations.library_function(name),
            },
        }
    }

    /// Calls a function with evaluated arguments.
    pub(super) fn call(
        &mut self,
        function: &Value,
        given: Vec<Given>,
        span: Span,
        callee: Span,
    ) -> Eval<Value> {
        self.count_step(span)?;
        match function {
            Value::Builtin(builtin) => self.call_builtin(*builtin, given, span),
            Value::Function(function) if function.is_equations() => {
                let function = Arc::clone(function);
                self.call_equations(&function, given, span)
            }
            Value::Function(function) => {
                let function = Arc::clone(function);
                self.call_function(&function, given, span)
            }
            other => Err(wrong_kind(callee, "a function", other)),
        }
    }

    /// `file("y.npy") = Y`: evaluates and writes.
    pub(super) fn write_file(&mut self, equation: &ast::Equation) -> Eval<()> {
        let (Some(Expr::Call(call)), Some(rhs)) = (equation.lhs(), equation.rhs()) else { return Ok(()) };
        if equation.op() != Some(ast::ProjectionOp::Assign) {
            let message = "a file is written with `=`, and all of it";
            return Err(fault(codes::BAD_LEFT_SIDE, call.span(), message));
        }
        let value = self.eval(&rhs)?;
        let given = self.given(&call)?;
        let Some(Value::Builtin(builtin)) = self.function_named("file") else { return Ok(()) };
        self.with_builtin(builtin, given, call.span(), |context, arguments| {
            super::builtins::files::write(context, &arguments, &value)
        })
    }

    fn call_builtin(&mut self, builtin: Builtin, given: Vec<Given>, span: Span) -> Eval<Value> {
        self.with_builtin(builtin, given, span, |context, arguments| builtin.run(context, arguments))
    }

    /// Binds arguments to the parameters of a builtin and does something with them; what goes wrong has the place of an argument.
    fn with_builtin<T>(
        &mut self,
        builtin: Builtin,
        given: Vec<Given>,
        span: Span,
        work: impl FnOnce(&mut Context<'_>, Arguments) -> Result<T, CallError>,
    ) -> Eval<T> {
        let arguments = builtin
            .bind(given)
            .map_err(|(error, at)| failed(codes::ARGUMENT_COUNT, &error, at.unwrap_or(span)))?;
        let spans: Vec<Option<Span>> =
            (0..builtin.parameter_names().count()).map(|i| arguments.span(i)).collect();
        let mut context = Context::new(self, span);
        let result = work(&mut context, arguments);
        if let Some(interrupt) = context.take_interrupt() {
            return Err(interrupt);
        }
        result.map_err(|error| {
            let at = error.parameter.and_then(|p| spans.get(p).copied().flatten()).unwrap_or(span);
            failed(error.code.unwrap_or(codes::CALL_FAILED), &error, at)
        })
    }

    fn call_function(&mut self, function: &Function, given: Vec<Given>, span: Span) -> Eval<Value> {
        if self.calls >= self.limits.calls {
            let message = format!("more than {} calls are nested", self.limits.calls);
            let diagnostic = Diagnostic::error(codes::CALL_DEPTH, span, message);
            return Err(diagnostic.help("does the function call itself without an end?").into());
        }
        let params = function.params();
        let arguments = bind(function, &params, given, span)?;
        let depth = self.environment.depth();
        let mark = self.equations.enter(function.is_closure());
        self.environment.push_frame(&function.captured);
        self.calls += 1;
        let result = self.deeper(span, |i| i.run_body(function, &params, arguments));
        self.calls -= 1;
        self.equations.leave(mark);
        while self.environment.depth() > depth {
            self.environment.pop_frame();
        }
        match result {
            Err(Interrupt::Return(_, value)) => Ok(*value),
            Err(Interrupt::Fault(mut found)) => {
                note_call(&mut found, function, span);
                Err(Interrupt::Fault(found))
            }
            other => other,
        }
    }

    fn run_body(
        &mut self,
        function: &Function,
        params: &[ast::Param],
        arguments: Vec<Option<Value>>,
    ) -> Eval<Value> {
        for (param, argument) in params.iter().zip(arguments) {
            let Some(name) = param.name() else { continue };
            let value = match (argument, param.default()) {
                (Some(value), _) => value,
                (None, Some(default)) => self.eval(&default)?,
                (None, None) => Value::Unit,
            };
            self.environment.define(name.as_str().into(), value);
        }
        match function.body() {
            Some(FnBody::Expr(expr)) => self.eval(&expr),
            Some(FnBody::Block(block)) => self.run_block(&block),
            None => Ok(Value::Unit),
        }
    }

    #[cold]
    fn unknown_function(&mut self, name: &str, span: Span) -> Interrupt {
        match self.unknown_name(name, span) {
            Interrupt::Fault(mut found) => {
                if let Some(first) = found.first_mut() {
                    first.code = codes::UNKNOWN_FUNCTION;
                    first.message = format!("there is no function `{name}`");
                }
                Interrupt::Fault(found)
            }
            other => other,
        }
    }
}

/// Arguments in the order of the parameters; those that are left out have a default.
fn bind(
    function: &Function,
    params: &[ast::Param],
    given: Vec<Given>,
    span: Span,
) -> Eval<Vec<Option<Value>>> {
    let name_of = |p: &ast::Param| p.name().map(|n| n.as_str().to_owned()).unwrap_or_default();
    let mut values: Vec<Option<Value>> = vec![None; params.len()];
    let mut next = 0;
    for (name, value, at) in given {
        let slot = match &name {
            Some(name) => params.iter().position(|p| name_of(p) == **name),
            None => {
                next += 1;
                Some(next - 1).filter(|&n| n < params.len())
            }
        };
        match slot {
            Some(slot) if values[slot].is_none() => values[slot] = Some(value),
            Some(slot) => {
                return Err(wrong_call(function, at, format!("`{}` is given twice", name_of(&params[slot]))));
            }
            None => {
                let message = match name {
                    Some(name) => format!("`{}` has no parameter `{name}`", function.name()),
                    None => format!("`{}` takes {} arguments", function.name(), params.len()),
                };
                return Err(wrong_call(function, at, message));
            }
        }
    }
    match params.iter().zip(&values).find(|(param, value)| value.is_none() && param.default().is_none()) {
        Some((param, _)) => {
            Err(wrong_call(function, span, format!("`{}` needs `{}`", function.name(), name_of(param))))
        }
        None => Ok(values),
    }
}

#[cold]
fn wrong_call(function: &Function, span: Span, message: String) -> Interrupt {
    Diagnostic::error(codes::ARGUMENT_COUNT, span, message)
        .label(function.span(), "the function is declared here")
        .into()
}

/// Says from where a function was called in which something went wrong; the innermost few calls only.
#[cold]
fn note_call(found: &mut [Diagnostic], function: &Function, span: Span) {
    const SHOWN: usize = 4;
    for diagnostic in found {
        if diagnostic.labels.iter().filter(|l| !l.primary).count() < SHOWN {
            let label = format!("in this call of `{}`", function.name());
            *diagnostic = diagnostic.clone().label(span, label);
        }
    }
}

#[cold]
fn failed(code: &'static str, error: &CallError, span: Span) -> Interrupt {
    let mut diagnostic = Diagnostic::error(code, span, &*error.message);
    if let Some(help) = &error.help {
        diagnostic = diagnostic.help(&**help);
    }
    diagnostic.into()
}
