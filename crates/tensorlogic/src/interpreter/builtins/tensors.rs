//! Tensors: shape, views, products. What the standard library writes in equations (`softmax`, norms, …) scripts call as it is.

use std::fmt::Write;

use super::super::arithmetic;
use super::super::builtin::{Arguments, Builtin, CallError, Purity::*};
use super::super::context::Context;
use super::super::convert::elements;
use super::super::format;
use super::super::tensor::{MAX_ELEMENTS, TensorValue, widen};
use super::super::value::Value;
use super::row;

pub(super) const TABLE: &[Builtin] = &[
    row("tensor", "values", Pure, "The tensor of a number, or of a list (of lists) of numbers.", tensor),
    row("zeros", "shape...", Pure, "A tensor of zeros.", zeros),
    row("ones", "shape...", Pure, "A tensor of ones.", ones),
    row("shape", "tensor", Pure, "The sizes of the axes, as a list.", shape),
    row("dtype", "tensor", Pure, "The element type that the tensor is stored in, as a text.", dtype),
    row(
        "transpose",
        "tensor",
        Pure,
        "The tensor with its axes in reverse order: a view that copies nothing.",
        transpose,
    ),
    row(
        "reshape",
        "tensor, shape",
        Pure,
        "The same elements in row-major order under another shape; one size may be -1.",
        reshape,
    ),
    row(
        "matmul",
        "a, b",
        Pure,
        "The product of matrices: the last axis of `a` with the first of `b`.",
        matmul,
    ),
    row("embedding", "table, ids", Pure, "The rows of the table that the ids select.", embedding),
    row(
        "print_top_k",
        "tensor, k = 10, model = ()",
        Effect,
        "Prints the `k` largest elements with their positions (of a matrix: of its last row), and a model's tokens for them.",
        print_top_k,
    ),
    row(
        "top_k",
        "tensor, k = 10",
        Pure,
        "The `k` largest elements, as pairs of position and value, largest first.",
        top_k,
    ),
];

fn tensor(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(arguments.tensor(0)?.into())
}

fn zeros(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    filled(&arguments, 0.0)
}

fn ones(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    filled(&arguments, 1.0)
}

fn filled(arguments: &Arguments, value: f32) -> Result<Value, CallError> {
    let sizes: Vec<Value> = match arguments.rest() {
        [Value::List(sizes)] => sizes.to_vec(),
        sizes => sizes.to_vec(),
    };
    let shape = sizes_of(&sizes)?;
    Ok(TensorValue::new(&shape, &vec![value; checked_len(&shape)?]).into())
}

fn sizes_of(sizes: &[Value]) -> Result<Vec<usize>, CallError> {
    let size = |v: &Value| v.as_integer().and_then(|n| usize::try_from(n).ok());
    let shape: Option<Vec<usize>> = sizes.iter().map(size).collect();
    shape.ok_or_else(|| CallError::new("the sizes of a shape are whole numbers that are not negative"))
}

fn checked_len(shape: &[usize]) -> Result<usize, CallError> {
    let length = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    length.filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| {
        CallError::new(format!(
            "a tensor of shape {} is too large: at most {MAX_ELEMENTS} elements are possible",
            format::dims(shape)
        ))
        .code(tl_syntax::codes::LENGTH_LIMIT)
    })
}

fn shape(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(Value::list(arguments.tensor(0)?.shape().into_iter().map(Value::from)))
}

fn dtype(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(arguments.tensor(0)?.dtype().to_string().into())
}

fn transpose(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    Ok(arguments.tensor(0)?.transposed().into())
}

fn reshape(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let tensor = arguments.tensor(0)?;
    let mut sizes = arguments.items(1).or_else(|_| arguments.count(1).map(|n| vec![n.into()]))?;
    let open: Vec<usize> = (0..sizes.len()).filter(|&i| sizes[i].as_integer() == Some(-1)).collect();
    if let [open] = open[..] {
        sizes[open] = 1usize.into();
        let known = checked_len(&sizes_of(&sizes)?)?;
        sizes[open] = tensor.len().checked_div(known).unwrap_or(0).into();
    }
    let shape = sizes_of(&sizes).map_err(|e| e.about(1))?;
    if shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n)) != Some(tensor.len()) {
        let message =
            format!("shape {} can't become {}", format::dims(&tensor.shape()), format::dims(&shape));
        return Err(CallError::new(message).about(1));
    }
    Ok(TensorValue::new(&shape, &elements(&tensor)?).into())
}

fn matmul(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (a, b) = (arguments.tensor(0)?, arguments.tensor(1)?);
    let product = arithmetic::matmul(&context.engine(), &a, &b, context.span())?;
    Ok(number_or_tensor(product))
}

fn embedding(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (table, ids) = (arguments.tensor(0)?, arguments.tensor(1)?);
    Ok(number_or_tensor(arithmetic::gather(&context.engine(), &table, &ids, context.span())?))
}

fn number_or_tensor(tensor: TensorValue) -> Value {
    tensor.scalar().map_or_else(|| tensor.into(), Value::Number)
}

/// The largest elements with their positions, largest first, lower positions first on a tie.
fn largest(arguments: &Arguments) -> Result<Vec<(usize, f32)>, CallError> {
    let (values, k) = (arguments.logits(0)?, arguments.count_or(1, 10)?);
    let mut all: Vec<(usize, f32)> = values.iter().copied().enumerate().collect();
    // NaN counts as largest: whoever looks at the top must see it.
    let key = |x: f32| if x.is_nan() { f32::INFINITY } else { x };
    let order = |a: &(usize, f32), b: &(usize, f32)| {
        let by_value = key(b.1).total_cmp(&key(a.1));
        by_value.then(b.1.is_nan().cmp(&a.1.is_nan())).then(a.0.cmp(&b.0))
    };
    let k = k.min(all.len());
    if k > 0 && k < all.len() {
        all.select_nth_unstable_by(k - 1, order);
    }
    all.truncate(k);
    all.sort_unstable_by(order);
    Ok(all)
}

fn print_top_k(context: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let top = largest(&arguments)?;
    let tokenizer = arguments.get(2).map(|_| arguments.tokenizer(2)).transpose()?;
    let width = top.iter().map(|(at, _)| at.to_string().len()).max().unwrap_or(0);
    let mut out = String::new();
    for (at, value) in top {
        let token =
            tokenizer.as_ref().map(|t| format!("  {}", t.token_display(at as u32))).unwrap_or_default();
        let value = if value.is_finite() { format!("{value:.4}") } else { format::element(f64::from(value)) };
        _ = writeln!(out, "{at:>width$}  {value:>9}{token}");
    }
    context.print(&out);
    Ok(Value::Unit)
}

fn top_k(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let pair = |(at, value): (usize, f32)| Value::Tuple([at.into(), Value::Number(widen(value))].into());
    Ok(Value::list(largest(&arguments)?.into_iter().map(pair)))
}
