//! Operators on values: numbers, texts, lists, and tensors (which go through a graph).

use std::cmp::Ordering;
use std::sync::Arc;

use tl_ir::Scalar;
use tl_syntax::ast::{self, BinOp, CmpOp};
use tl_syntax::{Diagnostic, Span, codes};

use super::Interpreter;
use super::fault::{Eval, Interrupt, fault, wrong_kind};
use super::value::{Key, Value};

impl Interpreter {
    pub(super) fn eval_binary(&mut self, binary: &ast::BinaryExpr) -> Eval<Value> {
        let Some(first) = binary.first() else {
            return Err(fault(codes::EXPECTED_EXPRESSION, binary.span(), "an operand is missing"));
        };
        let mut left_span = first.span();
        let mut rest = binary.rest().peekable();
        if matches!(rest.peek(), Some((BinOp::And | BinOp::Or, ..))) {
            // `and` and `or` look no further than they must.
            let mut truth = self.eval_condition(&first)?;
            for (op, _, operand) in rest {
                if truth == (op == BinOp::Or) {
                    break;
                }
                truth = self.eval_condition(&operand)?;
            }
            return Ok(Value::Bool(truth));
        }
        let mut left = self.eval(&first)?;
        for (op, op_span, operand) in rest {
            let right = self.eval(&operand)?;
            left = self.apply(op, op_span, (left, left_span), (right, operand.span()))?;
            left_span = left_span.to(operand.span());
        }
        Ok(left)
    }

    /// One operator applied to two values.
    fn apply(&mut self, op: BinOp, span: Span, left: (Value, Span), right: (Value, Span)) -> Eval<Value> {
        match (op, &left.0, &right.0) {
            (_, Value::Number(a), Value::Number(b)) => Ok(Value::Number(arithmetic(op, *a, *b))),
            (BinOp::Add, Value::Str(a), Value::Str(b)) => {
                self.check_length(a.len().saturating_add(b.len()), span)?;
                Ok(Value::text(format!("{a}{b}")))
            }
            (BinOp::Add, Value::Str(_), other) | (BinOp::Add, other, Value::Str(_)) => {
                Err(not_joined(span, other))
            }
            (BinOp::Add, Value::List(a), Value::List(b)) => {
                self.check_length(a.len().saturating_add(b.len()), span)?;
                Ok(Value::List(Arc::new(a.iter().chain(&**b).cloned().collect())))
            }
            (BinOp::Mul, Value::Str(text), Value::Number(_)) => {
                let count = self.repetitions(&right)?;
                self.check_length(text.len().saturating_mul(count), span)?;
                Ok(Value::text(text.repeat(count)))
            }
            (BinOp::Mul, Value::List(items), Value::Number(_)) => {
                let count = self.repetitions(&right)?;
                self.check_length(items.len().saturating_mul(count), span)?;
                Ok(Value::List(Arc::new(
                    std::iter::repeat_n(items.iter(), count).flatten().cloned().collect(),
                )))
            }
            (_, Value::Tensor(_), _) | (_, _, Value::Tensor(_)) => {
                let scalar = scalar_of(op);
                let operands = [as_operand(&left, op)?, as_operand(&right, op)?];
                self.pointwise(scalar, &operands, span)
            }
            _ => match (left.0.as_number(), right.0.as_number()) {
                (Some(a), Some(b)) => Ok(Value::Number(arithmetic(op, a, b))),
                (None, _) => Err(no_operand(op, left.1, &left.0)),
                _ => Err(no_operand(op, right.1, &right.0)),
            },
        }
    }

    fn repetitions(&self, (count, span): &(Value, Span)) -> Eval<usize> {
        let count = count.as_integer().and_then(|n| usize::try_from(n).ok());
        count.ok_or_else(|| fault(codes::WRONG_KIND, *span, "expected a whole number that is not negative"))
    }

    pub(super) fn check_length(&self, length: usize, span: Span) -> Eval<()> {
        if length <= self.limits.length {
            return Ok(());
        }
        let message = format!("the value would be {length} long; at most {} is possible", self.limits.length);
        Err(fault(codes::LENGTH_LIMIT, span, message))
    }

    pub(super) fn eval_power(&mut self, power: &ast::PowerExpr) -> Eval<Value> {
        let operands: Vec<_> = power.operands().collect();
        let Some((last, before)) = operands.split_last() else {
            return Err(fault(codes::EXPECTED_EXPRESSION, power.span(), "an operand is missing"));
        };
        let mut result = self.eval(last)?;
        for base in before.iter().rev() {
            let value = self.eval(base)?;
            result = match (&value, &result) {
                (Value::Tensor(_), _) | (_, Value::Tensor(_)) => {
                    self.pointwise(Scalar::Pow, &[value, result], base.span())?
                }
                _ => match (value.as_number(), result.as_number()) {
                    (Some(a), Some(b)) => Value::Number(a.powf(b)),
                    (None, _) => return Err(wrong_kind(base.span(), "a number or a tensor", &value)),
                    _ => return Err(wrong_kind(last.span(), "a number or a tensor", &result)),
                },
            };
        }
        Ok(result)
    }

    pub(super) fn eval_negation(&mut self, negation: &ast::NegExpr) -> Eval<Value> {
        let Some(operand) = negation.operand() else {
            return Err(fault(codes::EXPECTED_EXPRESSION, negation.span(), "an operand is missing"));
        };
        let value = self.eval(&operand)?;
        match &value {
            Value::Tensor(_) => self.pointwise(Scalar::Neg, &[value], negation.span()),
            _ => match value.as_number() {
                Some(number) => Ok(Value::Number(-number)),
                None => Err(wrong_kind(operand.span(), "a number or a tensor", &value)),
            },
        }
    }

    /// A chain of comparisons, all of which must hold; a comparison of tensors is a tensor.
    pub(super) fn eval_comparison(&mut self, comparison: &ast::CompareExpr) -> Eval<Value> {
        let Some(first) = comparison.first() else {
            return Err(fault(codes::EXPECTED_EXPRESSION, comparison.span(), "an operand is missing"));
        };
        let mut left = (self.eval(&first)?, first.span());
        let count = comparison.rest().count();
        for (op, span, operand) in comparison.rest() {
            let right = (self.eval(&operand)?, operand.span());
            if count == 1 && op != CmpOp::In && is_tensor(&left.0, &right.0) {
                return self.compare_tensors(op, left, right, span);
            }
            if !compare(op, span, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn compare_tensors(
        &mut self,
        op: CmpOp,
        left: (Value, Span),
        right: (Value, Span),
        span: Span,
    ) -> Eval<Value> {
        let (scalar, swap) = match op {
            CmpOp::Lt => (Scalar::Lt, false),
            CmpOp::Le => (Scalar::Le, false),
            CmpOp::Gt => (Scalar::Lt, true),
            CmpOp::Ge => (Scalar::Le, true),
            CmpOp::Ne => (Scalar::Ne, false),
            CmpOp::Eq | CmpOp::In => (Scalar::Eq, false),
        };
        let mut operands = [left.0, right.0];
        if swap {
            operands.swap(0, 1);
        }
        self.pointwise(scalar, &operands, span)
    }
}

/// Whether one of two values that are compared is a tensor with axes and the other a tensor or a number. Two tensors with axes that
/// are asked to be equal are compared whole.
fn is_tensor(a: &Value, b: &Value) -> bool {
    let with_axes = |v: &Value| matches!(v, Value::Tensor(t) if t.rank() > 0);
    (with_axes(a) && (with_axes(b) || b.as_number().is_some())) || (with_axes(b) && a.as_number().is_some())
}

fn compare(op: CmpOp, span: Span, left: &(Value, Span), right: &(Value, Span)) -> Eval<bool> {
    let incomparable = || {
        let message = format!("{} and {} can't be compared", left.0.kind(), right.0.kind());
        Interrupt::from(
            Diagnostic::error(codes::WRONG_KIND, span, message).label(left.1, "").label(right.1, ""),
        )
    };
    match op {
        CmpOp::Eq => left.0.equals(&right.0).ok_or_else(incomparable),
        CmpOp::Ne => left.0.equals(&right.0).map(|e| !e).ok_or_else(incomparable),
        CmpOp::In => contains(&right.0, &left.0).ok_or_else(incomparable),
        _ => {
            let order = match (&left.0, &right.0) {
                (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
                (a, b) => match (a.as_number(), b.as_number()) {
                    // NaN is neither less nor greater: every comparison with it is false.
                    (Some(a), Some(b)) => match a.partial_cmp(&b) {
                        Some(order) => Some(order),
                        None => return Ok(false),
                    },
                    _ => None,
                },
            };
            let order = order.ok_or_else(incomparable)?;
            Ok(match op {
                CmpOp::Lt => order == Ordering::Less,
                CmpOp::Le => order != Ordering::Greater,
                CmpOp::Gt => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }
    }
}

/// Whether a collection has an item; `None` where it is no collection or the two have nothing to do with each other.
fn contains(collection: &Value, item: &Value) -> Option<bool> {
    Some(match collection {
        Value::Str(text) => match item {
            Value::Str(part) => text.contains(&**part),
            _ => return None,
        },
        Value::Range(from, to) => item.as_integer().is_some_and(|n| (*from..*to).contains(&n)),
        Value::Dict(dict) => Key::of(item).is_some_and(|key| dict.get(&key).is_some()),
        Value::List(items) => items.iter().any(|i| i.equals(item) == Some(true)),
        Value::Tuple(items) => items.iter().any(|i| i.equals(item) == Some(true)),
        _ => return None,
    })
}

fn arithmetic(op: BinOp, a: f64, b: f64) -> f64 {
    (scalar_of(op).info().eval)(a, b, 0.0)
}

fn scalar_of(op: BinOp) -> Scalar {
    match op {
        BinOp::Add => Scalar::Add,
        BinOp::Sub => Scalar::Sub,
        BinOp::Mul => Scalar::Mul,
        BinOp::Div => Scalar::Div,
        BinOp::Rem => Scalar::Mod,
        BinOp::And => Scalar::And,
        BinOp::Or => Scalar::Or,
    }
}

/// The operand of an operation on tensors: lists of numbers become tensors.
fn as_operand((value, span): &(Value, Span), op: BinOp) -> Eval<Value> {
    match value {
        Value::Tensor(_) | Value::Number(_) | Value::Bool(_) => Ok(value.clone()),
        Value::List(_) | Value::Range(..) => match super::convert::to_tensor(value) {
            Ok(tensor) => Ok(tensor.into()),
            Err(_) => Err(no_operand(op, *span, value)),
        },
        _ => Err(no_operand(op, *span, value)),
    }
}

#[cold]
fn no_operand(op: BinOp, span: Span, value: &Value) -> Interrupt {
    fault(codes::WRONG_KIND, span, format!("`{}` can't be applied to {}", op.as_str(), value.kind()))
}

#[cold]
fn not_joined(span: Span, other: &Value) -> Interrupt {
    Diagnostic::error(codes::WRONG_KIND, span, format!("a text and {} can't be added", other.kind()))
        .help("write the value in the text, as in `\"n = {n}\"`, or use `str(…)`")
        .into()
}
