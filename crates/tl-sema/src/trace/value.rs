//! Values while tracing: what is known, what is not, and what the graph computes.

use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, Extent, NodeId};
use tl_syntax::{Diagnostic, Span, codes};

use crate::argument::{Argument, OuterTensor};
use crate::model::{MetaValue, Model};

use super::{Res, Tracer};

/// A value while tracing.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A number that is known.
    Number(f64),
    /// A Boolean that is known.
    Bool(bool),
    /// A text.
    Str(Arc<str>),
    /// A list.
    List(Rc<Vec<Value>>),
    /// A number or Boolean that will be known with data only.
    Unknown,
    /// A tensor. `axes` are its open axes, in order; in an indexed expression there are none.
    Tensor(Tensor),
    /// A place in a model's tree.
    Path(Path),
}

/// A node with the axes that have positions; axes that the node lacks are broadcast, others of the node are mapped over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub node: NodeId,
    pub axes: Vec<AxisId>,
}

/// A place in a model's tree.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// The model; none where nothing is known.
    pub model: Option<Arc<dyn Model>>,
    /// The names and numbers after it.
    pub segments: Vec<Arc<str>>,
}

/// A position along a staged index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Coordinate {
    pub step: i64,
    /// Whether the step is the true number, not one that stands for all.
    pub known: bool,
}

impl Path {
    /// The tensor's full name.
    pub fn name(&self) -> String {
        self.segments.join(".")
    }

    pub fn child(&self, segment: &str) -> Path {
        let mut segments = self.segments.clone();
        segments.push(segment.into());
        Path { model: self.model.clone(), segments }
    }
}

impl Value {
    /// In words for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Number(_) => "a number",
            Value::Bool(_) => "a Boolean",
            Value::Str(_) => "a text",
            Value::List(_) => "a list",
            Value::Unknown => "a value that is not known here",
            Value::Tensor(_) => "a tensor",
            Value::Path(_) => "a model",
        }
    }

    /// The number, for numbers and Booleans.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Number(n) => Some(*n),
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            _ => None,
        }
    }

    /// The value of metadata.
    pub fn of_meta(value: &MetaValue) -> Value {
        match value {
            MetaValue::Number(n) => Value::Number(*n),
            MetaValue::Bool(b) => Value::Bool(*b),
            MetaValue::Str(text) => Value::Str(text.as_str().into()),
            MetaValue::List(items) => Value::List(Rc::new(items.iter().map(Value::of_meta).collect())),
        }
    }
}

impl Tracer<'_> {
    /// The value of an argument that declares no axes, or of a script's variable.
    pub(super) fn outer_value(&mut self, name: &Arc<str>, argument: &Argument, span: Span) -> Res<Value> {
        Ok(match argument {
            Argument::Number(n) => Value::Number(*n),
            Argument::Bool(b) => Value::Bool(*b),
            Argument::Str(text) => Value::Str(Arc::clone(text)),
            Argument::List(items) => {
                let items: Res<Vec<Value>> = items.iter().map(|i| self.outer_value(name, i, span)).collect();
                Value::List(Rc::new(items?))
            }
            Argument::Model(model) => {
                Value::Path(Path { model: Some(Arc::clone(model)), segments: Vec::new() })
            }
            Argument::Opaque => Value::Path(Path { model: None, segments: Vec::new() }),
            Argument::Tensor(tensor) => {
                let sizes = tensor.sizes();
                let axes = self.open_axes(sizes.into_iter().map(Extent::Static));
                let node = self.outer_tensor(tensor, &axes, span);
                Value::Tensor(Tensor { node, axes })
            }
            Argument::Input { sizes } => {
                let axes = self.open_axes(sizes.iter().map(|&n| Extent::Static(n)));
                let node = self.input(name, axes.clone(), span);
                Value::Tensor(Tensor { node, axes })
            }
            Argument::Stream => {
                return self.fail(
                    Diagnostic::error(
                        codes::WRONG_KIND,
                        span,
                        format!("`{name}` is given a stream of tokens"),
                    )
                    .help(format!("declare its axis: `{name}[p]`")),
                );
            }
        })
    }

    /// A tensor of the world as a weight whose axes are in the order of its memory.
    pub(super) fn outer_tensor(&mut self, tensor: &OuterTensor, axes: &[AxisId], span: Span) -> NodeId {
        let mut memory = vec![None; tensor.order.len()];
        for (position, &axis) in tensor.order.iter().enumerate() {
            memory[axis] = Some(axes[position]);
        }
        let memory = memory.into_iter().map(|axis| axis.expect("the order is a permutation")).collect();
        self.graph.weight(&tensor.name, Some(tensor.tensor.clone()), memory, span)
    }

    pub(super) fn open_axes(&mut self, extents: impl IntoIterator<Item = Extent>) -> Vec<AxisId> {
        extents.into_iter().enumerate().map(|(position, extent)| self.open_axis(position, extent)).collect()
    }

    /// The value as a tensor: numbers become constants, lists literals, a path the model's tensor.
    pub(super) fn as_tensor(&mut self, value: Value, span: Span) -> Res<Tensor> {
        let node = match value {
            Value::Tensor(tensor) => return Ok(tensor),
            Value::Number(n) => self.graph.constant(n, span),
            Value::Bool(b) => self.graph.constant(f64::from(u8::from(b)), span),
            Value::Unknown => self.unknown(span),
            Value::List(items) => return self.literal(&items, span),
            Value::Path(path) => return self.bare_weight(&path, span),
            Value::Str(_) => {
                return self.fail(
                    Diagnostic::error(codes::WRONG_KIND, span, "a text is no number").here("this is a text"),
                );
            }
        };
        Ok(Tensor { node, axes: Vec::new() })
    }

    /// The value as a node, where it may have no open axes.
    pub(super) fn as_node(&mut self, value: Value, span: Span) -> Res<NodeId> {
        let tensor = self.as_tensor(value, span)?;
        if tensor.axes.is_empty() { Ok(tensor.node) } else { self.missing_indices(&tensor, span) }
    }

    #[cold]
    pub(super) fn missing_indices<T>(&mut self, tensor: &Tensor, span: Span) -> Res<T> {
        let count = tensor.axes.len();
        let plural = if count == 1 { "index" } else { "indices" };
        self.fail(
            Diagnostic::error(codes::INDEX_COUNT, span, format!("this tensor needs {count} {plural} here"))
                .help("name its axes in brackets, so that it is clear which of them meet"),
        )
    }

    /// A scalar of which nothing is known: a weight without values.
    pub(super) fn unknown(&mut self, span: Span) -> NodeId {
        self.graph.weight(&format!("?{}:{}:{}", span.source.0, span.start, span.end), None, Vec::new(), span)
    }

    /// A list of numbers, or of lists of equal shape, as a literal.
    fn literal(&mut self, items: &[Value], span: Span) -> Res<Tensor> {
        let mut sizes = Vec::new();
        let mut level: Vec<&Value> = items.iter().collect();
        sizes.push(items.len());
        loop {
            let lists = level.iter().filter(|v| matches!(v, Value::List(_))).count();
            if lists == 0 {
                break;
            }
            let inner: Vec<&Rc<Vec<Value>>> =
                level.iter().filter_map(|v| if let Value::List(l) = v { Some(l) } else { None }).collect();
            let size = inner[0].len();
            if lists != level.len() || inner.iter().any(|l| l.len() != size) {
                return self.fail(
                    Diagnostic::error(codes::WRONG_KIND, span, "a tensor needs rows of one length")
                        .help("write as many numbers in each row"),
                );
            }
            sizes.push(size);
            level = inner.into_iter().flat_map(|l| l.iter()).collect();
        }
        if level.iter().any(|v| v.number().is_none()) {
            return self.literal_of_nodes(&level, &sizes, span);
        }
        let values: Vec<f32> = level.iter().filter_map(|v| v.number()).map(|n| n as f32).collect();
        let axes = self.open_axes(sizes.into_iter().map(Extent::Static));
        let node = self.graph.literal(values, axes.clone(), span);
        Ok(Tensor { node, axes })
    }

    /// A list whose elements are computed: each is placed at its position.
    fn literal_of_nodes(&mut self, elements: &[&Value], sizes: &[usize], span: Span) -> Res<Tensor> {
        if elements.len() > 1024 {
            return self.fail(
                Diagnostic::error(codes::WRONG_KIND, span, "a list of more than 1024 computed elements")
                    .help("define the tensor by equations with indices"),
            );
        }
        let axes = self.open_axes(sizes.iter().map(|&n| Extent::Static(n)));
        let mut sum = self.graph.constant(0.0, span);
        for (number, element) in elements.iter().enumerate() {
            let mut place = vec![0.0f32; elements.len()];
            place[number] = 1.0;
            let place = self.graph.literal(place, axes.clone(), span);
            let node = self.as_node((*element).clone(), span)?;
            let zero = self.graph.constant(0.0, span);
            let placed = self.graph.map(tl_ir::Scalar::Select, &[place, node, zero], span);
            sum = self.graph.map(tl_ir::Scalar::Add, &[sum, placed], span);
        }
        Ok(Tensor { node: sum, axes })
    }
}
