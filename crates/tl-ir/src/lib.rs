//! The intermediate representation: a graph of tensor operations over *named axes*.
//!
//! A node's value is a tensor whose axes are [`AxisId`]s, not positions: operands meet by axis identity, so broadcasting,
//! joining and mapping need no reshapes. The order in which a node lists its axes is the order in memory, slowest
//! first, and means nothing more. Every value is `f32`; indices and Booleans are small integers that `f32` holds exactly.
//! Weights alone keep the element type of their file.
//!
//! One axis is special: the *stream*. A graph that generates has the axis [`Extent::Rows`], the index of the stream whose
//! rows are computed, and may have axes of extent [`Extent::Stream`], other indices over the same positions. The graph
//! says nothing of time, caches or batches; [`stream`] derives them.
//!
//! - [`axis`]: axes and their extents
//! - [`op`]: the table of ops and of scalar functions
//! - [`graph`]: nodes, the builder that interns them, the text form

//! - passes, one file each: [`contraction`] (order of joins), [`stream`] (causality and storage)

pub mod axis;
pub mod contraction;
pub mod graph;
pub mod op;
pub mod stream;

pub use axis::{Axis, AxisId, Extent};
pub use graph::{Graph, LiteralId, Node, NodeId, Output, Weight, WeightId};
pub use op::{AffineMap, Op, Reduction, Scalar};
pub use tl_syntax::Span;
