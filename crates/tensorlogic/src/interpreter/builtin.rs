//! Functions of the language that are written in Rust: what a row of their table is, and how their arguments arrive.
//!
//! A row gives name, parameters, documentation and the function; binding arguments, messages about wrong ones, "did you
//! mean" and the reference documentation follow from it. Crates above add rows with
//! [`Interpreter::register`](super::Interpreter::register); a row of a name that is there replaces it.

use std::fmt;
use std::sync::Arc;

use tl_formats::tokenizer::Tokenizer;
use tl_ir::Scalar;
use tl_syntax::Span;

use super::context::Context;
use super::tensor::TensorValue;
use super::value::Value;
use crate::model::Model;

/// A function of the language.
#[derive(Clone, Copy)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// Its parameters, as a declaration would have them: `logits, t = 1`. A parameter with `=` may be left out (the text after it is
    /// for the reader: the function gets none); one that ends in `...` takes all remaining arguments.
    pub parameters: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// Whether it only computes.
    pub purity: Purity,
    /// What computes it.
    pub(crate) code: Code,
}

/// What computes a builtin.
#[derive(Clone, Copy)]
pub(crate) enum Code {
    /// A function of this program.
    Rust(BuiltinFn),
    /// A scalar function of the graph, which is mapped over tensors.
    Scalar(Scalar),
}

/// The Rust side of a builtin.
pub type BuiltinFn = fn(&mut Context<'_>, Arguments) -> Result<Value, CallError>;

/// What a function does besides giving a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purity {
    /// Nothing: equal arguments give equal results.
    Pure,
    /// It reads the world or a random generator, prints, or writes.
    Effect,
}

/// Why a builtin gives no result.
#[derive(Clone, Debug, PartialEq)]
pub struct CallError {
    /// What is wrong.
    pub message: String,
    /// Which parameter it is about, to be underlined; else the whole call is.
    pub parameter: Option<usize>,
    /// What to do about it.
    pub help: Option<String>,
    /// The code of the diagnostic, where it is not the general one.
    pub code: Option<&'static str>,
}

/// The arguments of a call, by parameter.
#[derive(Debug)]
pub struct Arguments {
    builtin: Builtin,
    values: Vec<Option<Value>>,
    spans: Vec<Span>,
    rest: Vec<Value>,
}

impl Builtin {
    /// A row of the table.
    pub const fn new(
        name: &'static str,
        parameters: &'static str,
        purity: Purity,
        doc: &'static str,
        call: BuiltinFn,
    ) -> Builtin {
        Builtin { name, parameters, doc, purity, code: Code::Rust(call) }
    }

    /// The row of a scalar function of the graph.
    pub(crate) fn scalar(scalar: Scalar) -> Builtin {
        let info = scalar.info();
        let parameters = if info.arity == 1 { "a" } else { "a, b" };
        Builtin {
            name: info.name,
            parameters,
            doc: info.doc,
            purity: Purity::Pure,
            code: Code::Scalar(scalar),
        }
    }

    /// Computes it.
    pub(crate) fn run(&self, context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
        match self.code {
            Code::Rust(function) => function(context, arguments),
            Code::Scalar(scalar) => {
                let operands: Result<Vec<Value>, CallError> =
                    (0..scalar.info().arity).map(|i| arguments.operand(i)).collect();
                super::arithmetic::pointwise(&context.engine(), scalar, &operands?, context.span())
            }
        }
    }

    /// Its head: `temperature_sample(logits, t = 1)`.
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.parameters)
    }

    /// The names of the parameters, and whether each may be left out.
    pub fn parameter_names(&self) -> impl Iterator<Item = (&'static str, bool)> + use<> {
        self.parameters.split(", ").filter(|p| !p.is_empty()).map(|p| match p.split_once(" = ") {
            Some((name, _)) => (name, true),
            None => (p.trim_end_matches("..."), p.ends_with("...")),
        })
    }

    fn is_variadic(&self) -> bool {
        self.parameters.ends_with("...")
    }

    /// Puts arguments in the order of the parameters.
    ///
    /// # Errors
    /// A name that no parameter has, too many arguments, one that is missing; with the place of the argument.
    pub(crate) fn bind(
        &self,
        given: Vec<(Option<Arc<str>>, Value, Span)>,
    ) -> Result<Arguments, (CallError, Option<Span>)> {
        let names: Vec<_> = self.parameter_names().collect();
        let fixed = names.len() - usize::from(self.is_variadic());
        let (mut values, mut spans) = (vec![None; fixed], vec![Span::NONE; fixed]);
        let (mut rest, mut next) = (Vec::new(), 0);
        for (name, value, span) in given {
            let at = match &name {
                Some(name) => {
                    let found = names[..fixed].iter().position(|(n, _)| **n == **name);
                    found.ok_or_else(|| (self.unknown_parameter(name), Some(span)))?
                }
                None => {
                    next += 1;
                    next - 1
                }
            };
            match values.get_mut(at) {
                Some(slot @ None) => (*slot, spans[at]) = (Some(value), span),
                Some(_) => return Err((self.error(format!("`{}` is given twice", names[at].0)), Some(span))),
                None if self.is_variadic() => rest.push(value),
                None => return Err((self.too_many(fixed), Some(span))),
            }
        }
        match values.iter().zip(&names).find(|(value, (_, optional))| value.is_none() && !optional) {
            Some((_, (missing, _))) => Err((self.error(format!("`{}` needs `{missing}`", self.name)), None)),
            None => Ok(Arguments { builtin: *self, values, spans, rest }),
        }
    }

    #[cold]
    fn unknown_parameter(&self, name: &str) -> CallError {
        self.error(format!("`{}` has no parameter `{name}`", self.name))
    }

    #[cold]
    fn too_many(&self, fixed: usize) -> CallError {
        let plural = if fixed == 1 { "" } else { "s" };
        self.error(format!("`{}` takes {fixed} argument{plural}", self.name))
    }

    #[cold]
    fn error(&self, message: String) -> CallError {
        CallError::new(message).help(format!("it is `{}`", self.signature()))
    }
}

impl CallError {
    /// An error about the whole call.
    #[cold]
    pub fn new(message: impl Into<String>) -> CallError {
        CallError { message: message.into(), parameter: None, help: None, code: None }
    }

    /// Says which parameter it is about.
    #[must_use]
    pub fn about(mut self, parameter: usize) -> CallError {
        self.parameter = Some(parameter);
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> CallError {
        self.help = Some(help.into());
        self
    }

    /// Gives the diagnostic a code of its own.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> CallError {
        self.code = Some(code);
        self
    }
}

impl Arguments {
    /// The argument of a parameter, if it was given.
    pub fn get(&self, parameter: usize) -> Option<&Value> {
        self.values.get(parameter)?.as_ref()
    }

    /// The argument of a parameter that must be given.
    pub fn value(&self, parameter: usize) -> Value {
        self.get(parameter).cloned().unwrap_or(Value::Unit)
    }

    /// The arguments of a last parameter with `...`.
    pub fn rest(&self) -> &[Value] {
        &self.rest
    }

    /// Where an argument is written.
    pub fn span(&self, parameter: usize) -> Option<Span> {
        self.get(parameter).map(|_| self.spans[parameter])
    }

    /// The argument as a number.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self, parameter: usize) -> Result<f64, CallError> {
        let value = self.value(parameter);
        value.as_number().ok_or_else(|| self.wrong(parameter, "a number"))
    }

    /// The argument as a number, or a default where it was left out.
    ///
    /// # Errors
    /// When it is none.
    pub fn number_or(&self, parameter: usize, default: f64) -> Result<f64, CallError> {
        self.get(parameter).map_or(Ok(default), |_| self.number(parameter))
    }

    /// The argument as a whole number that is not negative.
    ///
    /// # Errors
    /// When it is none.
    pub fn count(&self, parameter: usize) -> Result<usize, CallError> {
        let integer = self.value(parameter).as_integer().and_then(|n| usize::try_from(n).ok());
        integer.ok_or_else(|| self.wrong(parameter, "a whole number that is not negative"))
    }

    /// The argument as a count, or a default where it was left out.
    ///
    /// # Errors
    /// When it is none.
    pub fn count_or(&self, parameter: usize, default: usize) -> Result<usize, CallError> {
        self.get(parameter).map_or(Ok(default), |_| self.count(parameter))
    }

    /// The argument as a truth value, or a default where it was left out.
    ///
    /// # Errors
    /// When it is none.
    pub fn bool_or(&self, parameter: usize, default: bool) -> Result<bool, CallError> {
        let Some(value) = self.get(parameter) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.wrong(parameter, "true or false"))
    }

    /// The argument as a text.
    ///
    /// # Errors
    /// When it is none.
    pub fn text(&self, parameter: usize) -> Result<Arc<str>, CallError> {
        match self.get(parameter) {
            Some(Value::Str(text)) => Ok(text.clone()),
            _ => Err(self.wrong(parameter, "a text")),
        }
    }

    /// The argument as a tensor; numbers and (nested) lists of numbers are tensors too.
    ///
    /// # Errors
    /// When it is none.
    pub fn tensor(&self, parameter: usize) -> Result<TensorValue, CallError> {
        let value = self.value(parameter);
        super::convert::to_tensor(&value).map_err(|reason| match reason {
            Some(reason) => CallError::new(reason).about(parameter),
            None => self.wrong(parameter, "a tensor"),
        })
    }

    /// The argument as an operand of a pointwise function: a number, or a tensor.
    fn operand(&self, parameter: usize) -> Result<Value, CallError> {
        match self.value(parameter) {
            Value::Bool(b) => Ok(Value::Number(f64::from(u8::from(b)))),
            number @ Value::Number(_) => Ok(number),
            _ => Ok(self.tensor(parameter)?.into()),
        }
    }

    /// The argument as logits: the elements of a vector, or of the last row of a matrix.
    ///
    /// # Errors
    /// When it is no such tensor.
    pub fn logits(&self, parameter: usize) -> Result<Arc<[f32]>, CallError> {
        let tensor = self.tensor(parameter)?;
        let values = super::convert::elements(&tensor).map_err(|e| e.about(parameter))?;
        match tensor.shape()[..] {
            [_] => Ok(values),
            [rows, columns] if rows > 0 => Ok(values[(rows - 1) * columns..].into()),
            ref shape => Err(CallError::new(format!(
                "`{}` takes logits: a vector, or a matrix whose last row counts; this tensor has shape {}",
                self.builtin.name,
                super::format::dims(shape)
            ))
            .about(parameter)),
        }
    }

    /// The argument as a model.
    ///
    /// # Errors
    /// When it is none.
    pub fn model(&self, parameter: usize) -> Result<Arc<Model>, CallError> {
        match self.get(parameter) {
            Some(Value::Model(model)) => Ok(Arc::clone(model)),
            _ => Err(self.wrong(parameter, "a model").help("`load_model(…)` gives one")),
        }
    }

    /// The argument as a tokenizer; a model's own serves too.
    ///
    /// # Errors
    /// When it is neither, or the model's vocabulary is not supported.
    pub fn tokenizer(&self, parameter: usize) -> Result<Arc<Tokenizer>, CallError> {
        match self.get(parameter) {
            Some(Value::Tokenizer(tokenizer)) => Ok(Arc::clone(tokenizer)),
            Some(Value::Model(model)) => match model.tokenizer() {
                Ok(tokenizer) => Ok(Arc::clone(tokenizer)),
                Err(error) => Err(CallError::new(error.to_string()).about(parameter)),
            },
            _ => Err(self.wrong(parameter, "a model or a tokenizer")),
        }
    }

    /// The argument as token ids: a list, a range or a tensor of whole numbers, or one number.
    ///
    /// # Errors
    /// When it holds anything that is no token id.
    pub fn token_ids(&self, parameter: usize) -> Result<Vec<u32>, CallError> {
        let tensor = self.tensor(parameter)?;
        let values = super::convert::elements(&tensor).map_err(|e| e.about(parameter))?;
        let id = |x: f32| (x >= 0.0 && x.fract() == 0.0 && x < 16_777_216.0).then_some(x as u32);
        let ids: Option<Vec<u32>> = values.iter().map(|&x| id(x)).collect();
        ids.ok_or_else(|| self.wrong(parameter, "token ids: whole numbers that are not negative"))
    }

    /// The items of a list, a tuple, a range or a vector.
    ///
    /// # Errors
    /// When the argument is no such thing.
    pub fn items(&self, parameter: usize) -> Result<Vec<Value>, CallError> {
        let value = self.value(parameter);
        if let Some(items) = super::convert::items(&value) {
            return Ok(items);
        }
        match value.length() {
            Some(length) if length > super::convert::MAX_ITEMS => {
                let message = format!("{length} items are too many for a list");
                Err(CallError::new(message).about(parameter).code(tl_syntax::codes::LENGTH_LIMIT))
            }
            _ => Err(self.wrong(parameter, "a list")),
        }
    }

    /// The error that an argument is not what was wanted.
    #[cold]
    pub fn wrong(&self, parameter: usize, wanted: &str) -> CallError {
        let name = self.builtin.parameter_names().nth(parameter).map_or("argument", |(name, _)| name);
        let found = self.get(parameter).map_or("nothing", Value::kind);
        CallError::new(format!("`{name}` of `{}` must be {wanted}, not {found}", self.builtin.name))
            .about(parameter)
    }
}

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.signature())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &mut Context<'_>, _: Arguments) -> Result<Value, CallError> {
        Ok(Value::Unit)
    }

    const ROW: Builtin = Builtin::new("f", "a, b = 2", Purity::Pure, "A test.", nothing);

    fn given(name: Option<&str>, n: f64) -> (Option<Arc<str>>, Value, Span) {
        (name.map(Into::into), Value::Number(n), Span::NONE)
    }

    #[test]
    fn arguments_are_bound_by_position_and_by_name() {
        let bound = ROW.bind(vec![given(Some("b"), 3.0), given(None, 1.0)]).unwrap();
        assert_eq!((bound.number(0), bound.number_or(1, 2.0)), (Ok(1.0), Ok(3.0)));
        assert_eq!(ROW.bind(vec![given(None, 1.0)]).unwrap().number_or(1, 2.0), Ok(2.0));
    }

    #[test]
    fn wrong_arguments_are_named() {
        let message = |g| ROW.bind(g).unwrap_err().0.message;
        assert_eq!(message(vec![]), "`f` needs `a`");
        assert_eq!(message(vec![given(Some("c"), 0.0)]), "`f` has no parameter `c`");
        assert_eq!(message(vec![given(None, 0.0), given(Some("a"), 0.0)]), "`a` is given twice");
        assert_eq!(message(vec![given(None, 0.0); 3]), "`f` takes 2 arguments");
    }
}
