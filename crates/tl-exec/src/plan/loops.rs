//! Pointwise functions and reductions, gathered into loops over the same axes.

use tl_ir::{AxisId, Extent, NodeId, Op, Reduction};

use super::order::Rows;
use super::products::Product;
use super::view::View;
use super::{Body, Planner};
use crate::kernel::{BufferId, Source, Stride};

/// A loop that is being put together.
pub(super) struct Cluster {
    /// The outer axes, the rows first.
    pub outer: Vec<AxisId>,
    /// The axis of the vectors; none if there are only the rows.
    pub inner: Option<AxisId>,
    /// An axis that reductions run along, the last of the outer ones.
    pub fold: Option<AxisId>,
    /// What is computed, in order.
    pub nodes: Vec<NodeId>,
    /// What is copied from one layout to another.
    pub copies: Vec<(View, View)>,
}

impl Cluster {
    fn has(&self, axis: AxisId) -> bool {
        self.inner == Some(axis) || self.outer.contains(&axis)
    }
}

impl Planner<'_> {
    pub(super) fn assign_loop(&mut self, id: NodeId) {
        let rows = self.rows(id);
        let node = self.graph.node(id);
        let inputs = node.inputs.clone();
        if let Op::Index { .. } | Op::Place { .. } = node.op {
            self.note_source(id);
        }
        let home = match self.joinable(id, rows) {
            Some(index) => {
                match &mut self.protos[index].body {
                    Body::Loop(cluster) => {
                        if let Op::Reduce { over, .. } = &node.op
                            && cluster.outer.contains(&over[0])
                        {
                            cluster.outer.retain(|&a| a != over[0]);
                            cluster.outer.push(over[0]);
                            cluster.fold = Some(over[0]);
                        }
                        cluster.nodes.push(id);
                    }
                    Body::Product(product) => product.epilogue.push(id),
                    Body::Ready(_) => unreachable!("a complete kernel takes no nodes"),
                }
                self.protos[index].nodes.push(id);
                if let Body::Product(product) = &self.protos[index].body {
                    let first = &product.operands[0];
                    let layout = first.row_axes.iter().chain(&first.matrix_axes).copied().collect();
                    self.layouts.insert(id, layout);
                }
                index
            }
            None => {
                let cluster = self.begin_fold(id, rows).unwrap_or_else(|| self.begin_cluster(id));
                if let Op::Index { .. } | Op::Place { .. } = node.op
                    && let Some(inner) = cluster.inner
                {
                    // What is read at computed positions stands in the order in which it is read.
                    self.layouts.insert(id, cluster.outer.iter().copied().chain([inner]).collect());
                }
                // Everything that the loop reads is to stand in a buffer before it.
                self.materialize(&inputs, None, rows);
                self.push(Body::Loop(cluster), rows, id, &[])
            }
        };
        self.home.insert(id, home);
        self.materialize(&inputs, Some(home), rows);
    }

    /// A loop for a node: along the axis that it reduces, else along its last.
    fn begin_cluster(&self, id: NodeId) -> Cluster {
        let node = self.graph.node(id);
        let is_rows = |a: &AxisId| self.graph.extent(*a) == Extent::Rows;
        let (outer, inner) = match &node.op {
            Op::Reduce { over, .. } => (node.axes.clone(), Some(over[0])),
            Op::Softmax { along } => {
                (node.axes.iter().copied().filter(|a| a != along).collect(), Some(*along))
            }
            Op::Index { .. } | Op::Place { .. } => {
                let inner = self.long_axis(&node.axes);
                (node.axes.iter().copied().filter(|a| Some(*a) != inner).collect(), inner)
            }
            _ => match node.axes.split_last() {
                Some((last, rest)) if !is_rows(last) => (rest.to_vec(), Some(*last)),
                _ => (node.axes.clone(), None),
            },
        };
        Cluster { outer, inner, fold: None, nodes: vec![id], copies: Vec::new() }
    }

    /// A loop that reduces along an outer axis, where vectors along another are what stands side by side.
    fn begin_fold(&mut self, id: NodeId, rows: Rows) -> Option<Cluster> {
        let node = self.graph.node(id);
        let Op::Reduce { over, .. } = &node.op else { return None };
        let (fold, from) = (over[0], node.inputs[0]);
        if self.is_immediate(from) || !self.can_fold(id) {
            return None;
        }
        let view = self.buffer_view(from, rows);
        let is_side_by_side = |a: &AxisId| {
            let is_long = self.graph.extent(*a).known().is_some_and(|n| n >= 8);
            is_long && view.stride(*a) == Stride::of(1)
        };
        let inner = node.axes.iter().copied().find(is_side_by_side)?;
        let outer = node.axes.iter().copied().filter(|&a| a != inner).chain([fold]).collect();
        Some(Cluster { outer, inner: Some(inner), fold: Some(fold), nodes: vec![id], copies: Vec::new() })
    }

    /// Whether a reduction may run along an outer axis: one number after the other, so not over too many.
    fn can_fold(&self, id: NodeId) -> bool {
        const MOST: usize = 1 << 16;
        match &self.graph.node(id).op {
            Op::Reduce { kind: Reduction::Argmax | Reduction::Argmin, .. } => false,
            Op::Reduce { over, .. } => {
                self.graph.extent(over[0]).known().is_some_and(|n| (1..=MOST).contains(&n))
            }
            _ => false,
        }
    }

    /// Whether a reduction can join a loop by folding along one of its outer axes.
    fn fits_fold(&self, cluster: &Cluster, id: NodeId) -> bool {
        let node = self.graph.node(id);
        let Op::Reduce { over, .. } = &node.op else { return false };
        let (fold, rest) = (over[0], &node.axes);
        let is_pointwise = |&n: &NodeId| {
            matches!(self.graph.node(n).op, Op::Map(_) | Op::Index { .. } | Op::Place { .. })
                || cluster.fold.is_some()
        };
        cluster.fold.unwrap_or(fold) == fold
            && cluster.inner.is_some()
            && cluster.outer.contains(&fold)
            && cluster.outer.len() == rest.len()
            && rest.iter().all(|&a| cluster.has(a) && a != fold)
            && cluster.nodes.iter().all(is_pointwise)
            && self.can_fold(id)
    }

    /// The axis to run along where any will do: the last, unless it is short and another much longer.
    fn long_axis(&self, axes: &[AxisId]) -> Option<AxisId> {
        const SHORT: usize = 16;
        let size = |a: &AxisId| self.graph.extent(*a).known();
        let last = *axes.last().filter(|a| self.graph.extent(**a) != Extent::Rows)?;
        let longest = axes.iter().copied().filter_map(|a| Some((size(&a)?, a))).max_by_key(|&(n, _)| n);
        match (size(&last), longest) {
            (Some(n), Some((most, longest))) if n < SHORT && most >= 4 * n => Some(longest),
            _ => Some(last),
        }
    }

    /// Gives every input that proto `home` does not itself compute a buffer.
    fn materialize(&mut self, inputs: &[NodeId], home: Option<usize>, rows: Rows) {
        for &input in inputs {
            let inside = home.is_some() && self.home.get(&input) == home.as_ref() && self.is_member(input);
            if !inside && !self.is_immediate(input) {
                self.buffer_view(input, rows);
            }
        }
    }

    /// Whether a node's value is in a register of its proto.
    fn is_member(&self, id: NodeId) -> bool {
        let Some(&home) = self.home.get(&id) else { return false };
        match &self.protos[home].body {
            // What is folded is there only after the loop.
            Body::Loop(cluster) => {
                let is_folded = cluster.fold.is_some() && matches!(self.graph.node(id).op, Op::Reduce { .. });
                cluster.nodes.contains(&id) && !is_folded
            }
            Body::Product(product) => {
                product.epilogue.contains(&id) || product.operands.iter().any(|o| o.node == id)
            }
            Body::Ready(_) => false,
        }
    }

    /// The first proto that a node can join.
    fn joinable(&mut self, id: NodeId, rows: Rows) -> Option<usize> {
        let inputs = self.graph.node(id).inputs.clone();
        // For each input the proto whose register holds it, and the proto after which it can be read.
        let mut waits: Vec<(Option<usize>, isize)> = Vec::new();
        for input in inputs {
            if self.is_immediate(input) {
                continue;
            }
            if self.rows(input) == rows && self.is_member(input) {
                let home = self.home[&input];
                waits.push((Some(home), home as isize));
            } else {
                let view = self.buffer_view(input, rows);
                waits.push((None, self.ready_for(&view, rows)));
            }
        }
        let first = waits
            .iter()
            .map(|&(register, written)| if register.is_some() { written } else { written + 1 })
            .max();
        let first = first.unwrap_or(0).max(0) as usize;
        let group = self.order.group[id.0 as usize];
        (first..self.protos.len()).find(|&index| {
            let proto = &self.protos[index];
            let ready =
                waits.iter().all(|&(register, written)| register == Some(index) || written < index as isize);
            ready && proto.rows == rows && proto.group == group && self.fits(index, id)
        })
    }

    /// Whether a node can be computed in a proto's loop.
    fn fits(&self, index: usize, id: NodeId) -> bool {
        let node = self.graph.node(id);
        match &self.protos[index].body {
            Body::Loop(cluster) => {
                let count = cluster.outer.len() + usize::from(cluster.inner.is_some());
                let vector = node.axes.len() == count && node.axes.iter().all(|&a| cluster.has(a));
                let scalar = node.axes.len() == cluster.outer.len()
                    && node.axes.iter().all(|a| cluster.outer.contains(a));
                match &node.op {
                    _ if !cluster.copies.is_empty() => false,
                    Op::Reduce { .. } if self.fits_fold(cluster, id) => true,
                    Op::Reduce { .. } | Op::Softmax { .. } if cluster.fold.is_some() => false,
                    Op::Reduce { over, .. } => scalar && cluster.inner == Some(over[0]),
                    Op::Softmax { along } => vector && cluster.inner == Some(*along),
                    Op::Map(_) => vector || scalar,
                    _ => vector,
                }
            }
            Body::Product(product) => {
                // It must spare a buffer: that of a product, or of a pointwise value that no one else reads.
                let spares = |i: &NodeId| {
                    let own = product.operands.iter().any(|o| o.node == *i);
                    own || (product.epilogue.contains(i) && self.order.readers[i.0 as usize] == 1)
                };
                matches!(node.op, Op::Map(_))
                    && node.inputs.iter().any(spares)
                    && self.fits_epilogue(index, product, id)
            }
            Body::Ready(_) => false,
        }
    }

    /// Whether a pointwise node can follow the products: all have its axes, and what it reads besides has them in strides.
    fn fits_epilogue(&self, index: usize, product: &Product, id: NodeId) -> bool {
        let first = &product.operands[0];
        let same = |axes: &[AxisId]| {
            axes.len() == first.row_axes.len() + first.matrix_axes.len()
                && axes.iter().all(|a| first.row_axes.contains(a) || first.matrix_axes.contains(a))
        };
        let node = self.graph.node(id);
        let products = product
            .operands
            .iter()
            .all(|o| o.row_axes == first.row_axes && o.matrix_axes == first.matrix_axes);
        let operands = node.inputs.iter().all(|i| match self.graph.node(*i).op {
            Op::Const(_) => true,
            _ if self.home.get(i) == Some(&index) => true,
            _ if self.is_immediate(*i) => false,
            _ => {
                let view = self.strides(*i);
                view.merged_stride(self.graph, &first.row_axes).is_some()
                    && view.merged_stride(self.graph, &first.matrix_axes).is_some()
            }
        });
        same(&node.axes) && products && operands
    }

    /// The strides that a node's value has or will have; which buffer it stands in is left open.
    fn strides(&self, id: NodeId) -> View {
        self.views.get(&id).cloned().unwrap_or_else(|| {
            let axes = self.layouts.get(&id).unwrap_or(&self.graph.node(id).axes);
            View::dense(self.graph, Source::Buffer(BufferId(0)), axes)
        })
    }

    /// A value that is put together from pieces: each is stored by whoever computes it.
    pub(super) fn assign_interleaved(&mut self, id: NodeId) {
        let rows = self.rows(id);
        let interleaved = self.patterns.interleaved[&id].clone();
        let buffer = self.own_buffer(id);
        let whole = View::dense(self.graph, Source::Buffer(buffer), &self.graph.node(id).axes);
        let mut last = 0;
        for piece in interleaved.pieces {
            let map = tl_ir::AffineMap::of(piece.axis, piece.stride, piece.offset);
            let target = whole.clone().index(self.graph, interleaved.into, &map).expect("pieces lie inside");
            let in_loop = self.is_member(piece.node)
                && matches!(self.protos[self.home[&piece.node]].body, Body::Loop(_))
                && self.rows(piece.node) == rows
                && self.order.group[piece.node.0 as usize] == self.order.group[id.0 as usize];
            if in_loop {
                self.sinks.entry(piece.node).or_default().push(target);
                last = last.max(self.home[&piece.node]);
            } else {
                let from = self.buffer_view(piece.node, rows);
                self.copy_view(from, target, id, rows);
                last = self.protos.len() - 1;
            }
        }
        self.ready[buffer.index()] = self.ready[buffer.index()].max(last as isize);
        self.protos[last].nodes.push(id);
    }

    /// Where a read at computed positions reads from: the input without the axis that is computed.
    fn note_source(&mut self, id: NodeId) {
        let rows = self.rows(id);
        let node = self.graph.node(id);
        let view = match self.derived.reads.get(&id) {
            Some(&store) => self.recall_all(store, id),
            None => self.buffer_view(node.inputs[0], rows),
        };
        self.sources.insert(id, view);
    }
}
