//! Printing, input, arguments, environment, time, errors.

use super::super::builtin::{Arguments, Builtin, CallError, Purity::*};
use super::super::context::Context;
use super::super::format;
use super::super::value::Value;
use super::row;

pub(super) const TABLE: &[Builtin] = &[
    row(
        "print",
        "values...",
        Effect,
        "Prints the values with spaces between them, and ends the line.",
        print,
    ),
    row(
        "write",
        "values...",
        Effect,
        "Prints the values with nothing between them, and does not end the line.",
        write,
    ),
    row("input", "prompt = \"\"", Effect, "Reads a line; at the end of the input, nothing: `()`.", input),
    row("args", "", Effect, "The arguments that the script was started with, as a list of texts.", args),
    row("env", "name, default = ()", Effect, "A variable of the environment, or the default.", env),
    row("time", "", Effect, "Seconds since some fixed moment, to measure how long something takes.", time),
    row("error", "message", Effect, "Ends the script with an error.", error),
];

fn print(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let texts: Vec<String> = arguments.rest().iter().map(format::shown).collect();
    context.print(&format!("{}\n", texts.join(" ")));
    Ok(Value::Unit)
}

fn write(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let text: String = arguments.rest().iter().map(format::shown).collect();
    context.print(&text);
    Ok(Value::Unit)
}

fn input(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let prompt = arguments.get(0).map(format::shown).unwrap_or_default();
    Ok(context.host().input(&format::without_controls(&prompt)).map_or(Value::Unit, Value::from))
}

fn args(context: &mut Context<'_>, _: Arguments) -> Result<Value, CallError> {
    Ok(Value::list(context.arguments().iter().map(Value::text)))
}

fn env(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let found = context.host().env(&arguments.text(0)?);
    Ok(found.map_or_else(|| arguments.value(1), Value::from))
}

fn time(context: &mut Context<'_>, _: Arguments) -> Result<Value, CallError> {
    Ok(Value::Number(context.host().seconds()))
}

fn error(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Err(CallError::new(format::shown(&arguments.value(0))))
}
