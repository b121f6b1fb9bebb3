//! Tracing: a block of equations is evaluated, on demand and with what is known, into one graph.
//!
//! ```text
//! trace_function(f, arguments)
//!     frame    = f's block with its parameters' values
//!     result   = define(frame, "logits", [])
//! define(tensor, steps)                 once for each tensor and each position of its staged indices
//!     for each equation that defines it there
//!         bind the staged indices of the left side to their steps, the others to axes (sizes: see `evidence`)
//!         evaluate the right side under the guard; sum where the analysis says; place it at the left side's indices
//!     add them up
//! read(tensor[i, j + 1, tok[p]])        = define, then relabel, index, gather, split (see `slots`)
//! f(arguments)                          = a frame of its own: functions are inlined
//! ```
//!
//! What is known while tracing is computed here (metadata, sizes, steps of recursions), the rest becomes nodes. Axes are shared: the
//! same name in the same class of domains with the same size is one axis, in all layers and all calls of a function, so that equal
//! work becomes one node.
//!
//! Invariants: a value's open axes are those of a tensor that is given without indices. Guards are active exactly while the right
//! side that they guard is evaluated, functions that it calls included; a definition that is demanded meanwhile is evaluated without them.

mod affine;
mod ask;
mod bind;
mod call;
mod classes;
mod define;
mod delay;
mod eval;
mod evidence;
mod fixpoint;
mod frame;
mod place;
mod project;
mod read;
mod recursion;
mod reduce;
mod scatter;
mod script;
mod slots;
mod stack;
mod tree;
mod value;
mod vocabulary;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tl_ir::{AxisId, Extent, Graph, NodeId};
use tl_syntax::{Diagnostic, Span, codes};

use crate::argument::{Argument, InputSlot, Limits, Loop, Scope, Traced};
use crate::block::Block;
use crate::constants::Labels;
use crate::domains::Class;
use crate::program::{Function, Program, Projection};
use crate::suggest::did_you_mean;

pub use script::{Definitions, trace_expr};

use frame::{Bound, Cx, Frame, Pending};
pub(crate) use stack::{Stack, with_large};
use value::{Coordinate, Tensor, Value};

/// A diagnostic was reported; what asked gives up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed;

/// A result of tracing.
pub(crate) type Res<T> = Result<T, Failed>;

/// How many steps of a recursion over a staged index are unrolled when their number is not known.
const STAND_IN_STEPS: i64 = 2;

/// What an axis is made for; equal keys are one axis.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum AxisKey {
    /// An index variable of a function's block, at a depth of recursive calls.
    Local { function: Arc<str>, depth: usize, class: Class, name: Arc<str>, extent: Extent },
    /// A position of a tensor without indices.
    Open { position: usize, extent: Extent },
    /// An axis that is read at computed positions or split, or whose name is taken.
    Hidden { name: Arc<str>, extent: Extent },
}

/// A condition that is active: elements where it does not hold do not exist.
#[derive(Clone, Debug)]
pub(crate) struct Clause {
    node: NodeId,
    axes: Vec<AxisId>,
}

/// The state of one tracing.
pub(crate) struct Tracer<'a> {
    program: &'a Program,
    /// The relations that functions may read.
    outside: &'a crate::program::Block,
    /// Whether no script runs around what is traced.
    alone: bool,
    limits: &'a Limits,
    stack: Stack,
    scope: Option<&'a dyn Scope>,
    graph: Graph,
    inputs: Vec<InputSlot>,
    diagnostics: Vec<Diagnostic>,
    /// What was found while looking for sizes, where what is wrong is reported later, by whoever evaluates it.
    withheld: Vec<Diagnostic>,
    axes: HashMap<AxisKey, AxisId>,
    rows: Option<AxisId>,
    blocks: HashMap<Arc<str>, Rc<Block>>,
    guards: Vec<Clause>,
    /// The functions that are being inlined, outermost first.
    inlining: Vec<Arc<str>>,
    /// Definitions that have begun and not ended.
    unfinished: usize,
    steps: usize,
    pending: Vec<Pending>,
    /// Recursions to a fixpoint that are complete.
    loops: Vec<Loop>,
    labels: Vec<Option<Labels>>,
    /// Values of script variables that have been made into nodes.
    outer: HashMap<Arc<str>, Value>,
}

/// Traces a function with the given arguments, one for each parameter; parameters that have a default may be left out at the end.
/// The graph's only output is the function's result, its axes in the order of the declaration.
///
/// # Errors
/// What is wrong with the program, or with the data for this program, with spans.
pub fn trace_function(
    program: &Program,
    name: &str,
    arguments: &[Argument],
    limits: &Limits,
) -> Result<Traced, Vec<Diagnostic>> {
    let Some(function) = program.function(name) else {
        let known = program.functions().map(|f| &*f.name.text);
        let mut diagnostic =
            Diagnostic::error_without_span(codes::UNKNOWN_FUNCTION, format!("there is no function `{name}`"));
        if let Some(near) = did_you_mean(name, known) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        return Err(vec![diagnostic]);
    };
    with_large(|stack| {
        let mut tracer = Tracer::new(program, None, limits, stack);
        tracer.alone = true;
        let traced = tracer.function(function, arguments);
        tracer.finish(traced, function.span)
    })
}

impl<'a> Tracer<'a> {
    pub(crate) fn new(
        program: &'a Program,
        scope: Option<&'a dyn Scope>,
        limits: &'a Limits,
        stack: Stack,
    ) -> Self {
        Self {
            program,
            outside: &program.outside,
            alone: false,
            limits,
            stack,
            scope,
            graph: Graph::new(),
            inputs: Vec::new(),
            diagnostics: Vec::new(),
            withheld: Vec::new(),
            axes: HashMap::new(),
            rows: None,
            blocks: HashMap::new(),
            guards: Vec::new(),
            inlining: Vec::new(),
            unfinished: 0,
            steps: 0,
            pending: Vec::new(),
            loops: Vec::new(),
            labels: Vec::new(),
            outer: HashMap::new(),
        }
    }

    /// Traces a function from outside, where arguments are data.
    pub(crate) fn function(&mut self, function: &Arc<Function>, arguments: &[Argument]) -> Res<()> {
        self.check_arguments(function, arguments)?;
        let block = self.block_of(function)?;
        let frame = Frame::new(Rc::clone(&block), (Arc::clone(&function.name.text), 0), Vec::new());
        for (param, argument) in function.params.iter().zip(arguments) {
            let value = self.parameter(&frame, param, argument)?;
            frame.set_param(&param.name.text, value);
        }
        self.inlining.push(Arc::clone(&function.name.text));
        let result = self.define_whole(&frame, &function.result.text, function.result.span)?;
        self.close_pending()?;
        self.inlining.pop();
        let result = self.materialize(result, function.result.span);
        self.graph.output(Arc::clone(&function.result.text), result.node, result.axes);
        Ok(())
    }

    /// Traces a function for what can be found without data: besides the result, every tensor that it defines.
    pub(crate) fn check_function(&mut self, function: &Arc<Function>, arguments: &[Argument]) -> Res<()> {
        self.function(function, arguments)
    }

    fn check_arguments(&mut self, function: &Function, arguments: &[Argument]) -> Res<()> {
        let needed = function.params.iter().filter(|p| p.default.is_none()).count();
        if arguments.len() < needed || arguments.len() > function.params.len() {
            let names: Vec<&str> = function.params.iter().map(|p| &*p.name.text).collect();
            return self.fail(
                Diagnostic::error(
                    codes::ARGUMENT_COUNT,
                    function.span,
                    format!("`{}` is given {} arguments", function.name.text, arguments.len()),
                )
                .note(format!("its parameters are: {}", names.join(", "))),
            );
        }
        Ok(())
    }

    /// The value of a parameter that is given from outside.
    fn parameter(&mut self, frame: &Frame, param: &crate::program::Param, argument: &Argument) -> Res<Value> {
        let span = param.name.span;
        let Some(declared) = param.axes.as_ref().filter(|axes| !axes.is_empty()) else {
            return self.outer_value(&param.name.text, argument, span);
        };
        let extents: Vec<Extent> = match argument {
            Argument::Stream => vec![Extent::Rows],
            Argument::Opaque => vec![Extent::Unknown; declared.len()],
            Argument::Input { sizes } => sizes.iter().map(|&n| Extent::Static(n)).collect(),
            Argument::Tensor(tensor) => tensor.sizes().into_iter().map(Extent::Static).collect(),
            other => {
                let value = self.outer_value(&param.name.text, other, span)?;
                return self.as_tensor(value, span).map(Value::Tensor);
            }
        };
        if extents.len() != declared.len() {
            return self.fail(
                Diagnostic::error(
                    codes::INDEX_COUNT,
                    span,
                    format!(
                        "`{}` has {} axes, the argument has {}",
                        param.name.text,
                        declared.len(),
                        extents.len()
                    ),
                )
                .here("declared here"),
            );
        }
        let mut axes = Vec::new();
        for (name, extent) in declared.iter().zip(extents) {
            let class = frame.block.domains.declared(&name.text).expect("the signature declares its axes");
            let axis = match extent {
                Extent::Rows => self.rows_axis(&name.text),
                _ => self.local_axis(frame, class, &name.text, extent),
            };
            self.bind_home(frame, class, axis, name)?;
            frame.set_declared_axis(&name.text, axis);
            axes.push(axis);
        }
        let node = match argument {
            Argument::Tensor(tensor) => self.outer_tensor(tensor, &axes, span),
            _ => self.input(&param.name.text, axes.clone(), span),
        };
        Ok(Value::Tensor(Tensor { node, axes }))
    }

    fn input(&mut self, name: &Arc<str>, axes: Vec<AxisId>, span: Span) -> NodeId {
        self.inputs.push(InputSlot { name: Arc::clone(name), axes: axes.clone(), span });
        self.graph.input(self.inputs.len() as u32 - 1, axes, span)
    }

    /// The analysed block of a function, made once. Its warnings and errors are reported then.
    fn block_of(&mut self, function: &Arc<Function>) -> Res<Rc<Block>> {
        if let Some(block) = self.blocks.get(&function.name.text) {
            return match block.diagnostics.iter().any(Diagnostic::is_error) {
                true => Err(Failed),
                false => Ok(Rc::clone(block)),
            };
        }
        if self.alone && !self.program.later.is_empty() {
            let taken = crate::outside::take_in(function, self.program, self.outside).equations;
            let is_taken = |name: &Arc<str>| taken.iter().any(|equation| equation.target.text == *name);
            if let Some((_, found)) = self.program.later.iter().find(|(name, _)| is_taken(name)) {
                return self.fail(found.clone());
            }
        }
        let block = Block::of_function(function, self.program, self.outside);
        self.blocks.insert(Arc::clone(&function.name.text), Rc::clone(&block));
        if let Some((span, what)) = function.script {
            return self.fail(
                Diagnostic::error(
                    codes::NOT_IN_EQUATION,
                    span,
                    format!("`{}` can't be used in equations: it contains {what}", function.name.text),
                )
                .help("a function that equations call has equations, `let` and `dim` in its body, and nothing else"),
            );
        }
        self.report_block(&block)?;
        Ok(block)
    }

    fn report_block(&mut self, block: &Block) -> Res<()> {
        self.diagnostics.extend(block.diagnostics.iter().cloned());
        match block.diagnostics.iter().any(Diagnostic::is_error) {
            true => Err(Failed),
            false => Ok(()),
        }
    }

    /// Reports a diagnostic and gives up.
    #[cold]
    fn fail<T>(&mut self, diagnostic: Diagnostic) -> Res<T> {
        self.diagnostics.push(diagnostic);
        Err(Failed)
    }

    /// What was traced, or what is wrong; `span` is what was to be traced.
    fn finish(mut self, traced: Res<()>, span: Span) -> Result<Traced, Vec<Diagnostic>> {
        if let (Some(_), [first, ..]) = (self.rows, &self.loops[..]) {
            self.diagnostics.push(
                Diagnostic::error(
                    codes::NO_ROUNDS,
                    first.span,
                    "a recursion to a fixpoint can't be part of a stream",
                )
                .help("give it an index of its own: `x[n + 1] = f(x[n])`"),
            );
        }
        let mut diagnostics = distinct(self.diagnostics);
        if traced.is_err() && !diagnostics.iter().any(Diagnostic::is_error) {
            // A definition that failed while its size was wanted is not evaluated again; and what can't be read has been reported by
            // whoever read it.
            let withheld = self.withheld.into_iter().find(Diagnostic::is_error);
            diagnostics.push(withheld.unwrap_or_else(|| {
                let message = "the equations have errors that were reported when they were read";
                Diagnostic::error(codes::NOT_IN_EQUATION, span, message)
            }));
        }
        match traced {
            Ok(()) if !diagnostics.iter().any(Diagnostic::is_error) => Ok(Traced {
                graph: self.graph,
                inputs: self.inputs,
                loops: self.loops,
                labels: self.labels,
                warnings: diagnostics,
            }),
            _ => Err(diagnostics),
        }
    }

    /// The graph and everything reported, whether or not there were errors.
    pub(crate) fn into_parts(self) -> (Graph, Vec<Diagnostic>) {
        (self.graph, distinct(self.diagnostics))
    }

    fn axis(&mut self, key: AxisKey, name: &str, extent: Extent) -> AxisId {
        let graph = &mut self.graph;
        *self.axes.entry(key).or_insert_with(|| graph.axis(name, extent))
    }

    /// The stream's own index, named by whoever asks first.
    fn rows_axis(&mut self, name: &str) -> AxisId {
        match self.rows {
            Some(rows) => rows,
            None => *self.rows.insert(self.graph.axis(name, Extent::Rows)),
        }
    }

    /// The axis of an index variable in a frame.
    fn local_axis(&mut self, frame: &Frame, class: Class, name: &Arc<str>, extent: Extent) -> AxisId {
        let (function, depth) = frame.salt.clone();
        self.axis(AxisKey::Local { function, depth, class, name: Arc::clone(name), extent }, name, extent)
    }

    fn open_axis(&mut self, position: usize, extent: Extent) -> AxisId {
        if extent == Extent::Rows {
            return self.rows_axis("p");
        }
        self.axis(AxisKey::Open { position, extent }, &format!("_{position}"), extent)
    }

    fn hidden_axis(&mut self, name: &str, extent: Extent) -> AxisId {
        self.axis(AxisKey::Hidden { name: name.into(), extent }, name, extent)
    }

    /// Refuses to go on where the graph or the number of steps exceeds its limit.
    fn check_limits(&mut self, span: Span) -> Res<()> {
        if self.limits.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return self.fail(Diagnostic::error(codes::INTERRUPTED, span, "interrupted"));
        }
        if self.graph.len() > self.limits.nodes {
            let limit = self.limits.nodes;
            return self.fail(
                Diagnostic::error(
                    codes::GRAPH_TOO_LARGE,
                    span,
                    format!("the program needs more than {limit} operations"),
                )
                .note("recursions over known indices are unrolled")
                .help("raise the limit on nodes if the program is meant to be that large"),
            );
        }
        if self.steps > self.limits.steps {
            let limit = self.limits.steps;
            return self.fail(
                Diagnostic::error(
                    codes::TOO_MANY_STEPS,
                    span,
                    format!("unrolling takes more than {limit} steps"),
                )
                .note("each step of a recursion over an index, and each call of a function, counts as one")
                .help("check that the recursion ends, or raise the limit on steps"),
            );
        }
        Ok(())
    }
}

/// The diagnostics without repetitions: the same finding at the same place may come up in each layer.
fn distinct(diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut out: Vec<Diagnostic> = Vec::new();
    for diagnostic in diagnostics {
        let same =
            |d: &Diagnostic| d.code == diagnostic.code && d.primary_span() == diagnostic.primary_span();
        if !out.iter().any(|d| same(d) && (d.message == diagnostic.message || !diagnostic.labels.is_empty()))
        {
            out.push(diagnostic);
        }
    }
    out
}

/// The index reduction that an equation's operator stands for, for several equations of one tensor.
fn is_sum(projection: Projection) -> bool {
    projection == Projection::Reduce(tl_ir::Reduction::Sum)
}

/// What an index variable is bound to, for reading.
fn bound_axis(cx: &Cx, name: &str) -> Option<Bound> {
    cx.variables.get(name).copied()
}

/// A step of a staged index as a number, if it is known.
fn step_value(step: Coordinate) -> Value {
    if step.known { Value::Number(step.step as f64) } else { Value::Unknown }
}
