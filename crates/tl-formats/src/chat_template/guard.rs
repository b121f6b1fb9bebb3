//! The template engine with its remaining holes closed.
//!
//! The engine counts steps ("fuel") and charges for most of what it creates, but not for looking through nested values
//! (comparing, sorting, printing to a string), nor for sequences that it builds lazily. So the compiled instructions that
//! do such things are replaced, one for one, by calls of functions that first weigh their operands: a value may nest
//! [`MAX_DEPTH`] deep and weigh [`MAX_WEIGHT`], and every look through it is paid with fuel.
//!
//! Function names with a parenthesis cannot be written in a template, so nothing can shadow them.

use super::operators::{add, build_map, call_method, concatenate, multiply, slice};
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
pub(super) const WEIGHT_PER_FUEL: u64 = 32;
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
    add_guards(&mut environment);
    environment
}

/// The functions that [`guarded`] calls.
fn add_guards(environment: &mut Environment<'static>) {
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

pub(super) fn weighed(state: &State, value: Value) -> Result<Value, Error> {
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

pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;

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
