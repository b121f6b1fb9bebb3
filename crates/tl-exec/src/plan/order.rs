//! What must be computed, for which rows, and in which order.
//!
//! Rows that a later row may read are needed of every row; the rest only for the rows whose results are wanted. Nodes that
//! depend on each other through a delay form a group that is computed row by row; the order keeps a group together.

use tl_ir::stream::{Derived, Locality};
use tl_ir::{Graph, NodeId, Op};

use super::Patterns;

/// When, and for which rows, a node is computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Rows {
    /// Once, when the plan is prepared.
    Setup,
    /// Once a step: it has no rows, but depends on an argument.
    Once,
    /// For every row.
    All,
    /// For the rows whose results are wanted.
    Wanted,
}

/// The nodes to compute.
pub(super) struct Order {
    /// In an order in which every node comes after what it reads, delays within a group excepted.
    pub nodes: Vec<NodeId>,
    /// Rows of each node, by node id.
    pub rows: Vec<Rows>,
    /// The group of each node that depends on itself through a delay, by node id.
    pub group: Vec<Option<u32>>,
    /// How many nodes, results and stores read each node, by node id.
    pub readers: Vec<u32>,
    /// Whether a node is computed for every row and read by one that is computed for the wanted rows, by node id.
    pub crosses: Vec<bool>,
}

/// The nodes that the results need, with when each is computed.
pub(super) fn order(graph: &Graph, derived: &Derived, patterns: &Patterns) -> Order {
    let mut search = Search::new(graph, patterns);
    // A tensor that only later rows read is remembered even where no row of this step reads it.
    let stored = derived.stored.iter().map(|s| s.node);
    for root in stored.chain(graph.outputs().iter().map(|o| o.node)) {
        search.visit(root);
    }
    let nodes = search.done;
    let mut rows = vec![Rows::Wanted; graph.len()];
    let mut argument = vec![false; graph.len()];
    for &id in &nodes {
        let reads = patterns.operands(graph, id);
        argument[id.0 as usize] =
            matches!(graph.node(id).op, Op::Input(_)) || reads.iter().any(|i| argument[i.0 as usize]);
        if derived.locality[id.0 as usize] == Locality::Fixed {
            rows[id.0 as usize] = if argument[id.0 as usize] { Rows::Once } else { Rows::Setup };
        }
    }
    let mut pending: Vec<NodeId> = derived.stored.iter().map(|s| s.node).collect();
    while let Some(id) = pending.pop() {
        if rows[id.0 as usize] == Rows::Wanted {
            rows[id.0 as usize] = Rows::All;
            pending.extend(patterns.operands(graph, id));
        }
    }
    let (mut readers, mut crosses) = (vec![0; graph.len()], vec![false; graph.len()]);
    for &id in &nodes {
        for read in patterns.operands(graph, id) {
            readers[read.0 as usize] += 1;
            crosses[read.0 as usize] |=
                rows[read.0 as usize] == Rows::All && rows[id.0 as usize] == Rows::Wanted;
        }
    }
    for root in derived.stored.iter().map(|s| s.node).chain(graph.outputs().iter().map(|o| o.node)) {
        readers[root.0 as usize] += 1;
    }
    // Attention reads the stores of its keys and values, not their rows of this step.
    for found in patterns.attention.values() {
        crosses[found.key.0 as usize] = false;
        crosses[found.value.0 as usize] = false;
    }
    Order { nodes, rows, group: search.group, readers, crosses }
}

/// Tarjan's strongly connected components, without recursion: deep graphs must not overflow the stack.
struct Search<'a> {
    graph: &'a Graph,
    patterns: &'a Patterns,
    number: Vec<u32>,
    low: Vec<u32>,
    on_stack: Vec<bool>,
    stack: Vec<NodeId>,
    next: u32,
    done: Vec<NodeId>,
    group: Vec<Option<u32>>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph, patterns: &'a Patterns) -> Self {
        let n = graph.len();
        Self {
            graph,
            patterns,
            number: vec![u32::MAX; n],
            low: vec![0; n],
            on_stack: vec![false; n],
            stack: Vec::new(),
            next: 0,
            done: Vec::new(),
            group: vec![None; n],
        }
    }

    fn enter(&mut self, id: NodeId) -> (NodeId, Vec<NodeId>, usize) {
        let i = id.0 as usize;
        (self.number[i], self.low[i], self.on_stack[i]) = (self.next, self.next, true);
        self.next += 1;
        self.stack.push(id);
        (id, self.patterns.operands(self.graph, id), 0)
    }

    fn visit(&mut self, root: NodeId) {
        if self.number[root.0 as usize] != u32::MAX {
            return;
        }
        let mut frames = vec![self.enter(root)];
        while let Some((id, reads, at)) = frames.last_mut() {
            let i = id.0 as usize;
            if let Some(&read) = reads.get(*at) {
                *at += 1;
                let r = read.0 as usize;
                if self.number[r] == u32::MAX {
                    let frame = self.enter(read);
                    frames.push(frame);
                } else if self.on_stack[r] {
                    self.low[i] = self.low[i].min(self.number[r]);
                }
                continue;
            }
            let (id, _, _) = frames.pop().expect("the frame is there");
            if let Some((parent, _, _)) = frames.last() {
                let p = parent.0 as usize;
                self.low[p] = self.low[p].min(self.low[i]);
            }
            if self.low[i] == self.number[i] {
                self.close(id);
            }
        }
    }

    fn close(&mut self, root: NodeId) {
        let start =
            self.stack.iter().rposition(|&n| n == root).expect("the root of a component is on the stack");
        let mut members = self.stack.split_off(start);
        members.iter().for_each(|m| self.on_stack[m.0 as usize] = false);
        if members.len() > 1 {
            // Delays begin a row; the others were made in an order in which they can be computed.
            members.sort_by_key(|&m| (!matches!(self.graph.node(m).op, Op::Delay { .. }), m));
            for m in &members {
                self.group[m.0 as usize] = Some(root.0);
            }
        }
        self.done.extend(members);
    }
}
