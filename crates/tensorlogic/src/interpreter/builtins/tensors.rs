//! Tensors: shape, views, products. What the standard library writes in equations (`softmax`, norms, …) scripts call as it is.

use std::fmt::Write;
use std::sync::Arc;

use super::super::arithmetic;
use super::super::builtin::{Arguments, Builtin, CallError, Purity::*};
use super::super::context::Context;
use super::super::convert::elements;
use super::super::format;
use super::super::linear::{Matrix, Unsolved};
use super::super::tensor::{MAX_ELEMENTS, TensorValue, widen};
use super::super::value::{Key, Value};
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
    row(
        "solve",
        "a, b",
        Pure,
        "The `x` of the linear equations `a x = b`, computed in 64 bits; `b` is a vector, or a matrix of several.",
        solve,
    ),
    row("inverse", "a", Pure, "The inverse of a square matrix, computed in 64 bits.", inverse),
    row(
        "columns",
        "table, names = ()",
        Pure,
        "The matrix `[row, column]` of the columns of numbers of a table, all or those that are named.",
        columns,
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

/// The shape that an argument is, a list of sizes or one size, and the product of the sizes.
pub(super) fn shape_argument(
    arguments: &Arguments,
    parameter: usize,
) -> Result<(Vec<usize>, usize), CallError> {
    let sizes = arguments.items(parameter).or_else(|_| arguments.count(parameter).map(|n| vec![n.into()]))?;
    let shape = sizes_of(&sizes).map_err(|e| e.about(parameter))?;
    let length = checked_len(&shape).map_err(|e| e.about(parameter))?;
    Ok((shape, length))
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

/// The cells of a tensor in 64 bits, in the order of its axes as they are seen.
fn wide(tensor: &TensorValue) -> Result<Vec<f64>, CallError> {
    // A tensor of a file may hold more than 32 bits of each number.
    let seen = tensor.stored().permute(tensor.order());
    seen.map(|seen| seen.to_f64()).map_err(|e| CallError::new(e.to_string()))
}

/// A square matrix, and its size.
fn square(arguments: &Arguments) -> Result<(Matrix, usize), CallError> {
    let tensor = arguments.tensor(0)?;
    let [rows, columns] = tensor.shape()[..] else {
        return Err(arguments.wrong(0, "a square matrix"));
    };
    if rows != columns {
        let message = format!("`a` must be square, and has {rows} rows and {columns} columns");
        return Err(CallError::new(message).about(0));
    }
    Ok((Matrix::new(rows, wide(&tensor)?), rows))
}

fn solve(cx: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let ((matrix, rows), right) = (square(&arguments)?, arguments.tensor(1)?);
    let shape = right.shape();
    if shape.len() > 2 || shape.first() != Some(&rows) {
        let message = format!("`a` has {rows} rows, and `b` is of shape {}", format::dims(&shape));
        return Err(CallError::new(message)
            .about(1)
            .help("`b` is a vector or a matrix with a row for each of `a`"));
    }
    solved(cx, matrix, wide(&right)?, &shape)
}

fn inverse(cx: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let (matrix, n) = square(&arguments)?;
    let identity = (0..n * n).map(|k| f64::from(u8::from(k / n == k % n))).collect();
    solved(cx, matrix, identity, &[n, n])
}

fn solved(
    cx: &Context<'_>,
    matrix: Matrix,
    mut right: Vec<f64>,
    shape: &[usize],
) -> Result<Value, CallError> {
    let columns = shape.get(1).copied().unwrap_or(1);
    matrix.solve(&mut right, columns, &|| cx.is_interrupted()).map_err(|unsolved| match unsolved {
        Unsolved::Singular { column } => {
            CallError::new(format!("the matrix is singular: its column {column} follows from those before"))
                .about(0)
                .help("a small number added to the diagonal makes equations that have one answer")
        }
        Unsolved::Stopped => CallError::new("interrupted"),
    })?;
    let values: Vec<f32> = right.iter().map(|&x| x as f32).collect();
    Ok(TensorValue::new(shape, &values).into())
}

fn columns(_: &mut Context<'_>, arguments: Arguments) -> Result<Value, CallError> {
    let Some(Value::Dict(table)) = arguments.get(0) else {
        return Err(arguments.wrong(0, "a table: a dict"));
    };
    let names = match arguments.get(1) {
        None | Some(Value::Unit) => table.iter().map(|(key, _)| key.value()).collect(),
        Some(_) => arguments.items(1)?,
    };
    let mut cells: Vec<Arc<[f32]>> = Vec::new();
    for name in &names {
        let column = Key::of(name).and_then(|key| table.get(&key));
        let missing = || CallError::new(format!("the table has no column {}", format::nested(name))).about(1);
        let column = column.ok_or_else(missing)?;
        let vector = super::super::convert::to_tensor(column).ok().filter(|t| t.rank() == 1);
        let vector = vector.ok_or_else(|| {
            let message = format!("the column {} is {}, not of numbers", format::nested(name), column.kind());
            CallError::new(message).about(0)
        })?;
        cells.push(elements(&vector)?);
    }
    let rows = cells.first().map_or(0, |column| column.len());
    if cells.iter().any(|column| column.len() != rows) {
        return Err(CallError::new("the columns of the table are not equally long").about(0));
    }
    let values: Vec<f32> = (0..rows).flat_map(|row| cells.iter().map(move |column| column[row])).collect();
    Ok(TensorValue::new(&[rows, cells.len()], &values).into())
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
