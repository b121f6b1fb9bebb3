//! Joins: products with matrices, attention, gathers, and everything else as a loop over all axes.

use tl_ir::{AffineMap, AxisId, Extent, NodeId, Op};
use tl_tensor::DType;

use super::loops::Cluster;
use super::order::Rows;
use super::view::{View, dim};
use super::{Body, Planner};
use crate::kernel::{
    Access, Attention, BufferId, Dim, Einsum, Gather, Kernel, Scatter, Source, StoreId, StoredRows, Stride,
};

/// Products that share their left operand, and the pointwise nodes that follow them.
pub(super) struct Product {
    pub input: BufferId,
    pub k: usize,
    pub operands: Vec<Operand>,
    /// Pointwise nodes over the axes of the products.
    pub epilogue: Vec<NodeId>,
}

/// The shorter and the longer side of a product of dense tensors, at least, for it to need no matrix.
const LEAST_SIDES: (usize, usize) = (4, 16);

/// One product.
pub(super) struct Operand {
    pub node: NodeId,
    pub source: Source,
    pub n: usize,
    /// The axes of a product's value: those of the rows, then those of the matrix.
    pub row_axes: Vec<AxisId>,
    pub matrix_axes: Vec<AxisId>,
}

/// A join as a matrix product: which operand is the matrix, and the order of the axes.
struct Form {
    left: NodeId,
    matrix: NodeId,
    row_axes: Vec<AxisId>,
    matrix_axes: Vec<AxisId>,
    summed: Vec<AxisId>,
}

impl Planner<'_> {
    /// A join of two values.
    pub(super) fn assign_join(&mut self, id: NodeId) {
        match self.product_form(id) {
            Some(form) => self.assign_product(id, form),
            None => self.assign_einsum(id),
        }
    }

    /// The join as rows times a matrix, if one operand has no rows and the operands share no axis but the summed ones.
    fn product_form(&self, id: NodeId) -> Option<Form> {
        let node = self.graph.node(id);
        let Op::Contract { sum } = &node.op else { return None };
        let &[a, b] = &node.inputs[..] else { return None };
        let axes = |n: NodeId| &self.graph.node(n).axes;
        let streams = |n: NodeId| axes(n).iter().any(|&x| self.graph.extent(x).is_stream());
        let shared = axes(a).iter().any(|x| axes(b).contains(x) && !sum.contains(x));
        if shared || sum.iter().any(|&s| self.graph.extent(s).is_stream()) {
            return None;
        }
        let is_weight = |n| matches!(self.underlying(n), Op::Weight(_));
        let (left, matrix) = match (streams(a), streams(b)) {
            (true, true) => return None,
            (true, false) => (a, b),
            (false, true) => (b, a),
            // Without rows, the operand that does not change is the matrix.
            (false, false) if is_weight(a) && !is_weight(b) => (b, a),
            (false, false) => (a, b),
        };
        let summed_in = |n: NodeId| sum.iter().all(|s| axes(n).contains(s));
        if !summed_in(left) || !summed_in(matrix) {
            return None;
        }
        let rest =
            |n: NodeId| -> Vec<AxisId> { axes(n).iter().copied().filter(|x| !sum.contains(x)).collect() };
        // Two dense tensors are multiplied where they stand, in any order of axes. What is nearly a vector is better laid out as a matrix.
        let size =
            |n: NodeId| rest(n).iter().filter_map(|&a| self.graph.extent(a).known()).product::<usize>();
        let is_encoded = |n| match self.underlying(n) {
            Op::Weight(id) => {
                self.graph.weight_info(*id).tensor.as_ref().is_none_or(|t| t.dtype() != DType::F32)
            }
            _ => false,
        };
        let dense = !streams(a) && !streams(b) && !is_encoded(a) && !is_encoded(b);
        if dense && size(a).min(size(b)) >= LEAST_SIDES.0 && size(a).max(size(b)) >= LEAST_SIDES.1 {
            return None;
        }
        Some(Form { left, matrix, row_axes: rest(left), matrix_axes: rest(matrix), summed: sum.clone() })
    }

    /// The op that a node looks at through views.
    fn underlying(&self, mut id: NodeId) -> &Op {
        loop {
            let node = self.graph.node(id);
            match node.op {
                Op::Relabel(_) | Op::Split { .. } | Op::Merge { .. } => id = node.inputs[0],
                _ => return &node.op,
            }
        }
    }

    fn assign_product(&mut self, id: NodeId, mut form: Form) {
        let rows = self.rows(id);
        let matrix_rows = self.rows(form.matrix);
        let view = self.view(form.matrix, matrix_rows);
        // The order of the axes in the matrix's memory is the order of the contraction and of the result.
        let slowest_first =
            |axes: &mut Vec<AxisId>| axes.sort_by_key(|&a| std::cmp::Reverse(view.stride(a).step));
        slowest_first(&mut form.matrix_axes);
        slowest_first(&mut form.summed);
        let order: Vec<AxisId> = form.matrix_axes.iter().chain(&form.summed).copied().collect();
        let source = if self.is_whole(&view, &order) {
            view.source
        } else {
            Source::Buffer(self.dense_buffer(form.matrix, &order, matrix_rows))
        };
        let input_order: Vec<AxisId> = form.row_axes.iter().chain(&form.summed).copied().collect();
        let input = self.dense_buffer(form.left, &input_order, rows);
        let size =
            |axes: &[AxisId]| axes.iter().filter_map(|&a| self.graph.extent(a).known()).product::<usize>();
        let (k, n) = (size(&form.summed), size(&form.matrix_axes));
        let layout = form.row_axes.iter().chain(&form.matrix_axes).copied().collect();
        let operand = Operand { node: id, source, n, row_axes: form.row_axes, matrix_axes: form.matrix_axes };
        self.layouts.insert(id, layout);
        let after = match source {
            Source::Buffer(b) => self.ready_in(self.ready[b.index()], rows),
            Source::Weight(_) => -1,
        };
        let home = match self.joinable_product(input, k, &operand, rows, after, id) {
            Some(index) => {
                let Body::Product(product) = &mut self.protos[index].body else {
                    unreachable!("a product was found")
                };
                product.operands.push(operand);
                self.protos[index].nodes.push(id);
                index
            }
            None => {
                let product = Product { input, k, operands: vec![operand], epilogue: Vec::new() };
                self.push(Body::Product(product), rows, id, &[])
            }
        };
        self.home.insert(id, home);
    }

    /// A product with the same left operand that this one can join.
    fn joinable_product(
        &self,
        input: BufferId,
        k: usize,
        operand: &Operand,
        rows: Rows,
        after: isize,
        id: NodeId,
    ) -> Option<usize> {
        let group = self.order.group[id.0 as usize];
        self.protos.iter().enumerate().position(|(index, proto)| match &proto.body {
            Body::Product(p) => {
                let same = p.input == input && p.k == k && proto.rows == rows && proto.group == group;
                // What follows the products runs through the axes of the first, so all must have the same.
                let alike =
                    |o: &Operand| (&o.row_axes, &o.matrix_axes) == (&operand.row_axes, &operand.matrix_axes);
                let fits = p.epilogue.is_empty() || p.operands.iter().all(alike);
                same && fits && (index as isize) > after
            }
            _ => false,
        })
    }

    /// A join that is no product with a matrix: a loop over all axes.
    fn assign_einsum(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let rows = self.rows(id);
        let Op::Contract { sum } = &node.op else { unreachable!("a join") };
        let axes: Vec<AxisId> = node.axes.iter().chain(sum).copied().collect();
        let inputs: Vec<(NodeId, View)> =
            node.inputs.iter().map(|&i| (i, self.buffer_view(i, rows))).collect();
        let operands = inputs.iter().map(|(_, view)| access(view, &axes, None)).collect();
        let row_dim = if rows == Rows::Wanted { Dim::Wanted } else { Dim::Rows };
        let home = self.protos.len();
        self.home.insert(id, home);
        let layout = self.join_layout(id);
        self.layouts.insert(id, layout.clone());
        let buffer = self.own_buffer(id);
        let out = access(&View::dense(self.graph, Source::Buffer(buffer), &layout), &node.axes, None);
        let dims = self.dims(&axes, row_dim);
        let kernel = Kernel::Einsum(Einsum { axes: dims, kept: node.axes.len(), operands, out });
        self.push_ready(kernel, rows, id, &[buffer]);
    }

    /// In which order the axes of a join's result stand: as they are asked for, or so that the axes of the operand that brings fewer positions come last
    /// and what it brings stands side by side.
    fn join_layout(&self, id: NodeId) -> Vec<AxisId> {
        let node = self.graph.node(id);
        let own = &node.axes;
        if own.iter().any(|&axis| self.graph.extent(axis).known().is_none()) {
            return own.clone();
        }
        if let Some(output) = self.graph.outputs().iter().find(|output| output.node == id) {
            let is_order = output.axes.len() == own.len() && own.iter().all(|a| output.axes.contains(a));
            return if is_order { output.axes.clone() } else { own.clone() };
        }
        let &[a, b] = &node.inputs[..] else { return own.clone() };
        let brings = |n: NodeId, other: NodeId| -> Vec<AxisId> {
            let (of, beside) = (&self.graph.node(n).axes, &self.graph.node(other).axes);
            own.iter().copied().filter(|axis| of.contains(axis) && !beside.contains(axis)).collect()
        };
        let size =
            |axes: &[AxisId]| axes.iter().filter_map(|&a| self.graph.extent(a).known()).product::<usize>();
        let (of_a, of_b) = (brings(a, b), brings(b, a));
        let shared = own.iter().copied().filter(|axis| !of_a.contains(axis) && !of_b.contains(axis));
        let (first, last) = if size(&of_a) >= size(&of_b) { (&of_a, &of_b) } else { (&of_b, &of_a) };
        shared.chain(first.iter().copied()).chain(last.iter().copied()).collect()
    }

    pub(super) fn assign_gather(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let rows = self.rows(id);
        let Op::Gather { along } = node.op else { unreachable!("a gather") };
        let (table, index) = (node.inputs[0], node.inputs[1]);
        let index_axes = self.graph.node(index).axes.clone();
        let mut rest: Vec<AxisId> =
            self.graph.node(table).axes.iter().copied().filter(|&a| a != along).collect();
        let table_rows = self.rows(table);
        let view = self.view(table, table_rows);
        rest.sort_by_key(|&a| std::cmp::Reverse(view.stride(a).step));
        let order: Vec<AxisId> = std::iter::once(along).chain(rest.iter().copied()).collect();
        let source = if self.is_whole(&view, &order) {
            view.source
        } else {
            Source::Buffer(self.dense_buffer(table, &order, table_rows))
        };
        let index = self.dense_buffer(index, &index_axes, rows);
        self.layouts.insert(id, index_axes.iter().chain(&rest).copied().collect());
        let size = |axes: &[AxisId]| axes.iter().filter_map(|&a| self.graph.extent(a).known()).product();
        let (limit, width) = (size(&[along]), size(&rest));
        self.home.insert(id, self.protos.len());
        let out = self.own_buffer(id);
        let kernel = Kernel::Gather(Gather { table: source, rows: limit, width, index, out });
        self.push_ready(kernel, rows, id, &[out]);
    }

    pub(super) fn assign_scatter(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let rows = self.rows(id);
        let Op::Scatter { kind, over, into } = &node.op else { unreachable!("a scatter") };
        let (value, positions) = (node.inputs[0], node.inputs[1]);
        let rest: Vec<AxisId> = node.axes.iter().copied().filter(|a| a != into).collect();
        let order: Vec<AxisId> = over.iter().chain(&rest).copied().collect();
        let view = self.buffer_view(value, rows);
        let value = match view.source {
            Source::Buffer(buffer) if self.is_whole(&view, &order) => buffer,
            _ => self.dense_buffer(value, &order, rows),
        };
        let positions = self.dense_buffer(positions, over, rows);
        let size = |axes: &[AxisId]| axes.iter().filter_map(|&a| self.graph.extent(a).known()).product();
        let (count, width, size) = (size(over), size(&rest), size(&[*into]));
        self.home.insert(id, self.protos.len());
        let out = self.own_buffer(id);
        let kernel = Kernel::Scatter(Scatter { kind: *kind, value, positions, count, width, size, out });
        self.push_ready(kernel, rows, id, &[out]);
    }

    /// Stored rows at fixed distances.
    pub(super) fn assign_recall(&mut self, id: NodeId, taps: Vec<i64>) {
        let rows = self.rows(id);
        let store = StoreId(self.derived.reads[&id] as u32);
        self.home.insert(id, self.protos.len());
        let out = self.own_buffer(id);
        self.push_ready(Kernel::Recall { store, taps, out }, rows, id, &[out]);
    }

    /// The distances of a read `x[p + j…]` with static `j`, in the order of the value's axes; `None` if it is no such read.
    pub(super) fn taps(&self, axis: AxisId, map: &AffineMap, axes: &[AxisId]) -> Option<Vec<i64>> {
        let row = map.terms.iter().find(|(a, _)| self.graph.extent(*a) == Extent::Rows)?;
        let statics: Vec<AxisId> =
            axes.iter().copied().filter(|&a| a != row.0 && map.terms.iter().any(|t| t.0 == a)).collect();
        // The taps' axes directly follow the rows, and the stored tensor's own follow them.
        let placed = axes[1..].iter().zip(&statics).all(|(a, s)| a == s);
        if row.1 != 1 || map.divisor != 1 || !placed || axes[0] != row.0 || row.0 != axis {
            return None;
        }
        let mut taps = vec![map.offset];
        for &a in &statics {
            let (n, c) = (self.graph.extent(a).known()?, map.terms.iter().find(|t| t.0 == a)?.1);
            taps = taps.iter().flat_map(|&base| (0..n as i64).map(move |i| base + c * i)).collect();
        }
        Some(taps)
    }

    pub(super) fn assign_attention(&mut self, id: NodeId) {
        let found = self.patterns.attention[&id].clone();
        let rows = self.rows(id);
        let parts = found.parts(self.graph);
        let size =
            |axes: &[AxisId]| axes.iter().filter_map(|&a| self.graph.extent(a).known()).product::<usize>();
        let query = self.buffer_view(found.query, rows);
        let stored = |node: NodeId, read: NodeId, width: &[AxisId]| {
            let axes = &self.graph.node(node).axes;
            let view = View::dense(self.graph, Source::Buffer(BufferId(0)), axes);
            // A read may give every axis another name, not the stream's alone.
            let view = match &self.graph.node(read).op {
                Op::Relabel(pairs) => view.relabel(pairs),
                _ => view,
            };
            let store = self
                .derived
                .stored
                .iter()
                .position(|s| s.node == node)
                .expect("keys and values are remembered");
            StoredRows {
                store: StoreId(store as u32),
                head_stride: parts.heads.first().map_or(0, |&h| view.stride(h).step),
                stride: view.stride(width[0]).step,
            }
        };
        let (key, value) = (
            stored(found.key, found.key_read, &parts.key),
            stored(found.value, found.value_read, &parts.value),
        );
        for &operand in &found.operands {
            self.buffer_view(operand, rows);
        }
        let map = self.score_map(&found, &parts.outer, rows);
        let layout: Vec<AxisId> = parts.outer.iter().chain(&parts.value).copied().collect();
        self.layouts.insert(id, layout.clone());
        self.home.insert(id, self.protos.len());
        let out = self.own_buffer(id);
        let outer = Outer { rows: &parts.rows, heads: &parts.heads, queries: &parts.queries };
        let kernel = Kernel::Attention(Attention {
            heads: size(&parts.heads),
            queries: size(&parts.queries),
            key_width: size(&parts.key),
            value_width: size(&parts.value),
            query: outer.access(&query, parts.key[0]),
            key,
            value,
            window: (found.window.lo, found.window.hi.expect("a match is causal")),
            map,
            out: outer.access(&View::dense(self.graph, Source::Buffer(out), &layout), parts.value[0]),
        });
        self.push_ready(kernel, rows, id, &[out]);
    }

    /// A loop that copies a node's value into another layout.
    pub(super) fn copy(&mut self, from: NodeId, to: View, reader: NodeId) {
        let rows = self.rows(reader);
        let view = self.buffer_view(from, rows);
        self.home.insert(reader, self.protos.len());
        self.copy_view(view, to, reader, rows);
    }

    pub(super) fn copy_view(&mut self, from: View, to: View, reader: NodeId, rows: Rows) {
        let Source::Buffer(target) = to.source else { unreachable!("a copy goes to a buffer") };
        let mut axes: Vec<AxisId> = to.axes.iter().map(|&(a, _)| a).collect();
        let is_rows = |a: &AxisId| self.graph.extent(*a) == Extent::Rows;
        axes.sort_by_key(|a| (!is_rows(a), std::cmp::Reverse((to.stride(*a).of_stream, to.stride(*a).step))));
        let inner = axes.last().copied().filter(|a| !is_rows(a));
        if inner.is_some() {
            axes.pop();
        }
        let cluster = Cluster { outer: axes, inner, fold: None, nodes: Vec::new(), copies: vec![(from, to)] };
        self.push(Body::Loop(cluster), rows, reader, &[target]);
    }
}

/// The axes of an attention's outer loops, each of which may be missing.
struct Outer<'a> {
    rows: &'a [AxisId],
    heads: &'a [AxisId],
    queries: &'a [AxisId],
}

impl Outer<'_> {
    fn access(&self, view: &View, inner: AxisId) -> Access {
        let stride = |axes: &[AxisId]| axes.first().map_or(Stride::of(0), |&a| view.stride(a));
        let outer = vec![stride(self.rows), stride(self.heads), stride(self.queries)];
        Access { buffer: buffer_of(view), offset: view.offset, outer, inner: view.stride(inner) }
    }
}

/// How a loop over the axes `outer` and `inner` reads or writes a view.
pub(super) fn access(view: &View, outer: &[AxisId], inner: Option<AxisId>) -> Access {
    Access {
        buffer: buffer_of(view),
        offset: view.offset,
        outer: outer.iter().map(|&a| view.stride(a)).collect(),
        inner: inner.map_or(Stride::of(0), |a| view.stride(a)),
    }
}

fn buffer_of(view: &View) -> BufferId {
    match view.source {
        Source::Buffer(buffer) => buffer,
        Source::Weight(_) => unreachable!("a loop reads buffers"),
    }
}

/// The dimensions of a loop.
pub(super) fn loop_dims(graph: &tl_ir::Graph, axes: &[AxisId], rows: Rows) -> Vec<Dim> {
    let row_dim = if rows == Rows::Wanted { Dim::Wanted } else { Dim::Rows };
    axes.iter().map(|&a| dim(graph, a, row_dim)).collect()
}
