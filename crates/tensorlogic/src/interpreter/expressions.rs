//! Expressions.
//!
//! An expression with a free index, as `W[i] X[i]`, is an equation without a left side: it is traced as a whole. Everything else is
//! evaluated here, operand by operand.

use std::sync::Arc;

use tl_syntax::ast::{self, Expr, IndexExpr};
use tl_syntax::{Diagnostic, Span, codes};

use super::Interpreter;
use super::fault::{Eval, Interrupt, closest, fault, wrong_kind};
use super::function::Function;
use super::value::{Dict, Key, Value};

impl Interpreter {
    /// The value of an expression.
    pub(super) fn eval(&mut self, expr: &Expr) -> Eval<Value> {
        self.deeper(expr.span(), |interpreter| interpreter.eval_inner(expr))
    }

    fn eval_inner(&mut self, expr: &Expr) -> Eval<Value> {
        if self.is_equation(expr) {
            return self.eval_equation(expr);
        }
        match expr {
            Expr::Number(number) => match number.value() {
                Some(number) => Ok(Value::Number(number.as_f64())),
                None => Err(incomplete(expr)),
            },
            Expr::String(text) => Ok(Value::text(text.value())),
            Expr::Bool(value) => Ok(Value::Bool(value.value())),
            Expr::Interpolated(text) => self.eval_interpolated(text),
            Expr::Name(name) => self.eval_name(name),
            Expr::Paren(paren) => self.eval_opt(paren.inner(), expr),
            Expr::Tuple(tuple) => Ok(Value::Tuple(self.eval_all(tuple.elements())?.into())),
            Expr::List(list) => {
                let items = self.eval_all(list.elements())?;
                Ok(Value::List(Arc::new(items)))
            }
            Expr::Dict(dict) => self.eval_dict(dict),
            Expr::Range(range) => self.eval_range(range),
            Expr::Binary(binary) => self.eval_binary(binary),
            Expr::Compare(comparison) => self.eval_comparison(comparison),
            Expr::Power(power) => self.eval_power(power),
            Expr::Neg(negation) => self.eval_negation(negation),
            Expr::Not(not) => {
                let operand = not.operand().ok_or_else(|| incomplete(expr))?;
                Ok(Value::Bool(!self.eval_condition(&operand)?))
            }
            Expr::Call(call) if self.is_relation_read(call) => self.eval_relation(call),
            Expr::Call(call) if self.is_tensor_read(call) => self.eval_equation(expr),
            Expr::Call(call) => self.eval_call(call),
            Expr::Index(indexed) => self.eval_element(indexed),
            Expr::Field(field) => self.eval_field(field),
            Expr::If(conditional) => self.eval_if(conditional),
            Expr::Block(block) => self.run_block(block),
            Expr::Closure(closure) => {
                let captured = self.environment.capture();
                Ok(Value::Function(Arc::new(Function::closure(closure.clone(), captured))))
            }
            Expr::Query(query) => self.eval_opt(query.target(), expr),
            Expr::Join(_) | Expr::Project(_) | Expr::Guarded(_) => self.eval_equation(expr),
            Expr::Wildcard(_) | Expr::Virtual(_) => Err(fault(
                codes::BAD_INDEX,
                expr.span(),
                "this has a meaning between the brackets of a tensor only",
            )),
        }
    }

    fn eval_opt(&mut self, expr: Option<Expr>, around: &Expr) -> Eval<Value> {
        match expr {
            Some(expr) => self.eval(&expr),
            None => Err(incomplete(around)),
        }
    }

    pub(super) fn eval_all(&mut self, exprs: impl Iterator<Item = Expr>) -> Eval<Vec<Value>> {
        exprs.map(|e| self.eval(&e)).collect()
    }

    /// The truth value of a condition.
    pub(super) fn eval_condition(&mut self, expr: &Expr) -> Eval<bool> {
        let value = self.eval(expr)?;
        value.as_bool().ok_or_else(|| wrong_kind(expr.span(), "true or false", &value))
    }

    /// The whole number that an expression must be.
    pub(super) fn eval_integer(&mut self, expr: &Expr) -> Eval<i64> {
        let value = self.eval(expr)?;
        value.as_integer().ok_or_else(|| wrong_kind(expr.span(), "a whole number", &value))
    }

    /// A variable, a tensor that equations define, a function, or a constant of the language.
    fn eval_name(&mut self, expr: &ast::NameExpr) -> Eval<Value> {
        let (name, span) = (expr.name(), expr.span());
        if let Some(value) = self.environment.get(name) {
            return Ok(value.clone());
        }
        if self.equations.defines(name) {
            return self.eval_tensor(expr);
        }
        if let Some(function) = self.function_named(name) {
            return Ok(function);
        }
        match name {
            "pi" => Ok(Value::Number(std::f64::consts::PI)),
            "inf" => Ok(Value::Number(f64::INFINITY)),
            "nan" => Ok(Value::Number(f64::NAN)),
            _ => Err(self.unknown_name(name, span)),
        }
    }

    /// The error that a name means nothing, with the one that is most like it.
    #[cold]
    pub(super) fn unknown_name(&self, name: &str, span: Span) -> Interrupt {
        let mut known: Vec<&str> = self.environment.names().map(|n| &**n).collect();
        known.extend(self.builtins.keys());
        let (tensors, functions) = (self.equations.names(), self.equations.function_names());
        known.extend(tensors.iter().chain(&functions).map(|n| &**n));
        known.sort_unstable();
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, span, format!("`{name}` is not defined"));
        if let Some(similar) = closest(name, known) {
            diagnostic = diagnostic.help(format!("did you mean `{similar}`?"));
        }
        diagnostic.into()
    }

    fn eval_dict(&mut self, dict: &ast::DictExpr) -> Eval<Value> {
        let mut out = Dict::new();
        for entry in dict.entries() {
            let (Some(key), Some(value)) = (entry.key(), entry.value()) else { continue };
            let span = key.span();
            let key = self.eval(&key)?;
            let key = Key::of(&key)
                .ok_or_else(|| wrong_kind(span, "a text, a number or a truth value as a key", &key))?;
            out.set(key, self.eval(&value)?);
        }
        Ok(Value::Dict(Arc::new(out)))
    }

    fn eval_range(&mut self, range: &ast::RangeExpr) -> Eval<Value> {
        let (Some(start), Some(end)) = (range.start(), range.end()) else {
            return Err(fault(
                codes::EXPECTED_EXPRESSION,
                range.span(),
                "a range has two ends, as in `0..n`",
            ));
        };
        Ok(Value::Range(self.eval_integer(&start)?, self.eval_integer(&end)?))
    }

    fn eval_if(&mut self, conditional: &ast::IfExpr) -> Eval<Value> {
        for branch in conditional.branches() {
            let (Some(condition), Some(body)) = (branch.condition, branch.body) else { continue };
            if self.eval_condition(&condition)? {
                return self.run_block(&body);
            }
        }
        match conditional.else_block() {
            Some(block) => self.run_block(&block),
            None => Ok(Value::Unit),
        }
    }

    /// A part of a model's tree: a tensor, or what tensors' names begin with.
    fn eval_field(&mut self, field: &ast::FieldExpr) -> Eval<Value> {
        let (Some(base), Some(name)) = (field.base(), field.name()) else {
            return Err(fault(codes::EXPECTED_NAME, field.span(), "a field has a name"));
        };
        match self.eval(&base)? {
            Value::Model(model) => Ok(branch(model, name.as_str())),
            Value::Branch(model, path) => Ok(branch(model, format!("{path}.{}", name.as_str()))),
            Value::Dict(dict) => match dict.get(&Key::Str(name.as_str().into())) {
                Some(value) => Ok(value.clone()),
                None => {
                    let message = format!("the dict has no key `{}`", name.as_str());
                    Err(fault(codes::NO_SUCH_ELEMENT, name.span(), message))
                }
            },
            other => Err(wrong_kind(base.span(), "a model or a dict, which have fields", &other)),
        }
    }

    /// Whether an expression has an index of its own, or a form that only equations have, so that it must be traced.
    pub(super) fn is_equation(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Index(indexed) => match indexed.base() {
                Some(Expr::Name(name)) if self.is_indexable(name.name()) => {
                    let is_defined = self.environment.get(name.name()).is_none();
                    indexed.indices().any(|i| self.is_free(&i) || is_defined && self.is_constant_name(&i))
                }
                _ => false,
            },
            Expr::Join(_) | Expr::Project(_) | Expr::Guarded(_) => true,
            Expr::Binary(binary) => binary.operands().any(|e| self.is_equation(&e)),
            Expr::Compare(comparison) => comparison
                .first()
                .into_iter()
                .chain(comparison.rest().map(|(_, _, e)| e))
                .any(|e| self.is_equation(&e)),
            Expr::Power(power) => power.operands().any(|e| self.is_equation(&e)),
            Expr::Neg(negation) => negation.operand().is_some_and(|e| self.is_equation(&e)),
            Expr::Paren(paren) => paren.inner().is_some_and(|e| self.is_equation(&e)),
            Expr::Call(call) => {
                call.axes().is_some() && call.name().is_some_and(|n| self.is_reduction(n.as_str()))
            }
            _ => false,
        }
    }

    /// Whether a call reads a relation.
    fn is_relation_read(&self, call: &ast::CallExpr) -> bool {
        call.axes().is_none() && call.name().is_some_and(|name| self.equations.is_relation(name.as_str()))
    }

    /// Whether a call reads a tensor, `Path(x, y)` for `Path[x, y]`.
    fn is_tensor_read(&self, call: &ast::CallExpr) -> bool {
        let Some(name) = call.name().filter(|_| call.axes().is_none()) else { return false };
        self.equations.defines(name.as_str()) && self.function_named(name.as_str()).is_none()
    }

    /// Whether `name[i](…)` is a reduction, and not a call of an element of a list.
    fn is_reduction(&self, name: &str) -> bool {
        self.environment.get(name).is_none() && !self.equations.defines(name)
    }

    fn is_indexable(&self, name: &str) -> bool {
        match self.environment.get(name) {
            Some(value) => matches!(value, Value::Tensor(_) | Value::List(_)),
            None => self.equations.defines(name),
        }
    }

    /// Whether a member of an index list is an index variable and not a position.
    fn is_free(&self, index: &IndexExpr) -> bool {
        match index {
            IndexExpr::Name(name) => self.is_index_name(name.name()),
            IndexExpr::Dotted(_) | IndexExpr::Virtual(_) | IndexExpr::Group(_) | IndexExpr::Wildcard(_) => {
                true
            }
            IndexExpr::Slice(_) => false,
            IndexExpr::Expr(expr) => self.mentions_index(expr),
        }
    }

    /// Whether a member of an index list is a named constant.
    fn is_constant_name(&self, index: &IndexExpr) -> bool {
        match index {
            IndexExpr::Name(name) => matches!(self.environment.get(name.name()), Some(Value::Str(_))),
            other => matches!(other, IndexExpr::Expr(Expr::String(_))),
        }
    }

    fn mentions_index(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Name(name) => self.is_index_name(name.name()),
            Expr::Binary(binary) => binary.operands().any(|e| self.mentions_index(&e)),
            Expr::Neg(negation) => negation.operand().is_some_and(|e| self.mentions_index(&e)),
            Expr::Paren(paren) => paren.inner().is_some_and(|e| self.mentions_index(&e)),
            Expr::Index(indexed) => indexed.indices().any(|i| self.is_free(&i)),
            _ => false,
        }
    }

    fn is_index_name(&self, name: &str) -> bool {
        self.environment.get(name).is_none() && !self.equations.defines(name)
    }
}

/// A tensor of a model, if the path is all of a name; else the beginning of one.
pub(super) fn branch(model: Arc<crate::model::Model>, path: impl Into<Arc<str>>) -> Value {
    let path = path.into();
    match model.tensor(&path) {
        Some(tensor) => super::tensor::TensorValue::from_model(&path, tensor).into(),
        None => Value::Branch(model, path),
    }
}

/// An expression that the parser has complained about already.
#[cold]
fn incomplete(expr: &Expr) -> Interrupt {
    fault(codes::EXPECTED_EXPRESSION, expr.span(), "the expression is incomplete")
}
