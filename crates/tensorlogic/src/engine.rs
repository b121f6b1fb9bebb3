//! The engine: a backend, chosen once, and the evaluation of small graphs on it.
//!
//! An engine either plans graphs and runs the plans on a backend, or evaluates them node by node with the scalar
//! reference: two treatments of a program that must give one answer. Generators need a backend; scripts run on either.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tl_exec::kernel::{Buffer, Dim, Plan};
use tl_exec::plan::Planned;
use tl_exec::reference;
use tl_exec::run::{Backend, Executable, RunError};
use tl_ir::{AxisId, Graph, Op, Span};
use tl_tensor::{DType, Tensor};

use crate::error::Error;

/// The most bytes of working memory that evaluating a graph may take: 8 GiB.
pub const MAX_BYTES: usize = 8 << 30;

/// The most positions that the axes of a value may have together, even if it is never kept as a whole: 2⁴⁸.
const MAX_POSITIONS: usize = 1 << 48;

/// The reference evaluates joins as they are written up to so many positions.
const REFERENCE_POSITIONS: f64 = 1e7;

/// What runs graphs. Cloning it shares the backend and its threads.
#[derive(Clone)]
pub struct Engine {
    treatment: Treatment,
}

#[derive(Clone)]
enum Treatment {
    Planned(Arc<dyn Backend>),
    Reference,
}

/// A dense result of a graph: its sizes, slowest axis first, and its elements, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// The sizes of its axes; none for a scalar.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: Vec<f32>,
}

impl Dense {
    /// The same as a tensor.
    fn into_tensor(self) -> Tensor {
        f32_tensor(&self.shape, tl_tensor::Buffer::from_values(self.data))
    }
}

fn f32_tensor(shape: &[usize], elements: tl_tensor::Buffer) -> Tensor {
    Tensor::new(DType::F32, shape, elements).expect("a result has as many elements as its sizes say")
}

impl Engine {
    /// An engine on the CPU with as many threads as the machine has cores, its instruction set found at run time.
    pub fn cpu() -> Engine {
        Self::with_backend(Arc::new(tl_cpu::CpuBackend::new(None, None)))
    }

    /// An engine on the CPU with so many threads (at least one).
    pub fn cpu_with_threads(threads: usize) -> Engine {
        Self::with_backend(Arc::new(tl_cpu::CpuBackend::new(Some(threads.max(1)), None)))
    }

    /// The same (without a number, as many threads as the machine has cores), which stops some milliseconds after the flag is set. Whoever
    /// sets it clears it.
    pub fn cpu_with_interrupt(threads: Option<usize>, interrupt: Arc<AtomicBool>) -> Engine {
        let backend = tl_cpu::CpuBackend::new(threads.map(|n| n.max(1)), None);
        Self::with_backend(Arc::new(backend.with_interrupt(interrupt)))
    }

    /// An engine on any backend.
    pub fn with_backend(backend: Arc<dyn Backend>) -> Engine {
        Engine { treatment: Treatment::Planned(backend) }
    }

    /// Plans that run in the plainest way: what each kernel means.
    pub fn scalar() -> Engine {
        Self::with_backend(Arc::new(tl_exec::scalar::ScalarBackend))
    }

    /// The scalar reference, which defines what every program means and is slow.
    pub fn reference() -> Engine {
        Engine { treatment: Treatment::Reference }
    }

    /// What it runs on, as `cpu (avx2, 2 threads)`.
    pub fn name(&self) -> String {
        match &self.treatment {
            Treatment::Planned(backend) => backend.name(),
            Treatment::Reference => "scalar reference".to_owned(),
        }
    }

    /// Makes a plan ready to run.
    ///
    /// # Errors
    /// When its memory can't be had, or the engine is the reference, which knows no plans.
    pub fn prepare(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>, Error> {
        match &self.treatment {
            Treatment::Planned(backend) => Ok(backend.prepare(plan)?),
            Treatment::Reference => Err(Error::NoBackend),
        }
    }

    /// Evaluates the results of a graph that has no stream. `arguments[n]` are the elements of argument `n`, in the order
    /// of its node's axes.
    ///
    /// # Errors
    /// When an argument has the wrong size, or memory can't be had.
    pub fn evaluate(&self, graph: &Graph, arguments: &[&[f32]]) -> Result<Vec<Tensor>, Error> {
        check_arguments(graph, arguments)?;
        check_sizes(graph)?;
        // The reference needs no plan; it is asked for one so that all engines refuse the same programs.
        let planned = tl_exec::plan::plan(graph)?;
        check_memory(&planned.plan)?;
        match &self.treatment {
            Treatment::Planned(backend) => evaluate_planned(&**backend, planned, graph, arguments),
            // A join of many tensors is evaluated in a good order, or it would not end.
            Treatment::Reference => {
                let is_large = positions(graph) > REFERENCE_POSITIONS;
                let graph = if is_large { &planned.graph } else { graph };
                Ok(evaluate_reference(graph, arguments).into_iter().map(Dense::into_tensor).collect())
            }
        }
    }
}

/// Evaluates a graph anew for other arguments.
pub(crate) type Rounds = Box<dyn FnMut(&[&[f32]]) -> Result<Vec<Dense>, Error>>;

impl Engine {
    /// The evaluation of a graph, planned once, for arguments that change but for their sizes.
    ///
    /// # Errors
    /// As for [`Engine::evaluate`].
    pub(crate) fn rounds(&self, graph: Graph, arguments: &[Vec<f32>]) -> Result<Rounds, Error> {
        let arguments: Vec<&[f32]> = arguments.iter().map(|a| &a[..]).collect();
        check_arguments(&graph, &arguments)?;
        check_sizes(&graph)?;
        let planned = tl_exec::plan::plan(&graph)?;
        check_memory(&planned.plan)?;
        Ok(match &self.treatment {
            Treatment::Planned(backend) => {
                let mut executable = backend.prepare(planned.plan)?;
                Box::new(move |arguments| {
                    executable.run(&mut [], arguments)?;
                    Ok(results_of(&*executable, &graph))
                })
            }
            Treatment::Reference => Box::new(move |arguments| Ok(evaluate_reference(&graph, arguments))),
        })
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::cpu()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.name())
    }
}

fn evaluate_reference(graph: &Graph, arguments: &[&[f32]]) -> Vec<Dense> {
    let wide: Vec<Vec<f64>> = arguments.iter().map(|a| a.iter().map(|&x| f64::from(x)).collect()).collect();
    let narrow =
        |v: reference::Value| Dense { shape: v.shape, data: v.data.iter().map(|&x| x as f32).collect() };
    reference::evaluate(graph, &wide, 0).into_iter().map(narrow).collect()
}

fn evaluate_planned(
    backend: &dyn Backend,
    planned: Planned,
    graph: &Graph,
    arguments: &[&[f32]],
) -> Result<Vec<Tensor>, Error> {
    let mut executable = backend.prepare(planned.plan)?;
    executable.run(&mut [], arguments)?;
    // A result by itself stays where it was computed.
    if let [output] = graph.outputs()
        && is_in_order(executable.plan(), 0)
    {
        let shape = shape_of(graph, &output.axes);
        let bytes = shape.iter().product::<usize>() * size_of::<f32>();
        if let Some(buffer) = executable.take_output(0) {
            let elements = buffer.slice(0..bytes).expect("a result has room for its elements");
            return Ok(vec![f32_tensor(&shape, elements)]);
        }
    }
    Ok(results_of(&*executable, graph).into_iter().map(Dense::into_tensor).collect())
}

fn results_of(executable: &dyn Executable, graph: &Graph) -> Vec<Dense> {
    let results = graph.outputs().iter().enumerate().map(|(number, output)| {
        let shape = shape_of(graph, &output.axes);
        let data = in_order(executable.plan(), number, executable.output(number), &shape);
        Dense { shape, data }
    });
    results.collect()
}

/// How many positions the joins of a graph range over.
fn positions(graph: &Graph) -> f64 {
    let size = |&axis: &AxisId| graph.extent(axis).known().map_or(1.0, |n| n as f64);
    let joins = graph.nodes().filter_map(|(_, node)| match &node.op {
        Op::Contract { sum } => Some(node.axes.iter().chain(sum).map(size).product::<f64>()),
        _ => None,
    });
    joins.sum()
}

/// Refuses a graph with a value of more elements than addresses, fused or not; the product under a sum is none.
fn check_sizes(graph: &Graph) -> Result<(), Error> {
    check_each_size(graph).or_else(|_| check_each_size(&tl_ir::contraction::sums_in_joins(graph)))
}

fn check_each_size(graph: &Graph) -> Result<(), Error> {
    let live = graph.live();
    for (id, node) in graph.nodes().filter(|(id, _)| live[id.0 as usize]) {
        let size = |&axis: &AxisId| graph.extent(axis).known().unwrap_or(1);
        let elements = node.axes.iter().map(size).try_fold(1usize, usize::checked_mul);
        if elements.is_none_or(|n| n > MAX_POSITIONS) {
            let bytes = elements.map_or(usize::MAX, |n| n.saturating_mul(size_of::<f32>()));
            let span = graph.node(id).span;
            return Err(Error::TooLarge { bytes, limit: MAX_BYTES, span });
        }
    }
    Ok(())
}

/// Refuses a plan whose working memory is beyond all bounds, naming the expression whose value is largest.
fn check_memory(plan: &Plan) -> Result<(), Error> {
    let bytes_of = |elements: usize| elements.saturating_mul(size_of::<f32>());
    let bytes = tl_exec::plan::layout(plan, 1, 1, 1).map_or(usize::MAX, |layout| bytes_of(layout.len));
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let static_size = |dim: &Dim| if let Dim::Static(n) = *dim { n } else { 1 };
    let size = |b: &Buffer| b.dims.iter().fold(1usize, |size, dim| size.saturating_mul(static_size(dim)));
    let largest = (0..plan.buffers.len()).max_by_key(|&b| size(&plan.buffers[b])).unwrap_or(0);
    let bytes = bytes.min(bytes_of(size(&plan.buffers[largest])));
    let mut span = Span::NONE;
    for step in plan.setup.iter().chain(&plan.steps) {
        step.kernel.each_buffer(&mut |buffer, written| {
            if written && buffer.index() == largest {
                span = step.span;
            }
        });
    }
    Err(Error::TooLarge { bytes, limit: MAX_BYTES, span })
}

/// The sizes of static axes. A graph that is evaluated has no others.
fn shape_of(graph: &Graph, axes: &[AxisId]) -> Vec<usize> {
    axes.iter().map(|&a| graph.extent(a).known().unwrap_or(0)).collect()
}

/// The elements of a result in the order of the axes that was asked for.
pub(crate) fn in_order(plan: &Plan, number: usize, values: &[f32], shape: &[usize]) -> Vec<f32> {
    // A result may be the beginning of a larger buffer.
    let values = &values[..shape.iter().product()];
    if is_in_order(plan, number) {
        return values.to_vec();
    }
    let order = &plan.outputs[number].order;
    // Stride of each asked-for axis in the buffer: the product of the sizes of the buffer's later axes.
    let mut sizes = vec![1; order.len()];
    for (&at, &size) in order.iter().zip(shape) {
        sizes[at] = size;
    }
    let stride = |at: usize| sizes[at + 1..].iter().product::<usize>();
    let strides: Vec<usize> = order.iter().map(|&at| stride(at)).collect();
    permute(values, shape, &strides)
}

/// Whether the axes of a result stand in its buffer as they were asked for.
fn is_in_order(plan: &Plan, number: usize) -> bool {
    plan.outputs[number].order.iter().enumerate().all(|(i, &at)| i == at)
}

/// Copies elements that lie at the given strides into row-major order.
pub(crate) fn permute(values: &[f32], shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let total: usize = shape.iter().product();
    let mut out = Vec::with_capacity(total);
    let mut at = vec![0; shape.len()];
    let mut offset = 0;
    for _ in 0..total {
        out.push(values[offset]);
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            offset += strides[axis];
            if at[axis] < shape[axis] {
                break;
            }
            offset -= at[axis] * strides[axis];
            at[axis] = 0;
        }
    }
    out
}

fn check_arguments(graph: &Graph, arguments: &[&[f32]]) -> Result<(), Error> {
    for (_, node) in graph.nodes() {
        let Op::Input(number) = node.op else { continue };
        let argument = number as usize;
        let expected: usize = shape_of(graph, &node.axes).iter().product();
        let found = arguments.get(argument).map_or(0, |a| a.len());
        if found != expected {
            return Err(RunError::ArgumentSize { argument, expected, found }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_put_in_the_order_that_was_asked_for() {
        // A buffer [2, 3] read as [3, 2].
        assert_eq!(permute(&[0., 1., 2., 3., 4., 5.], &[3, 2], &[1, 3]), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(permute(&[7.0], &[], &[]), [7.0]);
    }
}
