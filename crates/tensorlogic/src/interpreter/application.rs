//! Functions of equations, applied to values.
//!
//! A function says which axes it works along; a value has axes in an order. The last axes of a tensor are those that its
//! parameter declares, the ones before are mapped over. That is an equation, and it is written down as one:
//!
//! ```text
//! rms_norm(x[d], eps) -> [d], of a matrix and a number      RESULT'[i0', d] = rms_norm(x'[i0', d.], eps')
//! ```
//!
//! The text depends on the function and the number of axes alone, so it is read once for each.

use std::collections::HashMap;
use std::sync::Arc;

use tl_syntax::ast::{self, Expr, Stmt};
use tl_syntax::{Diagnostic, SourceId, Span, codes};

use super::Interpreter;
use super::calls::Given;
use super::fault::{Eval, Interrupt, fault};
use super::function::Function;
use super::value::Value;

/// What the result is called in the text of an application.
const RESULT: &str = "RESULT'";

/// The texts that have been read.
#[derive(Debug, Default)]
pub(super) struct Applications(HashMap<String, Application>);

/// A text, read.
#[derive(Clone, Debug)]
struct Application {
    source: SourceId,
    equation: ast::Equation,
    result: Expr,
}

/// An argument as the text has it: what is written, its variable and its value, and how many axes are mapped over.
struct Placed {
    text: String,
    variable: Arc<str>,
    value: Value,
    mapped: usize,
}

impl Interpreter {
    /// Calls a function of equations with values: tensors are worked along their last axes, those before are mapped over.
    pub(super) fn call_equations(
        &mut self,
        function: &Function,
        given: Vec<Given>,
        span: Span,
    ) -> Eval<Value> {
        self.call_library(&function.name(), given, span)
    }

    /// The same by the function's name.
    pub(super) fn call_library(&mut self, name: &str, given: Vec<Given>, span: Span) -> Eval<Value> {
        let Some(function) = self.equations.function(name).cloned() else {
            return Err(self.unknown_name(name, span));
        };
        let mut next = 0;
        let placed: Vec<Placed> =
            given.into_iter().map(|given| place(&function, &mut next, given)).collect::<Eval<_>>()?;
        let text = text_of(&function, &placed);
        let application = self.application(name, text, span)?;
        let own: Vec<(Arc<str>, Value)> = placed.into_iter().map(|p| (p.variable, p.value)).collect();
        let mark = self.equations.enter(false);
        self.equations.write_plain(RESULT, &application.equation);
        let traced = self.trace(&application.result, &own);
        self.equations.leave(mark);
        match traced {
            Ok((value, _)) => Ok(value),
            Err(Interrupt::Fault(found)) => Err(at_call(found, application.source, span)),
            Err(other) => Err(other),
        }
    }

    /// The equation that a text is, read now or before.
    fn application(&mut self, name: &str, text: String, span: Span) -> Eval<Application> {
        if let Some(known) = self.applications.0.get(&text) {
            return Ok(known.clone());
        }
        let source = self.sources.add(format!("a call of {name}"), &*text);
        let source = source.map_err(|e| Interrupt::from(e.to_diagnostic()))?;
        let mut statements = tl_syntax::parse(&source).file().stmts();
        let (Some(Stmt::Equation(equation)), Some(Stmt::Expr(result))) =
            (statements.next(), statements.next())
        else {
            return Err(fault(
                codes::CALL_FAILED,
                span,
                format!("`{name}` can't be called with these values"),
            ));
        };
        let Some(result) = result.expr() else {
            return Err(fault(codes::CALL_FAILED, span, format!("`{name}` has no result")));
        };
        let application = Application { source: source.id(), equation, result };
        self.applications.0.insert(text, application.clone());
        Ok(application)
    }
}

/// An argument, and the parameter that it is for: the one of its name, or the next one.
fn place(function: &tl_sema::Function, next: &mut usize, (name, value, at): Given) -> Eval<Placed> {
    let found = match &name {
        Some(name) => function.params.iter().find(|p| p.name.text == *name),
        None => {
            *next += 1;
            function.params.get(*next - 1)
        }
    };
    let Some(param) = found else {
        let message = match &name {
            Some(name) => format!("`{}` has no parameter `{name}`", function.name.text),
            None => format!("`{}` takes {} arguments", function.name.text, function.params.len()),
        };
        return Err(fault(codes::ARGUMENT_COUNT, at, message));
    };
    let value = match super::convert::to_tensor(&value) {
        Ok(tensor) if !matches!(value, Value::Number(_) | Value::Bool(_)) => tensor.into(),
        _ => value,
    };
    let worked = param.axes.as_deref().unwrap_or_default();
    let rank = if let Value::Tensor(tensor) = &value { tensor.rank() } else { 0 };
    let Some(mapped) = rank.checked_sub(worked.len()) else {
        let message =
            format!("`{}` works on {} axes and the tensor has {rank}", param.name.text, worked.len());
        return Err(fault(codes::INDEX_COUNT, at, message));
    };
    // The names hold for this tracing alone and hide any others.
    let variable: Arc<str> = format!("{}'", param.name.text).into();
    let worked = worked.iter().map(|axis| format!("{}.", axis.text));
    let indices: Vec<String> = mapped_names(mapped).chain(worked).collect();
    let label = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let brackets = if indices.is_empty() { String::new() } else { format!("[{}]", indices.join(", ")) };
    Ok(Placed { text: format!("{label}{variable}{brackets}"), variable, value, mapped })
}

/// The names of the axes that are mapped over.
fn mapped_names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|i| format!("i{i}'"))
}

/// The equation, and its result as an expression.
fn text_of(function: &tl_sema::Function, placed: &[Placed]) -> String {
    let worked =
        |axis: &str| function.params.iter().flat_map(|p| p.axes.iter().flatten()).any(|a| *a.text == *axis);
    // An axis that comes in under its name goes out under it; one that the function makes is marked with a dot.
    let results = function.result_axes.iter().map(|axis| {
        let dot = if worked(&axis.text) { "" } else { "." };
        format!("{}{dot}", axis.text)
    });
    let mapped = placed.iter().map(|p| p.mapped).max().unwrap_or(0);
    let left: Vec<String> = mapped_names(mapped).chain(results).collect();
    let brackets = if left.is_empty() { String::new() } else { format!("[{}]", left.join(", ")) };
    let arguments: Vec<&str> = placed.iter().map(|p| &*p.text).collect();
    format!("{RESULT}{brackets} = {}({})\n{RESULT}\n", function.name.text, arguments.join(", "))
}

/// Findings about the text of a call, moved to where the call is written.
#[cold]
fn at_call(found: Vec<Diagnostic>, text: SourceId, span: Span) -> Interrupt {
    let moved = found.into_iter().map(|mut diagnostic| {
        for label in diagnostic.labels.iter_mut().filter(|label| label.span.source == text) {
            label.span = span;
        }
        diagnostic
    });
    moved.collect::<Vec<_>>().into()
}
