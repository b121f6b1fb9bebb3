//! A frame: a block with the values of its parameters, and what has been computed in it.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use tl_ir::{AxisId, Extent, NodeId};
use tl_syntax::{Diagnostic, Span, codes};

use crate::block::Block;
use crate::domains::Class;
use crate::program::Name;
use crate::sizes::{Origin, agree};

use super::value::{Coordinate, Tensor, Value};
use super::{Clause, Failed, Res, Tracer};

/// The state of something that is computed once.
#[derive(Clone, Debug)]
pub(super) enum Slot<T> {
    /// It is being computed; asking for it now would go round in a circle.
    Begun,
    /// It has been computed, or has failed with a diagnostic.
    Done(Result<T, Failed>),
}

/// A tensor at a position of its staged indices.
pub(super) type Place = (Arc<str>, Vec<Coordinate>);

/// A block that is evaluated.
#[derive(Debug)]
pub(crate) struct Frame {
    pub block: Rc<Block>,
    /// The function and how many calls of it are around: what its axes are told apart by.
    pub salt: (Arc<str>, usize),
    /// The guards of the place where the function was called.
    pub guards: Vec<Clause>,
    params: RefCell<HashMap<Arc<str>, Value>>,
    /// The axis of each name that a parameter declares: two names of one class, as of a square matrix, are two axes.
    declared: RefCell<HashMap<Arc<str>, AxisId>>,
    /// The axis that a class has from outside: a parameter's, or the stream's own.
    homes: RefCell<HashMap<Class, (AxisId, Origin)>>,
    /// Classes that range over the stream.
    streams: RefCell<HashSet<Class>>,
    pub(super) lets: RefCell<HashMap<usize, Slot<Value>>>,
    pub(super) memo: RefCell<HashMap<Place, Slot<Tensor>>>,
    pub(super) delays: RefCell<HashMap<(Place, u32), Tensor>>,
    pub(super) class_sizes: OnceCell<HashMap<Class, (Extent, Origin)>>,
}

/// A delay whose input is not defined yet.
pub(super) struct Pending {
    pub frame: Rc<Frame>,
    pub place: Place,
    pub input: DelayInput,
    pub delay: NodeId,
    pub axes: Vec<AxisId>,
    pub span: Span,
}

/// What goes into a delay.
pub(super) enum DelayInput {
    /// The tensor itself, for a read `h[p − 1]`.
    Tensor,
    /// The value of an equation `h[p + 1] = …`.
    Value { unit: usize, steps: Vec<(Arc<str>, Coordinate)> },
}

/// What an index variable is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Bound {
    /// An axis.
    Axis(AxisId),
    /// A position: the index is staged.
    Step(Coordinate),
}

/// An equation that is evaluated: its frame, and what its index variables are.
#[derive(Clone, Debug)]
pub(crate) struct Cx {
    pub frame: Rc<Frame>,
    /// The number of the unit in the frame's block.
    pub unit: usize,
    pub variables: HashMap<Arc<str>, Bound>,
    /// For each class over the stream, the variable that is the row of this equation.
    pub rows: Vec<(Class, Arc<str>)>,
    /// Whether the value is wanted before the delay that a left side `h[p + 1]` means.
    pub early: bool,
}

impl Frame {
    pub fn new(block: Rc<Block>, salt: (Arc<str>, usize), guards: Vec<Clause>) -> Rc<Frame> {
        Rc::new(Frame {
            block,
            salt,
            guards,
            params: RefCell::default(),
            declared: RefCell::default(),
            homes: RefCell::default(),
            streams: RefCell::default(),
            lets: RefCell::default(),
            memo: RefCell::default(),
            delays: RefCell::default(),
            class_sizes: OnceCell::new(),
        })
    }

    pub fn param(&self, name: &str) -> Option<Value> {
        self.params.borrow().get(name).cloned()
    }

    pub fn set_param(&self, name: &Arc<str>, value: Value) {
        self.params.borrow_mut().insert(Arc::clone(name), value);
    }

    /// The axis of a name that a parameter declares.
    pub fn declared_axis(&self, name: &str) -> Option<AxisId> {
        self.declared.borrow().get(name).copied()
    }

    /// Whether an axis belongs to another declared name.
    pub fn is_of_another(&self, axis: AxisId, name: &str) -> bool {
        self.declared.borrow().iter().any(|(other, &own)| own == axis && **other != *name)
    }

    pub fn set_declared_axis(&self, name: &Arc<str>, axis: AxisId) {
        self.declared.borrow_mut().entry(Arc::clone(name)).or_insert(axis);
    }

    /// The axis that the class has from outside.
    pub fn home(&self, class: Class) -> Option<(AxisId, Origin)> {
        self.homes.borrow().get(&class).cloned()
    }

    pub(super) fn set_home(&self, class: Class, axis: AxisId, origin: Origin) {
        self.homes.borrow_mut().entry(class).or_insert((axis, origin));
    }

    /// Whether the class ranges over the stream.
    pub fn is_stream(&self, class: Class) -> bool {
        self.streams.borrow().contains(&class)
    }

    /// Whether the class is unrolled.
    pub fn is_staged(&self, class: Class) -> bool {
        self.block.domains.is_staged(class) && !self.is_stream(class)
    }

    /// Whether a position of a tensor of the block is unrolled.
    pub fn is_staged_position(&self, tensor: &Arc<str>, position: usize) -> bool {
        let class = self.block.domains.position(tensor, position);
        self.block.staging.unrolls(tensor) && class.is_some_and(|class| self.is_staged(class))
    }

    /// Marks classes that have an axis over the stream, and all that are linked to them.
    pub(super) fn spread_stream(&self, class: Class, axis: AxisId, origin: &Origin) {
        for linked in self.block.domains.with_linked([class]) {
            self.streams.borrow_mut().insert(linked);
            self.set_home(linked, axis, origin.clone());
        }
    }
}

impl Tracer<'_> {
    /// Gives a declared class the axis that its parameter has. Two parameters that share the class must have one size.
    pub(super) fn bind_home(&mut self, frame: &Frame, class: Class, axis: AxisId, name: &Name) -> Res<()> {
        let extent = self.graph.extent(axis);
        if let Some((other, origin)) = frame.home(class) {
            let first = self.graph.extent(other);
            if !agree(first, extent) {
                return self.fail(
                    Diagnostic::error(
                        codes::SIZE_MISMATCH,
                        name.span,
                        format!("`{}` has two sizes: {} and {}", name.text, show(first), show(extent)),
                    )
                    .here(format!("{} here", show(extent)))
                    .label(origin.span, format!("{}: {}", show(first), origin.what)),
                );
            }
            return Ok(());
        }
        let origin = Origin { span: name.span, what: format!("the parameter's axis `{}`", name.text) };
        if extent.is_stream() {
            frame.spread_stream(class, axis, &origin);
        } else {
            frame.set_home(class, axis, origin);
        }
        Ok(())
    }
}

/// An extent in words.
pub(super) fn show(extent: Extent) -> String {
    match extent {
        Extent::Static(n) => n.to_string(),
        Extent::Rows | Extent::Stream => "the stream's length".into(),
        Extent::Unknown => "unknown".into(),
    }
}
