//! Elements and slices: `xs[0]`, `d["key"]`, `T[2, 0:4]`, `m["key", default]`, and assignment to elements.

use std::sync::Arc;

use tl_syntax::ast::{self, Expr, IndexExpr};
use tl_syntax::{Diagnostic, Span, codes};

use super::Interpreter;
use super::fault::{Eval, Interrupt, closest, fault, wrong_kind};
use super::tensor::TensorValue;
use super::value::{Key, Value};
use crate::engine::permute;
use crate::model::Model;

/// A member of an index list, evaluated.
enum Place {
    At(Value, Span),
    /// First element, element after the last, step; either end may be left out.
    Slice(Option<i64>, Option<i64>, i64, Span),
}

/// Which positions along an axis are taken.
struct Range {
    start: usize,
    count: usize,
    step: usize,
}

impl Interpreter {
    pub(super) fn eval_element(&mut self, indexed: &ast::IndexedExpr) -> Eval<Value> {
        let Some(base) = indexed.base() else {
            return Err(fault(codes::EXPECTED_EXPRESSION, indexed.span(), "something is indexed"));
        };
        let value = match self.eval(&base) {
            // A tensor without an end, such as a recursion, has elements all the same.
            Err(Interrupt::Fault(found)) if self.is_endless(&base, &found) => {
                return self.eval_equation(&Expr::Index(indexed.clone()));
            }
            value => value?,
        };
        let places = self.eval_places(indexed)?;
        self.element(&value, &places, indexed.span())
    }

    /// Whether what is indexed could not be computed whole because nothing says how large it is.
    fn is_endless(&self, base: &Expr, found: &[Diagnostic]) -> bool {
        let is_tensor = matches!(base, Expr::Name(name) if self.environment.get(name.name()).is_none());
        is_tensor && found.first().is_some_and(|d| d.code == codes::UNKNOWN_SIZE)
    }

    fn eval_places(&mut self, indexed: &ast::IndexedExpr) -> Eval<Vec<Place>> {
        indexed.indices().map(|index| self.eval_place(&index)).collect()
    }

    fn eval_place(&mut self, index: &IndexExpr) -> Eval<Place> {
        if let IndexExpr::Slice(slice) = index {
            let mut bound = |e: Option<Expr>| e.map(|e| self.eval_integer(&e)).transpose();
            let (start, end, step) = (bound(slice.start())?, bound(slice.end())?, bound(slice.step())?);
            let step = step.unwrap_or(1);
            if step < 1 {
                return Err(fault(codes::NO_SUCH_ELEMENT, slice.span(), "the step of a slice is at least 1"));
            }
            return Ok(Place::Slice(start, end, step, slice.span()));
        }
        match index.expr() {
            Some(expr) => Ok(Place::At(self.eval(&expr)?, expr.span())),
            None => Err(fault(codes::BAD_INDEX, index.span(), "this has a meaning in an equation only")),
        }
    }

    fn element(&self, value: &Value, places: &[Place], span: Span) -> Eval<Value> {
        match (value, places) {
            (Value::Tensor(tensor), _) => tensor_element(tensor, places, span),
            (Value::Model(model), [Place::At(key, key_span)]) => metadata(model, key, *key_span, None),
            (Value::Model(model), [Place::At(key, key_span), Place::At(default, _)]) => {
                metadata(model, key, *key_span, Some(default))
            }
            (Value::Branch(model, path), [Place::At(number, at)]) => match number.as_integer() {
                Some(number) => Ok(super::expressions::branch(Arc::clone(model), format!("{path}.{number}"))),
                None => Err(wrong_kind(*at, "a whole number", number)),
            },
            (Value::Dict(dict), [Place::At(key, key_span)]) => {
                let found = Key::of(key).and_then(|key| dict.get(&key));
                found.cloned().ok_or_else(|| no_key(key, *key_span))
            }
            (_, [place]) => simple_element(value, place, span),
            (_, [first, rest @ ..]) => {
                let inner = self.element(value, std::slice::from_ref(first), span)?;
                self.element(&inner, rest, span)
            }
            (_, []) => Err(fault(codes::BAD_INDEX, span, "an index is missing between the brackets")),
        }
    }

    /// `xs[i] := value`, `d["k"][0] := value`.
    pub(super) fn assign_element(&mut self, indexed: &ast::IndexedExpr, value: Value) -> Eval<()> {
        let mut path = Vec::new();
        let mut target = indexed.clone();
        let name = loop {
            let mut places = self.eval_places(&target)?;
            places.reverse();
            path.extend(places);
            match target.base().map(|b| b.unparenthesized()) {
                Some(Expr::Index(inner)) => target = inner,
                Some(Expr::Name(name)) => break name,
                _ => {
                    let message = "only elements of variables can be assigned to";
                    return Err(fault(codes::NOT_A_VARIABLE, target.span(), message));
                }
            }
        };
        path.reverse();
        let length_limit = self.limits.length;
        let root = self.variable_mut(name.name(), name.span())?;
        set(root, &path, value, length_limit)?;
        self.forget_if_global(name.name());
        Ok(())
    }
}

/// Puts a value where the path leads. Shared lists are copied on the way.
fn set(root: &mut Value, path: &[Place], value: Value, limit: usize) -> Eval<()> {
    let Some((place, rest)) = path.split_first() else {
        *root = value;
        return Ok(());
    };
    let Place::At(at, span) = place else {
        let Place::Slice(.., span) = place else { unreachable!("a place is an element or a slice") };
        return Err(fault(codes::NOT_A_VARIABLE, *span, "slices can't be assigned to"));
    };
    match root {
        Value::List(items) => {
            let items = Arc::make_mut(items);
            let i = position(at, items.len(), *span, "the list")?;
            set(&mut items[i], rest, value, limit)
        }
        Value::Dict(dict) => {
            let key = Key::of(at)
                .ok_or_else(|| wrong_kind(*span, "a text, a number or a truth value as a key", at))?;
            let dict = Arc::make_mut(dict);
            if let Some(slot) = dict.get_mut(&key) {
                return set(slot, rest, value, limit);
            }
            if !rest.is_empty() {
                return Err(no_key(at, *span));
            }
            if dict.len() >= limit {
                let message = format!("the dict would have more than {limit} keys");
                return Err(fault(codes::LENGTH_LIMIT, *span, message));
            }
            dict.set(key, value);
            Ok(())
        }
        Value::Tensor(_) => {
            Err(Diagnostic::error(codes::NOT_A_VARIABLE, *span, "elements of tensors can't be assigned to")
                .help("an equation defines a slice: `X[0, i] = …`")
                .into())
        }
        other => Err(wrong_kind(*span, "a list or a dict", other)),
    }
}

fn simple_element(value: &Value, place: &Place, span: Span) -> Eval<Value> {
    let Some(length) = value.length() else {
        return Err(wrong_kind(span, "something with elements", value));
    };
    match place {
        Place::At(at, at_span) => {
            let what = value.kind().trim_start_matches("a ");
            let i = position(at, length, *at_span, &format!("the {what}"))?;
            Ok(match value {
                Value::List(items) => items[i].clone(),
                Value::Tuple(items) => items[i].clone(),
                Value::Range(from, _) => Value::Number((from + i as i64) as f64),
                Value::Str(text) => {
                    let c = text.chars().nth(i).unwrap_or_default();
                    Value::text(c.encode_utf8(&mut [0; 4]))
                }
                other => return Err(wrong_kind(span, "something with elements in an order", other)),
            })
        }
        Place::Slice(start, end, step, _) => {
            let range = range_of(*start, *end, *step, length);
            let positions = (0..range.count).map(|i| range.start + i * range.step);
            Ok(match value {
                Value::List(items) => Value::list(positions.map(|i| items[i].clone())),
                Value::Tuple(items) => Value::Tuple(positions.map(|i| items[i].clone()).collect()),
                Value::Str(text) => {
                    let chars: Vec<char> = text.chars().collect();
                    Value::text(positions.map(|i| chars[i]).collect::<String>())
                }
                Value::Range(from, _) => {
                    Value::list(positions.map(|i| Value::Number((from + i as i64) as f64)))
                }
                other => return Err(wrong_kind(span, "something with elements in an order", other)),
            })
        }
    }
}

/// Elements of a tensor: a position takes an axis away, a slice shortens it, axes without a place stay.
fn tensor_element(tensor: &TensorValue, places: &[Place], span: Span) -> Eval<Value> {
    let shape = tensor.shape();
    if places.len() > shape.len() {
        let message = format!("{} indices for a tensor with {} axes", places.len(), shape.len());
        return Err(fault(codes::INDEX_COUNT, span, message));
    }
    let values = tensor.values().map_err(|e| {
        fault(
            codes::LENGTH_LIMIT,
            span,
            format!("a tensor of {} elements is too large to be decoded", e.elements),
        )
    })?;
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let (mut sizes, mut strides, mut offset) = (Vec::new(), Vec::new(), 0);
    for (axis, &size) in shape.iter().enumerate() {
        match places.get(axis) {
            Some(Place::At(at, at_span)) => {
                offset += position(at, size, *at_span, &format!("axis {axis}"))? * stride(axis);
            }
            Some(Place::Slice(start, end, step, _)) => {
                let range = range_of(*start, *end, *step, size);
                offset += if range.count > 0 { range.start * stride(axis) } else { 0 };
                sizes.push(range.count);
                strides.push(stride(axis) * range.step);
            }
            None => {
                sizes.push(size);
                strides.push(stride(axis));
            }
        }
    }
    if sizes.is_empty() {
        return Ok(Value::Number(super::tensor::widen(values[offset])));
    }
    Ok(TensorValue::new(&sizes, &permute(&values[offset..], &sizes, &strides)).into())
}

/// A position: from 0, or from the end if it is negative.
fn position(at: &Value, length: usize, span: Span, what: &str) -> Eval<usize> {
    let Some(i) = at.as_integer() else { return Err(wrong_kind(span, "a whole number", at)) };
    let from_start = if i < 0 { i + length as i64 } else { i };
    match usize::try_from(from_start) {
        Ok(i) if i < length => Ok(i),
        _ => {
            let message = match length {
                0 => format!("there is no element {i}: {what} is empty"),
                _ => format!("there is no element {i}: {what} has elements 0 to {}", length - 1),
            };
            Err(fault(codes::NO_SUCH_ELEMENT, span, message))
        }
    }
}

/// The positions of a slice; ends that lie outside are moved in.
fn range_of(start: Option<i64>, end: Option<i64>, step: i64, length: usize) -> Range {
    let inside = |i: i64| {
        let from_start = if i < 0 { i.saturating_add(length as i64) } else { i };
        usize::try_from(from_start).unwrap_or(0).min(length)
    };
    let (start, end) = (start.map_or(0, inside), end.map_or(length, inside));
    let step = usize::try_from(step).unwrap_or(1);
    Range { start, count: end.saturating_sub(start).div_ceil(step), step }
}

/// `m["block_count"]`
fn metadata(model: &Model, key: &Value, span: Span, default: Option<&Value>) -> Eval<Value> {
    let Value::Str(key) = key else { return Err(wrong_kind(span, "a text: the key of the metadata", key)) };
    if let Some(found) = tl_sema::model::find_meta(model, key) {
        return Ok(from_meta(&found));
    }
    if let Some(default) = default {
        return Ok(default.clone());
    }
    let message = format!("`{}` has no metadata `{}`", model.name(), tl_formats::escape(key));
    let mut diagnostic = Diagnostic::error(codes::UNKNOWN_METADATA, span, message);
    let keys: Vec<String> = tl_sema::Model::meta_keys(model);
    if let Some(similar) = closest(key, keys.iter().map(String::as_str)) {
        diagnostic = diagnostic.help(format!("did you mean `{similar}`?"));
    }
    Err(diagnostic.help("a second argument is the value to use where the key is missing").into())
}

fn from_meta(value: &tl_sema::MetaValue) -> Value {
    match value {
        tl_sema::MetaValue::Number(n) => Value::Number(*n),
        tl_sema::MetaValue::Bool(b) => Value::Bool(*b),
        tl_sema::MetaValue::Str(text) => Value::text(text),
        tl_sema::MetaValue::List(items) => Value::list(items.iter().map(from_meta)),
    }
}

#[cold]
fn no_key(key: &Value, span: Span) -> Interrupt {
    fault(codes::NO_SUCH_ELEMENT, span, format!("the dict has no key {}", super::format::nested(key)))
}
