//! Lists, dicts and ranges.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::builtin::{Arguments, Builtin, CallError, Purity::*};
use super::super::context::Context;
use super::super::convert::MAX_ITEMS;
use super::super::tensor::TensorValue;
use super::super::value::{Key, Value};
use super::row;

pub(super) const TABLE: &[Builtin] = &[
    row("len", "value", Pure, "How many items, characters or rows there are.", len),
    row(
        "range",
        "from, to = (), step = 1",
        Pure,
        "The numbers from `from` to before `to`; with one argument, from 0.",
        range,
    ),
    row("push", "items, item", Pure, "The list with one more item at its end.", push),
    row("keys", "dict", Pure, "The keys of a dict.", keys),
    row("values", "dict", Pure, "The values of a dict.", values),
    row("map", "items, f", Effect, "The list of `f(item)` for each item.", map),
    row("filter", "items, f", Effect, "The items for which `f(item)` is true.", filter),
    row("zip", "a, b", Pure, "Pairs of the items of two lists, as many as the shorter has.", zip),
    row("enumerate", "items", Pure, "Pairs of position and item.", enumerate),
    row(
        "sorted",
        "items, key = ()",
        Effect,
        "The items in ascending order, of `key(item)` if that is given.",
        sorted,
    ),
    row("reversed", "items", Pure, "The items in reverse order.", reversed),
    row("unique", "items", Pure, "The items, each once, in the order in which they come first.", unique),
    row(
        "codes",
        "items, names = ()",
        Pure,
        "For each item its position in `names` (by default, in `unique(items)`), as a vector: the index of a gather or a scatter.",
        codes,
    ),
    row("list", "items", Pure, "The items of anything that has some, as a list.", list),
];

fn len(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let length = arguments.value(0).length();
    length.map(Value::from).ok_or_else(|| arguments.wrong(0, "something with items"))
}

fn unique(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for item in arguments.items(0)? {
        if seen.insert(key_of(&item, 0)?) {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}

fn codes(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let items = arguments.items(0)?;
    let is_given = !matches!(arguments.get(1), None | Some(Value::Unit));
    let names = if is_given { arguments.items(1)? } else { Vec::new() };
    let mut positions = HashMap::new();
    for (position, name) in names.iter().enumerate() {
        positions.entry(key_of(name, 1)?).or_insert(position);
    }
    let mut codes = Vec::with_capacity(items.len());
    for item in &items {
        let (key, next) = (key_of(item, 0)?, positions.len());
        let found =
            if is_given { positions.get(&key).copied() } else { Some(*positions.entry(key).or_insert(next)) };
        let unknown =
            || CallError::new(format!("{} is not among the names", super::super::format::nested(item)));
        codes.push(found.ok_or_else(|| unknown().about(0))? as f32);
    }
    Ok(TensorValue::new(&[codes.len()], &codes).into())
}

/// An item as something that can be looked up.
fn key_of(item: &Value, parameter: usize) -> Result<Key, CallError> {
    let wrong =
        || CallError::new(format!("texts, numbers and truth values can be told apart, not {}", item.kind()));
    Key::of(item).ok_or_else(|| wrong().about(parameter))
}

fn range(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let integer =
        |i: usize| arguments.value(i).as_integer().ok_or_else(|| arguments.wrong(i, "a whole number"));
    let (from, to) = if arguments.get(1).is_some() { (integer(0)?, integer(1)?) } else { (0, integer(0)?) };
    let step = if arguments.get(2).is_some() { integer(2)? } else { 1 };
    match step {
        1 => Ok(Value::Range(from, to)),
        0 => Err(CallError::new("the step of a range is not 0").about(2)),
        _ => {
            let distance = if step > 0 { to.saturating_sub(from) } else { from.saturating_sub(to) };
            let count = u64::try_from(distance).unwrap_or(0).div_ceil(step.unsigned_abs());
            if count > MAX_ITEMS as u64 {
                return Err(CallError::new(format!("a list of {count} numbers is too long")));
            }
            Ok(Value::list((0..count as i64).map(|i| Value::Number((from + i * step) as f64))))
        }
    }
}

fn push(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let Value::List(mut items) = arguments.value(0) else { return Err(arguments.wrong(0, "a list")) };
    let (limit, item) = (context.limits().length, arguments.value(1));
    if items.len() >= limit {
        return Err(
            CallError::new(format!("a list has at most {limit} items")).code(tl_syntax::codes::LENGTH_LIMIT)
        );
    }
    drop(arguments);
    Arc::make_mut(&mut items).push(item);
    Ok(Value::List(items))
}

fn keys(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    match arguments.get(0) {
        Some(Value::Dict(dict)) => Ok(Value::list(dict.iter().map(|(key, _)| key.value()))),
        _ => Err(arguments.wrong(0, "a dict")),
    }
}

fn values(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    match arguments.get(0) {
        Some(Value::Dict(dict)) => Ok(Value::list(dict.iter().map(|(_, value)| value.clone()))),
        _ => Err(arguments.wrong(0, "a dict")),
    }
}

fn map(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (items, function) = (arguments.items(0)?, arguments.value(1));
    let mapped: Result<Vec<Value>, CallError> =
        items.into_iter().map(|item| context.call(&function, vec![item])).collect();
    Ok(Value::List(Arc::new(mapped?)))
}

fn filter(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (items, function) = (arguments.items(0)?, arguments.value(1));
    let mut kept = Vec::new();
    for item in items {
        let truth = context.call(&function, vec![item.clone()])?;
        match truth.as_bool() {
            Some(true) => kept.push(item),
            Some(false) => {}
            None => {
                return Err(
                    CallError::new(format!("the function gave {}, not true or false", truth.kind())).about(1)
                );
            }
        }
    }
    Ok(Value::List(Arc::new(kept)))
}

fn zip(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let pairs = arguments.items(0)?.into_iter().zip(arguments.items(1)?);
    Ok(Value::list(pairs.map(|(a, b)| Value::Tuple([a, b].into()))))
}

fn enumerate(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let items = arguments.items(0)?.into_iter().enumerate();
    Ok(Value::list(items.map(|(i, item)| Value::Tuple([i.into(), item].into()))))
}

fn sorted(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let mut keyed = Vec::new();
    for item in arguments.items(0)? {
        let key = match arguments.get(1) {
            Some(function) => context.call(&function.clone(), vec![item.clone()])?,
            None => item.clone(),
        };
        keyed.push((key, item));
    }
    if let Some((odd, _)) = keyed.iter().find(|(key, _)| order(key, &keyed[0].0).is_none()) {
        let message = format!("{} and {} have no order", keyed[0].0.kind(), odd.kind());
        return Err(CallError::new(message).about(0));
    }
    keyed.sort_by(|(a, _), (b, _)| order(a, b).unwrap_or(Ordering::Equal));
    Ok(Value::list(keyed.into_iter().map(|(_, item)| item)))
}

/// The order of two texts or of two numbers. NaN comes last, so that sorting is well defined.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        (Value::Tuple(a), Value::Tuple(b)) => {
            let unequal = a.iter().zip(&**b).map(|(x, y)| order(x, y)).find(|o| *o != Some(Ordering::Equal));
            unequal.unwrap_or(Some(a.len().cmp(&b.len())))
        }
        _ => {
            let (a, b) = (a.as_number()?, b.as_number()?);
            Some(a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())))
        }
    }
}

fn reversed(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    if let Some(Value::Str(text)) = arguments.get(0) {
        return Ok(text.chars().rev().collect::<String>().into());
    }
    Ok(Value::list(arguments.items(0)?.into_iter().rev()))
}

fn list(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    if let Some(Value::Dict(dict)) = arguments.get(0) {
        let pair = |(key, value): &(Key, Value)| Value::Tuple([key.value(), value.clone()].into());
        return Ok(Value::list(dict.iter().map(pair)));
    }
    Ok(Value::list(arguments.items(0)?))
}
