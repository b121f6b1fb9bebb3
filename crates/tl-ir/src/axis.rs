//! Axes: what a tensor's index ranges over.

use std::fmt;

/// An axis of the graph that it came from. Two nodes that carry the same id range over it together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AxisId(pub u32);

/// How many positions an axis has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Extent {
    /// As many as this, known when the graph was traced.
    Static(usize),
    /// The stream's own index: the rows that are computed.
    Rows,
    /// Another index over the stream: all positions that there are.
    Stream,
    /// Not known: the graph was traced without data, to be checked and never run.
    Unknown,
}

/// An axis: a name to print and an extent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Axis {
    /// The index variable's name as the program wrote it first.
    pub name: String,
    /// How many positions there are.
    pub extent: Extent,
}

impl Extent {
    /// The number of positions of a static axis.
    pub fn known(self) -> Option<usize> {
        match self {
            Extent::Static(n) => Some(n),
            _ => None,
        }
    }

    /// Whether the axis ranges over the stream's positions, as its own index or as another.
    pub fn is_stream(self) -> bool {
        matches!(self, Extent::Rows | Extent::Stream)
    }
}

impl fmt::Debug for AxisId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}
