//! Where a node's value stands: a dense tensor seen through strides.
//!
//! Renaming, splitting, merging and selecting at even distances move nothing: they are arithmetic on strides. What can't be
//! said in strides returns `None`, and the planner copies.

use tl_ir::{AffineMap, AxisId, Extent, Graph};

use crate::kernel::{Dim, Source, Stride};

/// A strided look at a buffer or at a tensor of a file.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct View {
    pub source: Source,
    /// Of the element at position 0 of every axis.
    pub offset: usize,
    /// The axes with the distances between neighbours, in no particular order.
    pub axes: Vec<(AxisId, Stride)>,
}

impl Stride {
    /// So many elements.
    pub const fn of(step: usize) -> Self {
        Self { step, of_stream: false }
    }

    /// This stride times a dimension's length, if that has an expression.
    fn times(self, extent: Extent) -> Option<Self> {
        match extent {
            Extent::Static(n) => Some(Self { step: self.step * n, ..self }),
            Extent::Stream if !self.of_stream => Some(Self { of_stream: true, ..self }),
            _ => None,
        }
    }
}

/// The dimension that an axis is in a buffer; the rows are all of them, or the wanted ones.
pub(super) fn dim(graph: &Graph, axis: AxisId, rows: Dim) -> Dim {
    match graph.extent(axis) {
        Extent::Static(n) => Dim::Static(n),
        Extent::Rows => rows,
        Extent::Stream => Dim::Stream,
        Extent::Unknown => unreachable!("a graph that was traced without data is not planned"),
    }
}

impl View {
    /// A tensor whose axes are dense in that order. At most the first is the rows and at most one another axis of the stream.
    pub fn dense(graph: &Graph, source: Source, axes: &[AxisId]) -> Self {
        let mut stride = Some(Stride::of(1));
        let mut out = Vec::new();
        for &axis in axes.iter().rev() {
            let here =
                stride.expect("the rows are the slowest axis and no two axes are of the stream's length");
            out.push((axis, here));
            stride = here.times(graph.extent(axis));
        }
        out.reverse();
        Self { source, offset: 0, axes: out }
    }

    /// The distance between neighbours along an axis; 0 where the tensor does not have it.
    pub fn stride(&self, axis: AxisId) -> Stride {
        self.axes.iter().find(|(a, _)| *a == axis).map_or(Stride::of(0), |&(_, s)| s)
    }

    pub fn has(&self, axis: AxisId) -> bool {
        self.axes.iter().any(|(a, _)| *a == axis)
    }

    pub fn relabel(mut self, pairs: &[(AxisId, AxisId)]) -> Self {
        for (axis, _) in &mut self.axes {
            if let Some(&(_, to)) = pairs.iter().find(|(from, _)| from == axis) {
                *axis = to;
            }
        }
        self
    }

    pub fn split(mut self, graph: &Graph, axis: AxisId, into: &[AxisId]) -> Self {
        let mut stride = self.stride(axis);
        self.axes.retain(|(a, _)| *a != axis);
        for &part in into.iter().rev() {
            self.axes.push((part, stride));
            stride = stride.times(graph.extent(part)).expect("a split axis is static");
        }
        self
    }

    /// The axes as one, if neighbours of a faster axis end where the next of the slower begins.
    pub fn merge(mut self, graph: &Graph, axes: &[AxisId], into: AxisId) -> Option<Self> {
        let stride = self.merged_stride(graph, axes)?;
        self.axes.retain(|(a, _)| !axes.contains(a));
        self.axes.push((into, stride));
        Some(self)
    }

    /// The stride of the axes, slowest first, seen as one. Axes of one position do not count; axes that the tensor lacks must
    /// all be lacking.
    pub fn merged_stride(&self, graph: &Graph, axes: &[AxisId]) -> Option<Stride> {
        if !axes.iter().any(|&a| self.has(a)) {
            return Some(Stride::of(0));
        }
        let mut merged: Option<Stride> = None;
        let mut expected: Option<Stride> = None;
        for &axis in axes.iter().rev().filter(|&&a| graph.extent(a) != Extent::Static(1)) {
            let stride = self.stride(axis);
            if expected.is_some_and(|e| e != stride) {
                return None;
            }
            merged.get_or_insert(stride);
            expected = Some(stride.times(graph.extent(axis)).unwrap_or(Stride::of(usize::MAX)));
        }
        Some(merged.unwrap_or(Stride::of(1)))
    }

    /// The tensor read along `axis` at `map`, if every position is inside and their distances are even.
    pub fn index(mut self, graph: &Graph, axis: AxisId, map: &AffineMap) -> Option<Self> {
        let Extent::Static(limit) = graph.extent(axis) else { return None };
        let stride = self.stride(axis);
        let mut last = map.offset;
        for &(term, c) in &map.terms {
            let Extent::Static(n) = graph.extent(term) else { return None };
            if c < 0 {
                return None;
            }
            last += c * (n.max(1) as i64 - 1);
        }
        if map.divisor != 1 || map.offset < 0 || last >= limit as i64 || stride.of_stream {
            return None;
        }
        self.axes.retain(|(a, _)| *a != axis);
        self.offset += map.offset as usize * stride.step;
        for &(term, c) in &map.terms {
            let step = c as usize * stride.step;
            match self.axes.iter_mut().find(|(a, _)| *a == term) {
                Some((_, own)) if !own.of_stream => own.step += step,
                Some(_) => return None,
                None => self.axes.push((term, Stride::of(step))),
            }
        }
        Some(self)
    }

    /// Whether the axes, in that order, are all there is and dense from the beginning.
    pub fn is_dense(&self, graph: &Graph, order: &[AxisId]) -> bool {
        self.offset == 0
            && self.axes.iter().all(|(a, _)| order.contains(a) || graph.extent(*a) == Extent::Static(1))
            && order.iter().all(|a| self.has(*a))
            && self.merged_stride(graph, order) == Some(Stride::of(1))
    }
}
