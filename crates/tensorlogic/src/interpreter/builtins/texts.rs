//! Texts.

use super::super::builtin::{Arguments, Builtin, CallError, Purity::*};
use super::super::context::Context;
use super::super::format;
use super::super::value::Value;
use super::row;

pub(super) const TABLE: &[Builtin] = &[
    row("str", "value", Pure, "The value as the text that `print` shows.", str),
    row("number", "text", Pure, "The number that a text writes, or `()` if it writes none.", number),
    row(
        "split",
        "text, separator = \" \"",
        Pure,
        "The parts of a text between separators; by default, its words.",
        split,
    ),
    row("lines", "text", Pure, "The lines of a text.", lines),
    row("join", "items, separator = \"\"", Pure, "One text of many, with a separator between them.", join),
    row("trim", "text", Pure, "The text without white space at its ends.", trim),
    row("upper", "text", Pure, "The text in capital letters.", upper),
    row("lower", "text", Pure, "The text in small letters.", lower),
    row("replace", "text, from, to", Pure, "The text with each `from` replaced by `to`.", replace),
    row("starts_with", "text, start", Pure, "Whether a text begins with another.", starts_with),
    row("ends_with", "text, end", Pure, "Whether a text ends with another.", ends_with),
];

fn str(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(format::shown(&arguments.value(0)).into())
}

fn number(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let text = arguments.text(0)?;
    Ok(text.trim().parse::<f64>().map_or(Value::Unit, Value::Number))
}

fn split(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let text = arguments.text(0)?;
    if arguments.get(1).is_none() {
        return Ok(Value::list(text.split_whitespace().map(Value::text)));
    }
    let separator = arguments.text(1)?;
    if separator.is_empty() {
        return Err(CallError::new("a separator has at least one character").about(1));
    }
    Ok(Value::list(text.split(&*separator).map(Value::text)))
}

fn lines(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(Value::list(arguments.text(0)?.lines().map(Value::text)))
}

fn join(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let separator = arguments.get(1).map(format::shown).unwrap_or_default();
    let texts: Vec<String> = arguments.items(0)?.iter().map(format::shown).collect();
    let length = texts.iter().map(|t| t.len() + separator.len()).sum();
    check_length(context, length)?;
    Ok(texts.join(&separator).into())
}

fn trim(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(arguments.text(0)?.trim().into())
}

fn upper(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(arguments.text(0)?.to_uppercase().into())
}

fn lower(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(arguments.text(0)?.to_lowercase().into())
}

fn replace(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (text, from, to) = (arguments.text(0)?, arguments.text(1)?, arguments.text(2)?);
    if from.is_empty() {
        return Err(CallError::new("what is replaced has at least one character").about(1));
    }
    check_length(context, text.matches(&*from).count().saturating_mul(to.len()).saturating_add(text.len()))?;
    Ok(text.replace(&*from, &to).into())
}

fn starts_with(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(arguments.text(0)?.starts_with(&*arguments.text(1)?).into())
}

fn ends_with(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(arguments.text(0)?.ends_with(&*arguments.text(1)?).into())
}

fn check_length(context: &Context<'_>, length: usize) -> Result<(), CallError> {
    let limit = context.limits().length;
    if length <= limit {
        return Ok(());
    }
    Err(CallError::new(format!("the text would be {length} bytes long; at most {limit} are possible"))
        .code(tl_syntax::codes::LENGTH_LIMIT))
}
