//! What is given to a traced function, and what tracing gives back.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tl_ir::{AxisId, Graph, NodeId};
use tl_syntax::{Diagnostic, Span};
use tl_tensor::Tensor;

use crate::constants::Labels;
use crate::model::Model;

/// A value from outside of the traced program.
#[derive(Clone, Debug)]
pub enum Argument {
    /// A number that is known while tracing.
    Number(f64),
    /// A Boolean that is known while tracing.
    Bool(bool),
    /// A text.
    Str(Arc<str>),
    /// A list, for instance of metadata.
    List(Vec<Argument>),
    /// A model: tensors and metadata.
    Model(Arc<dyn Model>),
    /// A tensor whose values are there: it becomes a weight of the graph.
    Tensor(OuterTensor),
    /// A tensor that is given anew at each run: it becomes an input. Sizes in the order of the language's indices; the
    /// input's axes have that order too, the first slowest.
    Input {
        /// The sizes of its axes.
        sizes: Vec<usize>,
    },
    /// The token parameter of a generator: an input with one axis, the stream.
    Stream,
    /// Nothing is known: numbers, metadata and sizes are unknown, every tensor is there. For checking without data.
    Opaque,
}

/// A tensor with the order of its axes as the language counts them.
#[derive(Clone, Debug)]
pub struct OuterTensor {
    /// The values.
    pub tensor: Tensor,
    /// `order[k]` is the axis of `tensor.shape()` that index number `k` of the language ranges over.
    pub order: Vec<usize>,
    /// What distinguishes it from other tensors of the graph, for instance a variable's name with a number. Equal names must
    /// mean equal values.
    pub name: Arc<str>,
}

/// Names around the traced expression: a script's variables.
pub trait Scope {
    /// The value of that variable. A name without one is an index or a tensor that equations define.
    fn variable(&self, name: &str) -> Option<Argument>;

    /// All variables, for "did you mean".
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Bounds on tracing. Exceeding one is a diagnostic that names it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Nodes of the graph.
    pub nodes: usize,
    /// Steps of all recursions together.
    pub steps: usize,
    /// Definitions that are begun while others are unfinished.
    pub depth: usize,
    /// Set when somebody wants tracing to stop.
    pub interrupt: Option<Arc<AtomicBool>>,
}

/// What tracing gives.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The graph, its results among it.
    pub graph: Graph,
    /// Input number `n` of the graph is `inputs[n]`.
    pub inputs: Vec<InputSlot>,
    /// Recursions to a fixpoint, in an order in which they can be run before the graph.
    pub loops: Vec<Loop>,
    /// For each axis of the first result, the names of its positions, if it has any.
    pub labels: Vec<Option<Labels>>,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
}

/// A recursion to a fixpoint: its members are inputs of the graph, which hold what the round before has made of them.
#[derive(Clone, Debug)]
pub struct Loop {
    /// The tensors that need each other.
    pub members: Vec<Member>,
    /// The rounds end when no element changes by as much.
    pub until: Option<f64>,
    /// The rounds end after so many.
    pub steps: Option<usize>,
    /// Recursions that need its members: they are settled in each of its rounds.
    pub inner: Vec<Loop>,
    /// Where the recursion is written.
    pub span: Span,
}

/// A tensor of a recursion to a fixpoint.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: Arc<str>,
    /// The number of the input that holds it.
    pub input: u32,
    /// What each element is before the first round.
    pub initial: f32,
    /// The node that computes it anew.
    pub next: NodeId,
}

/// An input of a traced graph.
#[derive(Clone, Debug)]
pub struct InputSlot {
    /// The parameter or variable that it is.
    pub name: Arc<str>,
    /// Its axes in order, the first slowest.
    pub axes: Vec<AxisId>,
    /// Where it is declared.
    pub span: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self { nodes: 400_000, steps: 200_000, depth: 2000, interrupt: None }
    }
}

impl OuterTensor {
    /// A tensor whose indices have the order of its shape.
    pub fn new(name: impl Into<Arc<str>>, tensor: Tensor) -> Self {
        let order = (0..tensor.shape().len()).collect();
        Self { tensor, order, name: name.into() }
    }

    /// The sizes in the order of the language's indices.
    pub fn sizes(&self) -> Vec<usize> {
        self.order.iter().map(|&axis| self.tensor.shape()[axis]).collect()
    }
}

/// The empty scope.
impl Scope for () {
    fn variable(&self, _: &str) -> Option<Argument> {
        None
    }
}
