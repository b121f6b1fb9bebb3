//! Operations on tensors: each is a graph of one or two nodes, planned and run as any other.
//!
//! A tensor of a file enters the graph as a weight, in its own element type and order, so that nothing is decoded that
//! a kernel can read; a tensor that was computed enters as an argument.

use std::sync::Arc;

use tl_exec::run::RunError;
use tl_ir::{AxisId, Extent, Graph, NodeId, Scalar};
use tl_syntax::{Diagnostic, Span, codes};
use tl_tensor::{DType, Tensor};

use super::Interpreter;
use super::builtin::CallError;
use super::fault::{Eval, Interrupt};
use super::format::dims;
use super::tensor::TensorValue;
use super::value::Value;
use crate::engine::Engine;
use crate::error::Error;

/// A graph that is being put together from tensors.
pub(super) struct Operation {
    graph: Graph,
    arguments: Vec<Arc<[f32]>>,
    weights: usize,
    span: Span,
}

impl Operation {
    pub fn new(span: Span) -> Operation {
        Operation { graph: Graph::new(), arguments: Vec::new(), weights: 0, span }
    }

    /// A new axis.
    pub fn axis(&mut self, name: &str, size: usize) -> AxisId {
        self.graph.axis(name, Extent::Static(size))
    }

    /// The graph, to add nodes to.
    pub fn graph(&mut self) -> &mut Graph {
        &mut self.graph
    }

    /// A tensor whose axes, as they are seen, are `axes`.
    ///
    /// # Errors
    /// When it is too large to be decoded.
    pub fn tensor(&mut self, tensor: &TensorValue, axes: &[AxisId]) -> Result<NodeId, CallError> {
        if tensor.dtype() != DType::F32 || tensor.name().is_some() {
            // The weight's axes are those of the stored tensor.
            let mut stored = axes.to_vec();
            for (seen, &at) in tensor.order().iter().enumerate() {
                stored[at] = axes[seen];
            }
            self.weights += 1;
            let name = format!("{} ({})", tensor.name().map_or("tensor", |n| n), self.weights);
            return Ok(self.graph.weight(&name, Some(tensor.stored().clone()), stored, self.span));
        }
        let values = super::convert::elements(tensor)?;
        let number = self.arguments.len() as u32;
        self.arguments.push(values);
        Ok(self.graph.input(number, axes.to_vec(), self.span))
    }

    /// Runs the graph for one node, whose axes are to come in the order of `axes`.
    ///
    /// # Errors
    /// When it can't be planned, or memory can't be had.
    pub fn run(mut self, engine: &Engine, node: NodeId, axes: Vec<AxisId>) -> Result<TensorValue, CallError> {
        self.graph.output("result", node, axes);
        let arguments: Vec<&[f32]> = self.arguments.iter().map(|a| &**a).collect();
        let mut results =
            engine.evaluate(&self.graph, &arguments).map_err(|e| CallError::new(e.to_string()))?;
        Ok(TensorValue::over(results.pop().expect("a graph with one result gives one"), None))
    }
}

/// `a · b`: the last axis of `a` with the first of `b`.
pub(super) fn matmul(
    engine: &Engine,
    a: &TensorValue,
    b: &TensorValue,
    span: Span,
) -> Result<TensorValue, CallError> {
    let (left, right) = (a.shape(), b.shape());
    let (Some((&k, rows)), Some((&inner, columns))) = (left.split_last(), right.split_first()) else {
        return Err(CallError::new("a product of matrices needs tensors with axes"));
    };
    if k != inner {
        let mut error = CallError::new(format!(
            "the last axis of {} has {k} places and the first of {} has {inner}",
            dims(&left),
            dims(&right)
        ));
        if right.last() == Some(&k) {
            error = error.help("`transpose(…)` exchanges the axes of the second tensor");
        }
        return Err(error);
    }
    let mut operation = Operation::new(span);
    let mut axes = |sizes: &[usize]| sizes.iter().map(|&n| operation.axis("i", n)).collect::<Vec<_>>();
    let (row_axes, column_axes) = (axes(rows), axes(columns));
    let sum = operation.axis("k", k);
    let left = operation.tensor(a, &[&row_axes[..], &[sum]].concat())?;
    let right = operation.tensor(b, &[&[sum], &column_axes[..]].concat())?;
    let node = operation.graph().contract(&[left, right], &[sum], span);
    operation.run(engine, node, [row_axes, column_axes].concat())
}

/// The rows of a table (along its first axis) that the ids select. The result has the axes of the ids, then those of a row.
pub(super) fn gather(
    engine: &Engine,
    table: &TensorValue,
    ids: &TensorValue,
    span: Span,
) -> Result<TensorValue, CallError> {
    let shape = table.shape();
    let Some((&count, row)) = shape.split_first() else {
        return Err(CallError::new("a table has rows; this tensor has no axes"));
    };
    let values = super::convert::elements(ids)?;
    if let Some(bad) = values.iter().find(|&&id| id.fract() != 0.0 || id < 0.0 || id >= count as f32) {
        let last = count.saturating_sub(1);
        return Err(CallError::new(format!(
            "there is no row {}: the table has rows 0 to {last}",
            f64::from(*bad)
        ))
        .about(1));
    }
    let mut operation = Operation::new(span);
    let along = operation.axis("row", count);
    let row_axes: Vec<AxisId> = row.iter().map(|&n| operation.axis("d", n)).collect();
    let id_axes: Vec<AxisId> = ids.shape().iter().map(|&n| operation.axis("i", n)).collect();
    let table = operation.tensor(table, &[&[along], &row_axes[..]].concat())?;
    let ids = operation.tensor(ids, &id_axes)?;
    let op = tl_ir::Op::Gather { along };
    let node = operation.graph().add(op, vec![table, ids], None, span);
    operation.run(engine, node, [id_axes, row_axes].concat())
}

impl Interpreter {
    /// A pointwise function of tensors of one shape and of numbers.
    pub(super) fn pointwise(&mut self, scalar: Scalar, operands: &[Value], span: Span) -> Eval<Value> {
        let result = pointwise(&self.engine, scalar, operands, span);
        result.map_err(|e| {
            let mut diagnostic = Diagnostic::error(e.code.unwrap_or(codes::RANK_MISMATCH), span, e.message);
            if let Some(help) = e.help {
                diagnostic = diagnostic.help(help);
            }
            diagnostic.into()
        })
    }
}

/// A pointwise function of tensors of one shape and of numbers; a number, if all are.
pub(super) fn pointwise(
    engine: &Engine,
    scalar: Scalar,
    operands: &[Value],
    span: Span,
) -> Result<Value, CallError> {
    let mut shape: Option<Vec<usize>> = None;
    for tensor in operands.iter().filter_map(|v| if let Value::Tensor(t) = v { Some(t) } else { None }) {
        match &shape {
            Some(shape) if !shape.is_empty() && tensor.rank() > 0 && *shape != tensor.shape() => {
                return Err(CallError::new(format!(
                    "tensors of shapes {} and {} don't meet place by place",
                    dims(shape),
                    dims(&tensor.shape())
                ))
                .help("an equation with named indices says how they meet: `Z[i, j] = X[i, j] + Y[j]`"));
            }
            Some(shape) if !shape.is_empty() => {}
            _ => shape = Some(tensor.shape()),
        }
    }
    let numbers: Option<Vec<f64>> = operands.iter().map(Value::as_number).collect();
    if let Some(numbers) = numbers {
        let at = |i: usize| numbers.get(i).copied().unwrap_or(0.0);
        return Ok(Value::Number((scalar.info().eval)(at(0), at(1), at(2))));
    }
    let mut operation = Operation::new(span);
    let axes: Vec<AxisId> = shape.unwrap_or_default().iter().map(|&n| operation.axis("i", n)).collect();
    let mut nodes = Vec::new();
    for operand in operands {
        nodes.push(match operand {
            Value::Tensor(tensor) if tensor.rank() > 0 => operation.tensor(tensor, &axes)?,
            other => match other.as_number() {
                Some(number) => operation.graph().constant(number, span),
                None => {
                    return Err(CallError::new(format!(
                        "expected a number or a tensor, found {}",
                        other.kind()
                    )));
                }
            },
        });
    }
    let node = operation.graph().map(scalar, &nodes, span);
    Ok(operation.run(engine, node, axes)?.into())
}

/// A result of a graph as a value: a number, if it has no axes.
pub(super) fn value_of(result: Tensor) -> Value {
    match result.as_f32() {
        Some(&[x]) if result.shape().is_empty() => Value::Number(super::tensor::widen(x)),
        _ => TensorValue::over(result, None).into(),
    }
}

/// The findings about equations that could not be run.
#[cold]
pub(super) fn run_failed(error: Error, span: Span) -> Interrupt {
    if let Error::NotSettled { name, rounds, change, span: place } = &error {
        let message = match change.is_finite() {
            true => format!(
                "`{name}` has not settled after {rounds} rounds: an element still changes by {change}"
            ),
            false => format!("`{name}` grows without bound: after {rounds} rounds an element is infinite"),
        };
        return Diagnostic::error(codes::NOT_SETTLED, *place, message)
            .label(span, "it is needed here")
            .help("`steps N` after the equation ends the rounds after N")
            .into();
    }
    if let Error::Interrupted = &error {
        return Diagnostic::error(codes::INTERRUPTED, span, "interrupted").into();
    }
    let place = match &error {
        Error::TooLarge { span: place, .. } if !place.is_none() && *place != span => Some(*place),
        _ => None,
    };
    let message = match error {
        Error::Run(RunError::Memory { bytes }) => {
            format!("running this takes {bytes} bytes of memory, which can't be had")
        }
        other => other.to_string(),
    };
    let diagnostic = match place {
        Some(place) => Diagnostic::error(codes::RUN_FAILED, place, message).label(span, "it is needed here"),
        None => Diagnostic::error(codes::RUN_FAILED, span, message),
    };
    diagnostic.into()
}
