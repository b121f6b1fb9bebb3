//! The last stage: protos become steps, scans and sequences are bracketed, results get their buffers.

use tl_ir::Extent;

use super::order::Rows;
use super::{Body, Planner};
use crate::kernel::{BufferId, Dim, Kernel, Plan, PlanOutput, Source, Step, StoreId};

impl Planner<'_> {
    pub(super) fn finish(mut self) -> Plan {
        for output in self.graph.outputs() {
            let has_rows = output.axes.iter().any(|&a| self.graph.extent(a) == Extent::Rows);
            let rows = if has_rows { Rows::Wanted } else { self.rows(output.node) };
            let axes = self.graph.node(output.node).axes.clone();
            let view = self.buffer_view(output.node, rows);
            let mut order = self.layouts.get(&output.node).unwrap_or(&axes).clone();
            let buffer = match view.source {
                Source::Buffer(buffer) if view.is_dense(self.graph, &order) => buffer,
                _ => {
                    order = axes;
                    self.dense_buffer(output.node, &order, rows)
                }
            };
            let order = output
                .axes
                .iter()
                .map(|a| order.iter().position(|b| a == b).expect("a result has its axes"))
                .collect();
            self.plan.outputs.push(PlanOutput { name: output.name.clone(), buffer, order });
        }
        let protos = std::mem::take(&mut self.protos);
        let mut steps: Vec<(Option<u32>, Step)> = Vec::new();
        for proto in protos {
            let label = proto.label(self.graph);
            let kernel = match proto.body {
                Body::Loop(cluster) => self.emit_loop(&cluster, proto.rows),
                Body::Product(product) => self.emit_product(&product, proto.rows),
                Body::Ready(kernel) => kernel,
            };
            if matches!(&kernel, Kernel::Loop(made) if made.tape.instrs.is_empty()) {
                // All of its readers computed it themselves.
                continue;
            }
            let step = Step { kernel, label, span: proto.span };
            if proto.rows == Rows::Setup {
                self.plan.setup.push(step)
            } else {
                steps.push((proto.group, step))
            }
        }
        let plan = &mut self.plan;
        plan.steps = bracket_sequences(plan, bracket_scans(steps));
        let mut scanned = Vec::new();
        scanned_stores(&plan.steps, &mut scanned);
        scanned.into_iter().for_each(|store| plan.stores[store.index()].scanned = true);
        self.plan
    }
}

/// The stores that kernels read runs of rows of.
fn scanned_stores(steps: &[Step], out: &mut Vec<StoreId>) {
    for step in steps {
        match &step.kernel {
            Kernel::Attention(attention) => out.extend([attention.key.store, attention.value.store]),
            Kernel::RecallAll { store, .. } => out.push(*store),
            Kernel::PerSequence(steps) | Kernel::Scan(steps) => scanned_stores(steps, out),
            _ => {}
        }
    }
}

/// Runs of steps of one group become one step that is run row by row.
fn bracket_scans(steps: Vec<(Option<u32>, Step)>) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::new();
    let mut open: Option<u32> = None;
    for (group, step) in steps {
        match (group, out.last_mut()) {
            (Some(g), Some(Step { kernel: Kernel::Scan(inner), label, .. })) if open == Some(g) => {
                if !step.label.is_empty() {
                    label.push_str(if label.is_empty() { "" } else { ", " });
                    label.push_str(&step.label);
                }
                inner.push(step);
            }
            (Some(_), _) => {
                let (label, span) = (step.label.clone(), step.span);
                out.push(Step { kernel: Kernel::Scan(vec![step]), label, span });
            }
            (None, _) => out.push(step),
        }
        open = group;
    }
    out
}

/// A buffer with a dimension of the stream's length belongs to one sequence at a time: the steps from its first use to its last
/// run together, sequence by sequence.
fn bracket_sequences(plan: &Plan, steps: Vec<Step>) -> Vec<Step> {
    let is_stream = |b: BufferId| plan.buffers[b.index()].dims.contains(&Dim::Stream);
    let mut uses: Vec<Option<(usize, usize)>> = vec![None; plan.buffers.len()];
    for (at, step) in steps.iter().enumerate() {
        step.kernel.each_buffer(&mut |buffer, _| {
            if is_stream(buffer) {
                uses[buffer.index()].get_or_insert((at, at)).1 = at;
            }
        });
    }
    let mut intervals: Vec<(usize, usize)> = uses.into_iter().flatten().collect();
    intervals.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in intervals {
        match merged.last_mut() {
            Some((_, last)) if start <= *last => *last = end.max(*last),
            _ => merged.push((start, end)),
        }
    }
    let mut out: Vec<Step> = Vec::new();
    let mut open: Option<usize> = None;
    for (at, step) in steps.into_iter().enumerate() {
        let interval = merged.iter().position(|&(start, end)| (start..=end).contains(&at));
        match (interval, out.last_mut()) {
            (Some(i), Some(Step { kernel: Kernel::PerSequence(inner), .. })) if open == Some(i) => {
                inner.push(step)
            }
            (Some(_), _) => {
                let (label, span) = (step.label.clone(), step.span);
                out.push(Step { kernel: Kernel::PerSequence(vec![step]), label, span });
            }
            (None, _) => out.push(step),
        }
        open = interval;
    }
    out
}
