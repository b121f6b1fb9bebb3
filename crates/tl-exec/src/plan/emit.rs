//! Writing tapes: the nodes of a loop, of a product's epilogue or of an attention's score map as straight-line programs.

use std::collections::HashMap;

use tl_ir::{AxisId, Extent, NodeId, Op};

use super::attention::Match;
use super::loops::Cluster;
use super::order::Rows;
use super::products::{Product, access, loop_dims};
use super::view::{View, dim};
use super::{Planner, Proto};
use crate::kernel::{
    Access, Dim, Epilogue, Fold, Instr, Kernel, Loop, MatMul, MatWeight, Position, Reg, ScoreMap, Source,
    Stride, Tape,
};

/// A tape that is being written, over loops of known axes.
struct Writer {
    /// The axes of each outer loop: several where they are run through as one.
    outer: Vec<Vec<AxisId>>,
    inner: Vec<AxisId>,
    rows: Rows,
    tape: Tape,
    /// The registers of values.
    regs: HashMap<NodeId, Reg>,
    constants: HashMap<u32, Reg>,
}

impl Writer {
    fn new(outer: Vec<Vec<AxisId>>, inner: Vec<AxisId>, rows: Rows) -> Self {
        Self { outer, inner, rows, tape: Tape::default(), regs: HashMap::new(), constants: HashMap::new() }
    }

    fn vector(&mut self) -> Reg {
        self.tape.vectors += 1;
        Reg::Vector(self.tape.vectors - 1)
    }

    fn scalar(&mut self) -> Reg {
        self.tape.scalars += 1;
        Reg::Scalar(self.tape.scalars - 1)
    }

    /// A register for a value with these axes.
    fn register(&mut self, axes: &[AxisId]) -> Reg {
        if axes.iter().any(|a| self.inner.contains(a)) { self.vector() } else { self.scalar() }
    }

    fn push(&mut self, instr: Instr) {
        self.tape.instrs.push(instr);
    }
}

impl Planner<'_> {
    pub(super) fn emit_loop(&mut self, cluster: &Cluster, rows: Rows) -> Kernel {
        let outer = cluster.outer.iter().map(|&a| vec![a]).collect();
        let mut writer = Writer::new(outer, cluster.inner.into_iter().collect(), rows);
        for &id in &cluster.nodes {
            match &self.graph.node(id).op {
                // Its value is there when the loop has come to its end.
                Op::Reduce { kind, .. } if cluster.fold.is_some() => {
                    let from = self.operand(&mut writer, self.graph.node(id).inputs[0]);
                    let fold = Fold { kind: *kind, axis: cluster.outer.len() as u16 - 1 };
                    self.emit_stores(&mut writer, id, from, Some(fold));
                }
                _ => {
                    let reg = self.emit_node(&mut writer, id);
                    writer.regs.insert(id, reg);
                    self.emit_stores(&mut writer, id, reg, None);
                }
            }
        }
        for (from, to) in &cluster.copies {
            let into = if cluster.inner.is_some() { writer.vector() } else { writer.scalar() };
            let (from, to) =
                (access(from, &cluster.outer, cluster.inner), access(to, &cluster.outer, cluster.inner));
            writer.push(Instr::Load { into, from });
            writer.push(Instr::Store { from: into, to, fold: None });
        }
        let outer = loop_dims(self.graph, &cluster.outer, rows);
        let inner = cluster.inner.map_or(Dim::Static(1), |a| loop_dims(self.graph, &[a], rows)[0]);
        writer.tape.prune();
        writer.tape.compact(0);
        let mut kernel = Loop { outer, inner, tape: writer.tape };
        while kernel.merge_inner() {}
        Kernel::Loop(kernel)
    }

    pub(super) fn emit_product(&mut self, product: &Product, rows: Rows) -> Kernel {
        let weights = product.operands.iter().map(|o| MatWeight { source: o.source, n: o.n }).collect();
        let (outs, epilogue) = if product.epilogue.is_empty() {
            (product.operands.iter().map(|o| self.own_buffer(o.node)).collect(), None)
        } else {
            let first = &product.operands[0];
            let mut writer = Writer::new(vec![first.row_axes.clone()], first.matrix_axes.clone(), rows);
            for operand in &product.operands {
                let reg = writer.vector();
                writer.regs.insert(operand.node, reg);
            }
            for operand in &product.operands {
                let reg = writer.regs[&operand.node];
                self.emit_stores(&mut writer, operand.node, reg, None);
            }
            for &id in &product.epilogue {
                let reg = self.emit_node(&mut writer, id);
                writer.regs.insert(id, reg);
                self.emit_stores(&mut writer, id, reg, None);
            }
            writer.tape.compact(product.operands.len() as u16);
            (Vec::new(), Some(Epilogue { tape: writer.tape }))
        };
        Kernel::MatMul(MatMul { input: product.input, k: product.k, weights, outs, epilogue })
    }

    /// What becomes of the scores of an attention, if anything does.
    pub(super) fn score_map(&mut self, found: &Match, outer: &[AxisId], rows: Rows) -> Option<ScoreMap> {
        let parts = found.parts(self.graph);
        debug_assert_eq!(outer, &parts.outer[..]);
        let mut writer = Writer::new(vec![parts.rows, parts.heads, parts.queries], vec![found.along], rows);
        let scores = writer.vector();
        writer.regs.insert(found.scores, scores);
        let dropped = found.redundant_guard(self.graph);
        let result = if dropped { self.graph.node(found.result).inputs[1] } else { found.result };
        let needed = needed_for(self.graph, &found.map, result);
        for &id in found.map.iter().filter(|id| needed.contains(id)) {
            let reg = self.emit_node(&mut writer, id);
            writer.regs.insert(id, reg);
        }
        if result == found.scores {
            return None;
        }
        let result = writer.regs[&result];
        let result = writer.tape.compact_keeping(1, result);
        Some(ScoreMap { tape: writer.tape, result })
    }

    fn emit_node(&mut self, writer: &mut Writer, id: NodeId) -> Reg {
        let node = self.graph.node(id);
        match &node.op {
            Op::Map(scalar) => {
                let args: Vec<Reg> = node.inputs.iter().map(|&i| self.operand(writer, i)).collect();
                let at = |i: usize| args.get(i).copied().unwrap_or(args[0]);
                // A product of one column is a vector of one value that has no axis.
                let vector = args.iter().any(|a| matches!(a, Reg::Vector(_)));
                let into = if vector { writer.vector() } else { writer.register(&node.axes) };
                writer.push(Instr::Map { scalar: *scalar, into, args: [at(0), at(1), at(2)] });
                into
            }
            Op::Reduce { kind, .. } => {
                let from = self.operand(writer, node.inputs[0]);
                let into = writer.scalar();
                writer.push(Instr::Reduce { kind: *kind, into, from });
                into
            }
            Op::Softmax { .. } => {
                let from = self.operand(writer, node.inputs[0]);
                let into = writer.vector();
                writer.push(Instr::Softmax { into, from });
                into
            }
            Op::Iota => self.emit_index(writer, node.axes[0]),
            Op::Index { .. } | Op::Place { .. } => self.emit_load_at(writer, id),
            op => unreachable!("{op:?} is not computed in a loop"),
        }
    }

    /// The register of a value: computed before, or loaded now.
    fn operand(&mut self, writer: &mut Writer, id: NodeId) -> Reg {
        if let Some(&reg) = writer.regs.get(&id) {
            return reg;
        }
        let node = self.graph.node(id);
        let reg = match &node.op {
            Op::Const(bits) => {
                let value = f64::from_bits(*bits) as f32;
                if let Some(&reg) = writer.constants.get(&value.to_bits()) {
                    return reg;
                }
                let into = writer.scalar();
                writer.push(Instr::Const { into, value });
                writer.constants.insert(value.to_bits(), into);
                into
            }
            Op::Iota if self.graph.extent(node.axes[0]) != Extent::Rows => {
                self.emit_index(writer, node.axes[0])
            }
            Op::Relabel(_) if self.is_index_of(id, writer) => self.emit_index(writer, node.axes[0]),
            Op::Map(_) if self.is_cheaper_anew(id) => self.emit_node(writer, id),
            _ => {
                let view = self.buffer_view(id, writer.rows);
                let into = writer.register(&node.axes);
                let from = self.access_in(&view, writer);
                writer.push(Instr::Load { into, from });
                into
            }
        };
        writer.regs.insert(id, reg);
        reg
    }

    /// Whether a node is the index of the inner axis under another name.
    fn is_index_of(&self, id: NodeId, writer: &Writer) -> bool {
        let node = self.graph.node(id);
        matches!(self.graph.node(node.inputs[0]).op, Op::Iota) && writer.inner == node.axes
    }

    fn emit_index(&mut self, writer: &mut Writer, axis: AxisId) -> Reg {
        if writer.inner == [axis] {
            let into = writer.vector();
            writer.push(Instr::InnerIndex { into });
            return into;
        }
        let outer =
            writer.outer.iter().position(|axes| axes[..] == [axis]).expect("an index is of a loop's axis");
        let into = writer.scalar();
        writer.push(Instr::OuterIndex { into, axis: outer as u16 });
        into
    }

    fn emit_load_at(&mut self, writer: &mut Writer, id: NodeId) -> Reg {
        let node = self.graph.node(id);
        let mut view = self.sources[&id].clone();
        let (axis, terms, offset, divisor, exact) = match &node.op {
            Op::Index { axis, map } => (*axis, map.terms.clone(), map.offset, map.divisor, false),
            Op::Place { axis, into, stride, offset } => (*axis, vec![(*into, 1)], -offset, *stride, true),
            op => unreachable!("{op:?} does not read at computed positions"),
        };
        let stride = view.stride(axis);
        view.axes.retain(|(a, _)| *a != axis);
        let coefficient = |a: &AxisId| terms.iter().find(|(t, _)| t == a).map_or(0, |t| t.1);
        // Stored rows stand by position, under the row's own axis.
        let limit = match dim(self.graph, axis, Dim::Rows) {
            Dim::Rows => Dim::Stream,
            other => other,
        };
        let position = Position {
            outer: writer.outer.iter().map(|axes| coefficient(&axes[0])).collect(),
            inner: writer.inner.first().map_or(0, coefficient),
            offset,
            divisor,
            exact,
            limit,
            stride,
        };
        let into = writer.register(&node.axes);
        let from = self.access_in(&view, writer);
        writer.push(Instr::LoadAt { into, from, at: vec![position] });
        into
    }

    fn emit_stores(&mut self, writer: &mut Writer, id: NodeId, reg: Reg, fold: Option<Fold>) {
        let axes = self.layouts.get(&id).unwrap_or(&self.graph.node(id).axes).clone();
        let own = self.buffers.get(&id).map(|&b| View::dense(self.graph, Source::Buffer(b), &axes));
        let sinks = self.sinks.get(&id).cloned().unwrap_or_default();
        for view in own.into_iter().chain(sinks) {
            let to = self.access_in(&view, writer);
            writer.push(Instr::Store { from: reg, to, fold });
        }
    }

    /// How the writer's loops read or write a view. Axes that are run through as one are one in the view, too.
    fn access_in(&self, view: &View, writer: &Writer) -> Access {
        let stride = |axes: &[AxisId]| {
            view.merged_stride(self.graph, axes).expect("axes that are run through as one are one")
        };
        let single = |axes: &Vec<AxisId>| match axes[..] {
            [] => Stride::of(0),
            [axis] => view.stride(axis),
            _ => stride(axes),
        };
        let Source::Buffer(buffer) = view.source else { unreachable!("a tape reads buffers") };
        Access {
            buffer,
            offset: view.offset,
            outer: writer.outer.iter().map(single).collect(),
            inner: single(&writer.inner),
        }
    }
}

impl Loop {
    /// Runs through the last outer axis and the inner one as one, if the elements of every tensor go on from one to the other and no
    /// instruction asks where it is; whether that was so.
    fn merge_inner(&mut self) -> bool {
        let (Some(&Dim::Static(outer)), Dim::Static(inner)) = (self.outer.last(), self.inner) else {
            return false;
        };
        let goes_on = |reg: &Reg, access: &Access| {
            let (last, step) = (access.outer[self.outer.len() - 1], access.inner);
            let expected = if matches!(reg, Reg::Scalar(_)) { 0 } else { step.step * inner };
            !last.of_stream && !step.of_stream && last.step == expected
        };
        let fits = |instr: &Instr| match instr {
            Instr::Load { into, from } => goes_on(into, from),
            Instr::Store { from, to, fold: None } => goes_on(from, to),
            Instr::Const { .. } | Instr::Map { .. } => true,
            Instr::OuterIndex { axis, .. } => usize::from(*axis) + 1 < self.outer.len(),
            _ => false,
        };
        if !self.tape.instrs.iter().all(fits) {
            return false;
        }
        for instr in &mut self.tape.instrs {
            match instr {
                Instr::Load { from: access, .. } | Instr::Store { to: access, .. } => _ = access.outer.pop(),
                _ => {}
            }
        }
        self.outer.pop();
        self.inner = Dim::Static(outer * inner);
        true
    }
}

impl Proto {
    /// The names of the tensors that it computes.
    pub(super) fn label(&self, graph: &tl_ir::Graph) -> String {
        let mut names: Vec<&str> = Vec::new();
        for name in self.nodes.iter().filter_map(|&n| graph.node(n).name.as_deref()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(", ")
    }
}

/// Which of the nodes the result needs.
fn needed_for(graph: &tl_ir::Graph, nodes: &[NodeId], result: NodeId) -> Vec<NodeId> {
    let mut needed = vec![result];
    for &id in nodes.iter().rev() {
        if needed.contains(&id) {
            needed.extend(&graph.node(id).inputs);
        }
    }
    needed
}
