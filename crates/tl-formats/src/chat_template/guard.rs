//! The template engine with its remaining holes closed.
//!
//! The engine counts steps ("fuel") and charges for most of what it creates, but not for looking through nested values
//! (comparing, sorting, printing to a string), nor for sequences that it builds lazily. So the compiled instructions that
//! do such things are replaced, one for one, by calls of functions that first weigh their operands: a value may nest
//! [`MAX_DEPTH`] deep and weigh [`MAX_WEIGHT`], and every look through it is paid with fuel.
//!
//! Function names with a parenthesis cannot be written in a template, so nothing can shadow them.

use super::{NAME, TemplateError, describe, python};
use minijinja::machinery::{self, CodeGenerator, Instruction, Instructions, Token};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, Tuple, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Levels that a value may nest.
const MAX_DEPTH: usize = 64;
/// What a value may weigh: one for each part and for each 64 bytes of text, shared parts counted as often as they occur.
const MAX_WEIGHT: u64 = 250_000;
/// Weight that one step of fuel pays for.
const WEIGHT_PER_FUEL: u64 = 32;
/// Tokens between `{{` and `}}`, or `{%` and `%}`. Compiling a chain of operators takes the square of its length.
const MAX_TAG: usize = 2000;

/// Filters that look at most one level into their operands, or that the engine charges as they go.
const SHALLOW_FILTERS: &[&str] = &[
    "length", "count", "first", "last", "default", "d", "list", "items", "reverse", "attr", "bool", "int",
    "float", "abs", "round", "tojson",
];
/// All other filters, and the guarded function for each.
const DEEP_FILTERS: &[(&str, &str)] = &[
    ("safe", "(safe)"),
    ("escape", "(escape)"),
    ("e", "(e)"),
    ("lower", "(lower)"),
    ("upper", "(upper)"),
    ("title", "(title)"),
    ("capitalize", "(capitalize)"),
    ("replace", "(replace)"),
    ("dictsort", "(dictsort)"),
    ("trim", "(trim)"),
    ("join", "(join)"),
    ("split", "(split)"),
    ("lines", "(lines)"),
    ("min", "(min)"),
    ("max", "(max)"),
    ("sort", "(sort)"),
    ("string", "(string)"),
    ("batch", "(batch)"),
    ("slice", "(chunks)"),
    ("sum", "(sum)"),
    ("indent", "(indent)"),
    ("select", "(select)"),
    ("reject", "(reject)"),
    ("selectattr", "(selectattr)"),
    ("rejectattr", "(rejectattr)"),
    ("map", "(map filter)"),
    ("groupby", "(groupby)"),
    ("unique", "(unique)"),
    ("format", "(format)"),
];
/// Tests that compare, and the guarded function for each.
const DEEP_TESTS: &[(&str, &str)] = &[
    ("eq", "(is eq)"),
    ("equalto", "(is equalto)"),
    ("==", "(is ==)"),
    ("ne", "(is ne)"),
    ("!=", "(is !=)"),
    ("lt", "(is lt)"),
    ("lessthan", "(is lessthan)"),
    ("<", "(is <)"),
    ("le", "(is le)"),
    ("<=", "(is <=)"),
    ("gt", "(is gt)"),
    ("greaterthan", "(is greaterthan)"),
    (">", "(is >)"),
    ("ge", "(is ge)"),
    (">=", "(is >=)"),
    ("in", "(is in)"),
    ("sameas", "(is sameas)"),
];
/// The tests that carry operators out, and the guarded function for each.
const COMPARISONS: &[(&str, &str)] = &[
    ("eq", "(==)"),
    ("ne", "(!=)"),
    ("lt", "(<)"),
    ("le", "(<=)"),
    ("gt", "(>)"),
    ("ge", "(>=)"),
    ("in", "(in)"),
];

/// Compiles a template into guarded instructions.
pub(super) fn compile(source: &str) -> Result<Instructions<'_>, TemplateError> {
    let failed = |error: &Error| TemplateError::Syntax { message: describe(error) };
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    let syntax = syntax.map_err(|error| failed(&error))?;
    check_tags(source, &syntax)?;
    let tree = machinery::parse(source, NAME, syntax).map_err(|error| failed(&error))?;
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(&tree);
    let (mut instructions, _) = generator.finish();
    let mut index = 0;
    while let Some(instruction) = instructions.get_mut(index) {
        if matches!(instruction, Instruction::CompareAndPreserve(_)) {
            let message = "chains of comparisons such as `a < b < c` are not supported; use `and`".into();
            return Err(TemplateError::Syntax { message });
        }
        if let Some(guarded) = guarded(instruction) {
            *instruction = guarded;
        }
        index += 1;
    }
    Ok(instructions)
}

/// The engine's environment with the guarded functions, the filters and methods of Python, and a fuel limit.
pub(super) fn environment(recursion: usize, fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_recursion_limit(recursion);
    environment.set_fuel(Some(fuel));
    environment.set_unknown_method_callback(call_method);
    environment.set_formatter(|out, state, value| {
        charge(state, value)?;
        minijinja::escape_formatter(out, state, value)
    });
    // They are not Jinja's, and the engine does not charge for them.
    ["pprint", "zip", "chain"].iter().for_each(|name| environment.remove_filter(name));
    environment.remove_global("debug");
    environment.add_filter("tojson", python::tojson);
    environment.add_function("dict", |state: &State, value: Option<Value>, entries: Kwargs| {
        let entries = Value::from(entries);
        value.iter().chain([&entries]).try_for_each(|value| charge(state, value))?;
        minijinja::functions::dict(value, entries.try_into()?)
    });
    let namespace = Value::from_function(minijinja::functions::namespace);
    let call = move |state: &mut State, args: &[Value]| namespace.call(state, args);
    environment.add_global("namespace", Value::from_object(Charged(call)));
    environment.add_function("(+)", add);
    environment.add_function("(*)", multiply);
    environment.add_function("(slice)", slice);
    environment.add_function("(~)", concatenate);
    environment
        .add_function("(list)", |state: &State, items: Rest<Value>| weighed(state, Value::from(items.0)));
    environment.add_function("(tuple)", |state: &State, items: Rest<Value>| {
        weighed(state, Value::from(Tuple::from(items.0)))
    });
    environment.add_function("(map)", build_map);
    for (test, name) in COMPARISONS.iter().chain(DEEP_TESTS) {
        let call = move |state: &mut State, args: &[Value]| state.perform_test(test, args).map(Value::from);
        environment.add_global(*name, Value::from_object(Charged(call)));
    }
    for (filter, name) in DEEP_FILTERS {
        let call = move |state: &mut State, args: &[Value]| state.apply_filter(filter, args);
        environment.add_global(*name, Value::from_object(Charged(call)));
    }
    environment
}

/// A function that is charged for its arguments, named ones included.
struct Charged<F>(F);

impl<F> fmt::Debug for Charged<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("function")
    }
}

impl<F> Object for Charged<F>
where
    F: Fn(&mut State, &[Value]) -> Result<Value, Error> + Send + Sync + 'static,
{
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State, args: &[Value]) -> Result<Value, Error> {
        args.iter().try_for_each(|value| charge(state, value))?;
        (self.0)(state, args)
    }
}

/// Runs compiled instructions.
pub(super) fn run<'a>(
    environment: &'a Environment<'a>,
    instructions: &Instructions<'a>,
    variables: Value,
    text: &mut String,
) -> Result<(), Error> {
    let mut output: Output<'_> = machinery::make_string_output(text);
    let blocks = BTreeMap::new();
    machinery::eval(environment, instructions, variables, &blocks, &mut output, AutoEscape::None).map(drop)
}

/// Charges fuel for looking through a value; text and numbers are free.
pub(super) fn charge(state: &State, value: &Value) -> Result<(), Error> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return Ok(());
    }
    let mut left = MAX_WEIGHT;
    weigh(value, MAX_DEPTH, &mut left)?;
    state.consume_fuel(1 + (MAX_WEIGHT - left) / WEIGHT_PER_FUEL)
}

fn weighed(state: &State, value: Value) -> Result<Value, Error> {
    charge(state, &value)?;
    Ok(value)
}

fn weigh(value: &Value, depth: usize, left: &mut u64) -> Result<(), Error> {
    let own = 1 + value.as_str().map_or(0, |text| text.len() as u64 / 64);
    *left = left.checked_sub(own).ok_or_else(|| invalid("a value is too large"))?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable if depth == 0 => {
            Err(invalid("a value nests too deeply"))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.checked().try_for_each(|item| weigh(&item?, depth - 1, left))
        }
        ValueKind::Map => {
            value.as_object().and_then(|map| map.try_iter_pairs()).into_iter().flatten().try_for_each(
                |(key, item)| {
                    weigh(&key, depth - 1, left)?;
                    weigh(&item, depth - 1, left)
                },
            )
        }
        _ => Ok(()),
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// The call that replaces an instruction.
fn guarded<'a>(instruction: &Instruction<'a>) -> Option<Instruction<'a>> {
    let call = |name, operands: usize| Some(Instruction::CallFunction(name, u16::try_from(operands).ok()));
    match instruction {
        Instruction::Add => call("(+)", 2),
        Instruction::Mul => call("(*)", 2),
        Instruction::Slice => call("(slice)", 4),
        Instruction::StringConcat => call("(~)", 2),
        Instruction::BuildList(Some(count)) => call("(list)", *count),
        Instruction::BuildTuple(Some(count)) => call("(tuple)", *count),
        Instruction::BuildMap(count) => call("(map)", *count * 2),
        Instruction::Eq => call("(==)", 2),
        Instruction::Ne => call("(!=)", 2),
        Instruction::Lt => call("(<)", 2),
        Instruction::Lte => call("(<=)", 2),
        Instruction::Gt => call("(>)", 2),
        Instruction::Gte => call("(>=)", 2),
        Instruction::In => call("(in)", 2),
        Instruction::ApplyFilter(name, count, _) if !SHALLOW_FILTERS.contains(name) => {
            let (_, function) = DEEP_FILTERS.iter().find(|(filter, _)| filter == name)?;
            Some(Instruction::CallFunction(function, *count))
        }
        Instruction::PerformTest(name, count, _) => {
            let (_, function) = DEEP_TESTS.iter().find(|(test, _)| test == name)?;
            Some(Instruction::CallFunction(function, *count))
        }
        _ => None,
    }
}

/// Refuses tags of more than [`MAX_TAG`] tokens.
fn check_tags(source: &str, syntax: &SyntaxConfig) -> Result<(), TemplateError> {
    let mut count = 0;
    // A mistake in the tokens is the parser's to report.
    for (token, span) in machinery::tokenize(source, false, syntax.clone()).map_while(Result::ok) {
        count = match token {
            Token::VariableStart | Token::BlockStart | Token::TemplateData(_) => 0,
            _ => count + 1,
        };
        if count > MAX_TAG {
            let message = format!("the tag in line {} has more than {MAX_TAG} parts", span.start_line);
            return Err(TemplateError::Syntax { message });
        }
    }
    Ok(())
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn items(value: &Value) -> Result<Vec<Value>, Error> {
    value.try_iter()?.checked().collect()
}

/// `a + b` for numbers, texts and lists.
fn add(state: &State, a: Value, b: Value) -> Result<Value, Error> {
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
fn multiply(state: &State, a: Value, b: Value) -> Result<Value, Error> {
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
fn concatenate(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    charge(state, &a)?;
    charge(state, &b)?;
    Ok(Value::from(match (a.as_str(), b.as_str()) {
        (Some(a), Some(b)) => [a, b].concat(),
        _ => format!("{a}{b}"),
    }))
}

/// `value[start:stop:step]` of a text (by characters) or a list.
fn slice(state: &State, value: Value, start: Value, stop: Value, step: Value) -> Result<Value, Error> {
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
fn build_map(state: &State, parts: Rest<Value>) -> Result<Value, Error> {
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
fn call_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
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

    #[test]
    fn every_filter_and_test_of_the_engine_is_known() {
        let environment = environment(10, 1000);
        for name in SHALLOW_FILTERS.iter().chain(DEEP_FILTERS.iter().map(|(filter, _)| filter)) {
            let source = format!("{{{{ x|{name} }}}}");
            assert!(environment.clone().add_template_owned("t", source).is_ok());
            let missing = environment.empty_state().apply_filter(name, &[]).unwrap_err();
            assert_ne!(missing.kind(), ErrorKind::UnknownFilter, "{name}");
        }
        for (name, _) in DEEP_TESTS {
            let missing = environment.empty_state().perform_test(name, &[]).unwrap_err();
            assert_ne!(missing.kind(), ErrorKind::UnknownTest, "{name}");
        }
    }
}
