//! Reductions of all the numbers of a list or a tensor, and of several arguments.

use super::super::builtin::{Arguments, Builtin, CallError, Purity::*};
use super::super::context::Context;
use super::super::convert::elements;
use super::super::tensor::widen;
use super::super::value::Value;
use super::row;

pub(super) const TABLE: &[Builtin] = &[
    row(
        "sum",
        "values...",
        Pure,
        "The sum of the numbers: of the arguments, or of all that one list or tensor holds.",
        sum,
    ),
    row("prod", "values...", Pure, "The product of the numbers.", prod),
    row("mean", "values...", Pure, "The mean of the numbers.", mean),
    row("max", "values...", Pure, "The largest of the numbers.", max),
    row("min", "values...", Pure, "The smallest of the numbers.", min),
    row(
        "argmax",
        "logits",
        Pure,
        "The position of the largest, the first of equals; of a matrix, in its last row.",
        argmax,
    ),
    row(
        "argmin",
        "values",
        Pure,
        "The position of the smallest, the first of equals; of a matrix, in its last row.",
        argmin,
    ),
    row("count_nan", "tensor", Pure, "How many elements are NaN.", count_nan),
    row("count_inf", "tensor", Pure, "How many elements are infinite.", count_inf),
    row(
        "first_nan",
        "tensor",
        Pure,
        "The position of the first NaN, one number an axis, or `()` if there is none.",
        first_nan,
    ),
];

/// All the numbers of the arguments: each a number, or a list or tensor of numbers.
fn all_numbers(arguments: &Arguments) -> Result<Vec<f64>, CallError> {
    let mut out = Vec::new();
    for value in arguments.rest() {
        match value.as_number() {
            Some(number) => out.push(number),
            None => {
                let tensor = super::super::convert::to_tensor(value).map_err(|reason| {
                    CallError::new(
                        reason.unwrap_or_else(|| format!("expected numbers, found {}", value.kind())),
                    )
                })?;
                if let Value::List(items) = value
                    && let Some(numbers) = items.iter().map(Value::as_number).collect::<Option<Vec<f64>>>()
                {
                    // The numbers of a list keep all their digits.
                    out.extend(numbers);
                } else {
                    out.extend(elements(&tensor)?.iter().map(|&x| f64::from(x)));
                }
            }
        }
    }
    Ok(out)
}

/// The numbers, of which there must be one.
fn some_numbers(arguments: &Arguments, what: &str) -> Result<Vec<f64>, CallError> {
    let numbers = all_numbers(arguments)?;
    if numbers.is_empty() {
        return Err(CallError::new(format!("there is no {what} of nothing")));
    }
    Ok(numbers)
}

fn sum(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(Value::Number(all_numbers(&arguments)?.iter().sum()))
}

fn prod(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(Value::Number(all_numbers(&arguments)?.iter().product()))
}

fn mean(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let numbers = some_numbers(&arguments, "mean")?;
    Ok(Value::Number(numbers.iter().sum::<f64>() / numbers.len() as f64))
}

fn max(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let numbers = some_numbers(&arguments, "largest")?;
    Ok(shortest(numbers.into_iter().reduce(larger), &arguments))
}

fn min(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let numbers = some_numbers(&arguments, "smallest")?;
    Ok(shortest(numbers.into_iter().reduce(|a, b| -larger(-a, -b)), &arguments))
}

/// The larger of two numbers; NaN, if one of them is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
}

/// An element of a tensor, written as shortly as it is one.
fn shortest(number: Option<f64>, arguments: &Arguments) -> Value {
    let number = number.unwrap_or(f64::NAN);
    match arguments.rest() {
        [Value::Tensor(_)] => Value::Number(widen(number as f32)),
        _ => Value::Number(number),
    }
}

fn argmax(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    extreme(&arguments, |best, x| x > best)
}

fn argmin(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    extreme(&arguments, |best, x| x < best)
}

fn extreme(arguments: &Arguments, better: impl Fn(f32, f32) -> bool) -> Result<Value, CallError> {
    let values = arguments.logits(0)?;
    if let Some(at) = values.iter().position(|x| x.is_nan()) {
        return Err(CallError::new(format!("element {at} is NaN, which has no order")).about(0));
    }
    let best = (0..values.len()).reduce(|best, i| if better(values[best], values[i]) { i } else { best });
    best.map(Value::from).ok_or_else(|| CallError::new("there are no elements").about(0))
}

fn count_nan(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(elements(&arguments.tensor(0)?)?.iter().filter(|x| x.is_nan()).count().into())
}

fn count_inf(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(elements(&arguments.tensor(0)?)?.iter().filter(|x| x.is_infinite()).count().into())
}

fn first_nan(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let tensor = arguments.tensor(0)?;
    let Some(mut at) = elements(&tensor)?.iter().position(|x| x.is_nan()) else { return Ok(Value::Unit) };
    let mut position = Vec::new();
    for &size in tensor.shape().iter().rev() {
        position.push(Value::from(at % size));
        at /= size;
    }
    position.reverse();
    Ok(Value::list(position))
}
