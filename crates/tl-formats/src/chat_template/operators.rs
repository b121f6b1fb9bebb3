//! The operators and methods of templates whose own versions in the engine create or look through values for free.

use super::guard::{WEIGHT_PER_FUEL, charge, invalid, weighed};
use minijinja::value::{Rest, Tuple, Value, ValueKind};
use minijinja::{Error, State};

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn items(value: &Value) -> Result<Vec<Value>, Error> {
    value.try_iter()?.checked().collect()
}

/// `a + b` for numbers, texts and lists.
pub(super) fn add(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(Value::from([a, b].concat()));
    }
    if is_list(&a) && is_list(&b) {
        charge(state, &a)?;
        charge(state, &b)?;
        let mut all = items(&a)?;
        all.extend(items(&b)?);
        let all = if a.is_tuple() && b.is_tuple() { Value::from(Tuple::from(all)) } else { Value::from(all) };
        return weighed(state, all);
    }
    arithmetic("+", &a, &b, i128::checked_add, |a, b| a + b)
}

/// `a * b` for numbers, and for a text or list and a number.
pub(super) fn multiply(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    let (repeated, count) = if a.kind() == ValueKind::Number { (&b, &a) } else { (&a, &b) };
    if repeated.kind() == ValueKind::Number || count.kind() != ValueKind::Number {
        return arithmetic("*", &a, &b, i128::checked_mul, |a, b| a * b);
    }
    let count = usize::try_from(i128::try_from(count.clone())?.max(0))
        .map_err(|_| invalid("a count is too large"))?;
    if let Some(text) = repeated.as_str() {
        let length = text.len().saturating_mul(count);
        state.consume_fuel(length as u64 / 64)?;
        return Ok(Value::from(text.repeat(count)));
    }
    if !is_list(repeated) {
        return arithmetic("*", &a, &b, i128::checked_mul, |a, b| a * b);
    }
    charge(state, repeated)?;
    let part = items(repeated)?;
    state.consume_fuel(part.len().saturating_mul(count) as u64)?;
    let all: Vec<Value> = part.iter().cycle().take(part.len() * count).cloned().collect();
    weighed(state, Value::from(all))
}

fn arithmetic(
    sign: &str,
    a: &Value,
    b: &Value,
    whole: fn(i128, i128) -> Option<i128>,
    real: fn(f64, f64) -> f64,
) -> Result<Value, Error> {
    let numeric = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    if !numeric(a) || !numeric(b) {
        return Err(invalid(format!("tried to use {sign} on {} and {}", a.kind(), b.kind())));
    }
    let is_whole = |value: &Value| value.is_integer() || value.kind() == ValueKind::Bool;
    if is_whole(a) && is_whole(b) {
        let result = whole(i128::try_from(a.clone())?, i128::try_from(b.clone())?);
        let result = result.ok_or_else(|| invalid(format!("the result of {sign} is too large")))?;
        return Ok(i64::try_from(result).map_or_else(|_| Value::from(result), Value::from));
    }
    Ok(Value::from(real(f64::try_from(a.clone())?, f64::try_from(b.clone())?)))
}

/// `a ~ b`: both as text.
pub(super) fn concatenate(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    charge(state, &a)?;
    charge(state, &b)?;
    Ok(Value::from(match (a.as_str(), b.as_str()) {
        (Some(a), Some(b)) => [a, b].concat(),
        _ => format!("{a}{b}"),
    }))
}

/// `value[start:stop:step]` of a text (by characters) or a list.
pub(super) fn slice(
    state: &State,
    value: Value,
    start: Value,
    stop: Value,
    step: Value,
) -> Result<Value, Error> {
    let bound = |value: Value| if value.is_none() { Ok(None) } else { i64::try_from(value).map(Some) };
    let (start, stop, step) = (bound(start)?, bound(stop)?, bound(step)?.unwrap_or(1));
    if step == 0 {
        return Err(invalid("cannot slice by a step of 0"));
    }
    if let Some(text) = value.as_str() {
        state.consume_fuel(text.len() as u64 / 64)?;
        let characters: Vec<char> = text.chars().collect();
        return Ok(Value::from(
            indices(characters.len(), start, stop, step).map(|i| characters[i]).collect::<String>(),
        ));
    }
    if value.is_undefined() || value.is_none() {
        return Ok(Value::from(Vec::<Value>::new()));
    }
    if !is_list(&value) {
        return Err(invalid(format!("value of type {} cannot be sliced", value.kind())));
    }
    state.consume_fuel(value.len().unwrap_or(0) as u64 / WEIGHT_PER_FUEL)?;
    let all = items(&value)?;
    let chosen: Vec<Value> = indices(all.len(), start, stop, step).map(|i| all[i].clone()).collect();
    Ok(if value.is_tuple() { Value::from(Tuple::from(chosen)) } else { Value::from(chosen) })
}

/// The positions that Python's `start:stop:step` selects of `length`.
fn indices(length: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> impl Iterator<Item = usize> {
    let length = length as i64;
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let bound = |at: i64| (if at < 0 { at.saturating_add(length) } else { at }).clamp(low, high);
    let (first, end) = if step > 0 {
        (start.map_or(low, bound), stop.map_or(high, bound))
    } else {
        (start.map_or(high, bound), stop.map_or(low, bound))
    };
    std::iter::successors(Some(first), move |at| at.checked_add(step))
        .take_while(move |at| if step > 0 { *at < end } else { *at > end })
        .map(|at| at as usize)
}

/// `{key: value, …}` with keys that are no containers.
pub(super) fn build_map(state: &State, parts: Rest<Value>) -> Result<Value, Error> {
    let mut pairs = Vec::with_capacity(parts.len() / 2);
    for pair in parts.chunks_exact(2) {
        if is_list(&pair[0]) && !pair[0].is_tuple() || pair[0].kind() == ValueKind::Map {
            return Err(invalid("a list or map cannot be a key"));
        }
        charge(state, &pair[0])?;
        pairs.push((pair[0].clone(), pair[1].clone()));
    }
    weighed(state, Value::from_pairs(pairs))
}

/// Python's methods, charged for what they look at and create.
pub(super) fn call_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    args.iter().try_for_each(|value| charge(state, value))?;
    let Some(text) = value.as_str() else {
        if !matches!(method, "items" | "keys" | "values" | "get") {
            charge(state, value)?;
        }
        return minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args);
    };
    state.consume_fuel(1 + text.len() as u64 / 64)?;
    let argument = |i: usize| args.get(i).and_then(Value::as_str);
    match method {
        "join" => return join(state, text, args),
        "replace" => {
            let occurrences = argument(0).map_or(0, |old| text.matches(old).count());
            let grown = occurrences.saturating_mul(argument(1).map_or(0, str::len));
            state.consume_fuel(grown as u64 / 64)?;
        }
        "split" | "splitlines" | "rsplit" => {
            let parts = match argument(0) {
                Some(separator) => text.matches(separator).count(),
                None => text.split_whitespace().count().max(text.matches('\n').count()),
            };
            state.consume_fuel(parts as u64 / 2)?;
        }
        "format" => check_format(text)?,
        _ => {}
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

/// `separator.join(values)`
fn join(state: &State, separator: &str, args: &[Value]) -> Result<Value, Error> {
    let [values] = args else { return Err(invalid("join takes one list")) };
    let mut out = String::new();
    for (i, item) in values.try_iter()?.checked().enumerate() {
        let item = item?;
        if i > 0 {
            out.push_str(separator);
        }
        let before = out.len();
        match item.as_str() {
            Some(text) => out.push_str(text),
            None => out.push_str(&item.to_string()),
        }
        state.consume_fuel(1 + (out.len() - before + separator.len()) as u64 / 64)?;
    }
    Ok(Value::from(out))
}

/// Widths of `str.format` may have three digits and must not come from arguments.
fn check_format(text: &str) -> Result<(), Error> {
    let longest = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    let nested = text.split('{').skip(1).any(|rest| rest.find('}').is_none() && !rest.is_empty());
    if longest > 3 || nested {
        return Err(invalid("str.format: widths of more than three digits are not supported"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_select_what_python_selects() {
        let pick = |length, start, stop, step| indices(length, start, stop, step).collect::<Vec<_>>();
        assert_eq!(pick(5, None, None, 1), [0, 1, 2, 3, 4]);
        assert_eq!(pick(5, Some(-2), None, 1), [3, 4]);
        assert_eq!(pick(5, Some(1), Some(-1), 2), [1, 3]);
        assert_eq!(pick(5, None, None, -1), [4, 3, 2, 1, 0]);
        assert_eq!(pick(5, Some(3), Some(0), -2), [3, 1]);
        assert_eq!(pick(5, Some(9), Some(-9), -1), [4, 3, 2, 1, 0]);
        assert_eq!(pick(0, None, None, -1), [] as [usize; 0]);
        assert_eq!(pick(3, Some(i64::MIN), Some(i64::MAX), i64::MAX), [0]);
    }
}
